"""Hard limits at the providers: set as a person wants them, read again every hour, and compared with what they were.

Jackstop tells of a change and does not undo it: whoever made it may have had a reason, and two programs that fight over
a limit leave none. A change of a limit that nobody set here is told as well, less loudly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from jackstop.cases.finding import Severity
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Administration, CallFailed, LimitSource, ProviderLimit
from jackstop.secret import Secret

POLL_S = 1.0
_STOP_S = 5.0
_CENT_NUSD = 10_000_000
"""Providers keep limits in cents: less than one is no difference."""

How = Literal["raised", "lowered", "removed"]

log = logging.getLogger(__name__)


class Known(NamedTuple):
    """A limit as it was when it was read last, and what a person wants it to be."""

    scope: str
    window: str
    amount_nusd: int | None
    enforced: bool
    wanted_nusd: int | None


class Change(NamedTuple):
    """What somebody did to a limit, and how bad that is."""

    scope: str
    window: str
    how: How
    before_nusd: int
    now_nusd: int | None
    severity: Severity


def changes(known: Iterable[Known], seen: Iterable[ProviderLimit]) -> list[Change]:
    """The limits that are other than when they were read last, and other than wanted."""
    now = {(each.scope, each.window): each for each in seen}
    found = []
    for before in known:
        there = now.get((before.scope, before.window))
        effective = there.amount_nusd if there is not None and there.enforced else None
        earlier = before.amount_nusd if before.enforced else None
        usual = earlier if before.wanted_nusd is None else before.wanted_nusd
        if usual is None or _same(effective, earlier) or _same(effective, usual):
            continue
        how = _how(usual, effective)
        found.append(Change(before.scope, before.window, how, usual, effective, _severity(how, before)))
    return found


def _same(one: int | None, other: int | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) < _CENT_NUSD


def _how(usual_nusd: int, now_nusd: int | None) -> How:
    if now_nusd is None:
        return "removed"
    return "raised" if now_nusd > usual_nusd else "lowered"


def _severity(how: How, known: Known) -> Severity:
    wanted = known.wanted_nusd is not None
    if how == "lowered":
        return "medium" if wanted else "low"
    # The organisation's own limit is the last wall, whoever set it.
    return "high" if wanted or (how == "removed" and known.scope == "organization") else "medium"


class Task(msgspec.Struct, frozen=True):
    """The limits of one credential that are to be read, and set before where `set_nusd` says so.

    It comes with the secret for it over a socket that only this user can open.
    """

    credential: str
    driver: str
    base_url: str
    options: dict[str, str]
    place: dict[str, str]
    secret: str
    set_nusd: int | None = None
    ca: str = ""

    def __repr__(self) -> str:
        return f"Task({self.credential!r})"


class Brakes:
    """Runs between `start` and `stop`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="brakes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more. What is cut off is done again."""
        self._stopping.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.step()
            except (UserError, OSError) as error:
                log.warning("the providers' limits wait: %s", error)
            except Exception as error:
                # Its text may quote what was being sent.
                log.error("the providers' limits failed inside, and go on: %s", type(error).__name__)  # noqa: TRY400 -- as above

    def step(self) -> int:
        """Set and read what is due; of how many credentials."""
        tasks = [msgspec.convert(each, Task) for each in self._ask("brakes take", {})]
        for task in tasks:
            if self._stopping.is_set():
                break
            try:
                done = perform(task)
            except Exception as error:
                # Nobody else has to wait for it. Its text may quote what was being sent.
                log.error("the limits of %s failed inside: %s", task.credential, type(error).__name__)  # noqa: TRY400 -- as above
                done = {"problem": f"it failed inside ({type(error).__name__})"}
            self._ask("brakes record", {"credential": task.credential, **done})
        return len(tasks)


def perform(task: Task) -> Mapping[str, Any]:
    """Do one task at its provider; what control is to record."""
    admin = Administration(task.driver, task.base_url, task.options, Secret(task.secret), task.ca)
    driver: LimitSource = drivers.driver(task.driver)  # type: ignore[assignment]  # it has a limit set
    done: dict[str, Any] = {}
    try:
        if task.set_nusd is not None:
            made = driver.set_limit(admin, task.place, task.set_nusd)
            done["set"] = {"scope": made.scope, "window": made.window, "nusd": task.set_nusd}
        done["limits"] = msgspec.to_builtins(driver.limits(admin, task.place))
    except CallFailed as error:
        log.warning("the limits of %s: %s", task.credential, error.problem)
        return {**done, "problem": error.problem, "after_s": error.after_s}
    return done
