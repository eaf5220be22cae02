"""The detections' loop: follows the journals, keeps the warehouse, runs cycles, and reports what they find.

All its state follows from the lake, the journals and the store, so that a loop that was killed, or that failed, begins
anew and finds again what it had not reported. Findings are taken once, however often they are reported.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import duckdb
import msgspec

from jackstop.cases.finding import Finding
from jackstop.clock import Clock
from jackstop.control.client import Ask
from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import KEEP_US, LIVE, Engine
from jackstop.errors import UserError
from jackstop.events.analytics import DAY_US
from jackstop.events.baselines import Usual
from jackstop.events.digests import Digests
from jackstop.events.follow import Follow
from jackstop.events.inbox import Inbox
from jackstop.events.lake import positions_of
from jackstop.events.reading import connect
from jackstop.events.warehouse import Warehouse
from jackstop.money import NUSD_PER_USD
from jackstop.settings import Home, Settings

INVENTORY_INTERVAL_US = 30_000_000
_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0
_STOP_S = 5.0
_REPORT_FINDINGS = 100
_RAMPS = 500
_RAMPS_MB = 64
_RAMP_TIMES = 3

log = logging.getLogger(__name__)


class Watch:
    """Runs in a thread of its own between `start` and `stop`. `writing` is held by whoever writes the lake.

    `inbox` is where events come that stand in no journal.
    """

    def __init__(
        self,
        home: Home,
        settings: Settings,
        ask: Ask,
        follow: Follow,
        writing: threading.Lock,
        clock: Clock,
        inbox: Inbox | None = None,
    ) -> None:
        self._home = home
        self._settings = settings
        self._ask = ask
        self._follow = follow
        self._writing = writing
        self._clock = clock
        self._inbox = inbox or Inbox()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._learned: tuple[int, Usual] | None = None
        self._round: Round | None = None
        self._retry_s = _RETRY_S
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.on_round: Callable[[], None] = lambda: None
        """Called after each round that went well."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """End; whether it has ended."""
        self._stopping.set()
        running = self._round
        if running is not None:
            with contextlib.suppress(duckdb.Error):  # it is closed
                running.warehouse.connection.interrupt()
        self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def learn(self, day_us: int, usual: Usual) -> None:
        """Hand over what was usual before a day; the next round takes it."""
        with self._lock:
            self._learned = (day_us, usual)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._go_on()
            except (UserError, OSError) as error:
                log.warning("the detections begin anew: %s", error)
            except Exception:
                if not self._stopping.is_set():
                    log.exception("the detections failed, and begin anew")
            finally:
                self._follow.end()
                self._inbox.end()
            self._stopping.wait(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)

    def _go_on(self) -> None:
        self._round = Round(self._home, self._settings, self._ask, self._follow, self._clock, self._inbox)
        try:
            self._round.begin(self._writing)
            while not self._stopping.is_set():
                began_us = self._clock.boot_us()
                try:
                    learned = self._learned
                    self._round.run(learned)
                    self._forget(learned)
                    self.on_round()
                except UserError as error:
                    log.warning("the detections wait: %s", error)
                self._retry_s = _RETRY_S
                took_s = (self._clock.boot_us() - began_us) / 1_000_000
                self._stopping.wait(max(0.0, self._settings.detections.cadence_s - took_s))
        finally:
            self._round.close()
            self._round = None

    def _forget(self, learned: tuple[int, Usual] | None) -> None:
        """A round that failed is given the same again, in whichever life of the loop."""
        with self._lock:
            if self._learned is learned:
                self._learned = None


class Round:
    """One life of the loop: from nothing, through its rounds, until something fails."""

    def __init__(
        self, home: Home, settings: Settings, ask: Ask, follow: Follow, clock: Clock, inbox: Inbox | None = None
    ) -> None:
        self._ask = ask
        self._follow = follow
        self._inbox = inbox or Inbox()
        self._clock = clock
        self._lake = home.lake
        self._digests = Digests(home.rollups, home.lake)
        self.warehouse = Warehouse(settings.detections.memory_mb)
        self._engine = Engine(shipped(), settings.detections.off, sources=LIVE)
        self._epoch = 0
        self._inventory_us = 0
        self._unreported: dict[str, Finding] = {}
        self._failing: list[str] | None = None

    def begin(self, writing: threading.Lock) -> None:
        """Take an epoch, and rebuild what the loop before knew."""
        self._epoch = self._ask("worker begin", {})["epoch"]
        with writing:
            positions = positions_of(self._ask("lake positions", {}))
            self._follow.begin(positions)
            self._inbox.begin()
        now_us = self._clock.now_us()
        self.warehouse.restore(self._lake, now_us, positions)
        day_us = now_us - now_us % DAY_US
        usual = self._digests.stored(day_us) or self._digests.latest(day_us)
        if usual is not None:
            self.warehouse.begin_day(day_us, *usual)
        recent = self._ask("findings recent", {"since_us": now_us - KEEP_US})
        self._engine.restore(self.warehouse.connection, recent)

    def run(self, learned: tuple[int, Usual] | None = None) -> None:
        """One round: what is new, what that shows, and who is told.

        Raises UserError when control is away; the next round, given the same `learned`, then does what is left.
        """
        now_us = self._clock.now_us()
        self._follow.read()
        self.warehouse.feed(self._follow.take() + self._inbox.take())
        if learned is not None:
            self.warehouse.begin_day(learned[0], *learned[1])
        self.warehouse.tend(now_us)
        if now_us - self._inventory_us >= INVENTORY_INTERVAL_US:
            self._take_stock()
            self._inventory_us = now_us
        oldest_us = self.warehouse.take_oldest() if learned is None else 0
        for finding in self._engine.cycle(self.warehouse.connection, now_us, oldest_us):
            self._unreported[finding.uid] = finding
        self._report()
        if (failing := self._engine.failing) != self._failing:
            self._ask("worker failing", {"epoch": self._epoch, "detections": failing})
            self._failing = failing
        if learned is not None:
            self._send_ramps(*learned)

    def _take_stock(self) -> None:
        rows: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page = self._ask("worker inventory", {"after": after})
            rows += page["rows"]
            after = page["after"]
        self.warehouse.set_table("inventory", rows)
        allowed = self._ask("detections allowed", {})
        self.warehouse.set_table("allow", [{**row, "until_ts": row["until_us"] or 0} for row in allowed])

    def _send_ramps(self, day_us: int, usual: Usual) -> None:
        """Give each key whose baseline is mature its allowance, in batches that together cover all keys."""
        ramps = ramps_of(usual)
        after = ""
        for start in range(0, max(1, len(ramps)), _RAMPS):
            part = ramps[start : start + _RAMPS]
            through = part[-1][0] if start + _RAMPS < len(ramps) else ""
            args = {"epoch": self._epoch, "day": day_us, "ramps": part, "after": after, "through": through}
            self._ask("worker baselines", args)
            after = through

    def _report(self) -> None:
        waiting = list(self._unreported.values())
        for start in range(0, len(waiting), _REPORT_FINDINGS):
            part = waiting[start : start + _REPORT_FINDINGS]
            self._ask("findings report", {"epoch": self._epoch, "findings": msgspec.to_builtins(part)})
            for finding in part:
                del self._unreported[finding.uid]

    def close(self) -> None:
        self.warehouse.close()


def ramps_of(usual: Usual) -> list[list[Any]]:
    """The allowance of ten minutes of each mature key: three times the most that it ever had, and a dollar at least."""
    with connect(_RAMPS_MB) as connection:
        connection.register("baselines", usual.baselines)
        rows = connection.execute(
            "SELECT entity, cost_10m_max_nusd FROM baselines WHERE scope = 'key' AND mature = 1 ORDER BY entity"
        ).fetchall()
    return [[key, max(NUSD_PER_USD, _RAMP_TIMES * nusd)] for key, nusd in rows]
