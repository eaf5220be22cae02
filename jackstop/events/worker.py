"""The worker process: writes the gates' journals to the lake; beside it, threads that watch, tidy up and send news."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from functools import partial
from types import FrameType

from jackstop.addresses.lookup import Lookup
from jackstop.clock import Clock, SystemClock
from jackstop.control import client
from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.events.chores import Chores
from jackstop.events.follow import Follow
from jackstop.events.lake import positions_of, write
from jackstop.events.watch import Watch
from jackstop.gate.journal import START
from jackstop.settings import Home, Settings, load

_RETRY_S = 0.5


log = logging.getLogger(__name__)


def catch_up(home: Home, ask: Ask, lookup: Lookup | None = None, follow: Follow | None = None) -> int:
    """Write every journal to its present end; the number of batches that moved."""
    lookup = lookup or Lookup.load(home)
    moved = 0
    if follow is not None:
        follow.read()
    for instance, position in positions_of(ask("lake positions", {})).items():
        start = max(START, position)
        until = follow.place(instance) if follow is not None else None
        while (end := write(home.journal, home.lake, instance, start, lookup, until)) > start:
            ask("lake advance", {"instance": instance, "segment": end.segment, "offset": end.offset})
            start = end
            moved += 1
    return moved


class Stopped(Exception):
    """SIGTERM or SIGINT arrived."""


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- the signature of a signal handler
    raise Stopped


def main() -> int:
    """Run until told to stop; the exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    home = Home.from_environment()
    settings = load(home)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        return _work(home, settings, partial(client.ask, home), SystemClock())
    except Stopped:
        return 0


def _work(home: Home, settings: Settings, ask: Ask, clock: Clock) -> int:
    from jackstop.events.feeds import Feeds
    from jackstop.events.inbox import Inbox
    from jackstop.notify.sender import Sender
    from jackstop.reconcile.brakes import Brakes
    from jackstop.reconcile.poll import Poller
    from jackstop.rotation.rotator import Rotator

    lookup = Lookup.load(home)
    follow = Follow(home.journal, lookup)
    writing = threading.Lock()
    inbox = Inbox()
    watch = Watch(home, settings, ask, follow, writing, clock, inbox)
    chores = Chores(home, settings, ask, watch, clock)
    sender = Sender(home, settings, ask)
    rotator = Rotator(ask, clock)
    poller = Poller(ask, home.lake, clock)
    brakes = Brakes(ask)
    feeds = Feeds(home, ask, inbox, writing, clock, lookup)
    watch.on_round = sender.touch
    try:
        for part in (watch, chores, sender, rotator, poller, brakes, feeds):
            part.start()
        while True:
            try:
                ask("lake wait", {"seconds": settings.lake.flush_interval_s})
                lookup.reload_if_changed()
                with writing:
                    began_us = clock.now_us()
                    catch_up(home, ask, lookup, follow)
                    chores.written_us = began_us
            except (UserError, OSError) as error:
                log.warning("the worker tries again: %s", error)
                time.sleep(_RETRY_S)
    finally:
        sender.stop()
        rotator.stop()
        poller.stop()
        brakes.stop()
        feeds.stop()
        if not (watch.stop() & chores.stop()):
            # A thread is inside DuckDB, where the interpreter's end would be a crash. Nothing is lost.
            os._exit(0)
