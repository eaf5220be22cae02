"""Accept: a client's bytes become one request at a time, or a refusal; no sockets here.

The head is judged on its raw bytes before llhttp (httptools) reads it, because llhttp alone lets through
`Transfer-Encoding: gzip, chunked`, chunked on HTTP/1.0, two Hosts or none, and absolute targets
(RFC 9112 sections 2.2, 3.2, 5.1, 6.1, 6.3). Bodies are cut out here, so that what follows a request on the
same connection is never taken for a part of it.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Literal

import httptools
import msgspec
from msgspec.structs import replace

from jackstop.errors import Refused
from jackstop.gate.chunks import ChunkedBody
from jackstop.gate.refusals import malformed

MAX_TARGET_BYTES = 8_192
"""Request targets beyond this are no provider's path."""
LARGE_BODY_BYTES = 1024 * 1024
"""Bodies from here on are put together as they come, and judged in a thread."""
MAX_KEPT_HEADS = 4_096
"""Heads that are remembered at a time. Each has a key in it: it is about how many keys can be busy at once."""
MAX_KEPT_HEAD_BYTES = 4_096
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
# As clients write it; the length in any other spelling is read as well, but its head is not remembered.
_LENGTH_LINES = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
# Headers that two servers could read differently if they were there twice.
_SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect"})


class WireLimits(msgspec.Struct, frozen=True):
    """How much of a request is read: bytes of its head, number of headers, bytes of its body."""

    head_bytes: int = 65_536
    headers: int = 100
    body_bytes: int = 32 * 1024 * 1024


class Head(msgspec.Struct, gc=False):
    """A request's head, checked. Header names are in lower case; `first` holds the first value of each name.

    `headers` and `first` leave the length out, `names` are those of all headers in their order. `memo` is what
    later phases derive from the head alone, each under a name of its own (`presented`, `opening`, `event`,
    `forward`); requests that differ only in their length share it. `but_length` is the head as it came without the
    digits of its length, empty where these stand in an unusual way. `repeated` says that it was read before.
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
    but_length: bytes = b""
    repeated: bool = False

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.content_length)


class Heads:
    """Heads that were read within the last seconds, by their bytes without the digits of their length.

    A client repeats itself: but for the length, the head of its next request is the same, on this connection or
    another. `turn`, called at equal times, forgets what was not asked for since the call before; so a key in a
    head rests here for no longer than two of these times.
    """

    __slots__ = ("_now", "_then")

    def __init__(self) -> None:
        self._now: dict[bytes, Head] = {}
        self._then: dict[bytes, Head] = {}

    def find(self, but_length: bytes) -> Head | None:
        """The head that was read, to be copied and given its own length."""
        found = self._now.get(but_length)
        if found is None:
            found = self._then.get(but_length)
            if found is not None:
                self.keep(found)
        return found

    def keep(self, head: Head) -> None:
        """Remember a head, unless it is long or there are very many."""
        if 0 < len(head.but_length) <= MAX_KEPT_HEAD_BYTES and len(self._now) < MAX_KEPT_HEADS:
            self._now[head.but_length] = head

    def turn(self) -> None:
        """Some time has passed."""
        self._then, self._now = self._now, {}


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

    __slots__ = ("_body", "_chunks", "_count", "_heads", "_large", "_length", "_limits", "_pending", "_scanned")

    def __init__(self, limits: WireLimits, heads: Heads) -> None:
        self._limits = limits
        self._heads = heads
        self._pending: bytes | bytearray = b""
        self._scanned = 0
        self._body: list[bytes] = []
        self._large: BytesIO | None = None
        self._count = 0
        self._length = 0
        self._chunks: ChunkedBody | None = None

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
        found = self._known_head(raw, end) or self._new_head(raw)
        if isinstance(found, Head):
            self._length = found.content_length or 0
            self._chunks = ChunkedBody(self._limits.body_bytes) if found.chunked else None
        return found

    def whole(self, data: bytes) -> tuple[Head, bytes] | None:
        """The usual request: all in one piece, its head as one that was read before, and just its body behind it.

        None for any other, of which nothing was taken then.
        """
        end = data.find(_END) + len(_END)
        head = self._known_head(data, end)
        if head is None or head.content_length != len(data) - end:
            return None
        return head, data[end:]

    def _known_head(self, data: bytes, end: int) -> Head | None:
        """The head that ends at `end`, if it was read before with this or another length."""
        start = _length_at(data)
        if not 0 <= start < end:
            return None
        behind = data.find(b"\r\n", start)
        digits = data[start:behind]
        known = self._heads.find(data[:start] + data[behind:end])
        if known is None or not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
            return None
        return replace(known, content_length=int(digits), size=end, repeated=True)

    def _new_head(self, raw: bytes) -> Head | Refused:
        """The head, judged from its first byte to its last; it can be remembered."""
        found = read_head(raw, self._limits)
        start = _length_at(raw)
        if start >= 0 and isinstance(found, Head):
            found.but_length = raw[:start] + raw[raw.find(b"\r\n", start) :]
        return found

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
        if self._large is not None:
            return self._large.getvalue()
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
            self._add(part)
            self._count += len(part)
        return None

    def _add(self, part: bytes) -> None:
        """Keep a part of the body; one that is large grows in one piece, since joining it would take a while."""
        if self._length < LARGE_BODY_BYTES:
            self._body.append(part)
            return
        if self._large is None:
            self._large = BytesIO()
        self._large.write(part)

    def next(self) -> None:
        """Forget the request that was read; what came behind it stays."""
        self._body = []
        self._large = None
        self._count = 0
        self._length = 0
        self._chunks = None


def _length_at(raw: bytes) -> int:
    """Where the digits of the length begin, as clients usually write it; -1 where they do not."""
    for line in _LENGTH_LINES:
        start = raw.find(line)
        if start >= 0:
            return start + len(line)
    return -1


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
