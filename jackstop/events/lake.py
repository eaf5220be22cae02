"""The lake: events as Parquet files in one folder per day, each event exactly once.

A file is named after the place in the journal where it begins. A writer that is killed between the rename
and the note of its position begins there again, and replaces the file with one that holds the same events
and perhaps more.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.clock import US_PER_S, to_datetime
from jackstop.events.schema import COLUMNS, Event
from jackstop.gate.journal import Flooded, Position, Reader, Record, Recorded

BATCH_BYTES = 32 * 1024 * 1024


def _arrow_type(hint: Any) -> pa.DataType:
    text = str(hint)
    if "str" in text:
        return pa.string()
    return pa.bool_() if "bool" in text else pa.int64()


SCHEMA = pa.schema([(name, _arrow_type(hint)) for name, hint in get_type_hints(Event).items() if name in COLUMNS])


def write(journals: Path, lake: Path, instance: str, start: Position) -> Position:
    """Write one batch of a journal's events from `start` on; returns where the next one begins."""
    reader = Reader(journals / instance)
    days: dict[str, list[Event]] = defaultdict(list)
    end = start
    try:
        for here, behind, record in reader.records(start, BATCH_BYTES):
            event = _event_of(record)
            if event is not None:
                event.event_id = f"{instance}-{here.segment}-{here.offset}"
                event.gate_id = instance
                event.seen_ts = event.seen_ts or event.ts
                days[to_datetime(event.ts).strftime("%Y-%m-%d")].append(event)
            end = behind
    finally:
        reader.close()
    for day, events in days.items():
        _write_file(lake / f"date={day}", f"{instance}-{start.segment}-{start.offset}", events)
    return end


def _event_of(record: Record) -> Event | None:
    if isinstance(record, Recorded):
        return record.event
    if isinstance(record, Flooded):
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
    return None


def _write_file(folder: Path, name: str, events: list[Event]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    columns = {column: [getattr(event, column) for event in events] for column in COLUMNS}
    table = pa.table(columns, schema=SCHEMA)
    hidden = folder / f".{name}.tmp"
    pq.write_table(table, hidden, compression="zstd")
    with hidden.open("rb") as file:
        os.fsync(file.fileno())
    hidden.chmod(0o600)
    hidden.rename(folder / f"{name}.parquet")
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def forget_old(lake: Path, now_us: int, retention_days: int) -> int:
    """Remove the days that are older than the retention; how many."""
    oldest = to_datetime(now_us - retention_days * 86_400 * US_PER_S).strftime("%Y-%m-%d")
    gone = [folder for folder in lake.glob("date=*") if folder.name.removeprefix("date=") < oldest]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)
