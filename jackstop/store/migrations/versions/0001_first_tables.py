"""The first tables: people, keys, credentials, limits and their books, findings, the audit chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _inventory()
    _books()
    _log()


def _inventory() -> None:
    op.create_table(
        "credentials",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("exclusive", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("provider_key_id", sa.Text(), server_default="", nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('active', 'contained', 'retired')", name=op.f("ck_credentials_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_credentials")),
        sa.UniqueConstraint("seq", name=op.f("uq_credentials_seq")),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "people",
        sa.Column("id", _ID, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.Text(), server_default="owner", nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )
    op.create_table(
        "teams",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_teams")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("retiring", sa.JSON(), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("team", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("canary", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("in_case", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("throttle_per_min", sa.BigInteger(), nullable=True),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('live', 'quarantined', 'revoked')", name=op.f("ck_keys_state")),
        sa.ForeignKeyConstraint(["owner_id"], ["people.id"], name=op.f("fk_keys_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
        sa.UniqueConstraint("seq", name=op.f("uq_keys_seq")),
    )
    op.create_index(op.f("ix_keys_owner_id"), "keys", ["owner_id"], unique=False)


def _books() -> None:
    op.create_table(
        "gaps",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("mended", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("provider", "model", "feature", name=op.f("pk_gaps")),
        sa.UniqueConstraint("seq", name=op.f("uq_gaps_seq")),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("pid", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("boot_id", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("segment", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("scan_segment", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("scan_offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lake_segment", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lake_offset", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_table(
        "limits",
        sa.Column("id", _ID, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("per_s", sa.BigInteger(), server_default=sa.text("60"), nullable=False),
        sa.Column("is_default", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("deleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('usd', 'tokens', 'requests', 'rate', 'concurrency')", name=op.f("ck_limits_kind")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_limits_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_limits")),
        sa.UniqueConstraint("seq", name=op.f("uq_limits_seq")),
    )
    op.create_index(op.f("ix_limits_scope"), "limits", ["scope"], unique=False)
    op.create_table(
        "open_holds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("ts_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), server_default="", nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("credential", sa.Text(), server_default="", nullable=False),
        sa.Column("nusd", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("charges", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("state IN ('open', 'estimated', 'released')", name=op.f("ck_open_holds_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_open_holds")),
    )
    op.create_index(op.f("ix_open_holds_state"), "open_holds", ["state"], unique=False)
    op.create_table(
        "leases",
        sa.Column("id", _ID, nullable=False),
        sa.Column("limit_id", _ID, nullable=False),
        sa.Column("window_us", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("leased", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("journaled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("booked", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("leased >= 0", name=op.f("ck_leases_leased")),
        sa.ForeignKeyConstraint(["limit_id"], ["limits.id"], name=op.f("fk_leases_limit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
        sa.UniqueConstraint("limit_id", "window_us", "instance", name=op.f("uq_leases_limit_id_window_us_instance")),
    )
    op.create_index(op.f("ix_leases_instance"), "leases", ["instance"], unique=False)
    op.create_table(
        "windows",
        sa.Column("limit_id", _ID, nullable=False),
        sa.Column("window_us", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("over", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            'settled >= 0 AND leased >= 0 AND "over" >= 0 AND settled + leased <= amount + "over"',
            name=op.f("ck_windows_within"),
        ),
        sa.ForeignKeyConstraint(["limit_id"], ["limits.id"], name=op.f("fk_windows_limit_id")),
        sa.PrimaryKeyConstraint("limit_id", "window_us", name=op.f("pk_windows")),
    )


def _log() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ts_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_table(
        "findings",
        sa.Column("id", _ID, nullable=False),
        sa.Column("ts_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    op.create_index(op.f("ix_findings_kind_ts_us"), "findings", ["kind", "ts_us"], unique=False)
