"""From bytes to raw records, each with its line and offset; what is broken is told apart, and the rest goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

MAX_RECORD = 16 << 20
"""A record beyond this many bytes is set aside, without being held in memory."""
_CHUNK = 4 << 20
_BLANK = b" \t\r\n"
BOM = b"\xef\xbb\xbf"


class Readable(Protocol):
    """Bytes read forwards, none at the end."""

    def read(self, size: int, /) -> bytes: ...


class Record(NamedTuple):
    """One record as it stands: JSON, the cells of a CSV row, or a line of text."""

    raw: bytes
    line: int
    offset: int
    cells: dict[str, str] | None = None


class Broken(NamedTuple):
    """What is no whole record: where it begins, its hash and why."""

    line: int
    offset: int
    sha256: str
    why: str


Found = Iterator["Record | Broken"]
Known = Callable[[Any], bool]
"""Whether some source claims a decoded record."""


# -- lines ------------------------------------------------------------------------------------------------------


class Lines(NamedTuple):
    """Whole lines that follow one another, and the place of the first. A line that is too long stands alone."""

    raw: bytes
    line: int
    offset: int
    broken: Broken | None = None


def in_lines(stream: Readable) -> Iterator[Lines]:
    """The lines of a stream, many at a time."""
    rest, line, offset = stream.read(_CHUNK).removeprefix(BOM), 1, 0
    while True:
        more = stream.read(_CHUNK)
        held = rest + more
        if not more:
            if held:
                yield Lines(held, line, offset)
            return
        cut = held.rfind(b"\n") + 1
        if cut:
            yield Lines(held[:cut], line, offset)
            line += held.count(b"\n", 0, cut)
            offset += cut
        elif len(held) > MAX_RECORD:
            broken, size, rest = _too_long(held, stream, line, offset)
            yield Lines(b"", line, offset, broken)
            line, offset = line + 1, offset + size
            continue
        rest = held[cut:]


def _too_long(held: bytes, stream: Readable, line: int, offset: int) -> tuple[Broken, int, bytes]:
    """What stands for a line too long to hold, its size with its end, and what was read behind it."""
    digest, size = hashlib.sha256(), 0
    while held:
        end = held.find(b"\n") + 1
        digest.update(held[: end - 1] if end else held)
        size += end or len(held)
        if end:
            break
        held = stream.read(_CHUNK)
    return Broken(line, offset, digest.hexdigest(), TOO_LONG), size, held[held.find(b"\n") + 1 :] if held else b""


TOO_LONG = f"it is longer than {MAX_RECORD >> 20} MB"


def each_line(lines: Lines) -> Found:
    """The lines one by one without their ends, blank ones left out."""
    if lines.broken is not None:
        yield lines.broken
        return
    offset = lines.offset
    for number, raw in enumerate(lines.raw.split(b"\n"), lines.line):
        text = raw.strip(_BLANK)
        if text:
            if len(text) > MAX_RECORD:
                yield broken(text, number, offset, TOO_LONG)
            else:
                yield Record(text, number, offset + raw.index(text[:1]))
        offset += len(raw) + 1


def broken(raw: bytes | memoryview, line: int, offset: int, why: str) -> Broken:
    """What stands for bytes that are no record."""
    return Broken(line, offset, hashlib.sha256(raw).hexdigest(), why)
