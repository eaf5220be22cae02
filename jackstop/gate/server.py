"""Accept: client connections as asyncio protocols; one request at a time, reading paused while one is served."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from enum import Enum
from typing import cast

from jackstop.errors import Refused
from jackstop.gate import refusals
from jackstop.gate.context import Gate
from jackstop.gate.exchange import Exchange
from jackstop.gate.source import Source, behind, of_peer
from jackstop.gate.wire import Head, RequestReader

DISCARD_BYTES = 8 * 1024 * 1024
"""How much of a refused request is still read, so that the client gets to the answer and not to a reset."""
DISCARD_S = 2.0
BODY_STEP_BYTES = 256 * 1024
"""A body may take `body_timeout_s` for each piece of this size; what comes later than that is no honest client's."""
RETIRE_S = 1.0
"""While the gate stops, a connection that is idle for so long is closed; its client is hardly about to use it."""
SHORT_HEAD_BYTES = 8 * 1024
"""A head that is not complete by then may not grow where too many bytes of heads are kept already."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
# SO_LINGER on, for no time at all: the kernel then ends the connection with a reset (socket(7)).
_RESET = struct.pack("ii", 1, 0)
_UNKNOWN_DIALECT: refusals.ErrorDialect = "openai"
_TOO_MUCH = Refused("overload", "the gate has too much in its hands; try again shortly", retry_after_s=2)


class State(Enum):
    """What a connection waits for: a request, the rest of its head or body, its answer (BUSY), the client to take that
    (FLUSH), the rest of a request that nobody reads (DISCARD), nothing any more.
    """

    IDLE = 1
    HEAD = 2
    BODY = 3
    BUSY = 4
    FLUSH = 5
    DISCARD = 6
    CLOSED = 7


class Connection(asyncio.Protocol):
    """One client connection. `deadline` is when the clock should call `expired`."""

    __slots__ = (
        "_advancing",
        "_body_step",
        "_counted_body",
        "_counted_head",
        "_discarded",
        "_exchange",
        "_gate",
        "_paused",
        "_peer",
        "_reader",
        "_sender",
        "_state",
        "_transport",
        "_write_paused",
        "deadline",
    )

    def __init__(self, gate: Gate, peer: Source | None = None) -> None:
        self._gate = gate
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(gate.limits, gate.heads)
        self._exchange: Exchange | None = None
        self._state = State.IDLE
        self._advancing = False
        self._paused = False
        self._write_paused = False
        self._counted_body = 0
        self._counted_head = 0
        self._discarded = 0
        self._body_step = 0
        self._sender = ""
        self.deadline = math.inf

    # -- what the transport calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods, but are not its classes.
        transport = cast("asyncio.Transport", transport)
        gate = self._gate
        self._transport = transport
        if self._peer is None:
            peer = transport.get_extra_info("peername")
            self._peer = of_peer(peer[0] if isinstance(peer, tuple) else "")
        gate.connections.add(self)
        self.deadline = gate.now() + gate.settings.gate.idle_timeout_s
        if len(gate.connections) > gate.settings.gate.max_connections:
            self._turn_away(Refused("overload", "the gate has too many connections; try again shortly", 503))
        elif gate.stopping:
            self.retire()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is State.IDLE and self._reader.idle:
            request = self._reader.whole(data)
            if request is not None:
                self._take_whole(*request)
                return
        if state is State.DISCARD:
            self._discarded += len(data)
            if self._discarded > DISCARD_BYTES:
                self.abort()
            return
        if state is State.CLOSED:
            return
        self._reader.feed(data)
        if state is State.BUSY or state is State.FLUSH:
            self._pause()
        else:
            self._advance()
        self._count()

    def eof_received(self) -> None:
        """A client that ends its side is gone: nobody waits for an answer with half a connection here."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- as asyncio calls it
        gate = self._gate
        gate.connections.discard(self)
        self._transport = None
        self._state = State.CLOSED
        self.deadline = math.inf
        self._count_as(0, 0)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_left()

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._exchange is not None:
            self._exchange.client_slow()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.client_ready()
        elif self._state is State.FLUSH:
            self._rest()
            self._advance()

    # -- reading ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go on with what has been read, until something is missing or an exchange runs."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._step():
                pass
        finally:
            self._advancing = False

    def _step(self) -> bool:
        state = self._state
        if state is State.IDLE or state is State.HEAD:
            return self._read_head()
        if state is State.BODY:
            return self._read_body()
        return False

    def _read_head(self) -> bool:
        gate = self._gate
        found = self._reader.head()
        if found is None:
            if self._state is State.IDLE and not self._reader.idle:
                self._state = State.HEAD
                self.deadline = gate.now() + gate.settings.gate.header_timeout_s
            if gate.too_many_heads and self._reader.buffered > SHORT_HEAD_BYTES:
                self._turn_away(_TOO_MUCH)
            return False
        self._state = State.HEAD
        if isinstance(found, Refused):
            self._turn_away(found)
            return False
        if found.path in _HEALTH_PATHS:
            self._answer_health(found)
            return True
        exchange = self._open(found)
        if exchange is None:
            return True
        self._state = State.BODY
        if self._counted_body or self._counted_head:
            self._count_as(0, 0)
        self._sender = exchange.key_id
        self._body_step = 0
        self.deadline = gate.now() + gate.settings.gate.body_timeout_s
        if found.expects_continue and found.has_body and self._reader.idle:
            self.write(_CONTINUE)
        return True

    def _open(self, head: Head) -> Exchange | None:
        """Begin an exchange; None when it was refused, and answered."""
        exchange = self._exchange = Exchange(self._gate, self, head, self._source(head))
        if not exchange.open():
            return None
        if head.has_body and (refused := self._too_much(head)) is not None:
            exchange.refuse(refused, keep=False)
            return None
        return exchange

    def _source(self, head: Head) -> Source:
        peer = self._peer
        assert peer is not None
        if not self._gate.trusted:
            return peer
        return behind(peer, self._gate.trusted, [value for name, value in head.headers if name == b"x-forwarded-for"])

    def _too_much(self, head: Head) -> Refused | None:
        limit = self._gate.limits.body_bytes
        if head.content_length is not None and head.content_length > limit:
            return Refused("too_large", f"the request's body is beyond {limit} bytes")
        if self._gate.overloaded:
            return _TOO_MUCH
        return None

    def _take_whole(self, head: Head, body: bytes) -> None:
        """Serve a request that came in one piece: nothing of it is ever kept here."""
        self._state = State.HEAD
        exchange = self._open(head)
        if exchange is not None:
            self._serve(exchange, body)

    def _serve(self, exchange: Exchange, body: bytes) -> None:
        self._state = State.BUSY
        self.deadline = math.inf
        exchange.receive(body)

    def _read_body(self) -> bool:
        exchange = self._exchange
        assert exchange is not None
        body = self._reader.body()
        if body is None:
            self._count()
            if self._reader.buffered - self._body_step >= BODY_STEP_BYTES:
                self._body_step = self._reader.buffered
                self.deadline = self._gate.now() + self._gate.settings.gate.body_timeout_s
            if self._gate.overloaded or self._gate.uploads_too_much(self._sender):
                exchange.refuse(_TOO_MUCH, keep=False)
            return False
        if isinstance(body, Refused):
            exchange.refuse(body, keep=False)
            return True
        self._reader.next()
        self._serve(exchange, body)
        return self._state is not State.BUSY

    def _count(self) -> None:
        """Count what is buffered here among all that is: as a body once its sender is known, as a head before."""
        buffered = self._reader.buffered
        if not (buffered or self._counted_body or self._counted_head):
            return
        if self._state is State.IDLE or self._state is State.HEAD:
            self._count_as(buffered, 0)
        elif self._state is not State.CLOSED:
            if not self._counted_body and self._exchange is not None:
                self._sender = self._exchange.key_id
            self._count_as(0, buffered)

    def _count_as(self, head: int, body: int) -> None:
        gate = self._gate
        gate.buffered_heads += head - self._counted_head
        if body != self._counted_body:
            gate.buffered += body - self._counted_body
            gate.upload(self._sender, body - self._counted_body)
        self._counted_head, self._counted_body = head, body

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # -- answering --------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def finished(self, *, keep: bool) -> None:
        """The answer is complete: on to the next request, or the end."""
        self._exchange = None
        if self._transport is None or self._state is State.CLOSED:
            return
        if not keep:
            self._end(whole=self._state is State.BUSY)
        elif self._write_paused:
            self._state = State.FLUSH
            self.deadline = self._gate.now() + self._gate.settings.gate.write_timeout_s
        else:
            self._rest()
            if not self._reader.idle:
                self._advance()

    def _rest(self) -> None:
        self._state = State.IDLE
        gate = self._gate
        self.deadline = gate.now() + (RETIRE_S if gate.stopping else gate.settings.gate.idle_timeout_s)
        self._resume()

    def _end(self, *, whole: bool) -> None:
        """Close once the answer is out. Where the request was not read whole, take some more of it first."""
        assert self._transport is not None
        gate = self._gate
        self._count_as(0, 0)
        self._reader = RequestReader(gate.limits, gate.heads)
        if whole:
            self._state = State.CLOSED
            self.deadline = gate.now() + gate.settings.gate.write_timeout_s
            self._transport.close()
            return
        self._state = State.DISCARD
        self.deadline = gate.now() + DISCARD_S
        self._resume()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def abort(self) -> None:
        """Cut the connection with a reset, which no client takes for an end."""
        self._exchange = None
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                except OSError:
                    pass  # already closed by the peer
            self._transport.abort()

    def _turn_away(self, refused: Refused) -> None:
        """Answer bytes that are no request: nobody is known yet, so it is counted and not recorded."""
        assert self._peer is not None
        self._gate.books.flood(self._peer.net)
        self.write(refusals.answer(refused, _UNKNOWN_DIALECT, close=True))
        self._state = State.HEAD
        self.finished(keep=False)

    def _answer_health(self, head: Head) -> None:
        """`/healthz`: the process runs. `/readyz`: it serves."""
        if head.method not in {"GET", "HEAD"} or head.has_body:
            self._turn_away(refusals.malformed("this path takes GET without a body", 405))
            return
        good = head.path == "/healthz" or self._gate.ready
        keep = head.keep_alive and not self._gate.stopping
        content = b'{"status":"ok"}' if good else b'{"status":"not ready"}'
        self._state = State.BUSY
        self._reader.next()
        self.write(refusals.response(200 if good else 503, content, {}, close=not keep, body=head.method == "GET"))
        self.finished(keep=keep)

    # -- time -------------------------------------------------------------------------------------------------------

    def expired(self) -> None:
        """The client took too long for what the connection waits for."""
        self.deadline = math.inf
        state = self._state
        if self._transport is None:
            return
        if state is State.IDLE:
            self._end(whole=True)
        elif state is State.HEAD:
            self._turn_away(refusals.malformed("the request's head did not come in time", 408))
        elif state is State.BODY and self._exchange is not None:
            self._exchange.refuse(refusals.malformed("the request's body did not come in time", 408), keep=False)
        else:
            self.abort()

    def retire(self) -> None:
        """The gate stops: an idle connection is closed soon, one in use after its answer."""
        if self._state is State.IDLE:
            self.deadline = min(self.deadline, self._gate.now() + RETIRE_S)
