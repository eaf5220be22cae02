"""What was settled in one window at earlier times: as much as burn rates look back, and only where it changed."""

from __future__ import annotations

from array import array
from bisect import bisect_right


class History:
    """Times and what was settled by then. Before the first of them, what the first says is taken.

    So a history that begins late makes a burn rate too low, never too high.
    """

    __slots__ = ("_settled", "_times")

    def __init__(self, since_us: int, settled: int) -> None:
        self._times = array("q", [since_us])
        self._settled = array("q", [settled])

    def add(self, now_us: int, settled: int, keep_us: int) -> None:
        """What is settled now. What is older than `keep_us` is forgotten, but for the last of it."""
        if settled != self._settled[-1] and now_us > self._times[-1]:
            self._times.append(now_us)
            self._settled.append(settled)
        old = bisect_right(self._times, now_us - keep_us) - 1
        if old > 0:
            del self._times[:old]
            del self._settled[:old]

    def at(self, when_us: int) -> int:
        """What was settled at that time."""
        return self._settled[max(0, bisect_right(self._times, when_us) - 1)]
