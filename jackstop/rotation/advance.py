"""How an intent goes on: the worker is given its steps one by one, and control does its own in between.

Whatever is done at a provider was written down before; a worker that is killed leaves an intent that another goes on
with, and a step that may have been done already is done again in a way that finds what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from jackstop.cases.turn import SYSTEM, Turn
from jackstop.clock import US_PER_S
from jackstop.errors import UserError
from jackstop.rotation import intents
from jackstop.rotation.intents import change
from jackstop.rotation.schedule import life_s
from jackstop.rotation.task import Outcome, Task
from jackstop.secret import Secret
from jackstop.store import audit
from jackstop.store.audit import Tag
from jackstop.store.tables import administrations, credentials, standbys
from jackstop.store.tables import rotations as table
from jackstop.vault.credentials import seal_credential, unseal_administration, unseal_credential
from jackstop.vault.envelope import Vault

TAKEN_US = 90 * US_PER_S
"""For how long a worker has a step; after that another may begin it again."""
AT_ONCE = 20
"""How many steps a worker is given at most at a time."""
_OWN = frozenset({"standby", "ask", "switch", "drain", "wait"})
"""Steps that control does itself, or waits in."""
_ASK_AGAIN_S = 5
_HEARD_US = {"rotate": 2 * US_PER_S, "contain": US_PER_S}
"""After so long a gate that was sent a change uses it: one that stood still for longer admits nothing until it hears
from control again. A containment does not wait that long for requests of a moment."""
_STUCK_US = {"rotate": 600 * US_PER_S, "contain": 120 * US_PER_S}
"""When a step that only has to wait, and says what for, is told to people."""
_FAILS_BEFORE_CONTAINED = 2
_OF_THE_SECRET = frozenset({"new_id", "deposited", "told_person"})
"""What is forgotten with a new secret that does not work."""
_LONGEST_WAIT_S = {"rotate": 300, "contain": 30}
_LONGEST_LATER_S = {"rotate": 60, "contain": 5}


def _credential(conn: Connection, name: str) -> Row[Any]:
    return conn.execute(select(credentials).where(credentials.c.name == name)).one()


def due_steps(conn: Connection, now_us: int, busy: Collection[str]) -> set[str]:
    """The steps that something is to be done about now, of credentials that are not `busy`.

    With `drain` among them the caller has to say which requests there are.
    """
    due = select(table.c.step).where(table.c.state == "running", table.c.next_us <= now_us)
    return set(conn.execute(due.where(table.c.credential.not_in(busy))).scalars())


def take(
    turn: Turn,
    vault: Vault,
    worker: str,
    busy: Collection[str],
    under_way: Mapping[str, int] | None,
    seen_seq: int | None,
) -> tuple[list[Task], list[Row[Any]]]:
    """The steps that `worker` has to do now, at most one for each credential that is not `busy` with it; and the
    intents that people should hear of, since a secret of theirs does not open.

    `under_way` is, by credential, when the oldest of its running requests began; `seen_seq` the change that every gate
    was told of, None where no gate runs. Both are for `drain`, and None for `under_way` says that nobody has looked.
    """
    due = select(table).where(table.c.state == "running", table.c.next_us <= turn.now_us)
    tasks: list[Task] = []
    troubled: list[Row[Any]] = []
    for row in turn.conn.execute(due.order_by(table.c.next_us)).all():
        if len(tasks) == AT_ONCE:
            break
        # What this worker was given and is not busy with, it has never got.
        another_has_it = row.taken_until_us > turn.now_us and row.detail.get("worker") != worker
        if row.credential in busy or another_has_it:
            continue
        here: Row[Any] | None = row
        while here is not None and here.step in _OWN:
            here = _do_own(turn, here, under_way, seen_seq)
        if here is None:
            continue
        try:
            tasks.append(_hand_out(turn, vault, worker, here))
        except UserError as error:
            # One that does not open holds up no other.
            told = _fail(turn, here, error.problem)
            troubled += [] if told is None else [told]
    return tasks, troubled


def _hand_out(turn: Turn, vault: Vault, worker: str, row: Row[Any]) -> Task:
    credential, begun = _credential(turn.conn, row.credential), f"{row.step}_begun"
    number = int(row.detail.get("number") or 0) + 1
    detail = {**row.detail, begun: number, "worker": worker, "number": number}
    if not detail.get("old_id") and not detail.get("switched_us"):
        detail["old_id"] = credential.provider_key_id  # a person may have said it since the beginning
    admin = turn.conn.execute(
        select(administrations).where(administrations.c.name == credential.administration)
    ).one_or_none()
    place = credential.name, credential.provider, credential.base_url
    old = row.old if row.detail.get("switched_us") else credential.secret
    before = row.detail.get(begun)
    task = Task(
        id=row.id,
        uid=row.uid,
        credential=row.credential,
        step=row.step,
        number=number,
        act=row.act,
        again=bool(before) and before != row.detail.get("nothing_made"),
        provider=credential.provider,
        base_url=credential.base_url,
        driver="" if admin is None else admin.driver,
        admin_url="" if admin is None else admin.base_url,
        options={} if admin is None else admin.options,
        place=credential.place,
        detail=detail,
        exclusive=credential.exclusive,
        admin="" if admin is None else unseal_administration(vault, admin).reveal().decode(),
        fresh=_opened(vault, place, row.fresh),
        old=_opened(vault, place, old),
        expires_s=life_s(credential, turn.settings.rotation),
        watch_s=turn.settings.rotation.watch_s,
        ca=turn.settings.gate.upstream_ca,
    )
    change(turn, row, taken_until_us=turn.now_us + TAKEN_US, detail=detail)
    return task


def _opened(vault: Vault, place: tuple[str, str, str], sealed: bytes | None) -> str:
    return unseal_credential(vault, *place, sealed).reveal().decode() if sealed else ""


def _do_own(turn: Turn, row: Row[Any], under_way: Mapping[str, int] | None, seen_seq: int | None) -> Row[Any] | None:
    """Do a step that is control's own; the row as it then is, None where it waits or has ended."""
    match row.step:
        case "standby":
            return _take_standby(turn, row)
        case "switch":
            return _switch(turn, row)
        case "drain":
            return _drain(turn, row, under_way, seen_seq)
        case "wait":
            return _wait(turn, row)
        case _:
            return _ask(turn, row)


def _ask(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    if row.fresh:
        return _next(turn, row)
    change(turn, row, problem="a person has to bring a new key", next_us=turn.now_us + _ASK_AGAIN_S * US_PER_S)
    return None


def _take_standby(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    deposited = turn.conn.execute(select(standbys).where(standbys.c.credential == row.credential)).one_or_none()
    if deposited is None:  # it was taken back meanwhile
        steps = ["ask" if step == "standby" else step for step in row.steps]
        return change(turn, row, steps=steps, step="ask")
    turn.conn.execute(delete(standbys).where(standbys.c.credential == row.credential))
    detail = {**row.detail, "new_id": deposited.provider_key_id, "deposited": True}
    return _next(turn, change(turn, row, fresh=deposited.secret, detail=detail))


def _switch(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    """The gates get the new secret with the next changes; the old one stays in the intent until it is dead."""
    before = _credential(turn.conn, row.credential)
    seq = turn.store.next_seq(turn.conn)
    turn.conn.execute(
        update(credentials)
        .where(credentials.c.name == row.credential)
        .values(
            secret=row.fresh,
            state="active",
            provider_key_id=str(row.detail.get("new_id") or ""),
            rotated_us=turn.now_us,
            seq=seq,
        )
    )
    said = {"rotation": row.id, "was": before.state}
    tag = Tag.SYSTEM_CREDENTIAL_ROTATE if row.actor == SYSTEM else Tag.CREDENTIAL_ROTATE
    audit.record(turn.conn, turn.now_us, row.actor, tag, f"credential:{row.credential}", said)
    intents.note_in_case(turn, row, "switched")
    detail = {**row.detail, "switched_us": turn.now_us, "switched_seq": seq}
    return _next(turn, change(turn, row, old=before.secret, fresh=None, detail=detail))


def _drain(turn: Turn, row: Row[Any], under_way: Mapping[str, int] | None, seen_seq: int | None) -> Row[Any] | None:
    """Requests that began with the old secret have ended; bounded, since a provider looks at a key only once.

    A gate takes the secret when it has written the request's hold, so that a request whose hold is from after
    `told_us` has the new one.
    """
    if under_way is None:
        return _rest(turn, row, turn.now_us)
    late = turn.now_us - int(row.detail["switched_us"]) >= turn.settings.rotation.drain_max_s * US_PER_S
    told_us = row.detail.get("told_us")
    if told_us is None and (seen_seq is None or seen_seq >= int(row.detail["switched_seq"])):
        told_us = turn.now_us + (0 if seen_seq is None else _HEARD_US[row.act])
        row = change(turn, row, detail={**row.detail, "told_us": told_us})
    if not late:
        if told_us is None or turn.now_us < int(told_us):
            return _rest(turn, row, turn.now_us + US_PER_S if told_us is None else int(told_us))
        if row.act == "rotate" and under_way.get(row.credential, turn.now_us) < int(told_us):
            return _rest(turn, row, turn.now_us + US_PER_S)
    return _next(turn, change(turn, row, detail={**row.detail, "drained_us": turn.now_us}))


def _wait(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    until_us = int(row.detail["since_us"]) + turn.settings.rotation.wait_s * US_PER_S
    return _next(turn, row) if turn.now_us >= until_us else _rest(turn, row, until_us)


def _rest(turn: Turn, row: Row[Any], until_us: int) -> Row[Any] | None:
    """Nothing is to be done until then."""
    change(turn, row, next_us=until_us)
    return None


def start(turn: Turn) -> None:
    """A worker begins: what the one before it had taken is free again."""
    turn.conn.execute(update(table).where(table.c.state == "running").values(taken_until_us=0))


def untold(turn: Turn) -> list[Row[Any]]:
    """Intents that wait for a person, each named once."""
    waiting = turn.conn.execute(select(table).where(table.c.state == "running", table.c.step == "ask")).all()
    found = [row for row in waiting if not row.fresh and not row.detail.get("told_person")]
    return [change(turn, row, detail={**row.detail, "told_person": True}) for row in found]


def record(turn: Turn, vault: Vault, rotation_id: int, step: str, number: int, outcome: Outcome) -> Row[Any] | None:
    """How a step ended that a worker had; of what was given to another since, nothing. The row where people should
    hear of it.
    """
    row = turn.conn.execute(select(table).where(table.c.id == rotation_id)).one_or_none()
    if row is None or row.state != "running" or (row.step, row.detail.get("number")) != (step, number):
        return None
    fresh = row.fresh
    if outcome.fresh:
        credential = _credential(turn.conn, row.credential)
        place = credential.name, credential.provider, credential.base_url
        fresh = seal_credential(vault, *place, Secret(outcome.fresh))
    row = change(turn, row, detail={**row.detail, **outcome.detail}, fresh=fresh, taken_until_us=0)
    match outcome.ending:
        case "done":
            _next(turn, row)
        case "later":
            wait_s = max(outcome.after_s, _patience_s(turn, row))
            row = change(turn, row, problem=outcome.problem, next_us=turn.now_us + wait_s * US_PER_S)
            return _stuck(turn, row)
        case "refused":
            return _bring_another(turn, row, outcome.problem)
        case "failed":
            return _fail(turn, row, outcome.problem, outcome.after_s)
    return None


def _fail(turn: Turn, row: Row[Any], problem: str, after_s: int = 0) -> Row[Any] | None:
    """The step is tried again later. The row once that has been so often enough that people should hear of it."""
    attempts = row.attempts + 1
    wait_s = max(after_s, min(2**attempts, _LONGEST_WAIT_S[row.act]))
    row = change(turn, row, attempts=attempts, problem=problem, next_us=turn.now_us + wait_s * US_PER_S)
    most = turn.settings.rotation.attempts
    return row if attempts == (min(most, _FAILS_BEFORE_CONTAINED) if row.act == "contain" else most) else None


def by_person(row: Row[Any]) -> bool:
    """Whether all that is left is that somebody ends the old key: no API does."""
    return row.step == "refused" and not {"disable", "delete"} & set(row.steps)


def _stuck(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    """The row, once for each step, where it has waited for too long or waits for a person."""
    waited_us = turn.now_us - int(row.detail["since_us"])
    if not row.problem or row.detail.get("told_stuck") == row.step:
        return None
    if waited_us < _STUCK_US[row.act] and not by_person(row):
        return None
    return change(turn, row, detail={**row.detail, "told_stuck": row.step})


def _patience_s(turn: Turn, row: Row[Any]) -> int:
    """While the provider takes a moment, look often; where a person has to act, seldom."""
    waited_us = turn.now_us - int(row.detail["since_us"])
    return min(waited_us // (8 * US_PER_S), _LONGEST_LATER_S[row.act])


def _bring_another(turn: Turn, row: Row[Any], problem: str) -> Row[Any] | None:
    """The new secret does not work. One that was made is made again, one that was brought has to be brought again.

    The row where it was made: people hear of that, else keys would be made again and again.
    """
    steps = list(row.steps)
    back = "create" if "create" in steps else "ask"
    if back == "ask" and "ask" not in steps:
        steps = ["ask" if step == "standby" else step for step in steps]
        if "ask" not in steps:
            steps.insert(steps.index("verify"), "ask")
    detail = {name: value for name, value in row.detail.items() if name not in _OF_THE_SECRET}
    detail["since_us"] = turn.now_us
    row = change(turn, row, steps=steps, step=back, fresh=None, detail=detail, problem=problem, next_us=turn.now_us)
    return row if back == "create" else None


def _next(turn: Turn, row: Row[Any]) -> Row[Any] | None:
    """Go on to the following step; None where that was the last."""
    following = list(row.steps)[list(row.steps).index(row.step) + 1 :]
    if not following:
        intents.end(turn, row)
        return None
    detail = {**row.detail, "since_us": turn.now_us}
    return change(turn, row, step=following[0], detail=detail, attempts=0, problem="", next_us=turn.now_us)
