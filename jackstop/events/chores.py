"""What the worker does beside: hourly the lake's upkeep, daily what was usual, the cost digest and what hunts left."""

from __future__ import annotations

import contextlib
import logging
import threading

import duckdb

from jackstop.clock import US_PER_S, Clock
from jackstop.control.client import Ask
from jackstop.cost.spend import send_if_due
from jackstop.errors import UserError
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.events.baselines import DAYS
from jackstop.events.digests import Digests
from jackstop.events.lake import forget_old, positions_of
from jackstop.events.reading import connect
from jackstop.events.upkeep import tidy
from jackstop.events.watch import Watch
from jackstop.hunt import keeping
from jackstop.settings import Home, Settings

_INTERVAL_S = 5.0
_STOP_S = 5.0
_MEMORY_SHARE = 2
"""The digests get this part of the detections' memory, and a folder to spill into."""

log = logging.getLogger(__name__)


class Chores:
    """Runs between `start` and `stop`."""

    def __init__(self, home: Home, settings: Settings, ask: Ask, watch: Watch, clock: Clock) -> None:
        self._home = home
        self._settings = settings
        self._ask = ask
        self._watch = watch
        self._clock = clock
        self._digests = Digests(home.rollups, home.lake)
        self._stopping = threading.Event()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._tidied_us = 0
        self._learned_us = 0
        self._asked_us = 0
        self._swept_us = 0
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)
        self.written_us = 0
        """When the lake was last written to the journals' ends; set by whoever writes it."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """End; whether it has ended."""
        self._stopping.set()
        running = self._connection
        if running is not None:
            with contextlib.suppress(duckdb.Error):  # it is closed
                running.interrupt()
        self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self.do(self._clock.now_us())
            except (UserError, OSError) as error:
                log.warning("the upkeep of the lake waits: %s", error)
            except Exception:
                if not self._stopping.is_set():
                    log.exception("the upkeep of the lake failed")

    def do(self, now_us: int) -> None:
        """What is due."""
        day_us = now_us - now_us % DAY_US
        # Everything that was recorded by midnight must be in the lake.
        if self._learned_us < day_us and self.written_us > day_us + US_PER_S:
            self._learn(day_us)
            self._learned_us = day_us
        if now_us - self._tidied_us >= HOUR_US and self.written_us:
            lake = self._settings.lake
            positions = positions_of(self._ask("lake positions", {}))
            tidy(self._home.lake, now_us, positions, lake.address_retention_days)
            forget_old(self._home.lake, now_us, lake.retention_days)
            self._tidied_us = now_us
        if self._learned_us == day_us and now_us - self._asked_us >= MINUTE_US:
            send_if_due(self._ask, self._home.lake)
            self._asked_us = now_us
        if now_us - self._swept_us >= DAY_US:
            keeping.tidy(self._home, now_us, self._settings.lake.address_retention_days)
            self._swept_us = now_us

    def _learn(self, day_us: int) -> None:
        usual = self._digests.stored(day_us)
        if usual is None:
            cases = self._ask("cases spans", {"since_us": day_us - DAYS * DAY_US})
            memory_mb = self._settings.detections.memory_mb // _MEMORY_SHARE
            with connect(memory_mb, self._home.rollups / ".spill") as self._connection:
                usual = self._digests.make(self._connection, day_us, [tuple(span) for span in cases])
            self._connection = None
        self._watch.learn(day_us, usual)
