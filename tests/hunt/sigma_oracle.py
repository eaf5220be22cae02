"""Which records a Sigma rule means, as another program says: pySigma's own SQL for SQLite, on the raw records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jackstop.events.sources.entry import event_id
from jackstop.hunt.sigma.translate import Made


def records_in(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The CloudTrail records in the JSON files of some folders, each once."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            for record in _in(json.loads(path.read_text(encoding="utf-8"))):
                if "eventVersion" in record and "eventID" in record:
                    found[record["eventID"]] = record
    return list(found.values())


def _in(document: Any) -> list[Any]:
    return document.get("Records", []) if isinstance(document, dict) else document


class Oracle:
    """The records as a table of SQLite with a column for each field; case does not matter, as in Sigma."""

    def __init__(self, records: list[dict[str, Any]], fields: Iterable[str]) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute("CREATE TABLE logs (event_id TEXT)")
        names = list(fields)
        for field in names:
            self._connection.execute(f'ALTER TABLE logs ADD COLUMN "{field}" TEXT COLLATE NOCASE')
        marks = ", ".join("?" for _ in ("event_id", *names))
        rows = [(event_id("aws", each["eventID"]), *(_at(each, name) for name in names)) for each in records]
        self._connection.executemany(f"INSERT INTO logs VALUES ({marks})", rows)

    def meant_by(self, rule: str) -> set[str]:
        """The ids of the events that a rule means."""
        from sigma.backends.sqlite import sqliteBackend
        from sigma.collection import SigmaCollection

        (sql,) = sqliteBackend().convert(SigmaCollection.from_yaml(rule))
        return {row[0] for row in self._connection.execute(sql)}


def _at(record: Any, name: str) -> str | None:
    for part in name.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    if record is None or isinstance(record, str):
        return record
    return json.dumps(record)


def condition_of(made: Made) -> str:
    """What stands behind WHERE in a detection that was made of a rule."""
    return made.sql.partition("WHERE ")[2].rpartition("\nGROUP BY")[0]
