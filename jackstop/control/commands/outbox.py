"""What the sender gives and gets: messages to send with their channel's secret, and how each attempt ended."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from jackstop.cases.questions import with_token
from jackstop.clock import US_PER_S
from jackstop.control.commands import Context
from jackstop.errors import UserError
from jackstop.notify import delivery, health
from jackstop.notify.channel import unseal_secret
from jackstop.notify.channels.heartbeat import every_s
from jackstop.rotation import invitation
from jackstop.store.tables import channels
from jackstop.vault.credentials import load_pepper, question_key

_BEAT_AGAIN_US = 10 * US_PER_S
"""After one that did not arrive."""


def begin(ctx: Context, _args: dict[str, Any]) -> int:
    """A sender starts: what the one before it had taken is free again; the number of messages."""
    with ctx.store.begin() as conn:
        return delivery.begin(conn, ctx.clock.now_us())


def take(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """At most one message for each channel not in `busy`; the caller has them for a minute.

    The channels' secrets go with them, over a socket that only this user can open, into the sender's memory.
    """
    now_us, taken = ctx.clock.now_us(), []
    with ctx.store.begin() as conn:
        rows = delivery.take(conn, now_us, ctx.settings.notify, list(args.get("busy") or ()))
        found = conn.execute(select(channels).where(channels.c.name.in_([row.channel for row in rows])))
        ways = {row.name: row for row in found}
        for row in rows:
            try:
                way = _way(ctx, ways[row.channel])
            except UserError as error:
                problem = f"{error.problem}; {error.remedy}"
                delivery.failed(conn, now_us, ctx.settings.notify, row.id, row.attempts, problem)
                continue
            payload = row.payload
            if row.kind == "question":
                key = question_key(load_pepper(conn, ctx.vault))
                payload = invitation.with_token(key, with_token(key, payload))
            message = {"id": row.id, "attempt": row.attempts, "uid": row.uid, "payload": payload, "channel": way}
            taken.append(message)
        return {"installation": health.installation(conn) if taken else "", "messages": taken}


def _way(ctx: Context, row: Any) -> dict[str, Any]:
    secret = unseal_secret(ctx.vault, row.name, row.kind, row.options, row.secret)
    return {"name": row.name, "kind": row.kind, "options": row.options, "secret": secret.reveal()}


def done(ctx: Context, args: dict[str, Any]) -> bool:
    """The message `id` arrived."""
    with ctx.store.begin() as conn:
        return delivery.done(conn, ctx.clock.now_us(), int(args["id"]))


def failed(ctx: Context, args: dict[str, Any]) -> str:
    """Attempt `attempt` at `id` did not succeed: `problem`, and whether the message itself was `rejected`."""
    with ctx.store.begin() as conn:
        return delivery.failed(
            conn,
            ctx.clock.now_us(),
            ctx.settings.notify,
            int(args["id"]),
            int(args["attempt"]),
            str(args.get("problem") or ""),
            rejected=bool(args.get("rejected")),
            after_s=int(args.get("after_s") or 0),
        )


def tidy(ctx: Context, _args: dict[str, Any]) -> int:
    """Forget what is old; the number of messages."""
    with ctx.store.begin() as conn:
        return delivery.tidy(conn, ctx.clock.now_us(), ctx.settings.notify)


def beats(ctx: Context, _args: dict[str, Any]) -> dict[str, Any]:
    """The heartbeats that are due, with their secrets; none while control, a gate or a detection is not well."""
    if health.ailing(ctx.live):
        return {"due": []}
    now_us, due = ctx.clock.now_us(), []
    with ctx.store.begin() as conn:
        if health.failing(conn):
            return {"due": []}
        rows = conn.execute(select(channels).where(channels.c.enabled, channels.c.kind == "heartbeat")).all()
        for row in rows:
            last = health.last_beat(conn, row.name)
            if now_us - last.sent_us < every_s(row.options) * US_PER_S or now_us - last.tried_us < _BEAT_AGAIN_US:
                continue
            try:
                due.append(_way(ctx, row))
            except UserError as error:
                health.note_beat(conn, now_us, row.name, error.problem)
    return {"due": due}


def beat(ctx: Context, args: dict[str, Any]) -> bool:
    """The heartbeat `name` was sent; or was not, for `problem`."""
    with ctx.store.begin() as conn:
        health.note_beat(conn, ctx.clock.now_us(), str(args["name"]), str(args.get("problem") or ""))
    return True


COMMANDS = {
    "outbox begin": begin,
    "outbox take": take,
    "outbox done": done,
    "outbox failed": failed,
    "outbox tidy": tidy,
    "outbox beats": beats,
    "outbox beat": beat,
}
