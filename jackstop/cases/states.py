"""A case's own states: opened, raised, closed, opened again; and the mark that its keys bear meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import Row, and_, func, insert, or_, select, update

from jackstop.cases.turn import SYSTEM, Turn, entities, rank, read, write
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import case_entries, cases, findings, keys

Verdict = Literal["hijack", "misuse", "benign"]
IN_CASE = ("medium", "high", "critical")
"""Severities of cases whose keys the gates stop to serve sooner when control is away."""


def open_case(
    turn: Turn, *, title: str, severity: str, entity: str, cause: str, first_us: int, last_us: int
) -> Row[Any]:
    """A new case."""
    statement = insert(cases).values(
        state="open",
        severity=severity,
        title=title,
        entity=entity,
        cause=cause,
        first_seen_us=first_us,
        last_seen_us=last_us,
        opened_us=turn.now_us,
        updated_us=turn.now_us,
    )
    case_id = int(turn.conn.execute(statement.returning(cases.c.id)).scalar_one())
    write(turn, case_id, "opened", severity=severity)
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.SYSTEM_CASE_OPEN, f"case:{case_id}", {"severity": severity})
    return read(turn.conn, case_id)


def update_case(turn: Turn, case: Row[Any], **values: Any) -> Row[Any]:
    """Change a case's columns; a severity only ever rises, and that is written down."""
    severity = values.pop("severity", case.severity)
    if rank(severity) > rank(case.severity):
        values["severity"] = severity
        write(turn, case.id, "raised", severity=severity, was=case.severity)
        detail = {"severity": severity, "was": case.severity}
        audit.record(turn.conn, turn.now_us, turn.actor, Tag.SYSTEM_CASE_RAISE, f"case:{case.id}", detail)
    turn.conn.execute(update(cases).where(cases.c.id == case.id).values(updated_us=turn.now_us, **values))
    return read(turn.conn, case.id)


def reopen(turn: Turn, case: Row[Any], why: str) -> Row[Any]:
    """A closed case goes on; its verdict is taken back."""
    values = {"state": "open", "closed_us": None, "verdict": "", "reopened": case.reopened + 1}
    turn.conn.execute(update(cases).where(cases.c.id == case.id).values(updated_us=turn.now_us, **values))
    write(turn, case.id, "reopened", why=why, was=case.verdict)
    tag = Tag.SYSTEM_CASE_REOPEN if turn.actor == SYSTEM else Tag.CASE_REOPEN
    audit.record(turn.conn, turn.now_us, turn.actor, tag, f"case:{case.id}", {"was": case.verdict, "reason": why})
    fresh = read(turn.conn, case.id)
    flag(turn, entities(turn.conn, fresh))
    return fresh


def close(turn: Turn, case: Row[Any], verdict: Verdict, reason: str) -> Row[Any]:
    """A person has said what it was."""
    values = {"state": "closed", "closed_us": turn.now_us, "verdict": verdict}
    turn.conn.execute(update(cases).where(cases.c.id == case.id).values(updated_us=turn.now_us, **values))
    write(turn, case.id, "closed", verdict=verdict, reason=reason)
    detail = {"verdict": verdict, "reason": reason}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_CLOSE, f"case:{case.id}", detail)
    fresh = read(turn.conn, case.id)
    flag(turn, entities(turn.conn, fresh))
    return fresh


def began_us(turn: Turn, case: Row[Any]) -> int:
    """When the case was opened the last time."""
    again = select(func.max(case_entries.c.ts_us)).where(
        case_entries.c.case_id == case.id, case_entries.c.kind == "reopened"
    )
    opened: int = case.opened_us
    return (turn.conn.execute(again).scalar() or opened) if case.reopened else opened


def flag(turn: Turn, of: Iterable[str]) -> None:
    """Mark the keys among these entities as being in an open case, or take the mark away."""
    for entity in of:
        kind, _, key_id = entity.partition(":")
        if kind != "key":
            continue
        wanted = _is_in_case(turn, entity)
        here = and_(keys.c.id == key_id, keys.c.in_case.is_not(wanted))
        if turn.conn.execute(select(keys.c.id).where(here)).first() is not None:
            values = {"in_case": wanted, "seq": turn.store.next_seq(turn.conn)}
            turn.conn.execute(update(keys).where(here).values(**values))


def _is_in_case(turn: Turn, entity: str) -> bool:
    through = select(findings.c.case_id).where(findings.c.entity == entity, findings.c.case_id.is_not(None))
    grave = and_(cases.c.state == "open", cases.c.severity.in_(IN_CASE))
    statement = select(cases.c.id).where(grave, or_(cases.c.entity == entity, cases.c.id.in_(through)))
    return turn.conn.execute(statement.limit(1)).first() is not None
