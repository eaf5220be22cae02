"""Rotations: plan, cancel and list for people; start, take and record for the worker."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
from sqlalchemy import Row, select

from jackstop.cases import intake
from jackstop.cases.finding import Finding, uid_of
from jackstop.cases.turn import SYSTEM, Turn
from jackstop.cases.turn import begin as begin_turn
from jackstop.control.commands import Context
from jackstop.control.commands.credential import find_credential
from jackstop.errors import UserError
from jackstop.rotation import advance, intents, schedule
from jackstop.rotation.plan import Act, by_hand, words
from jackstop.rotation.task import Outcome
from jackstop.store.tables import rotations

_MOST_LISTED = 200


def _turn(ctx: Context, actor: str) -> Any:
    return begin_turn(ctx.store, ctx.settings, ctx.clock.now_us(), actor)


def _act(args: dict[str, Any]) -> Act:
    act = str(args.get("act") or "rotate")
    if act not in {"rotate", "contain"}:
        raise UserError(f"there is no act {act!r}", "use rotate or contain", 2)
    return act  # type: ignore[return-value]  # it is one of the two


def plan(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What `act` would do to `name`, step by step, and whether it is an outage."""
    with ctx.store.begin() as conn:
        credential = find_credential(conn, str(args["name"]))
        act = _act(args)
        made, driver = intents.plan_for(
            conn, credential, act, brought=bool(args.get("brought")), stop=bool(args.get("now"))
        )
        if not intents.has_help(conn, credential) or (driver is None and act == "rotate"):
            made = by_hand(act)
    return {
        "credential": credential.name,
        "act": made.act,
        "driver": "" if driver is None else driver.name,
        "steps": list(made.steps),
        "outage": made.outage,
        "by_person": made.by_person,
        "words": words(made, driver),
    }


def _shown(turn: Turn, name: str) -> dict[str, Any]:
    latest = select(rotations).where(rotations.c.credential == name).order_by(rotations.c.id.desc()).limit(1)
    return intents.shown(turn.conn.execute(latest).one())


def cancel(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Stop what is under way for `name`, as long as its new key is not in use."""
    with _turn(ctx, ctx.actor) as turn:
        credential = find_credential(turn.conn, str(args["name"]))
        intents.cancel(turn, _running(turn, credential.name), str(args.get("reason") or ""))
        return _shown(turn, credential.name)


def _running(turn: Turn, name: str) -> Row[Any]:
    row = intents.of_credential(turn.conn, name)
    if row is None:
        raise UserError(f"nothing is under way for {name}", f"see `jackstop credential rotations {name}`", 2)
    return row


def listing(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The latest rotations, or those of the credential `name`."""
    statement = select(rotations).order_by(rotations.c.id.desc()).limit(_MOST_LISTED)
    with ctx.store.begin() as conn:
        if args.get("name"):
            statement = statement.where(rotations.c.credential == find_credential(conn, str(args["name"])).name)
        return {"rows": [intents.shown(row) for row in conn.execute(statement)]}


# -- for the worker ---------------------------------------------------------------------------------------------


def start(ctx: Context, _args: dict[str, Any]) -> None:
    """A worker begins: what the one before it had under way is free again."""
    with _turn(ctx, SYSTEM) as turn:
        advance.start(turn)


def take(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What `worker` has to do now for credentials that are not in `busy`; control does its own steps on the way."""
    now_us, busy = ctx.clock.now_us(), [str(name) for name in args.get("busy") or ()]
    with ctx.store.begin() as conn:
        due = advance.due_steps(conn, now_us, busy)
        if not due and not schedule.due(conn, ctx.settings.rotation, now_us):
            return {"tasks": []}
    looks = "drain" in due
    under_way = _under_way(ctx) if looks else None
    seen_seq = _seen_seq(ctx) if looks else None
    with _turn(ctx, SYSTEM) as turn:
        schedule.begin_due(turn)
        tasks, troubled = advance.take(turn, ctx.vault, str(args["worker"]), busy, under_way, seen_seq)
        for row in troubled:
            intake.take(turn, [_trouble(turn, row)])
        for row in advance.untold(turn):
            intake.take(turn, [_key_needed(turn, row)])
    return {"tasks": msgspec.to_builtins(tasks)}


def _under_way(ctx: Context) -> dict[str, int]:
    """By credential, when the oldest of its running requests began."""
    found: dict[str, int] = defaultdict(ctx.clock.now_us)
    if ctx.live is not None:
        ctx.live.flush()
        for hold in ctx.live.holds():
            found[hold["credential"]] = min(found[hold["credential"]], int(hold["ts_us"]))
    return dict(found)


def _seen_seq(ctx: Context) -> int | None:
    """The change that every gate was told of, None where there is no gate."""
    gates = ctx.live.status()["gates"] if ctx.live is not None else []
    return min((int(gate["seq"]) for gate in gates), default=None)


def record(ctx: Context, args: dict[str, Any]) -> None:
    """How the step `step` of the rotation `id` ended that was given out with `number`: `outcome`."""
    try:
        outcome = msgspec.convert(args["outcome"], Outcome)
    except msgspec.ValidationError as error:
        raise UserError(f"this is no outcome of a step: {error}", "restart the worker: `jackstop reload`") from None
    with _turn(ctx, SYSTEM) as turn:
        step, number = str(args["step"]), int(args["number"])
        troubled = advance.record(turn, ctx.vault, int(args["id"]), step, number, outcome)
        if troubled is not None:
            intake.take(turn, [_trouble(turn, troubled)])


def _trouble(turn: Turn, row: Row[Any]) -> Finding:
    evidence = {"act": row.act, "step": row.step, "problem": row.problem, "attempts": row.attempts}
    detection = "old_key_works" if advance.by_person(row) else "rotation_failing"
    return _finding(turn, row, detection, evidence, row.step)


def _key_needed(turn: Turn, row: Row[Any]) -> Finding:
    evidence = {"act": row.act, "outage": int("stop" in row.steps)}
    return _finding(turn, row, "key_needed", evidence, str(row.detail.get("number")))


def _finding(turn: Turn, row: Row[Any], detection: str, evidence: dict[str, Any], which: str) -> Finding:
    """`which` tells it from the other times that the intent needs somebody."""
    entity = f"credential:{row.credential}"
    return Finding(
        uid_of(detection, f"{entity} {which}", row.started_us),
        detection,
        "high",
        entity,
        row.started_us,
        turn.now_us,
        1,
        evidence,
        sources=("rotation",),
        response="alert",
    )


COMMANDS = {
    "rotation plan": plan,
    "rotation cancel": cancel,
    "rotation list": listing,
    "rotation start": start,
    "rotation take": take,
    "rotation record": record,
}
