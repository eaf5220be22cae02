"""People: who owns keys and who administers."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, select

from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.keys.issue import add_person, find_person
from jackstop.store import audit, tables
from jackstop.store.audit import Tag

_EMAIL = re.compile(r"[^@\s:]+@[^@\s:]+")
_PAGE_ROWS = 5_000


def email_of(text: str) -> str:
    """An address as it is stored: in lower case. Raises UserError for what is none."""
    email = text.strip().lower()
    if not _EMAIL.fullmatch(email) or len(email) > 254 or not email.isprintable():
        raise UserError(f"{text!r} is not an e-mail address", "write it as name@example.com", 2)
    return email


def person_id(conn: Connection, ctx: Context, email: str, role: str) -> int:
    """The person or service with this address; one who is new is added, and that is audited."""
    known = find_person(conn, email)
    if known is not None:
        return known
    added = add_person(conn, email, role, ctx.clock.now_us())
    audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.PERSON_ADD, f"person:{added}", {"role": role})
    return added


def listing(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of people: `id`, `email`, `role`, `created_us`; `after` is the id of the page before."""
    table = tables.people
    statement = select(table).where(table.c.id > int(args.get("after") or 0)).order_by(table.c.id).limit(_PAGE_ROWS)
    with ctx.store.begin() as conn:
        found = conn.execute(statement).all()
    rows = [{"id": row.id, "email": row.email, "role": row.role, "created_us": row.created_us} for row in found]
    return {"rows": rows, "after": found[-1].id if len(found) == _PAGE_ROWS else None}


COMMANDS = {"people list": listing}
