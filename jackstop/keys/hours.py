"""The hours of a week in which a key may be used, as people write them and as minutes."""

from __future__ import annotations

import re

from jackstop.clock import US_PER_S
from jackstop.errors import UserError

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 1_440
_WEEK_MINUTES = 7 * _DAY_MINUTES
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; weeks here start on Monday."""
_SPAN = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*)\s+)?(?P<h1>\d{1,2}):(?P<m1>\d{2})\s*-\s*(?P<h2>\d{1,2}):(?P<m2>\d{2})"
)


def parse_hours(text: str) -> list[tuple[int, int]]:
    """UTC spans such as `mon-fri 08:00-18:00` or `22:00-06:00`, as [start, end) minutes of a week, or beyond its end.

    Raises UserError for anything else. A span that ends at or before its start ends on the next day.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    days = None if match is None else _days(match["days"])
    if match is None or days is None:
        raise UserError(f"{text!r} is not a span of hours", "write it as mon-fri 08:00-18:00, in UTC", 2)
    start = int(match["h1"]) * 60 + int(match["m1"])
    end = int(match["h2"]) * 60 + int(match["m2"])
    if start >= _DAY_MINUTES or end > _DAY_MINUTES or int(match["m1"]) > 59 or int(match["m2"]) > 59:
        raise UserError(f"{text!r} has no such hour", "hours go from 00:00 to 24:00", 2)
    if end <= start:
        end += _DAY_MINUTES
    return [(day * _DAY_MINUTES + start, day * _DAY_MINUTES + end) for day in days]


def _days(text: str | None) -> list[int] | None:
    if text is None:
        return list(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            return None
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        found.update(day % 7 for day in range(start, end + 1 if end >= start else end + 8))
    return sorted(found)


def in_hours(hours: tuple[tuple[int, int], ...], now_us: int) -> bool:
    """Whether the moment is in one of the spans."""
    minute = (now_us // (60 * US_PER_S) + _EPOCH_WEEKDAY * _DAY_MINUTES) % _WEEK_MINUTES
    return any(start <= minute < end or start <= minute + _WEEK_MINUTES < end for start, end in hours)
