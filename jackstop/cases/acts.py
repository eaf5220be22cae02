"""What a person does in a case: respond, release, approve, decline, and what its end does to its responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, select

from jackstop.cases import responses, states, tend
from jackstop.cases.announce import announce
from jackstop.cases.turn import Turn, entities, write
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import credentials, keys

ACTIONS = (
    *("note", "alert", "throttle", "quarantine", "release", "rotate", "contain", "approve", "decline", "unlawful"),
)
_EVEN_CLOSED = frozenset({"release", "unlawful"})
_LASTING = frozenset({"throttle", "quarantine", "contain"})
_OF_THE_WHOLE_CASE = frozenset({"note", "alert", "unlawful"})

Done = list[dict[str, Any]]


def check(action: str, *, on: str, for_us: int | None) -> None:
    """Raises UserError for what is no action, and for an option that the action would not heed."""
    if action not in ACTIONS:
        raise UserError(f"there is no action {action!r}", f"use one of: {', '.join(ACTIONS)}", 2)
    if for_us is not None and action not in _LASTING:
        raise UserError(f"{action} takes no --for", f"only these last for a time: {', '.join(sorted(_LASTING))}", 2)
    if on and action in _OF_THE_WHOLE_CASE:
        raise UserError(f"{action} takes no --on", "leave it out: this is about the whole case", 2)


def respond(turn: Turn, case: Row[Any], action: str, *, on: str, reason: str, for_us: int | None) -> dict[str, Any]:
    """One action of `ACTIONS` but `note` and `rotate`. Raises UserError where there is nothing to be done."""
    if case.state == "closed" and action not in _EVEN_CLOSED:
        raise UserError(f"case {case.id} is closed", f"open it again: jackstop cases reopen {case.id}", 2)
    run: dict[str, Callable[[], Done]] = {
        "alert": lambda: _alert(turn, case, reason),
        "release": lambda: _release(turn, case, on, reason),
        "approve": lambda: _approve(turn, case, on, reason),
        "decline": lambda: _decline(turn, case, on, reason),
        "unlawful": lambda: _unlawful(turn, case, reason),
    }
    done = run[action]() if action in run else _apply(turn, case, action, on, reason, for_us)
    return {"id": case.id, "action": action, "done": done}


def targets(turn: Turn, case: Row[Any], action: str, on: str) -> list[str]:
    """What an action is about: `on`, or else the case's own keys or credentials. Raises UserError for none."""
    kind = "credential" if action == "contain" else "key"
    if on:
        table, column = (credentials, credentials.c.name) if kind == "credential" else (keys, keys.c.id)
        if (
            not on.startswith(f"{kind}:")
            or not turn.conn.execute(select(table).where(column == on.partition(":")[2])).first()
        ):
            raise UserError(f"{on!r} is not what this can be done to", f"name a {kind}: --on {kind}:…", 2)
        return [on]
    found = [entity for entity in entities(turn.conn, case) if entity.startswith(f"{kind}:")]
    if not found:
        raise UserError(f"case {case.id} is about no {kind}", f"name one: --on {kind}:…", 2)
    return found


def _apply(turn: Turn, case: Row[Any], action: str, on: str, reason: str, for_us: int | None) -> Done:
    rules, done = turn.settings.responses, []
    if for_us is None and action == "throttle":
        for_us = parse_span_us(rules.throttle_for)
    for target in targets(turn, case, action, on):
        applied = responses.apply(
            turn,
            case.id,
            action,  # type: ignore[arg-type]
            target,
            per_min=responses.per_minute(rules),
            reason=reason,
            until_us=None if for_us is None else turn.now_us + for_us,
        )
        held = responses.latest(turn.conn, case.id, action, target) if applied else None
        held = held or responses.claim(turn.conn, action, target)
        text = f"{target} is so, or stricter, already" if held is None else responses.said(held)
        done.append({"target": target, "changed": applied, "text": text if applied else f"unchanged: {text}"})
    return done


def _alert(turn: Turn, case: Row[Any], reason: str) -> Done:
    entry = write(turn, case.id, "alert", text=reason)
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_ALERT, f"case:{case.id}", {"reason": reason})
    announce(turn, case, "case.updated", entry, [reason or "somebody wants you to look at it"])
    return [{"target": f"case:{case.id}", "text": "the channels are told"}]


def _release(turn: Turn, case: Row[Any], on: str, reason: str) -> Done:
    done = [
        _ended(turn, response, reason)
        for response in reversed(_in_force(turn, case))
        if response.action != "allowance" and on in {"", response.target}
    ]
    if not done:
        raise UserError(
            f"case {case.id} holds nothing that could be released",
            "what somebody stopped by hand is released by hand: jackstop key release ID",
            2,
        )
    return done


def _ended(turn: Turn, response: Row[Any], reason: str = "") -> dict[str, Any]:
    restored = responses.end(turn, response, "reversed", reason)
    what = response.target.replace(":", " ", 1)
    text = f"{what} is as before" if restored else f"{what} is left as it is: somebody has changed it since"
    return {"target": response.target, "changed": restored, "text": text}


def _in_force(turn: Turn, case: Row[Any]) -> list[Row[Any]]:
    return [row for row in responses.of_case(turn.conn, case.id) if row.state == "applied" and row.ended_us is None]


def _awaiting(turn: Turn, case: Row[Any]) -> list[Row[Any]]:
    return [row for row in responses.of_case(turn.conn, case.id) if row.state == "awaiting"]


def _approve(turn: Turn, case: Row[Any], on: str, reason: str) -> Done:
    done = []
    for response in _require_awaiting(turn, case, on):
        detail = {"case": case.id, "action": response.action, "reason": reason}
        audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_APPROVE, response.target, detail)
        changed = tend.approve(turn, response, reason or "approved")
        held = responses.latest(turn.conn, case.id, response.action, response.target)
        text = responses.said(held) if changed and held is not None else f"{response.target} is so already, or gone"
        done.append({"target": response.target, "changed": changed, "text": text})
    return done


def _decline(turn: Turn, case: Row[Any], on: str, reason: str) -> Done:
    waiting = _require_awaiting(turn, case, on)
    for response in waiting:
        responses.decline(turn, response, reason)
    return [{"target": each.target, "changed": False, "text": f"{each.target} stays as it is"} for each in waiting]


def _require_awaiting(turn: Turn, case: Row[Any], on: str) -> list[Row[Any]]:
    found = [response for response in _awaiting(turn, case) if on in {"", response.target}]
    if not found:
        what = f"nothing in case {case.id}" + (f" about {on}" if on else "")
        raise UserError(f"{what} waits for approval", "see `jackstop cases show`", 2)
    return found


def _unlawful(turn: Turn, case: Row[Any], reason: str) -> Done:
    marked = states.update_case(turn, case, unlawful=True)
    entry = write(turn, case.id, "unlawful", text=reason)
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_UNLAWFUL, f"case:{case.id}", {"reason": reason})
    announce(turn, marked, "case.updated", entry, ["its content may be unlawful"])
    return [
        {"target": f"case:{case.id}", "text": "marked: do not view, copy or forward; preserve in place; counsel first"}
    ]


def wind_up(turn: Turn, case: Row[Any], *, benign: bool) -> Done:
    """The case ends: nothing waits any more. A benign one takes back what it did, another what it allowed."""
    for response in _awaiting(turn, case):
        responses.decline(turn, response, "the case was closed")
    over = [each for each in _in_force(turn, case) if (each.action == "allowance") != benign]
    return [_ended(turn, response) for response in reversed(over)]


def working_keys(turn: Turn, case: Row[Any]) -> list[str]:
    """Keys of the case that still work with the secret that they had in it."""
    rotated_since = {row.target for row in responses.of_case(turn.conn, case.id) if row.action == "rotate"}
    ids = [each.removeprefix("key:") for each in entities(turn.conn, case) if each.startswith("key:")]
    live = turn.conn.execute(select(keys.c.id).where(keys.c.id.in_(ids), keys.c.state == "live")).scalars()
    return sorted(key_id for key_id in live if f"key:{key_id}" not in rotated_since)
