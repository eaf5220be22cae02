"""The tables that detections read, on one DuckDB connection: events of the last minutes, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jackstop.events.analytics import DAY_US, HOUR_US, TABLES, create, minutes_of, sightings_of
from jackstop.events.baselines import PARTS, Digest, Slice, Spans, Usual, digest, usual_before, with_day
from jackstop.events.hot import BATCH_ROWS, HOT_SCHEMA, Hot, as_hot, batches_of
from jackstop.events.hot import KEEP_US as KEEP_HOT_US
from jackstop.events.lake import SCHEMA, files, is_done, newest_in, open_file
from jackstop.events.reading import connect, from_files
from jackstop.events.rollups import KEEP_MARKED_US, KEEP_US, MARKED, MERGE_US, Rollup, as_words, schema_of
from jackstop.events.schema import Event
from jackstop.gate.journal import Position

_DAILY = ("baselines", "known")
_RESTORED_ROWS = 300_000
"""So many rows are summed at once: a file of the lake is small, and to plan the query takes longer than to run it."""
_ROLLED_UP = [name for name in SCHEMA.names if re.search(rf"\b{name}\b", minutes_of("e") + sightings_of("e"))]
"""The columns of an event that `minutes` and `sightings` follow from."""
_WORDS = [field.name for field in SCHEMA if field.type == pa.string()]
_PLAIN = ("inventory", "findings", "allow", "usage")


class Warehouse:
    """Holds `events`, `minutes`, `sightings`, `baselines`, `known`, `inventory`, `findings`, `allow` and `usage`.

    It needs no files: a test feeds it events, and sets the other tables as rows (mappings by column). With `forget`
    False nothing is ever dropped, which is how a whole day is looked at at once.
    """

    def __init__(self, memory_mb: int = 1024, *, forget: bool = True) -> None:
        self.connection = connect(memory_mb)
        self._hot = Hot(self.connection, KEEP_HOT_US if forget else None)
        keep_us = KEEP_US if forget else None
        self._rollups = [Rollup(self.connection, table, keep_us) for table in ("minutes", "sightings")]
        self._usual: dict[int, Usual] = {}
        self._merge_us = 0
        self._oldest_us: int | None = None
        for table in _PLAIN:
            self.connection.execute(create(table))
        self._show_usual()

    def feed(self, events: Sequence[Event]) -> None:
        """Take in events, in any order; each must come once."""
        for batch in batches_of(events):
            self._hot.add(batch, pc.max(batch["seen_ts"]).as_py())
            self._add(pa.Table.from_batches([batch]))
        if events:
            oldest_us = min(event.ts for event in events)
            self._oldest_us = oldest_us if self._oldest_us is None else min(oldest_us, self._oldest_us)
            self._show()

    def take_in(self, rows: pa.Table) -> None:
        """Take in rows of the lake's schema, in any order; each must come once."""
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            hot = as_hot(batch)
            self._hot.add(hot, pc.max(batch["seen_ts"]).as_py())
            self._add(pa.Table.from_batches([hot]))
        self._show()

    def tend(self, now_us: int) -> None:
        """Before each cycle: drop what is too old, merge partial rows about once a minute, begin a new day.

        Until the new day's baselines are there, those of the day before hold for it as well.
        """
        merge = now_us - self._merge_us >= MERGE_US
        self._hot.drop(now_us)
        for rollup in self._rollups:
            if merge:
                rollup.merge()
            rollup.drop(now_us)
            rollup.register()
        if merge:
            self._merge_us = now_us
        day_us = now_us - now_us % DAY_US
        if self._usual and day_us > max(self._usual):
            self.begin_day(day_us, *self._usual[max(self._usual)])

    def take_oldest(self) -> int | None:
        """The time of the oldest event fed since the last call; None when there was none. For `Engine.cycle`."""
        oldest_us, self._oldest_us = self._oldest_us, None
        return oldest_us

    def settle(self) -> None:
        """Merge all partial rows: whatever the batches were, equal events now give equal rows."""
        for rollup in self._rollups:
            rollup.merge_all()
        self._show()

    def set_table(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the rows of `inventory`, `findings`, `allow` or `usage`; a column that is missing is 0 or empty."""
        if table not in _PLAIN:
            raise ValueError(f"{table} is not set as a whole")
        given = table_of(table, rows)
        self.connection.execute("BEGIN")
        self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- one of _PLAIN
        if given.num_rows:
            self.connection.register("given", given)
            self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM given")  # noqa: S608 -- one of _PLAIN
            self.connection.unregister("given")
        self.connection.execute("COMMIT")

    # -- what was usual ------------------------------------------------------------------------------------------

    def begin_day(
        self,
        day_us: int,
        baselines: pa.Table | Iterable[Mapping[str, Any]],
        known: pa.Table | Iterable[Mapping[str, Any]],
    ) -> None:
        """Let these rows be `baselines` and `known` of one UTC day; those of the day before stay beside them."""
        usual = Usual(_daily("baselines", day_us, baselines), _daily("known", day_us, known))
        self._usual = {day: rows for day, rows in self._usual.items() if day >= day_us - DAY_US and day != day_us}
        self._usual[day_us] = usual
        self._show_usual()

    def learn(self, day_us: int, digests: Mapping[int, Digest], cases: Spans = ()) -> Usual:
        """Make and set `baselines` and `known` of `day_us` from digests by day, of which there is one; returns them."""
        for place, part in enumerate(PARTS):
            tables = [with_day(each[place], day) for day, each in sorted(digests.items())]
            self.connection.register(f"digest_{part}", pa.concat_tables(tables))
        try:
            usual = usual_before(self.connection, day_us, cases)
        finally:
            for part in PARTS:
                self.connection.unregister(f"digest_{part}")
        self.begin_day(day_us, usual.baselines, usual.known)
        return usual

    def digest(self, day_us: int) -> Digest:
        """The digest of a day of which all events are still in `events`."""
        return digest(self.connection, day_us, [Slice(day_us, day_us + DAY_US, "events")])

    def _show_usual(self) -> None:
        for place, name in enumerate(_DAILY):
            tables = [rows[place] for _, rows in sorted(self._usual.items())]
            self.connection.register(name, pa.concat_tables(tables) if tables else schema_of(name).empty_table())

    # -- from the lake -------------------------------------------------------------------------------------------

    def restore(self, lake: Path, now_us: int, positions: Mapping[str, Position]) -> None:
        """Take in what the lake holds up to `positions`, as if it had been fed; the warehouse must be new."""
        marked_us = now_us - KEEP_MARKED_US - HOUR_US
        named = [file for file in files(lake, marked_us, now_us + DAY_US) if is_done(file, positions)]
        minutes = self._rollups[0]
        oldest_us = min(rollup.oldest_us(now_us) for rollup in self._rollups)
        for events in _together(self._restored(named, oldest_us, now_us - KEEP_HOT_US)):
            self._add(events)
        for rollup in self._rollups:
            rollup.merge()
            rollup.drop(now_us)
        minutes.keep_marked(self._marked(from_files(named, SCHEMA), marked_us, minutes.oldest_us(now_us)))
        self._show()

    def _restored(self, named: Iterable[Path], oldest_us: int, hot_us: int) -> Iterator[pa.Table]:
        """What the rollups need of the events since `oldest_us`; those since `hot_us` go into `events` on the way."""
        for file in named:
            with open_file(file, _WORDS) as parquet:
                footer = parquet.metadata
                if newest_in(footer, "ts") >= oldest_us:
                    for batch in parquet.iter_batches(BATCH_ROWS, columns=_ROLLED_UP):
                        rows = pa.Table.from_batches([batch])
                        is_within = pc.min(rows["ts"]).as_py() >= oldest_us
                        yield rows if is_within else rows.filter(pc.field("ts") >= oldest_us)
            if newest_in(footer, "seen_ts") >= hot_us:
                with open_file(file) as parquet:
                    self._restore_hot(parquet, hot_us)

    def _restore_hot(self, parquet: pq.ParquetFile, oldest_us: int) -> None:
        for batch in parquet.iter_batches(BATCH_ROWS):
            recent = batch.filter(pc.greater_equal(batch["seen_ts"], oldest_us))
            if recent.num_rows:
                self._hot.add(as_hot(recent), pc.max(recent["seen_ts"]).as_py())

    def _marked(self, laked: str, since_us: int, until_us: int) -> pa.Table:
        """Minutes that are older than the rest, of keys that have any that is kept."""
        within = f"ts >= {since_us} AND ts < {until_us}"
        keys = f"SELECT DISTINCT key_id FROM {laked} WHERE {within} AND (markers <> '' OR decision = 'refused')"  # noqa: S608 -- of our own
        events = f"(SELECT * FROM {laked} WHERE {within} AND key_id IN ({keys}))"  # noqa: S608 -- as above
        return self.connection.sql(f"SELECT * FROM ({minutes_of(events)}) WHERE {MARKED}").to_arrow_table()  # noqa: S608 -- as above

    def _add(self, events: pa.Table) -> None:
        self.connection.register("incoming", events)
        for rollup in self._rollups:
            rollup.add("incoming")
        self.connection.unregister("incoming")

    def _show(self) -> None:
        self._hot.register()
        for rollup in self._rollups:
            rollup.register()

    def close(self) -> None:
        self.connection.close()


def _together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together until they have _RESTORED_ROWS."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= _RESTORED_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def digest_events(events: Sequence[Event], day_us: int) -> Digest:
    """The digest of one day's events, all of them, without a warehouse."""
    with connect(1024) as connection:
        connection.register("events", pa.Table.from_batches(list(batches_of(events)), schema=HOT_SCHEMA))
        return digest(connection, day_us, [Slice(day_us, day_us + DAY_US, "events")])


def table_of(table: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows given as mappings as a table of `analytics.TABLES`; a column that is missing is 0 or empty."""
    given = list(rows)
    columns = {
        name: pa.array([row.get(name, "" if kind == "VARCHAR" else 0) for row in given],
                       pa.string() if kind == "VARCHAR" else pa.int64())
        for name, kind in TABLES[table].items()
    }  # fmt: skip
    return pa.table(columns)


def _daily(table: str, day_us: int, rows: pa.Table | Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of `baselines` or `known` for a day, whichever day they were made for."""
    if not isinstance(rows, pa.Table):
        rows = table_of(table, rows)
    schema = schema_of(table)
    days = pa.array([day_us] * rows.num_rows, pa.int64())
    return as_words(rows.set_column(schema.get_field_index("day"), "day", days), schema)
