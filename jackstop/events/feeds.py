"""The worker's thread that reads providers' audit logs: their entries become events of the lake and of the detections.

A reading is written under the name of the moment at which it counts from, and then recorded in control. A worker that
is killed in between reads the same again, which makes the same events under the same name; what any other reading has
brought already is left out.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec

from jackstop.clock import Clock
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.events import sources
from jackstop.events.heard import Heard
from jackstop.events.inbox import Inbox
from jackstop.events.lake import Lookup, write_read
from jackstop.events.positions import reading_of
from jackstop.events.sources.entry import Origin
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Administration, AuditPage, CallFailed
from jackstop.secret import Secret
from jackstop.settings import Home

POLL_S = 1.0
_STOP_S = 5.0


log = logging.getLogger(__name__)


class Reading(msgspec.Struct, frozen=True):
    """One reading that is due, as control hands it out over a socket that only this user can open.

    `from_us` is the moment from which it counts, and `since_us` where the log is begun without a cursor. `made` are
    the ids of keys that Jackstop made there itself, `own` those and the others that it keeps; `asked` says that a
    person was asked for a key.
    """

    administration: str
    driver: str
    base_url: str
    options: dict[str, str]
    secret: str
    source: str
    cursor: str
    from_us: int
    since_us: int
    made: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    asked: bool = False
    ca: str = ""

    def __repr__(self) -> str:
        return f"Reading({self.administration!r}, {self.from_us})"


class Feeds:
    """Runs between `start` and `stop`. `writing` is held by whoever writes the lake."""

    def __init__(
        self, home: Home, ask: Ask, inbox: Inbox, writing: threading.Lock, clock: Clock, lookup: Lookup | None = None
    ) -> None:
        self._lake = home.lake
        self._ask = ask
        self._inbox = inbox
        self._writing = writing
        self._clock = clock
        self._lookup = lookup
        self._heard: dict[str, Heard] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeds", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """End; whether it has ended. What is cut off is read again."""
        self._stopping.set()
        self._thread.join(_STOP_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.step()
            except (UserError, OSError) as error:
                log.warning("the audit logs wait: %s", error)
            except Exception as error:
                # Its text may quote what was being sent.
                log.error("the audit logs failed inside, and go on: %s", type(error).__name__)  # noqa: TRY400 -- as above

    def step(self) -> int:
        """Read what is due; how many events were new."""
        if self._inbox.full:
            return 0
        due = [msgspec.convert(each, Reading) for each in self._ask("feeds take", {})]
        return sum(self._try(reading) for reading in due if not self._stopping.is_set())

    def _try(self, reading: Reading) -> int:
        """Read, and have control know of a failure that nobody thought of: it waits, and the others do not."""
        try:
            return self._read(reading)
        except UserError:
            raise
        except Exception as error:
            what = type(error).__name__  # its text may quote what was being sent
            log.error("the audit log of %s failed inside: %s", reading.administration, what)  # noqa: TRY400 -- as above
            about = {"administration": reading.administration, "from_us": reading.from_us}
            self._ask("feeds record", {**about, "problem": f"it failed inside ({what})"})
            return 0

    def _read(self, reading: Reading) -> int:
        about = {"administration": reading.administration, "from_us": reading.from_us}
        try:
            page = _page(reading)
        except CallFailed as error:
            log.warning("the audit log of %s: %s", reading.administration, error.problem)
            self._ask("feeds record", {**about, "problem": error.problem, "after_s": error.after_s})
            return 0
        now_us = self._clock.now_us()
        log_name = reading_of(reading.administration)
        origin = Origin(reading.administration, log_name, reading.from_us, now_us)
        events = sources.events_of(reading.source, page.entries, origin)
        bad = sum(event.action == sources.UNREADABLE for event in events)
        if bad:
            log.warning("%d entries of the audit log of %s cannot be read: set aside", bad, reading.administration)
        with self._writing:
            heard = self._heard.get(reading.source)
            if heard is None:
                heard = self._heard[reading.source] = Heard.load(self._lake, reading.source, now_us)
            name = f"{log_name}-0-{reading.from_us}"
            fresh = heard.unknown(events, name)
            if self._lookup is not None:
                for event in fresh:
                    self._lookup.enrich(event)
            heard.mark(fresh, made=reading.made, own=reading.own, asked=reading.asked)
            write_read(self._lake, name, fresh)
            limits = any(event.action_class == "limit_admin" for event in fresh)
            self._ask("feeds record", {**about, "cursor": page.cursor, "limits_changed": limits})
            heard.learn(fresh)
            self._inbox.add(fresh)
        return len(fresh)


def _page(reading: Reading) -> AuditPage:
    """Ask the provider. Raises CallFailed."""
    driver: Any = drivers.driver(reading.driver)
    admin = Administration(reading.driver, reading.base_url, reading.options, Secret(reading.secret), reading.ca)
    page: AuditPage = driver.audit(admin, reading.since_us, reading.cursor)
    return page
