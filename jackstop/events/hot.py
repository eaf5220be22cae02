"""The events of the last minutes as Arrow batches, which DuckDB reads where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jackstop.events.lake import SCHEMA
from jackstop.events.schema import Event

KEEP_US = 15 * 60_000_000
"""A window of five minutes, and ten more for requests that take so long to be recorded."""
BATCH_ROWS = 32_000
"""So few that the index of any value in a batch fits 16 bits."""

_WORDS = pa.dictionary(pa.int16(), pa.string())
HOT_SCHEMA = pa.schema([(field.name, _WORDS if field.type == pa.string() else field.type) for field in SCHEMA])


class _Batch(NamedTuple):
    newest_us: int
    rows: pa.RecordBatch


def batches_of(events: Sequence[Event]) -> Iterator[pa.RecordBatch]:
    """Events as columns; each distinct text of a batch is there once."""
    for start in range(0, len(events), BATCH_ROWS):
        part = events[start : start + BATCH_ROWS]
        columns = [_column(field, list(map(attrgetter(field.name), part))) for field in HOT_SCHEMA]
        yield pa.RecordBatch.from_arrays(columns, schema=HOT_SCHEMA)


def _column(field: pa.Field, values: list[object]) -> pa.Array:
    if field.type != _WORDS:
        return pa.array(values, type=field.type)
    numbers: dict[object, int] = {}
    indices = [numbers.setdefault(value, len(numbers)) for value in values]
    return pa.DictionaryArray.from_arrays(pa.array(indices, type=pa.int16()), pa.array(numbers, type=pa.string()))


def as_hot(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of the lake's schema, of at most BATCH_ROWS, as `batches_of` would have made it."""
    columns = [
        pc.dictionary_encode(batch[field.name]).cast(_WORDS) if field.type == _WORDS else batch[field.name]
        for field in HOT_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=HOT_SCHEMA)


class Hot:
    """The table `events` of a connection. `keep_us` None keeps everything."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, keep_us: int | None = KEEP_US) -> None:
        self._connection = connection
        self._keep_us = keep_us
        self._batches: list[_Batch] = []
        self.register()

    def add(self, batch: pa.RecordBatch, newest_us: int) -> None:
        """One more batch, whose last event was recorded at `newest_us`; `register` makes it visible."""
        self._batches.append(_Batch(newest_us, batch))

    def drop(self, now_us: int) -> None:
        """Let go of what was recorded too long ago: by when it was recorded, since a long request is recorded late."""
        if self._keep_us is None:
            return
        oldest_us = now_us - self._keep_us
        kept = [batch for batch in self._batches if batch.newest_us >= oldest_us]
        if len(kept) < len(self._batches):
            self._batches = kept
            self.register()

    def register(self) -> None:
        """Show the connection what is there now."""
        rows = [batch.rows for batch in self._batches]
        self._connection.register("events", pa.Table.from_batches(rows, schema=HOT_SCHEMA))

    @property
    def rows(self) -> int:
        return sum(batch.rows.num_rows for batch in self._batches)
