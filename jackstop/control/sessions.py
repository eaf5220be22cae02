"""Who is connected to control's socket: gates with their leases and rows, and people with their commands."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy.exc import DBAPIError

from jackstop.clock import Clock
from jackstop.control.commands import actor_of
from jackstop.control.lender import Lender
from jackstop.control.protocol import (
    VERSION,
    Changes,
    Command,
    Frames,
    Heartbeat,
    Hello,
    Message,
    Need,
    Reply,
    Returned,
    Welcome,
    frame,
)
from jackstop.control.scribe import Scribe
from jackstop.keys.policy import LimitRow, Row
from jackstop.secret import Secret
from jackstop.store.engine import first_line
from jackstop.store.feed import Feed

HEARTBEAT_MS = 500
PUBLISH_S = 1.0
"""How long a command waits until every gate has been sent what it changed; one that takes nothing gets it later."""
OLDEST_VERSION = max(1, VERSION - 1)
_MAX_UNSENT_BYTES = 256 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")

log = logging.getLogger(__name__)

Attach = Callable[[Hello], Awaitable[None]]
RunCommand = Callable[[Command, str], Awaitable[Reply]]


class GateSession:
    """One connected gate: rows go out in order, needs are answered as they come."""

    def __init__(self, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.instance = hello.instance
        self.seq = hello.since
        self._writer = writer
        self.tasks: set[asyncio.Task[None]] = set()
        self.feeding = asyncio.Lock()

    def send(self, message: Message) -> None:
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self._writer.close()
            return
        self._writer.write(frame(message))

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Sessions:
    """Serves the socket."""

    def __init__(
        self, scribe: Scribe, feed: Feed, lender: Lender, clock: Clock, attach: Attach, run_command: RunCommand
    ) -> None:
        self._scribe = scribe
        self._feed = feed
        self._lender = lender
        self._clock = clock
        self._attach = attach
        self._run_command = run_command
        self._feeds: set[asyncio.Task[None]] = set()
        self.gates: dict[str, GateSession] = {}
        self.pepper = Secret(b"")
        self.fingerprint_key = Secret(b"")
        self.processes = 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from first message to last. Only this user and root are answered."""
        actor = _peer(writer)
        if actor is None:
            writer.close()
            return
        frames = Frames()
        session: GateSession | None = None
        try:
            while data := await reader.read(1 << 18):
                for message in frames.feed(data):
                    if isinstance(message, Hello):
                        session = await self._greet(writer, message)
                    elif session is not None:
                        self._hear(session, message)
                    elif isinstance(message, Command):
                        writer.write(frame(await self._run_command(message, actor)))
                        await writer.drain()
        except (ValueError, ConnectionError) as error:
            log.warning("a connection to control ended: %s", error)
        except asyncio.CancelledError:
            log.debug("control stops")
        finally:
            writer.close()
            if session is not None and self.gates.get(session.instance) is session:
                del self.gates[session.instance]
                self._lender.peers.pop(session.instance, None)

    async def _greet(self, writer: asyncio.StreamWriter, hello: Hello) -> GateSession:
        if not OLDEST_VERSION <= hello.version <= VERSION:
            raise ValueError(f"gate {hello.instance} speaks version {hello.version}, control {VERSION}")
        session = GateSession(writer, hello)
        former = self.gates.get(hello.instance)
        if former is not None:
            former.close()
            await asyncio.gather(*former.tasks, return_exceptions=True)
        await self._attach(hello)
        self._lender.adopt_shares(hello.instance, hello.shares)
        session.send(
            Welcome(VERSION, self.pepper.reveal(), self.fingerprint_key.reveal(), HEARTBEAT_MS, self.processes)
        )
        self.gates[hello.instance] = session
        self._lender.peers[hello.instance] = session
        await self.feed(session, first=True)
        session.send(Heartbeat(session.seq, self._clock.now_us()))
        return session

    def _hear(self, session: GateSession, message: Message) -> None:
        if isinstance(message, Need):
            work = self._lender.need(session, message)
        elif isinstance(message, Returned):
            work = self._lender.returned(session, message)
        else:
            raise ValueError(f"gate {session.instance} said {type(message).__name__}")  # noqa: TRY004 -- of the protocol
        task = asyncio.create_task(work)
        session.tasks.add(task)
        task.add_done_callback(session.tasks.discard)
        task.add_done_callback(_report)

    async def feed(self, session: GateSession, *, first: bool = False) -> None:
        """Send this gate every row that it does not have yet."""
        async with session.feeding:
            while True:
                seq, rows = await self._scribe.do(partial(self._feed.rows_since, seq=session.seq))
                if not rows:
                    break
                session.seq = seq
                session.send(Changes(seq, rows, more=first))
                self._learn(rows)
                await session.drain()
            if first:
                session.send(Changes(session.seq, []))

    def _learn(self, rows: list[Row]) -> None:
        for row in rows:
            if isinstance(row, LimitRow):
                self._lender.follow(row)

    async def publish(self) -> None:
        """Send what has changed to every gate, without waiting for one that has stopped to read."""
        feeds = {asyncio.create_task(self.feed(session)) for session in self.gates.values()}
        for task in feeds:
            self._feeds.add(task)
            task.add_done_callback(self._feeds.discard)
            task.add_done_callback(_report)
        if feeds:
            await asyncio.wait(feeds, timeout=PUBLISH_S)

    def beat(self) -> None:
        """Tell every gate that control is alive; one that is being fed hears it in its turn."""
        for session in self.gates.values():
            if not session.feeding.locked():
                session.send(Heartbeat(session.seq, self._clock.now_us()))


def _report(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, DBAPIError):
        log.error("control could not answer a gate: %s", first_line(error))
    elif error is not None:
        log.error("control could not answer a gate", exc_info=error)


def _peer(writer: asyncio.StreamWriter) -> str | None:
    """The connecting user as the audit log names it, None for one that is neither this user nor root."""
    sock = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid = _CREDENTIALS.unpack(raw)[1]
    return actor_of(uid) if uid in (0, os.getuid()) else None
