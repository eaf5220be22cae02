"""Reported against caused, window by window: pure arithmetic over minutes, which knows no provider and no clock.

A window's shadow is what is reported above the most that the gate can have caused in it, so that every shadow is
somebody else's. Longer windows have the same edges as short ones, but more between them: what hides at the edges of a
minute does not at those of a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from jackstop.money import NUSD_PER_USD
from jackstop.reconcile.bounds import Bounds

Verdict = Literal["fine", "over", "act"]

WINDOWS = (5, 15, 60, 1_440)
"""Lengths in minutes of the windows that are looked at beside each bucket itself."""
DAY = 1_440
SOON = 15
"""Two windows in a row act, if they are no longer than this; longer ones overlap too much of what was before."""
_TOLERATED_NUSD = NUSD_PER_USD // 20
_TOLERATED_SHARE = 200
"""Half a per cent."""
_ACT_NUSD = NUSD_PER_USD
_ACT_SHARE = 100


class Reported(NamedTuple):
    """What a provider reports for the minutes from `begin` to before `end`, in nano-dollars."""

    begin: int
    end: int
    nusd: int


class Window(NamedTuple):
    """A span of minutes with both sides of it, in nano-dollars."""

    begin: int
    end: int
    reported: int
    lower: int
    upper: int

    @property
    def shadow(self) -> int:
        return self.reported - self.upper


class Surplus(NamedTuple):
    """What the comparison says. `row` is how many buckets in a row were beyond tolerance, `buckets` how many in all.

    `first` and `last` are the minutes between which that was seen. `shadow` is the least that the last day's surplus
    can be; `worst` is the window with the largest one.
    """

    verdict: Verdict
    shadow: int = 0
    row: int = 0
    buckets: int = 0
    first: int = 0
    last: int = 0
    worst: Window | None = None


def compare(reported: Iterable[Reported], bounds: Bounds, since: int) -> Surplus:
    """What the buckets show, which do not overlap; those that begin before minute `since` are not looked at."""
    buckets = sorted(bucket for bucket in reported if bucket.begin >= since)
    if not buckets:
        return Surplus("fine")
    exact = [window for bucket in buckets for window in _over(bucket.begin, bucket.end, bucket.nusd, bounds)]
    longer = {length: _windows(buckets, length, bounds, since) for length in WINDOWS}
    found = [*exact, *(window for windows in longer.values() for window in windows)]
    if not found:
        return Surplus("fine")
    end = buckets[-1].end
    worst = max(found, key=lambda window: (window.shadow, window.begin))
    bursts = [_bursts(buckets, length, bounds, max(since, end - DAY)) for length in (1, *WINDOWS)]
    shadow = max(worst.shadow, *bursts)
    short = [window for window in exact if window.end - window.begin <= SOON]
    row = max(_in_a_row(windows) for windows in (short, *(longer[length] for length in WINDOWS if length <= SOON)))
    day = max(bounds.upper(max(since, end - DAY), end), worst.upper)
    acts = row >= 2 or shadow > max(_ACT_NUSD, day // _ACT_SHARE)
    # A window stays over while what was found moves through it: it has gone on while the shadow grew.
    grown = min((window for window in found if window.shadow * 20 >= worst.shadow * 19), key=lambda window: window.end)
    earliest = min(found, key=lambda window: window.end)
    seen = next(bucket.begin for bucket in reversed(buckets) if bucket.end == earliest.end)
    return Surplus(
        "act" if acts else "over",
        shadow,
        row,
        max(1, len(exact)),
        min([seen, *(window.begin for window in exact)]),
        max([grown.end, *(window.end for window in exact)]),
        worst,
    )


def _over(begin: int, end: int, nusd: int, bounds: Bounds) -> list[Window]:
    """The window, if it is beyond tolerance."""
    upper = bounds.upper(begin, end)
    shadow = nusd - upper
    if shadow <= _TOLERATED_NUSD or shadow <= upper // _TOLERATED_SHARE:
        return []
    return [Window(begin, end, nusd, bounds.lower(begin, end), upper)]


def _windows(buckets: Sequence[Reported], length: int, bounds: Bounds, since: int) -> list[Window]:
    """The windows beyond tolerance that end with a bucket and hold more than this one."""
    sums = [0, *accumulate(bucket.nusd for bucket in buckets)]
    found: list[Window] = []
    low = 0
    for high, bucket in enumerate(buckets):
        begin = max(since, bucket.end - length)
        while low < high and buckets[low].begin < begin:
            low += 1
        if begin < bucket.begin:
            found += _over(begin, bucket.end, sums[high + 1] - sums[low], bounds)
    return found


def _in_a_row(over: Sequence[Window]) -> int:
    """The most windows that follow each other without a gap."""
    rows: dict[int, int] = {}
    for window in over:
        rows[window.end] = rows.get(window.begin, 0) + 1
    return max(rows.values(), default=0)


def _bursts(buckets: Sequence[Reported], length: int, bounds: Bounds, since: int) -> int:
    """The sum of the shadows of windows beside each other: each of them is somebody else's."""
    windows: dict[int, tuple[int, int, int]] = {}
    for begin, end, nusd in buckets:
        if begin >= since:
            first, _, sum_ = windows.get(begin // length, (begin, end, 0))
            windows[begin // length] = first, end, sum_ + nusd
    return sum(max(0, nusd - bounds.upper(begin, end)) for begin, end, nusd in windows.values())
