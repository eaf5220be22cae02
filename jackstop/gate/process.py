"""The gate's process: builds everything, serves until SIGTERM, then finishes what runs."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import resource
import secrets
import signal
import socket
import sys
import time

import uvloop

from jackstop.clock import SystemClock
from jackstop.gate.context import Gate
from jackstop.gate.journal import Journal
from jackstop.gate.link import Link
from jackstop.gate.listener import listening
from jackstop.gate.listening import bind, check_listen
from jackstop.gate.registry import Registry
from jackstop.gate.tls import server_tls
from jackstop.ledger import prices, tokenizer
from jackstop.ledger.books import Books
from jackstop.settings import Home, Settings, load

_PR_SET_DUMPABLE = 4
_POLL_S = 0.02
_SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while the loop wants it; Python's own 5 ms show in every stream."""
_GC_THRESHOLDS = (50_000, 20, 100)
"""Requests make few cycles: look for them rarely, so that a collection does not show in latencies."""
_SHUTDOWN_SHARE = 0.9
"""The part of the shutdown timeout that exchanges get; the rest is for closing the books before the parent kills."""


def main(slot: int, listen_fd: int | None, ready_fd: int | None = None) -> int:
    """Run one gate process. Without `listen_fd` it binds the address itself; it writes to `ready_fd` once it serves.

    Raises UserError for settings with which it must not start.
    """
    home = Home.from_environment()
    settings = load(home)
    check_listen(settings.gate)
    _keep_memory_private()
    _allow_files()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if listen_fd is None:
        listener = bind(settings.gate.listen, shared=False)
    else:
        listener = socket.socket(fileno=listen_fd)
        listener.setblocking(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(home, settings, slot, listener, ready_fd))
    return 0


def _keep_memory_private() -> None:
    """No core dumps and no debugger of the same user: keys and credentials are in memory (prctl(2))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow_files() -> None:
    """Every connection is a file: take as many as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve(home: Home, settings: Settings, slot: int, listener: socket.socket, ready_fd: int | None) -> None:
    """Serve on the listening socket until SIGTERM or SIGINT, then until the last exchange ends or time is up."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    tls = server_tls(settings.gate)
    prices.load()
    tokenizer.load()
    instance = f"{slot}-{time.time_ns():x}-{secrets.token_hex(4)}"
    journal = Journal(home.journal, instance, settings.journal.segment_bytes, settings.journal.sync_interval_ms, clock)
    journal.open(slot)
    books = Books(journal, settings, clock)
    registry = Registry(books, settings, clock)
    link = Link(home, instance, slot, registry, books, clock)
    gate = Gate(settings, registry, books, clock, instance, journal.has_room)
    gate.start()
    await link.start()
    try:
        while not registry.ready() and not stop.is_set():  # noqa: ASYNC110 -- readiness also depends on the clock
            await asyncio.sleep(_POLL_S)
        sys.setswitchinterval(_SWITCH_S)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        if not stop.is_set():
            async with listening(gate, listener, tls):
                _tell(ready_fd)
                await stop.wait()
        await _finish(gate)
    finally:
        await gate.close()
        await link.stop()
        journal.close()


def _tell(ready_fd: int | None) -> None:
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)


async def _finish(gate: Gate) -> None:
    """Let what runs end by itself, for as long as the parent allows."""
    gate.retire()
    until = gate.now() + gate.settings.gate.shutdown_timeout_s * _SHUTDOWN_SHARE
    while gate.busy and gate.now() < until:  # noqa: ASYNC110 -- once in a process's life
        await asyncio.sleep(_POLL_S)
