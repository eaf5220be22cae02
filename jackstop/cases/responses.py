"""What is done to keys, credentials and allowances for a case, and how each of these is undone.

A response that is `applied` has a claim on one field of its target: it alone remembers what was there before, and only
as long as it finds what it has set itself does it ever put that back. There is one claim at most on each field: what
comes later takes it over, and a person who acts on the key itself ends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, Table, func, insert, select, update

from jackstop.cases.turn import SYSTEM, Turn, write
from jackstop.clock import iso
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_rate, parse_span_us
from jackstop.rotation import intents
from jackstop.settings import ResponseSettings
from jackstop.store import audit, tables
from jackstop.store.audit import Tag

Action = Literal["throttle", "quarantine", "contain", "allowance", "rotate"]
Ending = Literal["expired", "reversed"]

STRENGTH = {"allowance": 0, "throttle": 1, "quarantine": 2, "contain": 2}
"""A person who takes something back means what is weaker, too."""

_APPLIED_TAGS = {
    "throttle": (Tag.SYSTEM_KEY_THROTTLE, Tag.KEY_THROTTLE),
    "quarantine": (Tag.SYSTEM_KEY_QUARANTINE, Tag.KEY_QUARANTINE),
    "contain": (Tag.SYSTEM_CREDENTIAL_CONTAIN, Tag.CREDENTIAL_CONTAIN),
    "allowance": (Tag.ALLOWANCE_DOUBLE, Tag.ALLOWANCE_DOUBLE),
}
_ENDED_TAGS = {
    "throttle": (Tag.SYSTEM_KEY_RELEASE, Tag.KEY_RELEASE),
    "quarantine": (Tag.SYSTEM_KEY_RELEASE, Tag.KEY_RELEASE),
    "contain": (Tag.SYSTEM_CREDENTIAL_RESTORE, Tag.CREDENTIAL_RESTORE),
    "allowance": (Tag.SYSTEM_ALLOWANCE_END, Tag.ALLOWANCE_END),
}


class _Field(NamedTuple):
    """The column that a response sets, and the row in which it stands."""

    table: Table
    column: str
    where: Any

    def value(self, conn: Connection) -> Any:
        return conn.execute(select(self.table.c[self.column]).where(self.where)).scalar_one_or_none()

    def set(self, turn: Turn, value: Any) -> None:
        values = {self.column: value, "seq": turn.store.next_seq(turn.conn)}
        turn.conn.execute(update(self.table).where(self.where).values(**values))


def check(rules: ResponseSettings) -> None:
    """Raises UserError for settings that could not be followed when it matters."""
    try:
        per_minute(rules)
        parse_span_us(rules.throttle_for)
    except UserError as error:
        raise UserError(f"responses.throttle_rate or .throttle_for: {error.problem}", error.remedy, 2) from None


def per_minute(rules: ResponseSettings) -> int:
    """How many requests a minute a throttled key may send, at least one."""
    rate = parse_rate(rules.throttle_rate)
    return max(1, rate.amount * 60 // rate.per_s)


def apply(
    turn: Turn,
    case_id: int,
    action: Action,
    target: str,
    *,
    per_min: int | None = None,
    reason: str = "",
    epoch: int = 0,
    until_us: int | None = None,
    waiting: Row[Any] | None = None,
) -> bool:
    """Do it, unless the target is as strict already or is gone; whether it was done.

    `waiting` is a response that waited for approval and is done by this. A credential whose provider has a driver is
    contained there, as a written intent of its own, which no release takes back.
    """
    if action == "contain" and (kept := _kept_at_provider(turn.conn, target)) is not None:
        return _contain_at_provider(turn, case_id, kept, reason, epoch, waiting)
    field = _field(turn.conn, action, target)
    now = field.value(turn.conn) if field else None
    wanted = _wanted(action, now, per_min)
    held = claim(turn.conn, action, target)
    if field is None or wanted is None or (action == "allowance" and held is not None):
        return False
    was = now
    if held is not None and held.before["set"] == now:
        was = held.before["was"]
    if held is not None:
        _close(turn, held, "reversed", restored=False, why="replaced")
    _insert(
        turn,
        case_id,
        action,
        target,
        state="applied",
        reason=reason,
        epoch=epoch,
        until_us=until_us,
        before={"was": was, "set": wanted},
        waiting=waiting,
    )
    field.set(turn, wanted)
    _audit(turn, _APPLIED_TAGS, action, target, {"case": case_id, "set": wanted, "reason": reason})
    write(turn, case_id, "response", action=action, target=target, set=wanted, until_us=until_us, reason=reason)
    return True


def _kept_at_provider(conn: Connection, target: str) -> Row[Any] | None:
    """The credential, if a driver or a standby can do something about it."""
    table = tables.credentials
    row = conn.execute(select(table).where(table.c.name == target.removeprefix("credential:"))).one_or_none()
    return row if row is not None and intents.has_help(conn, row) else None


def is_outage(conn: Connection, action: str, target: str) -> bool:
    """Whether applications fail because of it until a person brings a new key."""
    if action != "contain":
        return False
    kept = _kept_at_provider(conn, target)
    return kept is None or intents.plan_for(conn, kept, "contain")[0].outage


def _contain_at_provider(
    turn: Turn, case_id: int, credential: Row[Any], reason: str, epoch: int, waiting: Row[Any] | None
) -> bool:
    cause: intents.Cause = "finding" if turn.actor == SYSTEM else "hand"
    try:
        rotation = intents.begin(turn, credential, "contain", cause, reason=reason, case_id=case_id)
    except UserError:
        return False  # it is under way already, or there is nothing left of it
    target = f"credential:{credential.name}"
    _insert(
        turn,
        case_id,
        "contain",
        target,
        state="applied",
        reason=reason,
        epoch=epoch,
        until_us=None,
        before={"rotation": rotation},
        ended_us=turn.now_us,
        waiting=waiting,
    )
    write(turn, case_id, "response", action="contain", target=target, rotation=rotation, reason=reason)
    return True


def _wanted(action: str, now: Any, per_min: int | None) -> Any:
    """What the field is to become, None where it is that or stricter."""
    match action:
        case "throttle":
            return None if per_min is None or (now is not None and now <= per_min) else per_min
        case "quarantine":
            return "quarantined" if now == "live" else None
        case "contain":
            return "contained" if now == "active" else None
        case _:
            return 2 * now if now else None


def propose(
    turn: Turn,
    case_id: int,
    action: Action,
    target: str,
    state: Literal["observed", "awaiting"],
    *,
    reason: str = "",
    epoch: int = 0,
    deadline_us: int | None = None,
) -> int:
    """Write down what would be done, or is to be approved; returns its number."""
    made = _insert(
        turn, case_id, action, target, state=state, reason=reason, epoch=epoch, deadline_us=deadline_us, before={}
    )
    if state == "awaiting":
        _audit(turn, {action: (Tag.SYSTEM_RESPONSE_AWAIT,) * 2}, action, target, {"case": case_id})
    write(turn, case_id, state, action=action, target=target, deadline_us=deadline_us, reason=reason)
    return made


def end(turn: Turn, response: Row[Any], state: Ending, reason: str = "") -> bool:
    """Undo an applied response; whether that changed its target, which it does not where somebody else has since."""
    field = _field(turn.conn, response.action, response.target)
    restored = field is not None and field.value(turn.conn) == response.before["set"]
    if field is not None and restored:
        field.set(turn, response.before["was"])
        detail = {"case": response.case_id, "set": response.before["was"], "why": state, "reason": reason}
        _audit(turn, _ENDED_TAGS, response.action, response.target, detail)
    _close(turn, response, state, restored=restored, reason=reason)
    return restored


def decline(turn: Turn, response: Row[Any], reason: str = "") -> None:
    """Somebody does not want what waits for approval."""
    turn.conn.execute(
        update(tables.responses)
        .where(tables.responses.c.id == response.id)
        .values(state="declined", ended_us=turn.now_us, before={**response.before, "ended_by": turn.actor})
    )
    detail = {"case": response.case_id, "action": response.action, "reason": reason}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_DECLINE, response.target, detail)
    write(turn, response.case_id, "declined", action=response.action, target=response.target, reason=reason)


def fail(turn: Turn, response: Row[Any]) -> None:
    """What waited for approval cannot be done: its target is gone, or is so already."""
    turn.conn.execute(
        update(tables.responses)
        .where(tables.responses.c.id == response.id)
        .values(state="failed", deadline_us=None, ended_us=turn.now_us)
    )
    write(turn, response.case_id, "failed", action=response.action, target=response.target)


def take_over(turn: Turn, target: str, actions: Sequence[str]) -> None:
    """A person acts on the target itself: from now on it is theirs, and no case undoes it any more."""
    for response in applied_to(turn.conn, target):
        if response.action in actions:
            _close(turn, response, "reversed", restored=False, why="taken over")


def applied_to(conn: Connection, target: str) -> list[Row[Any]]:
    """The claims on a target, the latest first."""
    table = tables.responses
    ours = select(table).where(table.c.state == "applied", table.c.ended_us.is_(None), table.c.target == target)
    statement = ours.order_by(table.c.id.desc())
    return list(conn.execute(statement).all())


def claim(conn: Connection, action: str, target: str) -> Row[Any] | None:
    """The one response that is in effect on this field of the target."""
    return next((row for row in applied_to(conn, target) if row.action == action), None)


def latest(conn: Connection, case_id: int, action: str, target: str) -> Row[Any] | None:
    """What the case did last of this kind to the target."""
    table = tables.responses
    same = select(table).where(table.c.case_id == case_id, table.c.action == action, table.c.target == target)
    return conn.execute(same.order_by(table.c.id.desc()).limit(1)).one_or_none()


def of_case(conn: Connection, case_id: int) -> list[Row[Any]]:
    """A case's responses in their order."""
    table = tables.responses
    return list(conn.execute(select(table).where(table.c.case_id == case_id).order_by(table.c.id)).all())


def taken_back(earlier: Sequence[Row[Any]], action: str, target: str, since_us: int) -> bool:
    """Whether a person has undone or declined this, or something stronger, since then."""
    return any(
        row.target == target
        and row.state in {"reversed", "declined"}
        and row.before.get("ended_by", SYSTEM) != SYSTEM
        and row.ended_us >= since_us
        and STRENGTH.get(row.action, 0) >= STRENGTH[action]
        for row in earlier
    )


def said(response: Row[Any]) -> str:
    """A response in a sentence's words."""
    words = {
        "throttle": f"throttled to {response.before.get('set')} requests a minute",
        "quarantine": "quarantined",
        "contain": "being ended at its provider" if "rotation" in response.before else "contained",
        "allowance": "given twice its ramp allowance",
        "rotate": "given a new secret",
    }[response.action]
    until = f" until {iso(response.until_us)[:16]}Z" if response.until_us and response.state == "applied" else ""
    return f"{response.target.replace(':', ' ', 1)} {words}{until}"


def _field(conn: Connection, action: str, target: str) -> _Field | None:
    """Where the response acts. None: there is no such thing any more, or not this kind of thing."""
    kind, _, name = target.partition(":")
    keys, credentials, limits = tables.keys, tables.credentials, tables.limits
    if action == "contain":
        return _Field(credentials, "state", credentials.c.name == name) if kind == "credential" else None
    if kind != "key":
        return None
    state = conn.execute(select(keys.c.state).where(keys.c.id == name)).scalar_one_or_none()
    if state in {None, "revoked"}:
        return None
    if action == "allowance":
        ramp = select(limits.c.id).where(
            limits.c.scope == target, limits.c.kind == "rate", limits.c.unit == "nusd", ~limits.c.deleted
        )
        limit_id = conn.execute(ramp.order_by(limits.c.id).limit(1)).scalar_one_or_none()
        return None if limit_id is None else _Field(limits, "amount", limits.c.id == limit_id)
    return _Field(keys, "throttle_per_min" if action == "throttle" else "state", keys.c.id == name)


def _insert(
    turn: Turn, case_id: int, action: str, target: str, *, waiting: Row[Any] | None = None, state: str, **values: Any
) -> int:
    table = tables.responses
    if state == "applied":
        values["applied_us"] = turn.now_us
    if waiting is not None:
        changed = {
            "state": state,
            "applied_us": turn.now_us,
            "before": values["before"],
            "until_us": values["until_us"],
            "ended_us": values.get("ended_us"),
        }
        turn.conn.execute(update(table).where(table.c.id == waiting.id).values(deadline_us=None, **changed))
        return int(waiting.id)
    turns = select(func.count()).where(table.c.case_id == case_id, table.c.action == action, table.c.target == target)
    uid = _uid(case_id, action, target, turn.conn.execute(turns).scalar_one())
    statement = insert(table).values(
        uid=uid,
        case_id=case_id,
        action=action,
        target=target,
        state=state,
        actor=turn.actor,
        intended_us=turn.now_us,
        **values,
    )
    return int(turn.conn.execute(statement.returning(table.c.id)).scalar_one())


def record_rotation(turn: Turn, case_id: int, target: str, reason: str) -> None:
    """A key got a new secret for a case: done, and not to be undone."""
    _insert(turn, case_id, "rotate", target, state="applied", reason=reason, before={}, ended_us=turn.now_us)
    write(turn, case_id, "response", action="rotate", target=target, reason=reason)


def _uid(case_id: int, action: str, target: str, number: int) -> str:
    return hashlib.blake2b(f"{case_id}\n{action}\n{target}\n{number}".encode(), digest_size=12).hexdigest()


def _close(turn: Turn, response: Row[Any], state: Ending, *, restored: bool, why: str = "", reason: str = "") -> None:
    turn.conn.execute(
        update(tables.responses)
        .where(tables.responses.c.id == response.id)
        .values(
            state=state,
            ended_us=turn.now_us,
            before={**response.before, "ended_by": turn.actor, "restored": restored},
        )
    )
    detail = {"action": response.action, "target": response.target, "restored": restored, "why": why}
    write(turn, response.case_id, state, **detail, reason=reason)


def _audit(turn: Turn, tags: dict[str, tuple[Tag, Tag]], action: str, target: str, detail: dict[str, Any]) -> None:
    own, by_person = tags[action]
    tag = own if turn.actor == SYSTEM else by_person
    audit.record(turn.conn, turn.now_us, turn.actor, tag, target, msgspec.to_builtins(detail))
