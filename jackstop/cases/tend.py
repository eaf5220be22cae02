"""What time does to cases: throttles end by themselves, approvals that nobody gives run out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update

from jackstop.cases import responses
from jackstop.cases.announce import announce
from jackstop.cases.turn import SYSTEM, Turn, named, read, write
from jackstop.store.tables import responses as table

AT_ONCE = 50


def tend(turn: Turn) -> bool:
    """Do what is due, a part at a time; whether keys or credentials may have changed."""
    turn = turn.by(SYSTEM)
    over = select(table).where(table.c.state == "applied", table.c.ended_us.is_(None), table.c.until_us <= turn.now_us)
    late = select(table).where(table.c.state == "awaiting", table.c.deadline_us <= turn.now_us)
    ended = turn.conn.execute(over.order_by(table.c.id).limit(AT_ONCE)).all()
    unanswered = turn.conn.execute(late.order_by(table.c.id).limit(AT_ONCE)).all()
    for response in ended:
        responses.end(turn, response, "expired")
    for response in unanswered:
        _unanswered(turn, response)
    return bool(ended or unanswered)


def _unanswered(turn: Turn, response: Row[Any]) -> None:
    case = read(turn.conn, response.case_id)
    what = named(response.target)
    if turn.settings.responses.unanswered == "act":
        if approve(turn, response, "nobody answered in time"):
            entry = write(turn, case.id, "news", about="approval")
            announce(turn, case, "case.updated", entry, [f"nobody answered in time, and {what} is contained"])
        return
    turn.conn.execute(update(table).where(table.c.id == response.id).values(deadline_us=None))
    entry = write(turn, case.id, "unanswered", action=response.action, target=response.target)
    announce(turn, case, "approval", entry, [f"nobody has answered, and {what} still waits"])


def approve(turn: Turn, response: Row[Any], reason: str) -> bool:
    """Do what waited for approval; whether there was anything to be done."""
    done = responses.apply(
        turn,
        response.case_id,
        response.action,
        response.target,
        reason=reason,
        epoch=response.epoch,
        until_us=response.until_us,
        waiting=response,
    )
    if not done:
        responses.fail(turn, response)
    return done
