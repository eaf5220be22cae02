"""Setting up a home: folders, configuration, key-encryption key, database, pepper, administrator."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from jackstop.control.commands import Context
from jackstop.control.commands.people import email_of, person_id
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.vault.credentials import PEPPER, create_pepper


def begin(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Give a migrated database its pepper, its audit log and, with `admin`, an administrator.

    What is there stays as it is, so that it can be run again.
    """
    admin = args.get("admin")
    with ctx.store.begin() as conn:
        fresh = conn.execute(select(tables.meta.c.key).where(tables.meta.c.key == PEPPER)).first() is None
        if fresh:
            create_pepper(conn, ctx.vault)
            detail = {"kek": ctx.vault.current_kek_id}
            audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.INIT, "installation", detail)
        if admin:
            person_id(conn, ctx, email_of(str(admin)), "admin")
    return {"home": str(ctx.home.root), "fresh": fresh, "admin": email_of(str(admin)) if admin else None}


COMMANDS = {"init begin": begin}
