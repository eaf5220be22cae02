"""Splits a server-sent event stream into its events, in bounded memory and at any chunking."""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_EVENT_BYTES = 4 * 1024 * 1024
# An event ends with an empty line. A carriage return alone, which the specification also allows, ends none here:
# no provider sends it, and at the end of a chunk it could not be told from the start of CR LF.
_END = re.compile(rb"\n\r?\n")
_LONGEST_END = 3


class Splitter:
    """Cuts bytes into events: `feed` returns whole ones, `rest` is what no empty line has ended yet.

    Source: WHATWG HTML, section 9.2.6 (event stream interpretation).
    """

    __slots__ = ("_buffer", "_overlong", "_searched", "limit")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._overlong = False

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
        return pieces

    def rest(self) -> bytes:
        """Take out what is left of an unfinished event."""
        left = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return left


def data_of(event: bytes) -> bytes:
    """The data of one whole event: its `data` lines joined by line feeds, b"" without any."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2]
    lines: list[bytes] = []
    for raw in event.split(b"\n"):
        line = raw.removesuffix(b"\r")
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)


class PassingReader:
    """Shows every whole event's data to `read` while all bytes pass at once."""

    __slots__ = ("_read", "_splitter")

    def __init__(self, read: Callable[[bytes], object], limit: int = MAX_EVENT_BYTES) -> None:
        self._read = read
        self._splitter = Splitter(limit)

    def feed(self, chunk: bytes) -> bytes:
        for piece, whole in self._splitter.feed(chunk):
            if whole and (data := data_of(piece)):
                self._read(data)
        return chunk

    def end(self) -> bytes:
        self._splitter.rest()
        return b""


class FilteringReader:
    """Shows every whole event's data to `read` and leaves out the events for which it answers True.

    Holds back at most the event that is not yet whole.
    """

    __slots__ = ("_read", "_splitter")

    def __init__(self, read: Callable[[bytes], bool], limit: int = MAX_EVENT_BYTES) -> None:
        self._read = read
        self._splitter = Splitter(limit)

    def feed(self, chunk: bytes) -> bytes:
        kept: list[bytes] = []
        for piece, whole in self._splitter.feed(chunk):
            if whole and (data := data_of(piece)) and self._read(data):
                continue
            kept.append(piece)
        return b"".join(kept)

    def end(self) -> bytes:
        return self._splitter.rest()
