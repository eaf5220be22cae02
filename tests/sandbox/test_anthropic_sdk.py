"""Anthropic's own SDK against the practice Anthropic."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from typing import Any

import anthropic
import pytest

TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(directives: str = "", **more: Any) -> Any:
    content = f"Good morning [[sandbox: {directives}]]" if directives else "Good morning"
    return {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": content}], **more}


def test_a_message(sandbox):
    answer = sandbox.anthropic().messages.create(**ask(system="Be brief."))
    assert answer.model == "claude-haiku-4-5-20251001"
    # 21 bytes, one message
    assert answer.usage.input_tokens == 9
    assert 1 <= answer.usage.output_tokens <= 100
    assert len(answer.content[0].text.split()) == answer.usage.output_tokens
    assert answer._request_id == sandbox.row()["id"]


def test_the_parts_of_the_input_are_disjoint(sandbox):
    client = sandbox.anthropic()
    counted = client.messages.count_tokens(
        model="claude-haiku-4-5", messages=ask("cached=4 cache_write=3 cache_write_1h=2")["messages"]
    )
    usage = client.messages.create(**ask("cached=4 cache_write=3 cache_write_1h=2")).usage
    assert usage.cache_read_input_tokens == 4
    assert usage.cache_creation_input_tokens == 5
    assert (usage.cache_creation.ephemeral_5m_input_tokens, usage.cache_creation.ephemeral_1h_input_tokens) == (3, 2)
    assert usage.input_tokens + 9 == counted.input_tokens


def test_a_stream_counts_up_to_the_end(sandbox):
    events = list(sandbox.anthropic().messages.create(**ask("out=30 cached=2"), stream=True))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[0].message.usage.output_tokens == 1
    assert events[0].message.usage.cache_read_input_tokens == 2
    assert events[-2].usage.output_tokens == 30
    assert events[-2].delta.stop_reason == "end_turn"


def test_the_stream_has_a_ping(sandbox):
    with sandbox.anthropic().messages.with_streaming_response.create(**ask("out=3"), stream=True) as answer:
        assert 'event: ping\ndata: {"type":"ping"}' in answer.read().decode()


def test_the_stream_helper_and_the_cap(sandbox):
    with sandbox.anthropic().messages.stream(**ask("out=500")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert len(text.split()) == final.usage.output_tokens == 100
    assert final.stop_reason == "max_tokens"


@pytest.mark.parametrize("stream", [True, False])
def test_thinking(sandbox, stream):
    asked = ask("out=60 reasoning=25", max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024})
    client = sandbox.anthropic()
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert [len(text.split()) for text in (answer.content[0].thinking, answer.content[1].text)] == [25, 35]
    assert answer.usage.output_tokens_details.thinking_tokens == 25


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called(sandbox, stream):
    client = sandbox.anthropic()
    asked = ask("tool=1 out=20", tools=[TOOL])
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert answer.stop_reason == "tool_use"
    assert answer.content[-1].input == {"city": "practice"}
    assert answer.usage.output_tokens == 20


def test_searches_fast_mode_and_place_cost_more(sandbox):
    client = sandbox.anthropic()
    opus = {"model": "claude-opus-5-5"}
    search: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    searched = client.messages.create(**ask("out=1 searches=5", tools=[search]))
    assert searched.usage.server_tool_use.web_search_requests == 2
    fast = client.messages.create(**{**ask("out=1"), **opus}, extra_body={"speed": "fast"})
    assert fast.usage.speed == "fast"
    local = client.messages.create(**{**ask("out=1"), **opus}, inference_geo="us")
    assert local.usage.inference_geo == "us"
    plain = client.messages.create(**{**ask("out=1"), **opus})
    assert (plain.usage.speed, plain.usage.inference_geo) == ("standard", "global")
    rows = sandbox.rows()
    assert rows[0]["searches"] == 2
    assert rows[1]["units"] == 2 * rows[3]["units"]
    assert rows[2]["units"] * 10 == 11 * rows[3]["units"]
    with pytest.raises(anthropic.BadRequestError, match="inference_geo"):
        client.messages.create(**ask(), inference_geo="us")


def test_models_come_in_pages(sandbox):
    client = sandbox.anthropic()
    page = client.models.list(limit=2)
    assert (len(page.data), page.has_more) == (2, True)
    names = [model.id for model in client.models.list(limit=1)]
    assert "claude-opus-5-5" in names
    assert len(names) == len(set(names))
    assert client.models.retrieve("claude-opus-5-5").max_tokens == 128_000
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-none")


def test_async(sandbox):
    async def talk() -> tuple[int, int]:
        async with sandbox.anthropic_async() as client:
            whole = await client.messages.create(**ask("out=8"))
            async with client.messages.stream(**ask("out=9")) as stream:
                streamed = await stream.get_final_message()
            return whole.usage.output_tokens, streamed.usage.output_tokens

    assert asyncio.run(talk()) == (8, 9)


def test_both_headers_name_the_credential(sandbox):
    old = sandbox.anthropic(**{"x-api-key": "sk-ant-other"})
    sandbox.anthropic().messages.create(**ask())
    old.messages.create(**ask())
    first, second = sandbox.rows()
    assert first["credential"] != second["credential"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
def test_errors_raise_the_sdks_exceptions(sandbox, status, kind):
    with pytest.raises(kind) as caught:
        sandbox.anthropic().messages.create(**ask(f"status={status}"))
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"
    assert caught.value.body["request_id"] == sandbox.row()["id"]


def test_what_anthropic_refuses(sandbox):
    client = sandbox.anthropic()
    with pytest.raises(anthropic.NotFoundError, match="model: claude-none"):
        client.messages.create(**{**ask(), "model": "claude-none"})
    with pytest.raises(anthropic.BadRequestError, match="64001 > 64000"):
        client.messages.create(**{**ask(), "max_tokens": 64_001}, stream=True)
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(**{**ask(), "messages": [{"role": "user", "content": "x" * 900_000}]})
    assert sandbox.bill() == []


def test_without_version_or_key(sandbox):
    def status(**headers: str) -> int:
        request = urllib.request.Request(f"{sandbox.url}/anthropic/v1/messages", b"{}", headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        with caught.value as error:
            return error.code

    assert status() == 401
    assert status(**{"x-api-key": "sk-ant"}) == 400
