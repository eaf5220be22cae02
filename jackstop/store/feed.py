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

BATCH_ROWS = 500


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
        first = _next_seq(conn, seq)
        if first is None:
            return seq, []
        # A number belongs to one row of one table, so this many numbers are at most this many rows.
        last = first + at_most - 1
        found: list[tuple[int, Row]] = []
        for statement, make in (
            (_keys(), key_row),
            (select(tables.credentials), self._credential_row),
            (limits_with_team_mode(), self._limit_row),
            (select(tables.gaps), _gap_row),
        ):
            numbers = statement.selected_columns.seq
            found += [(row.seq, make(row)) for row in conn.execute(statement.where(numbers.between(first, last)))]
        found.sort(key=lambda numbered: numbered[0])
        return found[-1][0], [row for _, row in found]

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


def _next_seq(conn: Connection, seq: int) -> int | None:
    """The number of the first change after `seq`."""
    numbers = [table.c.seq for table in (tables.keys, tables.credentials, tables.limits, tables.gaps)]
    firsts = [conn.execute(select(func.min(number)).where(number > seq)).scalar() for number in numbers]
    return min((first for first in firsts if first is not None), default=None)


def _keys() -> Select[Any]:
    keys, people = tables.keys, tables.people
    return select(keys, people.c.email).join(people, people.c.id == keys.c.owner_id)


def _gap_row(row: DbRow[Any]) -> GapRow:
    return GapRow(row.provider, row.model, row.feature, row.mended)


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
    """Give each limit that matches `which` a new change number, in one statement however many they are."""
    limits = tables.limits
    last = conn.execute(select(func.max(limits.c.id)).where(which)).scalar()
    if last is None:
        return
    base = store.next_seq(conn)
    # Ids are distinct, so these numbers are; the gaps between them are numbers that no row has.
    conn.execute(update(limits).where(which).values(seq=base + limits.c.id))
    conn.execute(update(tables.meta).where(tables.meta.c.key == "seq").values(value=str(base + last)))
