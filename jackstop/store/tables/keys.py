"""Keys and who has them: people, teams, the audit log, and what else is kept of the installation."""

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
    false,
)

from jackstop.store.tables.base import Id, metadata

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
    Column("id", Id, primary_key=True),
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
