"""JSON bodies: what every parser reads alike, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import Refused
from jackstop.gate.document import MAX_DEPTH, MAX_VALUES, read_document

HOSTILE = {
    "nothing": b"",
    "space": b"  ",
    "no object": b"[1]",
    "a text": b'"a"',
    "null": b"null",
    "half": b'{"a":',
    "two values": b"{} {}",
    "a comma too many": b'{"a":1,}',
    "a comment": b'{"a":1} // b',
    "single quotes": b"{'a':1}",
    "a duplicate": b'{"model":"a","model":"b"}',
    "a duplicate with escapes": b'{"model":"a","mod\\u0065l":"b"}',
    "a duplicate deep inside": b'{"a":[{"b":{"c":1,"c":1}}]}',
    "not a number": b'{"a":NaN}',
    "infinity": b'{"a":Infinity}',
    "minus infinity": b'{"a":-Infinity}',
    "a number beyond a double": b'{"a":1e999}',
    "a number of many digits": b'{"a":' + b"9" * 5000 + b"}",
    "a leading zero": b'{"a":01}',
    "a leading plus": b'{"a":+1}',
    "a control character": b'{"a":"\x01"}',
    "a line end in a text": b'{"a":"\n"}',
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half a pair": b'{"a":"\\ud800"}',
    "the other half": b'{"a":"\\udc00"}',
    "half a pair in a name": b'{"\\ud800":1}',
    "a pair the wrong way": b'{"a":"\\udc00\\ud800"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "too deep": b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "far too deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "far too deep in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "open without end": b"[" * 100_000,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies_are_refused(raw: bytes) -> None:
    refused = read_document(raw)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.status) == ("malformed", 400)


def test_a_refusal_quotes_nothing_of_the_body() -> None:
    for raw in (b'{"secret":"secret","secret":1}', b'{"a": secret}', b'{"a":"secret\xff"}', b'["secret"]'):
        refused = read_document(raw)
        assert isinstance(refused, Refused)
        assert "secret" not in refused.message


def test_what_is_unusual_but_clear_passes() -> None:
    assert read_document(b' {"a":"\\ud83d\\ude00","b":{"a":1}} \n') == {"a": "\U0001f600", "b": {"a": 1}}
    deepest = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert isinstance(read_document(deepest), dict)
    wide = json.dumps({"a": [{"b": [number]} for number in range(500)]}).encode()
    assert isinstance(read_document(wide), dict)


@pytest.mark.parametrize("unit", [b"[],", b'"",', b"0,", b'{"a":"b"},', b'{"type":"text","text":"\\u0041, ["},'])
def test_more_values_than_any_request_has_are_refused(unit: bytes) -> None:
    at_most = b'{"a":[' + unit * (MAX_VALUES // 8) + b"0]}"
    assert isinstance(read_document(at_most), dict)
    refused = read_document(b'{"a":[' + unit * MAX_VALUES + b"0]}")
    assert isinstance(refused, Refused)
    assert "more than" in refused.message


@pytest.mark.parametrize("text", [b"a,", b"[{,", b'\\",\\\\'])
def test_what_stands_in_a_text_is_no_value(text: bytes) -> None:
    assert isinstance(read_document(b'{"a":"' + text * MAX_VALUES + b'","b":[' + b"1," * 400_000 + b"1]}"), dict)


@pytest.mark.parametrize("raw", [b'"' * 4_000_000, b'{"a":"' + b'\\"' * 2_000_000, b'["' + b",\\" * 2_000_000])
def test_texts_without_an_end_are_read_once(raw: bytes) -> None:
    assert isinstance(read_document(raw), Refused)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=5), st.booleans())
def test_ordinary_json_reads_as_it_was_written(value: dict[str, object], ascii_only: bool) -> None:
    assert read_document(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "strict")) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    assert isinstance(read_document(raw), dict | Refused)
