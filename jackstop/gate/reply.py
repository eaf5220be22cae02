"""Stream: a provider's bytes become one reply: its head, its body as it comes, its end; no sockets here.

llhttp (httptools) reads them, but for the usual whole answer: a strict head with one plain length, whose body is
counted here.
"""

from __future__ import annotations

import re

import httptools
import msgspec

MAX_HEAD_BYTES = 65_536
MAX_INTERIM = 16
"""How many 1xx responses are skipped before the answer."""
BODYLESS = frozenset({204, 304})
"""Statuses of answers without a body, whatever their headers say (RFC 9110 sections 15.3.5, 15.4.5)."""
_LENGTH = re.compile(rb"[0-9]{1,18}")
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*+(?<![\t ])\r\n)+)\r\n"
)
_FIELD = re.compile(rb"([^:]+):[\t ]*([^\r]*)\r\n")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# Headers that say how the body ends, or what becomes of the connection.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"trailer"})


class ReplyBroken(Exception):
    """The provider's bytes are no HTTP response that can be passed on; says what is wrong with them."""


class ReplyHead(msgspec.Struct, frozen=True, gc=False):
    """Status and headers, names in lower case; `length` is None for a body that is chunked or ends with the stream.

    `hop` are the names that the Connection header adds to the headers of this connection alone.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None
    hop: frozenset[bytes] = frozenset()


class ReplyReader:
    """Reads the one reply to one request. After each `feed`, look at `head`, `take()` and `complete`.

    `_missing` is what of a plain reply's body is still to come, -1 where llhttp reads the reply; `_surplus` says that
    more came than the reply, so that nothing can be believed of what would follow.
    """

    __slots__ = (
        "_fields",
        "_in_head",
        "_interim",
        "_missing",
        "_parser",
        "_parts",
        "_persistent",
        "_seen",
        "_surplus",
        "complete",
        "head",
    )

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None
        self._missing = -1
        self._fields: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._in_head = True
        self._interim = 0
        self._seen = 0
        self._persistent = False
        self._surplus = False
        self.head: ReplyHead | None = None
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Take bytes as they came. Raises ReplyBroken."""
        if self._missing >= 0:
            self._add(data)
            return
        if self.head is None:
            if not self._seen and self._read_plain(data):
                return
            self._seen += len(data)
        parser = self._parser
        if parser is None:
            if self.complete:
                self._surplus = True
                return
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ReplyBroken("it wants to change the protocol") from None
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            raise cause if isinstance(cause, ReplyBroken) else ReplyBroken("it is not HTTP/1.1") from None
        except httptools.HttpParserError:
            raise ReplyBroken("it is not HTTP/1.1") from None
        if self.complete:
            self._parser = None  # or the two would keep each other until the collector comes
        elif self.head is None and self._seen > MAX_HEAD_BYTES:
            raise ReplyBroken("its head is too long")

    def _read_plain(self, data: bytes) -> bool:
        """Read a whole head that says nothing but its body's length of how the body ends; False for any other."""
        match = _PLAIN_HEAD.match(data)
        if match is None or match.end() > MAX_HEAD_BYTES:
            return False
        status = int(match[1])
        fields = [(name.lower(), value) for name, value in _FIELD.findall(match[2])]
        framing = [field for field in fields if field[0] in _FRAMING]
        if len(framing) != 1 or framing[0][0] != b"content-length" or status in BODYLESS:
            return False
        length = framing[0][1]
        if _LENGTH.fullmatch(length) is None:
            return False
        self._missing = int(length)
        self.head = ReplyHead(status, fields, self._missing)
        self._persistent = True
        self._add(data[match.end() :])
        return True

    def _add(self, data: bytes) -> None:
        """Take bytes of a plain reply's body."""
        missing = self._missing
        if len(data) > missing:
            self._surplus = True
            data = data[:missing]
        if data:
            self._parts.append(data)
        self._missing = missing - len(data)
        self.complete = self._missing == 0

    def ended(self) -> bool:
        """The provider closed the connection: whether that is the end of the body rather than a break."""
        if self.head is not None and not self.complete and self.head.length is None and not self._chunked():
            self.complete = True
            self._surplus = True
        return self.complete

    def take(self) -> bytes:
        """The bytes of the body that have come since the last call."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return data

    @property
    def keeps_alive(self) -> bool:
        """Whether another request can follow on the same connection."""
        return self.complete and not self._surplus and self._persistent

    def _chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self._fields)

    # -- what llhttp calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self.complete:
            self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAX_INTERIM:
                raise ReplyBroken("it wants to change the protocol" if status == 101 else "it never gets to an answer")
            return
        self._in_head = False
        self.head = ReplyHead(status, self._fields, self._body_length(status), self._hop())

    def _hop(self) -> frozenset[bytes]:
        lists = [value for name, value in self._fields if name == b"connection"]
        return frozenset(part.strip().lower() for value in lists for part in value.split(b","))

    def _body_length(self, status: int) -> int | None:
        length = coding = None
        for name, value in self._fields:
            if _VALUE.fullmatch(value) is None:
                raise ReplyBroken("its headers have control characters")
            if name == b"content-length" or name == b"transfer-encoding":  # noqa: PLR1714 -- on every response
                if length is not None or coding is not None:
                    raise ReplyBroken("it gives its length twice")
                length, coding = (value, None) if name == b"content-length" else (None, value)
        if coding is not None:
            assert self._parser is not None
            if coding.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                raise ReplyBroken("its transfer coding is not chunked")
            return None
        if status in BODYLESS:
            return 0
        if length is None:
            return None
        if _LENGTH.fullmatch(length) is None:
            raise ReplyBroken("its length is not a number")
        return int(length)

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        if self.head is None:
            self._fields = []
        else:
            assert self._parser is not None
            self.complete = True
            # llhttp knows it only now: its flags are gone once the message is over.
            self._persistent = bool(self._parser.should_keep_alive())
