"""A gate that listens on loopback, a provider that does as it is told, and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jackstop.clock import ManualClock
from jackstop.control.protocol import Granted, Message, Need
from jackstop.events.schema import Event
from jackstop.gate.context import Gate
from jackstop.gate.journal import START, Flooded, Held, Journal, Reader, Recorded
from jackstop.gate.listener import listening
from jackstop.gate.registry import Registry
from jackstop.keys import format as key_format
from jackstop.keys.policy import CredentialRow, KeyRow, LimitRow, Policy
from jackstop.ledger import windows
from jackstop.ledger.books import Books
from jackstop.settings import Settings

NOW_US = 1_795_000_000 * 1_000_000
"""2026-11-18T11:06:40Z, a Wednesday."""
PEPPER = b"p" * 32
SECRET = b"sk-upstream-secret-0123456789"
PATIENCE_S = 10.0

USAGE = {"prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 70}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}


def configured(**gate: Any) -> Settings:
    """The default settings with some of the gate's changed."""
    return msgspec.structs.replace(Settings(), gate=msgspec.structs.replace(Settings().gate, **gate))


class Asked(NamedTuple):
    """A request as the provider got it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Handler = Callable[[Asked, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; True keeps the connection."""


def chat_body(**more: Any) -> bytes:
    """A complete chat completion with usage."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
    return json.dumps(
        {"id": "chatcmpl-x", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "choices": [choice]}
        | {"usage": USAGE}
        | more
    ).encode()


def chat_events(count: int = 3, *, usage: bool = True, done: bool = True) -> list[bytes]:
    """A streamed chat completion, event by event."""
    head = {"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
    events: list[dict[str, Any]] = [{**head, "choices": [choice]} for _ in range(count)]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        events.append({**head, "choices": [], "usage": USAGE})
    written = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return [*written, b"data: [DONE]\n\n"] if done else written


def plain(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole response with a length."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def replying(answer: bytes, *, keep: bool = True) -> Handler:
    """A provider that gives always the same answer."""

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        await writer.drain()
        return keep

    return handle


def streaming(events: list[bytes], *, end: bool = True, gate: asyncio.Event | None = None) -> Handler:
    """A provider that streams; with `gate` it waits after the first event, without `end` it breaks off."""

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD)
        for number, event in enumerate(events):
            if number == 1 and gate is not None and not await opened_before_end(gate, reader):
                return False
            writer.write(chunk(event))
            await writer.drain()
        if end:
            writer.write(b"0\r\n\r\n")
        return end

    return handle


async def opened_before_end(gate: asyncio.Event, reader: asyncio.StreamReader) -> bool:
    """Wait for the gate, or for the connection's end."""
    opened, ended = asyncio.ensure_future(gate.wait()), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({opened, ended}, return_when=asyncio.FIRST_COMPLETED)
        return opened.done()
    finally:
        for each in (opened, ended):
            each.cancel()
        await asyncio.gather(opened, ended, return_exceptions=True)


class Provider:
    """A provider on loopback. `handle` answers; `asked` is what it got; `connections` counts those it accepted."""

    def __init__(self) -> None:
        self.handle: Handler = replying(plain(chat_body()))
        self.asked: list[Asked] = []
        self.connections = 0
        self.closed = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while True:
                asked = await self._read(reader)
                self.asked.append(asked)
                if not await self.handle(asked, reader, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            self.writers.discard(writer)
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head[:-4].split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
        length = int(next((value for name, value in headers if name == "content-length"), "0"))
        return Asked(line, headers, await reader.readexactly(length))


class Answered(NamedTuple):
    """A response as a client got it, its body without framing."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes
    complete: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str | None:
        return self.headers.get("x-jackstop-reason")


class Client:
    """A raw connection to the gate."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answered:
        """Read one response to its end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._answer()

    async def _answer(self) -> Answered:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1")[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        raw, body, complete = head, b"", True
        try:
            if headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readexactly(2)
            elif "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            else:
                body = await self.reader.read(-1)
        except (asyncio.IncompleteReadError, ConnectionError):
            complete = False
        return Answered(int(line.split(" ")[1]), headers, body, raw + body, complete)

    async def ended(self) -> bool:
        """Whether the gate closes the connection."""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                await self.reader.read(-1)
            return True

    def close(self) -> None:
        self.writer.close()

    def cut(self) -> None:
        self.writer.transport.abort()


class Rig:
    """A gate with real registry, books and journal, and no control: what it knows is what a test tells it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.clock = ManualClock(NOW_US)
        self.journal = Journal(folder, "0-test", 1 << 22, 50, self.clock)
        self.journal.open(0)
        self.books = Books(self.journal, settings, self.clock)
        self.registry = Registry(self.books, settings, self.clock)
        self.registry.welcome(PEPPER, b"f" * 32, 1)
        self.gate = Gate(settings, self.registry, self.books, self.clock, "0-test", self.journal.has_room)
        self.provider = Provider()
        self.port = 0
        self.clients: list[Client] = []
        self._folder = folder
        self._seq = 0

    def tell(self, *rows: Any) -> None:
        """Rows as control would send them."""
        self._seq += 1
        self.registry.apply(list(rows), self._seq, more=False)
        self.registry.heard(self.clock.now_us())

    def key(self, number: int = 1, *, policy: Policy | None = None, **row: Any) -> str:
        """A key, known to the gate; returns what a client presents."""
        key_id = f"{number:012d}"
        secret = b"jsk_1" + key_id.encode() + b"_" + b"s" * 27
        whole = secret + key_format.checksum(secret)
        self.tell(
            KeyRow(
                id=key_id,
                digest=key_format.digest(PEPPER, whole),
                owner="app@example.com",
                team="web",
                name="app",
                policy=policy or Policy(),
                **row,
            )
        )
        return whole.decode()

    def credential(self, name: str = "main", provider: str = "openai", base_url: str = "", **row: Any) -> None:
        self.tell(CredentialRow(name, provider, base_url or f"http://127.0.0.1:{self.provider.port}", SECRET, **row))

    def limit(self, row: LimitRow, amount: int) -> None:
        """A limit, and as much of it leased as `amount`; asked for more, control would say that there is none."""
        self.tell(row)
        limit = self.books.limit(row.id)
        assert limit is not None
        grant(self.books, row, amount, self.clock.now_us())

    async def connect(self, **options: Any) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20, **options))
        self.clients.append(client)
        return client

    async def exchange(self, raw: bytes) -> Answered:
        """Send bytes on a connection of their own, and read one answer."""
        client = await self.connect()
        try:
            await client.send(raw)
            return await client.answer()
        finally:
            client.close()

    async def chat(self, key: str, body: Any = None, *, path: str = "/openai/v1/chat/completions") -> Answered:
        return await self.exchange(post(key, CHAT if body is None else body, path=path))

    def records(self, kind: type) -> list[Any]:
        reader = Reader(self._folder / "0-test")
        try:
            return [record for _, _, record in reader.records(START) if isinstance(record, kind)]
        finally:
            reader.close()

    def events(self) -> list[Event]:
        return [record.event for record in self.records(Recorded)]

    def holds(self) -> list[Held]:
        return self.records(Held)

    def floods(self) -> list[Flooded]:
        self.clock.advance(1.0)
        list(self.books.tend())
        return self.records(Flooded)

    async def until(self, what: Callable[[], Any]) -> Any:
        """Wait for a condition, not for a time."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := what()):  # noqa: ASYNC110 -- the condition is another's
                await asyncio.sleep(0.002)
        return found

    async def quiet(self) -> None:
        """Wait until no exchange runs, and check that nothing of any is left."""
        await self.until(lambda: not self.gate.exchanges)
        assert self.gate.draining == 0


def grant(books: Books, row: LimitRow, amount: int, now_us: int) -> None:
    """Lease a part of a limit, as control's answer would."""
    start = windows.bounds(row.window, now_us)[0] if row.kind in {"usd", "tokens", "requests"} else 0
    books.granted(Granted(row.id, start, row.id, amount, exhausted=True))


def control_has_no_more(rig: Rig) -> None:
    """Control's part: whoever asks for more hears that there is none."""

    def send(message: Message) -> bool:
        if isinstance(message, Need):
            answer = Granted(message.limit_id, message.window_us, message.limit_id, 0, exhausted=True)
            asyncio.get_running_loop().call_soon(rig.books.granted, answer)
        return True

    rig.books.connected(send)


def post(
    key: str, body: Any = None, *, path: str = "/openai/v1/chat/completions", headers: tuple[str, ...] = ()
) -> bytes:
    """A POST request as an SDK writes it."""
    raw = body if isinstance(body, bytes) else json.dumps(CHAT if body is None else body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: gate.test",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw


@contextlib.asynccontextmanager
async def running(
    folder: Path, *, client_tls: ssl.SSLContext | None = None, provider_tls: ssl.SSLContext | None = None, **gate: Any
) -> AsyncIterator[Rig]:
    """A gate that listens, and its provider, with the `openai` credential `main`."""
    rig = Rig(folder, configured(**gate))
    await rig.provider.start(provider_tls)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    rig.port = listener.getsockname()[1]
    rig.credential(base_url=f"{'https' if provider_tls else 'http'}://127.0.0.1:{rig.provider.port}")
    rig.gate.start()
    try:
        async with listening(rig.gate, listener, client_tls):
            yield rig
    finally:
        for client in rig.clients:
            client.cut()
        await rig.gate.close()
        await rig.provider.stop()
        for client in rig.clients:
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()
        rig.journal.close()
