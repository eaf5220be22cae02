"""UTC calendar windows of budgets."""

from __future__ import annotations

from datetime import timedelta

from jackstop.clock import US_PER_S, from_datetime, to_datetime
from jackstop.keys.policy import Window

_HOUR_US = 3_600 * US_PER_S
_DAY_US = 24 * _HOUR_US
FOREVER_US = 1 << 62
LIFE_START_US = 1
"""The one window of a budget for life; 0 is kept for limits without windows."""


def bounds(window: Window, now_us: int) -> tuple[int, int]:
    """Start (inclusive) and end (exclusive) of the window that holds `now_us`."""
    if window == "hour":
        start = now_us - now_us % _HOUR_US
        return start, start + _HOUR_US
    if window == "day":
        start = now_us - now_us % _DAY_US
        return start, start + _DAY_US
    if window == "month":
        first = to_datetime(now_us).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = (first + timedelta(days=32)).replace(day=1)
        return from_datetime(first), from_datetime(following)
    return LIFE_START_US, FOREVER_US
