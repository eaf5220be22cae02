"""Channels: add, list, remove, test; and what became of the messages on them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy import Row as DbRow

from jackstop.cases.finding import SEVERITIES
from jackstop.control.commands import Context
from jackstop.control.commands.team import simple_name
from jackstop.errors import UserError
from jackstop.notify import channels as kinds
from jackstop.notify import delivery, health
from jackstop.notify.channel import seal_secret
from jackstop.notify.outbox import News, enqueue, message_uid
from jackstop.secret import Secret
from jackstop.store import audit, tables
from jackstop.store.audit import Tag

_SECRET_CHARS = 8_192
_OPTION_CHARS = 1_024
_PAGE_ROWS = 1_000
STATES = ("queued", "grouped", "sent", "dead", "dropped")


def add(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """`name`, `kind`, `options` (name to text), optional `min_severity`, and `secret`."""
    name, kind_name = simple_name(str(args["name"]), "channel"), str(args["kind"])
    kind = kinds.find(kind_name)
    severity = str(args.get("min_severity") or kind.MIN_SEVERITY)
    if severity not in SEVERITIES:
        raise UserError(f"there is no severity {severity!r}", f"one of: {', '.join(SEVERITIES)}", 2)
    secret = str(args.get("secret") or "").strip()
    if len(secret) > _SECRET_CHARS:
        raise UserError("what came on standard input is too long for a secret", "pipe in the secret alone", 2)
    options = kind.check(_options(kind, dict(args.get("options") or {})), secret)
    table = tables.channels
    with ctx.store.begin() as conn:
        if conn.execute(select(table.c.name).where(table.c.name == name)).first() is not None:
            raise UserError(f"there is a channel {name} already", f"jackstop notify remove {name}, then add it anew", 2)
        conn.execute(
            insert(table).values(
                name=name,
                kind=kind_name,
                min_severity=severity,
                options=options,
                secret=seal_secret(ctx.vault, name, kind_name, options, Secret(secret)),
                created_us=ctx.clock.now_us(),
            )
        )
        detail = {"kind": kind_name, "min_severity": severity}
        audit.record(conn, ctx.clock.now_us(), ctx.actor, Tag.CHANNEL_ADD, f"channel:{name}", detail)
        return _shown(_find(conn, name), {})


def _options(kind: kinds.Kind, options: dict[str, Any]) -> dict[str, str]:
    known = kind.OPTIONS | kinds.COMMON_OPTIONS
    checked = {}
    for name, value in options.items():
        text = str(value).strip()
        if name not in known:
            raise UserError(f"this kind of channel has no option {name}", f"it has: {', '.join(sorted(known))}", 2)
        if not text.isprintable() or len(text) > _OPTION_CHARS:
            raise UserError(f"the option {name} holds line breaks or is too long", "write it on one line", 2)
        if text:
            checked[name] = text
    delivery.quiet_spans(checked.get("quiet", ""))
    if checked.get("quiet_all", "no") not in {"yes", "no"}:
        raise UserError(f"quiet_all is {checked['quiet_all']!r}", "use yes or no", 2)
    return checked


def listing(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """All channels without their secrets, with how many messages wait and are dead."""
    outbox, table = tables.outbox, tables.channels
    with ctx.store.begin() as conn:
        counted = conn.execute(
            select(outbox.c.channel, outbox.c.state, func.count()).group_by(outbox.c.channel, outbox.c.state)
        )
        numbers = {(channel, state): int(count) for channel, state, count in counted}
        return {"rows": [_shown(row, numbers) for row in conn.execute(select(table).order_by(table.c.name))]}


def _shown(row: DbRow[Any], numbers: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "min_severity": row.min_severity,
        "options": row.options,
        "created_us": row.created_us,
        "waiting": numbers.get((row.name, "queued"), 0),
        "dead": numbers.get((row.name, "dead"), 0),
    }


def remove(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Forget `name` and its secret, and drop what waits for it."""
    outbox, table = tables.outbox, tables.channels
    with ctx.store.begin() as conn:
        row = _find(conn, str(args["name"]))
        waiting = outbox.c.state.in_(("queued", "dead"))
        dropped = conn.execute(
            update(outbox).where(outbox.c.channel == row.name, waiting).values(state="dropped")
        ).rowcount
        conn.execute(delete(table).where(table.c.name == row.name))
        health.forget_beat(conn, row.name)
        audit.record(
            conn, ctx.clock.now_us(), ctx.actor, Tag.CHANNEL_REMOVE, f"channel:{row.name}", {"dropped": dropped}
        )
    return {"name": row.name, "dropped": dropped}


def test(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Queue a test message for `name` alone; its row's id, and whether somebody is there to send it."""
    outbox, now_us = tables.outbox, ctx.clock.now_us()
    with ctx.store.begin() as conn:
        row = _find(conn, str(args["name"]))
        seq = audit.record(conn, now_us, ctx.actor, Tag.CHANNEL_TEST, f"channel:{row.name}")
        news = News(
            kind="test",
            severity="info",
            title=f"A test of channel {row.name}",
            text="Nothing has happened. Somebody runs `jackstop notify test`.",
            case_id=None,
            uid=f"test-{seq}",
            group_key="",
        )
        enqueue(conn, now_us, news, row.name)
        uid = message_uid(news.uid, row.name)
        row_id = conn.execute(select(outbox.c.id).where(outbox.c.uid == uid)).scalar_one()
    return {"id": row_id, "uid": uid, "live": ctx.live is not None}


def messages(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of messages, the newest first: all, or those in `state`, or the one with `id`; `after` as before."""
    outbox = tables.outbox
    statement = select(outbox).order_by(outbox.c.id.desc()).limit(_PAGE_ROWS)
    if args.get("state"):
        if args["state"] not in STATES:
            raise UserError(f"there is no state {args['state']!r}", f"one of: {', '.join(STATES)}", 2)
        statement = statement.where(outbox.c.state == args["state"])
    if args.get("id"):
        statement = statement.where(outbox.c.id == int(args["id"]))
    if args.get("after"):
        statement = statement.where(outbox.c.id < int(args["after"]))
    with ctx.store.begin() as conn:
        found = conn.execute(statement).all()
    return {"rows": [_message(row) for row in found], "after": found[-1].id if len(found) == _PAGE_ROWS else None}


def _message(row: DbRow[Any]) -> dict[str, Any]:
    """What may be shown of a message: no text, no address of a person, no link."""
    return {
        "id": row.id,
        "uid": row.uid,
        "channel": row.channel,
        "kind": row.kind,
        "severity": row.severity,
        "case_id": row.case_id,
        "title": row.payload["news"][-1]["title"],
        "news": len(row.payload["news"]),
        "state": row.state,
        "attempts": row.attempts,
        "created_us": row.created_us,
        "next_us": row.next_us if row.state == "queued" else None,
        "sent_us": row.sent_us,
        "error": row.error,
    }


def replay(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Queue the dead message `id` again, or all of them without one; questions that are too late are dropped."""
    row_id = int(args["id"]) if args.get("id") else None
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        count, dropped = delivery.replay(conn, now_us, row_id)
        if not count + dropped and row_id is not None:
            raise UserError(f"there is no dead message {row_id}", "see `jackstop notify outbox --state dead`", 2)
        if count + dropped:
            subject = "outbox" if row_id is None else f"outbox:{row_id}"
            audit.record(conn, now_us, ctx.actor, Tag.OUTBOX_REPLAY, subject, {"messages": count, "dropped": dropped})
    return {"replayed": count, "dropped": dropped}


def _find(conn: Connection, name: str) -> DbRow[Any]:
    table = tables.channels
    row = conn.execute(select(table).where(table.c.name == name)).first()
    if row is None:
        raise UserError(f"there is no such channel: {name}", "see `jackstop notify list`", 2)
    return row


COMMANDS = {
    "notify add": add,
    "notify list": listing,
    "notify remove": remove,
    "notify test": test,
    "notify outbox": messages,
    "notify replay": replay,
}
