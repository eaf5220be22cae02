"""The lake: events as Parquet files in one folder per day, each event exactly once.

A file is named after the place in the journal where it begins. A writer that is killed between the rename
and the note of its position begins there again, and replaces the file with one that holds the same events
and perhaps more. Files of finished days are put together (`events/upkeep.py`): a file says in its metadata which ones
it stands for, so that at any moment `files` names each event once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jackstop.clock import US_PER_S, to_datetime
from jackstop.events.schema import COLUMNS, Event
from jackstop.gate.journal import Flooded, Position, Reader, Record, Recorded

BATCH_BYTES = 32 * 1024 * 1024
REPLACES = b"jackstop.replaces"
"""Key in a file's metadata: the names of the files that it stands for."""
MERGED = "merged-"


class Lookup(Protocol):
    """What adds facts about its address to an event."""

    def enrich(self, event: Event) -> None: ...


def _arrow_type(hint: Any) -> pa.DataType:
    text = str(hint)
    if "str" in text:
        return pa.string()
    return pa.bool_() if "bool" in text else pa.int64()


SCHEMA = pa.schema([(name, _arrow_type(hint)) for name, hint in get_type_hints(Event).items() if name in COLUMNS])


def write(
    journals: Path,
    lake: Path,
    instance: str,
    start: Position,
    lookup: Lookup | None = None,
    until: Position | None = None,
) -> Position:
    """Write one batch of a journal's events from `start` on, not beyond `until`; returns where the next one begins."""
    reader = Reader(journals / instance)
    days: dict[str, list[Event]] = defaultdict(list)
    end = start
    try:
        for here, behind, record in reader.records(start, BATCH_BYTES):
            if until is not None and here >= until:
                break
            event = event_of(record, instance, here, lookup)
            if event is not None:
                days[day_of(event.ts)].append(event)
            end = behind
    finally:
        reader.close()
    for day, events in days.items():
        _write_file(lake / f"date={day}", f"{instance}-{start.segment}-{start.offset}", events)
    return end


def write_read(lake: Path, reading: str, events: Iterable[Event]) -> None:
    """Write the events of one reading of a provider's log; a reading written again keeps what it had."""
    days: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        days[day_of(event.ts)].append(event)
    for day, fresh in days.items():
        folder = lake / f"date={day}"
        _write_file(folder, reading, fresh, _rows_beside(folder / f"{reading}.parquet", fresh))


def _rows_beside(path: Path, fresh: Sequence[Event]) -> pa.Table | None:
    """The rows of a file that are not among these events."""
    if not path.exists():
        return None
    rows = pq.read_table(path).select(SCHEMA.names).cast(SCHEMA)
    return rows.filter(pc.invert(pc.is_in(rows["event_id"], pa.array([event.event_id for event in fresh]))))


def day_of(ts: int) -> str:
    """The UTC day of a time, as folders are named after it."""
    return to_datetime(ts).strftime("%Y-%m-%d")


def event_of(record: Record, instance: str, here: Position, lookup: Lookup | None = None) -> Event | None:
    """The row of a record of an instance's journal: the same for all who read it. None where it is no event."""
    if isinstance(record, Recorded):
        event = record.event
    elif isinstance(record, Flooded):
        event = _flood(record)
    else:
        return None
    event.event_id = f"{instance}-{here.segment}-{here.offset}"
    event.gate_id = instance
    event.seen_ts = event.seen_ts or event.ts + (event.latency_us or 0)
    if lookup is not None:
        lookup.enrich(event)
    return event


def positions_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Position]:
    """How far each journal is in the lake, from the answer to `lake positions`."""
    return {row["instance"]: Position(row["segment"], row["offset"]) for row in rows}


def is_done(file: Path, positions: Mapping[str, Position]) -> bool:
    """Whether all of a file is noted as written, so that nobody will write one of this name again."""
    if file.name.startswith(MERGED):
        return True
    instance, segment, offset = file.stem.rsplit("-", 2)
    position = positions.get(instance)
    return position is None or Position(int(segment), int(offset)) < position


def _flood(record: Flooded) -> Event:
    return Event(
        ts=record.ts,
        src_net=record.net,
        action_class="identity",
        outcome="denied",
        status=401,
        decision="refused",
        reason="unauthorized",
        extra=json.dumps({"count": record.count}),
    )


def _write_file(folder: Path, name: str, events: list[Event], beside: pa.Table | None = None) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    columns = {column: [getattr(event, column) for event in events] for column in COLUMNS}
    table = pa.table(columns, schema=SCHEMA)
    if beside is not None:
        table = pa.concat_tables([beside, table])
    hidden = folder / f".{name}.tmp"
    pq.write_table(table, hidden, compression="zstd")
    publish(hidden, folder / f"{name}.parquet")


def publish(hidden: Path, path: Path) -> None:
    """Bring a written file to the disk, and into its place in one step."""
    with hidden.open("rb") as file:
        os.fsync(file.fileno())
    hidden.chmod(0o600)
    hidden.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def files(lake: Path, since_us: int | None = None, until_us: int | None = None) -> list[Path]:
    """The files of the days from `since_us` to `until_us`, which together hold each event once; oldest day first."""
    first = day_of(since_us) if since_us is not None else ""
    last = day_of(until_us) if until_us is not None else "9999"
    days = [day for day in sorted(lake.glob("date=*")) if first <= day.name.removeprefix("date=") <= last]
    return [file for day in days for file in files_of(day)]


def files_of(folder: Path) -> list[Path]:
    """The files of one day which together hold each event once."""
    found = sorted(folder.glob("*.parquet"))
    replaced = {name for file in found if file.name.startswith(MERGED) for name in replaced_by(file)}
    return [file for file in found if file.name not in replaced]


def replaced_by(file: Path) -> list[str]:
    """The names of the files that one stands for."""
    try:
        parquet = open_file(file)
    except FileNotFoundError:
        return []  # the day was forgotten
    with parquet:
        names: list[str] = json.loads((parquet.metadata.metadata or {}).get(REPLACES, b"[]"))
    return names


def newest_in(footer: pq.FileMetaData, column: str) -> int:
    """The latest time in a column of a file."""
    newest: int = max(group.max for group in times_in(footer, column))
    return newest


def times_in(footer: pq.FileMetaData, column: str) -> list[pq.Statistics]:
    """Of each group of a file's rows, the `min` and `max` of a column."""
    place = footer.schema.to_arrow_schema().get_field_index(column)
    return [footer.row_group(number).column(place).statistics for number in range(footer.num_row_groups)]


def open_file(path: Path, words: Sequence[str] | None = None) -> pq.ParquetFile:
    """Open a file that was listed, though it may have been replaced meanwhile; `words` are read as dictionaries.

    Raises FileNotFoundError.
    """
    try:
        return pq.ParquetFile(path, read_dictionary=words)
    except FileNotFoundError:
        return pq.ParquetFile(hidden_name(path), read_dictionary=words)


def hidden_name(path: Path) -> Path:
    """Where a replaced file lies for a while, so that whoever listed it before can still read it."""
    return path.with_name(f".{path.name}.old")


def forget_old(lake: Path, now_us: int, retention_days: int) -> int:
    """Remove the days that are older than the retention; how many."""
    oldest = to_datetime(now_us - retention_days * 86_400 * US_PER_S).strftime("%Y-%m-%d")
    gone = [folder for folder in lake.glob("date=*") if folder.name.removeprefix("date=") < oldest]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)
