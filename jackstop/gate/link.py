"""The gate's connection to control: greeting, rows, leases, heartbeats; tried again for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator
from itertools import count
from time import monotonic

from jackstop.clock import Clock
from jackstop.control.client import socket_path
from jackstop.control.protocol import (
    VERSION,
    Changes,
    Frames,
    Granted,
    Heartbeat,
    Hello,
    Message,
    Recall,
    Welcome,
    frame,
)
from jackstop.gate.context import note
from jackstop.gate.registry import Registry
from jackstop.ledger.books import Books
from jackstop.settings import Home

_RETRY_S = 0.1
_TICK_S = 0.25
"""How often the registry hears that the loop runs: well within the pause after which it would doubt that."""
_TICKS_PER_TEND = 4
"""In so many ticks the books are tended once: they measure use by the second."""

_NEWS_S = 0.002
"""How long requests wait at a time while control's messages are taken in."""
_UPKEEP_S = 0.0002
"""The same for upkeep, which comes every second and never hurries."""

log = logging.getLogger(__name__)


class Link:
    """Keeps one connection to control, and the upkeep that goes with it."""

    def __init__(self, home: Home, instance: str, slot: int, registry: Registry, books: Books, clock: Clock) -> None:
        self._home = home
        self._instance = instance
        self._slot = slot
        self._registry = registry
        self._books = books
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name="link"),
            asyncio.create_task(self._tend(), name="tend"),
        ]

    async def stop(self) -> None:
        """End the connection. What is leased stays in the journal for control to read."""
        self._books.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._converse()
            except (OSError, ValueError) as error:
                log.info("control is away: %s", error)
            except Exception as error:
                note("the connection to control failed", error)
            await asyncio.sleep(_RETRY_S)

    async def _converse(self) -> None:
        with socket_path(self._home) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=1 << 20)
        try:
            writer.write(frame(self._greeting()))
            frames = Frames()
            while data := await reader.read(1 << 18):
                # One message for each turn of a busy loop would be too few: news such as a revocation would pile up.
                await _in_slices(self._take_in(frames.feed(data), writer), _NEWS_S)
        finally:
            self._books.disconnected()
            writer.close()

    def _greeting(self) -> Hello:
        books = self._books
        return Hello(VERSION, self._instance, os.getpid(), self._registry.seq, self._slot, books.end, books.shares())

    def _take_in(self, messages: Iterable[Message], writer: asyncio.StreamWriter) -> Iterator[None]:
        for message in messages:
            self._handle(message, writer)
            yield

    def _handle(self, message: Message, writer: asyncio.StreamWriter) -> None:
        if isinstance(message, Granted):
            self._books.granted(message)
        elif isinstance(message, Heartbeat):
            # By when control said it, not by when it was read: what a paused process reads first may be old.
            self._registry.heard(message.now_us)
        elif isinstance(message, Recall):
            self._books.recalled(message)
        elif isinstance(message, Changes):
            self._registry.apply(message.rows, message.seq, more=message.more)
        elif isinstance(message, Welcome):
            self._registry.welcome(message.pepper, message.fingerprint_key, message.processes)
            self._books.connected(lambda outgoing: self._send(writer, outgoing))

    def _send(self, writer: asyncio.StreamWriter, message: Message) -> bool:
        if writer.is_closing():
            return False
        writer.write(frame(message))
        return True

    async def _tend(self) -> None:
        for ticks in count(1):
            await asyncio.sleep(_TICK_S)
            now_us = self._clock.now_us()
            self._registry.tick(now_us)
            try:
                self._registry.tend(now_us)
                if not ticks % _TICKS_PER_TEND:
                    await _in_slices(self._books.tend(), _UPKEEP_S)
            except Exception as error:
                note("the upkeep of keys and leases failed", error)


async def _in_slices(steps: Iterable[None], slice_s: float) -> None:
    """Take every step, and let requests be served in between each time that steps took so long."""
    began = monotonic()
    for _ in steps:
        if monotonic() - began >= slice_s:
            await asyncio.sleep(0)
            began = monotonic()
