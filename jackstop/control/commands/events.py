"""What reading the lake needs from control: that it is up to date, and that an export is on record."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from jackstop.control.client import parent_pid
from jackstop.control.commands import Context
from jackstop.store import audit, tables
from jackstop.store.audit import Tag

_MOST_NAMES = 5_000


def flush(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """Write what stopped gates left in their journals to the lake; a running control asks its worker instead."""
    # While control is away for a moment, a worker that goes on may be writing the lake.
    if ctx.live is None and parent_pid(ctx.home) is None:
        from jackstop.events.positions import LAKE_COMMANDS
        from jackstop.events.worker import catch_up

        def ask(name: str, args: dict[str, Any]) -> Any:
            with ctx.store.begin() as conn:
                return LAKE_COMMANDS[name](conn, args)

        catch_up(ctx.home, ask)
        return {"live": False, "written": True}
    return {"live": ctx.live is not None, "written": False}


def exported(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Put on record that events are about to leave: `format`, `since_us`, `until_us`."""
    detail = {name: args.get(name) for name in ("format", "since_us", "until_us")}
    with ctx.store.begin() as conn:
        seq = audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.EVENTS_EXPORT, "events", detail)
    return {"audit_seq": seq}


def names(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The names and teams of at most 5,000 keys, `ids`."""
    keys, ids = tables.keys, list(args["ids"])[:_MOST_NAMES]
    with ctx.store.begin() as conn:
        found = conn.execute(select(keys.c.id, keys.c.name, keys.c.team).where(keys.c.id.in_(ids))).all()
    return {row.id: {"name": row.name, "team": row.team} for row in found}


COMMANDS = {"events flush": flush, "events exported": exported, "events names": names}
