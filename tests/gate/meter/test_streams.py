"""Streams pass unchanged at any chunking, are read all the same, and cost bounded memory."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.gate.meter.anthropic_messages import MESSAGES
from jackstop.gate.meter.base import Ask, Meter, Outcome
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES
from jackstop.gate.meter.sse import MAX_EVENT_BYTES, EventStream, Splitter, data_of, line_of

VECTORS = Path(__file__).parent / "vectors"
SILENT = Ask(model="m", stream=True)
ASKED = Ask(model="m", stream=True, wants_usage=True)
CASES = [
    (CHAT, "openai_chat.sse", ASKED),
    (CHAT, "openai_chat.sse", SILENT),
    (MESSAGES, "anthropic_message.sse", ASKED),
    (RESPONSES, "openai_response.sse", ASKED),
]
CUTS = st.lists(st.integers(0, 4000), max_size=40)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def run(meter: Meter, ask: Ask, chunks: list[bytes]):
    stream = meter.stream(ask)
    out = b"".join(stream.feed(chunk) for chunk in chunks) + stream.end()
    return out, stream.outcome


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize(("meter", "name", "ask"), CASES, ids=["asked", "silent", "messages", "responses"])
@given(cuts=CUTS)
def test_any_chunking_gives_the_same(meter, name, ask, newline, cuts):
    data = (VECTORS / name).read_bytes().replace(b"\n", newline)
    assert run(meter, ask, pieces(data, cuts)) == run(meter, ask, [data])


def test_single_bytes():
    data = (VECTORS / "openai_chat.sse").read_bytes()
    assert run(CHAT, SILENT, [data[at : at + 1] for at in range(len(data))]) == run(CHAT, SILENT, [data])


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_only_the_injected_chunk_is_taken_out(newline):
    data = (VECTORS / "openai_chat.sse").read_bytes().replace(b"\n", newline)
    events = data.split(newline * 2)
    kept = (newline * 2).join(event for event in events if b'"choices":[]' not in event)
    assert b'"choices":[]' in data
    assert run(CHAT, SILENT, [data])[0] == kept
    assert run(CHAT, ASKED, [data])[0] == data


def test_usage_in_a_chunk_with_a_choice_stays():
    data = (
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: [DONE]\n\n'
    )
    out, outcome = run(CHAT, SILENT, [data])
    assert out == data
    assert outcome.usage is not None
    assert outcome.usage.output_tokens == 4


def test_without_usage_nothing_is_made_up():
    out, outcome = run(CHAT, SILENT, [b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"])
    assert out == b'data: {"choices":[]}\n\ndata: [DONE]\n\n'
    assert outcome.usage is None
    assert outcome.complete


@pytest.mark.parametrize(("meter", "name", "ask"), CASES, ids=["asked", "silent", "messages", "responses"])
def test_a_stream_that_breaks_off_is_not_complete(meter, name, ask):
    data = (VECTORS / name).read_bytes()
    terminal = data.rstrip().rfind(b"\n\n")
    _, outcome = run(meter, ask, [data[: terminal + 2]])
    assert not outcome.complete
    assert outcome.request_id or outcome.model


def test_an_unfinished_message_keeps_what_was_reported():
    data = (VECTORS / "anthropic_message.sse").read_bytes()
    _, outcome = run(MESSAGES, ASKED, [data[: data.index(b"event: message_delta")]])
    assert outcome.usage is not None
    assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (25, 1)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=8))
@pytest.mark.parametrize("meter", [CHAT, MESSAGES, RESPONSES, EMBEDDINGS], ids=lambda meter: meter.dialect)
def test_garbage_passes(meter, data, cuts):
    assert run(meter, SILENT, pieces(data, cuts))[0] == data


@given(
    values=st.lists(
        st.sampled_from(
            [
                b'{"usage":{"prompt_tokens":-1}}',
                b'{"usage":{"prompt_tokens":true,"completion_tokens":1}}',
                b'{"usage":{"prompt_tokens":"9"}}',
                b'{"usage":[]}',
                b'{"choices":{},"usage":{"prompt_tokens":1}}',
                b'{"type":"message_start","message":7}',
                b'{"type":"message_delta","usage":{"output_tokens":-4}}',
                b'{"type":"response.completed","response":null}',
                b'{"type":"response.completed","response":{"usage":{"input_tokens":1}}}',
                b'{"type":"x.delta","delta":{"a":1}}',
                b"null",
                b"[]",
                b"\xff\xfe",
                b"{" * 2000,
            ]
        ),
        max_size=4,
    )
)
@pytest.mark.parametrize("meter", [CHAT, MESSAGES, RESPONSES], ids=lambda meter: meter.dialect)
def test_odd_events_pass_and_count_nothing(meter, values):
    data = b"".join(b"data: " + value + b"\n\n" for value in values)
    out, outcome = run(meter, ASKED, [data])
    assert out == data
    assert outcome.usage is None


def test_an_event_may_have_several_data_lines_and_comments():
    event = b': hello\r\nevent: x\r\ndata: {"a":\r\ndata:1}\r\ndata\r\n\r\n'
    assert data_of(event) == b'{"a":\n1}\n'
    assert data_of(b"event: ping\n\n") == b""
    assert data_of(b"data: one\n\n") == b"one"


@given(
    st.lists(
        st.sampled_from(
            [b"data: ", b"data:", b"data", b"event: a", b": c", b"{}", b"\r", b"\n", b"\n\n", b"\r\n\r\n", b"x"]
        ),
        max_size=9,
    ).map(b"".join)
)
def test_events_in_a_piece_of_their_own_are_read_as_any_others(chunk):
    """What `line_of` takes for one whole event is one, with that data, however it comes."""
    whole: list[bytes] = []
    split: list[bytes] = []
    EventStream(Outcome(), whole.append).feed(chunk)
    by_bytes = EventStream(Outcome(), split.append)
    for at in range(len(chunk)):
        by_bytes.feed(chunk[at : at + 1])
    assert whole == split
    if line_of(chunk):
        assert whole == [line_of(chunk)]
        assert Splitter().feed(chunk) == [(chunk, True)]


@given(
    events=st.lists(
        st.sampled_from(
            [
                {"id": "a", "model": "m", "choices": [{"delta": {"content": "usage"}, "finish_reason": None}]},
                {"choices": [{"delta": {"content": '"usage":{"prompt_tokens":9}'}}], "usage": None},
                {"choices": [{"delta": {}, "finish_reason": "stop"}], "service_tier": "flex"},
                {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
                {"error": {"code": "server_error", "message": "m"}},
                {"type": "message_start", "message": {"id": "x", "usage": {"input_tokens": 5, "output_tokens": 1}}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "\n\ndata: [DONE]"}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
                {"type": "message_stop"},
                {"type": "response.output_text.delta", "delta": "response.completed"},
                {"type": "response.completed", "response": {"usage": {"input_tokens": 2, "output_tokens": 2}}},
                {"type": "error", "code": "oops"},
            ]
        ),
        max_size=6,
    ),
    typed=st.booleans(),
    ascii_only=st.booleans(),
    cuts=CUTS,
)
@pytest.mark.parametrize("meter", [CHAT, MESSAGES, RESPONSES], ids=lambda meter: meter.dialect)
def test_an_event_per_piece_is_read_as_any_other_cut(meter, events, typed, ascii_only, cuts):
    lines = [b"data: " + json.dumps(event, ensure_ascii=ascii_only).encode() + b"\n\n" for event in events]
    chunks = [(b"event: x\n" if typed else b"") + line for line in [*lines, b"data: [DONE]\n\n"]]
    wanted = run(meter, SILENT, chunks)
    assert run(meter, SILENT, pieces(b"".join(chunks), cuts)) == wanted
    # With another line end, nothing is one line of data any more.
    slow = run(meter, SILENT, [chunk.replace(b"\n", b"\r\n") for chunk in chunks])
    assert slow[1] == wanted[1]


def test_an_overlong_event_passes_in_bounded_pieces():
    seen: list[bytes] = []
    reader = EventStream(Outcome(), seen.append, leaves_out=True, limit=1000)
    long = b"data: " + b"x" * 5000
    held = 0
    out = b""
    for at in range(0, len(long), 100):
        out += reader.feed(long[at : at + 100])
        held = max(held, at + 100 - len(out))
    assert held <= 1100
    out += reader.feed(b"\n\ndata: next\n\n") + reader.end()
    assert out == long + b"\n\ndata: next\n\n"
    assert seen == [b"next"]


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 600), max_size=30),
    newline=st.sampled_from([b"\n", b"\r\n"]),
)
def test_overlong_events_at_any_chunking(sizes, cuts, newline):
    data = b"".join(b"data: " + b"y" * size + newline * 2 for size in sizes)
    seen: list[bytes] = []
    reader = EventStream(Outcome(), seen.append, leaves_out=True, limit=24)
    out = b"".join(reader.feed(piece) for piece in pieces(data, cuts)) + reader.end()
    assert out == data
    short = [b"y" * size for size in sizes if 6 + size + 2 * len(newline) <= 24 and size]
    assert [found for found in seen if len(found) <= 14] == [found for found in short if len(found) <= 14]


def test_a_meter_keeps_at_most_one_event():
    stream = CHAT.stream(ASKED)
    chunk = b"x" * 65536
    for _ in range(2 * MAX_EVENT_BYTES // len(chunk)):
        assert stream.feed(chunk) == chunk
    splitter = Splitter(limit=10)
    splitter.feed(b"z" * 100)
    assert len(splitter.rest()) <= 2


def test_nothing_is_held_back_where_nothing_is_left_out():
    reader = EventStream(Outcome(), lambda data: None)
    assert reader.feed(b"data: un") == b"data: un"
    assert reader.end() == b""
