"""The gate's own detections over history: each past day as it was when it ended, with what was usual before it.

What follows from events (`minutes`, `sightings`) and from the days before (`baselines`, `known`) is made as a live
system makes it, by the same code. Three things a log does not have: cases, so that a day on which a key has a finding
of severity high or worse teaches nothing about it, as if its case had not been called benign; budgets; and when a key
was made, for which its first event stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import Catalogue, Detection
from jackstop.detections.engine import KEEP_US, Engine, merged
from jackstop.errors import UserError
from jackstop.events.analytics import DAY_US
from jackstop.events.baselines import DAYS, Digest, Slice, Usual, digest
from jackstop.events.lake import SCHEMA
from jackstop.events.reading import connect, from_files
from jackstop.events.warehouse import Warehouse
from jackstop.hunt.engines import Allowed

MEMORY_MB = 1_024
LIVE = "gate"
"""The `sources` of a detection that is for traffic: it runs on whatever names a key of one's own."""
_ALARMING = frozenset({"high", "critical"})
_KEY = "key:"


def of_traffic(detections: Iterable[Detection]) -> list[Detection]:
    """Those that are replayed: an engine that sees all days at once has nothing for them to compare with."""
    return [each for each in detections if LIVE in each.about.sources]


def replayed(
    parts: Sequence[Path], detections: Iterable[Detection], allow: Sequence[Allowed] = (), scratch: Path | None = None
) -> list[Finding]:
    """What the detections of traffic find in parts of events, day by day; empty where no event names a key.

    Raises UserError for parts that cannot be read.
    """
    catalogue = {each.name: each for each in of_traffic(detections)}
    with connect(MEMORY_MB, scratch) as connection:
        try:
            _show_traffic(connection, parts)
            return _Replay(connection, catalogue, allow).run()
        except duckdb.Error as error:
            raise UserError(
                f"past traffic cannot be looked at: {str(error).partition(chr(10))[0]}",
                "delete the folder hunts in JACKSTOP_HOME: the logs are then read anew",
            ) from None


def _show_traffic(connection: duckdb.DuckDBPyConnection, parts: Sequence[Path]) -> None:
    """The view `traffic`: events that name a key, each once, as seen when they ended.

    A log that is read later was not seen then, and the gate's own `seen_ts` would not tell it from that.
    """
    columns = ", ".join(
        "CASE WHEN source = 'gate' THEN seen_ts ELSE ts + COALESCE(latency_us, 0) END AS seen_ts"
        if name == "seen_ts"
        else name
        for name in SCHEMA.names
    )
    connection.execute(
        f"CREATE VIEW traffic AS SELECT {columns} FROM {from_files(parts, SCHEMA)} WHERE key_id <> ''"  # noqa: S608 -- names of our own
    )


class _Replay:
    def __init__(self, connection: duckdb.DuckDBPyConnection, catalogue: Catalogue, allow: Sequence[Allowed]) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._allow = [dict(zip(("detection", "entity", "until_ts"), row, strict=True)) for row in allow]
        self._digests: dict[int, Digest] = {}
        self._usual: dict[int, Usual] = {}
        self._found: dict[str, Finding] = {}
        self._keys: list[dict[str, Any]] = []
        self._sources: tuple[str, ...] = ()

    def run(self) -> list[Finding]:
        days = [day for (day,) in self._rows(f"SELECT DISTINCT ts - mod(ts, {DAY_US}) FROM traffic ORDER BY 1")]  # noqa: S608 -- as below
        self._keys = list(self._inventory())
        self._sources = tuple(name for (name,) in self._rows("SELECT DISTINCT source FROM traffic ORDER BY 1"))
        yesterday = SCHEMA.empty_table()
        for day in days:
            today = self._events(day)
            self._look(day, pa.concat_tables([yesterday.filter(pc.field("ts") >= day - DAY_US), today]))
            self._digests[day] = self._digest(day, today)
            self._forget(day)
            yesterday = today
        return [replace(each, sources=self._sources) for each in self._found.values()]

    def _digest(self, day: int, events: pa.Table) -> Digest:
        self._connection.register("today", events)
        try:
            return digest(self._connection, day, [Slice(day, day + DAY_US, "today")])
        finally:
            self._connection.unregister("today")

    def _look(self, day: int, events: pa.Table) -> None:
        """One day, with the day before beside it, as a live system still has its evening at midnight."""
        warehouse = Warehouse(MEMORY_MB, forget=False)
        try:
            before = self._usual.get(day - DAY_US)
            if before is not None:
                warehouse.begin_day(day - DAY_US, *before)
            if self._digests:
                self._usual[day] = warehouse.learn(day, self._digests, self._alarms())
            warehouse.set_table("inventory", [row for row in self._keys if row["created_ts"] < day + DAY_US])
            warehouse.set_table("allow", self._allow)
            warehouse.take_in(events)
            warehouse.settle()
            self._take(warehouse, day)
        finally:
            warehouse.close()

    def _take(self, warehouse: Warehouse, day: int) -> None:
        engine = Engine(self._catalogue)
        recent = [each for each in self._found.values() if each.last_seen >= day - KEEP_US]
        engine.restore(warehouse.connection, [_row(each) for each in recent])
        for finding in engine.once(warehouse.connection):
            before = self._found.get(finding.uid)
            # What the day before shows without what was usual before it was judged when it was that day's turn.
            if before is not None:
                self._found[finding.uid] = merged(before, finding)
            elif finding.last_seen >= day:
                self._found[finding.uid] = finding
        if engine.failing:
            raise UserError(
                f"the detection {engine.failing[0]} failed on past traffic", "see `jackstop detections test`"
            )

    def _alarms(self) -> Iterator[tuple[str, int, int]]:
        for each in self._found.values():
            if each.severity in _ALARMING and each.entity.startswith(_KEY):
                yield each.entity.removeprefix(_KEY), each.first_seen, each.last_seen

    def _events(self, day: int) -> pa.Table:
        """The events of a day, each once, whichever parts it is in."""
        named = ", ".join(SCHEMA.names)
        return (
            self._connection.sql(
                f"SELECT {named} FROM traffic WHERE ts >= {day} AND ts < {day + DAY_US} "  # noqa: S608 -- as above
                "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY seen_ts) = 1 ORDER BY ts, event_id"
            )
            .to_arrow_table()
            .cast(SCHEMA)
        )

    def _inventory(self) -> Iterator[dict[str, Any]]:
        columns = ("id", "owner", "team", "canary", "created_ts")
        query = (
            "SELECT key_id, MAX(owner), MAX(team), MAX(CASE WHEN key_kind = 'canary' THEN 1 ELSE 0 END), MIN(ts) "
            "FROM traffic GROUP BY key_id"
        )
        for row in self._rows(query):
            yield {"kind": "key", "state": "live", **dict(zip(columns, row, strict=True))}

    def _forget(self, day: int) -> None:
        self._digests = {each: kept for each, kept in self._digests.items() if each > day - DAYS * DAY_US}
        self._usual = {each: kept for each, kept in self._usual.items() if each >= day}

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def _row(finding: Finding) -> dict[str, Any]:
    names = ("detection", "severity", "entity", "first_seen", "last_seen", "count")
    return {name: getattr(finding, name) for name in names}
