"""Teams: what keys are grouped by, and whether defaults enforce for them."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.store.feed import touch_limits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def simple_name(text: str, what: str) -> str:
    """A name of a team or credential. Raises UserError for one that could not stand in a path or a scope."""
    if not _NAME.fullmatch(text):
        raise UserError(
            f"{text!r} is not a name for a {what}", "use letters, digits, dots, dashes and underscores, at most 64", 2
        )
    return text


def ensure_team(conn: Connection, ctx: Context, name: str) -> str:
    """The team with this name; a new one is added, and that is audited."""
    table = tables.teams
    simple_name(name, "team")
    if conn.execute(select(table.c.name).where(table.c.name == name)).first() is None:
        conn.execute(insert(table).values(name=name, mode=None, created_us=ctx.clock.now_us()))
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.TEAM_ADD, f"team:{name}")
    return name


def add(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name`, and optionally `mode`; of a team that is there, the mode is set."""
    name, mode = str(args["name"]), args.get("mode")
    with ctx.store.begin() as conn:
        ensure_team(conn, ctx, name)
        if mode:
            _set_mode(conn, ctx, name, mode)
    return {"name": name, "mode": mode}


def _set_mode(conn: Connection, ctx: Context, name: str, mode: str) -> None:
    limits, keys = tables.limits, tables.keys
    conn.execute(update(tables.teams).where(tables.teams.c.name == name).values(mode=mode))
    of_team = select("key:" + keys.c.id).where(keys.c.team == name)
    touch_limits(conn, ctx.store, and_(limits.c.is_default, limits.c.mode.is_(None), limits.c.scope.in_(of_team)))
    audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.TEAM_MODE, f"team:{name}", {"mode": mode})


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """All teams: `name`, `mode`, `created_us`."""
    with ctx.store.begin() as conn:
        found = conn.execute(select(tables.teams).order_by(tables.teams.c.name)).all()
    return {"rows": [{"name": row.name, "mode": row.mode, "created_us": row.created_us} for row in found]}


COMMANDS = {"team add": add, "team list": listing}
