"""The vectors are what the official SDKs take for real, and each is read in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from jackstop.gate.meter.anthropic_messages import MESSAGES
from jackstop.gate.meter.base import Ask, Outcome, Usage
from jackstop.gate.meter.deepseek import CHAT as DEEPSEEK
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES

VECTORS = Path(__file__).parent / "vectors"
PLAIN = Ask(model="m", stream=True, wants_usage=True)


def read(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def events(name: str) -> list[dict]:
    lines = [line[6:] for line in read(name).split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openai_chat.json", ChatCompletion),
        ("deepseek_chat.json", ChatCompletion),
        ("anthropic_message.json", Message),
        ("openai_response.json", Response),
        ("openai_embeddings.json", CreateEmbeddingResponse),
    ],
)
def test_sdk_takes_the_response(name, kind):
    kind.model_validate_json(read(name), strict=False)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openai_chat.sse", ChatCompletionChunk),
        ("anthropic_message.sse", RawMessageStreamEvent),
        ("openai_response.sse", ResponseStreamEvent),
    ],
)
def test_sdk_takes_every_event(name, kind):
    adapter = TypeAdapter(kind)
    for event in events(name):
        if event.get("type") != "ping":
            adapter.validate_python(event)


WHOLE = [
    (
        CHAT,
        "openai_chat.json",
        Outcome(
            usage=Usage(
                input_tokens=493,
                cache_read_tokens=1024,
                output_tokens=312,
                reasoning_tokens=256,
                service_tier="default",
            ),
            model="gpt-4o-mini-2024-07-18",
            stop_reason="stop",
            request_id="chatcmpl-CqX1y2Z3a4B5c6D7e8F9g0H1i2J3k",
            complete=True,
        ),
    ),
    (
        DEEPSEEK,
        "deepseek_chat.json",
        Outcome(
            usage=Usage(input_tokens=360, cache_read_tokens=640, output_tokens=90, reasoning_tokens=80),
            model="deepseek-flash",
            stop_reason="stop",
            request_id="930c60df-bf64-41c9-a88e-3ec75f81e00e",
            complete=True,
        ),
    ),
    (
        MESSAGES,
        "anthropic_message.json",
        Outcome(
            usage=Usage(
                input_tokens=2095,
                cache_read_tokens=10000,
                cache_write_tokens=1000,
                cache_write_1h_tokens=2000,
                output_tokens=503,
                reasoning_tokens=200,
                web_searches=2,
                service_tier="standard",
                speed="standard",
                inference_geo="global",
            ),
            model="claude-opus-5-5",
            stop_reason="end_turn",
            request_id="msg_013Zva2CMHLNnjNjJKqJ2EF",
            complete=True,
        ),
    ),
    (
        RESPONSES,
        "openai_response.json",
        Outcome(
            usage=Usage(
                input_tokens=1000,
                cache_read_tokens=1000,
                cache_write_tokens=1000,
                cache_write_1h_tokens=2000,
                output_tokens=900,
                reasoning_tokens=700,
                web_searches=2,
                service_tier="default",
            ),
            model="gpt-6.1-terra",
            stop_reason="max_output_tokens",
            request_id="resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
            complete=True,
        ),
    ),
    (
        EMBEDDINGS,
        "openai_embeddings.json",
        Outcome(usage=Usage(input_tokens=8), model="text-embedding-3-small", complete=True),
    ),
]


@pytest.mark.parametrize(("meter", "name", "wanted"), WHOLE, ids=[row[1] for row in WHOLE])
def test_whole_response(meter, name, wanted):
    assert meter.whole(read(name)) == wanted


STREAMS = [
    (
        CHAT,
        "openai_chat.sse",
        Outcome(
            usage=Usage(
                input_tokens=464,
                cache_read_tokens=512,
                cache_write_tokens=1024,
                output_tokens=40,
                reasoning_tokens=32,
                service_tier="default",
            ),
            model="gpt-6.1-sol",
            stop_reason="stop",
            request_id="chatcmpl-S1",
            complete=True,
        ),
    ),
    (
        MESSAGES,
        "anthropic_message.sse",
        Outcome(
            usage=Usage(
                input_tokens=1025,
                cache_read_tokens=40,
                cache_write_tokens=300,
                output_tokens=15,
                web_searches=1,
                service_tier="standard",
                inference_geo="us",
            ),
            model="claude-opus-5-5",
            stop_reason="end_turn",
            request_id="msg_01S",
            complete=True,
        ),
    ),
    (
        RESPONSES,
        "openai_response.sse",
        Outcome(
            usage=Usage(input_tokens=37, output_tokens=11, service_tier="priority"),
            model="gpt-6.1-terra",
            stop_reason="completed",
            request_id="resp_S",
            complete=True,
        ),
    ),
]


@pytest.mark.parametrize(("meter", "name", "wanted"), STREAMS, ids=[row[1] for row in STREAMS])
def test_stream(meter, name, wanted):
    stream = meter.stream(PLAIN)
    assert stream.feed(read(name)) + stream.end() == read(name)
    assert stream.outcome == wanted
