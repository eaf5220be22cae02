"""The official SDKs against the practice DeepSeek, in both of its dialects."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import openai
import pytest


def say(directives: str) -> Any:
    return [{"role": "user", "content": f"Good morning [[sandbox: {directives}]]"}]


@pytest.mark.parametrize("root", ["deepseek", "deepseek/v1"])
def test_chat_reports_hits_and_misses(sandbox, root):
    answer = sandbox.openai(root).chat.completions.create(
        model="deepseek-flash", messages=say("out=20 reasoning=5 cached=3")
    )
    usage: Any = answer.usage
    assert answer.model == "deepseek-flash"
    assert usage.prompt_cache_hit_tokens == 3
    assert usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens == usage.prompt_tokens
    message: Any = answer.choices[0].message
    assert len(message.reasoning_content.split()) == usage.completion_tokens_details.reasoning_tokens == 5
    assert len(message.content.split()) == 15


def test_thinking_can_be_declined(sandbox):
    answer = sandbox.deepseek().chat.completions.create(
        model="deepseek-v4-pro", messages=say("out=20"), extra_body={"thinking": {"type": "disabled"}}
    )
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_ends_with_its_usage(sandbox, asked):
    more: Any = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(
        sandbox.deepseek().chat.completions.create(
            model="deepseek-flash", messages=say("out=20 cached=3"), stream=True, **more
        )
    )
    reported = [chunk for chunk in chunks if chunk.usage]
    assert [bool(chunk.choices) for chunk in reported] == [not asked]
    assert reported[0] is chunks[-1]
    usage: Any = reported[0].usage
    assert (usage.completion_tokens, usage.prompt_cache_hit_tokens) == (20, 3)


def test_models_and_balance(sandbox):
    client = sandbox.deepseek()
    assert {"deepseek-flash", "deepseek-v4-pro"} <= {model.id for model in client.models.list()}
    request = urllib.request.Request(f"{sandbox.url}/deepseek/user/balance", headers={"Authorization": "Bearer sk-d"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        balance = json.load(answer)
    assert balance["is_available"] is True
    assert balance["balance_infos"][0]["total_balance"] == "100.00"


def test_what_deepseek_refuses(sandbox):
    with pytest.raises(openai.BadRequestError, match="Model Not Exist"):
        sandbox.deepseek().chat.completions.create(model="gpt-4o-mini", messages=say("out=1"))
    with pytest.raises(openai.APIStatusError) as poor:
        sandbox.deepseek().chat.completions.create(model="deepseek-flash", messages=say("status=402"))
    assert poor.value.status_code == 402
    with pytest.raises(openai.AuthenticationError, match="Authentication Fails"):
        sandbox.openai("deepseek", Authorization="Bearer").models.list()


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("deepseek-flash", "deepseek-flash"),
        ("deepseek-v4-pro", "deepseek-v4-pro"),
        ("claude-opus-5-5", "deepseek-v4-pro"),
        ("claude-haiku-4-5", "deepseek-v4-flash"),
        ("anything", "deepseek-v4-flash"),
    ],
)
def test_the_anthropic_dialect_serves_models_of_its_own(sandbox, asked, served):
    answer = sandbox.anthropic("deepseek/anthropic").messages.create(
        model=asked, max_tokens=100, messages=say("out=20 reasoning=4 cached=2")
    )
    assert answer.model == served
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.usage.output_tokens, answer.usage.cache_read_input_tokens) == (20, 2)
    assert sandbox.row()["provider"] == "deepseek"


def test_the_anthropic_dialect_streams(sandbox):
    with sandbox.anthropic("deepseek/anthropic").messages.stream(
        model="deepseek-flash", max_tokens=100, messages=say("out=20")
    ) as stream:
        assert stream.get_final_message().usage.output_tokens == 20
