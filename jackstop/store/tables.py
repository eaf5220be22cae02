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

# `secret` is sealed by the vault, bound to name, provider and base URL.
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
    Column("seq", BigInteger, nullable=False, unique=True),
    CheckConstraint("state IN ('active', 'contained', 'retired')", name="state"),
)

# `mode` NULL: a default limit follows its team's or the installation's mode, any other enforces.
limits = Table(
    "limits",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("window", Text, nullable=False),
    Column("per_s", BigInteger, nullable=False, server_default=text("60")),
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
)

findings = Table(
    "findings",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("ts_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "kind", "ts_us"),
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
