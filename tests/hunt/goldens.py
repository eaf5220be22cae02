"""All tests of all detections as one set of tables: each test in a decade and with names of its own.

So one query for each detection answers all of its tests, on any engine.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.detections.catalogue import Detection, Example
from jackstop.detections.testing import START_US, events_of, rows_of
from jackstop.events.analytics import DAY_US
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import COLUMNS
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA

APART_US = 7 * 60 * DAY_US
"""Further than any detection looks back, and whole weeks."""
PARTS = 4
_TIMES = {"ts", "seen_ts", "minute", "hour", "day", "first_ts", "last_ts", "first_day", "last_day", "created_ts",
          "first_seen", "last_seen", "bucket"}  # fmt: skip
_WHO = {"key_id", "owner", "team", "account", "principal", "credential_id", "provider_key_id", "end_user_fp", "session",
        "entity", "id"}  # fmt: skip
_ACCOUNT = re.compile(r"(?<!\d)\d{4}(?=\d{8}(?!\d))")


class Slot(NamedTuple):
    """Where one test went."""

    number: int
    detection: str
    test: Example

    @property
    def later_us(self) -> int:
        return (self.number + 1) * APART_US


class Goldens(NamedTuple):
    """The Parquet parts, the rows of the other tables, and which test is where."""

    parts: list[Path]
    usage_parts: list[Path]
    rows: dict[str, list[dict[str, Any]]]
    slots: list[Slot]


def slot_of(ts: int) -> int:
    """The number of the test that a time belongs to; tests look at what was before their day too."""
    return (ts - START_US + APART_US // 2) // APART_US - 1


def build(detections: Iterable[Detection], folder: Path) -> Goldens:
    """Write the parts into a folder."""
    slots: list[Slot] = []
    events: list[dict[str, Any]] = []
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for detection in detections:
        for test in detection.about.tests:
            slot = Slot(len(slots), detection.name, test)
            slots.append(slot)
            its_events = [{name: getattr(event, name) for name in COLUMNS} for event in events_of(test)]
            # What is done to somebody, or to a key, has the name of whoever that is.
            known = frozenset(row[name] for row in its_events for name in _WHO & row.keys())
            moved = partial(_moved, slot, known)
            for row in its_events:
                events.append({**moved(row), "event_id": f"e{len(events)}"})
            for table, given in rows_of(test).items():
                rows[table].extend(map(moved, given))
    usage = rows.pop("usage", [])
    return Goldens(
        [_write(folder / f"events-{part}.parquet", events[part::PARTS], SCHEMA) for part in range(PARTS)],
        [_write(folder / "usage.parquet", usage, USAGE_SCHEMA)],
        dict(rows),
        slots,
    )


def _moved(slot: Slot, known: frozenset[str], row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _value(slot, "id" if name == "target_id" and value in known else name, value)
        for name, value in row.items()
    }


def _value(slot: Slot, name: str, value: Any) -> Any:
    if name in _TIMES:
        return value + slot.later_us if value else value
    if not isinstance(value, str) or not value or (name not in _WHO and not _ACCOUNT.search(value)):
        return value
    if _ACCOUNT.search(value):
        return _ACCOUNT.sub(f"{slot.number + 1000}", value)
    if value == "org":
        return value
    kind, colon, rest = value.rpartition(":") if name == "entity" else ("", "", value)
    return f"{kind}{colon}t{slot.number}.{rest}"


def _write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> Path:
    columns = {field.name: [row.get(field.name, _nothing(field)) for row in rows] for field in schema}
    pq.write_table(pa.table(columns, schema=schema), path)
    return path


def _nothing(field: pa.Field) -> int | str:
    return 0 if field.type == pa.int64() else ""
