"""Accept: a client's bytes become one request at a time, or a refusal; no sockets here.

The head is judged on its raw bytes before llhttp (httptools) reads it, because llhttp alone lets through
`Transfer-Encoding: gzip, chunked`, chunked on HTTP/1.0, two Hosts or none, and absolute targets
(RFC 9112 sections 2.2, 3.2, 5.1, 6.1, 6.3). Bodies are cut out here, so that what follows a request on the
same connection is never taken for a part of it.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Literal, NamedTuple

import httptools
import msgspec

from jackstop.errors import Refused
from jackstop.gate.chunks import ChunkedBody

MAX_TARGET_BYTES = 8_192
"""Request targets beyond this are no provider's path."""
_END = b"\r\n\r\n"
_HEAD = re.compile(
    rb"(?P<method>[A-Z]{1,16}) (?P<target>[\x21-\x7e]+) HTTP/(?P<version>[0-9]\.[0-9])\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n"
)
_BARE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")
_PATH = re.compile(
    rb"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]"
    rb"|%(?!2[eEfF5]|5[cC]|[01]|7[fF]|[89a-fA-F])[0-9A-Fa-f]{2})+)*/?"
)
_QUERY = re.compile(rb"[\x21\x24-\x7e]*")
_DOTS = re.compile(rb"\.\.|/\.(?:/|\Z)")
_HOST = re.compile(rb"[A-Za-z0-9.\-_\[\]:]+")
_LENGTH_DIGITS = 18
_LENGTH = re.compile(rb"[0-9]{1,%d}" % _LENGTH_DIGITS)
_LENGTH_LINE = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})(?=\r\n)" % _LENGTH_DIGITS, re.IGNORECASE)
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect"})


class WireLimits(msgspec.Struct, frozen=True):
    """How much of a request is read: bytes of its head, number of headers, bytes of its body."""

    head_bytes: int = 65_536
    headers: int = 100
    body_bytes: int = 32 * 1024 * 1024


class Head(msgspec.Struct):
    """A request's head, checked. Header names are in lower case; `first` holds the first value of each name.

    `headers` and `first` leave the length out, `names` are those of all headers in their order. `memo` is what
    later phases derive from the head and the connection alone; requests that differ only in their length share it.
    """

    method: str
    path: str
    query: bytes
    version: Literal["1.0", "1.1"]
    headers: list[tuple[bytes, bytes]]
    first: dict[bytes, bytes]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    size: int
    names: bytes
    memo: dict[str, Any]

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


def malformed(message: str, status: int = 400) -> Refused:
    """The refusal of bytes that are no request of this gate's kind."""
    return Refused("malformed", message, status=status)


class _Last(NamedTuple):
    """The head before on the same connection, and its bytes before and behind the digits of its length."""

    before: bytes
    behind: bytes
    head: Head


class _HeadSink:
    """What llhttp found in a head."""

    __slots__ = ("headers", "keep_alive", "parser", "target")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.keep_alive = False
        self.parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        # llhttp's flags are gone once the message is over, which for one without a body is now.
        self.keep_alive = bool(self.parser.should_keep_alive())


class RequestReader:
    """Reads requests from one connection. `feed` bytes, then ask for the head, then for the body, then `next`.

    A refusal is final: the connection has to be closed after the answer.
    """

    __slots__ = ("_body", "_chunks", "_count", "_last", "_length", "_limits", "_pending", "_scanned")

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._pending: bytes | bytearray = b""
        self._scanned = 0
        self._body: list[bytes] = []
        self._count = 0
        self._length = 0
        self._chunks: ChunkedBody | None = None
        self._last: _Last | None = None

    @property
    def buffered(self) -> int:
        """Bytes kept of requests that are not complete yet."""
        return len(self._pending) + self._count

    @property
    def idle(self) -> bool:
        """Whether not a byte of a next request has come."""
        return not self._pending and not self._count

    def feed(self, data: bytes) -> None:
        """Take bytes as they came from the client."""
        if not self._pending:
            self._pending = data
        else:
            if isinstance(self._pending, bytes):
                self._pending = bytearray(self._pending)
            self._pending += data

    def head(self) -> Head | Refused | None:
        """The next request's head; None while it is not complete."""
        pending = self._pending
        end = pending.find(_END, max(0, self._scanned - 3))
        limit = self._limits.head_bytes
        if end < 0:
            if len(pending) >= limit:
                return malformed(f"the request's head is beyond {limit} bytes", 431)
            if _BARE.search(pending, max(0, self._scanned - 1)):
                return malformed("the request's head has control characters or bare line ends")
            self._scanned = len(pending)
            return None
        end += len(_END)
        if end > limit:
            return malformed(f"the request's head is beyond {limit} bytes", 431)
        raw = bytes(pending[:end])
        self._pending = bytes(pending[end:])
        self._scanned = 0
        found = self._again(raw) or self._judge(raw)
        if isinstance(found, Head):
            self._length = found.content_length or 0
            self._chunks = ChunkedBody(self._limits.body_bytes) if found.chunked else None
        return found

    def _judge(self, raw: bytes) -> Head | Refused:
        found = read_head(raw, self._limits)
        if isinstance(found, Head) and (length := _LENGTH_LINE.search(raw)) is not None:
            self._last = _Last(raw[: length.start(1)], raw[length.end(1) :], found)
        return found

    def _again(self, raw: bytes) -> Head | None:
        """The head before with another length, where that is all in which this one differs: SDKs repeat themselves."""
        last = self._last
        if last is None or not raw.startswith(last.before):
            return None
        start = len(last.before)
        end = raw.find(b"\r\n", start)
        digits = raw[start:end]
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS or raw[end:] != last.behind:
            return None
        head = copy.copy(last.head)
        head.content_length = int(digits)
        head.size = len(raw)
        return head

    def forget(self) -> None:
        """Let go of the head before: a connection that rests holds next to nothing."""
        self._last = None

    def body(self) -> bytes | Refused | None:
        """The request's body once it is complete, empty where it has none; None while more has to come."""
        if self._pending:
            refused = self._take()
            if refused is not None:
                return refused
        if self._chunks is not None:
            return self._chunks.body() if self._chunks.complete else None
        if self._count < self._length:
            return None
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def _take(self) -> Refused | None:
        if self._chunks is not None:
            rest = self._chunks.feed(bytes(self._pending))
            self._count = self._chunks.count
            if isinstance(rest, Refused):
                return rest
            self._pending = rest
            return None
        missing = self._length - self._count
        if missing:
            part = bytes(self._pending[:missing])
            self._pending = bytes(self._pending[missing:])
            self._body.append(part)
            self._count += len(part)
        return None

    def next(self) -> None:
        """Forget the request that was read; what came behind it stays."""
        self._body = []
        self._count = 0
        self._length = 0
        self._chunks = None


def read_head(raw: bytes, limits: WireLimits) -> Head | Refused:
    """Judge one complete head, from its first byte to the empty line."""
    if raw.count(b"\r\n") - 2 > limits.headers:
        return malformed(f"more than {limits.headers} headers", 431)
    match = _HEAD.fullmatch(raw)
    if match is None:
        return malformed("the request's head is not HTTP/1.1")
    version = match["version"]
    if version not in {b"1.1", b"1.0"}:
        return malformed("only HTTP/1.1 and HTTP/1.0 are spoken here", 505)
    method = match["method"].decode()
    if method in {"CONNECT", "TRACE"}:
        return malformed(f"{method} is not offered here", 405)
    target = match["target"]
    if len(target) > MAX_TARGET_BYTES:
        return malformed(f"the request's target is beyond {MAX_TARGET_BYTES} bytes", 414)
    sink = _HeadSink()
    try:
        sink.parser.feed_data(raw)
    except httptools.HttpParserError:
        return malformed("the request's head is not HTTP/1.1")
    except httptools.HttpParserUpgrade:
        return malformed("an upgrade to another protocol is not offered here")
    finally:
        del sink.parser  # or the two would keep each other until the collector comes
    if sink.target != target:
        return malformed("the request's target is ambiguous")
    located = read_target(target)
    if isinstance(located, Refused):
        return located
    return _read_fields(method, located, version == b"1.1", sink.headers, len(raw), keep_alive=sink.keep_alive)


def read_target(target: bytes) -> tuple[str, bytes] | Refused:
    """Path and query of an origin-form target; every spelling that two servers may read differently is refused."""
    path, mark, query = target.partition(b"?")
    if not path.startswith(b"/"):
        return malformed("the request's target has to be a path that starts with /")
    if _PATH.fullmatch(path) is None or _DOTS.search(path):
        return malformed("the request's path has characters or segments that are not accepted here")
    if mark and _QUERY.fullmatch(query) is None:
        return malformed("the request's query has characters that are not accepted here")
    return path.decode("ascii"), query


def _read_fields(
    method: str,
    located: tuple[str, bytes],
    modern: bool,
    headers: list[tuple[bytes, bytes]],
    size: int,
    *,
    keep_alive: bool,
) -> Head | Refused:
    first: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in first:
            if name in _SINGLE:
                return malformed(f"the header {name.decode('ascii')} is there twice")
        else:
            first[name] = value
    host = first.get(b"host")
    if (host is None and modern) or (host is not None and _HOST.fullmatch(host) is None):
        return malformed("the request needs exactly one Host header with a host name")
    for name in (b"upgrade", b"trailer", b"http2-settings"):
        if name in first:
            return malformed(f"the header {name.decode('ascii')} is not accepted here")
    length = first.pop(b"content-length", None)
    coding = first.get(b"transfer-encoding")
    if length is not None and (coding is not None or _LENGTH.fullmatch(length) is None):
        return malformed("the request's Content-Length is not one plain number")
    if coding is not None and (not modern or coding.lower() != b"chunked"):
        return malformed("the only transfer coding is chunked, on HTTP/1.1")
    expect = first.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        return malformed("the only expectation that is met here is 100-continue", 417)
    return Head(
        method=method,
        path=located[0],
        query=located[1],
        version="1.1" if modern else "1.0",
        headers=headers if length is None else [header for header in headers if header[0] != b"content-length"],
        first=first,
        content_length=None if length is None else int(length),
        chunked=coding is not None,
        keep_alive=keep_alive and modern,
        expects_continue=expect is not None and modern,
        size=size,
        names=b",".join([name for name, _ in headers]),
        memo={},
    )
