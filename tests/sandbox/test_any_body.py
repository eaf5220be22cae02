"""No body, however strange, makes a practice provider fail; and the rule for input holds for every text."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.sandbox.generate import Count
from jackstop.sandbox.server import app

PATHS = {
    "/openai/v1/chat/completions": ("messages", "gpt-4o-mini"),
    "/openai/v1/responses": ("input", "gpt-6.1-sol"),
    "/openai/v1/embeddings": ("input", "text-embedding-3-small"),
    "/anthropic/v1/messages": ("messages", "claude-opus-5-5"),
    "/anthropic/v1/messages/count_tokens": ("messages", "claude-opus-5-5"),
    "/deepseek/chat/completions": ("messages", "deepseek-flash"),
    "/deepseek/anthropic/v1/messages": ("messages", "deepseek-flash"),
}
FIELDS = """
max_tokens max_completion_tokens max_output_tokens n stream stream_options tools tool_choice response_format text
thinking service_tier system instructions previous_response_id reasoning reasoning_effort dimensions speed
inference_geo encoding_format max_tool_calls functions metadata
"""
KEYS = """
type text content role name function arguments parameters properties items input input_schema schema json_schema
format max_uses include_usage summary $ref anyOf enum minItems required
"""
NAMES = st.sampled_from(KEYS.split())
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 40)
    | st.text(max_size=6)
    | st.sampled_from(
        ["function", "json_schema", "object", "array", "#", "us", "fast", "flex", "user", "image_url", "web_search_1"]
    )
)
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))
MESSAGES = st.lists(st.fixed_dictionaries({"role": ATOMS, "content": VALUES}), min_size=1, max_size=3) | VALUES


def call(path: str, body: bytes, method: str = "POST") -> tuple[int, bytes]:
    """One request to a fresh application, without a socket."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer sk-x"), (b"anthropic-version", b"2026-10-21")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    asyncio.run(app()(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=50)
@given(data=st.data())
def test_every_json_object_gets_an_answer(path, data):
    field, model = PATHS[path]
    extra = data.draw(st.dictionaries(st.sampled_from(FIELDS.split()), VALUES, max_size=4))
    content = data.draw(MESSAGES)
    body = json.dumps({"model": model, field: content, "max_tokens": 9, **extra}).encode()
    status, answer = call(path, body)
    assert status in {200, 400, 404}
    if not answer.startswith((b"data:", b"event:", b":")):
        assert isinstance(msgspec.json.decode(answer), dict)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"model": "gpt-4o-mini"}', b"[" * 100_000])
def test_what_is_no_request_is_told_so(path, body):
    status, answer = call(path, body)
    assert status in {400, 404}
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/openai/v1/chat/completions", 404),
        ("POST", "/openai/v1/files", 404),
        ("GET", "/nowhere", 404),
        ("DELETE", "/_sandbox/bill", 405),
        ("GET", "/", 404),
    ],
)
def test_unknown_paths(method, path, status):
    assert call(path, b"", method)[0] == status


@given(st.lists(st.text(max_size=40), max_size=6))
def test_input_is_never_more_than_the_bytes_of_the_text(texts):
    count = Count()
    for text in texts:
        count.messages += 1
        count.content([{"type": "text", "text": text}])
    size = sum(len(text.encode()) for text in texts)
    assert 1 <= count.tokens() <= max(1, size)
    assert count.tokens() == max(1, min(size, -(-size // 4) + 3 * len(texts)))


def test_a_deeply_nested_body_is_refused():
    deep = '{"content": [' * 450 + '"x"' + "]}" * 450
    status, _ = call(
        "/anthropic/v1/messages", b'{"model": "claude-opus-5-5", "max_tokens": 9, "messages": [%s]}' % deep.encode()
    )
    assert status in {200, 400}


@pytest.mark.parametrize("tools", [True, 1, "tool", {"name": "tool"}])
def test_tools_of_anthropic_are_a_list(tools):
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    status, answer = call("/anthropic/v1/messages", json.dumps({**body, "tools": tools}).encode())
    assert status == 400
    assert b"tools" in answer
