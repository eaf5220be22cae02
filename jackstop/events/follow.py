"""Follows every gate's journal in memory: the events that the lake will hold, seconds earlier.

Control deletes segments that are in the lake; the lake is therefore never written beyond what was followed, for as
long as somebody follows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from jackstop.events.lake import Lookup, event_of
from jackstop.events.schema import Event
from jackstop.gate.journal import START, Position, Reader

READ_BYTES = 8 * 1024 * 1024
MAX_WAITING = 100_000
"""Events that wait to be taken; beyond it reading stops, and the lake with it, until some are taken."""


class Follow:
    """Reads on in the journals, from where the lake stands. Its methods may be called from several threads."""

    def __init__(self, journals: Path, lookup: Lookup | None = None) -> None:
        self._journals = journals
        self._lookup = lookup
        self._lock = threading.Lock()
        self._following = False
        self._readers: dict[str, Reader] = {}
        self._places: dict[str, Position] = {}
        self._waiting: list[Event] = []

    def begin(self, positions: Mapping[str, Position]) -> None:
        """Start each named journal at its position in the lake; one that appears later starts at its beginning."""
        with self._lock:
            self._reset()
            self._places = dict(positions)
            self._following = True

    def end(self) -> None:
        """Nobody follows any more: the lake goes on without."""
        with self._lock:
            self._reset()
            self._following = False

    def read(self) -> None:
        """Read what has been recorded since the last time, as far as not too much waits."""
        with self._lock:
            if self._following:
                self._meet()
                for instance in self._readers:
                    self._read_on(instance)

    def take(self) -> list[Event]:
        """What was read and not taken yet."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            return taken

    def place(self, instance: str) -> Position | None:
        """How far a journal was read; None when nobody follows."""
        with self._lock:
            return self._places.get(instance, START) if self._following else None

    def _reset(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._places.clear()
        self._waiting = []

    def _meet(self) -> None:
        """Journals come with new gates, and go when control has buried a dead one."""
        there = {folder.name for folder in self._journals.iterdir() if folder.is_dir()}
        for name in [name for name in self._readers if name not in there]:
            self._readers.pop(name).close()
            self._places.pop(name, None)
        for name in sorted(there.difference(self._readers)):
            self._readers[name] = Reader(self._journals / name)

    def _read_on(self, instance: str) -> None:
        reader, place = self._readers[instance], max(START, self._places.get(instance, START))
        before = None
        while place != before and len(self._waiting) < MAX_WAITING:
            before = place
            for here, behind, record in reader.records(place, READ_BYTES):
                event = event_of(record, instance, here, self._lookup)
                if event is not None:
                    self._waiting.append(event)
                place = behind
            self._places[instance] = place
