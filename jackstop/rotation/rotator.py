"""The worker's thread that rotates: takes steps from control, does them at the providers, and says how they ended.

A credential has one step under way at a time; different credentials do not wait for each other.
"""

from __future__ import annotations

import logging
import secrets
import threading
from functools import partial

import msgspec

from jackstop.clock import Clock
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.rotation.steps import perform
from jackstop.rotation.task import Outcome, Task

POLL_S = 0.5
_REPORT_TRIES, _REPORT_WAIT_S = 60, 1.0
_STOP_S = 5.0


log = logging.getLogger(__name__)


class Rotator:
    """Runs between `start` and `stop`."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._busy: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rotation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and give what is under way a moment. What is cut off is done again, and finds what is there."""
        self._stopping.set()
        self._wake.set()
        with self._lock:
            threads = [self._thread, *self._busy.values()]
        for thread in threads:
            thread.join(_STOP_S)

    def _run(self) -> None:
        has_begun = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if not has_begun:
                    self._ask("rotation start", {})
                    has_begun = True
                self.step()
            except (UserError, OSError) as error:
                log.warning("rotations wait: %s", error)
            except Exception:
                log.exception("rotations failed, and go on")
            self._wake.wait(POLL_S)

    def step(self) -> int:
        """Take what is to be done, and begin it; how many steps."""
        with self._lock:
            busy = sorted(self._busy)
        reply = self._ask("rotation take", {"worker": self._name, "busy": busy})
        tasks = [msgspec.convert(each, Task) for each in reply["tasks"]]
        for task in tasks:
            thread = threading.Thread(target=partial(self._do, task), name=f"rotate {task.credential}", daemon=True)
            with self._lock:
                self._busy[task.credential] = thread
            thread.start()
        return len(tasks)

    def _do(self, task: Task) -> None:
        try:
            self._report(task, self._perform(task))
        finally:
            with self._lock:
                del self._busy[task.credential]
            self._wake.set()

    def _perform(self, task: Task) -> Outcome:
        try:
            outcome = perform(task, self._clock.now_us())
        except Exception as error:
            # Its text may quote what was being sent.
            log.error("%s of %s failed inside: %s", task.step, task.credential, type(error).__name__)  # noqa: TRY400 -- as above
            return Outcome("failed", f"it failed inside ({type(error).__name__})")
        if outcome.problem:
            level = logging.INFO if outcome.ending == "later" else logging.WARNING
            log.log(level, "%s of %s: %s", task.step, task.credential, outcome.problem)
        return outcome

    def _report(self, task: Task, outcome: Outcome) -> None:
        """Tell control; while it is away, again. What it never hears is done again."""
        said = {"id": task.id, "step": task.step, "number": task.number, "outcome": msgspec.to_builtins(outcome)}
        for _ in range(_REPORT_TRIES):
            try:
                self._ask("rotation record", said)
            except (UserError, OSError) as error:
                log.warning("control did not hear of %s of %s: %s", task.step, task.credential, error)
            else:
                return
            if self._stopping.wait(_REPORT_WAIT_S):
                return
