"""Cost alerts that were given, and control's part in the daily digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from jackstop.control.commands import Context
from jackstop.control.commands.doctor import examine
from jackstop.cost.digest import DAY_US, TOP, BudgetLine, CaseLine, Spend, State, day_before, render, title
from jackstop.cost.watch import page_of_books, subject
from jackstop.keys.amounts import format_amount
from jackstop.notify.outbox import News, queue
from jackstop.store import tables

PAGE_ROWS = 2_000
_LAST_DIGEST = "cost_digest"
"""In `meta`: the start of the last day whose digest was queued."""


def alerts(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of the alerts that were given, the newest first: optional `after`, how many were read."""
    given, limits, offset = tables.cost_alerts, tables.limits, int(args.get("after") or 0)
    statement = (
        select(given, limits.c.scope, limits.c.kind, limits.c.amount, limits.c.window)
        .join(limits, limits.c.id == given.c.limit_id)
        .order_by(given.c.ts_us.desc(), given.c.limit_id, given.c.name)
        .offset(offset)
        .limit(PAGE_ROWS)
    )
    with ctx.store.begin() as conn:
        rows = [
            {
                "ts_us": row.ts_us,
                "scope": row.scope,
                "window": row.window,
                "window_start_us": row.window_us,
                "alert": row.name,
                "limit": format_amount(row.kind, row.amount),
                "id": row.limit_id,
            }
            for row in conn.execute(statement)
        ]
    return {"rows": rows, "after": offset + PAGE_ROWS if len(rows) == PAGE_ROWS else None}


def digest(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What control knows for the digest of the day `day_us`; many short transactions."""
    return dict(msgspec.to_builtins(_state(ctx, int(args["day_us"]))))


def _state(ctx: Context, day_us: int) -> State:
    cases, given = tables.cases, tables.cost_alerts
    is_open = cases.c.state == "open"
    with ctx.store.begin() as conn:
        open_cases = conn.execute(select(func.count()).select_from(cases).where(is_open)).scalar_one()
        newest = select(cases).where(is_open).order_by(cases.c.opened_us.desc(), cases.c.id.desc()).limit(TOP)
        case_lines = tuple(CaseLine(row.id, row.severity, row.title) for row in conn.execute(newest))
        that_day = given.c.ts_us.between(day_us, day_us + DAY_US - 1)
        alerts_given = conn.execute(select(func.count()).select_from(given).where(that_day)).scalar_one()
    return State(tuple(_fullest(ctx, day_us)), alerts_given, open_cases, case_lines, tuple(_health(ctx)))


def _fullest(ctx: Context, day_us: int) -> list[BudgetLine]:
    """The budgets of the day, the month and for life that are half used or more, the fullest first."""
    found, after = list[Any](), 0
    while True:
        with ctx.store.begin() as conn:
            page = page_of_books(conn, after, day_us, PAGE_ROWS)
        found += [row for row in page if row.settled and 2 * row.settled >= row.amount and row.window != "hour"]
        found = sorted(found, key=lambda row: (row.amount and -row.settled * 1_000 // row.amount, row.id))[: 2 * TOP]
        if not page:
            break
        after = page[-1].id
    with ctx.store.begin() as conn:
        return [BudgetLine(subject(conn, row.scope), row.kind, row.amount, row.window, row.settled) for row in found]


def _health(ctx: Context) -> Iterator[str]:
    for result in examine(ctx, {})["results"]:
        if result["state"] != "ok":
            yield f"{result['check']}: {result['problem']}"
    outbox = tables.outbox
    with ctx.store.begin() as conn:
        dead = conn.execute(select(func.count()).select_from(outbox).where(outbox.c.state == "dead")).scalar_one()
    if dead:
        yield f"notifications: {dead} could not be delivered"


def due(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The day, `day_us`, whose digest is to be made now, or None."""
    at, now_us = ctx.settings.alerts.digest_at, ctx.clock.now_us()
    if not at:
        return {"day_us": None}
    day_us = day_before(now_us)
    with ctx.store.begin() as conn:
        last = _last(conn)
        if last is None:
            # A new installation has no day before; its first digest is of the day on which it began.
            conn.execute(insert(tables.meta).values(key=_LAST_DIGEST, value=str(day_us)))
            return {"day_us": None}
    hour, _, minute = at.partition(":")
    is_time = now_us % DAY_US >= (int(hour) * 60 + int(minute)) * 60_000_000
    return {"day_us": day_us if is_time and last < day_us else None}


def _last(conn: Connection) -> int | None:
    value = conn.execute(select(tables.meta.c.value).where(tables.meta.c.key == _LAST_DIGEST)).scalar()
    return None if value is None else int(value)


def queue_digest(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Queue the digest of the day of this `spend` for every channel that takes digests; once for each day."""
    spend = msgspec.convert(args["spend"], Spend)
    text = render(spend, _state(ctx, spend.day_us))
    with ctx.store.begin() as conn:
        last = _last(conn)
        if last is not None and last >= spend.day_us:
            return {"queued": 0}
        meta, value = tables.meta, str(spend.day_us)
        if conn.execute(update(meta).where(meta.c.key == _LAST_DIGEST).values(value=value)).rowcount == 0:
            conn.execute(insert(meta).values(key=_LAST_DIGEST, value=value))
        news = News(
            kind="digest",
            severity="info",
            title=title(spend),
            text=text,
            case_id=None,
            uid=f"digest-{spend.day_us}",
            group_key=f"digest-{spend.day_us}",
        )
        return {"queued": queue(conn, ctx.clock.now_us(), news)}


COMMANDS = {
    "cost alerts": alerts,
    "cost digest": digest,
    "cost digest due": due,
    "cost digest queue": queue_digest,
}
