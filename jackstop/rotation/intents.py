"""The intents of rotations in the store: begun, hastened, answered, cancelled and ended. Only control runs this."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from jackstop.cases.turn import SYSTEM, Turn, write
from jackstop.errors import UserError
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Driver
from jackstop.rotation.plan import Act, Plan, plan
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import administrations, credentials, standbys
from jackstop.store.tables import rotations as table

Cause = Literal["schedule", "age", "leak", "finding", "hand"]

_SLOW = frozenset({"drain", "watch", "wait"})
"""Steps that are for the sake of applications, and are left out once a key is known to be stolen."""
_SHOWN = ("new_id", "old_id", "expires_us", "used_elsewhere_us", "left_over")


# -- begin ------------------------------------------------------------------------------------------------------


def plan_for(
    conn: Connection, credential: Row[Any], act: Act, *, brought: bool = False, stop: bool = False
) -> tuple[Plan, Driver | None]:
    """What would be done to a credential as things are, and by which driver."""
    driver = driver_of(conn, credential)
    standby = select(standbys.c.credential).where(standbys.c.credential == credential.name)
    return plan(act, driver, standby=conn.execute(standby).first() is not None, brought=brought, stop=stop), driver


def has_help(conn: Connection, credential: Row[Any]) -> bool:
    """Whether a containment can do more than to stop using the credential: by a driver, or with a standby."""
    standby = select(standbys.c.credential).where(standbys.c.credential == credential.name)
    return driver_of(conn, credential) is not None or conn.execute(standby).first() is not None


def driver_of(conn: Connection, credential: Row[Any]) -> Driver | None:
    """The driver of the credential's administration, None where it has none."""
    which = select(administrations.c.driver).where(administrations.c.name == credential.administration)
    name = conn.execute(which).scalar_one_or_none()
    return None if name is None else drivers.driver(name)


def begin(
    turn: Turn,
    credential: Row[Any],
    act: Act,
    cause: Cause,
    *,
    reason: str = "",
    case_id: int | None = None,
    fresh: bytes | None = None,
    fresh_id: str = "",
    stop: bool = False,
) -> int:
    """Write the intent down. `fresh` is a sealed secret that a person brought, `fresh_id` its id at the provider.

    A containment that is an outage, or has to `stop` without waiting for another key, stops the credential at once. A
    rotation that is under way becomes the containment; where its new key is in use already, that one is contained when
    the old one is ended. Raises UserError for another one under way, and where the credential is retired.
    """
    if credential.state == "retired":
        raise UserError(f"the credential {credential.name} is retired", "add one under another name", 2)
    running = of_credential(turn.conn, credential.name)
    if running is not None:
        if act == "contain" and (running.act == "rotate" or (stop and not running.detail.get("switched_us"))):
            return _hasten(turn, credential, running, cause, reason, case_id, stop=stop)
        raise UserError(
            f"{credential.name} is being worked on already: {running.act}, step {running.step}",
            f"see `jackstop credential rotations {credential.name}`",
            2,
        )
    made, _ = plan_for(turn.conn, credential, act, brought=fresh is not None, stop=stop)
    number = turn.conn.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar() or 0
    uid = hashlib.blake2b(f"{credential.name}\n{turn.now_us}\n{number}".encode(), digest_size=8).hexdigest()
    detail: dict[str, Any] = {"old_id": credential.provider_key_id, "since_us": turn.now_us}
    if fresh_id:
        detail["new_id"] = not_the_old(fresh_id, credential.provider_key_id)
    statement = insert(table).values(
        uid=uid,
        credential=credential.name,
        act=act,
        cause=cause,
        reason=reason,
        case_id=case_id,
        state="running",
        steps=list(made.steps),
        step=made.steps[0],
        detail=detail,
        fresh=fresh,
        next_us=turn.now_us,
        actor=turn.actor,
        started_us=turn.now_us,
    )
    begun = turn.conn.execute(statement.returning(table)).one()
    _note_beginning(turn, begun, outage=made.outage)
    _stop_if_due(turn, begun)
    return int(begun.id)


def not_the_old(key_id: str, old_id: str | None) -> str:
    """The id of a key that is brought. Raises UserError for the old key's, which is to be ended."""
    if key_id and key_id == old_id:
        raise UserError(f"{key_id} is the id of the old key", "give the new key's id, or leave it empty", 2)
    return key_id


def _note_beginning(turn: Turn, row: Row[Any], *, outage: bool) -> None:
    tag = Tag.SYSTEM_ROTATION_BEGIN if turn.actor == SYSTEM else Tag.ROTATION_BEGIN
    said = {"rotation": row.id, "act": row.act, "cause": row.cause, "reason": row.reason, "outage": outage}
    audit.record(turn.conn, turn.now_us, turn.actor, tag, f"credential:{row.credential}", said)
    note_in_case(turn, row, "begun")


def _hasten(
    turn: Turn, credential: Row[Any], row: Row[Any], cause: Cause, reason: str, case_id: int | None, *, stop: bool
) -> int:
    """The key turns out to be stolen: what is under way goes on without the steps that only spare applications."""
    at = list(row.steps).index(row.step)
    detail = {**row.detail, "since_us": turn.now_us}
    if row.detail.get("switched_us"):
        left = [step for step in list(row.steps)[at:] if step not in _SLOW]
        steps, step, outage = [*list(row.steps)[:at], *left], left[0], False
        # It is the present key that is said to be stolen, not the one that is being ended.
        detail["then"] = {"cause": cause, "reason": reason, "case_id": case_id, "stop": stop}
    else:
        brought = row.fresh is not None and "create" not in row.steps
        made, _ = plan_for(turn.conn, credential, "contain", brought=brought, stop=stop)
        steps, outage = list(made.steps), made.outage
        # What is under way may have waited for a person, where there is a standby now.
        step = row.step if row.step in steps else steps[steps[0] == "note"]
        step = "stop" if outage else step
    values = {"act": "contain", "steps": steps, "step": step, "cause": cause, "case_id": row.case_id or case_id}
    hastened = change(turn, row, detail=detail, reason=reason or row.reason, next_us=turn.now_us, attempts=0, **values)
    _note_beginning(turn, hastened, outage=outage)
    if step == "refused" and "then" in detail:
        end(turn, hastened, "nobody has seen the old key refused: its successor has to be contained")
    else:
        _stop_if_due(turn, hastened)
    return int(row.id)


def _stop_if_due(turn: Turn, row: Row[Any]) -> None:
    """A plan that begins by stopping does so in the transaction in which it is written: nothing need run for it."""
    if row.step != "stop":
        return
    contained = {"state": "contained", "seq": turn.store.next_seq(turn.conn)}
    turn.conn.execute(update(credentials).where(credentials.c.name == row.credential).values(**contained))
    tag = Tag.SYSTEM_CREDENTIAL_CONTAIN if turn.actor == SYSTEM else Tag.CREDENTIAL_CONTAIN
    audit.record(turn.conn, turn.now_us, turn.actor, tag, f"credential:{row.credential}", {"rotation": row.id})
    following = list(row.steps)[list(row.steps).index("stop") + 1 :]
    if following[0] == "note" and "known" in row.detail:
        following = following[1:]
    change(turn, row, step=following[0])


def of_credential(conn: Connection, name: str) -> Row[Any] | None:
    """What is under way for a credential."""
    return conn.execute(select(table).where(table.c.credential == name, table.c.state == "running")).first()


# -- the end ----------------------------------------------------------------------------------------------------


def waits_for_secret(row: Row[Any]) -> bool:
    """Whether a person has to bring the new secret, or may bring another."""
    return "ask" in row.steps and not row.detail.get("switched_us") and row.fresh is None


def answer(turn: Turn, row: Row[Any], fresh: bytes, fresh_id: str) -> None:
    """A person brings the new secret that an intent waits for."""
    new_id = not_the_old(fresh_id, row.detail.get("old_id"))
    detail = {**row.detail, **({"new_id": new_id} if new_id else {})}
    change(turn, row, fresh=fresh, detail=detail, next_us=turn.now_us)
    said = {"rotation": row.id}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.ROTATION_ANSWER, f"credential:{row.credential}", said)


def cancel(turn: Turn, row: Row[Any], reason: str) -> None:
    """Stop an intent. What it may have made at the provider is deleted there first.

    Raises UserError for one that has switched: it is nearly done, and one of two keys has to be ended. Only where
    nothing is left but to see the old key refused may a person say that this need not be waited for.
    """
    if row.detail.get("switched_us") and row.step != "refused":
        raise UserError(f"{row.credential} uses its new key already", "let it go on, so that the old one is ended", 2)
    said = {"rotation": row.id, "reason": reason}
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.ROTATION_CANCEL, f"credential:{row.credential}", said)
    if row.fresh is not None and row.detail.get("deposited"):
        _put_back(turn, row)
    if row.detail.get("create_begun") and not row.detail.get("switched_us"):
        change(turn, row, steps=["discard"], step="discard", fresh=None, attempts=0, next_us=turn.now_us)
    else:
        end(turn, row, reason or "cancelled")


def _put_back(turn: Turn, row: Row[Any]) -> None:
    """A standby that was taken and never used is deposited again."""
    key_id = str(row.detail.get("new_id") or "")
    turn.conn.execute(delete(standbys).where(standbys.c.credential == row.credential))
    turn.conn.execute(
        insert(standbys).values(
            credential=row.credential, secret=row.fresh, provider_key_id=key_id, created_us=turn.now_us
        )
    )


def learn_old_id(turn: Turn, row: Row[Any], key_id: str) -> None:
    """A person says which key at the provider the old one is. A worker that is just finding out has to begin again.

    Raises UserError once the old one is known and the new one in use.
    """
    old_id = str(row.detail.get("old_id") or "")
    if row.detail.get("switched_us") and old_id not in {"", key_id}:
        remedy = f"see `jackstop credential rotations {row.credential}`, and say it once that has ended"
        raise UserError(f"{row.credential} uses its new key already, and {old_id} is being ended", remedy, 2)
    detail = {**row.detail, "old_id": key_id}
    if row.step == "note":
        detail["number"] = int(row.detail.get("number") or 0) + 1
    change(turn, row, detail=detail, next_us=turn.now_us)


def end(turn: Turn, row: Row[Any], problem: str = "") -> None:
    """Nothing is left to be done; the secrets are forgotten."""
    done = row.step == row.steps[-1] != "discard" and not problem
    state = "done" if done else "cancelled"
    change(turn, row, state=state, problem=problem, ended_us=turn.now_us, taken_until_us=0, fresh=None, old=None)
    if done:
        said = {"rotation": row.id, "act": row.act}
        audit.record(turn.conn, turn.now_us, SYSTEM, Tag.SYSTEM_ROTATION_END, f"credential:{row.credential}", said)
        note_in_case(turn, row, "done")
    if then := row.detail.get("then"):
        credential = turn.conn.execute(select(credentials).where(credentials.c.name == row.credential)).one()
        begin(turn, credential, "contain", **then)


def change(turn: Turn, row: Row[Any], **values: Any) -> Row[Any]:
    """Set columns of an intent; the row as it then is."""
    statement = update(table).where(table.c.id == row.id).values(**values).returning(table)
    return turn.conn.execute(statement).one()


def note_in_case(turn: Turn, row: Row[Any], what: str) -> None:
    """A line in the timeline of the intent's case, if it has one."""
    if row.case_id is not None:
        write(turn, row.case_id, "rotation", credential=row.credential, act=row.act, state=what)


def shown(row: Row[Any]) -> dict[str, Any]:
    """A rotation as people see it: no secret."""
    return {
        "id": row.id,
        "credential": row.credential,
        "act": row.act,
        "cause": row.cause,
        "reason": row.reason,
        "case": row.case_id,
        "state": row.state,
        "step": row.step,
        "steps": list(row.steps),
        "problem": row.problem,
        "attempts": row.attempts,
        "next_us": row.next_us if row.state == "running" else None,
        "started_us": row.started_us,
        "ended_us": row.ended_us,
        **{name: row.detail.get(name) for name in _SHOWN},
    }
