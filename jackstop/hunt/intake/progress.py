"""How far a hunt has come with reading: records, bytes, rate and time left, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TextIO

_EVERY_S = 0.25
_EVERY_S_APART = 5.0
"""Between two words: on a terminal in place, elsewhere as lines."""


class Progress(NamedTuple):
    """So far: files and bytes (of files, packed as they are), records, seconds. `bytes_total` is 0 if not known."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    records: int
    seconds: float

    @property
    def rate(self) -> int:
        """Records per second."""
        return int(self.records / self.seconds) if self.seconds else 0

    @property
    def left_s(self) -> int | None:
        """Seconds until all is read, at the pace so far; None where that cannot be told."""
        if not self.bytes or self.bytes_total < self.bytes or not self.seconds:
            return None
        return round(self.seconds * (self.bytes_total - self.bytes) / self.bytes)

    def __str__(self) -> str:
        left = self.left_s
        ends = "" if left is None else f", {_span(left)} left"
        return (
            f"{self.files:,} of {self.files_total:,} files, {self.bytes / 1e6:,.0f} MB, "
            f"{self.records:,} records, {self.rate:,}/s{ends}"
        )


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def shown(out: TextIO) -> Iterator[Callable[[Progress], None]]:
    """What shows progress: on a terminal in one line, which is gone at the end; elsewhere as a line now and then."""
    line = _Line(out)
    try:
        yield line.tell
    finally:
        line.clear()


class _Line:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._here = out.isatty()
        self._last = time.monotonic()
        self._width = 0

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last < (_EVERY_S if self._here else _EVERY_S_APART):
            return
        self._last = now
        text = str(progress)
        if self._here:
            self._out.write(f"\r{text:<{self._width}}")
            self._width = max(self._width, len(text))
        else:
            self._out.write(f"{text}\n")
        self._out.flush()

    def clear(self) -> None:
        if self._width:
            self._out.write(f"\r{'':<{self._width}}\r")
            self._out.flush()
