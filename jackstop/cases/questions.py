"""The question to a key's owner, "was this you?": asking, and what the answer does.

The link's token is a keyed hash of the question's number. It is put into the message to the owner as that leaves, so
the store never has it, and whoever reads the store cannot make it. A "yes" says that the owner knows of it, not that it
was right: it releases a throttle, and neither lifts a quarantine nor closes the case nor teaches anything.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from sqlalchemy import Row, insert, select, update

from jackstop.cases import responses, states
from jackstop.cases.announce import announce, ask_owner
from jackstop.cases.steps import about
from jackstop.cases.turn import Turn, read, write
from jackstop.errors import UserError
from jackstop.notify.outbox import can_ask
from jackstop.secret import Secret
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import findings, keys, people, questions

PLACE = "{token}"
"""What stands for the token until the message leaves."""
_MARK = b"was this you "
_DIGITS = 18
_TELLING = {"network": "From", "country": "Country", "client": "Client", "model": "Model"}
_MOST_VALUES = 5
ASKED_FOR_US = 86_400_000_000
"""How long the link is good."""
DOUBLED_FOR_US = 86_400_000_000


def ask(turn: Turn, case: Row[Any], key_id: str, since_us: int) -> bool:
    """Ask the key's owner, if mail can be sent, unless they were asked since then and may still answer, or said yes."""
    if not can_ask(turn.conn):
        return False
    mine = (questions.c.case_id == case.id, questions.c.key_id == key_id, questions.c.asked_us >= since_us)
    for row in turn.conn.execute(select(questions).where(*mine)):
        if row.answer == "yes" or (not row.answer and row.expires_us > turn.now_us):
            return False
    joined = keys.join(people, people.c.id == keys.c.owner_id)
    owner = turn.conn.execute(
        select(people.c.id, people.c.email).select_from(joined).where(keys.c.id == key_id)
    ).first()
    if owner is None:
        return False
    until_us = turn.now_us + ASKED_FOR_US
    statement = insert(questions).values(
        case_id=case.id,
        key_id=key_id,
        person_id=owner.id,
        asked_us=turn.now_us,
        expires_us=until_us,
    )
    question = int(turn.conn.execute(statement.returning(questions.c.id)).scalar_one())
    write(turn, case.id, "question", key=key_id, person=f"person:{owner.id}", until_us=until_us)
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.SYSTEM_CASE_ASK, f"case:{case.id}", {"key": key_id})
    ask_owner(turn, case, key_id, owner.email, question, until_us)
    return True


def token_of(key: Secret, question: int) -> str:
    """What opens this question, under the question key."""
    mac = hmac.digest(key.reveal(), _MARK + str(question).encode(), "sha256")
    return f"{question}-{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def question_of(key: Secret, token: str) -> int:
    """The number of the question that a token opens, 0 for a token that nobody was given."""
    number = token.partition("-")[0]
    meant = int(number) if number.isascii() and number.isdecimal() and len(number) < _DIGITS else 0
    return meant if hmac.compare_digest(token.encode(), token_of(key, meant).encode()) else 0


def with_token(key: Secret, payload: dict[str, Any]) -> dict[str, Any]:
    """A question's message as its receiver is to get it: its token is in its place."""
    text = json.dumps(payload)
    if PLACE not in text:
        return payload
    question = int(payload["news"][0]["uid"].rpartition("-")[2])
    filled: dict[str, Any] = json.loads(text.replace(PLACE, token_of(key, question)))
    return filled


def shown(turn: Turn, token: str, key: Secret) -> dict[str, Any]:
    """What the page asks about. Raises UserError when the link is not, or no more, good."""
    question = _find(turn, token, key)
    case = read(turn.conn, question.case_id)
    asked = turn.conn.execute(select(keys.c.name).where(keys.c.id == question.key_id)).one()
    return {
        "case": case.id,
        "person": f"person:{question.person_id}",
        "title": case.title,
        "key_id": question.key_id,
        "key_name": asked.name,
        "first_seen_us": case.first_seen_us,
        "last_seen_us": case.last_seen_us,
        "facts": _facts(turn, case.id, question.key_id),
        "state": key_state(turn, question.key_id),
        "expires_us": question.expires_us,
    }


def _facts(turn: Turn, case_id: int, key_id: str) -> list[list[str]]:
    """What was found of the key, in words, and what an owner can tell it by."""
    mine = (findings.c.case_id == case_id, findings.c.entity == f"key:{key_id}")
    rows = turn.conn.execute(select(findings).where(*mine).order_by(findings.c.id)).all()
    found = list(dict.fromkeys(about(row.detection).title for row in rows))
    seen = {
        label: sorted({str(row.evidence[name]) for row in rows if row.evidence.get(name) not in {None, ""}})
        for name, label in _TELLING.items()
    }
    return [["Found", title] for title in found] + [
        [label, ", ".join(values[:_MOST_VALUES])] for label, values in seen.items() if values
    ]


def answer(turn: Turn, token: str, given: str, key: Secret) -> dict[str, Any]:
    """Take the owner's answer, once; whoever holds the token is the owner. Raises UserError as `shown`."""
    question = _find(turn, token, key)
    if given not in {"yes", "no"}:
        raise UserError(f"{given!r} is no answer", "answer yes or no", 2)
    turn = turn.by(f"person:{question.person_id}")
    turn.conn.execute(
        update(questions).where(questions.c.id == question.id).values(answer=given, answered_us=turn.now_us)
    )
    case_id, target = question.case_id, f"key:{question.key_id}"
    detail = {"key": question.key_id, "answer": given}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_ANSWER, f"case:{case_id}", detail)
    entry = write(turn, case_id, "answer", key=question.key_id, answer=given)
    said = _yes(turn, case_id, target) if given == "yes" else _no(turn, case_id, target)
    announce(turn, read(turn.conn, case_id), "case.updated", entry, [f"the owner answered {given}", *said])
    return {"case": case_id, "answer": given, "state": key_state(turn, question.key_id)}


def _yes(turn: Turn, case_id: int, target: str) -> list[str]:
    if (verdict := read(turn.conn, case_id).verdict) not in {"", "benign"}:
        return [f"the case is closed as {verdict}: nothing is released"]
    said = []
    held = responses.claim(turn.conn, "throttle", target)
    if held is not None and held.case_id == case_id and responses.end(turn, held, "reversed"):
        said.append("the throttle is released")
    until_us = turn.now_us + DOUBLED_FOR_US
    if responses.apply(turn, case_id, "allowance", target, reason="the owner answered yes", until_us=until_us):
        said.append("the ramp allowance is doubled for a day")
    return said


def _no(turn: Turn, case_id: int, target: str) -> list[str]:
    case = read(turn.conn, case_id)
    if case.state == "closed":
        states.reopen(turn, case, "the owner answered no")
    states.update_case(turn, case, severity="critical")
    states.flag(turn, [target])
    if responses.apply(turn, case_id, "quarantine", target, reason="the owner answered no"):
        return ["the key is quarantined"]
    return []


def key_state(turn: Turn, key_id: str) -> str:
    """What a key is now, in a word or two."""
    row = turn.conn.execute(select(keys.c.state, keys.c.throttle_per_min).where(keys.c.id == key_id)).one()
    if row.state == "live" and row.throttle_per_min:
        return f"slowed down to {row.throttle_per_min} requests a minute"
    return str(row.state)


def _find(turn: Turn, token: str, key: Secret) -> Row[Any]:
    meant = question_of(key, token)
    row = turn.conn.execute(select(questions).where(questions.c.id == meant)).first() if meant else None
    if row is None:
        raise UserError("there is no such question", "open the link as it stands in the message", 2)
    if row.answer:
        raise UserError("the question was answered", _whom(turn), 2)
    if row.expires_us <= turn.now_us:
        raise UserError("the link is too old", _whom(turn), 2)
    return row


def _whom(turn: Turn) -> str:
    contact = turn.settings.responses.contact
    return f"ask {contact}" if contact else "ask an administrator if it was not you"
