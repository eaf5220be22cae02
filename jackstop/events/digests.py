"""The digests of finished days as files, and what was usual before a day, made from them once and then kept.

A digest is made anew when the lake has other events of its day than when it was made. What was made for a day stays
as it is, so that a restart changes nothing of what its detections compare with.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.events.analytics import DAY_US, HOUR_US
from jackstop.events.baselines import DAYS, PARTS, Slice, Spans, Usual, digest, usual_before, with_day
from jackstop.events.lake import SCHEMA, day_of, files_of, publish, sync_folder, times_in
from jackstop.events.reading import from_files

_ROWS = b"jackstop.rows"
_VERSION = b"jackstop.version"
_FORMAT = b"1"
_ROWS_AT_ONCE = 1_000_000


class Digests:
    """The folder `rollups`, beside the lake that they are made from."""

    def __init__(self, folder: Path, lake: Path) -> None:
        self._folder = folder
        self._lake = lake

    def stored(self, day_us: int) -> Usual | None:
        """What was made for a day before, None if nothing was."""
        folder = self._folder / f"usual={day_of(day_us)}"
        return (
            Usual(*(pq.read_table(folder / f"{name}.parquet") for name in Usual._fields)) if folder.exists() else None
        )

    def latest(self, day_us: int) -> Usual | None:
        """What was made for the latest day before, for as long as there is nothing for `day_us`."""
        for days in range(1, DAYS):
            found = self.stored(day_us - days * DAY_US)
            if found is not None:
                return found
        return None

    def make(self, connection: duckdb.DuckDBPyConnection, day_us: int, cases: Spans) -> Usual:
        """Bring the digests up to date, and make and keep what was usual before `day_us`."""
        days = [day_us - days * DAY_US for days in range(1, DAYS + 1)]
        there = [day for day in days if self._refresh(connection, day)]
        for part in PARTS:
            files = [self._of(day) / f"{part}.parquet" for day in there]
            listed = from_files(files, PARTS[part].append(pa.field("day", pa.int64())))
            connection.execute(f"CREATE OR REPLACE TEMP VIEW digest_{part} AS SELECT * FROM {listed}")  # noqa: S608 -- ours
        usual = usual_before(connection, day_us, cases)
        self._keep(f"usual={day_of(day_us)}", {name: getattr(usual, name) for name in Usual._fields}, {})
        self._forget(day_us)
        return usual

    def _of(self, day_us: int) -> Path:
        return self._folder / f"date={day_of(day_us)}"

    def _refresh(self, connection: duckdb.DuckDBPyConnection, day_us: int) -> bool:
        """Have the digest of a day as the lake has it; False if the lake has nothing of it."""
        files = files_of(self._lake / f"date={day_of(day_us)}")
        footers = {file: pq.read_metadata(file) for file in files}
        rows = sum(footer.num_rows for footer in footers.values())
        if not rows:
            return self._of(day_us).exists()
        if self._source(day_us) == (str(rows).encode(), _FORMAT):
            return True
        hours = {file: _hours_in(footer) for file, footer in footers.items()}
        made = digest(connection, day_us, _slices(day_us, rows, hours))
        tables = {part: with_day(getattr(made, part), day_us) for part in PARTS}
        self._keep(f"date={day_of(day_us)}", tables, {_ROWS: str(rows).encode(), _VERSION: _FORMAT})
        return True

    def _source(self, day_us: int) -> tuple[bytes, bytes] | None:
        try:
            metadata = pq.read_metadata(self._of(day_us) / "spans.parquet").metadata or {}
        except FileNotFoundError:
            return None
        return metadata.get(_ROWS, b""), metadata.get(_VERSION, b"")

    def _keep(self, name: str, tables: dict[str, pa.Table], metadata: dict[bytes, bytes]) -> None:
        """Write tables into a folder that is there whole or not at all; one that is not there is made again.

        Even after a power cut: what cannot be read would stop the detections until somebody deletes it.
        """
        hidden, path = self._folder / f".{name}.tmp", self._folder / name
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir(mode=0o700, parents=True)
        for part, rows in tables.items():
            half = hidden / f".{part}.tmp"
            pq.write_table(rows.replace_schema_metadata(metadata), half, compression="zstd")
            publish(half, hidden / f"{part}.parquet")
        shutil.rmtree(path, ignore_errors=True)
        hidden.rename(path)
        sync_folder(self._folder)

    def _forget(self, day_us: int) -> None:
        oldest = day_of(day_us - (DAYS + 1) * DAY_US)
        for folder in self._folder.glob("*=*"):
            if folder.name.partition("=")[2] < oldest:
                shutil.rmtree(folder, ignore_errors=True)


def _hours_in(footer: pq.FileMetaData) -> range:
    """The hours that a file has events of."""
    groups = times_in(footer, "ts")
    first, last = min(group.min for group in groups), max(group.max for group in groups)
    return range(first - first % HOUR_US, last + 1, HOUR_US)


def _slices(day_us: int, rows: int, hours: dict[Path, range]) -> Iterator[Slice]:
    """A small day at once, a large one hour by hour."""
    step_us = DAY_US if rows <= _ROWS_AT_ONCE else HOUR_US
    for since_us in range(day_us, day_us + DAY_US, step_us):
        slots = range(since_us, since_us + step_us, HOUR_US)
        here = [file for file, within in hours.items() if any(slot in within for slot in slots)]
        if here:
            yield Slice(since_us, since_us + step_us, from_files(here, SCHEMA))
