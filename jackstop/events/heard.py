"""What a provider's log told before: which entries, who was seen on which networks, which key is Jackstop's own.

It is read from the lake once, and kept up with what is read after: a restart knows the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from jackstop.events.analytics import DAY_US
from jackstop.events.lake import MERGED, day_of, files, files_of, open_file
from jackstop.events.positions import AUDIT
from jackstop.events.schema import Event

KNOWN_US = 28 * DAY_US
_SETTLES_US = DAY_US
"""A network is new to somebody for a day, and nobody has a usual one before a day has passed."""
_DAYS = 64
"""Days of which the entries are remembered; of others they are read from the lake."""
_SEEN = ("source", "principal", "principal_kind", "src_net", "ts", "markers", "event_id")

OWN = "own"
"""Marks what Jackstop's own rotations did."""
OWN_KEY = "own_key"
"""Marks what else was done with Jackstop's own key."""
EXPECTED = "expected"
"""Marks a key that was made while Jackstop waited for a person to make one."""
NEW_NETWORK = "new_network"
"""Marks what somebody did from a network on which they had not been seen in four weeks."""


class Heard:
    """Of one source. Networks are by principal, each with the time at which it was first seen."""

    def __init__(self, lake: Path, source: str) -> None:
        self._lake = lake
        self._source = source
        self._ids: dict[str, set[str]] = {}
        self._networks: dict[str, dict[str, int]] = defaultdict(dict)
        self._own: set[str] = set()

    @classmethod
    def load(cls, lake: Path, source: str, now_us: int) -> Heard:
        """What the lake knows of the last four weeks."""
        heard = cls(lake, source)
        for row in _rows(files(lake, now_us - KNOWN_US), source, _SEEN):
            heard._see(row["principal"], row["src_net"], row["ts"])
            if OWN in row["markers"].split(",") and row["principal_kind"] == "api_key":
                heard._own.add(row["principal"])
        return heard

    def _see(self, principal: str, network: str, ts: int) -> None:
        if principal and network:
            seen = self._networks[principal]
            seen[network] = min(ts, seen.get(network, ts))

    def unknown(self, events: Iterable[Event], besides: str) -> list[Event]:
        """Those events, each once, that no file of the lake holds but the one called `besides`."""
        found = {event.event_id: event for event in events}
        return [event for event in found.values() if event.event_id not in self._of(day_of(event.ts), besides)]

    def _of(self, day: str, besides: str) -> set[str]:
        if day not in self._ids:
            others = [file for file in files_of(self._lake / f"date={day}") if file.stem != besides]
            self._ids[day] = {row["event_id"] for row in _rows(others, self._source, ("source", "event_id"))}
            for old in list(self._ids)[:-_DAYS]:
                del self._ids[old]
        return self._ids[day]

    def learn(self, events: Iterable[Event]) -> None:
        """Take in events of a reading that is recorded, and will not be written again."""
        for event in events:
            self._ids.setdefault(day_of(event.ts), set()).add(event.event_id)

    def mark(self, events: Iterable[Event], *, made: Collection[str], own: Collection[str], asked: bool) -> None:
        """Add what follows from what was heard before to the events' markers.

        Whose key made a key that only Jackstop's intents name is Jackstop's own.
        """
        events = list(events)
        for event in events:
            self._see(event.principal, event.src_net, event.ts)
            if event.target_id in made and event.change == "created" and event.principal_kind == "api_key":
                self._own.add(event.principal)
        for event in events:
            found = event.markers.split(",") if event.markers else []
            if event.principal in self._own:
                found.append(OWN if event.target_id in own else OWN_KEY)
            elif asked and event.target_kind == "api_key" and event.principal_kind == "user":
                found.append(EXPECTED)
            if self._is_new(event):
                found.append(NEW_NETWORK)
            event.markers = ",".join(found)

    def _is_new(self, event: Event) -> bool:
        networks: Mapping[str, int] = self._networks.get(event.principal, {})
        since_us = networks.get(event.src_net)
        if since_us is None or event.ts - since_us >= _SETTLES_US:
            return False
        return any(first_us <= since_us - _SETTLES_US for first_us in networks.values())


def _rows(named: Iterable[Path], source: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of one source in files that may have any; groups of rows of other sources are not read."""
    for file in named:
        if not file.name.startswith((f"{AUDIT}.", MERGED)):
            continue
        try:
            with open_file(file) as parquet:
                groups = [number for number in range(parquet.num_row_groups) if _may_have(parquet, number, source)]
                if not groups:
                    continue
                rows = parquet.read_row_groups(groups, columns=list(columns))
        except FileNotFoundError:
            continue  # the day was forgotten
        # A group of rows may hold many more of the gates.
        yield from rows.filter(pc.equal(rows["source"], source)).to_pylist()


def _may_have(parquet: pq.ParquetFile, number: int, source: str) -> bool:
    place = parquet.schema_arrow.get_field_index("source")
    found = parquet.metadata.row_group(number).column(place).statistics
    return found is None or not found.has_min_max or found.min <= source <= found.max
