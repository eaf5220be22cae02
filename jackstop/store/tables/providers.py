"""Credentials, what is done to them at their providers, and what providers report of them."""

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
    text,
)

from jackstop.store.tables.base import ZERO, Id, metadata

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
    Column("id", Id, primary_key=True),
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
    Column("attempts", BigInteger, nullable=False, server_default=ZERO),
    Column("next_us", BigInteger, nullable=False),
    Column("taken_until_us", BigInteger, nullable=False, server_default=ZERO),
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
    Column("over", BigInteger, nullable=False, server_default=ZERO),
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
