"""UTC wall time in microseconds, a boot clock that no one can set, and both under a test's control."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

US_PER_S = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What every part of Jackstop asks for the time."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...

    def boot_us(self) -> int:
        """Microseconds since the machine started, suspended time included; never set by anyone."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def boot_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us
        self._boot_us = 1_000 * US_PER_S

    def now_us(self) -> int:
        return self._now_us

    def boot_us(self) -> int:
        return self._boot_us

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._now_us += int(seconds * US_PER_S)
        self._boot_us += int(seconds * US_PER_S)

    def jump(self, seconds: float) -> None:
        """Set the wall clock as an administrator would; the boot clock does not move."""
        self._now_us += int(seconds * US_PER_S)


def to_datetime(us: int) -> datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)


def from_datetime(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def iso(us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC: `2026-11-23T09:30:00.000000Z`."""
    return to_datetime(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def boot_id() -> str:
    """The kernel's name for this run of the machine (Linux `random(4)`, /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
