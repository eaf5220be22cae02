"""Events that stand in no journal on their way to the detections, once they are in the lake."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from jackstop.events.schema import Event

MAX_WAITING = 100_000
"""Events that wait to be taken; beyond it no more are read from where they come."""


class Inbox:
    """Filled by whoever writes the lake, with its lock held. Its methods may be called from several threads.

    What comes while nobody takes is not kept: whoever begins reads the lake.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._waiting: list[Event] = []

    def begin(self) -> None:
        """Somebody takes from now on; to be called with the lake's lock held."""
        with self._lock:
            self._waiting, self._open = [], True

    def end(self) -> None:
        """Nobody takes any more."""
        with self._lock:
            self._waiting, self._open = [], False

    def add(self, events: Iterable[Event]) -> None:
        """Hand over events that the lake holds, each once."""
        with self._lock:
            if self._open:
                self._waiting += events

    def take(self) -> list[Event]:
        """What came and was not taken yet."""
        with self._lock:
            taken, self._waiting = self._waiting, []
            return taken

    @property
    def full(self) -> bool:
        """Whether so much waits that no more should come."""
        with self._lock:
            return len(self._waiting) >= MAX_WAITING
