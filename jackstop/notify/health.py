"""Whether news get out: dead messages, the heartbeats, and what `jackstop doctor` says of both."""

from __future__ import annotations

import json
import secrets
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from jackstop.clock import US_PER_S
from jackstop.notify.channels.heartbeat import every_s
from jackstop.notify.delivery import counts
from jackstop.store.tables import channels, meta

_INSTALLATION = "installation"
_FAILING = "failing_detections"
_MISSED = 3


class Beat(NamedTuple):
    """When a heartbeat last arrived, when one last did not, and why. 0: never."""

    sent_us: int = 0
    tried_us: int = 0
    problem: str = ""


def installation(conn: Connection) -> str:
    """A few random letters by which a receiver tells this installation from another."""
    known = conn.execute(select(meta.c.value).where(meta.c.key == _INSTALLATION)).scalar()
    if known is None:
        known = secrets.token_hex(4)
        conn.execute(insert(meta).values(key=_INSTALLATION, value=known))
    return known


def last_beat(conn: Connection, name: str) -> Beat:
    """What is known of a heartbeat's last call."""
    text = conn.execute(select(meta.c.value).where(meta.c.key == _beat_key(name))).scalar()
    return Beat(*json.loads(text)) if text else Beat()


def note_beat(conn: Connection, now_us: int, name: str, problem: str) -> None:
    """A heartbeat was sent, or was not, for `problem`."""
    known = last_beat(conn, name)
    text = json.dumps(Beat(known.sent_us, now_us, problem[:300]) if problem else Beat(now_us))
    done = conn.execute(update(meta).where(meta.c.key == _beat_key(name)).values(value=text))
    if not done.rowcount:
        conn.execute(insert(meta).values(key=_beat_key(name), value=text))


def forget_beat(conn: Connection, name: str) -> None:
    """The channel is gone."""
    conn.execute(delete(meta).where(meta.c.key == _beat_key(name)))


def note_failing(conn: Connection, names: list[str]) -> None:
    """These detections cannot run."""
    conn.execute(delete(meta).where(meta.c.key == _FAILING))
    if names:
        conn.execute(insert(meta).values(key=_FAILING, value=json.dumps(names)))


def failing(conn: Connection) -> list[str]:
    """The detections that cannot run."""
    text = conn.execute(select(meta.c.value).where(meta.c.key == _FAILING)).scalar()
    return list(json.loads(text)) if text else []


def _beat_key(name: str) -> str:
    return f"beat:{name}"


def ailing(live: Any) -> str:
    """Why no heartbeat may go out; empty when all is well: gates are there and up to date, and the clock is right."""
    if live is None:
        return "control is stopped"
    status = live.status()
    if status.get("clock_frozen"):
        return "the clock jumped against the boot clock"
    gates = status.get("gates", [])
    if not gates:
        return "no gate is connected"
    late = [str(gate.get("slot")) for gate in gates if not gate.get("fresh", True)]
    return f"gates behind control's changes: {', '.join(late)}" if late else ""


class Line(NamedTuple):
    """One line for `jackstop doctor`."""

    check: str
    problem: str = ""
    remedy: str = ""
    note: str = ""


def lines(conn: Connection, now_us: int) -> list[Line]:
    """What to say of channels and messages."""
    rows = conn.execute(select(channels).where(channels.c.enabled).order_by(channels.c.name)).all()
    if not rows:
        return [Line("notify", note="no channel, so nobody is told of cases: jackstop notify add --help")]
    numbers = counts(conn)
    dead, waiting = numbers.get("dead", 0), numbers.get("queued", 0)
    first = Line("notify", note=f"{len(rows)} channels, {waiting} messages on their way")
    if dead:
        problem = f"{dead} messages could not be delivered"
        remedy = "see `jackstop notify outbox --state dead`, mend the channel, then `jackstop notify replay all`"
        first = Line("notify", problem, remedy)
    return [first, *(_heartbeat(conn, now_us, row) for row in rows if row.kind == "heartbeat")]


def _heartbeat(conn: Connection, now_us: int, row: Any) -> Line:
    check, last = f"heartbeat {row.name}", last_beat(conn, row.name)
    since_s = (now_us - max(last.sent_us, row.created_us)) // US_PER_S
    if since_s > _MISSED * every_s(row.options):
        why = last.problem or "a gate, control or the worker is not well"
        return Line(check, f"none arrived for {since_s} s: {why}", f"try it: jackstop notify test {row.name}")
    return Line(check, note=f"the last one {since_s} s ago" if last.sent_us else "none was due yet")
