"""Every table of the store, as SQLAlchemy Core metadata for SQLite and PostgreSQL alike.

Money is nano-dollars and time is UTC microseconds, both BIGINT. `seq` is the number of a row's last change
(see `jackstop.store.feed`); rows of the fed tables are never deleted, only marked.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the type is exactly INTEGER, which is 64 bits wide there.
_Id = BigInteger().with_variant(Integer(), "sqlite")
_ZERO = text("0")

# `seq`: number of the last change; `audit_head`: last audit row and its hash; `pepper`: sealed, base64.
meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# The only table with names of people; the audit log refers to `id`, so that a row here can be erased.
people = Table(
    "people",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False, server_default="owner"),
    Column("created_us", BigInteger, nullable=False),
)

# `mode` is the team's own answer to "do defaults enforce", NULL where the setting `mode` decides.
teams = Table(
    "teams",
    metadata,
    Column("name", Text, primary_key=True),
    Column("mode", Text),
    Column("created_us", BigInteger, nullable=False),
)

# `id` is the public id inside the key. `retiring` is [[digest in hex, accepted until], …].
keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("retiring", JSON, nullable=False),
    Column("owner_id", ForeignKey("people.id"), nullable=False),
    Column("team", Text, nullable=False, server_default=""),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires_us", BigInteger),
    Column("canary", Boolean, nullable=False, server_default=false()),
    Column("in_case", Boolean, nullable=False, server_default=false()),
    Column("throttle_per_min", BigInteger),
    Column("policy", JSON, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False, unique=True),
    CheckConstraint("state IN ('live', 'quarantined', 'revoked')", name="state"),
    Index(None, "owner_id"),
)

# A provider's administration API, and Jackstop's own key for it, sealed and bound to name, driver and base URL.
administrations = Table(
    "administrations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("driver", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

# `secret` is sealed by the vault, bound to name, provider and base URL. `place` is where its keys live at the
# provider, for the driver of its `administration`; `rotate_every_us` NULL follows the setting, 0 is never.
credentials = Table(
    "credentials",
    metadata,
    Column("name", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("exclusive", Boolean, nullable=False, server_default=false()),
    Column("provider_key_id", Text, nullable=False, server_default=""),
    Column("created_us", BigInteger, nullable=False),
    Column("administration", Text, nullable=False, server_default=""),
    Column("place", JSON, nullable=False, server_default="{}"),
    Column("rotate_every_us", BigInteger),
    Column("rotated_us", BigInteger),
    Column("seq", BigInteger, nullable=False, unique=True),
    CheckConstraint("state IN ('active', 'contained', 'retired')", name="state"),
)

# A second secret that a person deposited, sealed as the credential's own; it takes over where no API makes keys.
standbys = Table(
    "standbys",
    metadata,
    Column("credential", ForeignKey("credentials.name"), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("provider_key_id", Text, nullable=False, server_default=""),
    Column("created_us", BigInteger, nullable=False),
)

# What is being done to a credential at its provider: written down before it starts, one at a time for each. `steps`
# is the whole plan, `step` where it stands; `uid` is in the names of the keys that it makes. `fresh` and `old` are
# secrets sealed as the credential's own, forgotten at the end. `taken_until_us` is for how long a worker has it.
rotations = Table(
    "rotations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("credential", ForeignKey("credentials.name"), nullable=False),
    Column("act", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("case_id", BigInteger),
    Column("state", Text, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("step", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("fresh", LargeBinary),
    Column("old", LargeBinary),
    Column("problem", Text, nullable=False, server_default=""),
    Column("attempts", BigInteger, nullable=False, server_default=_ZERO),
    Column("next_us", BigInteger, nullable=False),
    Column("taken_until_us", BigInteger, nullable=False, server_default=_ZERO),
    Column("actor", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger),
    CheckConstraint("act IN ('rotate', 'contain')", name="act"),
    CheckConstraint("cause IN ('schedule', 'age', 'leak', 'finding', 'hand')", name="cause"),
    CheckConstraint("state IN ('running', 'done', 'cancelled')", name="state"),
    Index(None, "credential"),
    Index(
        "uq_rotations_running",
        "credential",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

# What providers report, by administration: never mixed into events. Later reports of a bucket replace earlier ones.
# `kind` is `usage` or `costs`; `place` is where it was asked for, as JSON with sorted names.
usage = Table(
    "usage",
    metadata,
    Column("administration", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("width_us", BigInteger, primary_key=True),
    Column("provider_key_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_nusd", BigInteger),
    Column("seen_us", BigInteger, nullable=False),
)

# Where each reading of a provider stands: `kind` is `usage`, `costs`, `limits` or `audit`.
readings = Table(
    "readings",
    metadata,
    Column("administration", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("next_us", BigInteger, nullable=False),
    Column("read_us", BigInteger),
    Column("cursor", Text, nullable=False, server_default=""),
    Column("problem", Text, nullable=False, server_default=""),
)

# The books against the provider's, by credential: `over` is how many buckets in a row were beyond tolerance.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("credential", ForeignKey("credentials.name"), primary_key=True),
    Column("through_us", BigInteger, nullable=False),
    Column("over", BigInteger, nullable=False, server_default=_ZERO),
    Column("detail", JSON, nullable=False),
)

# Hard limits at the providers, as last seen there, and what a person wants them to be.
provider_limits = Table(
    "provider_limits",
    metadata,
    Column("credential", ForeignKey("credentials.name"), primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("window", Text, primary_key=True),
    Column("amount_nusd", BigInteger),
    Column("enforced", Boolean, nullable=False),
    Column("wanted_nusd", BigInteger),
    Column("seen_us", BigInteger, nullable=False),
)

# `mode` NULL: a default limit follows its team's or the installation's mode, any other enforces. `unit` is `nusd`
# for a rate of money: `amount` nano-dollars per `per_s` seconds.
limits = Table(
    "limits",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("window", Text, nullable=False),
    Column("per_s", BigInteger, nullable=False, server_default=text("60")),
    Column("unit", Text, nullable=False, server_default="requests"),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("mode", Text),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("seq", BigInteger, nullable=False, unique=True),
    CheckConstraint("amount >= 0", name="amount"),
    CheckConstraint("kind IN ('usd', 'tokens', 'requests', 'rate', 'concurrency')", name="kind"),
    Index(None, "scope"),
)

# The books of one limit in one window. `over` is what was admitted beyond the amount: an overrun, or an
# observed limit; without it, more can never be settled and leased than the amount.
windows = Table(
    "windows",
    metadata,
    Column("limit_id", ForeignKey("limits.id"), primary_key=True),
    Column("window_us", BigInteger, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False, server_default=_ZERO),
    Column("leased", BigInteger, nullable=False, server_default=_ZERO),
    Column("over", BigInteger, nullable=False, server_default=_ZERO),
    CheckConstraint(
        'settled >= 0 AND leased >= 0 AND "over" >= 0 AND settled + leased <= amount + "over"', name="within"
    ),
)

# One gate process's slice of one limit in one window: `total` was granted less returned, `journaled` the same by
# the gate's own journal, `booked` is what its requests settled; `leased` is the rest, never below zero.
leases = Table(
    "leases",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("limit_id", ForeignKey("limits.id"), nullable=False),
    Column("window_us", BigInteger, nullable=False),
    Column("instance", Text, nullable=False),
    Column("leased", BigInteger, nullable=False, server_default=_ZERO),
    Column("total", BigInteger, nullable=False, server_default=_ZERO),
    Column("journaled", BigInteger, nullable=False, server_default=_ZERO),
    Column("booked", BigInteger, nullable=False, server_default=_ZERO),
    UniqueConstraint("limit_id", "window_us", "instance"),
    CheckConstraint("leased >= 0", name="leased"),
    Index(None, "instance"),
)

# One start of one gate process, and how far its journal was booked, scanned and written to the lake.
instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slot", Integer, nullable=False, server_default=_ZERO),
    Column("pid", Integer, nullable=False, server_default=_ZERO),
    Column("boot_id", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("segment", BigInteger, nullable=False, server_default=_ZERO),
    Column("offset", BigInteger, nullable=False, server_default=_ZERO),
    Column("scan_segment", BigInteger, nullable=False, server_default=_ZERO),
    Column("scan_offset", BigInteger, nullable=False, server_default=_ZERO),
    Column("lake_segment", BigInteger, nullable=False, server_default=_ZERO),
    Column("lake_offset", BigInteger, nullable=False, server_default=_ZERO),
)

# Requests whose cost nobody reported, charged at their maximum. `charges` is
# [{"lease": id, "limit": id, "window": start, "amount": n}, …].
open_holds = Table(
    "open_holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("ts_us", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("provider", Text, nullable=False, server_default=""),
    Column("model", Text, nullable=False, server_default=""),
    Column("credential", Text, nullable=False, server_default=""),
    Column("nusd", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("charges", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('open', 'estimated', 'released')", name="state"),
    Index(None, "state"),
    Index(None, "ts_us"),
)

# What a detection found. `uid` is a hash of detection, entity and window, so that nothing is taken twice.
# `entity` is `key:ID`, `owner:EMAIL`, `team:N`, `credential:NAME`, `account:ADMINISTRATION` or `org`.
findings = Table(
    "findings",
    metadata,
    Column("id", _Id, primary_key=True),
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
    Column("id", _Id, primary_key=True),
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
    Column("reopened", BigInteger, nullable=False, server_default=_ZERO),
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
    Column("id", _Id, primary_key=True),
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
    Column("id", _Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("actor", Text, nullable=False, server_default=""),
    Column("epoch", BigInteger, nullable=False, server_default=_ZERO),
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
    Column("id", _Id, primary_key=True),
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
    Column("id", _Id, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False, server_default=""),
    Column("case_id", BigInteger),
    Column("group_key", Text, nullable=False, server_default=""),
    Column("payload", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False, server_default=_ZERO),
    Column("created_us", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("taken_until_us", BigInteger, nullable=False, server_default=_ZERO),
    Column("sent_us", BigInteger),
    Column("error", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('queued', 'grouped', 'sent', 'dead', 'dropped')", name="state"),
    Index(None, "state", "next_us"),
    Index(None, "channel", "group_key", "state"),
    Index(None, "channel", "state", "severity", "next_us"),
    Index(None, "case_id"),
)

# Cost alerts that were given, each once per limit, window and name.
cost_alerts = Table(
    "cost_alerts",
    metadata,
    Column("limit_id", ForeignKey("limits.id"), primary_key=True),
    Column("window_us", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("ts_us", BigInteger, nullable=False),
)

# Findings that a person said to leave alone: of one detection ('*': of all), on one entity ('*': on all).
allowed = Table(
    "allowed",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("detection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("until_us", BigInteger),
    Column("reason", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("detection", "entity"),
)

gaps = Table(
    "gaps",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("mended", Boolean, nullable=False, server_default=false()),
    Column("seq", BigInteger, nullable=False, unique=True),
)

# A chain: `hash` covers the row and `prev_hash`. See `jackstop.store.audit`.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("ts_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
