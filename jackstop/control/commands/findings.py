"""Findings: what the worker's detections report, and what they want to know of what was found before."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import select

from jackstop.cases import intake
from jackstop.cases.finding import Finding
from jackstop.cases.turn import SYSTEM, begin
from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.store import tables

MOST = 200
AT_ONCE = 50
SLICE_S = 0.02
"""How long one transaction takes findings in, each with its case, responses and news: leases come in between."""
_MOST_RECENT = 20_000


def report(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """At most 200 `findings` of the worker with this `epoch`; the same again change nothing."""
    try:
        found = msgspec.convert(args["findings"], list[Finding])
    except msgspec.ValidationError as error:
        raise UserError(
            f"the report holds what is no finding: {error}", "restart the worker: `jackstop reload`"
        ) from None
    return _take(ctx, found, int(args["epoch"]))


def hunted(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """At most 200 `findings` of a hunt; nothing is done about them by itself, and the same again change nothing.

    They are apart from what the worker finds, so that its own finding of the same thing is acted on.
    """
    try:
        found = msgspec.convert(args["findings"], list[Finding])
    except msgspec.ValidationError as error:
        raise UserError(
            f"the hunt's findings cannot be read: {error}", "use the program that control runs", 2
        ) from None
    return _take(ctx, [replace(each, uid=f"hunt-{each.uid}", hunted=True) for each in found], None)


def _take(ctx: Context, found: list[Finding], epoch: int | None) -> dict[str, Any]:
    """Take findings in, some at a time; those of a worker with its `epoch`, as long as no other has followed it."""
    if len(found) > MOST:
        raise UserError(f"{len(found)} findings are too many for one report", f"send at most {MOST} at a time", 2)
    taken = 0
    cases: set[int] = set()
    start = 0
    while True:
        with begin(ctx.store, ctx.settings, ctx.clock.now_us(), SYSTEM) as turn:
            if epoch is not None:
                intake.check_epoch(turn, epoch)
            part = intake.take(turn, found[start : start + AT_ONCE], epoch or 0, for_s=SLICE_S)
        start += part.looked_at
        taken += part.findings
        cases.update(part.cases)
        if start == len(found):
            break
    return {"taken": taken, "cases": sorted(cases)}


def recent(ctx: Context, args: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows for the detections' table `findings`: those last seen at or after `since_us`, the latest 20,000."""
    table = tables.findings
    statement = (
        select(table)
        .where(table.c.last_seen_us >= int(args["since_us"]))
        .order_by(table.c.id.desc())
        .limit(_MOST_RECENT)
    )
    with ctx.store.begin() as conn:
        found = conn.execute(statement).mappings().all()
    return [
        {
            "detection": row["detection"],
            "severity": row["severity"],
            "entity": row["entity"],
            "first_seen": row["first_seen_us"],
            "last_seen": row["last_seen_us"],
            "count": row["count"],
        }
        for row in reversed(found)
    ]


COMMANDS = {"findings report": report, "findings hunted": hunted, "findings recent": recent}
