"""Accept: a chunked request body, strictly as RFC 9112 section 7.1 writes it, without trailers; no sockets here."""

from __future__ import annotations

import re

from jackstop.errors import Refused
from jackstop.gate.refusals import malformed

MAX_LINE_BYTES = 128
"""A chunk's size line with its extensions, without its line end."""
MAX_FRAMING_BYTES = 64 * 1024
"""Size lines of one whole body beyond one for every 16 bytes of data; a body in slivers is no honest client's."""
_LINE = re.compile(rb"(?P<size>[0-9a-fA-F]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?")


class ChunkedBody:
    """Takes bytes until the last chunk, and gives back what lies behind it. `count` is the bytes of data so far."""

    __slots__ = ("_after_data", "_framing", "_left", "_limit", "_parts", "_tail", "complete", "count")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._tail = b""
        self._left = 0
        self._after_data = False
        self._framing = 0
        self.count = 0
        self.complete = False

    def feed(self, data: bytes) -> bytes | Refused:
        """Take bytes; returns those behind the body's end, which are none of its own."""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        at = 0
        while at < len(data) and not self.complete:
            if self._left:
                part = data[at : at + self._left]
                self._parts.append(part)
                self.count += len(part)
                self._left -= len(part)
                at += len(part)
                self._after_data = not self._left
                continue
            taken = self._line(data, at)
            if isinstance(taken, Refused):
                return taken
            if not taken:
                self._tail = data[at:]
                return b""
            at += taken
        return data[at:]

    def _line(self, data: bytes, at: int) -> int | Refused:
        """Read a line end behind data or a size line at `at`. Returns its length, 0 while it is not complete."""
        if self._after_data:
            if data[at : at + 2] == b"\r\n":
                self._after_data = False
                return 2
            return 0 if data[at:] == b"\r" else malformed("a chunk is longer than its size says")
        end = data.find(b"\r\n", at, at + MAX_LINE_BYTES + 2)
        if end < 0:
            short = len(data) - at <= MAX_LINE_BYTES
            return 0 if short and b"\n" not in data[at:] else malformed("a chunk's size line is too long or malformed")
        match = _LINE.fullmatch(data, at, end)
        if match is None:
            return malformed("a chunk's size is not a hexadecimal number")
        size = int(match["size"], 16)
        if not size:
            return self._last(data, at, end)
        self._framing += end - at
        if self._framing > MAX_FRAMING_BYTES + self.count // 16:
            return malformed("the body's chunks are too small")
        if self.count + size > self._limit:
            return Refused("too_large", f"the request's body is beyond {self._limit} bytes", status=413)
        self._left = size
        return end + 2 - at

    def _last(self, data: bytes, at: int, end: int) -> int | Refused:
        closing = data[end + 2 : end + 4]
        if closing == b"\r\n":
            self.complete = True
            return end + 4 - at
        return 0 if closing in {b"", b"\r"} else malformed("trailers are not accepted here")

    def body(self) -> bytes:
        """The data of all chunks."""
        return b"".join(self._parts)
