"""Control's side of the ledger: windows, leases, and what is settled on them, inside a transaction of the store.

The rule that everything here keeps, also as a constraint of the database: settled + leased ≤ amount + over,
where `over` is zero but for an overrun or a limit that is only observed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, bindparam, insert, select, update

from jackstop.ledger import windows as calendar
from jackstop.store.tables import leases, limits, windows


class Grant(NamedTuple):
    """What a process gets. `lacking` is what it needs beyond that, to be had from `holders` or not at all.

    `left` is what nobody holds after this.
    """

    lease_id: int
    amount: int
    lacking: int = 0
    left: int = 0
    over: bool = False
    holders: tuple[str, ...] = ()
    frozen: bool = False


class _Standing(NamedTuple):
    """How a window stands, and one process's lease of it; no `lease_id` where there is none yet."""

    amount: int
    settled: int
    leased: int
    over: int
    lease_id: int | None = None
    own: int = 0
    total: int = 0
    booked: int = 0
    journaled: int = 0


class Opening(NamedTuple):
    """When windows may be opened: now, ahead of time, or not at all while the clock is in doubt."""

    now_us: int
    ahead_us: int
    frozen: bool


class Change(NamedTuple):
    """What happens to a lease: granted or taken back (`total`), settled, noted from the gate's journal."""

    total: int = 0
    booked: int = 0
    journaled: int = 0


# Built once: building a statement costs more than running it.
_FIND = (
    select(
        limits.c.amount.label("limit_amount"),
        limits.c.window,
        limits.c.deleted,
        windows.c.amount,
        windows.c.settled,
        windows.c.leased,
        windows.c.over,
        leases.c.id.label("lease_id"),
        leases.c.leased.label("own"),
        leases.c.total,
        leases.c.booked,
        leases.c.journaled,
    )
    .select_from(
        limits.outerjoin(
            windows, and_(windows.c.limit_id == limits.c.id, windows.c.window_us == bindparam("start"))
        ).outerjoin(
            leases,
            and_(
                leases.c.limit_id == limits.c.id,
                leases.c.window_us == bindparam("start"),
                leases.c.instance == bindparam("who"),
            ),
        )
    )
    .where(limits.c.id == bindparam("which"))
)
_HOLDERS = select(leases.c.instance, leases.c.leased).where(
    leases.c.limit_id == bindparam("which"),
    leases.c.window_us == bindparam("start"),
    leases.c.instance != bindparam("who"),
    leases.c.leased > 0,
)
_LEASES = select(leases).where(leases.c.id.in_(bindparam("ids", expanding=True)))
_WINDOWS = select(windows).where(
    windows.c.limit_id.in_(bindparam("ids", expanding=True)),
    windows.c.window_us.in_(bindparam("starts", expanding=True)),
)
_SET_LEASE = (
    update(leases)
    .where(leases.c.id == bindparam("which"))
    .values({name: bindparam(f"new_{name}") for name in ("total", "booked", "journaled", "leased")})
)
_SET_WINDOW = (
    update(windows)
    .where(windows.c.limit_id == bindparam("which"), windows.c.window_us == bindparam("start"))
    .values({name: bindparam(f"new_{name}") for name in ("settled", "leased", "over")})
)
_OPEN = insert(windows).values({name: bindparam(name) for name in ("limit_id", "window_us", "amount")})
_NEW_LEASE = (
    insert(leases)
    .values({name: bindparam(name) for name in ("limit_id", "window_us", "instance", "total", "leased")})
    .returning(leases.c.id)
)


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
    least: int = 0,
    final: bool = False,
) -> Grant:
    """Lease more of a limit to a process.

    Beyond `need` as much of `want` as keeps its lease at the most at 1 / (2 × processes) of what the others do
    not hold. If `need` does not fit: nothing, and who could be called on to return enough for `least`; with
    `final`, or when that is nobody, all that is left if it suffices for `least`. An observed limit is extended
    instead (`over`).
    """
    found = _find(conn, limit_id, window_us, instance, opening)
    if found is None:
        return Grant(0, 0, need, frozen=True)
    left = max(0, found.amount - found.settled - found.leased)
    lacking = max(0, need - left)
    if lacking and observed:
        return Grant(_grow(conn, limit_id, window_us, instance, found, need, observed=True), need, over=True)
    if lacking:
        others = () if final else _others(conn, limit_id, window_us, instance, least - left)
        if others:
            return Grant(0, 0, lacking, left, holders=others)
        amount = left if left >= least else 0
    else:
        amount = max(need, min(want, (left + found.own) // (2 * processes) - found.own, left))
    lease_id = _grow(conn, limit_id, window_us, instance, found, amount, observed=False)
    return Grant(lease_id, amount, lacking, left - amount, over=observed and found.over > 0)


def _find(conn: Connection, limit_id: int, window_us: int, instance: str, opening: Opening) -> _Standing | None:
    """The window's books, opened if it is this one's turn; None where it may not be opened or was left behind."""
    names = {"which": limit_id, "start": window_us, "who": instance}
    found: Any = conn.execute(_FIND, names).one_or_none()
    if found is None or found.deleted or opening.frozen:
        return None
    start, end = calendar.bounds(found.window, window_us)
    if start != window_us or opening.now_us >= end or opening.now_us + opening.ahead_us < start:
        return None
    amount = found.amount
    if amount is None:
        conn.execute(_OPEN, {"limit_id": limit_id, "window_us": window_us, "amount": found.limit_amount})
        return _Standing(found.limit_amount, 0, 0, 0)
    if amount != found.limit_amount:
        amount = _lower(conn, limit_id, window_us, found)
    window = amount, found.settled, found.leased, found.over
    if found.lease_id is None:
        return _Standing(*window)
    return _Standing(*window, found.lease_id, found.own, found.total, found.booked, found.journaled)


def _lower(conn: Connection, limit_id: int, window_us: int, found: Any) -> int:
    """Follow a limit that was changed, as far as what is settled and leased allows; the window's amount."""
    amount = max(found.limit_amount, found.settled + found.leased - found.over)
    conn.execute(
        update(windows).where(windows.c.limit_id == limit_id, windows.c.window_us == window_us).values(amount=amount)
    )
    return int(amount)


def _others(conn: Connection, limit_id: int, window_us: int, instance: str, lacking: int) -> tuple[str, ...]:
    """Who else holds leases, if together they hold what lacks."""
    held = conn.execute(_HOLDERS, {"which": limit_id, "start": window_us, "who": instance}).all()
    return tuple(each.instance for each in held) if sum(each.leased for each in held) >= lacking else ()


def _grow(
    conn: Connection, limit_id: int, window_us: int, who: str, found: _Standing, amount: int, *, observed: bool
) -> int:
    """Add to a process's lease, made if there is none; its number. Beyond the limit only if it is `observed`."""
    total = found.total + amount
    own = max(0, total - found.booked)
    lease_id = found.lease_id
    if lease_id is None:
        new = {"limit_id": limit_id, "window_us": window_us, "instance": who, "total": total, "leased": own}
        lease_id = int(conn.execute(_NEW_LEASE, new).scalar_one())
    elif amount:
        lease = {"which": lease_id, "new_total": total, "new_booked": found.booked, "new_leased": own}
        conn.execute(_SET_LEASE, {**lease, "new_journaled": found.journaled})
    if amount:
        held = found.leased + own - found.own
        over = max(found.over, found.settled + held - found.amount) if observed else found.over
        window = {"which": limit_id, "start": window_us, "new_settled": found.settled}
        conn.execute(_SET_WINDOW, {**window, "new_leased": held, "new_over": over})
    return lease_id


def change(conn: Connection, lease_id: int, *, total: int = 0, booked: int = 0, journaled: int = 0) -> None:
    """Change one lease."""
    change_all(conn, {lease_id: Change(total, booked, journaled)})


def change_all(conn: Connection, changes: Mapping[int, Change]) -> None:
    """Change leases, and the books of their windows with them.

    What is settled is booked even beyond the limit, as `over`; what is leased never is: the database refuses it.
    """
    shifts: dict[tuple[int, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
    rows = []
    for lease in conn.execute(_LEASES, {"ids": list(changes)}):
        by = changes[lease.id]
        total, booked = lease.total + by.total, lease.booked + by.booked
        leased = max(0, total - booked)
        journaled = lease.journaled + by.journaled
        rows.append(
            {
                "which": lease.id,
                "new_total": total,
                "new_booked": booked,
                "new_journaled": journaled,
                "new_leased": leased,
            }
        )
        if by.total or by.booked:
            settled, held = shifts[lease.limit_id, lease.window_us]
            shifts[lease.limit_id, lease.window_us] = (settled + by.booked, held + leased - lease.leased)
    if rows:
        conn.execute(_SET_LEASE, rows)
    if shifts:
        _shift(conn, shifts)


def _shift(conn: Connection, shifts: Mapping[tuple[int, int], tuple[int, int]]) -> None:
    rows = []
    ids, starts = {limit_id for limit_id, _ in shifts}, {start for _, start in shifts}
    for window in conn.execute(_WINDOWS, {"ids": list(ids), "starts": list(starts)}):
        by = shifts.get((window.limit_id, window.window_us))
        if by is None:
            continue
        settled, leased = window.settled + by[0], window.leased + by[1]
        beyond = settled + leased - window.amount if by[0] > 0 else 0
        rows.append(
            {
                "which": window.limit_id,
                "start": window.window_us,
                "new_settled": settled,
                "new_leased": leased,
                "new_over": max(window.over, beyond),
            }
        )
    conn.execute(_SET_WINDOW, rows)


def reconcile(conn: Connection, instance: str) -> None:
    """Take back what was granted but never reached the gate's journal, and what it returned unheard.

    Only right while nothing is under way to that gate, and after its journal was booked to its end.
    """
    apart = select(leases).where(leases.c.instance == instance, leases.c.total != leases.c.journaled)
    change_all(conn, {lease.id: Change(total=lease.journaled - lease.total) for lease in conn.execute(apart)})


def close(conn: Connection, instance: str) -> list[Row[Any]]:
    """Return whatever a dead process had left; gives the leases that still had something, as they were."""
    rest = conn.execute(select(leases).where(leases.c.instance == instance, leases.c.leased > 0)).all()
    change_all(conn, {lease.id: Change(total=-lease.leased) for lease in rest})
    return list(rest)


def charge_rest(conn: Connection, instance: str) -> list[Row[Any]]:
    """Book the rest of a dead process's leases as spent: its journal lost its tail, so it may have been."""
    rest = conn.execute(select(leases).where(leases.c.instance == instance, leases.c.leased > 0)).all()
    change_all(conn, {lease.id: Change(booked=lease.leased) for lease in rest})
    return list(rest)
