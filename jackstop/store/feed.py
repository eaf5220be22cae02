"""The change feed: rows of keys, credentials, limits and gaps as the gates know them, in the order of change."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, and_, case, func, insert, select, update
from sqlalchemy import Row as DbRow

from jackstop.keys.policy import CredentialRow, GapRow, KeyRow, LimitRow, Policy, Row
from jackstop.settings import Mode, Settings
from jackstop.store import tables
from jackstop.store.engine import Store
from jackstop.vault.credentials import unseal_credential
from jackstop.vault.envelope import Vault

BATCH_ROWS = 2_000


class Feed:
    """Reads changed rows as values: secrets unsealed, owners by address, modes resolved."""

    def __init__(self, vault: Vault, settings: Settings) -> None:
        self._vault = vault
        self._mode = settings.mode

    def rows_since(self, conn: Connection, seq: int, at_most: int = BATCH_ROWS) -> tuple[int, list[Row]]:
        """Rows changed after change number `seq`, oldest change first, and the number of the last of them.

        At most `at_most` rows: call again with the returned number until a list comes back empty. Between
        two calls rows may change again; they then come once more, later, so any split into transactions
        ends at the same state. Raises UserError when a credential cannot be unsealed.
        """
        found: list[tuple[int, Row]] = []
        for read in (self._keys, self._credentials, self._limits, self._gaps):
            found += read(conn, seq, at_most)
        found.sort(key=lambda numbered: numbered[0])
        del found[at_most:]
        return (found[-1][0] if found else seq), [row for _, row in found]

    def _keys(self, conn: Connection, seq: int, at_most: int) -> list[tuple[int, Row]]:
        statement = (
            select(tables.keys, tables.people.c.email)
            .join(tables.people, tables.people.c.id == tables.keys.c.owner_id)
            .where(tables.keys.c.seq > seq)
            .order_by(tables.keys.c.seq)
            .limit(at_most)
        )
        return [(row.seq, key_row(row)) for row in conn.execute(statement)]

    def _credentials(self, conn: Connection, seq: int, at_most: int) -> list[tuple[int, Row]]:
        table = tables.credentials
        rows = conn.execute(select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(at_most))
        return [(row.seq, self._credential_row(row)) for row in rows]

    def _credential_row(self, row: DbRow[Any]) -> CredentialRow:
        usable = row.state == "active"
        secret = unseal_credential(self._vault, row.name, row.provider, row.base_url, row.secret) if usable else None
        return CredentialRow(
            name=row.name,
            provider=row.provider,
            base_url=row.base_url,
            secret=secret.reveal() if secret else b"",
            state=row.state,
            exclusive=row.exclusive,
            provider_key_id=row.provider_key_id,
        )

    def _limits(self, conn: Connection, seq: int, at_most: int) -> list[tuple[int, Row]]:
        limits = tables.limits
        statement = limits_with_team_mode().where(limits.c.seq > seq).order_by(limits.c.seq).limit(at_most)
        return [(row.seq, self._limit_row(row)) for row in conn.execute(statement)]

    def limit(self, conn: Connection, limit_id: int) -> LimitRow | None:
        """One limit by its number, None where there is none."""
        row = conn.execute(limits_with_team_mode().where(tables.limits.c.id == limit_id)).one_or_none()
        return None if row is None else self._limit_row(row)

    def _limit_row(self, row: DbRow[Any]) -> LimitRow:
        return LimitRow(
            id=row.id,
            scope=row.scope,
            kind=row.kind,
            amount=row.amount,
            window=row.window,
            per_s=row.per_s,
            mode=limit_mode(row.mode, row.is_default, row.team_mode, self._mode),
            deleted=row.deleted,
        )

    def _gaps(self, conn: Connection, seq: int, at_most: int) -> list[tuple[int, Row]]:
        table = tables.gaps
        rows = conn.execute(select(table).where(table.c.seq > seq).order_by(table.c.seq).limit(at_most))
        return [(row.seq, GapRow(row.provider, row.model, row.feature, row.mended)) for row in rows]


def limits_with_team_mode() -> Select[Any]:
    """Limits, each with the `team_mode` of the team that it or its key is of."""
    limits, keys, teams = tables.limits, tables.keys, tables.teams
    # The text after `key:` and `team:`, compared with bare columns, so that their indexes serve.
    key_id = case((limits.c.scope.startswith("key:"), func.substr(limits.c.scope, len("key:") + 1)))
    team = case((limits.c.scope.startswith("team:"), func.substr(limits.c.scope, len("team:") + 1)))
    return (
        select(limits, teams.c.mode.label("team_mode"))
        .outerjoin(keys, keys.c.id == key_id)
        .outerjoin(teams, teams.c.name == func.coalesce(team, keys.c.team))
    )


def key_row(row: DbRow[Any]) -> KeyRow:
    """A row of `keys` joined with its owner's `email`, as a value."""
    return KeyRow(
        id=row.id,
        digest=row.digest,
        owner=row.email,
        team=row.team,
        name=row.name,
        state=row.state,
        expires_us=row.expires_us,
        canary=row.canary,
        in_case=row.in_case,
        throttle_per_min=row.throttle_per_min,
        retiring=tuple((bytes.fromhex(digest), until_us) for digest, until_us in row.retiring),
        policy=msgspec.convert(row.policy, Policy),
    )


def limit_mode(own: Mode | None, is_default: bool, team: Mode | None, installation: Mode) -> Mode:
    """Whether a limit enforces: its own mode, else for a default its team's or the installation's."""
    if own is not None:
        return own
    return (team or installation) if is_default else "enforce"


def follow_settings(store: Store, settings: Settings) -> None:
    """Mark the default limits as changed when the setting `mode` is another than when this last ran.

    Without it, gates that outlive control would keep the old mode. Control calls it once at its start.
    """
    with store.begin() as conn:
        known = conn.execute(select(tables.meta.c.value).where(tables.meta.c.key == "mode")).scalar()
        if known == settings.mode:
            return
        if known is None:
            conn.execute(insert(tables.meta).values(key="mode", value=settings.mode))
        else:
            conn.execute(update(tables.meta).where(tables.meta.c.key == "mode").values(value=settings.mode))
        touch_limits(conn, store, and_(tables.limits.c.is_default, tables.limits.c.mode.is_(None)))


def touch_limits(conn: Connection, store: Store, which: Any) -> None:
    """Give each limit that matches `which` a new change number."""
    for limit_id in conn.execute(select(tables.limits.c.id).where(which).order_by(tables.limits.c.id)).scalars().all():
        conn.execute(update(tables.limits).where(tables.limits.c.id == limit_id).values(seq=store.next_seq(conn)))
