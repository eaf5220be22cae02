"""Administrations, standbys, rotations, what providers report, and the books against it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ZERO = sa.text("0")


def upgrade() -> None:
    op.create_table(
        "administrations",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_administrations")),
    )
    op.add_column("credentials", sa.Column("administration", sa.Text(), server_default="", nullable=False))
    op.add_column("credentials", sa.Column("place", sa.JSON(), server_default="{}", nullable=False))
    op.add_column("credentials", sa.Column("rotate_every_us", sa.BigInteger(), nullable=True))
    op.add_column("credentials", sa.Column("rotated_us", sa.BigInteger(), nullable=True))
    op.create_table(
        "standbys",
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("provider_key_id", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_standbys_credential")),
        sa.PrimaryKeyConstraint("credential", name=op.f("pk_standbys")),
    )
    op.create_index(op.f("ix_open_holds_ts_us"), "open_holds", ["ts_us"], unique=False)
    _rotations()
    _reports()


def _rotations() -> None:
    op.create_table(
        "rotations",
        sa.Column("id", _ID, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("fresh", sa.LargeBinary(), nullable=True),
        sa.Column("old", sa.LargeBinary(), nullable=True),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=_ZERO, nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("taken_until_us", sa.BigInteger(), server_default=_ZERO, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("act IN ('rotate', 'contain')", name=op.f("ck_rotations_act")),
        sa.CheckConstraint("cause IN ('schedule', 'age', 'leak', 'finding', 'hand')", name=op.f("ck_rotations_cause")),
        sa.CheckConstraint("state IN ('running', 'done', 'cancelled')", name=op.f("ck_rotations_state")),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_rotations_credential")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rotations")),
        sa.UniqueConstraint("uid", name=op.f("uq_rotations_uid")),
    )
    op.create_index(op.f("ix_rotations_credential"), "rotations", ["credential"], unique=False)
    running = sa.text("state = 'running'")
    op.create_index(
        "uq_rotations_running", "rotations", ["credential"], unique=True, sqlite_where=running, postgresql_where=running
    )


def _reports() -> None:
    op.create_table(
        "usage",
        sa.Column("administration", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), nullable=False),
        sa.Column("width_us", sa.BigInteger(), nullable=False),
        sa.Column("provider_key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
        ),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=True),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "administration",
            "kind",
            "place",
            "start_us",
            "width_us",
            "provider_key_id",
            "model",
            "tier",
            name=op.f("pk_usage"),
        ),
    )
    op.create_table(
        "readings",
        sa.Column("administration", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("read_us", sa.BigInteger(), nullable=True),
        sa.Column("cursor", sa.Text(), server_default="", nullable=False),
        sa.Column("problem", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("administration", "kind", name=op.f("pk_readings")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("through_us", sa.BigInteger(), nullable=False),
        sa.Column("over", sa.BigInteger(), server_default=_ZERO, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_reconciliations_credential")),
        sa.PrimaryKeyConstraint("credential", name=op.f("pk_reconciliations")),
    )
    op.create_table(
        "provider_limits",
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("amount_nusd", sa.BigInteger(), nullable=True),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        sa.Column("wanted_nusd", sa.BigInteger(), nullable=True),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["credential"], ["credentials.name"], name=op.f("fk_provider_limits_credential")),
        sa.PrimaryKeyConstraint("credential", "scope", "window", name=op.f("pk_provider_limits")),
    )
