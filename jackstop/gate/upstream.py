"""Forward: connections to providers, kept alive and used again; TLS verified."""

from __future__ import annotations

import asyncio
import errno
import select
import ssl
import time
from collections import defaultdict
from typing import NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from jackstop.gate.reply import ReplyBroken, ReplyReader
from jackstop.gate.tls import tls_context
from jackstop.settings import GateSettings

IDLE_S = 30.0
"""How long a connection is kept without a request; most providers' own limit is longer."""
MAX_IDLE_PER_ORIGIN = 512
WRITE_BYTES = 256 * 1024
"""How much of a body is handed to the transport at once."""
_TURN_S = 0.05
"""A connection that is used again so soon is not asked for news that the loop has yet to bring."""
_RESEND_BYTES = 16 * 1024
"""A request so small goes out in one write on a connection at rest: if that write fails, nothing was sent."""


class Origin(NamedTuple):
    """A credential's own host, and what stands before its paths. Connections are never shared between credentials."""

    credential: str
    scheme: str
    host: str
    port: int
    prefix: str
    host_header: bytes


def origin_of(credential: str, base_url: str) -> Origin:
    """Read a credential's base URL. Raises ValueError when it is none."""
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a base URL needs a scheme and a host")
    default = 443 if parts.scheme == "https" else 80
    port = parts.port or default
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host_header = name if port == default else f"{name}:{port}"
    prefix = parts.path.rstrip("/")
    return Origin(credential, parts.scheme, parts.hostname, port, prefix, host_header.encode("ascii"))


class Unreachable(Exception):
    """No connection came about; nothing was sent. `timed_out` tells a timeout from a refusal."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__()
        self.timed_out = timed_out


class Caller(Protocol):
    """Who sent the request on a connection: the exchange."""

    def replied(self, reply: ReplyReader) -> None: ...

    def lost(self, *, unsent: bool, why: str) -> None: ...


class Upstream(asyncio.Protocol):
    """One connection to a provider; serves one exchange at a time. `_rest` is what is still to be sent of a body."""

    __slots__ = (
        "_paused",
        "_poll",
        "_reply",
        "_rest",
        "_size",
        "_used",
        "caller",
        "idle_since",
        "origin",
        "pool",
        "transport",
    )

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self.pool = pool
        self.origin = origin
        self.transport: asyncio.Transport | None = None
        self.caller: Caller | None = None
        self.idle_since = 0.0
        self._reply: ReplyReader | None = None
        self._rest: memoryview | None = None
        self._size = 0
        self._used = False
        self._paused = False
        self._poll: select.poll | None = None

    # -- what the exchange asks for ---------------------------------------------------------------------------------

    def send(self, caller: Caller, head: bytes, body: bytes) -> None:
        """Send one request; its answer comes as calls to `caller`."""
        assert self.transport is not None
        self.caller = caller
        self._reply = ReplyReader()
        self._size = len(head) + len(body)
        if self._size <= WRITE_BYTES:
            self.transport.write(head + body)
            return
        self.transport.write(head)
        self._rest = memoryview(body)
        self.resume_writing()

    def pause(self) -> None:
        """Read no more until `resume`: the client is slower than the provider."""
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def done(self) -> None:
        """The exchange is over: keep the connection for another one if that is possible."""
        reply, rest = self._reply, self._rest
        self.caller = self._reply = self._rest = None
        # A provider that answers before it has read the whole request cannot take another one.
        if reply is not None and reply.keeps_alive and rest is None:
            self._used = True
            self.resume()
            self.pool.give(self)
        else:
            self.close()

    def close(self) -> None:
        """Drop the connection and whatever was still to come."""
        self.caller = None
        self._reply = None
        self._rest = None
        if self.transport is not None:
            self.transport.abort()

    def at_rest(self) -> bool:
        """Whether the provider has neither closed the idle connection nor said anything on it."""
        if self.transport is None or self.transport.is_closing() or self._poll is None:
            return False
        # Providers close what was idle for seconds; what happened before the loop's last turn it has told.
        return time.monotonic() - self.idle_since < _TURN_S or not self._poll.poll(0)

    # -- what the transport calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but are not its classes.
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN | select.POLLRDHUP)

    def data_received(self, data: bytes) -> None:
        reply, caller = self._reply, self.caller
        if reply is None or caller is None:
            self.close()
            return
        try:
            reply.feed(data)
        except ReplyBroken as broken:
            self.close()
            caller.lost(unsent=False, why=f"the provider's answer cannot be read: {broken}")
            return
        caller.replied(reply)

    def eof_received(self) -> None:
        reply, caller = self._reply, self.caller
        if reply is not None and caller is not None and reply.ended():
            caller.replied(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.pool.forget(self)
        caller, reply = self.caller, self._reply
        self.caller = self._reply = self._rest = None
        if caller is None or reply is None:
            return
        broken_pipe = isinstance(exc, OSError) and exc.errno == errno.EPIPE
        unsent = self._used and broken_pipe and reply.head is None and self._size <= _RESEND_BYTES
        caller.lost(unsent=unsent, why="the provider closed the connection before its answer was complete")

    def pause_writing(self) -> None:
        """What is written at once is bounded; the rest of a body waits for `resume_writing`."""

    def resume_writing(self) -> None:
        while self._rest is not None and self.transport is not None and not self.transport.is_closing():
            part, self._rest = self._rest[:WRITE_BYTES], self._rest[WRITE_BYTES:] or None
            self.transport.write(part)
            if self.transport.get_write_buffer_size() > WRITE_BYTES:
                return


class Pool:
    """Idle connections by origin, the last used first; makes new ones."""

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._idle: defaultdict[Origin, list[Upstream]] = defaultdict(list)
        self._open: set[Upstream] = set()
        self._tls = tls_context(settings)

    def take(self, origin: Origin) -> Upstream | None:
        """An idle connection on which nothing has happened, None where there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.at_rest():
                return connection
            connection.close()
        return None

    async def connect(self, origin: Origin) -> Upstream:
        """A new connection. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        secure = origin.scheme == "https"
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Upstream(self, origin),
                    origin.host,
                    origin.port,
                    ssl=self._tls if secure else None,
                    server_hostname=origin.host if secure else None,
                )
        except TimeoutError:
            raise Unreachable(timed_out=True) from None
        except (OSError, ssl.SSLError, UnicodeError):
            raise Unreachable from None
        if connection.transport is None or connection.transport.is_closing():
            raise Unreachable
        self._open.add(connection)
        return connection

    def give(self, connection: Upstream) -> None:
        """Keep a connection for the next exchange."""
        idle = self._idle[connection.origin]
        if len(idle) >= MAX_IDLE_PER_ORIGIN:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        idle.append(connection)

    def forget(self, connection: Upstream) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long."""
        for origin, idle in list(self._idle.items()):
            for connection in [each for each in idle if now - each.idle_since > IDLE_S]:
                idle.remove(connection)
                connection.close()
            if not idle:
                del self._idle[origin]

    def close(self) -> None:
        """Close every connection, in use or not."""
        for connection in list(self._open):
            connection.close()
