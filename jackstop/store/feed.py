"""The change feed: rows of keys, credentials, limits and gaps as the gates know them, in the order of change."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    select,
    union_all,
    update,
)
from sqlalchemy import Row as DbRow

from jackstop.keys.policy import CredentialRow, GapRow, KeyRow, LimitRow, Policy, Row
from jackstop.settings import Mode, Settings
from jackstop.store import tables
from jackstop.store.engine import Store
from jackstop.vault.credentials import unseal_credential
from jackstop.vault.envelope import Vault

BATCH_ROWS = 500
_POLICIES = 4_096
"""Different policies that are read once, however many keys have them."""


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
        last = conn.execute(_LAST, {"after": seq, "at_most": at_most}).scalar()
        if last is None:
            return seq, []
        found: list[tuple[int, Row]] = []
        for statement, make in (
            (_KEYS, _key_row),
            (_CREDENTIALS, self._credential_row),
            (_LIMITS, self._limit_row),
            (_GAPS, _gap_row),
        ):
            found += map(make, conn.execute(statement, {"after": seq, "last": last}).all())
        found.sort(key=lambda numbered: numbered[0])
        return last, [row for _, row in found]

    def _credential_row(self, row: DbRow[Any]) -> tuple[int, CredentialRow]:
        usable = row.state == "active"
        secret = unseal_credential(self._vault, row.name, row.provider, row.base_url, row.secret) if usable else None
        return row.seq, CredentialRow(
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
        row = conn.execute(_LIMIT, {"which": limit_id}).one_or_none()
        return None if row is None else self._limit_row(row)[1]

    def _limit_row(self, row: Any) -> tuple[int, LimitRow]:
        seq, limit_id, scope, kind, amount, window, per_s, mode, is_default, team_mode, deleted, unit = row
        mode = limit_mode(mode, is_default, team_mode, self._mode)
        return seq, LimitRow(limit_id, scope, kind, amount, window, per_s, mode, deleted, unit)


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


# Built once, and their rows taken apart by position: there may be millions.
_FED = (tables.keys, tables.credentials, tables.limits, tables.gaps)
_FIRST_OF_EACH = union_all(
    *(
        select(
            select(table.c.seq)
            .where(table.c.seq > bindparam("after"))
            .order_by(table.c.seq)
            .limit(bindparam("at_most", type_=BigInteger))
            .subquery()
            .c.seq
        )
        for table in _FED
    )
).subquery()
_FIRST = select(_FIRST_OF_EACH.c.seq).order_by(_FIRST_OF_EACH.c.seq).limit(bindparam("at_most", type_=BigInteger))
_LAST = select(func.max(_FIRST.subquery().c.seq))


def _between(statement: Select[Any], table: Table) -> Select[Any]:
    return statement.where(table.c.seq > bindparam("after"), table.c.seq <= bindparam("last"))


_KEYS = _between(
    select(
        tables.keys.c.seq,
        tables.keys.c.id,
        tables.keys.c.digest,
        tables.people.c.email,
        tables.keys.c.team,
        tables.keys.c.name,
        tables.keys.c.state,
        tables.keys.c.expires_us,
        tables.keys.c.canary,
        tables.keys.c.in_case,
        tables.keys.c.throttle_per_min,
        cast(tables.keys.c.retiring, Text),
        cast(tables.keys.c.policy, Text),
    ).join(tables.people, tables.people.c.id == tables.keys.c.owner_id),
    tables.keys,
)
_LIMIT_ROWS = limits_with_team_mode().with_only_columns(
    tables.limits.c.seq,
    tables.limits.c.id,
    tables.limits.c.scope,
    tables.limits.c.kind,
    tables.limits.c.amount,
    tables.limits.c.window,
    tables.limits.c.per_s,
    tables.limits.c.mode,
    tables.limits.c.is_default,
    tables.teams.c.mode,
    tables.limits.c.deleted,
    tables.limits.c.unit,
)
_LIMITS = _between(_LIMIT_ROWS, tables.limits)
_LIMIT = _LIMIT_ROWS.where(tables.limits.c.id == bindparam("which"))
_CREDENTIALS = _between(select(tables.credentials), tables.credentials)
_GAPS = _between(select(tables.gaps), tables.gaps)


_digests = msgspec.json.Decoder(list[tuple[str, int]])


def _key_row(row: Any) -> tuple[int, KeyRow]:
    seq, key_id, digest, owner, team, name, state, expires_us, canary, in_case, per_min, retiring, policy = row
    retired, allowed = _retiring(retiring), _policy(policy)
    return seq, KeyRow(key_id, digest, owner, team, name, state, expires_us, canary, in_case, per_min, retired, allowed)


def _retiring(text: str) -> tuple[tuple[bytes, int], ...]:
    return tuple([(bytes.fromhex(digest), until_us) for digest, until_us in _digests.decode(text)])


@lru_cache(maxsize=_POLICIES)
def _policy(text: str) -> Policy:
    return msgspec.json.decode(text, type=Policy)


def _gap_row(row: DbRow[Any]) -> tuple[int, GapRow]:
    return row.seq, GapRow(row.provider, row.model, row.feature, row.mended)


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
