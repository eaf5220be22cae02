"""One request to a practice provider, from its headers to its row on the bill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Protocol

import msgspec

from jackstop.clock import Clock
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.behaviour import PLAIN, Behaviour, Modes
from jackstop.sandbox.bill import Bill, Row, fingerprint
from jackstop.sandbox.catalogue import Catalogue, Model, Tokens
from jackstop.sandbox.errors import ProviderError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TRANSPORT = "jackstop.sandbox.transport"
MAX_BODY_BYTES = 64 * 1024 * 1024
_CHUNKS_PER_WRITE = 32
_EVENTS = b"text/event-stream; charset=utf-8"
_RETRIED = (429, 503, 529)
_GARBAGE = b'{"id": "practice", "object": \xff\xfe <html>502</html>'
_GARBAGE_STREAM = b'data: {"id": "practice", "choi\n\nevent\n\ndata: \xff\xfe not JSON\n\ndata: [1, 2\n\n'


class Dialect(Protocol):
    """How one provider names its caller, its errors and its headers."""

    provider: str

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        """The credential presented. Raises ProviderError when there is none."""
        ...

    def error(self, error: ProviderError, request_id: str) -> bytes:
        """The body of an error."""
        ...

    def headers(self, request_id: str) -> Headers:
        """What this provider puts on every response."""
        ...


class Answer(Protocol):
    """What an inference returns, whole or piece by piece."""

    def whole(self) -> object:
        """The complete response as a JSON-able value."""
        ...

    def head(self) -> Iterable[bytes]:
        """The events before anything is generated."""
        ...

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        """The chunks, each with the number of tokens that were generated for it; they add up to the whole output."""
        ...

    def tail(self) -> Iterable[bytes]:
        """The events after everything is generated."""
        ...

    def fault(self) -> bytes:
        """An error within the stream."""
        ...


class Practice:
    """What all requests share: models, modes, the bill, the accounts, and the time."""

    def __init__(self, clock: Clock, instance: int) -> None:
        self.clock = clock
        self.catalogue = Catalogue.load()
        self.bill = Bill()
        self.modes = Modes()
        self.accounts = Accounts(clock, self.bill)
        self.contexts: dict[str, int] = {}
        self._instance = instance
        self._seq = 0

    def next_request(self) -> tuple[int, str]:
        """A sequence number, and an identifier that no other request of any practice provider has."""
        self._seq += 1
        return self._seq, f"{self._instance:08x}{self._seq:024x}"


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_generated",
        "_receive",
        "_send",
        "_started",
        "_transport",
        "behaviour",
        "body",
        "client",
        "credential",
        "dialect",
        "endpoint",
        "header",
        "ident",
        "practice",
        "query",
        "scheme",
        "seq",
        "ts_us",
    )

    def __init__(
        self, practice: Practice, dialect: Dialect, endpoint: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.practice = practice
        self.dialect = dialect
        self.endpoint = endpoint
        self.header: dict[bytes, bytes] = dict(scope["headers"])
        self.query: bytes = scope["query_string"]
        self.scheme: str = scope.get("scheme", "http")
        self.client: str = (scope.get("client") or ("", 0))[0]
        self.seq, self.ident = practice.next_request()
        self.ts_us = practice.clock.now_us()
        self.credential = ""
        self.behaviour: Behaviour = PLAIN
        self.body = b""
        self._receive = receive
        self._send = send
        self._started = False
        self._generated = 0
        self._transport = scope.get("extensions", {}).get(TRANSPORT)

    @property
    def request_id(self) -> str:
        return f"req_{self.ident}"

    @property
    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        return self._transport is not None and self._transport.is_closing()

    async def accept(self) -> bool:
        """Read the request and meet it as its behaviour says; False when that was all.

        Raises ProviderError without a credential, with one that does not count any more, and where the behaviour asks
        for an error.
        """
        self.credential = fingerprint(self.dialect.secret(self.header))
        self.body = await self._read()
        self.practice.accounts.admit(self.dialect.provider, self.credential, self.endpoint)
        behaviour = self.behaviour = self.practice.modes.behaviour(self.credential, self.body)
        if behaviour is PLAIN:
            return True
        if behaviour.hang:
            await self._wait_for_end()
            self.book(status=499, stayed=False)
            return False
        if behaviour.half_headers and self._transport is not None:
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-len")
            await self.cut()
            self.book(status=200, stayed=False)
            return False
        if behaviour.status:
            await self._sleep(behaviour.latency_ms)
            error = ProviderError(behaviour.status, f"sandbox: status {behaviour.status} as asked for")
            error.retry_after_s = behaviour.retry_after if behaviour.retry_after >= 0 else None
            raise error
        return True

    def json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ProviderError when it is none."""
        try:
            body = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ProviderError(
                400,
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
                "library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
            )
        return body

    async def infer(self, model: Model, tier: str, tokens: Tokens, answer: Answer, *, stream: bool) -> None:
        """Give the answer as the behaviour says, and bill what was generated."""
        behaviour = self.behaviour
        used = tokens
        try:
            await self._sleep(behaviour.latency_ms)
            if behaviour.garbage:
                await self.reply(
                    200, _GARBAGE_STREAM if stream else _GARBAGE, kind=_EVENTS if stream else b"application/json"
                )
            elif stream:
                await self._stream(tokens, answer)
            else:
                await self._whole(msgspec.json.encode(answer.whole()))
        finally:
            if stream and not behaviour.garbage:
                done = self._generated
                used = msgspec.structs.replace(tokens, output=done, reasoning=min(tokens.reasoning, done))
            units = model.cost(used, tier, self.ts_us)
            self.book(model=model.snapshot, tier=tier, tokens=used, units=units, stream=stream, stayed=not self.gone)

    async def _whole(self, body: bytes) -> None:
        if self.behaviour.cut_after < 0:
            await self.reply(200, body)
            return
        await self._start(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
        await self._write(body[: len(body) // 2])
        await self.cut()

    async def _stream(self, tokens: Tokens, answer: Answer) -> None:
        """Send the events, and count what is generated until the end or until the client's absence is noticed."""
        behaviour = self.behaviour
        stop = {behaviour.cut_after, behaviour.hang_after, behaviour.error_after} - {-1}
        count, complete = 0, False
        try:
            await self._start(200, [(b"content-type", _EVENTS)])
            pending = list(answer.head())
            for data, amount in answer.pieces():
                if count in stop:
                    break
                if behaviour.pace_ms:
                    await self._write(b"".join(pending))
                    pending.clear()
                    await self._sleep(behaviour.pace_ms)
                self._generated += amount
                count += 1
                if self.gone:
                    break
                pending.append(data)
                if len(pending) >= _CHUNKS_PER_WRITE:
                    await self._write(b"".join(pending))
                    pending.clear()
                    await asyncio.sleep(0)
            complete = count not in stop and self._generated >= tokens.output
            if complete:
                pending.extend(answer.tail())
            elif count == behaviour.error_after:
                pending.append(answer.fault())
            await self._write(b"".join(pending))
            await self._finish(count)
        finally:
            if not complete:
                self._generated = min(tokens.output, self._generated + behaviour.linger)

    async def _finish(self, count: int) -> None:
        if count == self.behaviour.cut_after:
            await self.cut()
        elif count == self.behaviour.hang_after:
            await self._wait_for_end()
        else:
            await self._end()

    async def refuse(self, error: ProviderError) -> None:
        """Answer with an error in the provider's own shape. Never billed."""
        headers: Headers = []
        wait = error.retry_after_s
        if wait is None and error.status in _RETRIED:
            wait = 1
        if wait is not None:
            headers.append((b"retry-after", b"%d" % wait))
        await self.reply(error.status, self.dialect.error(error, self.request_id), beside=headers)
        self.book(status=error.status, stayed=not self.gone)

    async def reply(
        self, status: int, body: bytes, *, beside: Headers | None = None, kind: bytes = b"application/json"
    ) -> None:
        """Answer with a complete body of this kind."""
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *(beside or ())]
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def book(
        self,
        *,
        status: int = 200,
        model: str = "",
        tier: str = "",
        tokens: Tokens | None = None,
        units: int = 0,
        stream: bool = False,
        stayed: bool = True,
    ) -> None:
        """Write this request's row."""
        used = tokens or Tokens()
        self.practice.bill.add(
            Row(
                seq=self.seq,
                id=self.request_id,
                ts=self.ts_us,
                credential=self.credential,
                provider=self.dialect.provider,
                endpoint=self.endpoint,
                model=model,
                stream=stream,
                status=status,
                input_tokens=used.fresh,
                cached_tokens=used.cached,
                cache_write_tokens=used.cache_write + used.cache_write_1h,
                output_tokens=used.output,
                reasoning_tokens=used.reasoning,
                searches=used.searches,
                units=units,
                stayed=stayed,
                tier=tier,
                cache_write_1h_tokens=used.cache_write_1h,
            )
        )

    async def cut(self) -> None:
        """Close the connection once what was written is sent, without ending the response."""
        if self._transport is not None:
            self._transport.close()
            await self._wait_for_end()

    @property
    def started(self) -> bool:
        """Whether a status line was sent, so that nothing else can be answered."""
        return self._started

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ProviderError(400, "the request ended before its body did")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                raise ProviderError(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _start(self, status: int, headers: Headers) -> None:
        self._started = True
        headers.extend(self.dialect.headers(self.request_id))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _sleep(self, milliseconds: int) -> None:
        if milliseconds:
            await asyncio.sleep(milliseconds / 1_000)

    async def _wait_for_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
