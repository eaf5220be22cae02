"""A provider's bytes, as a script of what is fed and what comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.gate.reply import ReplyBroken, ReplyReader

HEAD = b"HTTP/1.1 200 OK\r\nX-A: b \r\n"


def fed(raw: bytes, size: int = 1 << 20) -> tuple[ReplyReader, bytes]:
    reader, body = ReplyReader(), b""
    for start in range(0, len(raw), size):
        reader.feed(raw[start : start + size])
        body += reader.take()
    return reader, body


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "body", "keeps_alive"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc", True),
        (HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: y\r\n\r\n", b"abc", True),
        (HEAD + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc", b"abc", True),
        (HEAD + b"Content-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n", b"abc", False),
    ],
)
def test_replies_are_read_however_they_are_cut(raw: bytes, body: bytes, keeps_alive: bool, size: int) -> None:
    reader, found = fed(raw, size)
    assert reader.complete
    assert found == body
    assert reader.keeps_alive == keeps_alive
    assert reader.head is not None
    assert reader.head.status in {200, 204}
    assert (b"x-t", b"y") not in reader.head.headers


def test_the_end_of_the_connection_ends_only_a_body_without_a_length() -> None:
    reader, body = fed(HEAD + b"\r\nabc")
    assert not reader.complete
    assert reader.ended()
    assert body == b"abc"
    assert not reader.keeps_alive
    for raw in (HEAD, HEAD + b"Content-Length: 4\r\n\r\nabc", HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
        assert not fed(raw)[0].ended()


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_reply_or_broken(raw: bytes, after_head: bool) -> None:
    try:
        reader, _ = fed((HEAD if after_head else b"") + raw, 7)
    except ReplyBroken:
        return
    reader.ended()
