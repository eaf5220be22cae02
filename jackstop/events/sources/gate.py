"""Jackstop's own events as `jackstop events export --format ndjson` prints them; Parquet of the lake is read as is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jackstop.events.schema import COLUMNS, Event
from jackstop.events.sources.entry import Origin, UnreadableEntry, shaped, valid

PROVIDER = ""
"""The one that each event names."""
SHAPE = dict[str, Any]
LISTS: tuple[str, ...] = ()
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "events"
CONTENT: tuple[str, ...] = ()
"""An event has none. A field that is no column is not read."""

_GATE = "gate"
_HEAD = ("event_id", "ts", "seen_ts", "source", "gate_id", "decision")
_LONGEST = 4_096


def claims(record: Any) -> bool:
    """Whether it is a row of the export."""
    return isinstance(record, dict) and all(name in record for name in _HEAD)


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event as it was. Raises UnreadableEntry, also for one that came from another log: that log has it itself."""
    given = {name: value for name, value in entry.items() if name in COLUMNS and value is not None}
    if any(isinstance(value, str) and len(value) > _LONGEST for value in given.values()):
        raise UnreadableEntry("a text of it is longer than any that an event has")
    event = shaped(given, Event)
    if event.source != _GATE:
        raise UnreadableEntry("it is an event from another log: hunt that log, or the lake's own files")
    valid(event.event_id, event.ts, origin)
    if any(isinstance(value, int) and abs(value) >> 62 for value in msgspec.structs.astuple(event)):
        raise UnreadableEntry("a number of it is beyond all measure")
    return event
