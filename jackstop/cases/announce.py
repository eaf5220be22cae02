"""News of a case: what channels are told, in the transaction of what they are told about."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, String, cast, func, literal, select

from jackstop.cases.steps import UNLAWFUL, about, next_steps
from jackstop.cases.turn import SYSTEM, Turn, named
from jackstop.clock import iso
from jackstop.console.address import url_of
from jackstop.notify.outbox import News, NewsKind, queue
from jackstop.store.tables import case_entries, findings, keys, questions

_MOST_STEPS = 3
_ANEW = ("opened", "raised", "reopened")
"""Entries after which a case is to be looked at anew."""


def announce(turn: Turn, case: Row[Any], kind: NewsKind, entry: int, said: list[str]) -> None:
    """Tell every channel that listens. `entry` is the case's entry that this is about, which makes the news unique."""
    text = [f"{case.title}.", *(f"{line[:1].upper()}{line[1:]}." for line in said)]
    if case.unlawful:
        text += UNLAWFUL
    queue(
        turn.conn,
        turn.now_us,
        News(
            kind=kind,
            severity=case.severity,
            title=_TITLES.get(kind, "Case {id}: {title}").format(id=case.id, title=case.title),
            text=" ".join(text),
            case_id=case.id,
            uid=f"case-{case.id}-{kind}-{entry}",
            group_key=f"case-{case.id}",
            facts=facts(turn, case),
            actions=_actions(kind, case),
        ),
    )


_TITLES = {
    "case.opened": "Case {id}: {title}",
    "case.closed": "Case {id} is closed: {title}",
    "approval": "Case {id} waits for your approval: {title}",
}


def facts(turn: Turn, case: Row[Any]) -> dict[str, str | int]:
    """What is known of a case, without names of people and without addresses."""
    table = findings
    found = turn.conn.execute(
        select(table.c.detection, func.count()).where(table.c.case_id == case.id).group_by(table.c.detection)
    ).all()
    names = sorted(row.detection for row in found)
    what = [about(name) for name in names]
    known: dict[str, str | int] = {
        "entity": _entity(case.entity),
        "detections": ", ".join(names),
        "attack": ", ".join(sorted({each for one in what for each in one.attack})),
        "atlas": ", ".join(sorted({each for one in what for each in one.atlas})),
        "findings": sum(row[1] for row in found),
        "first_seen_us": case.first_seen_us,
        "last_seen_us": case.last_seen_us,
        "remediation": " ".join(
            next_steps(case.id, case.entity, names, unlawful=case.unlawful)[
                : _MOST_STEPS + len(UNLAWFUL) * case.unlawful
            ]
        ),
        "acknowledged": int(_acknowledged(turn, case.id)),
    }
    if case.verdict:
        known["verdict"] = case.verdict
    known.update(_key_facts(turn, case))
    return {name: value for name, value in known.items() if value != ""}


def _entity(entity: str) -> str:
    return named(entity) if entity.startswith("owner:") else entity


def _key_facts(turn: Turn, case: Row[Any]) -> dict[str, str | int]:
    kind, _, name = case.entity.partition(":")
    if kind in {"team", "credential"}:
        return {kind: name}
    if kind != "key":
        return {}
    row = turn.conn.execute(select(keys.c.owner_id, keys.c.team).where(keys.c.id == name)).first()
    return {"key": name} if row is None else {"key": name, "owner": f"person:{row.owner_id}", "team": row.team}


def _acknowledged(turn: Turn, case_id: int) -> bool:
    """Whether somebody looks after the case as it is now: not the owner who answers, nor since before it got worse."""
    entries, asked = case_entries, questions.c.case_id == case_id
    owners = select(literal("person:") + cast(questions.c.person_id, String)).where(asked)
    began = select(func.max(entries.c.id)).where(entries.c.case_id == case_id, entries.c.kind.in_(_ANEW))
    by_person = select(entries.c.id).where(
        entries.c.case_id == case_id,
        entries.c.id > began.scalar_subquery(),
        entries.c.actor != SYSTEM,
        entries.c.actor.not_in(owners),
    )
    return turn.conn.execute(by_person.limit(1)).first() is not None


def _actions(kind: str, case: Row[Any]) -> tuple[tuple[str, str], ...]:
    show = ("Show", f"jackstop cases show {case.id}")
    respond = f"jackstop cases respond {case.id}"
    if kind == "case.closed":
        return (show,)
    if kind == "approval":
        return (show, ("Approve", f"{respond} approve"), ("Decline", f"{respond} decline"))
    on_key = case.entity.startswith("key:")
    acts = (("Quarantine", f"{respond} quarantine"), ("Release", f"{respond} release")) if on_key else ()
    return (show, *acts)


def ask_owner(turn: Turn, case: Row[Any], key_id: str, email: str, question: int, until_us: int) -> None:
    """The one message with the link: to the owner, by mail. The token takes its place as the message leaves."""
    link = f"{url_of(turn.settings)}/was-this-you/{{token}}"
    seen = f"between {iso(case.first_seen_us)[:16]}Z and {iso(case.last_seen_us)[:16]}Z"
    text = (
        f"The key {key_id}, which you answer for, was used in an unusual way {seen}: {case.title}. "
        f"It is slowed down. Open {link} and say whether this was you or your application. "
        f"The link is good until {iso(until_us)[:16]}Z; do not forward it."
    )
    queue(
        turn.conn,
        turn.now_us,
        News(
            kind="question",
            severity=case.severity,
            title=f"Was this you? Key {key_id}",
            text=text,
            case_id=case.id,
            uid=f"case-{case.id}-question-{question}",
            group_key=f"case-{case.id}",
            actions=(("Answer", link),),
            to=email,
            until_us=until_us,
        ),
    )
