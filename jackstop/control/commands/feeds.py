"""Providers' audit logs: which are to be read now, and how far each has been read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jackstop.cases import intake
from jackstop.cases.finding import Finding, uid_of
from jackstop.cases.turn import SYSTEM, Turn, begin
from jackstop.clock import US_PER_S
from jackstop.control.commands import Context
from jackstop.control.commands.brakes import LIMITS
from jackstop.errors import UserError
from jackstop.events.positions import AUDIT
from jackstop.providers import drivers
from jackstop.store.tables import administrations, credentials, readings, rotations
from jackstop.vault.credentials import unseal_administration

_LOOK_BACK_US = 86_400 * US_PER_S
"""What is read of a log that was never read before."""
_BLIND_US = 3_600 * US_PER_S
_SETTLED_US = 600 * US_PER_S
"""A limit that was taken away and not made again within this was not edited, but removed."""
_LONGEST_WAIT_S = 3_600
_MOST_ROTATIONS = 1_000


def take(ctx: Context, _args: dict[str, Any]) -> list[dict[str, Any]]:
    """The readings that are due, each with the secret for it. See `jackstop.events.feeds.Reading`."""
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        found = []
        _forget_gone(conn)
        for admin in conn.execute(select(administrations).order_by(administrations.c.name)).all():
            driver: Any = drivers.driver(admin.driver)
            if not getattr(driver, "audit_format", "") or _is_busy(conn, admin.name, now_us):
                continue
            row = _reading(conn, admin)
            if row.next_us <= now_us:
                found.append((admin, driver.audit_format, row, _known(conn, admin.name)))
    return [
        {
            "administration": admin.name,
            "driver": admin.driver,
            "base_url": admin.base_url,
            "options": admin.options,
            "secret": unseal_administration(ctx.vault, admin).reveal().decode(),
            "source": source,
            "cursor": row.cursor,
            "from_us": _from_us(admin, row),
            "since_us": admin.created_us - _LOOK_BACK_US,
            "ca": ctx.settings.gate.upstream_ca,
            **known,
        }
        for admin, source, row, known in found
    ]


def _forget_gone(conn: Connection) -> None:
    there = select(administrations.c.name)
    gone = select(readings.c.administration).where(readings.c.kind == AUDIT, readings.c.administration.not_in(there))
    for name in conn.execute(gone).scalars().all():
        conn.execute(delete(readings).where(readings.c.kind == AUDIT, readings.c.administration == name))


def _is_busy(conn: Connection, administration: str, now_us: int) -> bool:
    """Whether a key is being made or ended there right now: a moment later its id is known to be Jackstop's."""
    busy = (
        select(rotations.c.id)
        .join(credentials, credentials.c.name == rotations.c.credential)
        .where(credentials.c.administration == administration, rotations.c.state == "running")
        .where(rotations.c.taken_until_us > now_us)
    )
    return conn.execute(busy.limit(1)).first() is not None


def _reading(conn: Connection, admin: Row[Any]) -> Row[Any]:
    mine = select(readings).where(readings.c.administration == admin.name, readings.c.kind == AUDIT)
    row = conn.execute(mine).one_or_none()
    if row is None:
        conn.execute(insert(readings).values(administration=admin.name, kind=AUDIT, next_us=0))
        row = conn.execute(mine).one()
    return row


def _from_us(admin: Row[Any], row: Row[Any]) -> int:
    return int(row.read_us or admin.created_us)


def _known(conn: Connection, administration: str) -> dict[str, Any]:
    """What Jackstop made there, what else it keeps there, and whether it waits for a person to make a key."""
    mine = select(credentials.c.name, credentials.c.provider_key_id).where(
        credentials.c.administration == administration
    )
    kept = {row.name: row.provider_key_id for row in conn.execute(mine)}
    done = (
        select(rotations.c.steps, rotations.c.state, rotations.c.step, rotations.c.detail)
        .where(rotations.c.credential.in_(list(kept)))
        .order_by(rotations.c.id.desc())
        .limit(_MOST_ROTATIONS)
    )
    made: set[str] = set()
    own = {key_id for key_id in kept.values() if key_id}
    asked = False
    for row in conn.execute(done):
        named = {str(row.detail[name]) for name in ("new_id", "old_id") if row.detail.get(name)}
        own |= named
        if "create" in row.steps and row.detail.get("new_id"):
            made.add(str(row.detail["new_id"]))
        asked = asked or (row.state == "running" and row.step == "ask")
    return {"made": sorted(made), "own": sorted(own), "asked": asked}


def record(ctx: Context, args: dict[str, Any]) -> None:
    """The reading of `administration` that counts from `from_us` has ended: with a `cursor`, or with a `problem`."""
    now_us, name = ctx.clock.now_us(), str(args["administration"])
    with begin(ctx.store, ctx.settings, now_us, SYSTEM) as turn:
        admin = turn.conn.execute(select(administrations).where(administrations.c.name == name)).one_or_none()
        if admin is None:
            raise UserError(f"there is no such administration any more: {name}", "nothing is to be done")
        row = _reading(turn.conn, admin)
        if _from_us(admin, row) != int(args["from_us"]):
            raise UserError(f"another worker has read the audit log of {name}", "end the old one")
        driver: Any = drivers.driver(admin.driver)
        mine = update(readings).where(readings.c.administration == name, readings.c.kind == AUDIT)
        if args.get("problem"):
            wait_s = min(max(int(args.get("after_s") or 0), driver.audit_poll_s), _LONGEST_WAIT_S)
            turn.conn.execute(mine.values(next_us=now_us + wait_s * US_PER_S, problem=str(args["problem"])))
            if now_us - _from_us(admin, row) >= _BLIND_US:
                intake.take(turn, [_blind(admin, row, now_us, str(args["problem"]))])
            return
        next_us = now_us + driver.audit_poll_s * US_PER_S
        read_us = max(now_us, _from_us(admin, row) + 1)
        turn.conn.execute(mine.values(next_us=next_us, read_us=read_us, cursor=str(args["cursor"]), problem=""))
        if args.get("limits_changed"):
            _look_at_limits(turn, name)


def _look_at_limits(turn: Turn, administration: str) -> None:
    """Have the limits read soon, once an edit that takes one away and makes it again would be over."""
    soon_us = turn.now_us + _SETTLED_US
    mine = update(readings).where(readings.c.administration == administration, readings.c.kind.startswith(LIMITS))
    turn.conn.execute(mine.where(readings.c.next_us > soon_us).values(next_us=soon_us))


def _blind(admin: Row[Any], row: Row[Any], now_us: int, problem: str) -> Finding:
    since_us = _from_us(admin, row)
    entity = f"account:{admin.name}"
    return Finding(
        uid_of("audit_log_unread", entity, since_us),
        "audit_log_unread",
        "medium",
        entity,
        since_us,
        now_us,
        1,
        {"problem": problem},
        sources=("feeds",),
        response="alert",
    )


COMMANDS = {"feeds take": take, "feeds record": record}
