"""Upkeep of the lake: the files of a finished day become one, and addresses go when they are too old.

Each step leaves the lake whole, and a step that was killed is done again:

1. A merged file is written under a hidden name and renamed; its metadata names the files that it stands for, which
   `lake.files` leaves out from that moment on.
2. Those are renamed to hidden names, where whoever listed them before still finds them.
3. After an hour they are deleted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.events.analytics import DAY_US, HOUR_US
from jackstop.events.lake import MERGED, REPLACES, SCHEMA, day_of, files_of, hidden_name, is_done, publish, replaced_by
from jackstop.gate.journal import Position

BLANKED = b"jackstop.blanked"
ADDRESS_COLUMNS = ("src_ip", "src_raw", "user_agent")
_FINISHED_US = HOUR_US
_LINGER_S = 3_600.0
_GROUP_ROWS = 100_000


def tidy(lake: Path, now_us: int, positions: Mapping[str, Position], address_retention_days: int) -> int:
    """Do what is due in every day's folder; the number of files written.

    `positions` say how far each journal that is still there was written: a file that begins at or beyond it may be
    written again, and is left alone.
    """
    finished = day_of(now_us - _FINISHED_US)
    faceless = day_of(now_us - address_retention_days * DAY_US)
    done = 0
    for folder in sorted(lake.glob("date=*")):
        day = folder.name.removeprefix("date=")
        _finish(folder)
        if day < finished:
            done += compact(folder, positions)
        if day < faceless:
            done += sum(_blank(file) for file in files_of(folder) if is_done(file, positions))
    return done


def _finish(folder: Path) -> None:
    """Complete what was begun: hide what is replaced, delete what was hidden an hour ago or left half written."""
    for file in sorted(folder.glob(f"{MERGED}*.parquet")):
        for name in replaced_by(file):
            _hide(folder / name)
    oldest = time.time() - _LINGER_S
    for file in (*folder.glob(".*.old"), *folder.glob(".*.tmp")):
        if file.stat().st_ctime < oldest:
            file.unlink(missing_ok=True)


def _hide(path: Path) -> None:
    if path.exists():
        path.rename(hidden_name(path))


def compact(folder: Path, positions: Mapping[str, Position]) -> int:
    """Put the files of one day together; 1 if that was needed."""
    parts = [file for file in files_of(folder) if is_done(file, positions)]
    if len(parts) < 2:
        return 0
    parts.sort(key=lambda file: (file.stat().st_mtime_ns, file.name))
    number = 1 + max((int(file.stem.removeprefix(MERGED)) for file in folder.glob(f"{MERGED}*.parquet")), default=0)
    blanked = all(_is_blanked(file) for file in parts)
    replaced = json.dumps([file.name for file in parts]).encode()
    path = folder / f"{MERGED}{number}.parquet"
    _write(path, _rows_of(parts), {REPLACES: replaced} | ({BLANKED: b"1"} if blanked else {}))
    for part in parts:
        _hide(part)
    return 1


def _rows_of(parts: Iterable[Path]) -> Iterator[pa.Table]:
    """The rows of some files, in groups that are worth one."""
    waiting: list[pa.Table] = []
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_GROUP_ROWS):
                waiting.append(pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA))
                if sum(rows.num_rows for rows in waiting) >= _GROUP_ROWS:
                    yield pa.concat_tables(waiting)
                    waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _write(path: Path, tables: Iterable[pa.Table], metadata: dict[bytes, bytes]) -> None:
    hidden = path.with_name(f".{path.stem}.tmp")
    with pq.ParquetWriter(hidden, SCHEMA, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    publish(hidden, path)


def _is_blanked(file: Path) -> bool:
    return BLANKED in (pq.read_metadata(file).metadata or {})


def _blank(file: Path) -> int:
    """Take addresses and user agents out of a file; 1 if they were in it."""
    metadata = pq.read_metadata(file).metadata or {}
    if BLANKED in metadata:
        return 0
    kept = {REPLACES: metadata[REPLACES]} if REPLACES in metadata else {}
    _write(file, map(_without_addresses, _rows_of([file])), kept | {BLANKED: b"1"})
    return 1


def _without_addresses(rows: pa.Table) -> pa.Table:
    for name in ADDRESS_COLUMNS:
        empty = pa.array([""] * rows.num_rows, pa.string())
        rows = rows.set_column(rows.schema.get_field_index(name), SCHEMA.field(name), empty)
    return rows
