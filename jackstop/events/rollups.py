"""`minutes` and `sightings`, kept incrementally: each batch adds rows, which are merged about once a minute.

Merged rows lie in buckets of time that are dropped whole. Within a bucket a new part is merged with the one before it
once it is about as large, so that what is merged again and again stays small. The order of batches does not matter:
of too many values of a trait, those with the smallest hash are kept, whichever came first.
"""

from __future__ import annotations

from collections import defaultdict

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jackstop.events.analytics import DAY_US, HOUR_US, MAX_VALUES, MINUTE_US, OTHERS, TABLES, minutes_of, sightings_of

KEEP_US = 3 * HOUR_US
KEEP_MARKED_US = 2 * DAY_US
MERGE_US = MINUTE_US
MERGE_ROWS = 1_000_000
"""So many rows are merged at once, however soon they came."""
_BUCKET_US = {"minutes": 10 * MINUTE_US, "sightings": HOUR_US}
_TIME = {"minutes": "minute", "sightings": "hour"}
_PER = {"minutes": ("minute", "key_id"), "sightings": ("hour", "key_id", "trait", "value")}
_MIN, _MAX = frozenset({"first_ts"}), frozenset({"owner", "team", "last_ts", "largest_input"})
_WORDS = pa.dictionary(pa.int32(), pa.string())
MARKED = "probes > 0 OR marked > 0 OR refused > 0"
"""Minutes that are kept for two days: few, and what re-checks and heartbeats are found by."""


def schema_of(table: str) -> pa.Schema:
    """The columns of a table of `analytics.TABLES` as Arrow holds them here."""
    return pa.schema([(name, _WORDS if kind == "VARCHAR" else pa.int64()) for name, kind in TABLES[table].items()])


def as_words(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with each text as a number in a dictionary."""
    rows = rows.combine_chunks()
    columns = [pc.dictionary_encode(rows[field.name]) if field.type == _WORDS else rows[field.name] for field in schema]
    return pa.table(columns, names=schema.names).cast(schema)


class Rollup:
    """One of the two tables on a connection. `keep_us` None keeps everything."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: str, keep_us: int | None) -> None:
        self._connection = connection
        self.table = table
        self._keep_us = keep_us
        self._schema = schema_of(table)
        self._new: list[pa.Table] = []
        self._buckets: dict[int, list[pa.Table]] = defaultdict(list)
        self._marked: dict[int, pa.Table] = {}
        self.register()

    def add(self, events: str) -> None:
        """Add what follows from the events of a table of the connection."""
        select = minutes_of(events) if self.table == "minutes" else sightings_of(events)
        self._new.append(self._select(select))
        if sum(rows.num_rows for rows in self._new) >= MERGE_ROWS:
            self.merge()

    def merge(self) -> None:
        """Put the rows of the batches since the last time together."""
        if not self._new:
            return
        merged = self._merged(self._new)
        self._new = []
        buckets = self._bucket_of(merged)
        for bucket in pc.unique(buckets).to_pylist():
            parts = self._buckets[bucket]
            parts.append(merged.filter(pc.equal(buckets, bucket)).combine_chunks())
            while len(parts) > 1 and parts[-1].num_rows * 2 >= parts[-2].num_rows:
                parts[-2:] = [self._merged(parts[-2:])]

    def merge_all(self) -> None:
        """Bring every bucket to one row for each thing, which no later order of events would give otherwise."""
        self.merge()
        for bucket, parts in self._buckets.items():
            if len(parts) > 1:
                self._buckets[bucket] = [self._merged(parts)]

    def keep_marked(self, rows: pa.Table) -> None:
        """Add minutes that are older than the others, and kept because of what they show."""
        rows = as_words(rows, self._schema)
        buckets = self._bucket_of(rows)
        for bucket in pc.unique(buckets).to_pylist():
            self._marked[bucket] = rows.filter(pc.equal(buckets, bucket)).combine_chunks()

    def oldest_us(self, now_us: int) -> int:
        """Where the first bucket begins that is not dropped at `now_us`."""
        assert self._keep_us is not None
        width = _BUCKET_US[self.table]
        edge = now_us - self._keep_us
        return edge - edge % width

    def drop(self, now_us: int) -> None:
        """Let go of the buckets that are too old; of `minutes`, the marked rows stay for two days."""
        if self._keep_us is None:
            return
        oldest_us = now_us - self._keep_us
        for bucket in [at for at in self._buckets if at + _BUCKET_US[self.table] <= oldest_us]:
            parts = self._buckets.pop(bucket)
            if self.table == "minutes":
                kept = self._where([self._merged(parts)], MARKED)
                before = [self._marked[bucket]] if bucket in self._marked else []
                if kept.num_rows:
                    self._marked[bucket] = self._merged([*before, kept])
        for bucket in [at for at in self._marked if at + _BUCKET_US[self.table] <= now_us - KEEP_MARKED_US]:
            del self._marked[bucket]

    def register(self) -> None:
        """Show the connection what is there now."""
        parts = [part for bucket in self._buckets.values() for part in bucket]
        everything = [*self._marked.values(), *parts, *self._new]
        self._connection.register(self.table, pa.concat_tables(everything) if everything else self._empty())

    def _empty(self) -> pa.Table:
        return self._schema.empty_table()

    def _bucket_of(self, rows: pa.Table) -> pa.Array:
        width = _BUCKET_US[self.table]
        return pc.multiply(pc.divide(rows[_TIME[self.table]], width), width)

    def _select(self, query: str) -> pa.Table:
        return as_words(self._connection.sql(query).to_arrow_table(), self._schema)

    def _merged(self, parts: list[pa.Table]) -> pa.Table:
        rows = pa.concat_tables(parts)
        self._connection.register("parts", rows)
        try:
            merged = self._select(merge_of(self.table, "parts"))
            if self.table == "sightings":
                merged = self._capped(merged)
            return merged
        finally:
            self._connection.unregister("parts")

    def _where(self, parts: list[pa.Table], condition: str) -> pa.Table:
        self._connection.register("parts", pa.concat_tables(parts))
        try:
            return self._select(f"SELECT * FROM parts WHERE {condition}")  # noqa: S608 -- of our own
        finally:
            self._connection.unregister("parts")

    def _capped(self, merged: pa.Table) -> pa.Table:
        """At most MAX_VALUES values of a trait of a key in an hour."""
        self._connection.register("uncapped", merged)
        try:
            return self._select(cap_of("uncapped")) if self._connection.execute(_CROWDED).fetchall() else merged
        finally:
            self._connection.unregister("uncapped")


def merge_of(table: str, rows: str) -> str:
    """The SELECT that puts rows for the same thing together."""
    columns = ", ".join(_merged_column(table, name, kind) for name, kind in TABLES[table].items())
    return f"SELECT {columns} FROM {rows} GROUP BY {', '.join(_PER[table])}"  # noqa: S608 -- of our own


def _merged_column(table: str, name: str, kind: str) -> str:
    if name in _PER[table]:
        return name
    how = "MIN" if name in _MIN else "MAX" if name in _MAX else "SUM"
    return f"{how}({name}) AS {name}" if kind == "VARCHAR" else f"CAST({how}({name}) AS BIGINT) AS {name}"


_GROUP = "hour, key_id, trait"
_CROWDED = f"SELECT {_GROUP} FROM uncapped WHERE value <> '{OTHERS}' GROUP BY {_GROUP} HAVING COUNT(*) > {MAX_VALUES}"  # noqa: S608 -- of our own


def cap_of(rows: str) -> str:
    """The SELECT that counts what goes beyond MAX_VALUES of `sightings` under OTHERS: the largest hashes."""
    place = f"ROW_NUMBER() OVER (PARTITION BY {_GROUP}, value = '{OTHERS}' ORDER BY md5(value), value)"
    value = f"CASE WHEN place > {MAX_VALUES} THEN '{OTHERS}' ELSE value END"
    placed = f"SELECT *, {place} AS place FROM {rows} SEMI JOIN crowded USING ({_GROUP})"  # noqa: S608 -- as above
    fewer = merge_of("sightings", f"(SELECT * REPLACE ({value} AS value) FROM ({placed}))")  # noqa: S608 -- as above
    columns = ", ".join(TABLES["sightings"])
    return f"""
WITH crowded AS ({_CROWDED})
SELECT {columns} FROM {rows} ANTI JOIN crowded USING ({_GROUP}) UNION ALL {fewer}"""  # noqa: S608 -- as above
