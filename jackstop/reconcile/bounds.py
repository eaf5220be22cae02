"""Bounds on what the gate can have caused in a span of minutes, when nobody knows exactly when the provider counted it.

A charge falls into one moment of its span. What touches a window may be in it, what lies within it must be. Skewed
clocks, a request's duration and a bucket's edge are all in the span, so that one rule covers them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple


class Charge(NamedTuple):
    """Between `lower` and `upper` nano-dollars, counted in one of the minutes from `first` to `last`, both included."""

    first: int
    last: int
    lower: int
    upper: int


class Bounds:
    """Sums over charges, for windows within the minutes from `begin` to before `end`; a look-up takes no time."""

    def __init__(self, charges: Iterable[Charge], begin: int, end: int) -> None:
        size = max(0, end - begin)
        begun, ended, sure_begun, sure_ended = ([0] * (size + 1) for _ in range(4))
        self._begin, self._size = begin, size
        for charge in charges:
            first = min(max(charge.first - begin + 1, 0), size + 1)
            last = min(max(charge.last - begin + 1, 0), size + 1)
            if first <= size:
                begun[first] += charge.upper
                sure_begun[first] += charge.lower
            if last <= size:
                ended[last] += charge.upper
                sure_ended[last] += charge.lower
        # At place n: of the charges whose first (last) minute is before begin + n.
        self._begun, self._ended = list(accumulate(begun)), list(accumulate(ended))
        self._sure_begun, self._sure_ended = list(accumulate(sure_begun)), list(accumulate(sure_ended))

    def _place(self, minute: int) -> int:
        return min(max(minute - self._begin, 0), self._size)

    def upper(self, begin: int, end: int) -> int:
        """The most that can have been counted from minute `begin` to before `end`."""
        return self._begun[self._place(end)] - self._ended[self._place(begin)]

    def lower(self, begin: int, end: int) -> int:
        """The least; it leaves out what began before the window and ends behind it."""
        return max(0, self._sure_ended[self._place(end)] - self._sure_begun[self._place(begin)])
