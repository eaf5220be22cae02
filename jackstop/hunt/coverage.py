"""What a hunt could see: accounts, regions and times in the events, and from these the gaps in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from jackstop.events.analytics import DAY_US, HOUR_US

Rows = Callable[[str], list[tuple[Any, ...]]]
Level = Literal["blind", "note"]

HOLES_SHOWN = 8
_SEEN_OFTEN = 10
"""An hour of the day in which an account has this many events as a rule is not empty by chance."""
_USUAL_DAYS = 3


class Gap(msgspec.Struct, frozen=True):
    """One thing that could not be seen. `blind`: an attack of a kind that is named in `hides` would not be seen.

    `where` is what it is about, as entities are written: `account:ID`, `source:NAME`, or `hunt`.
    """

    name: str
    level: Level
    where: str
    missing: str
    hides: str
    close: str


class Hole(msgspec.Struct, frozen=True):
    """Hours without a record. `usual` are the events that there are in these hours on other days."""

    first: int
    hours: int
    usual: int


class Span(msgspec.Struct, frozen=True):
    """What there is of one source and account, in UTC microseconds."""

    source: str
    provider: str
    account: str
    events: int
    first_seen: int
    last_seen: int
    read_only: int
    data_events: int
    addressed: int
    located: int
    masked: int
    regions: tuple[str, ...] = ()
    holes: tuple[Hole, ...] = ()


class Act(msgspec.Struct, frozen=True):
    """That an account did something that says what its log holds."""

    source: str
    account: str
    service: str
    action: str
    action_class: str
    count: int
    data_events: int
    first_seen: int
    last_seen: int


class Buckets(msgspec.Struct, frozen=True):
    """What there is of a provider's usage report."""

    provider: str
    account: str
    rows: int
    first_seen: int
    last_seen: int


class Seen(msgspec.Struct, frozen=True):
    """All that was counted in the tables, for the gaps to be found in."""

    spans: tuple[Span, ...]
    acts: tuple[Act, ...]
    buckets: tuple[Buckets, ...]

    @property
    def sources(self) -> frozenset[str]:
        """The sources that there is anything of."""
        return frozenset({each.source for each in self.spans} | {f"{each.provider}_usage" for each in self.buckets})

    def of(self, source: str) -> list[Span]:
        """The accounts of one source."""
        return [each for each in self.spans if each.source == source]

    def did(self, source: str, account: str, wanted: Callable[[Act], bool]) -> list[Act]:
        """What an account did of a kind, oldest first."""
        found = [each for each in self.acts if (each.source, each.account) == (source, account) and wanted(each)]
        return sorted(found, key=lambda act: act.first_seen)


class Coverage(msgspec.Struct, frozen=True):
    """What a hunt could see, and what it could not. `unproven` are detections that had no history to compare with.

    `not_run` says of each source that there is nothing of how many detections are only for it or its like.
    """

    spans: tuple[Span, ...]
    buckets: tuple[Buckets, ...]
    gaps: tuple[Gap, ...]
    ran: int
    not_run: dict[str, int]
    unproven: tuple[str, ...]

    @property
    def blind(self) -> list[Gap]:
        """The gaps in which an attack would not be seen."""
        return [gap for gap in self.gaps if gap.level == "blind"]


_SPANS = """
SELECT source, MAX(provider), account, COUNT(*), MIN(ts), MAX(ts),
  SUM(CASE WHEN markers LIKE '%read_only%' THEN 1 ELSE 0 END),
  SUM(CASE WHEN markers LIKE '%data_event%' THEN 1 ELSE 0 END),
  SUM(CASE WHEN src_ip <> '' AND network_kind <> 'private' THEN 1 ELSE 0 END),
  SUM(CASE WHEN country <> '' OR asn IS NOT NULL THEN 1 ELSE 0 END),
  SUM(CASE WHEN src_ip = '' AND (src_net <> '' OR src_raw LIKE '%*%') THEN 1 ELSE 0 END)
FROM events GROUP BY source, account"""

_REGIONS = "SELECT source, account, region, COUNT(*) FROM events WHERE region <> '' GROUP BY source, account, region"

_HOURS = f"""
SELECT source, account, ts - mod(ts, {HOUR_US}), COUNT(*) FROM events
GROUP BY source, account, ts - mod(ts, {HOUR_US})"""  # noqa: S608 -- a number of our own

_ACTS = """
SELECT source, account, service, action, action_class, COUNT(*),
  SUM(CASE WHEN markers LIKE '%data_event%' THEN 1 ELSE 0 END), MIN(ts), MAX(ts)
FROM events
WHERE source IN ('cloudtrail', 'gcp_audit', 'azure_activity', 'azure_openai')
  AND (action_class <> '' OR service LIKE 'bedrock%')
GROUP BY source, account, service, action, action_class"""

_BUCKETS = "SELECT provider, MAX(account), COUNT(*), MIN(bucket), MAX(bucket + bucket_us) FROM usage GROUP BY provider"


def look(rows: Rows) -> Seen:
    """Count what there is in the tables of an engine."""
    regions: dict[tuple[str, str], list[str]] = defaultdict(list)
    for source, account, region, _ in sorted(rows(_REGIONS), key=lambda row: (-row[3], row[2])):
        regions[source, account].append(region)
    holes = _holes(rows(_HOURS))
    spans = []
    for row in rows(_SPANS):
        columns: list[Any] = [each if isinstance(each, str) else int(each) for each in row]
        span = Span(*columns)
        name = span.source, span.account
        spans.append(replace(span, regions=tuple(regions[name]), holes=tuple(holes.get(name, ()))))
    return Seen(
        tuple(sorted(spans, key=lambda span: (span.source, span.account))),
        tuple(Act(*row[:5], *map(int, row[5:])) for row in rows(_ACTS)),
        tuple(Buckets(*row[:2], *map(int, row[2:])) for row in sorted(rows(_BUCKETS))),
    )


# -- hours without a record ------------------------------------------------------------------------------------------


def _holes(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], list[Hole]]:
    """The hours in which an account has no record, though its own other days or the source's other accounts have."""
    hours: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for source, account, hour, count in rows:
        hours[source, account][int(hour)] = int(count)
    busy: dict[str, set[int]] = defaultdict(set)
    for (source, _), found in hours.items():
        busy[source].update(found)
    return {name: _runs(found, busy[name[0]]) for name, found in hours.items()}


def _runs(found: Mapping[int, int], busy: set[int]) -> list[Hole]:
    """Empty hours between an account's first and last, those in a row put together."""
    first, last = min(found), max(found)
    by_day: dict[int, list[int]] = defaultdict(list)
    for hour, count in found.items():
        by_day[hour % DAY_US].append(count)
    days = (last - first) // DAY_US + 1
    runs: list[Hole] = []
    for hour in range(first, last, HOUR_US):
        if hour in found:
            continue
        usual = _usual(by_day.get(hour % DAY_US, []), days)
        if not usual and hour not in busy:
            continue
        before = runs[-1] if runs else None
        if before is not None and before.first + before.hours * HOUR_US == hour and bool(before.usual) == bool(usual):
            runs[-1] = Hole(before.first, before.hours + 1, before.usual + usual)
        else:
            runs.append(Hole(hour, 1, usual))
    return runs


def _usual(counts: list[int], days: int) -> int:
    """How many events there are in an hour of the day as a rule; 0 where it is often empty, or the days are few."""
    if days < _USUAL_DAYS or len(counts) * 5 < days * 4 or len(counts) < _USUAL_DAYS - 1:
        return 0
    middle = sorted(counts)[len(counts) // 2]
    return middle if middle >= _SEEN_OFTEN else 0
