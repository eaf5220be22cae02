"""The way of a row through the outbox: gathered, taken by one sender, sent or tried again, dead in the end.

A question whose link has ended is dropped instead of sent: nobody could answer it, and to ask anew is the case's part.

What a message holds is settled when it is first taken: until then news of the same thing are gathered into the oldest
row, afterwards they wait for it, so that a message's uid always stands for the same content and news of one case never
overtake each other.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from jackstop.cases.finding import SEVERITIES
from jackstop.clock import US_PER_S, iso
from jackstop.keys.hours import in_hours, parse_hours
from jackstop.notify.outbox import rank
from jackstop.settings import NotifySettings
from jackstop.store.tables import channels, outbox

LEASE_US = 60 * US_PER_S
MOST_NEWS = 20
"""In one message."""
REJECTED_ATTEMPTS = 3
"""When the receiver says that the message itself is wrong. Others of its case wait behind it until it is dead."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5, 900
_LOOK_AT = 32
_QUIET_STEP_US = 60 * US_PER_S
_AT_ONCE = frozenset({"test", "question", "approval"})
_PROBLEM_CHARS = 300

Row = Any
"""A row with all columns of the outbox, or those of _LIGHT."""

_SEVERE_FIRST = (*reversed(SEVERITIES), "")
_LIGHT = (
    outbox.c.id,
    outbox.c.channel,
    outbox.c.kind,
    outbox.c.severity,
    outbox.c.group_key,
    outbox.c.attempts,
    outbox.c.next_us,
    outbox.c.taken_until_us,
)


def take(conn: Connection, now_us: int, settings: NotifySettings, busy: Collection[str] = ()) -> list[Row]:
    """Give at most one row for each channel that is not busy to the caller, for LEASE_US; whole rows, oldest first."""
    options = {row.name: row.options for row in conn.execute(select(channels).where(channels.c.enabled))}
    free = set(options) - set(busy)
    taken: list[int] = []
    looked: set[tuple[str, str]] = set()
    for row in _due(conn, now_us, free):
        group = (row.channel, row.group_key)
        if row.channel not in free or group in looked:
            continue
        looked.add(group)
        head = _head(conn, now_us, settings, row, options[row.channel])
        if head is not None:
            free.discard(row.channel)
            taken.append(head)
    if not taken:
        return []
    until_us = now_us + LEASE_US
    mine = outbox.c.id.in_(taken)
    conn.execute(
        update(outbox).where(mine).values(attempts=outbox.c.attempts + 1, taken_until_us=until_us, next_us=until_us)
    )
    return list(conn.execute(select(outbox).where(mine).order_by(outbox.c.id)))


def begin(conn: Connection, now_us: int) -> int:
    """A sender starts, and those before it are gone: what they had is free again. The number of messages."""
    had = (outbox.c.state == "queued", outbox.c.taken_until_us > now_us)
    return conn.execute(update(outbox).where(*had).values(next_us=now_us, taken_until_us=0)).rowcount


def _due(conn: Connection, now_us: int, free: set[str]) -> list[Row]:
    """Of each free channel what is due: of the highest severity of which something is, what has waited longest."""
    due = (outbox.c.state == "queued", outbox.c.next_us <= now_us)
    if not free or conn.execute(select(outbox.c.id).where(*due).limit(1)).first() is None:
        return []
    found: list[Row] = []
    for name in sorted(free):
        for severity in _SEVERE_FIRST:
            of_it = (outbox.c.channel == name, outbox.c.severity == severity)
            statement = select(*_LIGHT).where(*due, *of_it).order_by(outbox.c.next_us, outbox.c.id).limit(_LOOK_AT)
            rows = conn.execute(statement).all()
            found += rows
            if len(rows) == _LOOK_AT:
                break
    return found


def _head(conn: Connection, now_us: int, settings: NotifySettings, row: Row, options: dict[str, str]) -> int | None:
    """Which row of this one's group may go now; None, and later times for its rows, when none may."""
    if row.kind == "question" and _drop_if_late(conn, now_us, row.id):
        return None
    same = (outbox.c.state == "queued", outbox.c.channel == row.channel, outbox.c.group_key == row.group_key)
    group = conn.execute(select(*_LIGHT).where(*same).order_by(outbox.c.id)).all()
    tried = next((each for each in group if each.attempts), None)
    if tried is not None:
        return _tried(conn, now_us, settings, tried, group)
    wait_until_us = _wait(conn, now_us, settings, group, options)
    if wait_until_us > now_us:
        _postpone(conn, (each.id for each in group), wait_until_us)
        return None
    _gather(conn, [each.id for each in group[:MOST_NEWS]])
    return int(group[0].id)


def _tried(conn: Connection, now_us: int, settings: NotifySettings, tried: Row, group: Sequence[Row]) -> int | None:
    if tried.next_us > now_us:
        _postpone(conn, (each.id for each in group if each.id != tried.id), tried.next_us)
        return None
    if tried.attempts >= settings.attempts:
        # Its last sender never said how it ended.
        _bury(conn, now_us, tried, "the sender was gone before it could say how the last attempt ended")
        return None
    return int(tried.id)


def _drop_if_late(conn: Connection, now_us: int, row_id: int) -> bool:
    """Drop a question, which is always alone in its row, if its link has ended; whether it has."""
    payload = conn.execute(select(outbox.c.payload).where(outbox.c.id == row_id)).scalar_one()
    until_us = payload["news"][0].get("until_us", 0)
    if not until_us or now_us < until_us:
        return False
    error = f"too late to send it: the link in it was good until {iso(until_us)[:16]}Z"
    values = {"state": "dropped", "taken_until_us": 0, "payload": _without_person(payload), "error": error}
    conn.execute(update(outbox).where(outbox.c.id == row_id).values(**values))
    return True


def _without_person(payload: dict[str, Any]) -> dict[str, Any]:
    """A question's payload without whom it was for, and without the link that was only for them."""
    return {**payload, "news": [{**each, "to": "", "text": "", "actions": []} for each in payload["news"]]}


def _wait(
    conn: Connection, now_us: int, settings: NotifySettings, group: Sequence[Row], options: dict[str, str]
) -> int:
    """Until when a group that nobody has tried yet must wait: for quiet hours to end, or for more of the same."""
    severity = max(rank(each.severity) for each in group)
    if any(each.kind in _AT_ONCE for each in group):
        return now_us
    until_us = _quiet_until(options, now_us, severity)
    last = _last_sent(conn, group[0])
    if last is not None and severity <= rank(last.severity):
        until_us = max(until_us, last.sent_us + settings.group_s * US_PER_S)
    return until_us


def _last_sent(conn: Connection, row: Row) -> Row | None:
    sent = (outbox.c.state == "sent", outbox.c.channel == row.channel, outbox.c.group_key == row.group_key)
    statement = select(outbox.c.severity, outbox.c.sent_us).where(*sent).order_by(outbox.c.sent_us.desc()).limit(1)
    return conn.execute(statement).first()


def _quiet_until(options: dict[str, str], now_us: int, severity: int) -> int:
    """The end of the quiet hours, looked at again each minute."""
    if severity >= rank("high") and options.get("quiet_all") != "yes":
        return now_us
    spans = quiet_spans(options.get("quiet", ""))
    return now_us - now_us % _QUIET_STEP_US + _QUIET_STEP_US if in_hours(spans, now_us) else now_us


def quiet_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Spans such as `mon-fri 22:00-06:00`, several with semicolons between. Raises UserError for anything else."""
    return tuple(span for part in text.split(";") if part.strip() for span in parse_hours(part))


def _postpone(conn: Connection, ids: Iterable[int], until_us: int) -> None:
    conn.execute(update(outbox).where(outbox.c.id.in_(list(ids))).values(next_us=until_us))


def _gather(conn: Connection, ids: list[int]) -> None:
    """Put the news of all rows into the first."""
    if len(ids) == 1:
        return
    rows = conn.execute(select(outbox).where(outbox.c.id.in_(ids)).order_by(outbox.c.id)).all()
    payload = {name: [each for row in rows for each in row.payload[name]] for name in ("news", "at_us")}
    severity = max((row.severity for row in rows), key=rank)
    conn.execute(
        update(outbox).where(outbox.c.id == rows[0].id).values(payload=payload, severity=severity, kind=rows[-1].kind)
    )
    conn.execute(
        update(outbox).where(outbox.c.id.in_(ids[1:])).values(state="grouped", error=f"goes out with {rows[0].uid}")
    )


def done(conn: Connection, now_us: int, row_id: int) -> bool:
    """The receiver has it. Whom it was for and the links that were only for them are forgotten."""
    row = conn.execute(select(outbox).where(outbox.c.id == row_id)).first()
    if row is None or row.state == "sent":
        return False
    values: dict[str, Any] = {"state": "sent", "sent_us": now_us, "taken_until_us": 0, "error": ""}
    if row.kind == "question":
        values["payload"] = _without_person(row.payload)
    conn.execute(update(outbox).where(outbox.c.id == row_id).values(**values))
    _let_others_go(conn, now_us, row)
    return True


def _let_others_go(conn: Connection, now_us: int, row: Row) -> None:
    """Those that waited behind it: their own reasons to wait are looked at again."""
    same = (outbox.c.state == "queued", outbox.c.channel == row.channel, outbox.c.group_key == row.group_key)
    conn.execute(update(outbox).where(*same, outbox.c.attempts == 0).values(next_us=now_us))


def failed(
    conn: Connection,
    now_us: int,
    settings: NotifySettings,
    row_id: int,
    attempt: int,
    problem: str,
    *,
    rejected: bool = False,
    after_s: int = 0,
) -> str:
    """An attempt came to nothing: `queued` for another one, or `dead`; empty for an attempt that is over already."""
    row = conn.execute(select(outbox).where(outbox.c.id == row_id)).first()
    if row is None or row.state != "queued" or row.attempts != attempt:
        return ""
    problem = problem[:_PROBLEM_CHARS]
    if attempt >= settings.attempts or (rejected and attempt >= REJECTED_ATTEMPTS):
        _bury(conn, now_us, row, problem)
        return "dead"
    next_us = now_us + max(backoff_us(attempt), min(after_s, _LONGEST_WAIT_S) * US_PER_S)
    conn.execute(update(outbox).where(outbox.c.id == row_id).values(taken_until_us=0, next_us=next_us, error=problem))
    return "queued"


def backoff_us(attempt: int) -> int:
    """How long to wait after this attempt: twice as long each time, half of it drawn, so that not all come at once."""
    longest: int = min(_FIRST_WAIT_S << min(attempt - 1, 30), _LONGEST_WAIT_S) * US_PER_S
    return longest // 2 + random.randrange(longest // 2)


def _bury(conn: Connection, now_us: int, row: Row, problem: str) -> None:
    conn.execute(update(outbox).where(outbox.c.id == row.id).values(state="dead", taken_until_us=0, error=problem))
    _let_others_go(conn, now_us, row)


def replay(conn: Connection, now_us: int, row_id: int | None) -> tuple[int, int]:
    """Queue one dead row again, or all of them; how many, and how many questions were too late and dropped instead.

    They keep their uid: a receiver that has one knows it.
    """
    dead = [outbox.c.state == "dead"] if row_id is None else [outbox.c.state == "dead", outbox.c.id == row_id]
    questions = conn.execute(select(outbox.c.id).where(*dead, outbox.c.kind == "question")).scalars().all()
    dropped = sum(_drop_if_late(conn, now_us, question) for question in questions)
    # One attempt counts as made: what was tried must not be changed by gathering.
    again = {"state": "queued", "attempts": 1, "next_us": now_us, "taken_until_us": 0}
    return conn.execute(update(outbox).where(*dead).values(**again)).rowcount, dropped


def tidy(conn: Connection, now_us: int, settings: NotifySettings) -> int:
    """Forget what was sent, gathered or given up for longer than the settings say; the number of rows."""
    before_us = now_us - settings.retention_days * 86_400 * US_PER_S
    ended = outbox.c.state.in_(("sent", "grouped", "dead", "dropped"))
    return conn.execute(delete(outbox).where(ended, outbox.c.created_us < before_us)).rowcount


def counts(conn: Connection) -> dict[str, int]:
    """How many rows there are in each state."""
    rows = conn.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))
    return {state: int(count) for state, count in rows}
