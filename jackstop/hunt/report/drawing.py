"""The pictures of a hunt's report as places and lengths for inline SVG: when what was seen, use beside the usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from jackstop.clock import iso
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.hunt.activity import Series
from jackstop.hunt.coverage import Span
from jackstop.hunt.report.result import Case
from jackstop.money import NUSD_PER_USD

WIDTH = 720
LABELS = 236
"""The part of a timeline's width that its labels take."""
LANE = 24
CHART_HEIGHT = 150
_LEFT = 64
_LEAST_MARK = 5.0
_LEAST_BARS = 24
_MOST_MARKS = 200
_LABEL_CHARS = 36
_SLIGHT = ("low", "info")
_TICKS = 5
_TICK_ROOM = 32
_TICKS_US = (
    *(MINUTE_US, 2 * MINUTE_US, 5 * MINUTE_US, 10 * MINUTE_US, 30 * MINUTE_US),
    *(HOUR_US, 2 * HOUR_US, 3 * HOUR_US, 6 * HOUR_US, 12 * HOUR_US),
    *(DAY_US, 2 * DAY_US, 7 * DAY_US, 14 * DAY_US, 30 * DAY_US, 90 * DAY_US, 180 * DAY_US, 365 * DAY_US),
)


class Mark(msgspec.Struct, frozen=True):
    """A rectangle on one line, with what it says to who points at it."""

    x: float
    width: float
    kind: str
    says: str


class Tick(msgspec.Struct, frozen=True):
    """A place on an axis with its label."""

    at: float
    label: str


class Lane(msgspec.Struct, frozen=True):
    """One line of a timeline."""

    y: int
    label: str
    marks: tuple[Mark, ...]


class Timeline(msgspec.Struct, frozen=True):
    """When each detection found something, or when there are records of an account."""

    height: int
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    says: str


class Bar(msgspec.Struct, frozen=True):
    """The use of one step."""

    x: float
    y: float
    width: float
    height: float
    hot: bool
    says: str


class Chart(msgspec.Struct, frozen=True):
    """Use per step. `usual_y` is where the line of the usual is, None where nobody knows it."""

    title: str
    bars: tuple[Bar, ...]
    levels: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    usual_y: float | None
    usual: str
    peak: str
    peak_at: str
    step: str


def timeline(case: Case) -> Timeline:
    """One case: a lane for each detection, a mark for each finding."""
    start, end = _padded(case.first_seen, case.last_seen)
    scale = (WIDTH - LABELS - 8) / (end - start)
    lanes = []
    for number, sign in enumerate(case.signs):
        found = [each for each in case.findings if each.detection == sign.detection][:_MOST_MARKS]
        marks = tuple(
            _mark(LABELS, start, scale, each.first_seen, each.last_seen, each.severity, f"{each.count:,} times")
            for each in found
        )
        lanes.append(Lane(number * LANE, _short(sign.about.title), marks))
    ticks = tuple(_ticks(start, end, LABELS, scale))
    return Timeline(len(lanes) * LANE, tuple(lanes), ticks, f"{len(case.findings)} findings over time")


def overview(cases: Sequence[Case]) -> Timeline:
    """Several cases: a lane for each, with the findings that matter where there are any."""
    found = {case.entity: [each for each in case.findings if each.severity not in _SLIGHT] for case in cases}
    if not any(found.values()):
        found = {case.entity: list(case.findings) for case in cases}
    cases = [case for case in cases if found[case.entity]]
    every = [each for shown in found.values() for each in shown]
    start, end = _padded(min(each.first_seen for each in every), max(each.last_seen for each in every))
    scale = (WIDTH - LABELS - 8) / (end - start)
    named = Counter(_brief_name(case) for case in cases)
    lanes = tuple(
        Lane(
            number * LANE,
            _short(_brief_name(case) if named[_brief_name(case)] == 1 else _full_name(case)),
            tuple(
                _mark(LABELS, start, scale, each.first_seen, each.last_seen, each.severity, each.detection)
                for each in found[case.entity][:_MOST_MARKS]
            ),
        )
        for number, case in enumerate(cases)
    )
    return Timeline(len(lanes) * LANE, lanes, tuple(_ticks(start, end, LABELS, scale)), f"{len(cases)} cases over time")


def _brief_name(case: Case) -> str:
    return case.entity.rpartition("/")[2]


def _full_name(case: Case) -> str:
    """With its accounts, where another case has the same name."""
    return " ".join((_brief_name(case), *case.accounts))


def reach(spans: Sequence[Span]) -> Timeline | None:
    """When there are records of each account, with the hours in which there are none although there should be."""
    if not spans:
        return None
    start, end = _padded(min(each.first_seen for each in spans), max(each.last_seen for each in spans))
    scale = (WIDTH - LABELS - 8) / (end - start)
    lanes = []
    for number, span in enumerate(spans):
        marks = [_mark(LABELS, start, scale, span.first_seen, span.last_seen, "records", f"{span.events:,} events")]
        for hole in span.holes:
            kind = "hole" if hole.usual else "quiet"
            end_us, says = hole.first + hole.hours * HOUR_US, f"{hole.hours} h without a record"
            marks.append(_mark(LABELS, start, scale, hole.first, end_us, kind, says))
        lanes.append(Lane(number * LANE, _short(f"{span.account} {span.source}".strip()), tuple(marks[:_MOST_MARKS])))
    ticks = tuple(_ticks(start, end, LABELS, scale))
    return Timeline(len(lanes) * LANE, tuple(lanes), ticks, "when there are records of each account")


def _mark(left: int, start: int, scale: float, first: int, last: int, kind: str, says: str) -> Mark:
    x = left + (first - start) * scale
    width = max(_LEAST_MARK, (last - first) * scale)
    return Mark(_tidy(min(x, WIDTH - width)), _tidy(width), kind, f"{_minute(first)} to {_minute(last)}: {says}")


def _padded(first: int, last: int) -> tuple[int, int]:
    room = max((last - first) // 25, MINUTE_US)
    return first - room, last + room


# -- use -------------------------------------------------------------------------------------------------------------


def chart(series: Series) -> Chart | None:
    """One account's use."""
    if not series.points:
        return None
    start, end = series.points[0][0], series.points[-1][0] + series.step_us
    room = max(0, _LEAST_BARS - (end - start) // series.step_us) // 2 * series.step_us
    start, end = start - room, end + room
    top = _nice(max([amount for _, amount in series.points] + [series.usual or 0]))
    scale, rise = (WIDTH - _LEFT - 8) / (end - start), CHART_HEIGHT / top
    bars = []
    for at, amount in series.points:
        height = max(1.0, amount * rise)
        is_hot = _is_found(series, at)
        width = max(1.0, series.step_us * scale - 1)
        bars.append(
            Bar(
                _tidy(_LEFT + (at - start) * scale),
                _tidy(CHART_HEIGHT - height),
                _tidy(width),
                _tidy(height),
                is_hot,
                f"{_minute(at)}: {amount_of(series, amount)}",
            )
        )
    steps = (0, top // 2, top) if top > 1 else (0, top)
    levels = tuple(Tick(_tidy(CHART_HEIGHT - level * rise), amount_of(series, level)) for level in steps)
    peak_at, peak = max(series.points, key=lambda point: point[1])
    return Chart(
        title=f"{series.provider} {series.account}".strip(),
        bars=tuple(bars),
        levels=levels,
        ticks=tuple(_ticks(start, end, _LEFT, scale)),
        usual_y=None if series.usual is None else _tidy(CHART_HEIGHT - series.usual * rise),
        usual="" if series.usual is None else amount_of(series, series.usual),
        peak=amount_of(series, peak),
        peak_at=_minute(peak_at),
        step=step_of(series),
    )


_STEPS = {HOUR_US: "hour", DAY_US: "day", 7 * DAY_US: "week"}


def step_of(series: Series) -> str:
    """The step of a series in words."""
    return _STEPS.get(series.step_us, f"{series.step_us // HOUR_US} hours")


def peak_in_findings(series: Series) -> int:
    """The most use of one step in which something was found, 0 where there is none."""
    return max((amount for at, amount in series.points if _is_found(series, at)), default=0)


def _is_found(series: Series, at: int) -> bool:
    return any(first < at + series.step_us and last >= at for first, last in series.found)


def amount_of(series: Series, amount: int) -> str:
    """An amount in the unit of its series."""
    if series.unit == "nusd":
        dollars = amount / NUSD_PER_USD
        return f"{dollars:,.0f} USD" if dollars >= 100 else f"{dollars:,.2f} USD"
    unit = "token" if series.unit == "tokens" else "call"
    return f"{_brief(amount)} {unit}" if amount == 1 else f"{_brief(amount)} {unit}s"


def _brief(amount: int) -> str:
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if amount >= size:
            unit = 1_000 if letter == "k" else size
            return f"{amount / unit:,.1f}".removesuffix(".0") + f" {letter}"
    return f"{amount:,}"


def _nice(most: int) -> int:
    """The least of 1, 2, 3, 4, 5, 6, 8 and 10 times a power of ten that is not below."""
    power = int(10 ** (len(str(max(1, most))) - 1))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= most)


# -- axes ------------------------------------------------------------------------------------------------------------


def _ticks(start: int, end: int, left: int, scale: float) -> Iterable[Tick]:
    step = next((each for each in _TICKS_US if (end - start) / each <= _TICKS), _TICKS_US[-1])
    at = start - start % step + step
    year = 5 if _minute(start)[:4] == _minute(end)[:4] else 0
    while at < end:
        day, clock = _minute(at).split(" ")
        label = day[year:] if step >= DAY_US else f"{day[5:]} {clock}" if end - start > DAY_US else clock
        place = _tidy(left + (at - start) * scale)
        if place < WIDTH - _TICK_ROOM:
            yield Tick(place, label)
        at += step


def _minute(us: int) -> str:
    return iso(us)[:16].replace("T", " ")


def _tidy(number: float) -> float:
    return round(number, 1)


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_CHARS else f"{label[: _LABEL_CHARS - 1].rstrip()}…"
