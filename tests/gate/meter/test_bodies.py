"""Whatever JSON object comes, each meter answers; what it rewrites is the same body with its own members."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import Refused
from jackstop.gate.meter import deepseek
from jackstop.gate.meter.anthropic_messages import MESSAGES
from jackstop.gate.meter.base import Ask
from jackstop.gate.meter.free import COUNT_TOKENS
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES

METERS = [CHAT, deepseek.CHAT, MESSAGES, RESPONSES, EMBEDDINGS, COUNT_TOKENS]
TYPES = [
    *("text", "image_url", "image", "document", "tool_result", "web_fetch_tool_result", "input_text", "input_image"),
    *("reasoning", "additional_tools", "item_reference", "function", "namespace", "shell", "mcp", "web_search"),
    *("web_search_20250305", "bash_20250124", "message", "hologram"),
]
NAMES = [
    *("type", "text", "content", "source", "image_url", "cache_control", "tools", "environment", "max_uses", "output"),
    *("role", "data", "url", "stdout", "audio"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 200) | st.sampled_from([*TYPES, "", "user", "system", "base64", "5m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = sorted(
    {
        *("messages", "input", "system", "instructions", "tools", "functions", "n", "stream", "stream_options"),
        *("service_tier", "modalities", "prompt_cache_options", "prediction", "metadata", "context_management"),
        *("cache_control", "reasoning", "background", "max_tool_calls", "max_tokens", "user", "prompt", "speed"),
        *("max_completion_tokens", "max_output_tokens"),
    }
)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.dialect)
@given(members=st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=5), messages=st.lists(VALUES, max_size=3))
def test_every_body_is_answered(meter, members, messages):
    body = {"model": "m", "messages": messages, "input": messages, **members}
    size = len(json.dumps(body))
    found = meter.ask(body, size)
    if isinstance(found, Refused):
        assert (found.reason, found.status) == ("malformed", 400)
        return
    assert found.inferences >= 1
    assert found.n >= 1
    assert found.input_bound >= found.allowance >= 0
    assert found.output_cap is None or found.output_cap >= 0
    meter.texts(body)


def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
    assert len(found) == len({name for name, _ in found})
    return dict(found)


CAPS = st.none() | st.sampled_from([-1, 0, 5, 50, 9_000])


@pytest.mark.parametrize("meter", [CHAT, deepseek.CHAT, MESSAGES, RESPONSES], ids=lambda meter: meter.dialect)
@given(
    caps=st.dictionaries(st.sampled_from(["max_tokens", "max_completion_tokens", "max_output_tokens"]), CAPS),
    options=st.dictionaries(
        st.just("stream_options"), st.none() | st.fixed_dictionaries({}, optional={"include_usage": st.booleans()})
    ),
    stream=st.booleans(),
    cap=st.none() | st.integers(1, 100),
    first=st.booleans(),
    spelled=st.booleans(),
)
def test_a_rewritten_body_keeps_what_it_does_not_set(meter, caps, options, stream, cap, first, spelled):
    own = caps | options
    text = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "input": "Hi", "stream": stream}
    body = {**own, **text} if first else {**text, **own}
    raw = json.dumps(body).encode()
    if spelled:
        raw = raw.replace(b'"max_', b'"\\u006dax_').replace(b'"stream_', b'"\\u0073tream_')
    ask = meter.ask(body, len(raw))
    assert isinstance(ask, Ask)
    rewritten = json.loads(meter.rewrite(raw, ask, cap), object_pairs_hook=pairs)
    changed = {name for name in {**body, **rewritten} if rewritten.get(name) != body.get(name)}
    assert changed <= {"max_tokens", "max_completion_tokens", "max_output_tokens", "stream_options"}
    written = [rewritten[name] for name in changed if name != "stream_options"]
    assert written == [cap] * len(written)
    if cap is not None:
        assert meter.ask(rewritten, len(raw)).output_cap in {None, *range(cap + 1)}
    if meter.dialect == "openai_chat" and stream:
        assert rewritten["stream_options"]["include_usage"] is True
