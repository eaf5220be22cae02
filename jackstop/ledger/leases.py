"""Control's side of the ledger: windows, leases, and what is settled on them, inside a transaction of the store.

The rule that everything here keeps, also as a constraint of the database: settled + leased ≤ amount + over,
where `over` is zero but for an overrun or a limit that is only observed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from jackstop.ledger import windows as calendar
from jackstop.store.tables import leases, limits, windows


class Grant(NamedTuple):
    """What a process gets. `lacking` is what it needs beyond that, to be had from `holders` or not at all."""

    lease_id: int
    amount: int
    lacking: int = 0
    over: bool = False
    holders: tuple[str, ...] = ()
    frozen: bool = False


class Opening(NamedTuple):
    """When windows may be opened: now, ahead of time, or not at all while the clock is in doubt."""

    now_us: int
    ahead_us: int
    frozen: bool


def grant(
    conn: Connection,
    limit_id: int,
    window_us: int,
    instance: str,
    *,
    need: int,
    want: int,
    processes: int,
    observed: bool,
    opening: Opening,
    final: bool = False,
) -> Grant:
    """Lease more of a limit to a process.

    At most what is left / (2 × processes) beyond `need`. If `need` does not fit: nothing, and who holds leases
    that could be recalled; with `final`, or when nobody holds any, all that is left. An observed limit is
    extended instead (`over`).
    """
    window = _window(conn, limit_id, window_us, opening)
    if window is None:
        return Grant(0, 0, need, frozen=True)
    left = window.amount - window.settled - window.leased
    lacking = max(0, need - max(0, left))
    if lacking and observed:
        lease_id = _grow(conn, limit_id, window_us, instance, need)
        return Grant(lease_id, need, over=True)
    if lacking:
        others = _holders(conn, limit_id, window_us, instance)
        if others and not final:
            return Grant(0, 0, lacking, holders=others)
        amount = max(0, left)
    else:
        amount = max(need, min(want, left // (2 * processes)))
    lease_id = _grow(conn, limit_id, window_us, instance, amount)
    return Grant(lease_id, amount, lacking, over=observed and window.over > 0)


def _window(conn: Connection, limit_id: int, window_us: int, opening: Opening) -> Row[Any] | None:
    """The window's row, opened if it is this one's turn; None where it may not be opened or was left behind."""
    of_limit = windows.c.limit_id == limit_id
    found = conn.execute(select(windows).where(of_limit, windows.c.window_us == window_us)).one_or_none()
    limit = conn.execute(select(limits).where(limits.c.id == limit_id)).one_or_none()
    if limit is None or limit.deleted or opening.frozen:
        return None
    start, end = calendar.bounds(limit.window, window_us)
    if start != window_us or opening.now_us >= end or opening.now_us + opening.ahead_us < start:
        return None
    if found is not None:
        if found.amount != limit.amount:
            _lower(conn, found, limit.amount)
            return conn.execute(select(windows).where(of_limit, windows.c.window_us == window_us)).one()
        return found
    conn.execute(insert(windows).values(limit_id=limit_id, window_us=window_us, amount=limit.amount))
    return conn.execute(select(windows).where(of_limit, windows.c.window_us == window_us)).one()


def _lower(conn: Connection, window: Row[Any], amount: int) -> None:
    """Follow a limit that was changed, as far as what is settled and leased allows."""
    floor = window.settled + window.leased - window.over
    conn.execute(
        update(windows)
        .where(windows.c.limit_id == window.limit_id, windows.c.window_us == window.window_us)
        .values(amount=max(amount, floor))
    )


def _holders(conn: Connection, limit_id: int, window_us: int, instance: str) -> tuple[str, ...]:
    statement = select(leases.c.instance).where(
        leases.c.limit_id == limit_id,
        leases.c.window_us == window_us,
        leases.c.instance != instance,
        leases.c.leased > 0,
    )
    return tuple(conn.execute(statement).scalars())


def _grow(conn: Connection, limit_id: int, window_us: int, instance: str, amount: int) -> int:
    same = (leases.c.limit_id == limit_id, leases.c.window_us == window_us, leases.c.instance == instance)
    lease_id = conn.execute(select(leases.c.id).where(*same)).scalar()
    if lease_id is None:
        lease_id = conn.execute(
            insert(leases).values(limit_id=limit_id, window_us=window_us, instance=instance).returning(leases.c.id)
        ).scalar_one()
    if amount:
        change(conn, lease_id, total=amount)
    return int(lease_id)


def change(conn: Connection, lease_id: int, *, total: int = 0, booked: int = 0, journaled: int = 0) -> None:
    """Grant or take back (`total`), settle (`booked`), note what the gate's journal says (`journaled`)."""
    lease = conn.execute(select(leases).where(leases.c.id == lease_id)).one()
    values = {
        "total": lease.total + total,
        "booked": lease.booked + booked,
        "journaled": lease.journaled + journaled,
    }
    leased = max(0, values["total"] - values["booked"])
    conn.execute(update(leases).where(leases.c.id == lease_id).values(**values, leased=leased))
    if total or booked:
        _shift(conn, lease.limit_id, lease.window_us, settled=booked, leased=leased - lease.leased)


def _shift(conn: Connection, limit_id: int, window_us: int, *, settled: int, leased: int) -> None:
    same = (windows.c.limit_id == limit_id, windows.c.window_us == window_us)
    window = conn.execute(select(windows).where(*same)).one()
    now_settled, now_leased = window.settled + settled, window.leased + leased
    over = max(window.over, now_settled + now_leased - window.amount)
    conn.execute(update(windows).where(*same).values(settled=now_settled, leased=now_leased, over=over))


def reconcile(conn: Connection, instance: str) -> None:
    """Take back what was granted but never reached the gate's journal, and what it returned unheard.

    Only right while nothing is under way to that gate, and after its journal was booked to its end.
    """
    apart = select(leases).where(leases.c.instance == instance, leases.c.total != leases.c.journaled)
    for lease in conn.execute(apart).all():
        change(conn, lease.id, total=lease.journaled - lease.total)


def close(conn: Connection, instance: str) -> list[Row[Any]]:
    """Return whatever a dead process had left; gives the leases that still had something, as they were."""
    rest = conn.execute(select(leases).where(leases.c.instance == instance, leases.c.leased > 0)).all()
    for lease in rest:
        change(conn, lease.id, total=-lease.leased)
    return list(rest)


def charge_rest(conn: Connection, instance: str) -> list[Row[Any]]:
    """Book the rest of a dead process's leases as spent: its journal lost its tail, so it may have been."""
    rest = conn.execute(select(leases).where(leases.c.instance == instance, leases.c.leased > 0)).all()
    for lease in rest:
        change(conn, lease.id, booked=lease.leased)
    return list(rest)
