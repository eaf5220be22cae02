"""A hunt's engine inside this process: DuckDB over Parquet parts, on two cores and bounded memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import Detection
from jackstop.detections.engine import findings_of
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES, create
from jackstop.events.lake import SCHEMA
from jackstop.events.reading import connect, from_files
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA
from jackstop.hunt.engines import Allowed, DetectionFailed
from jackstop.hunt.tables import FILLED, FOLLOWING, HAS_KEYS, usage_of

MEMORY_MB = 1_024
THREADS = 2
_LOOKED_AT_ONCE = 4_000_000
"""Events whose identities are compared at a time: some 200 MB."""
_ARROW = {"BIGINT": pa.int64(), "VARCHAR": pa.string()}
_SPILL = "spill-"
_NAMES = ", ".join(SCHEMA.names)


class DuckEngine:
    """See `Engine`. What does not fit into memory goes into a folder of its own below `scratch`."""

    def __init__(self, scratch: Path | None = None, memory_mb: int = MEMORY_MB) -> None:
        if scratch is not None:
            _sweep(scratch)
        self._spill = Path(tempfile.mkdtemp(prefix=f"{_SPILL}{os.getpid()}-", dir=scratch))
        self._followed: set[str] = set()
        self._connection = connect(memory_mb, self._spill)
        self._connection.execute(f"SET threads = {THREADS}; SET preserve_insertion_order = false")

    def open(self, parts: Sequence[Path], usage_parts: Sequence[Path], allow: Sequence[Allowed]) -> None:
        try:
            self._make(parts, usage_parts)
        except duckdb.Error as error:
            raise UserError(
                f"the normalised events cannot be read: {_first_line(error)}",
                "make room, or delete the folder hunts in JACKSTOP_HOME: the logs are then read anew",
            ) from None
        names = ("detection", "entity", "until_ts")
        self.fill("allow", [dict(zip(names, row, strict=True)) for row in allow])

    def _make(self, parts: Sequence[Path], usage_parts: Sequence[Path]) -> None:
        self._show_events(parts)
        buckets = from_files(usage_parts, USAGE_SCHEMA)
        self._connection.execute(f"CREATE TABLE usage AS {usage_of(buckets)}")
        for table in (*FILLED, *FOLLOWING):
            self._connection.execute(create(table))

    def fill(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        given = list(rows)
        if not given:
            return
        columns = {
            name: pa.array([row.get(name, 0 if kind == "BIGINT" else "") for row in given], _ARROW[kind])
            for name, kind in TABLES[table].items()
        }
        self._connection.register("given", pa.table(columns))
        self._connection.execute(f"INSERT INTO {table} SELECT * FROM given")  # noqa: S608 -- names of our own
        self._connection.unregister("given")

    def findings(self, detection: Detection) -> list[Finding]:
        try:
            self._follow(detection.tables)
            return findings_of(self._connection, detection)
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except (duckdb.Error, KeyError, TypeError, ValueError) as error:
            raise DetectionFailed(_first_line(error)) from None

    def _follow(self, tables: frozenset[str]) -> None:
        """Fill those of the tables that follow from events, once somebody reads them."""
        wanted = sorted(tables & (FOLLOWING.keys() - self._followed))
        if wanted and self._one(HAS_KEYS):
            for table in wanted:
                names = ", ".join(TABLES[table])
                self._connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM ({FOLLOWING[table]})")  # noqa: S608 -- names of our own
        self._followed.update(wanted)

    def note(self, findings: Iterable[Finding]) -> None:
        names = TABLES["findings"]
        self.fill("findings", [{name: getattr(each, name) for name in names} for each in findings])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            raise UserError(
                f"the events cannot be counted: {_first_line(error)}", "see `jackstop hunt --help`"
            ) from None

    def close(self) -> None:
        self._connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    # -- events that came twice --------------------------------------------------------------------------------------

    def _show_events(self, parts: Sequence[Path]) -> None:
        """The view `events`. Only parts that hold an event which another holds too are read with a look at that."""
        clean, doubled = list(parts), []
        if self._count_gone(parts):
            names = {name for (name,) in self._connection.execute("SELECT DISTINCT filename FROM gone").fetchall()}
            clean = [part for part in parts if str(part) not in names]
            doubled = [part for part in parts if str(part) in names]
        shown = []
        if clean or not doubled:
            shown.append(f"SELECT {_NAMES} FROM {from_files(clean, SCHEMA)}")  # noqa: S608 -- names of our own
        if doubled:
            shown.append(
                f"SELECT {_NAMES} FROM {_placed(doubled)} AS part "  # noqa: S608 -- as above
                "WHERE NOT EXISTS (SELECT 1 FROM gone "
                "WHERE gone.filename = part.filename AND gone.file_row_number = part.file_row_number)"
            )
        self._connection.execute(f"CREATE VIEW events AS {' UNION ALL '.join(shown)}")

    def _count_gone(self, parts: Sequence[Path]) -> int:
        """Fill the table `gone` with the place of every event but the first of those with one identity; how many."""
        self._connection.execute(
            "CREATE TABLE doubled (hash UBIGINT); CREATE TABLE gone (filename VARCHAR, file_row_number BIGINT)"
        )
        if not parts:
            return 0
        source = from_files(parts, SCHEMA)
        times = 1 + self._one(f"SELECT COUNT(*) FROM {source}") // _LOOKED_AT_ONCE  # noqa: S608 -- as above
        for turn in range(times):
            self._connection.execute(
                f"INSERT INTO doubled SELECT hash(event_id) AS hash FROM {source} "  # noqa: S608 -- as above
                f"WHERE hash(event_id) % {times} = {turn} GROUP BY 1 HAVING COUNT(*) > 1"
            )
        if not self._one("SELECT COUNT(*) FROM doubled"):
            return 0
        self._connection.execute(
            "INSERT INTO gone SELECT filename, file_row_number FROM ("  # noqa: S608 -- as above
            "SELECT filename, file_row_number, "
            "row_number() OVER (PARTITION BY event_id ORDER BY filename, file_row_number) AS place "
            f"FROM {_placed(parts)} WHERE hash(event_id) IN (SELECT hash FROM doubled)) WHERE place > 1"
        )
        return self._one("SELECT COUNT(*) FROM gone")

    def _one(self, sql: str) -> int:
        row = self._connection.execute(sql).fetchone()
        return int(row[0]) if row else 0


def _sweep(scratch: Path) -> None:
    """Remove what a process that was killed had spilled."""
    for folder in scratch.glob(f"{_SPILL}*"):
        pid = folder.name.removeprefix(_SPILL).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _placed(parts: Sequence[Path]) -> str:
    """What stands after FROM to read parts with the file and number of each row."""
    return from_files(parts, SCHEMA).removesuffix(")") + ", filename = true, file_row_number = true)"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
