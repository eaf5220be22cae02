"""What people said that detections are to leave alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, delete, insert, or_, select

from jackstop.control.commands import Context
from jackstop.control.commands.budget import check_scope
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import allowed


def allow(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`detection`, `entity` (each may be `*`), `reason`, optional `until` (a span). Replaces what was said before."""
    detection, entity = _detection(str(args["detection"])), str(args["entity"]).strip()
    reason = str(args["reason"]).strip()
    if not reason:
        raise UserError("what is left alone needs a reason", "add --reason TEXT; it goes into the audit log", 2)
    now_us = ctx.clock.now_us()
    until_us = now_us + parse_span_us(str(args["until"])) if args.get("until") else None
    row = {"detection": detection, "entity": entity, "until_us": until_us, "reason": reason}
    with ctx.store.begin() as conn:
        named = _named(conn, entity)
        conn.execute(delete(allowed).where(_same(detection, entity)))
        conn.execute(insert(allowed).values(**row, created_us=now_us))
        detail = {"reason": reason, "until_us": until_us or 0}
        subject = f"detection:{detection} {named}"
        audit.record(conn, now_us, ctx.actor, Tag.DETECTION_ALLOW, subject, detail)
    return row


def disallow(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`detection`, `entity`."""
    detection, entity = str(args["detection"]), str(args["entity"])
    with ctx.store.begin() as conn:
        if not conn.execute(delete(allowed).where(_same(detection, entity))).rowcount:
            raise UserError(f"{detection} does not leave {entity} alone", "see `jackstop detections allowed`", 2)
        named = _named(conn, entity)
        subject = f"detection:{detection} {named}"
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.DETECTION_DISALLOW, subject)
    return {"detection": detection, "entity": entity}


def _named(conn: Connection, entity: str) -> str:
    """What the audit log calls an entity; a provider's account may be one that only logs name."""
    is_elsewhere = entity.startswith(("account:", "principal:", "provider_key:", "network:"))
    return entity if entity == "*" or is_elsewhere else check_scope(conn, entity)


def list_allowed(ctx: Context, args: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001 -- every command takes arguments
    """What is left alone now; until_us None is for good."""
    columns = (allowed.c.detection, allowed.c.entity, allowed.c.until_us, allowed.c.reason, allowed.c.created_us)
    still = or_(allowed.c.until_us.is_(None), allowed.c.until_us > ctx.clock.now_us())
    with ctx.store.begin() as conn:
        rows = conn.execute(select(*columns).where(still).order_by(allowed.c.id)).all()
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 -- SQLAlchemy's public name for it


def _same(detection: str, entity: str) -> Any:
    return and_(allowed.c.detection == detection, allowed.c.entity == entity)


def _detection(name: str) -> str:
    from jackstop.detections.catalogue import shipped

    if name != "*" and name not in shipped():
        raise UserError(f"there is no detection {name!r}", "see `jackstop detections list`; '*' stands for all", 2)
    return name


COMMANDS = {
    "detections allow": allow,
    "detections disallow": disallow,
    "detections allowed": list_allowed,
}
