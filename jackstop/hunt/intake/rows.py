"""Rows of CSV with a header, each with its line and offset; a quote that is never closed spoils its own line only."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from jackstop.hunt.intake.records import BOM, MAX_RECORD, TOO_LONG, Broken, Found, Readable, Record, broken, in_lines

_ROW_LINES = 10_000
_OVERLONG = 8
"""How often a row that has become too long is begun again on its second line, before its lines are left together."""
_NONE = "it is no row of CSV"
_UNCLOSED = "a quote in it is not closed"

_Line = tuple[bytes, int, int]


class Rows:
    """The rows of a stream as records with `cells`, by the names in the header."""

    def __init__(self, stream: Readable, delimiter: str) -> None:
        self._source = _lines(stream)
        self._delimiter = delimiter
        self._again: deque[_Line | Broken] = deque()
        self._held: list[_Line] = []
        self._overlong = 0
        csv.field_size_limit(2 * MAX_RECORD)

    def __iter__(self) -> Found:
        names: list[str] | None = None
        quotes = size = 0
        while True:
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None or isinstance(line, Broken):
                if self._held:
                    self._again.appendleft(line) if line is not None else None
                    yield self._spoiled(_UNCLOSED)
                elif line is None:
                    return
                else:
                    yield line
                quotes = size = 0
                continue
            if not self._held and not line[0].strip():
                continue
            self._held.append(line)
            quotes, size = quotes + line[0].count(b'"'), size + len(line[0])
            if quotes % 2:
                if size > MAX_RECORD or len(self._held) > _ROW_LINES:
                    yield self._overgrown()
                    quotes = size = 0
                continue
            quotes = size = 0
            raw = b"".join(each[0] for each in self._held)
            try:
                cells = _cells_of(raw, self._delimiter)
            except csv.Error:
                yield self._spoiled(_NONE)
                continue
            if names is None:
                names = cells
                self._held = []
            elif len(cells) == len(names):
                _, number, offset = self._held[0]
                self._held = []
                yield Record(raw, number, offset, dict(zip(names, cells, strict=True)))
            else:
                yield self._spoiled(f"it has {len(cells)} cells, and the header {len(names)}")

    def _spoiled(self, why: str) -> Broken:
        """The first line held, set aside; the others are rows of their own."""
        (raw, number, offset), *others = self._held
        self._again.extendleft(reversed(others))
        self._held = []
        return broken(raw, number, offset, why)

    def _overgrown(self) -> Broken:
        self._overlong += 1
        if self._overlong <= _OVERLONG:
            return self._spoiled(_UNCLOSED)
        (_, number, offset), *_others = self._held
        raw = b"".join(each[0] for each in self._held)
        self._held = []
        return broken(raw, number, offset, TOO_LONG)


def _cells_of(raw: bytes, delimiter: str) -> list[str]:
    """The cells of one whole row. Raises csv.Error, of an end of line within a cell without quotes for one."""
    text = raw.decode(errors="replace").rstrip("\r\n")
    return next(csv.reader([text], delimiter=delimiter), [])


def _lines(stream: Readable) -> Iterator[_Line | Broken]:
    """Lines with their ends."""
    for lines in in_lines(stream):
        if lines.broken is not None:
            yield lines.broken
            continue
        number, offset = lines.line, lines.offset
        for raw in lines.raw.splitlines(keepends=True):
            yield (raw.removeprefix(BOM) if offset == 0 else raw), number, offset
            # A carriage return alone ends a row, and is no line to those who look the place up.
            number, offset = number + raw.endswith(b"\n"), offset + len(raw)
