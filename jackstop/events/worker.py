"""The worker process: writes the gates' journals to the lake, and forgets what is too old."""

from __future__ import annotations

import logging
import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from jackstop.clock import Clock, SystemClock
from jackstop.control import client
from jackstop.errors import UserError
from jackstop.events.lake import forget_old, write
from jackstop.gate.journal import START, Position
from jackstop.settings import Home, load

RETENTION_INTERVAL_S = 3_600.0
_RETRY_S = 0.5

Ask = Callable[[str, dict[str, Any]], Any]

log = logging.getLogger(__name__)


def catch_up(home: Home, ask: Ask) -> int:
    """Write every journal to its present end; the number of batches that moved."""
    moved = 0
    for row in ask("lake positions", {}):
        start = max(START, Position(row["segment"], row["offset"]))
        while (end := write(home.journal, home.lake, row["instance"], start)) > start:
            ask("lake advance", {"instance": row["instance"], "segment": end.segment, "offset": end.offset})
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
    clock: Clock = SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)

    ask = partial(client.ask, home)
    forgotten = 0.0
    try:
        while True:
            try:
                ask("lake wait", {"seconds": settings.lake.flush_interval_s})
                catch_up(home, ask)
                if time.monotonic() - forgotten > RETENTION_INTERVAL_S:
                    forget_old(home.lake, clock.now_us(), settings.lake.retention_days)
                    forgotten = time.monotonic()
            except (UserError, OSError) as error:
                log.warning("the worker tries again: %s", error)
                time.sleep(_RETRY_S)
    except Stopped:
        return 0
