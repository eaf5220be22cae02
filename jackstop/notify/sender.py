"""The sender, in the worker: takes messages from control, delivers them, and says how it went.

Each channel has a thread of its own while something is under way on it, so that a slow one delays no other. Everything
that must be remembered is in the store: a sender can be killed between any two steps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from jackstop.clock import Clock, SystemClock
from jackstop.control import client
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.notify import channels
from jackstop.notify.channel import Channel, Undelivered
from jackstop.notify.channels import heartbeat
from jackstop.notify.message import Message
from jackstop.secret import Secret
from jackstop.settings import Home, Settings

POLL_S = 1.0
BEAT_POLL_S = 5.0
TIDY_INTERVAL_S = 3_600.0
QUIET_WORKER_S = 60.0
"""So long after its last sign the worker is not well, and no heartbeat goes out."""
_REPORT_TRIES, _REPORT_WAIT_S = 20, 1.0
_STOP_S = 5.0


log = logging.getLogger(__name__)


class Sender:
    """`start()` it, `touch()` it whenever the worker has done its round, `stop()` it at the end."""

    def __init__(
        self,
        home: Home,
        settings: Settings,  # noqa: ARG002 -- what the worker runs is made of home, settings and ask
        ask: Ask | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._ask = ask or partial(client.ask, home)
        self._clock = clock or SystemClock()
        self._busy: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._touched = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def touch(self) -> None:
        """The worker is well. Without this for QUIET_WORKER_S, heartbeats stop."""
        self._touched = time.monotonic()

    def stop(self) -> None:
        """Take no more, and give what is under way a moment. What is cut off is sent again after its lease."""
        self._stopping.set()
        self._wake.set()
        end = time.monotonic() + _STOP_S
        with self._lock:
            threads = [self._thread, *self._busy.values()]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    # -- the loop -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        next_beat = next_tidy = 0.0
        has_begun = False
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if not has_begun:
                    self._ask("outbox begin", {})
                    has_begun = True
                if self.step():
                    continue
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + BEAT_POLL_S
                    self.beat()
                if now >= next_tidy:
                    next_tidy = now + TIDY_INTERVAL_S
                    self._ask("outbox tidy", {})
            except (UserError, OSError) as error:
                log.warning("the sender tries again: %s", error)
            except Exception:
                log.exception("the sender failed, and tries again")
            self._wake.wait(POLL_S)

    def step(self) -> int:
        """Take what can go, and hand it to the channels' threads; the number of messages."""
        with self._lock:
            busy = sorted(self._busy)
        reply = self._ask("outbox take", {"busy": busy})
        for taken in reply["messages"]:
            channel = _channel(taken.pop("channel"))
            self._begin(channel.name, partial(self._deliver, channel, reply["installation"], taken))
        return len(reply["messages"])

    def beat(self) -> int:
        """Send the heartbeats that are due, if the worker is well too; their number."""
        if time.monotonic() - self._touched > QUIET_WORKER_S:
            return 0
        due = [_channel(each) for each in self._ask("outbox beats", {})["due"]]
        for channel in due:
            # A name that no channel can have: messages and beats of one channel do not wait for each other.
            self._begin(f"beat of {channel.name}", partial(self._send_beat, channel))
        return len(due)

    def _begin(self, name: str, act: Callable[[], None]) -> None:
        def run() -> None:
            try:
                act()
            except Exception:
                log.exception("the sender failed at %s", name)
            finally:
                with self._lock:
                    del self._busy[name]
                self._wake.set()

        with self._lock:
            if name in self._busy:
                return
            thread = threading.Thread(target=run, name=f"notify {name}", daemon=True)
            thread.start()  # before it counts as busy: a channel whose thread could not start would be so for ever
            self._busy[name] = thread

    # -- one delivery -------------------------------------------------------------------------------------------

    def _deliver(self, channel: Channel, installation: str, taken: dict[str, Any]) -> None:
        try:
            message = Message.read(taken["uid"], installation, taken["payload"])
            channels.find(channel.kind).send(channel, message, self._clock.now_us())
        except Undelivered as error:
            problem, rejected, after_s = error.problem, error.rejected, error.after_s
        except Exception as error:
            # Its text may quote what was being sent.
            log.error("channel %s failed inside: %s", channel.name, type(error).__name__)  # noqa: TRY400
            problem, rejected, after_s = f"it failed inside ({type(error).__name__})", False, 0
        else:
            self._report("outbox done", {"id": taken["id"]})
            return
        log.warning("channel %s: message %s was not delivered: %s", channel.name, taken["uid"], problem)
        how = {"problem": problem, "rejected": rejected, "after_s": after_s}
        self._report("outbox failed", {"id": taken["id"], "attempt": taken["attempt"], **how})

    def _send_beat(self, channel: Channel) -> None:
        problem = ""
        try:
            heartbeat.beat(channel)
        except Undelivered as error:
            problem = error.problem
            log.warning("heartbeat %s did not arrive: %s", channel.name, problem)
        self._report("outbox beat", {"name": channel.name, "problem": problem})

    def _report(self, name: str, args: dict[str, Any]) -> None:
        """Tell control; while it is away, again. What it never hears is sent again after the lease."""
        for _ in range(_REPORT_TRIES):
            try:
                self._ask(name, args)
            except (UserError, OSError) as error:
                log.warning("control did not hear `%s`: %s", name, error)
            else:
                return
            if self._stopping.wait(_REPORT_WAIT_S):
                return


def _channel(taken: dict[str, Any]) -> Channel:
    return Channel(taken["name"], taken["kind"], dict(taken["options"]), Secret(taken.pop("secret")))
