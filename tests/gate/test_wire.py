"""What is a request, and what is refused as none, byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import Refused
from jackstop.gate.wire import MAX_KEPT_HEAD_BYTES, MAX_KEPT_HEADS, Head, Heads, RequestReader, WireLimits

LIMITS = WireLimits(head_bytes=1024, headers=20, body_bytes=1000)
HOST = "Host: gate.test\r\n"


def head_of(raw: bytes) -> Head | Refused | None:
    reader = RequestReader(LIMITS, Heads())
    reader.feed(raw)
    return reader.head()


def whole(raw: bytes, *, pieces: int = 1) -> tuple[Head | Refused | None, bytes | Refused | None, RequestReader]:
    """Feed a request in pieces of this size or in one."""
    reader = RequestReader(LIMITS, Heads())
    size = len(raw) if pieces == 1 else pieces
    head: Head | Refused | None = None
    body: bytes | Refused | None = None
    for start in range(0, len(raw), size):
        reader.feed(raw[start : start + size])
        if head is None:
            head = reader.head()
        if isinstance(head, Head) and body is None:
            body = reader.body()
    return head, body, reader


def test_a_plain_request_is_read() -> None:
    raw = b"POST /openai/v1/x?a=b HTTP/1.1\r\nHost: gate.test\r\nX-Y:  z \r\nContent-Length: 3\r\n\r\nabcGET"
    head, body, reader = whole(raw)
    assert isinstance(head, Head)
    assert (head.method, head.path, head.query, head.version) == ("POST", "/openai/v1/x", b"a=b", "1.1")
    assert head.headers == [(b"host", b"gate.test"), (b"x-y", b"z")]
    assert head.names == b"host,x-y,content-length"
    assert head.content_length == 3
    assert head.keep_alive
    assert body == b"abc"
    assert reader.buffered == 3 + len("GET")


GET = "GET / HTTP/1.1\r\n"
POST = "POST / HTTP/1.1\r\n" + HOST

HOSTILE = {
    "no host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET + HOST + HOST + "\r\n", 400),
    "two hosts of which one is empty": (GET + HOST + "Host:\r\n\r\n", 400),
    "an empty host": (GET + "Host:\r\n\r\n", 400),
    "a host with a path": (GET + "Host: a/b\r\n\r\n", 400),
    "a host with a user": (GET + "Host: a@b\r\n\r\n", 400),
    "an absolute target": ("GET http://gate.test/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an authority": ("GET gate.test:80 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an asterisk": ("OPTIONS * HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a connect": ("CONNECT gate.test:80 HTTP/1.1\r\n" + HOST + "\r\n", 405),
    "a trace": ("TRACE / HTTP/1.1\r\n" + HOST + "\r\n", 405),
    "an unknown method": ("BREW / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a method in lower case": ("get / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "version 0.9": ("GET /\r\n\r\n", 400),
    "version 2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "version 1.2": ("GET / HTTP/1.2\r\n" + HOST + "\r\n", 505),
    "a version in lower case": ("GET / http/1.1\r\n" + HOST + "\r\n", 400),
    "a space too many": ("GET  / HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a tab in the request line": ("GET\t/ HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an empty line before": ("\r\n" + GET + HOST + "\r\n", 400),
    "bare line feeds": ("GET / HTTP/1.1\nHost: gate.test\n\n", 400),
    "a bare line feed": (GET + HOST + "X: a\nY: b\r\n\r\n", 400),
    "a bare carriage return": (GET + HOST + "X: a\rY: b\r\n\r\n", 400),
    "a zero byte": (GET + HOST + "X: a\x00b\r\n\r\n", 400),
    "a control character": (GET + HOST + "X: a\x01b\r\n\r\n", 400),
    "a delete character": (GET + HOST + "X: a\x7fb\r\n\r\n", 400),
    "a folded header": (GET + HOST + "X: a\r\n b\r\n\r\n", 400),
    "a first header that is folded": (GET + " Host: gate.test\r\n\r\n", 400),
    "a space before the colon": (GET + HOST + "X : a\r\n\r\n", 400),
    "a header without a name": (GET + HOST + ": a\r\n\r\n", 400),
    "a header without a colon": (GET + HOST + "X\r\n\r\n", 400),
    "a header name with brackets": (GET + HOST + "X(y): a\r\n\r\n", 400),
    "a header name that is not ASCII": (GET + HOST + "X\xe4: a\r\n\r\n", 400),
    "two lengths": (POST + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "two different lengths": (POST + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
    "a list of lengths": (POST + "Content-Length: 1, 1\r\n\r\na", 400),
    "a length with a plus": (POST + "Content-Length: +1\r\n\r\na", 400),
    "a length with a minus": (POST + "Content-Length: -1\r\n\r\na", 400),
    "a length with a space": (POST + "Content-Length: 1 0\r\n\r\na", 400),
    "a hexadecimal length": (POST + "Content-Length: 0x1\r\n\r\na", 400),
    "a length with an underscore": (POST + "Content-Length: 1_0\r\n\r\na", 400),
    "a length beyond 64 bits": (POST + "Content-Length: 99999999999999999999\r\n\r\na", 400),
    "an empty length": (POST + "Content-Length:\r\n\r\na", 400),
    "length and chunked": (POST + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "chunked and length": (POST + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
    "gzip and chunked": (POST + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "chunked and identity": (POST + "Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    "two codings": (POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a coding behind a tab": (POST + "Transfer-Encoding:\x0bchunked\r\n\r\n", 400),
    "an unknown coding": (POST + "Transfer-Encoding: xchunked\r\n\r\n", 400),
    "an empty coding": (POST + "Transfer-Encoding:\r\n\r\n", 400),
    "chunked on 1.0": ("POST / HTTP/1.0\r\n" + HOST + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two content types": (POST + "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
    "an upgrade": (GET + HOST + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
    "an upgrade to HTTP/2": (GET + HOST + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n", 400),
    "an announced trailer": (POST + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n", 400),
    "an unknown expectation": (POST + "Expect: 200-ok\r\n\r\n", 417),
    "an escaped slash": ("GET /a%2fb HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped slash in capitals": ("GET /a%2Fb HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped backslash": ("GET /a%5cb HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped dot": ("GET /%2e%2e/b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped zero": ("GET /a%00 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped line end": ("GET /a%0d%0a HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escaped escape": ("GET /a%252e HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "an escape of what is not ASCII": ("GET /%c3%a4 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "half an escape": ("GET /a%2 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "two dots": ("GET /a/../b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "two dots at the end": ("GET /a/.. HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "one dot": ("GET /a/./b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "two slashes": ("GET /a//b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "two slashes first": ("GET //a HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a backslash": ("GET /a\\b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a fragment": ("GET /a#b HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a fragment behind a query": ("GET /a?b#c HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a path that is not ASCII": ("GET /\xe4 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "a query that is not ASCII": ("GET /?\xe4 HTTP/1.1\r\n" + HOST + "\r\n", 400),
    "too many headers": (GET + HOST + "X: y\r\n" * 20 + "\r\n", 431),
    "a head too long": (GET + HOST + "X: " + "y" * 1100 + "\r\n\r\n", 431),
    "a head too long without an end": (GET + HOST + "X: " + "y" * 1100, 431),
    "binary rubbish": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize(("raw", "status"), HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("pieces", [1, 7], ids=["at once", "in pieces"])
def test_hostile_heads_are_refused(raw: str, status: int, pieces: int) -> None:
    head, _, _ = whole(raw.encode("latin-1"), pieces=pieces)
    assert isinstance(head, Refused)
    assert (head.reason, head.status) == ("malformed", status)


@pytest.mark.parametrize(
    "target",
    ["/", "/openai/v1/models", "/bedrock/us-east-1/model/a.b-c%3A0/converse", "/gemini/v1/models/g:generate", "/a.b/c"],
)
def test_providers_paths_pass(target: str) -> None:
    head = head_of(f"GET {target} HTTP/1.1\r\n{HOST}\r\n".encode())
    assert isinstance(head, Head)
    assert head.path == target


def test_limits_are_exact() -> None:
    start = (GET + HOST + "X: ").encode()
    fits = start + b"y" * (1024 - len(start) - 4) + b"\r\n\r\n"
    assert isinstance(head_of(fits), Head)
    assert isinstance(head_of(start + b"y" * (1024 - len(start) - 3) + b"\r\n\r\n"), Refused)
    assert isinstance(head_of((GET + HOST + "X: y\r\n" * 19 + "\r\n").encode()), Head)


CHUNKED = "POST / HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n"

BODIES = {
    "one chunk": ("3\r\nabc\r\n0\r\n\r\n", b"abc"),
    "two chunks": ("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
    "leading zeros": ("003\r\nabc\r\n00\r\n\r\n", b"abc"),
    "capitals": ("A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "an extension": ("3;a=b\r\nabc\r\n0;c\r\n\r\n", b"abc"),
    "nothing": ("0\r\n\r\n", b""),
}


@pytest.mark.parametrize(("raw", "expected"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("pieces", [1, 2, 3], ids=["at once", "by twos", "by threes"])
def test_chunked_bodies_are_read(raw: str, expected: bytes, pieces: int) -> None:
    _, body, reader = whole((CHUNKED + raw + "GET").encode(), pieces=pieces)
    assert body == expected
    reader.next()
    assert reader.buffered == len("GET")


HOSTILE_BODIES = {
    "a trailer": ("0\r\nX: y\r\n\r\n", "malformed"),
    "a length as a trailer": ("0\r\nContent-Length: 5\r\n\r\n", "malformed"),
    "no size": ("\r\nabc\r\n", "malformed"),
    "a size with a prefix": ("0x3\r\nabc\r\n0\r\n\r\n", "malformed"),
    "a size with a sign": ("+3\r\nabc\r\n0\r\n\r\n", "malformed"),
    "a negative size": ("-3\r\nabc\r\n0\r\n\r\n", "malformed"),
    "a size with a space before": (" 3\r\nabc\r\n0\r\n\r\n", "malformed"),
    "a size with a space behind": ("3 \r\nabc\r\n0\r\n\r\n", "malformed"),
    "a size beyond 32 bits": ("fffffffff\r\n", "malformed"),
    "a chunk longer than it says": ("2\r\nabc\r\n0\r\n\r\n", "malformed"),
    "a chunk with a bare line feed": ("3\nabc\r\n0\r\n\r\n", "malformed"),
    "data that ends with a bare line feed": ("3\r\nabc\n0\r\n\r\n", "malformed"),
    "an endless extension": ("3;" + "a" * 200, "malformed"),
    "an extension with a control character": ("3;\x01\r\nabc\r\n", "malformed"),
    "too much in one chunk": ("3e9\r\n", "too_large"),
    "too much in all": ("3e8\r\n" + "a" * 1000 + "\r\n1\r\na\r\n0\r\n\r\n", "too_large"),
}


@pytest.mark.parametrize(("raw", "reason"), HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys())
@pytest.mark.parametrize("pieces", [1, 3], ids=["at once", "in pieces"])
def test_hostile_bodies_are_refused(raw: str, reason: str, pieces: int) -> None:
    head, body, _ = whole((CHUNKED + raw).encode("latin-1"), pieces=pieces)
    assert isinstance(head, Head)
    assert isinstance(body, Refused)
    assert body.reason == reason


HEAD: dict[str, Any] = {
    "method": "POST",
    "path": "/",
    "query": b"",
    "version": "1.1",
    "headers": [],
    "first": {},
    "content_length": 1,
    "chunked": False,
    "keep_alive": True,
    "expects_continue": False,
    "size": 1,
    "names": b"",
    "memo": {},
}


def reread(*raws: bytes) -> list[Head | Refused | None]:
    """The heads of requests that follow one another on one connection, all with a known key."""
    kept = Heads()
    reader = RequestReader(LIMITS, kept)
    heads = []
    for raw in raws:
        reader.feed(raw)
        heads.append(reader.head())
        if isinstance(heads[-1], Head):
            kept.keep(heads[-1])
            assert isinstance(reader.body(), bytes)
            reader.next()
    return heads


def with_length(length: str, rest: str = "X: y\r\n", body: int | None = None) -> bytes:
    sent = int(length) if body is None else body
    return f"POST / HTTP/1.1\r\n{HOST}Content-Length: {length}\r\n{rest}\r\n".encode() + b"a" * sent


def test_requests_that_differ_only_in_their_length_share_what_is_derived_from_their_heads() -> None:
    heads = reread(with_length("5"), with_length("123"), with_length("123", "X: z\r\n"), with_length("5"))
    assert [head.content_length for head in heads if isinstance(head, Head)] == [5, 123, 123, 5]
    one, two, three, four = (head for head in heads if isinstance(head, Head))
    assert one.memo is two.memo
    assert one.memo is not three.memo
    assert four.first[b"x"] == b"y"
    assert two.size == one.size + 2


@given(st.binary(max_size=300), st.sampled_from(["", "X: y\r\n", "Transfer-Encoding: chunked\r\n"]), st.integers(-3, 3))
def test_a_request_in_one_piece_is_what_it_is_in_two(body: bytes, rest: str, off: int) -> None:
    kept = Heads()
    first = RequestReader(LIMITS, kept)
    first.feed(with_length("5"))
    head = first.head()
    assert isinstance(head, Head)
    kept.keep(head)
    length = max(0, len(body) + off)
    raw = f"POST / HTTP/1.1\r\n{HOST}Content-Length: {length}\r\n{rest}\r\n".encode() + body
    at_once = RequestReader(LIMITS, kept).whole(raw)
    reader = RequestReader(LIMITS, kept)
    reader.feed(raw)
    again = reader.head()
    if at_once is None:
        assert off or rest != "X: y\r\n"
    else:
        assert at_once == (again, reader.body())
        assert at_once[1] == body


def test_a_head_is_forgotten_unless_it_is_seen_again() -> None:
    kept = Heads()

    def read() -> Head:
        reader = RequestReader(LIMITS, kept)
        reader.feed(with_length("5"))
        head = reader.head()
        assert isinstance(head, Head)
        return head

    first = read()
    assert read().memo is not first.memo, "only what was kept is known again"
    kept.keep(first)
    for _ in range(4):
        assert read().memo is first.memo
        kept.turn()
    kept.turn()
    assert read().memo is not first.memo


def test_long_heads_and_too_many_of_them_are_not_remembered() -> None:
    kept = Heads()
    for number in range(MAX_KEPT_HEADS + 1):
        kept.keep(Head(**{**HEAD, "but_length": b"%d" % number}))
    kept.keep(Head(**{**HEAD, "but_length": b"x" * (MAX_KEPT_HEAD_BYTES + 1)}))
    assert kept.find(b"0") is not None
    assert kept.find(b"%d" % MAX_KEPT_HEADS) is None
    assert kept.find(b"x" * (MAX_KEPT_HEAD_BYTES + 1)) is None


@pytest.mark.parametrize(
    "raw",
    [
        with_length("+5", body=5),
        with_length("5 5", body=5),
        with_length("0x5", body=5),
        with_length("", body=0),
        with_length("9" * 19, body=5),
        with_length("\xb2", body=2),
        with_length("5", "X: y\r\nContent-Length: 6\r\n"),
        with_length("5\r\nTransfer-Encoding: chunked", body=5),
        with_length("5\r\n folded", body=5),
        with_length("5\n", body=5),
    ],
)
def test_a_hostile_length_is_refused_behind_an_honest_one_too(raw: bytes) -> None:
    first, second = reread(with_length("5"), raw)
    assert isinstance(first, Head)
    assert isinstance(second, Refused)


def test_slivers_are_refused() -> None:
    _, body, _ = whole(CHUNKED.encode() + b"1;%s\r\na\r\n" % (b"x" * 120) * 900, pieces=900)
    assert isinstance(body, Refused)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_a_request_or_a_refusal_however_they_are_cut(raw: bytes, size: int) -> None:
    heads = []
    for pieces in (len(raw) or 1, size):
        reader = RequestReader(LIMITS, Heads())
        head = None
        for start in range(0, len(raw), pieces):
            reader.feed(raw[start : start + pieces])
            head = head or reader.head()
        heads.append(type(head))
    assert heads[0] == heads[1]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 50), st.booleans())
def test_pipelined_requests_come_out_one_by_one(bodies: list[bytes], size: int, chunked: bool) -> None:
    raw = b""
    for body in bodies:
        if chunked:
            raw += CHUNKED.encode() + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        else:
            raw += f"POST / HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n\r\n".encode() + body
    reader = RequestReader(LIMITS, Heads())
    found: list[bytes] = []
    head = None
    for start in range(0, len(raw), size):
        reader.feed(raw[start : start + size])
        while True:
            head = head or reader.head()
            body = reader.body() if isinstance(head, Head) else None
            if body is None:
                break
            assert isinstance(body, bytes)
            found.append(body)
            reader.next()
            head = None
    assert found == bodies
    assert reader.buffered == 0
