"""Parts: what was made of a batch of inputs, as Parquet files whose footers say which inputs they hold and where.

A part comes into being in one step, by a rename; rows of usage stand in a file beside it, which is there before.
Rows of one input follow one another, so that a part can be cut: into the inputs that are still wanted, and the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.events import usage
from jackstop.events.lake import REPLACES, SCHEMA, publish
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.usage import Usage

READINGS = b"jackstop.readings"
"""Key in a part's metadata: what was read of each of its inputs."""
SUFFIX = ".parquet"
USAGE_SUFFIX = ".usage"
ROWS = 2_048
"""Events that become columns at once: few enough to stay in a processor's cache."""
_GROUP = 131_072
"""Rows of a Parquet row group: what a thread of an engine reads at once."""
COMPRESSION = "zstd"


class Unheld(Exception):
    """A row with a value that its column cannot hold; which one is not known (see `is_held`)."""


class SetAside(msgspec.Struct, frozen=True):
    """What was no record, or none that could be read: its place, its hash and why, and nothing of what it said."""

    file: str
    line: int
    offset: int
    sha256: str
    why: str


class Reading(msgspec.Struct):
    """What was read of one input. `rows` and `usage_rows` are the first row in the part, and how many."""

    name: str
    place: str
    version: str
    forced: str
    rows: tuple[int, int] = (0, 0)
    usage_rows: tuple[int, int] = (0, 0)
    records: int = 0
    by_source: dict[str, int] = {}
    raw_bytes: int = 0
    content_dropped: int = 0
    set_aside_count: int = 0
    set_aside: list[SetAside] = []
    unknown: list[tuple[str, str]] = []
    lake: bool = False

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.place, self.version, self.forced


def readings_in(path: Path) -> tuple[list[Reading], list[str]]:
    """What a part holds, and the names of the parts that it stands for."""
    footer = pq.read_metadata(path).metadata or {}
    return (
        msgspec.json.decode(footer[READINGS], type=list[Reading]),
        msgspec.json.decode(footer.get(REPLACES, b"[]"), type=list[str]),
    )


def usage_beside(path: Path) -> Path:
    """The file with the rows of usage of a part; it is there only where there are some."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}{USAGE_SUFFIX}{SUFFIX}")


class Writer:
    """A part that is being written. It is nothing until it is published."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._events = _File(path, SCHEMA)
        self._usage: _File | None = None
        self._pending: list[Event] = []
        self._named = ("", "")

    @property
    def rows(self) -> int:
        return self._events.rows + len(self._pending)

    @property
    def usage_rows(self) -> int:
        return 0 if self._usage is None else self._usage.rows

    def add(self, events: Sequence[Event], source: str, provider: str) -> None:
        """Events of one source; the provider is for those that name none. Raises Unheld, for those before too."""
        if self._named != (source, provider):
            self._flush()
            self._named = (source, provider)
        self._pending += events
        if len(self._pending) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        for start in range(0, len(self._pending), ROWS):
            with _columns():
                batch = columns_of(self._pending[start : start + ROWS], *self._named)
            self._events.add(batch)
        self._pending = []

    def add_usage(self, rows: Sequence[Usage]) -> None:
        """Rows of usage. Raises Unheld."""
        columns = {name: [getattr(row, name) for row in rows] for name in usage.COLUMNS}
        with _columns():
            table = pa.table(columns, schema=usage.SCHEMA)
        self.add_tables(None, table)

    def add_tables(self, events: pa.Table | None, rows_of_usage: pa.Table | None) -> None:
        """Rows that were read before."""
        for batch in events.to_batches() if events is not None else ():
            self._events.add(batch)
        for batch in rows_of_usage.to_batches() if rows_of_usage is not None else ():
            self._usage = self._usage or _File(usage_beside(self._path), usage.SCHEMA)
            self._usage.add(batch)

    def publish(self, readings: Sequence[Reading], replaces: Sequence[str] = ()) -> None:
        """Make it a part. Raises Unheld."""
        self._flush()
        if self._usage is not None:
            self._usage.publish({})
        self._events.publish({READINGS: msgspec.json.encode(readings), REPLACES: msgspec.json.encode(replaces)})

    def give_up(self) -> None:
        for file in (self._events, self._usage):
            if file is not None:
                file.give_up()


class _File:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._writer = pq.ParquetWriter(self._hidden, schema, compression=COMPRESSION)
        self._batches: list[pa.RecordBatch] = []
        self._held = 0
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._held += batch.num_rows
        self.rows += batch.num_rows
        if self._held >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches, self._schema), row_group_size=2 * _GROUP)
            self._batches, self._held = [], 0

    def publish(self, metadata: dict[bytes, bytes]) -> None:
        self._flush()
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        publish(self._hidden, self._path)

    def give_up(self) -> None:
        self._hidden.unlink(missing_ok=True)
        with suppress(OSError):  # the disk that has no room for rows has none for the footer
            self._writer.close()


# -- columns ----------------------------------------------------------------------------------------------------

_SOURCE, _PROVIDER = COLUMNS.index("source"), COLUMNS.index("provider")
_TYPES: tuple[pa.DataType, ...] = tuple(SCHEMA.types)


def columns_of(events: Sequence[Event], source: str, provider: str) -> pa.RecordBatch:
    """Events as columns. Most columns hold one value only, and are made without looking at each row."""
    count = len(events)
    columns = list(zip(*map(msgspec.structs.astuple, events), strict=True))
    named = columns[_PROVIDER]
    arrays = [_array(values, kind, count) for values, kind in zip(columns, _TYPES, strict=True)]
    arrays[_SOURCE] = pa.repeat(pa.scalar(source, pa.string()), count)
    if "" in named:
        arrays[_PROVIDER] = pa.array([name or provider for name in named], pa.string())
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(values: tuple[Any, ...], kind: pa.DataType, count: int) -> pa.Array:
    first = values[0]
    if values.count(first) == count:
        return _same(first, kind, count)
    return pa.array(values, kind)


def _same(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if value:
        return pa.repeat(pa.scalar(value, kind), count)
    return _defaults(value, kind).slice(0, count)


@cache
def _defaults(value: Any, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), ROWS)


@contextmanager
def _columns() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        raise Unheld from None


_PLAIN = {pa.string(): str, pa.int64(): int, pa.bool_(): bool}
_BOUND = 1 << 63
_OF_EVENTS = (msgspec.structs.astuple(Event()), tuple(_PLAIN[kind] for kind in _TYPES))
_OF_USAGE = (msgspec.structs.astuple(Usage()), tuple(_PLAIN[kind] for kind in usage.SCHEMA.types))
"""Of each column what most rows have in it, and the type of the others."""


def is_held(row: Event | Usage) -> bool:
    """Whether the columns hold every value of a row."""
    columns = _OF_EVENTS if isinstance(row, Event) else _OF_USAGE
    values = zip(msgspec.structs.astuple(row), *columns, strict=True)
    return all(value is usual or _fits(value, kind) for value, usual, kind in values)


def _fits(value: Any, kind: type[str | int]) -> bool:
    if not isinstance(value, kind):
        return value is None
    if isinstance(value, str):
        return value.isascii() or value == value.encode(errors="replace").decode()
    return -_BOUND <= value < _BOUND


# -- cutting ----------------------------------------------------------------------------------------------------


def cut(path: Path, into: Path, wanted: Sequence[Reading], replaces: Sequence[str]) -> list[Reading]:
    """Write a part with only some inputs of another; what it says of them."""
    events = pq.read_table(path)
    beside = usage_beside(path)
    rows_of_usage = pq.read_table(beside) if beside.exists() else None
    writer = Writer(into)
    kept = []
    for reading in wanted:
        rows = (writer.rows, reading.rows[1])
        usage_rows = (writer.usage_rows, reading.usage_rows[1])
        writer.add_tables(
            events.slice(*reading.rows), None if rows_of_usage is None else rows_of_usage.slice(*reading.usage_rows)
        )
        kept.append(msgspec.structs.replace(reading, rows=rows, usage_rows=usage_rows))
    writer.publish(kept, replaces)
    return kept
