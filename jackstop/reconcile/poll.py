"""The worker's thread that reads providers' reports when they are due, and compares them with the books at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from jackstop.clock import Clock
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.providers.drivers import deepseek
from jackstop.providers.drivers.driver import Administration, Bucket, CallFailed
from jackstop.reconcile.desk import Desk, Result
from jackstop.reconcile.logs import LogDesk, read_logs
from jackstop.reconcile.material import DAY_US, MINUTE_US, Reading, Stored, Watched, place_of
from jackstop.reconcile.sources import usage_of
from jackstop.reconcile.spent import finding_of
from jackstop.secret import Secret

POLL_S = 2.0
_STOP_S = 5.0
_LONGEST_BALANCE = 60
"""Minutes. Over a longer time nobody knows whether money came in as well."""

log = logging.getLogger(__name__)


class Poller:
    """Runs between `start` and `stop`. Providers do not wait for each other; comparisons do."""

    def __init__(self, ask: Ask, lake: Path, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._desk = Desk(ask, lake)
        self._logs = LogDesk(ask, self._desk, lake)
        self._comparing = threading.Lock()
        self._busy: dict[tuple[str, str], threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no more, and give what is under way a moment. What is cut off is read again."""
        self._stopping.set()
        with self._lock:
            threads = [self._thread, *self._busy.values()]
        for thread in threads:
            thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except (UserError, OSError) as error:
                log.warning("reconciling waits: %s", error)
            except Exception:
                log.exception("reconciling failed, and goes on")
            self._stopping.wait(POLL_S)

    def step(self) -> int:
        """Begin the readings that are due; how many."""
        due = [msgspec.convert(each, Reading) for each in self._ask("reconcile take", {})["readings"]]
        for reading in due:
            name = reading.administration, reading.kind
            with self._lock:
                if name in self._busy:
                    continue
                thread = threading.Thread(target=self._do, args=(reading,), name="reading", daemon=True)
                thread.start()  # it ends by taking itself out, for which it needs the lock
                self._busy[name] = thread
        return len(due)

    def wait(self) -> None:
        """Wait for the end of what is under way."""
        with self._lock:
            threads = list(self._busy.values())
        for thread in threads:
            thread.join()

    def _do(self, reading: Reading) -> None:
        try:
            self.read(reading)
        except (UserError, OSError) as error:
            log.warning("what %s reports could not be compared: %s", reading.administration, error)
        except Exception as error:
            # Its text may quote what was being sent.
            log.error("reading %s failed inside: %s", reading.administration, type(error).__name__)  # noqa: TRY400 -- as above
            self._failed_inside(reading, type(error).__name__)
        finally:
            with self._lock:
                del self._busy[reading.administration, reading.kind]

    def _failed_inside(self, reading: Reading, what: str) -> None:
        """Control is told, so that people are if it stays so."""
        said = {"administration": reading.administration, "kind": reading.kind, "problem": f"it failed inside ({what})"}
        with suppress(UserError, OSError):
            self._ask("reconcile read", said)

    def read(self, reading: Reading) -> list[Result]:
        """Read one report, write it down, and compare what it is about."""
        if reading.kind == "requests":
            self._match(reading)
            return []
        said: dict[str, Any] = {"administration": reading.administration, "kind": reading.kind}
        try:
            rows, said["cursor"] = _balance(reading) if reading.kind == "balance" else (_buckets(reading), "")
        except (CallFailed, UserError) as error:
            self._failed(reading, error)
            return []
        with self._comparing:
            now_us = self._clock.now_us()
            self._desk.take_in(reading.administration, rows, now_us)
            self._ask("reconcile read", said)
            self._desk.forget(reading.administration, now_us - 4 * DAY_US)
            with self._comparison(reading):
                found = self._desk.compare(lambda each: _is_about(each, reading), now_us)
                for result in found:
                    self._report(result)
        return found

    @contextmanager
    def _comparison(self, reading: Reading) -> Iterator[None]:
        """Control is told whether a report that was read could be compared as well: people are if it stays so."""
        about = {"administration": reading.administration, "kind": reading.kind}
        try:
            yield
        except Exception as error:
            what = error.problem if isinstance(error, UserError) else f"it failed inside ({type(error).__name__})"
            with suppress(UserError, OSError):
                self._ask("reconcile compared", {**about, "problem": what})
            raise
        self._ask("reconcile compared", about)

    def _match(self, reading: Reading) -> None:
        """Read the logs of single requests, and match them with the lake's."""
        try:
            pages, cursor = read_logs(reading)
        except (CallFailed, UserError) as error:
            self._failed(reading, error)
            return
        with self._comparing, self._comparison(reading):
            self._logs.compare(reading, pages, cursor, self._clock.now_us())

    def _failed(self, reading: Reading, error: CallFailed | UserError) -> None:
        log.warning("%s of %s: %s", reading.kind, reading.administration, error.problem)
        after_s = error.after_s if isinstance(error, CallFailed) else 0
        about = {"administration": reading.administration, "kind": reading.kind}
        self._ask("reconcile read", {**about, "problem": error.problem, "after_s": after_s})

    def _report(self, result: Result) -> None:
        detail = msgspec.to_builtins(result.judgement)
        finding = detail.pop("finding")
        detail["drifts"] = msgspec.to_builtins(result.drifts)
        detail["spent"] = msgspec.to_builtins(result.spent)
        days = [finding_of(result.watched, day) for day in result.spent]
        findings = [finding, *(msgspec.to_builtins(each) for each in days)]
        said = {"credential": result.watched.name, "detail": detail}
        self._ask("reconcile judged", {**said, "findings": [each for each in findings if each is not None]})


def _is_about(watched: Watched, reading: Reading) -> bool:
    """Costs are about everything that is reported of the same administration."""
    kinds = {watched.kind, "costs"} if watched.kind == "usage" else {watched.kind}
    return watched.administration == reading.administration and reading.kind in kinds


def _buckets(reading: Reading) -> list[Stored]:
    source = usage_of(reading.driver)
    assert source is not None, "control asks for nothing else"
    admin = Administration(reading.driver, reading.base_url, reading.options, Secret(reading.secret), reading.ca)
    call = source.costs if reading.kind == "costs" else source.usage
    return [
        Stored(reading.kind, place, bucket)
        for place in reading.places
        for bucket in call(admin, place_of(place), reading.since_us, reading.until_us)
    ]


def _balance(reading: Reading) -> tuple[list[Stored], str]:
    """What the balance has fallen by since it was read before. Money that came in makes a new beginning.

    The cursor is the minute up to which that was booked, and the balance, in nano-dollars.
    """
    left = deepseek.balance(reading.base_url, Secret(reading.secret), reading.ca)
    if "USD" not in left:
        raise CallFailed("invalid", f"the balance is in {', '.join(sorted(left)) or 'no currency'}, not in dollars")
    minute = reading.until_us // MINUTE_US
    stands = f"{minute} {left['USD']}"
    if not reading.cursor:
        return [], stands
    since, before = (int(part) for part in reading.cursor.split())
    fell = before - left["USD"]
    if minute <= since:
        return [], reading.cursor
    if fell < 0 or minute - since > _LONGEST_BALANCE:
        return [], stands
    bucket = Bucket(since * MINUTE_US, (minute - since) * MINUTE_US, cost_nusd=fell)
    return [Stored("balance", reading.places[0], bucket)], stands
