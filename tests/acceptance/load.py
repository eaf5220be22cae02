"""Drives the gate with many requests at once over kept-alive connections, and records what each of them met."""

import asyncio
import socket
import time
from contextlib import suppress
from itertools import count

import httptools
import msgspec

IDLE_S = 30
"""Well below the time after which the gate closes a connection that nobody uses."""
_loads = count(1)
_IDS = (b"x-request-id", b"request-id", b"x-ds-trace-id")


class Ask(msgspec.Struct):
    """One request to send. `leave_after`: the client goes away after so many bytes of the answer, 0 before the first.

    `leave_ms` waits before it leaves; `rude` resets the connection instead of closing it.
    """

    kind: str
    path: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    dialect: str = "openai"
    stream: bool = False
    leave_after: int | None = None
    leave_ms: int = 0
    rude: bool = False


class Met(msgspec.Struct):
    """What one request met. Times are microseconds of the wall clock; `request_id` is the provider's.

    `agent` is the user agent, which tells it from every other in the gate's events. The body of `ask` stays only
    where the request was refused.

    `decision`: `admitted`, `refused`, `left` (the client went away) or `broken` (the connection did).
    """

    agent: str
    key: str
    ask: Ask
    decision: str = ""
    status: int = 0
    reason: str = ""
    request_id: str = ""
    started_us: int = 0
    first_us: int = 0
    ended_us: int = 0
    size: int = 0
    body: bytes = b""


def now_us():
    return time.time_ns() // 1000


class _Connection(asyncio.Protocol):
    """One connection to the gate, one request at a time."""

    def __init__(self):
        self.transport = None
        self.parser = None
        self.met = None
        self.done = None
        self.parts = []
        self.keep = True
        self.keep_body = False

    def connection_made(self, transport):
        self.transport = transport

    def begin(self, met, keep_body):
        self.met, self.keep_body = met, keep_body
        self.parts = []
        self.parser = httptools.HttpResponseParser(self)
        self.done = asyncio.get_running_loop().create_future()
        return self.done

    def data_received(self, data):
        met = self.met
        if met is None or self.done.done():
            return
        met.first_us = met.first_us or now_us()
        met.size += len(data)
        leave = met.ask.leave_after
        if leave is not None and met.size >= leave:
            self._finish("left")
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("broken")

    def on_header(self, name, value):
        name = name.lower()
        if name == b"x-jackstop-reason":
            self.met.reason = value.decode()
        elif name in _IDS:
            self.met.request_id = value.decode()

    def on_headers_complete(self):
        self.met.status = self.parser.get_status_code()

    def on_body(self, data):
        if self.keep_body:
            self.parts.append(data)

    def on_message_complete(self):
        self.keep = self.parser.should_keep_alive()
        self._finish("refused" if self.met.reason else "admitted")

    def _finish(self, decision):
        met = self.met
        if met is not None and not self.done.done():
            met.ended_us = now_us()
            met.decision = decision
            met.body = b"".join(self.parts)
            self.parts = []
            self.done.set_result(decision)

    def connection_lost(self, error):
        self.transport = None
        if self.done is not None:
            self._finish("broken")

    def leave(self, *, rude):
        transport, self.transport = self.transport, None
        if transport is None:
            return
        if rude:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            transport.abort()
        else:
            transport.close()


class Load:
    """Sends requests to one gate address; `met` lists what every one of them met, in the order of their ends."""

    def __init__(self, port, chance, *, keep_bodies=False):
        self.port = port
        self.met = []
        self._chance = chance
        self._idle = []
        self._keep_bodies = keep_bodies
        self._load, self._number = next(_loads), 0

    async def send(self, key, ask):
        """Send one request and wait for its end."""
        self._number += 1
        met = Met(f"load{self._load}/{self._number}", key, ask)
        head = self._head(met)
        connection = await self._connect()
        done = connection.begin(met, self._keep_bodies)
        met.started_us = now_us()
        connection.transport.write(head + ask.body)
        if ask.leave_after == 0:
            await self._leave_early(connection, ask)
        try:
            await done
        except asyncio.CancelledError:
            connection.leave(rude=False)
            raise
        if met.decision == "left":
            connection.leave(rude=ask.rude)
        elif met.decision == "broken" or not connection.keep:
            connection.leave(rude=False)
        else:
            self._idle.append((connection, time.monotonic()))
        if met.decision != "refused":
            met.ask = msgspec.structs.replace(ask, body=b"")
        self.met.append(met)
        return met

    async def _leave_early(self, connection, ask):
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(connection.done), ask.leave_ms / 1000)
        connection._finish("left")

    def _head(self, met):
        ask = met.ask
        lines = [b"POST %s HTTP/1.1" % ask.path.encode(), b"host: gate", b"content-type: application/json"]
        if ask.dialect == "anthropic":
            lines += [b"x-api-key: " + met.key.encode(), b"anthropic-version: 2023-06-01"]
        else:
            lines.append(b"authorization: Bearer " + met.key.encode())
        lines.append(b"user-agent: " + met.agent.encode())
        lines += [name + b": " + value for name, value in ask.headers]
        lines.append(b"content-length: %d" % len(ask.body))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _connect(self):
        while self._idle:
            connection, since = self._idle.pop(self._chance.randrange(len(self._idle)))
            transport = connection.transport
            if transport is not None and not transport.is_closing() and time.monotonic() - since < IDLE_S:
                return connection
            connection.leave(rude=False)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", self.port)
        return connection

    async def run(self, jobs, workers, pause_ms=0):
        """Send every (key, ask) of an iterable, `workers` at a time, each waiting up to `pause_ms` before the next."""
        jobs = iter(jobs)

        async def work():
            for key, ask in jobs:
                await self.send(key, ask)
                if pause_ms:
                    await asyncio.sleep(self._chance.random() * pause_ms / 1000)

        await asyncio.gather(*(work() for _ in range(workers)))

    def close(self):
        while self._idle:
            self._idle.pop()[0].leave(rude=False)
