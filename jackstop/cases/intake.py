"""Takes findings in: each is written down once, gathered into a case, acted on and told, all in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Row, and_, insert, or_, select, update

from jackstop.cases import questions, responses, states
from jackstop.cases.announce import announce
from jackstop.cases.finding import Finding
from jackstop.cases.policy import Decision, decide
from jackstop.cases.steps import about
from jackstop.cases.turn import SYSTEM, Turn, entities, named, rank, read, write
from jackstop.clock import US_PER_S
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.keys.policy import Policy
from jackstop.notify.outbox import NewsKind
from jackstop.settings import Mode
from jackstop.store.feed import limit_mode
from jackstop.store.tables import cases, findings, keys, meta, teams

DAY_US = 86_400 * US_PER_S
SAME_CAUSE_US = DAY_US
REOPENS_US = 7 * DAY_US
"""For how long after its end a case takes in what is found of the same entity."""


class Taken(NamedTuple):
    """How many findings were looked at, how many of them were new or had grown, and the cases that these went into."""

    looked_at: int
    findings: int
    cases: tuple[int, ...]


class _Place(NamedTuple):
    """The case for a finding. In a `closed` one it is only written down."""

    case: Row[Any]
    how: Literal["opened", "reopened", "folded", "closed"]


def check_epoch(turn: Turn, epoch: int) -> None:
    """Raises UserError for a worker that another has followed."""
    known = turn.conn.execute(select(meta.c.value).where(meta.c.key == "worker_epoch")).scalar()
    if epoch < int(known or 0):
        raise UserError(f"a newer worker has begun: {known} comes after {epoch}", "end the old one")


def take(turn: Turn, found: Sequence[Finding], epoch: int = 0, *, for_s: float | None = None) -> Taken:
    """Take findings in, at least one; those that are known and have not grown change nothing.

    After `for_s` seconds it leaves the others to another turn, so that whoever waits for the store gets at it.
    """
    began = time.monotonic()
    turn = turn.by(SYSTEM)
    known = {
        row.uid: row
        for row in turn.conn.execute(select(findings).where(findings.c.uid.in_([each.uid for each in found])))
    }
    looked_at, count, touched = 0, 0, set()
    for finding in found:
        if looked_at and for_s is not None and time.monotonic() - began > for_s:
            break
        looked_at += 1
        row = known.get(finding.uid)
        if row is not None and not _has_grown(row, finding):
            continue
        count += 1
        case_id = _add(turn, finding, epoch) if row is None else _grow(turn, row, finding, epoch)
        known[finding.uid] = turn.conn.execute(select(findings).where(findings.c.uid == finding.uid)).one()
        if case_id is not None:
            touched.add(case_id)
    return Taken(looked_at, count, tuple(sorted(touched)))


def _has_grown(row: Row[Any], finding: Finding) -> bool:
    more = finding.count > _count(row) or finding.last_seen > row.last_seen_us
    return more or finding.first_seen < row.first_seen_us or rank(finding.severity) > rank(row.severity)


def _count(row: Row[Any]) -> int:
    return int(row._mapping["count"])  # noqa: SLF001 -- `row.count` is the method of a tuple


def _add(turn: Turn, finding: Finding, epoch: int) -> int | None:
    turn.conn.execute(
        insert(findings).values(
            uid=finding.uid,
            ts_us=turn.now_us,
            detection=finding.detection,
            severity=finding.severity,
            entity=finding.entity,
            cause=finding.cause,
            first_seen_us=finding.first_seen,
            last_seen_us=finding.last_seen,
            count=finding.count,
            evidence=finding.evidence,
            sources=list(finding.sources),
        )
    )
    return _fold(turn, finding, epoch)


def _grow(turn: Turn, row: Row[Any], finding: Finding, epoch: int) -> int | None:
    """A finding that is known has become more. Its case goes on, or opens again if that happened after its end."""
    severity = max(row.severity, finding.severity, key=rank)
    grown = msgspec.structs.replace(
        finding,
        severity=severity,
        first_seen=min(finding.first_seen, row.first_seen_us),
        last_seen=max(finding.last_seen, row.last_seen_us),
        count=max(finding.count, _count(row)),
    )
    turn.conn.execute(
        update(findings)
        .where(findings.c.id == row.id)
        .values(
            severity=severity,
            first_seen_us=grown.first_seen,
            last_seen_us=grown.last_seen,
            count=grown.count,
            evidence=grown.evidence,
        )
    )
    worse = rank(severity) > rank(row.severity)
    case = None if row.case_id is None else read(turn.conn, row.case_id)
    if case is None:
        return _fold(turn, grown, epoch) if worse else None
    if case.state == "closed":
        if worse or (case.verdict != "benign" and grown.last_seen > case.closed_us):
            return _fold(turn, grown, epoch)
        states.update_case(turn, case, **_span(case, grown))
    else:
        _go_on(turn, _Place(case, "folded"), grown, epoch, is_news=False)
    return int(case.id)


def _span(case: Row[Any], finding: Finding) -> dict[str, int]:
    return {
        "first_seen_us": min(case.first_seen_us, finding.first_seen),
        "last_seen_us": max(case.last_seen_us, finding.last_seen),
    }


# -- into which case --------------------------------------------------------------------------------------------


def _fold(turn: Turn, finding: Finding, epoch: int) -> int | None:
    """Put the finding into an open case, a closed one, which may open again, or a new one; info opens none."""
    place = _place(turn, finding)
    if place is None:
        return None
    case_id = int(place.case.id)
    # What a rotation says is said once for each thing that somebody has to do.
    is_news = "rotation" in finding.sources or not _has_seen(turn, case_id, finding.detection)
    _assign(turn, findings.c.uid == finding.uid, case_id)
    if place.how == "opened":
        before = and_(findings.c.entity == finding.entity, findings.c.case_id.is_(None))
        _assign(turn, and_(before, findings.c.ts_us >= turn.now_us - DAY_US), case_id)
    detail = {name: getattr(finding, name) for name in ("uid", "detection", "severity", "entity", "count")}
    write(turn, case_id, "finding", **detail)
    if place.how == "closed":
        states.update_case(turn, place.case, **_span(place.case, finding))
    else:
        _go_on(turn, place, finding, epoch, is_news=is_news)
    return case_id


def _assign(turn: Turn, which: Any, case_id: int) -> None:
    turn.conn.execute(update(findings).where(which).values(case_id=case_id))


def _has_seen(turn: Turn, case_id: int, detection: str) -> bool:
    same = select(findings.c.id).where(findings.c.case_id == case_id, findings.c.detection == detection)
    return turn.conn.execute(same.limit(1)).first() is not None


def _place(turn: Turn, finding: Finding) -> _Place | None:
    found = _find(turn, finding, cases.c.state == "open")
    if found is not None:
        return _Place(found, "folded")
    if finding.severity == "info":
        return None
    ended = _find(turn, finding, and_(cases.c.state == "closed", cases.c.updated_us >= turn.now_us - REOPENS_US))
    if ended is not None and ended.closed_us >= turn.now_us - REOPENS_US:
        if ended.verdict != "benign":
            return _Place(states.reopen(turn, ended, "it goes on"), "reopened")
        if rank(finding.severity) <= rank(ended.severity) and _has_seen(turn, ended.id, finding.detection):
            return _Place(ended, "closed")
    made = states.open_case(
        turn,
        title=f"{about(finding.detection).title}: {named(finding.entity)}",
        severity=finding.severity,
        entity=finding.entity,
        cause=finding.cause,
        first_us=finding.first_seen,
        last_us=finding.last_seen,
    )
    return _Place(made, "opened")


def _find(turn: Turn, finding: Finding, which: Any) -> Row[Any] | None:
    """The latest of these cases that has the finding's entity, or else its cause."""
    mine = select(findings.c.case_id).where(findings.c.entity == finding.entity, findings.c.case_id.is_not(None))
    latest = select(cases).where(which).order_by(cases.c.updated_us.desc(), cases.c.id.desc()).limit(1)
    of_entity = latest.where(or_(cases.c.entity == finding.entity, cases.c.id.in_(mine)))
    found = turn.conn.execute(of_entity).first()
    if found is None and finding.cause:
        of_cause = latest.where(
            cases.c.cause == finding.cause, cases.c.last_seen_us >= finding.first_seen - SAME_CAUSE_US
        )
        found = turn.conn.execute(of_cause).first()
    return found


# -- and what is done about it ----------------------------------------------------------------------------------


def _go_on(turn: Turn, place: _Place, finding: Finding, epoch: int, *, is_news: bool) -> None:
    """The open case takes the finding in: it may become more severe, something may be done, and people are told."""
    worse = rank(finding.severity) > rank(place.case.severity)
    values: dict[str, Any] = {"severity": finding.severity, **_span(place.case, finding)}
    if not place.case.cause:
        values["cause"] = finding.cause
    case = states.update_case(turn, place.case, **values)
    if place.how != "folded" or worse or is_news:
        states.flag(turn, entities(turn.conn, case))
    target = _target(turn, finding)
    decision = decide(
        finding,
        target.mode,
        turn.settings.responses,
        canary=target.canary,
        only_alert=target.only_alert,
        outage=finding.response == "contain" and responses.is_outage(turn.conn, "contain", finding.entity),
    )
    said = _respond(turn, case, finding, decision, target, epoch, worse=worse or place.how != "folded")
    if not decision.alert or not (place.how != "folded" or worse or is_news or said):
        return
    kind: NewsKind = "case.updated" if place.how == "folded" else "case.opened"
    if place.how == "reopened":
        said = ["it was closed, and goes on", *said]
    what = about(finding.detection)
    entry = write(turn, case.id, "news", about=kind)
    announce(turn, case, kind, entry, [what.meaning.rstrip(".") or what.title, *said])


class _Target(NamedTuple):
    """What the policy looks at beside the finding."""

    mode: Mode
    state: str = ""
    canary: bool = False
    only_alert: bool = False


def _target(turn: Turn, finding: Finding) -> _Target:
    kind, _, name = finding.entity.partition(":")
    if kind != "key":
        return _Target(turn.settings.mode)
    joined = keys.outerjoin(teams, teams.c.name == keys.c.team)
    row = turn.conn.execute(
        select(keys.c.state, keys.c.canary, keys.c.policy, teams.c.mode).select_from(joined).where(keys.c.id == name)
    ).first()
    if row is None:
        return _Target(turn.settings.mode)
    policy = msgspec.convert(row.policy, Policy)
    mode = limit_mode(policy.mode, True, row.mode, turn.settings.mode)
    return _Target(mode, row.state, row.canary, policy.respond == "alert")


def _respond(
    turn: Turn, case: Row[Any], finding: Finding, decision: Decision, target: _Target, epoch: int, *, worse: bool
) -> list[str]:
    """Do what was decided, unless it is done, or a person has taken it back; what was done, in words."""
    if not decision.state or (decision.action == "throttle" and target.state == "quarantined"):
        return []
    action: responses.Action = decision.action  # type: ignore[assignment]
    since_us = states.began_us(turn, case)
    earlier = responses.of_case(turn.conn, case.id)
    if not worse and responses.taken_back(earlier, action, finding.entity, since_us):
        return []
    mine = [
        row for row in earlier if row.action == action and row.target == finding.entity and row.intended_us >= since_us
    ]
    reason = f"{finding.detection}, {finding.severity}"
    if decision.state == "applied":
        # What happened while it lasted is no reason to begin again.
        if any(row.state == "expired" and row.ended_us >= finding.last_seen for row in mine):
            return []
        return _apply(turn, case, finding.entity, action, reason, epoch, ask=decision.ask, since_us=since_us)
    if any(row.state in {"observed", "awaiting", "applied"} for row in mine):
        return []
    if decision.state == "observed":
        responses.propose(turn, case.id, action, finding.entity, "observed", reason=reason, epoch=epoch)
        return [f"{named(finding.entity)} would have been {_DONE[action]}; its rules only observe"]
    deadline_us = turn.now_us + turn.settings.responses.approval_s * US_PER_S
    made = responses.propose(
        turn, case.id, action, finding.entity, "awaiting", reason=reason, epoch=epoch, deadline_us=deadline_us
    )
    text = f"{named(finding.entity)} is to be {_DONE[action]}"
    if responses.is_outage(turn.conn, action, finding.entity):
        text += ", which is an outage until somebody brings a new key"
    announce(turn, case, "approval", made, [text])
    return [f"{named(finding.entity)} waits for approval to be {_DONE[action]}"]


_DONE = {"throttle": "throttled", "quarantine": "quarantined", "contain": "contained"}


def _apply(
    turn: Turn,
    case: Row[Any],
    entity: str,
    action: responses.Action,
    reason: str,
    epoch: int,
    *,
    ask: bool,
    since_us: int,
) -> list[str]:
    rules = turn.settings.responses
    until_us = turn.now_us + parse_span_us(rules.throttle_for) if action == "throttle" else None
    per_min = responses.per_minute(rules)
    done = responses.apply(
        turn, case.id, action, entity, per_min=per_min, reason=reason, epoch=epoch, until_us=until_us
    )
    if not done:
        return []
    held = responses.latest(turn.conn, case.id, action, entity)
    said = [responses.said(held)] if held is not None else []
    if ask and questions.ask(turn, case, entity.removeprefix("key:"), since_us):
        said.append("its owner is asked")
    return said
