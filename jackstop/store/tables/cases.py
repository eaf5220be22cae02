"""Findings, cases, what was done in them, and how people are told."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from jackstop.store.tables.base import ZERO, Id, metadata

# What a detection found. `uid` is a hash of detection, entity and window, so that nothing is taken twice.
# `entity` is `key:ID`, `owner:EMAIL`, `team:N`, `credential:NAME`, `account:ADMINISTRATION` or `org`.
findings = Table(
    "findings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("ts_us", BigInteger, nullable=False),
    Column("detection", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("cause", Text, nullable=False, server_default=""),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("sources", JSON, nullable=False),
    Column("case_id", ForeignKey("cases.id")),
    CheckConstraint("severity IN ('info', 'low', 'medium', 'high', 'critical')", name="severity"),
    Index(None, "detection", "ts_us"),
    Index(None, "entity", "ts_us"),
    Index(None, "case_id"),
)

# Findings of one entity or one cause. `entity` is that of the first; `verdict` is what a person said at the end.
cases = Table(
    "cases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("state", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("cause", Text, nullable=False, server_default=""),
    Column("unlawful", Boolean, nullable=False, server_default=false()),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
    Column("opened_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("closed_us", BigInteger),
    Column("reopened", BigInteger, nullable=False, server_default=ZERO),
    Column("verdict", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
    CheckConstraint("verdict IN ('', 'hijack', 'misuse', 'benign')", name="verdict"),
    Index(None, "state", "updated_us"),
    Index(None, "entity"),
    Index(None, "cause"),
)

# What happened in a case, in order: findings, responses, answers, notes, states.
case_entries = Table(
    "case_entries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("ts_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False, server_default=""),
    Column("detail", JSON, nullable=False),
    Index(None, "case_id"),
)

# What is done about a case. `uid` is a hash of case, action, target and round, so that nothing is done twice;
# `before` is what reversing it restores; `epoch` is that of the worker that asked for it, 0 for a person.
responses = Table(
    "responses",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("epoch", BigInteger, nullable=False, server_default=ZERO),
    Column("intended_us", BigInteger, nullable=False),
    Column("deadline_us", BigInteger),
    Column("applied_us", BigInteger),
    Column("until_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("before", JSON, nullable=False),
    CheckConstraint(
        "state IN ('intended', 'awaiting', 'observed', 'applied', 'expired', 'reversed', 'declined', 'failed')",
        name="state",
    ),
    Index(None, "case_id"),
    Index(None, "state"),
)

# "Was this you?", asked of a key's owner.
questions = Table(
    "questions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("key_id", Text, nullable=False),
    Column("person_id", ForeignKey("people.id"), nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("answer", Text, nullable=False, server_default=""),
    Column("answered_us", BigInteger),
    CheckConstraint("answer IN ('', 'yes', 'no')", name="answer"),
    Index(None, "case_id"),
)

# Where news go. `secret` is sealed by the vault, bound to name, kind and options; `options` hold nothing secret.
channels = Table(
    "channels",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("min_severity", Text, nullable=False, server_default="medium"),
    Column("options", JSON, nullable=False),
    Column("secret", LargeBinary),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("created_us", BigInteger, nullable=False),
)

# News on their way to one channel. `uid` is the de-duplication key that receivers see; `taken_until_us` is for how
# long a sender has it, after which another may; `grouped` rows go out in another row's message.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False, server_default=""),
    Column("case_id", BigInteger),
    Column("group_key", Text, nullable=False, server_default=""),
    Column("payload", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False, server_default=ZERO),
    Column("created_us", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("taken_until_us", BigInteger, nullable=False, server_default=ZERO),
    Column("sent_us", BigInteger),
    Column("error", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('queued', 'grouped', 'sent', 'dead', 'dropped')", name="state"),
    Index(None, "state", "next_us"),
    Index(None, "channel", "group_key", "state"),
    Index(None, "channel", "state", "severity", "next_us"),
    Index(None, "case_id"),
)

# Findings that a person said to leave alone: of one detection ('*': of all), on one entity ('*': on all).
allowed = Table(
    "allowed",
    metadata,
    Column("id", Id, primary_key=True),
    Column("detection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("until_us", BigInteger),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("detection", "entity"),
)
