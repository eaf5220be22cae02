"""One batch of inputs made into one part: every record becomes an event, rows of usage, or one of the set aside.

The fast way decodes many records at once into the source's type. Records that it does not read, and whole pieces where
it fails, go one by one.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.errors import UserError
from jackstop.events import sources
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import Event
from jackstop.events.sources import Source
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.hunt.intake.decode import all_at_once, decoder, read
from jackstop.hunt.intake.documents import Document, of_line
from jackstop.hunt.intake.inputs import Input, Member, Stream, Unreadable, members
from jackstop.hunt.intake.parts import ROWS, Reading, SetAside, Unheld, Writer, is_held
from jackstop.hunt.intake.recognise import HEAD, Kind, all_lists, is_claimed, recognise
from jackstop.hunt.intake.records import BOM, Broken, Lines, Record, broken, each_line, in_lines
from jackstop.hunt.intake.rows import Rows

MAX_LISTED = 1_000
"""Set-aside records that are listed with their places; the others are counted."""
AUTO = "auto"
_WHOLE_BYTES = 64 << 20
"""A document up to this size is decoded at once."""
_READ_BYTES = 1 << 20
_DROPPED = re.compile(r'"content_dropped": ?(\d+)')
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Told = Callable[[int, int], None]
"""Hears of bytes (of inputs, packed as they are) and records since it was told last."""


class Task(NamedTuple):
    """A batch: what to read, as which source (`auto`: as whichever claims it), and the part to make of it.

    A `careful` reader looks at every row before it is written, and sets aside what no column holds.
    """

    inputs: tuple[Input, ...]
    forced: str
    part: Path
    now_us: int
    careful: bool = False


def normalise(task: Task, told: Told) -> list[Reading]:
    """Make the part of a batch; what was read of each of its inputs. Raises UserError."""
    # What passes cannot be read again.
    task = task._replace(careful=any(each.passes for each in task.inputs))
    try:
        try:
            return _written(task, told)
        except Unheld:
            return _written(task._replace(careful=True), told)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UserError(f"{task.part.parent} cannot be written: {why}", "make room there, and begin again") from None


def _written(task: Task, told: Told) -> list[Reading]:
    writer = Writer(task.part)
    try:
        readings = [_Reader(each, task, writer, told).read() for each in task.inputs]
        writer.publish(readings)
    except BaseException:
        writer.give_up()
        raise
    return readings


class _Counted:
    """A stream that knows how far it was read."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.bytes = 0
        self.line = 1

    def read(self, size: int) -> bytes:
        found = self._stream.read(size)
        self.bytes += len(found)
        self.line += found.count(b"\n")
        return found


class _Behind:
    """What was read already, and then the rest."""

    def __init__(self, first: bytes, rest: _Counted) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int) -> bytes:
        first, self._first = self._first, b""
        return first or self._rest.read(size)


class _Reader:
    """One input on its way into a part."""

    def __init__(self, given: Input, task: Task, writer: Writer, told: Told) -> None:
        self._given = given
        self._forced = None if task.forced == AUTO else sources.source(task.forced)
        self._writer = writer
        self._told = told
        self._careful = task.careful
        self._reading = Reading(given.name, given.held_as, given.version, task.forced)
        self._origin = Origin("", given.name, 0, task.now_us)
        self._events: dict[Source, list[Event]] = {}
        self._by_source: Counter[str] = Counter()
        self._lists = all_lists()

    def read(self) -> Reading:
        reading = self._reading
        rows, usage_rows = self._writer.rows, self._writer.usage_rows
        try:
            for member in members(self._given, lambda size: self._told(size, 0)):
                self._origin = self._origin._replace(ref=member.name)
                self._member(member)
        except Unreadable as error:
            # What came so far counts for this hunt; the next one reads it anew.
            reading.unknown.append((self._origin.ref, str(error)))
            reading.version = ""
        for source in list(self._events):
            self._flush(source)
        reading.rows = (rows, self._writer.rows - rows)
        reading.usage_rows = (usage_rows, self._writer.usage_rows - usage_rows)
        reading.by_source = dict(self._by_source)
        reading.records = self._by_source.total() + reading.set_aside_count
        return reading

    def _member(self, member: Member) -> None:
        head = b"" if member.why else member.stream.peek(HEAD)
        kind = Kind("", None, member.why) if member.why else recognise(head, len(head) < HEAD, self._forced)
        if kind.form == "parquet" and member.name == self._given.name and (held := _of_lake(self._given)) is not None:
            self._reading.lake = True
            self._by_source.update(held)
        elif kind.source is not None:
            self._origin = self._origin._replace(place=hashlib.blake2b(head, digest_size=16).hexdigest())
            counted = _Counted(member.stream)
            self._form(kind.form)(kind.source, counted, kind)
            self._reading.raw_bytes += counted.bytes
            if member.stream.fault:
                self._aside(broken(b"", counted.line, counted.bytes, member.stream.fault))
        elif kind.why:
            self._reading.unknown.append((member.name, member.stream.fault or kind.why))

    def _form(self, form: str) -> Callable[[Source, _Counted, Kind], None]:
        return {"document": self._document, "lines": self._lines, "csv": self._csv, "text": self._text}[form]

    # -- forms --------------------------------------------------------------------------------------------------

    def _document(self, source: Source, stream: _Counted, _kind: Kind) -> None:
        pieces, size = [], 0
        while size <= _WHOLE_BYTES and (piece := stream.read(_READ_BYTES)):
            pieces.append(piece)
            size += len(piece)
        data = b"".join(pieces)
        del pieces
        if size <= _WHOLE_BYTES and self._at_once(source, data):
            return
        rest = _Behind(data.removeprefix(BOM), stream)
        del data
        for found in Document(rest, self._lists, self._is_known):
            self._record(source, found)

    def _at_once(self, source: Source, data: bytes) -> bool:
        try:
            entries = all_at_once(source, data)
        except _UNREADABLE:
            return False
        if entries is None:
            return False
        doubtful = self._entries(source, entries)
        if doubtful:
            found = list(Document(io.BytesIO(data.removeprefix(BOM)), self._lists, self._is_known))
            for number in doubtful:
                self._record(source, found[number])
        return True

    def _lines(self, source: Source, stream: _Counted, _kind: Kind) -> None:
        for lines in in_lines(stream):
            doubtful = self._lines_at_once(source, lines)
            if doubtful is None or doubtful:
                found = list(each_line(lines))
                for number in range(len(found)) if doubtful is None else doubtful:
                    self._line(source, found[number])

    def _lines_at_once(self, source: Source, lines: Lines) -> Sequence[int] | None:
        """The numbers of the lines that need a closer look; None for all."""
        if lines.broken is not None or source.shape is str:
            return None
        try:
            return self._entries(source, decoder(source).decode_lines(lines.raw))
        except _UNREADABLE:
            return None

    def _line(self, source: Source, found: Record | Broken) -> None:
        if isinstance(found, Broken):
            self._aside(found)
            return
        for each in of_line(found, self._lists, self._is_known):
            self._record(source, each)

    def _csv(self, source: Source, stream: _Counted, kind: Kind) -> None:
        for found in Rows(stream, kind.delimiter):
            self._record(source, found)

    def _text(self, source: Source, stream: _Counted, _kind: Kind) -> None:
        for lines in in_lines(stream):
            for found in each_line(lines):
                self._record(source, found)

    # -- records ------------------------------------------------------------------------------------------------

    def _is_known(self, record: Any) -> bool:
        return is_claimed(record) if self._forced is None else self._forced.claims(record)

    def _entries(self, source: Source, entries: Sequence[Any]) -> list[int]:
        """Take in what a source can read; the numbers of the rest."""
        read_one, origin, doubtful = _carefully(source.read) if self._careful else source.read, self._origin, []
        # Where a type says nothing of what must be there, the source has to.
        claims = source.claims if source.shape == dict[str, Any] and self._forced is None else None
        for start in range(0, len(entries), ROWS):
            done = []
            for number, entry in enumerate(entries[start : start + ROWS], start):
                try:
                    if claims is None or claims(entry):
                        done.append(read_one(entry, origin))
                    else:
                        doubtful.append(number)
                except Exception:
                    doubtful.append(number)
            self._take(source, done)
        return doubtful

    def _record(self, hint: Source, found: Record | Broken) -> None:
        if isinstance(found, Broken):
            self._aside(found)
            return
        origin = self._origin
        if found.cells is not None or hint.shape is str:
            origin = origin._replace(ref=f"{origin.ref}:{found.line}", place=f"{origin.place}:{found.line}")
        try:
            source, done = read(hint, found, origin, sure=self._forced is not None)
            if self._careful:
                _look_at(done)
        except UnreadableEntry as error:
            self._aside(broken(found.raw, found.line, found.offset, str(error)))
        else:
            self._take(source, [done])

    def _aside(self, found: Broken) -> None:
        self._reading.set_aside_count += 1
        if len(self._reading.set_aside) < MAX_LISTED:
            self._reading.set_aside.append(SetAside(self._origin.ref, *found))

    def _take(self, source: Source, done: list[Any]) -> None:
        if not done:
            return
        self._by_source[source.name] += len(done)
        self._told(0, len(done))
        if source.gives == "usage":
            self._writer.add_usage([row for rows in done for row in rows])
            return
        held = self._events.setdefault(source, [])
        held += done
        if len(held) >= ROWS:
            self._flush(source)

    def _flush(self, source: Source) -> None:
        held = self._events.pop(source)
        for start in range(0, len(held), ROWS):
            chunk = held[start : start + ROWS]
            self._reading.content_dropped += _dropped(event.extra for event in chunk)
            self._writer.add(chunk, source.name, source.provider)


def _carefully(read_one: Callable[[Any, Origin], Any]) -> Callable[[Any, Origin], Any]:
    def reading(entry: Any, origin: Origin) -> Any:
        done = read_one(entry, origin)
        _look_at(done)
        return done

    return reading


def _look_at(done: Any) -> None:
    """Raises UnreadableEntry for an event, or rows of usage, that the columns do not hold."""
    if not all(map(is_held, done if isinstance(done, list) else [done])):
        raise UnreadableEntry("a value in it is more than a column holds")


def _dropped(extras: Iterable[str]) -> int:
    """How many fields of content the `extra` of events say were dropped."""
    found = ((_DROPPED.search(extra), times) for extra, times in Counter(extras).items())
    return sum(int(dropped[1]) * times for dropped, times in found if dropped is not None)


def _of_lake(given: Input) -> dict[str, int] | None:
    """The sources of a Parquet file with the columns of the lake, which can be hunted as it is."""
    try:
        if not set(SCHEMA.names) <= set(pq.read_schema(given.place).names):
            return None
        counts = pq.read_table(given.place, columns=["source"])["source"].value_counts()
    except (pa.ArrowException, OSError, UnicodeEncodeError):  # the last of a path that is not UTF-8
        return None
    return {each["values"].as_py(): each["counts"].as_py() for each in counts}
