"""No answer carries the credential that it was asked with, whatever the provider repeats."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.gate.answer import MAX_ERROR_BYTES, Answer
from jackstop.gate.mask import Mask
from jackstop.gate.meter.base import Ask
from jackstop.gate.reply import ReplyHead

SECRET = b"sk-upstream-0ddba11"
BLANK = b"*" * len(SECRET)
PLAIN = st.binary(max_size=40).filter(lambda data: not set(data) & set(SECRET))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(PLAIN | st.just(SECRET), max_size=8), st.lists(st.integers(0, 500), max_size=12))
def test_it_is_overwritten_wherever_it_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    mask = Mask(SECRET)
    shown = b"".join(mask.feed(piece) for piece in pieces(b"".join(parts), cuts)) + mask.end()
    assert shown == b"".join(parts).replace(SECRET, BLANK)


@given(st.binary(max_size=200), st.lists(st.integers(0, 500), max_size=12))
def test_everything_else_passes(data: bytes, cuts: list[int]) -> None:
    mask = Mask(SECRET)
    assert b"".join(mask.feed(piece) for piece in pieces(data, cuts)) + mask.end() == data


def answered(status: int, body: bytes, size: int, length: int | None) -> tuple[Answer, bytes]:
    fields = [(b"content-type", b"application/json"), (b"x-request-id", b"req-" + SECRET), (b"x-other", b"1")]
    answer = Answer(ReplyHead(status, fields, length), None, Ask(model="m"), version="1.1", keep=True, secret=SECRET)
    shown = b"".join(answer.content(body[at : at + size]) for at in range(0, len(body), size))
    return answer, shown + answer.end()


@pytest.mark.parametrize("size", [1, 7, 19, 1000, 100_000])
@pytest.mark.parametrize("more", [0, MAX_ERROR_BYTES])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_error_that_repeats_it(size: int, more: int, chunked: bool) -> None:
    said = {"error": {"message": f"Incorrect API key: {SECRET.decode()}", "code": "invalid_api_key"}}
    body = json.dumps(said).encode() + b" " * more
    answer, raw = answered(401, body, size, None if chunked else len(body))
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert SECRET not in raw
    assert b"x-request-id" not in head
    assert b"x-other: 1" in head
    assert all(SECRET not in value for _, value in answer.headers)
    if not chunked:
        assert rest == body.replace(SECRET, BLANK)
    answer.outcome()
    assert answer.error_code == ("" if more else "invalid_api_key")
    assert answer.sent == len(body)


def test_a_success_passes_untouched_but_for_its_fields() -> None:
    _, raw = answered(200, b'{"a":1}', 3, 7)
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert rest == b'{"a":1}'
    assert SECRET not in head
