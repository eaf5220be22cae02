"""What a report of a hunt draws: use per hour beside what was usual, and the networks of those whom findings name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Literal

import msgspec

from jackstop.cases.finding import Finding
from jackstop.events.analytics import DAY_US, HOUR_US
from jackstop.hunt.coverage import Rows, Seen

Unit = Literal["nusd", "tokens", "calls"]

MOST_NETWORKS = 25
_MOST_SERIES = 4
_MOST_NAMES = 200
_MOST_BARS = 240
_BEFORE_US, _AFTER_US = 7 * DAY_US, DAY_US
_STEPS_US = (HOUR_US, 3 * HOUR_US, 6 * HOUR_US, DAY_US, 7 * DAY_US)
_USUAL_US = 7 * DAY_US
"""Records of so long before the first finding say what is usual."""
_GRAVE = ("high", "critical")
_COLUMN_OF = {"principal": "principal", "key": "key_id", "provider_key": "provider_key_id", "owner": "owner"}


class Series(msgspec.Struct, frozen=True):
    """The use of one account in steps of `step_us`: pairs of start and amount, steps without any left out.

    `usual` is the median of the steps with use before the first grave finding, 0 where there were none in a week of
    records and more, None where the records begin too late to say. `found` are from when to when something was found.
    """

    provider: str
    account: str
    unit: Unit
    step_us: int
    points: tuple[tuple[int, int], ...]
    usual: int | None
    found: tuple[tuple[int, int], ...]


class Network(msgspec.Struct, frozen=True):
    """Where one entity came from. `new`: before the first finding about it, it was seen, and not there."""

    entity: str
    network: str
    kind: str
    country: str
    operator: str
    events: int
    inferences: int
    first_seen: int
    last_seen: int
    new: bool


class Activity(msgspec.Struct, frozen=True):
    """All that is drawn. `more_networks` are those beyond the most used."""

    series: tuple[Series, ...] = ()
    networks: tuple[Network, ...] = ()
    more_networks: int = 0


_CALLS = f"""
SELECT provider, account, ts - mod(ts, {HOUR_US}), {HOUR_US}, SUM(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END),
  SUM(COALESCE(input_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_write_tokens, 0)
    + COALESCE(output_tokens, 0)),
  SUM(COALESCE(cost_nusd, 0))
FROM events WHERE action_class = 'inference' GROUP BY provider, account, ts - mod(ts, {HOUR_US})"""  # noqa: S608 -- numbers of our own

_BUCKETS = """
SELECT provider, account, bucket, MAX(bucket_us), SUM(requests), SUM(input_tokens + output_tokens), SUM(cost_nusd)
FROM usage GROUP BY provider, account, bucket"""


def look(rows: Rows, seen: Seen, findings: Sequence[Finding]) -> Activity:
    """Read what is drawn out of an engine's tables; where nothing was found, the use alone."""
    networks = _networks(rows, findings)
    return Activity(
        tuple(_series(rows, seen, findings)),
        tuple(networks[:MOST_NETWORKS]),
        max(0, len(networks) - MOST_NETWORKS),
    )


# -- use -------------------------------------------------------------------------------------------------------------


def _series(rows: Rows, seen: Seen, findings: Sequence[Finding]) -> Iterable[Series]:
    """The accounts with the most use among those that findings name; among all, where they name none that has any."""
    used: dict[tuple[str, str], list[tuple[int, ...]]] = defaultdict(list)
    for provider, account, *numbers in (*rows(_BUCKETS), *rows(_CALLS)):
        used[provider, account].append(tuple(map(int, numbers)))
    found: dict[str, list[Finding]] = defaultdict(list)
    for each in findings:
        found[str(each.evidence.get("account") or each.entity.partition(":")[2])].append(each)
    wanted = {name: steps for name, steps in used.items() if name[1] in found} or used
    most = sorted(wanted, key=lambda name: (-sum(row[2] for row in wanted[name]), name))[:_MOST_SERIES]
    begins = {each.account: each.first_seen for each in seen.spans}
    return [_one(name, wanted[name], begins.get(name[1], 0), _grave(found[name[1]])) for name in most]


def _grave(found: Sequence[Finding]) -> list[tuple[int, int]]:
    """When the grave ones were; all of them where none is grave."""
    grave = [each for each in found if each.severity in _GRAVE] or found
    return [(each.first_seen, each.last_seen) for each in grave]


def _one(name: tuple[str, str], used: list[tuple[int, ...]], begins: int, found: Sequence[tuple[int, int]]) -> Series:
    times = [row[0] for row in used]
    start, end = min(times), max(times)
    began = min((first for first, _ in found), default=None)
    if began is not None and start <= began <= end + _AFTER_US:
        start = max(start, began - began % DAY_US - _BEFORE_US)
        end = min(end, max(last for _, last in found) + _AFTER_US)
    step_us = _step(max(row[1] for row in used), end - start)
    unit, place = _unit(used)
    steps: dict[int, int] = defaultdict(int)
    for row in used:
        steps[row[0] - row[0] % step_us] += row[place]
    return Series(
        *name,
        unit=unit,
        step_us=step_us,
        points=tuple(sorted((at, amount) for at, amount in steps.items() if start - step_us < at <= end and amount)),
        usual=None if began is None else _usual(steps, step_us, min([begins or start, *times]), began),
        found=tuple(found),
    )


def _usual(steps: dict[int, int], step_us: int, begins: int, began: int) -> int | None:
    if began - begins < _USUAL_US:
        return None
    before = [amount for at, amount in steps.items() if amount and at + step_us <= began]
    return int(median(before)) if before else 0


def _unit(used: list[tuple[int, ...]]) -> tuple[Unit, int]:
    """Money where anything has a price, else tokens, else calls; and its place in a row."""
    if any(row[4] for row in used):
        return "nusd", 4
    return ("tokens", 3) if any(row[3] for row in used) else ("calls", 2)


def _step(least_us: int, span_us: int) -> int:
    for step_us in _STEPS_US:
        if step_us >= least_us and span_us <= step_us * _MOST_BARS:
            return step_us
    return _STEPS_US[-1]


# -- networks --------------------------------------------------------------------------------------------------------


def _networks(rows: Rows, findings: Sequence[Finding]) -> list[Network]:
    """Where the entities of findings came from, new places first, then the most used."""
    began: dict[str, dict[str, int]] = defaultdict(dict)
    for each in findings:
        kind, _, name = each.entity.partition(":")
        column = _COLUMN_OF.get(kind)
        # No engine agrees with another on what a backslash in a text is.
        if column and name and "\\" not in name and len(began[column]) < _MOST_NAMES:
            began[column][name] = min(each.first_seen, began[column].get(name, each.first_seen))
    found = [each for column, names in began.items() for each in _of(rows, column, names)]
    return sorted(found, key=lambda each: (not each.new, -each.events, each.network, each.entity))


def _of(rows: Rows, column: str, began: dict[str, int]) -> Iterable[Network]:
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(began))
    kind = next(kind for kind, each in _COLUMN_OF.items() if each == column)
    sql = f"""
SELECT {column}, CASE WHEN src_net <> '' THEN src_net ELSE src_raw END, network_kind, MAX(country), MAX(as_org),
  COUNT(*),
  SUM(CASE WHEN action_class = 'inference' AND outcome = 'ok' THEN 1 ELSE 0 END), MIN(ts), MAX(ts)
FROM events WHERE {column} IN ({names}) AND (src_net <> '' OR src_raw <> '')
GROUP BY {column}, CASE WHEN src_net <> '' THEN src_net ELSE src_raw END, network_kind"""  # noqa: S608 -- quotes are doubled
    found = rows(sql)
    known = {row[0] for row in found if int(row[7]) < began[row[0]]}
    for row in found:
        yield _network(kind, row, is_new=row[0] in known and int(row[7]) >= began[row[0]])


def _network(kind: str, row: tuple[Any, ...], *, is_new: bool) -> Network:
    name, network, network_kind, country, operator, events, inferences, first, last = row
    return Network(
        f"{kind}:{name}",
        network,
        network_kind or "",
        country or "",
        operator or "",
        int(events),
        int(inferences),
        int(first),
        int(last),
        new=is_new,
    )
