"""What all requests of one gate process share: settings, registry, books, connections, counters."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackstop.clock import Clock
from jackstop.gate.registry import Registry
from jackstop.gate.source import compile_networks
from jackstop.gate.upstream import Pool
from jackstop.gate.wire import Heads, WireLimits
from jackstop.ledger.books import Books
from jackstop.settings import Settings

if TYPE_CHECKING:
    from jackstop.gate.exchange import Exchange
    from jackstop.gate.server import Connection

SWEEP_S = 0.25
"""How often deadlines are looked at; all of them are given in seconds."""
HEADS_KEPT_S = 2.0
"""How long the heads of requests are remembered after they were last seen, and not twice as long."""
UPLOADS_SHARE = 4
"""One part in so many of `max_buffered_bytes` is the most that bodies of one key take which are not judged yet."""
HEADS_SHARE = 8
"""One part in so many of `max_buffered_bytes` is for heads that are not complete."""
JUDGE_NICENESS = 10
"""How far the thread that judges large bodies stands back behind the loop."""

log = logging.getLogger(__name__)


def note(what: str, error: BaseException) -> None:
    """Log a failure that nobody foresaw: its kind and place, never its text, which may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    log.error("%s: %s at %s", what, type(error).__name__, where or "an unknown place")


def _stand_back() -> None:
    """Let the loop go before this thread where both want the same core: what it does is never urgent."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), JUDGE_NICENESS)


class Gate:
    """One gate process, without its sockets.

    `buffered` are the bytes of bodies kept over all connections and exchanges, `buffered_heads` those of heads that are
    not complete, `uploads` those of bodies that are not judged yet, by key. `draining` exchanges go on without their
    client, `counting` ones wait for an exact count.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        books: Books,
        clock: Clock,
        instance: str,
        has_room: Callable[[], bool],
    ) -> None:
        gate = settings.gate
        self.settings = settings
        self.registry = registry
        self.books = books
        self.clock = clock
        self.instance = instance
        self._has_room = has_room
        self.pool = Pool(gate)
        self.limits = WireLimits(gate.max_header_bytes, gate.max_headers, gate.max_body_bytes)
        self.heads = Heads()
        self._heads_turn_at = 0.0
        self.trusted = compile_networks(gate.trusted_proxies)
        self.connections: set[Connection] = set()
        self.exchanges: set[Exchange] = set()
        self.buffered = 0
        self.buffered_heads = 0
        self.uploads: Counter[str] = Counter()
        self.draining = 0
        self.stopping = False
        self.counting = 0
        self.count_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="count")
        self.judge_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge", initializer=_stand_back)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        registry.on_stop(self.stop_exchanges)

    @property
    def ready(self) -> bool:
        """Whether requests are served: the snapshot is fresh, the journal has room, no stop was asked for."""
        return self.registry.ready() and self._has_room() and not self.stopping

    @property
    def overloaded(self) -> bool:
        """Whether so many bytes are buffered over all connections that no more bodies are taken."""
        return self.buffered > self.settings.gate.max_buffered_bytes

    def upload(self, key_id: str, change: int) -> None:
        """Count so many more bytes of bodies with this key that are not judged yet."""
        self.uploads[key_id] += change
        if not self.uploads[key_id]:
            del self.uploads[key_id]

    def uploads_too_much(self, key_id: str) -> bool:
        """Whether bodies with this key, not judged yet, fill the share of one key: the others need theirs."""
        gate = self.settings.gate
        return self.uploads[key_id] > max(gate.max_body_bytes, gate.max_buffered_bytes // UPLOADS_SHARE)

    @property
    def too_many_heads(self) -> bool:
        """Whether those who are not known yet fill their share. It is apart, so that they take no body's room."""
        return self.buffered_heads > self.settings.gate.max_buffered_bytes // HEADS_SHARE

    def now(self) -> float:
        """Seconds on the clock that deadlines are measured by."""
        return time.monotonic()

    def start(self) -> None:
        """Begin to look at deadlines. Needs a running loop."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._callback_failed)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        now = self.now()
        for exchange in [each for each in self.exchanges if each.deadline <= now]:
            exchange.expired()
        for connection in [each for each in self.connections if each.deadline <= now]:
            connection.expired()
        self.pool.sweep(now)
        if now >= self._heads_turn_at:
            self.heads.turn()
            self._heads_turn_at = now + HEADS_KEPT_S
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _callback_failed(
        self,
        loop: asyncio.AbstractEventLoop,  # noqa: ARG002 -- asyncio's call
        context: dict[str, Any],
    ) -> None:
        """The loop's exception handler: what a callback let through."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            note("a callback failed", error)
        else:
            log.error("the loop reports: %s", context.get("message", "nothing"))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what has to wait, and keep it from being collected. It handles its own failures."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop_exchanges(self, key_id: str | None, credential: str | None) -> None:
        """Close every exchange of a key that was quarantined or revoked, or of a credential that was contained."""
        for exchange in list(self.exchanges):
            if (key_id is not None and exchange.key_id == key_id) or (
                credential is not None and exchange.credential_name == credential
            ):
                exchange.stop(at_once=credential is not None)

    def retire(self) -> None:
        """Begin to stop: every connection ends with its next answer, or once it is idle."""
        self.stopping = True
        for connection in list(self.connections):
            connection.retire()

    @property
    def busy(self) -> bool:
        """Whether connections or exchanges are still there."""
        return bool(self.connections or self.exchanges)

    async def close(self) -> None:
        """Drop what is left: connections, idle upstreams, waiting tasks."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.abort()
        for exchange in list(self.exchanges):
            exchange.stop(at_once=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.pool.close()
        for executor in (self.count_thread, self.judge_thread):
            executor.shutdown(wait=False, cancel_futures=True)
