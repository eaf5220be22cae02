"""Every event of every stream, and every Anthropic body, is what the SDK's own types declare; judged without leniency.

The SDKs build their objects without validating, and OpenAI's document is not applied to streams, so pydantic judges.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from anthropic.types import Message, ModelInfo, RawMessageStreamEvent
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

EVENT: Any = TypeAdapter(ResponseStreamEvent)
MESSAGE_EVENT: Any = TypeAdapter(RawMessageStreamEvent)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "parameters": PARAMETERS}


def ask(url: str, body: dict[str, Any] | None = None) -> str:
    headers = {"Authorization": "Bearer sk-x", "anthropic-version": "2026-10-21"}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def events(text: str) -> list[tuple[str, Any]]:
    """The named events of a stream, each with its data; comments left out."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines and lines["data"] != "[DONE]":
            found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


def messages(directives: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Hello [[sandbox: {directives}]]"}]


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5", "deepseek-flash"])
@pytest.mark.parametrize(
    ("directives", "more"),
    [
        ("out=20", {}),
        ("out=20 reasoning=20", {}),
        ("out=0", {}),
        ("out=20", {"n": 2, "stream_options": {"include_usage": True}}),
        ("tool=1", {"tools": [{"type": "function", "function": FUNCTION}]}),
        ("out=20", {"response_format": {"type": "json_object"}}),
    ],
)
def test_chat(sandbox, model, directives, more):
    path = "/deepseek/chat/completions" if model.startswith("deepseek") else "/openai/v1/chat/completions"
    body = {"model": model, "messages": messages(directives), **more}
    text = ask(sandbox.url + path, {**body, "stream": True})
    assert text.endswith("data: [DONE]\n\n")
    for _, data in events(text):
        ChatCompletionChunk.model_validate(data)
    body.pop("stream_options", None)
    ChatCompletion.model_validate_json(ask(sandbox.url + path, body))


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-5"])
@pytest.mark.parametrize(
    ("directives", "more"),
    [
        ("out=20", {}),
        ("out=20 reasoning=20", {}),
        ("out=0", {}),
        ("out=500", {"max_output_tokens": 16}),
        ("tool=1", {"tools": [{"type": "function", "strict": True, **FUNCTION}]}),
        ("searches=2 out=9", {"tools": [{"type": "web_search"}]}),
        ("error_after=1", {}),
    ],
)
def test_responses(sandbox, model, directives, more):
    body = {"model": model, "input": f"Hello [[sandbox: {directives}]]", "stream": True, **more}
    found = events(ask(f"{sandbox.url}/openai/v1/responses", body))
    for name, data in found:
        assert EVENT.validate_python(data).type == name
    opened = [data["item"]["id"] for name, data in found if name == "response.output_item.added"]
    closed = [data["item"]["id"] for name, data in found if name == "response.output_item.done"]
    if "error" not in directives:
        assert opened == closed == [item["id"] for item in found[-1][1]["response"]["output"]]


@pytest.mark.parametrize(
    ("directives", "more"),
    [
        ("out=20 cached=2", {}),
        ("out=20 reasoning=20", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("out=0", {}),
        ("tool=1 reasoning=3 out=9", {"tools": [{"name": "weather", "input_schema": PARAMETERS}]}),
        ("searches=1", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ],
)
@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/deepseek/anthropic/v1/messages"])
def test_messages(sandbox, path, directives, more):
    body = {"model": "claude-opus-5-5", "max_tokens": 2000, "messages": messages(directives), **more}
    for name, data in events(ask(sandbox.url + path, {**body, "stream": True})):
        assert data["type"] == name
        if name != "ping":  # the SDK drops it before its types apply
            MESSAGE_EVENT.validate_python(data)
    Message.model_validate_json(ask(sandbox.url + path, body))


def test_models(sandbox):
    for model in json.loads(ask(f"{sandbox.url}/openai/v1/models"))["data"]:
        Model.model_validate(model)
    for model in json.loads(ask(f"{sandbox.url}/anthropic/v1/models"))["data"]:
        ModelInfo.model_validate(model)
