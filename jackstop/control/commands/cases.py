"""Cases: list, show, respond, close, note, reopen, export, and the question to a key's owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

from sqlalchemy import Row, and_, func, select

from jackstop.cases import acts, questions, responses, states
from jackstop.cases.announce import announce
from jackstop.cases.record import full, leaving
from jackstop.cases.turn import Turn, begin, write
from jackstop.control.commands import Context
from jackstop.control.commands.key import rotate_within
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.secret import Secret
from jackstop.store import audit, tables
from jackstop.store.audit import Tag
from jackstop.vault.credentials import load_pepper, question_key

PAGE_ROWS = 500
VERDICTS = get_args(states.Verdict)


@contextmanager
def _turn(ctx: Context) -> Iterator[Turn]:
    with begin(ctx.store, ctx.settings, ctx.clock.now_us(), ctx.actor) as turn:
        yield turn


def listing(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """One page of cases, the latest first: optional `state` (open by default; closed; all), `after` (a case's id)."""
    cases, findings = tables.cases, tables.findings
    state = str(args.get("state") or "open")
    if state not in {"open", "closed", "all"}:
        raise UserError(f"{state!r} is no state of a case", "use open, closed or all", 2)
    count = select(func.count()).where(findings.c.case_id == cases.c.id).scalar_subquery().label("findings")
    statement = select(cases, count).order_by(cases.c.id.desc()).limit(PAGE_ROWS)
    if state != "all":
        statement = statement.where(cases.c.state == state)
    if args.get("after"):
        statement = statement.where(cases.c.id < int(args["after"]))
    with ctx.store.begin() as conn:
        found = [dict(row) for row in conn.execute(statement).mappings()]
    return {"rows": found, "after": found[-1]["id"] if len(found) == PAGE_ROWS else None}


def show(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Everything that control knows of the case `id`."""
    with _turn(ctx) as turn:
        return full(turn, _find(turn, args))


def respond(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Take an `action` in the case `id`: optional `reason`, `for` (a span), `on` (key:ID or credential:NAME)."""
    action, reason, on = str(args["action"]), str(args.get("reason") or ""), str(args.get("on") or "")
    for_us = parse_span_us(str(args["for"])) if args.get("for") else None
    acts.check(action, on=on, for_us=for_us)
    with _turn(ctx) as turn:
        case = _find(turn, args)
        if action == "rotate":
            return _rotate(turn, ctx, case, on, reason)
        if action == "note":
            return _note(turn, case, reason)
        return acts.respond(turn, case, action, on=on, reason=reason, for_us=for_us)


def _rotate(turn: Turn, ctx: Context, case: Row[Any], on: str, reason: str) -> dict[str, Any]:
    """A new secret for the case's key, returned this once; a quarantined key stays so until it is released."""
    targets = acts.targets(turn, case, "rotate", on)
    if len(targets) > 1:
        raise UserError(f"case {case.id} has several keys", f"name one: --on {targets[0]}", 2)
    made = rotate_within(turn.conn, ctx, targets[0].removeprefix("key:"), 0, case=case.id, reason=reason)
    responses.record_rotation(turn, case.id, targets[0], reason)
    state = questions.key_state(turn, made["id"])
    done = [{"target": targets[0], "text": f"it has a new secret; the key is {state}"}]
    return {"id": case.id, "action": "rotate", "done": done, "key": made["key"]}


def note(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """Write `text` into the timeline of the case `id`."""
    with _turn(ctx) as turn:
        return _note(turn, _find(turn, args), str(args.get("text") or ""))


def _note(turn: Turn, case: Row[Any], text: str) -> dict[str, Any]:
    if not text.strip():
        raise UserError("the note is empty", "give its text", 2)
    write(turn, case.id, "note", text=text)
    audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_NOTE, f"case:{case.id}")
    return {"id": case.id, "action": "note", "done": [{"target": f"case:{case.id}", "text": "the note is written"}]}


def close(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """End the case `id` with a `verdict`; a benign one takes back what was done, the others leave it in force."""
    verdict = str(args.get("verdict") or "")
    if verdict not in VERDICTS:
        raise UserError("a case is closed with a verdict", "add --verdict hijack, misuse or benign", 2)
    with _turn(ctx) as turn:
        case = _find(turn, args)
        if case.state == "closed":
            raise UserError(f"case {case.id} is closed already, as {case.verdict}", "see `jackstop cases show`", 2)
        done = acts.wind_up(turn, case, benign=verdict == "benign")
        reason = str(args.get("reason") or "")
        closed = states.close(turn, case, verdict, reason)  # type: ignore[arg-type]
        entry = write(turn, case.id, "news", about="case.closed")
        announce(turn, closed, "case.closed", entry, [f"it was closed as {verdict}", *(each["text"] for each in done)])
        working = [] if verdict == "benign" else acts.working_keys(turn, case)
    return {"id": case.id, "state": "closed", "verdict": verdict, "done": done, "still_working": working}


def reopen(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The closed case `id` goes on: optional `reason`."""
    with _turn(ctx) as turn:
        case = _find(turn, args)
        if case.state == "open":
            raise UserError(f"case {case.id} is open", "see `jackstop cases show`", 2)
        fresh = states.reopen(turn, case, str(args.get("reason") or ""))
        entry = write(turn, case.id, "news", about="case.opened")
        announce(turn, fresh, "case.opened", entry, ["it was opened again by hand"])
    return {"id": case.id, "state": "open"}


def export(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What of the case `id` may leave, put on record as leaving: optional `format`."""
    with _turn(ctx) as turn:
        case = _find(turn, args)
        detail = {"format": str(args.get("format") or "json")}
        seq = audit.record(turn.conn, turn.now_us, turn.actor, Tag.CASE_EXPORT, f"case:{case.id}", detail)
        write(turn, case.id, "exported", **detail)
        return {**leaving(turn, case), "audit_seq": seq, "exported_us": turn.now_us}


def spans(ctx: Context, args: dict[str, Any]) -> list[list[Any]]:
    """What baselines leave out since `since_us`: `[key, from, to]` of every key's cases that nobody called benign.

    It ends with the last that was found; in an open case of high severity or more it goes on until now.
    """
    cases, findings, since_us = tables.cases, tables.findings, int(args["since_us"])
    graver = and_(cases.c.state == "open", cases.c.severity.in_(("high", "critical")))
    statement = (
        select(findings.c.entity, cases.c.first_seen_us, cases.c.last_seen_us, graver.label("goes_on"))
        .join(cases, cases.c.id == findings.c.case_id)
        .where(
            findings.c.entity.startswith("key:"),
            cases.c.verdict != "benign",
            cases.c.severity.in_(states.IN_CASE),
            (cases.c.last_seen_us >= since_us) | graver,
        )
        .distinct()
    )
    now_us = ctx.clock.now_us()
    with ctx.store.begin() as conn:
        found = conn.execute(statement).all()
    return [
        [row.entity.removeprefix("key:"), row.first_seen_us, max(row.last_seen_us, now_us if row.goes_on else 0)]
        for row in sorted(found)
    ]


def question(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """What the owner's page asks about, by the link's `token`."""
    with _turn(ctx) as turn:
        return questions.shown(turn, str(args["token"]), _question_key(ctx, turn))


def answer(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """The owner's `answer`, yes or no, by the link's `token`."""
    with _turn(ctx) as turn:
        return questions.answer(turn, str(args["token"]), str(args["answer"]), _question_key(ctx, turn))


def _question_key(ctx: Context, turn: Turn) -> Secret:
    return question_key(load_pepper(turn.conn, ctx.vault))


def _find(turn: Turn, args: dict[str, Any]) -> Row[Any]:
    cases = tables.cases
    row = turn.conn.execute(select(cases).where(cases.c.id == int(args["id"]))).first()
    if row is None:
        raise UserError(f"there is no case {args['id']}", "see `jackstop cases list --state all`", 2)
    return row


COMMANDS = {
    "cases list": listing,
    "cases show": show,
    "cases respond": respond,
    "cases note": note,
    "cases close": close,
    "cases reopen": reopen,
    "cases export": export,
    "cases spans": spans,
    "cases question": question,
    "cases answer": answer,
}
