"""Everything that control knows of a case, as rows for the command line, the console and the export."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Row, select

from jackstop.cases.blast import radius
from jackstop.cases.responses import of_case
from jackstop.cases.steps import UNLAWFUL, about, next_steps
from jackstop.cases.turn import Turn, entities, named
from jackstop.store.tables import case_entries, findings, keys, people, questions

_NAME = re.compile(r"[^\s@,;:]+@")
MOST_FINDINGS = 500
MOST_ENTRIES = 2_000


def full(turn: Turn, case: Row[Any]) -> dict[str, Any]:
    """The case with its findings, timeline, responses, questions, keys, blast radius and next steps.

    `scopes` and `since_us`, `until_us` say which events are the case's: all that its entities did in its time.
    """
    about_it = entities(turn.conn, case)
    found = _rows(turn, findings, MOST_FINDINGS, case.id)
    names = list(dict.fromkeys(row["detection"] for row in found))
    until_us = case.closed_us if case.state == "closed" else turn.now_us
    made = [dict(row._mapping) for row in of_case(turn.conn, case.id)]  # noqa: SLF001 -- SQLAlchemy's own name for it
    blast = radius(turn.conn, about_it, case.first_seen_us, case.last_seen_us)
    return {
        **case._asdict(),
        "entities": about_it,
        "scopes": [entity for entity in about_it if entity != "org"],
        "since_us": case.first_seen_us,
        "until_us": max(until_us, case.last_seen_us),
        "keys": _keys(turn, about_it),
        "detections": [{"name": name, "title": about(name).title, "meaning": about(name).meaning} for name in names],
        "findings": found,
        "entries": _rows(turn, case_entries, MOST_ENTRIES, case.id),
        "responses": made,
        "questions": _questions(turn, case.id),
        "blast": blast,
        "people": _people(turn, blast["owners"]),
        "unlawful_notice": list(UNLAWFUL) if case.unlawful else [],
        "next_steps": next_steps(case.id, case.entity, names, unlawful=case.unlawful),
    }


def leaving(turn: Turn, case: Row[Any]) -> dict[str, Any]:
    """What of a case leaves the house: not its notes, whose keys they are, nor what else they have."""
    whole = full(turn, case)
    kept = {name: whole[name] for name in _LEAVING}
    for row in kept["findings"]:
        row["entity"] = named(row["entity"])
        row["evidence"] = {name: _without_names(value) for name, value in row["evidence"].items()}
    kept["responses"] = [
        {**{name: row[name] for name in _OF_A_RESPONSE}, "restored": row["before"].get("restored")}
        for row in kept["responses"]
    ]
    for row in kept["keys"]:
        del row["owner_id"]
    return kept


_LEAVING = (
    *("id", "state", "verdict", "severity", "title", "unlawful", "unlawful_notice", "opened_us", "closed_us"),
    *("since_us", "until_us", "scopes", "detections", "findings", "responses", "keys"),
)
_OF_A_RESPONSE = ("id", "action", "target", "state", "intended_us", "applied_us", "until_us", "ended_us")
"""Not who did it, nor with what words. `restored` says of one that is over whether that put back what was before."""


def _without_names(value: Any) -> Any:
    """Of mail addresses only what stands behind the @."""
    return _NAME.sub("…@", value) if isinstance(value, str) else value


def _rows(turn: Turn, table: Any, most: int, case_id: int) -> list[dict[str, Any]]:
    """The latest `most` rows of a case, in their order."""
    statement = select(table).where(table.c.case_id == case_id).order_by(table.c.id.desc()).limit(most)
    return [dict(row) for row in turn.conn.execute(statement).mappings()][::-1]


def _keys(turn: Turn, about_it: list[str]) -> list[dict[str, Any]]:
    ids = [each.removeprefix("key:") for each in about_it if each.startswith("key:")]
    columns = (
        keys.c.id,
        keys.c.name,
        keys.c.team,
        keys.c.state,
        keys.c.throttle_per_min,
        keys.c.canary,
        keys.c.owner_id,
    )
    statement = select(*columns).where(keys.c.id.in_(ids)).order_by(keys.c.id)
    return [dict(row) for row in turn.conn.execute(statement).mappings()]


def _questions(turn: Turn, case_id: int) -> list[dict[str, Any]]:
    return _rows(turn, questions, MOST_FINDINGS, case_id)


def _people(turn: Turn, owners: list[str]) -> dict[str, str]:
    """Whose keys they are: a person's address opens with a case."""
    ids = [int(each.removeprefix("person:")) for each in owners]
    found = turn.conn.execute(select(people.c.id, people.c.email).where(people.c.id.in_(ids)))
    return {f"person:{row.id}": row.email for row in found}
