"""The ledger: limits, their windows and leases, the gates that hold them, and holds that stay open."""

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
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from jackstop.store.tables.base import ZERO, Id, metadata

# `mode` NULL: a default limit follows its team's or the installation's mode, any other enforces. `unit` is `nusd`
# for a rate of money: `amount` nano-dollars per `per_s` seconds.
limits = Table(
    "limits",
    metadata,
    Column("id", Id, primary_key=True),
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
    Column("settled", BigInteger, nullable=False, server_default=ZERO),
    Column("leased", BigInteger, nullable=False, server_default=ZERO),
    Column("over", BigInteger, nullable=False, server_default=ZERO),
    CheckConstraint(
        'settled >= 0 AND leased >= 0 AND "over" >= 0 AND settled + leased <= amount + "over"', name="within"
    ),
)

# One gate process's slice of one limit in one window: `total` was granted less returned, `journaled` the same by
# the gate's own journal, `booked` is what its requests settled; `leased` is the rest, never below zero.
leases = Table(
    "leases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("limit_id", ForeignKey("limits.id"), nullable=False),
    Column("window_us", BigInteger, nullable=False),
    Column("instance", Text, nullable=False),
    Column("leased", BigInteger, nullable=False, server_default=ZERO),
    Column("total", BigInteger, nullable=False, server_default=ZERO),
    Column("journaled", BigInteger, nullable=False, server_default=ZERO),
    Column("booked", BigInteger, nullable=False, server_default=ZERO),
    UniqueConstraint("limit_id", "window_us", "instance"),
    CheckConstraint("leased >= 0", name="leased"),
    Index(None, "instance"),
)

# One start of one gate process, and how far its journal was booked, scanned and written to the lake.
instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slot", Integer, nullable=False, server_default=ZERO),
    Column("pid", Integer, nullable=False, server_default=ZERO),
    Column("boot_id", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("segment", BigInteger, nullable=False, server_default=ZERO),
    Column("offset", BigInteger, nullable=False, server_default=ZERO),
    Column("scan_segment", BigInteger, nullable=False, server_default=ZERO),
    Column("scan_offset", BigInteger, nullable=False, server_default=ZERO),
    Column("lake_segment", BigInteger, nullable=False, server_default=ZERO),
    Column("lake_offset", BigInteger, nullable=False, server_default=ZERO),
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
    Column("tokens", BigInteger, nullable=False, server_default=ZERO),
    Column("charges", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    CheckConstraint("state IN ('open', 'estimated', 'released')", name="state"),
    Index(None, "state"),
    Index(None, "ts_us"),
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

gaps = Table(
    "gaps",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("mended", Boolean, nullable=False, server_default=false()),
    Column("seq", BigInteger, nullable=False, unique=True),
)
