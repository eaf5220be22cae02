"""Puts on record that address data came or went: without it, detections see less."""

from __future__ import annotations

from typing import Any

from jackstop.control.commands import Context
from jackstop.store import audit
from jackstop.store.audit import Tag


def imported(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name`, `kind`, `ranges` and `source` (the file's name) of what was imported."""
    detail = {name: args.get(name) for name in ("kind", "ranges", "source")}
    with ctx.store.begin() as conn:
        seq = audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.ADDRESSES_IMPORT, str(args["name"]), detail)
    return {"audit_seq": seq}


def removed(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name` of what is about to be removed."""
    with ctx.store.begin() as conn:
        seq = audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.ADDRESSES_REMOVE, str(args["name"]), {})
    return {"audit_seq": seq}


COMMANDS = {"addresses imported": imported, "addresses removed": removed}
