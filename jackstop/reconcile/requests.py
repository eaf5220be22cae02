"""A log of single requests against the gate's: what nobody sent through the gate was sent by somebody else.

A request is the gate's if its id is. What has an id that the gate does not have may still be one of those whose id
nobody knows (it is under way, or its end was lost), of which each stands for one. While no id was ever found on both
sides, ids are taken for different ones, and each request of the gate stands for one as well. What is left over is
shadow usage, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

import msgspec
from msgspec.structs import replace

from jackstop.cases.finding import Finding, uid_of
from jackstop.clock import US_PER_S
from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.driver import LoggedRequest
from jackstop.reconcile.books import LONGEST_US, SKEW_US
from jackstop.reconcile.compare import Verdict
from jackstop.reconcile.judge import DETECTION
from jackstop.reconcile.material import DAY_US, Watched
from jackstop.reconcile.passed import Passed, Span
from jackstop.reconcile.rates import Tokens, at_least, rates_of

SETTLES_US = 3_600 * US_PER_S
"""How late a request may be logged before the log counts as incomplete."""
_HOUR_US = 3_600 * US_PER_S
_MOST_WAITING = 500
_MOST_SHADOW = 200
_MOST_CONSUMERS = 50
_MOST_ACCOUNTS = 10
_LAST_US = 2 * LONGEST_US
"""After this nothing is under way any more that could turn out to be another request."""
_ACT_REQUESTS = 2
_ACT_NUSD = NUSD_PER_USD


class Hour(msgspec.Struct, frozen=True):
    """What was logged in the hour that begins at `start_us`: `through` the gate, `outside` it. Of the gate's
    `requests` which began in it `unlogged` are not in the log.
    """

    start_us: int
    through: int = 0
    outside: int = 0
    requests: int = 0
    unlogged: int = 0


class Consumer(msgspec.Struct, frozen=True):
    """Who used the same account or key without the gate, in the last day."""

    principal: str
    network: str
    agent: str
    requests: int
    last_us: int
    own: bool = False


class Matched(msgspec.Struct, frozen=True):
    """How a credential stands against the log, of the last day. It is all that a worker has to know to go on.

    `through_us` is up to when the log was read. `common` is whether an id was ever found on both sides. `waiting` may
    be requests whose id nobody knows yet. `settled_us` is up to when the gate's requests were looked for in the log.
    `accounts` are those in which its user's name was found.
    """

    since_us: int
    through_us: int
    verdict: Verdict = "fine"
    common: bool = False
    hours: list[Hour] = []
    waiting: list[LoggedRequest] = []
    shadow: list[LoggedRequest] = []
    shadow_nusd: int = 0
    surplus_us: int | None = None
    consumers: list[Consumer] = []
    unreadable: int = 0
    settled_us: int = 0
    accounts: list[str] = []

    def sum(self, name: str) -> int:
        """Of the last day."""
        return sum(getattr(hour, name) for hour in self.hours)


def is_own(watched: Watched, each: LoggedRequest) -> bool:
    """Whether it was made with the credential's own key, or, where no key is named, by the user that has it alone."""
    if each.key:
        return each.key in watched.keys
    return bool(each.user) and each.user == watched.user


def is_held_against(watched: Watched, each: LoggedRequest) -> bool:
    """Whether it was made since Jackstop has the credential, and its present key."""
    key_since_us = watched.key_since_us if each.key == watched.key else None
    return each.ts_us >= max(watched.since_us, key_since_us or 0) + SKEW_US


def match(
    before: Matched,
    watched: Watched,
    own: Sequence[LoggedRequest],
    gate: Passed,
    spans: Sequence[Span],
    now_us: int,
    lost: Sequence[Span] = (),
) -> Matched:
    """What is known once `own` requests were logged. `gate` was asked for the ids of all that is `undecided`.

    `spans` are the gate's requests whose end nobody saw. What was logged within `lost` may be any of those that a lost
    journal told of, however many they are.
    """
    asked = [*before.waiting, *own]
    common = before.common or bool(gate.hits)
    left = sorted((each for each in asked if each.request_id not in gate.hits), key=lambda each: each.ts_us)
    apart = [each for each in left if _is_elsewhere(watched, each)]
    same = [each for each in left if not _is_elsewhere(watched, each)]
    unsure = [each for each in same if _is_within(each, lost)]
    sure = [each for each in same if not _is_within(each, lost)]
    covered, over = _covered(sure, [*gate.nameless, *spans, *([] if common else gate.others)])
    beyond = [*apart, *over]
    hours = {hour.start_us: hour for hour in before.hours if hour.start_us > now_us - DAY_US - _HOUR_US}
    _count(hours, (each for each in asked if each.request_id in gate.hits), "through")
    _count(hours, beyond, "outside")
    shadow = [*before.shadow, *(each for each in beyond if watched.exclusive)]
    recent = [each for each in shadow if each.ts_us > now_us - DAY_US]
    state = replace(
        before,
        through_us=now_us,
        common=common,
        hours=sorted(hours.values(), key=lambda hour: hour.start_us),
        waiting=[each for each in (*unsure, *covered) if each.ts_us > now_us - _LAST_US][-_MOST_WAITING:],
        shadow=recent[-_MOST_SHADOW:],
        shadow_nusd=sum(_worth(watched, each) for each in recent),
        consumers=consumed(before.consumers, beyond, now_us, own=True),
        accounts=sorted({*before.accounts, *(each.account for each in own if each.account)})[:_MOST_ACCOUNTS],
    )
    return _judged(state, watched, recent)


def _is_elsewhere(watched: Watched, each: LoggedRequest) -> bool:
    """Whether it went to a service that the credential's requests never go to."""
    return bool(watched.service and each.service) and each.service != watched.service


def _is_within(each: LoggedRequest, spans: Iterable[Span]) -> bool:
    return any(span.first_us <= each.ts_us <= span.last_us for span in spans)


def completed(state: Matched, again: LoggedRequest) -> Matched:
    """The same with what a second log, or a second record, has of a request that was logged before."""
    if all(each.request_id != again.request_id for each in (*state.shadow, *state.waiting)):
        return state
    rows = {name: [filled(each, again) for each in getattr(state, name)] for name in ("shadow", "waiting")}
    return replace(state, **rows)


def filled(one: LoggedRequest, other: LoggedRequest) -> LoggedRequest:
    """The first, with what only the other has of the same request."""
    if one.request_id != other.request_id:
        return one
    names = (name for name in LoggedRequest.__struct_fields__ if getattr(one, name) in (None, ""))
    return replace(one, **{name: getattr(other, name) for name in names})


def _covered(logged: Sequence[LoggedRequest], spans: Iterable[Span]) -> tuple[list[LoggedRequest], list[LoggedRequest]]:
    """Those that may be one of the spans, each of which stands for one; and those that cannot. As many as can be."""
    begun = sorted(spans, reverse=True)
    open_: list[tuple[int, int]] = []
    covered, over = [], []
    for each in logged:
        while begun and begun[-1].first_us <= each.ts_us:
            span = begun.pop()
            heappush(open_, (span.last_us, span.first_us))
        while open_ and open_[0][0] < each.ts_us:
            heappop(open_)
        if open_:
            heappop(open_)
            covered.append(each)
        else:
            over.append(each)
    return covered, over


def _count(hours: dict[int, Hour], logged: Iterable[LoggedRequest], name: str) -> None:
    for each in logged:
        start_us = each.ts_us - each.ts_us % _HOUR_US
        hour = hours.get(start_us, Hour(start_us))
        hours[start_us] = replace(hour, **{name: getattr(hour, name) + 1})


def consumed(
    before: Iterable[Consumer], logged: Iterable[LoggedRequest], now_us: int, *, own: bool = False
) -> list[Consumer]:
    """Who used it without the gate, the busiest first."""
    found = {
        (each.principal, each.network, each.agent, each.own): each for each in before if each.last_us > now_us - DAY_US
    }
    for each in logged:
        name = (each.principal, each.network, each.agent, own)
        known = found.get(name, Consumer(each.principal, each.network, each.agent, 0, 0, own))
        found[name] = replace(known, requests=known.requests + 1, last_us=max(known.last_us, each.ts_us))
    return sorted(found.values(), key=lambda each: -each.requests)[:_MOST_CONSUMERS]


def settle(state: Matched, gate: Passed, span: Span) -> Matched:
    """The gate's requests of a span, which have been looked for in a log that should have them by now."""
    if not gate.requests:
        return replace(state, settled_us=span.last_us)
    hours = {hour.start_us: hour for hour in state.hours}
    start_us = span.last_us - span.last_us % _HOUR_US
    hour = hours.get(start_us, Hour(start_us))
    hours[start_us] = replace(hour, requests=hour.requests + gate.requests, unlogged=hour.unlogged + gate.unlogged)
    return replace(state, hours=sorted(hours.values(), key=lambda each: each.start_us), settled_us=span.last_us)


# -- what is said -----------------------------------------------------------------------------------------------


def _worth(watched: Watched, each: LoggedRequest) -> int:
    """What it cost at least, as far as the log counts its tokens."""
    if each.input_tokens is None and each.output_tokens is None:
        return 0
    counts = (each.input_tokens, each.cache_read_tokens, each.cache_write_tokens, each.output_tokens)
    return at_least(Tokens(*(count or 0 for count in counts)), rates_of(watched.provider, [each.model], (), each.ts_us))


def _judged(state: Matched, watched: Watched, recent: Sequence[LoggedRequest]) -> Matched:
    if not recent:
        return replace(state, verdict="fine", surplus_us=None)
    acting = [each for each in recent if _ends(watched, state, each)]
    acts = len(acting) >= _ACT_REQUESTS or sum(_worth(watched, each) for each in acting) > _ACT_NUSD
    surplus_us = state.surplus_us or min(each.ts_us for each in recent)
    verdict: Verdict = "act" if acts or state.verdict == "act" else "over"
    return replace(state, verdict=verdict, surplus_us=surplus_us)


def _ends(watched: Watched, state: Matched, each: LoggedRequest) -> bool:
    """Whether containing the present key would end it."""
    if each.key:
        return each.key == watched.key
    # The user is named, and not the key: a former key of the user's may work as well.
    # Several accounts that log to one place may have a user of one name each.
    if len(state.accounts) > 1:
        return False
    alone_us = watched.alone_us
    return not watched.log_names_keys and alone_us is not None and each.ts_us >= alone_us


def finding_of(watched: Watched, state: Matched) -> Finding | None:
    """What people are told: with the last of the requests, who made it and from where."""
    if not watched.exclusive or state.surplus_us is None or not state.shadow:
        return None
    entity, acts, last = f"credential:{watched.name}", state.verdict == "act", state.shadow[-1]
    evidence: dict[str, str | int | None] = {
        "requests": state.sum("outside"),
        "request": last.request_id,
        "by": "key" if last.key else "user",
        "principal": last.principal,
        "account": last.account,
        "address": last.address,
        "network": last.network,
        "networks": len({each.network for each in state.shadow}),
        "agent": last.agent,
        "model": last.model,
        "service": last.service,
        "region": last.region,
    }
    if state.shadow_nusd:
        evidence["shadow_nusd"] = state.shadow_nusd
    return Finding(
        uid_of(DETECTION, f"{entity} log", state.surplus_us),
        DETECTION,
        "critical" if acts else "high",
        entity,
        state.surplus_us,
        max(each.ts_us for each in state.shadow),
        max(1, state.sum("outside")),
        evidence,
        sources=("reconcile",),
        response="contain" if acts else "alert",
    )
