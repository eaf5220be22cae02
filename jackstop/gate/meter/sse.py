"""Reads server-sent event streams as they pass, in bounded memory and at any chunking: one loop for all dialects."""

from __future__ import annotations

import re
from collections.abc import Callable

from jackstop.gate.meter.base import Outcome

MAX_EVENT_BYTES = 4 * 1024 * 1024
# An event ends with an empty line. A carriage return alone, which the specification also allows, ends none here:
# no provider sends it, and at the end of a chunk it could not be told from the start of CR LF.
_END = re.compile(rb"\n\r?\n")
_LONGEST_END = 3
_CR, _LF = b"\r\n"


class Splitter:
    """Cuts bytes into events: `feed` returns whole ones, `rest` is what no empty line has ended yet.

    `is_between_events` says that the next byte begins an event.
    Source: WHATWG HTML, section 9.2.6 (event stream interpretation).
    """

    __slots__ = ("_buffer", "_overlong", "_searched", "is_between_events", "limit")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._overlong = False
        self.is_between_events = True

    def feed(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """Take a chunk; return pieces in order, each with True when it is one whole event.

        A piece with False belongs to an event longer than `limit`: it is handed on as it comes, unread.
        """
        buffer = self._buffer
        pieces: list[tuple[bytes, bool]] = []
        start = 0
        if buffer:
            buffer += chunk
            position = self._searched
            while (match := _END.search(buffer, position)) is not None:
                end = position = match.end()
                pieces.append((bytes(buffer[start:end]), not self._overlong))
                self._overlong = False
                start = end
            del buffer[:start]
        else:
            # The usual case: an event begins with the chunk, and nothing needs to be copied twice.
            for match in _END.finditer(chunk):
                end = match.end()
                pieces.append((chunk[start:end], not self._overlong))
                self._overlong = False
                start = end
            buffer += chunk[start:]
        if self._overlong or len(buffer) > self.limit:
            # Enough stays behind to recognise an end that is cut by the chunk.
            cut = max(0, len(buffer) - (_LONGEST_END - 1))
            if cut:
                pieces.append((bytes(buffer[:cut]), False))
                del buffer[:cut]
            self._overlong = True
        self._searched = max(0, len(buffer) - (_LONGEST_END - 1))
        self.is_between_events = not buffer and not self._overlong
        return pieces

    def rest(self) -> bytes:
        """Take out what is left of an unfinished event."""
        left = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return left


def data_of(event: bytes) -> bytes:
    """The data of one whole event: its `data` lines joined by line feeds, b"" without any."""
    lines: list[bytes] = []
    for raw in event.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)


def line_of(chunk: bytes) -> bytes:
    """The data of bytes that are one whole event as providers write it; b"" for any others.

    That is a line of data, after a line with the event's type or none, and the empty line. Nearly every event is
    written so, and nearly every one comes in a piece of its own: these need neither `Splitter` nor `data_of`.
    """
    start, end = 0, len(chunk) - 2
    line_end = chunk.find(b"\n")
    if line_end != end and chunk.startswith(b"event: "):
        start = line_end + 1
        line_end = chunk.find(b"\n", start)
    if line_end != end or chunk[-1] != _LF or chunk[end - 1] == _CR or not chunk.startswith(b"data: ", start):
        return b""
    return chunk[start + 6 : end]


class EventStream:
    """One answer's event stream: shows every whole event's data to `read`, which fills in `outcome`.

    All bytes pass at once. With `leaves_out`, what is held back is the event that is not yet whole, and the events
    for which `read` answers True are left out.
    """

    __slots__ = ("_leaves_out", "_read", "_splitter", "outcome")

    def __init__(
        self,
        outcome: Outcome,
        read: Callable[[bytes], object],
        *,
        leaves_out: bool = False,
        limit: int = MAX_EVENT_BYTES,
    ) -> None:
        self.outcome = outcome
        self._read = read
        self._leaves_out = leaves_out
        self._splitter = Splitter(limit)

    def feed(self, chunk: bytes) -> bytes:
        """See `StreamMeter.feed`."""
        if self._splitter.is_between_events and (data := line_of(chunk)):
            return b"" if self._read(data) and self._leaves_out else chunk
        kept: list[bytes] = []
        for piece, whole in self._splitter.feed(chunk):
            data = (line_of(piece) or data_of(piece)) if whole else b""
            if not (data and self._read(data) and self._leaves_out):
                kept.append(piece)
        return b"".join(kept) if self._leaves_out else chunk

    def end(self) -> bytes:
        """See `StreamMeter.end`."""
        left = self._splitter.rest()
        return left if self._leaves_out else b""


class Unread:
    """A stream whose dialect reports nothing in it."""

    def __init__(self) -> None:
        self.outcome = Outcome()

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""
