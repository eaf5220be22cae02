"""Budgets: setting them, showing the books, and releasing what no provider will account for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, case, select, update
from sqlalchemy import Row as DbRow

from jackstop.control.commands import Context
from jackstop.control.commands.people import email_of, person_id
from jackstop.control.commands.team import ensure_team
from jackstop.errors import UserError
from jackstop.keys.amounts import Budget, parse_budget
from jackstop.keys.issue import LimitSpec, add_limit, find_person
from jackstop.ledger.windows import bounds
from jackstop.settings import Mode
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.store.engine import Store
from jackstop.store.feed import limit_mode, limits_with_team_mode

PAGE_ROWS = 2_000
_BUDGET_KINDS = ("usd", "tokens", "requests")


def set_budget(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`scope`, `amount` (`5usd/day`, or `none` to take all budgets away), optional `mode`."""
    scope, amount, mode = _spelled(str(args["scope"])), str(args["amount"]), args.get("mode")
    with ctx.store.begin() as conn:
        is_new = _ensure_scope(conn, ctx, scope)
        subject = check_scope(conn, scope)
        if amount.strip().lower() == "none":
            removed = _remove(conn, ctx.store, _budgets_of(scope))
            if not removed:
                raise UserError(f"{scope} has no budget", "see `jackstop budget show`", 2)
            audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.BUDGET_REMOVE, subject, {"removed": removed})
            return {"scope": scope, "removed": removed}
        budget = parse_budget(amount)
        limit_id = set_limit(conn, ctx.store, scope, budget, mode, ctx.clock.now_us())
        detail = {"kind": budget.kind, "amount": budget.amount, "window": budget.window, "mode": mode or ""}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.BUDGET_SET, subject, detail)
    made = {"scope": scope, "limit": limit_id, "kind": budget.kind, "amount": budget.amount, "window": budget.window}
    return {**made, "new_scope": is_new}


def _ensure_scope(conn: Connection, ctx: Context, scope: str) -> bool:
    """Add a team or an owner that is not there yet: a budget may stand before the first key. Whether it did."""
    kind, _, name = scope.partition(":")
    if kind == "team" and name:
        found = conn.execute(select(tables.teams.c.name).where(tables.teams.c.name == name)).first()
        ensure_team(conn, ctx, name)
        return found is None
    if kind == "owner" and name:
        known = find_person(conn, email_of(name))
        person_id(conn, ctx, email_of(name), "owner")
        return known is None
    return False


def set_limit(conn: Connection, store: Store, scope: str, budget: Budget, mode: Mode | None, now_us: int) -> int:
    """Set a scope's budget of this kind and window, and take away the scope's defaults; returns its id.

    The books of windows that are open follow: up at once, down to what is settled and leased already.
    Control lowers them further as leases come back.
    """
    limits = tables.limits
    here = and_(_budgets_of(scope), limits.c.kind == budget.kind, limits.c.window == budget.window)
    limit_id: int | None = conn.execute(select(limits.c.id).where(here)).scalar()
    _remove(conn, store, and_(_budgets_of(scope), limits.c.is_default, limits.c.id != (limit_id or 0)))
    if limit_id is None:
        return add_limit(conn, store, scope, LimitSpec(budget.kind, budget.amount, budget.window, mode=mode))
    conn.execute(
        update(limits)
        .where(limits.c.id == limit_id)
        .values(amount=budget.amount, is_default=False, mode=mode, seq=store.next_seq(conn))
    )
    books, since_us = tables.windows, bounds(budget.window, now_us)[0]
    taken = books.c.settled + books.c.leased
    conn.execute(
        update(books)
        .where(books.c.limit_id == limit_id, books.c.window_us >= since_us)
        .values(amount=case((taken > budget.amount, taken), else_=budget.amount))
    )
    return limit_id


def _spelled(scope: str) -> str:
    """An owner's address as it is stored."""
    return f"owner:{scope[6:].strip().lower()}" if scope.startswith("owner:") else scope.strip()


def check_scope(conn: Connection, scope: str) -> str:
    """What the audit log calls a scope. Raises UserError for one that does not exist."""
    kind, _, name = scope.partition(":")
    if scope == "org":
        return scope
    if kind == "owner" and name:
        person = find_person(conn, name)
        if person is None:
            raise UserError(f"nobody has the address {name}", "see `jackstop people list`", 2)
        return f"person:{person}"
    columns = {"team": tables.teams.c.name, "key": tables.keys.c.id, "credential": tables.credentials.c.name}
    if kind not in columns or not name:
        raise UserError(f"{scope!r} is no scope", "use org, team:NAME, owner:EMAIL, key:ID or credential:NAME", 2)
    if conn.execute(select(columns[kind]).where(columns[kind] == name)).first() is None:
        raise UserError(f"there is no {kind} {name}", f"see `jackstop {kind} list`", 2)
    return scope


def _budgets_of(scope: str) -> Any:
    limits = tables.limits
    return and_(limits.c.scope == scope, limits.c.kind.in_(_BUDGET_KINDS), ~limits.c.deleted)


def _remove(conn: Connection, store: Store, which: Any) -> int:
    limits = tables.limits
    found = conn.execute(select(limits.c.id).where(which).order_by(limits.c.id)).scalars().all()
    for limit_id in found:
        conn.execute(update(limits).where(limits.c.id == limit_id).values(deleted=True, seq=store.next_seq(conn)))
    return len(found)


def show(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of budgets with the books of their current window: optional `scope`, and `after` (a limit's id)."""
    if ctx.live is not None and not args.get("after"):
        ctx.live.flush()
    limits, now_us = tables.limits, ctx.clock.now_us()
    held = _held(ctx)
    with ctx.store.begin() as conn:
        statement = (
            limits_with_team_mode()
            .where(~limits.c.deleted, limits.c.kind.in_(_BUDGET_KINDS), limits.c.id > int(args.get("after") or 0))
            .order_by(limits.c.id)
            .limit(PAGE_ROWS)
        )
        if args.get("scope"):
            scope = _spelled(str(args["scope"]))
            check_scope(conn, scope)
            statement = statement.where(limits.c.scope == scope)
        found = conn.execute(statement).all()
        books = _books(conn, found, now_us)
        rows = [_shown(ctx, limit, books, held, now_us) for limit in found]
    return {"rows": rows, "after": found[-1].id if len(found) == PAGE_ROWS else None}


def _books(conn: Connection, found: Sequence[DbRow[Any]], now_us: int) -> dict[tuple[int, int], tuple[int, int]]:
    """What is settled and leased, by limit and start of the window, of the windows that are open now."""
    books = tables.windows
    asked = select(books.c.limit_id, books.c.window_us, books.c.settled, books.c.leased).where(
        books.c.limit_id.in_([limit.id for limit in found]),
        books.c.window_us.in_({bounds(limit.window, now_us)[0] for limit in found}),
    )
    return {(row.limit_id, row.window_us): (row.settled, row.leased) for row in conn.execute(asked)}


def _shown(
    ctx: Context,
    limit: DbRow[Any],
    books: dict[tuple[int, int], tuple[int, int]],
    held: dict[tuple[int, int], int],
    now_us: int,
) -> dict[str, Any]:
    start_us, _ = bounds(limit.window, now_us)
    settled, leased = books.get((limit.id, start_us), (0, 0))
    holds = held.get((limit.id, start_us), 0)
    usd = limit.kind == "usd"
    return {
        "scope": limit.scope,
        "window": limit.window,
        "limit_nusd": limit.amount if usd else None,
        "settled_nusd": settled if usd else None,
        "held_nusd": holds if usd else None,
        "leased_nusd": leased if usd else None,
        "kind": limit.kind,
        "limit": limit.amount,
        "settled": settled,
        "held": holds,
        "leased": leased,
        "window_start_us": start_us,
        "mode": limit_mode(limit.mode, limit.is_default, limit.team_mode, ctx.settings.mode),
        "default": limit.is_default,
        "id": limit.id,
    }


def _held(ctx: Context) -> dict[tuple[int, int], int]:
    held: dict[tuple[int, int], int] = defaultdict(int)
    for hold in ctx.live.holds() if ctx.live is not None else ():
        for charge in hold["charges"]:
            held[charge["limit"], charge["window"]] += charge["amount"]
    return held


def holds(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Requests whose cost is not known: `under way` in a gate, `open` after a crash, `estimated` at their maximum."""
    table, rows = tables.open_holds, []
    if ctx.live is not None and not args.get("after"):
        ctx.live.flush()
        rows = [{**_hold(hold), "state": "under way"} for hold in ctx.live.holds()]
    with ctx.store.begin() as conn:
        statement = (
            select(table)
            .where(table.c.state != "released", table.c.id > str(args.get("after") or ""))
            .order_by(table.c.id)
            .limit(PAGE_ROWS)
        )
        stored = [row._asdict() for row in conn.execute(statement)]
    rows += [{**_hold(hold), "state": hold["state"]} for hold in stored]
    return {"rows": rows, "after": stored[-1]["id"] if len(stored) == PAGE_ROWS else None}


def _hold(hold: dict[str, Any]) -> dict[str, Any]:
    return {name: hold.get(name) for name in ("id", "ts_us", "key_id", "provider", "model", "credential", "nusd")}


def release(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Take an open or estimated hold (`hold`) out of the books, with a `reason`."""
    hold_id, reason = str(args["hold"]), str(args.get("reason") or "").strip()
    if not reason:
        raise UserError("a release needs a reason", "add --reason TEXT; it goes into the audit log", 2)
    table = tables.open_holds
    if ctx.live is not None:
        ctx.live.flush()
    with ctx.store.begin() as conn:
        hold = conn.execute(select(table).where(table.c.id == hold_id)).first()
        if hold is None:
            raise _no_hold(ctx, hold_id)
        if hold.state == "released":
            raise UserError(f"the hold {hold_id} was released before", "see `jackstop budget holds`", 2)
        for charge in hold.charges:
            _uncharge(conn, charge)
        conn.execute(update(table).where(table.c.id == hold_id).values(state="released", reason=reason))
        detail = {"nusd": hold.nusd, "state": hold.state, "reason": reason}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.HOLD_RELEASE, f"hold:{hold_id}", detail)
    return {"id": hold_id, "nusd": hold.nusd, "state": "released"}


def _no_hold(ctx: Context, hold_id: str) -> UserError:
    if ctx.live is not None and any(hold["id"] == hold_id for hold in ctx.live.holds()):
        return UserError(f"the request of hold {hold_id} is still under way", "wait until it ends", 2)
    return UserError(f"there is no hold {hold_id}", "see `jackstop budget holds`", 2)


def _uncharge(conn: Connection, charge: dict[str, Any]) -> None:
    books, amount = tables.windows, int(charge["amount"])
    conn.execute(
        update(books)
        .where(books.c.limit_id == charge["limit"], books.c.window_us == charge["window"])
        .values(settled=case((books.c.settled > amount, books.c.settled - amount), else_=0))
    )


COMMANDS = {"budget set": set_budget, "budget show": show, "budget holds": holds, "budget release": release}
