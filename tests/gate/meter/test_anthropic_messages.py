from __future__ import annotations

import json

import pytest

from jackstop.gate.meter.anthropic_messages import MESSAGES
from jackstop.gate.meter.deepseek import MESSAGES as DEEPSEEK
from jackstop.ledger import allowances
from tests.gate.meter.asking import USER, ask, refused, rewritten

CACHED = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def message(**members):
    return {"model": "claude-opus-5-5", "messages": [USER], "max_tokens": 100, **members}


def content(*blocks, **members):
    return message(messages=[{"role": "user", "content": list(blocks)}], **members)


@pytest.mark.parametrize(
    "members",
    [
        {"model": {}},
        {"messages": None},
        {"messages": {}},
        {"messages": [None]},
        {"messages": [{"role": "user", "content": {}}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"max_tokens": "5"},
        {"max_tokens": 5.5},
        {"stream": "yes"},
        {"system": 7},
        {"tools": "t"},
        {"tools": ["t"]},
        {"speed": "warp"},
        {"inference_geo": 1},
        {"inference_geo": "x" * 65},
        {"cache_control": "ephemeral"},
        {"metadata": "me"},
        {"tools": [{"type": "web_search_20250305", "max_uses": 0}]},
        {"tools": [{"type": "web_search_20250305", "max_uses": True}]},
    ],
)
def test_wrong_types_are_malformed(members):
    body = {name: value for name, value in message(**members).items() if not (name == "messages" and value is None)}
    found = refused(MESSAGES, body)
    assert (found.reason, found.status) == ("malformed", 400)


def test_a_plain_request_is_bounded_by_its_bytes():
    body = message(system="Be kind.", metadata={"user_id": "u-1"}, thinking={"type": "enabled", "budget_tokens": 50})
    found = ask(MESSAGES, body)
    assert found.input_bound == len(json.dumps(body)) + found.allowance
    assert (found.output_cap, found.inferences, found.cache_write, found.unbounded) == (100, 1, "", "")
    assert (found.system_text, found.first_text, found.end_user) == ("Be kind.", "Hello there", "u-1")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (message(cache_control=CACHED), "short"),
        (message(cache_control=HOUR), "long"),
        (message(system=[{"type": "text", "text": "x", "cache_control": CACHED}]), "short"),
        (
            content(
                {"type": "text", "text": "x", "cache_control": HOUR},
                {"type": "text", "text": "y", "cache_control": CACHED},
            ),
            "long",
        ),
        (message(tools=[{"name": "f", "input_schema": {}, "cache_control": CACHED}]), "short"),
        (
            content(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "text", "text": "x", "cache_control": HOUR}],
                }
            ),
            "long",
        ),
        (message(cache_control=None), ""),
    ],
)
def test_cache_control_anywhere(body, wanted):
    assert ask(MESSAGES, body).cache_write == wanted


def test_images_cost_their_allowance():
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 80_000}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [picture]}
    by_url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    found = ask(MESSAGES, content(picture, result, by_url))
    assert 0 <= found.input_bound - 3 * allowances.IMAGE["anthropic"] < 2_000
    assert not found.whole_context
    assert "A" * 100 not in "".join(MESSAGES.texts(content(picture, result, by_url)))


@pytest.mark.parametrize(
    ("source", "whole"),
    [
        ({"type": "text", "media_type": "text/plain", "data": "x"}, False),
        ({"type": "content", "content": [{"type": "text", "text": "x"}]}, False),
        ({"type": "base64", "media_type": "application/pdf", "data": "AA"}, True),
        ({"type": "url", "url": "https://example.com/a.pdf"}, True),
        ({"type": "file", "file_id": "file_1"}, True),
        (None, True),
    ],
)
def test_documents(source, whole):
    assert ask(MESSAGES, content({"type": "document", "source": source})).whole_context is whole


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search"},
        {"type": "mcp_toolset", "mcp_server_name": "s"},
        {"type": "advisor_20260301", "name": "advisor", "model": "claude-fable-5-2"},
        {"type": "brand_new_20270101"},
    ],
)
def test_server_tools_need_a_maximum(tool):
    assert ask(MESSAGES, message(tools=[tool])).unbounded


@pytest.mark.parametrize(
    ("tool", "searches"),
    [
        ({"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, 3),
        ({"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 3}, 0),
        ({"type": "web_search_20260318", "name": "web_search", "max_uses": 3, "allowed_callers": ["direct"]}, 3),
    ],
)
def test_server_tools_with_one_are_bounded(tool, searches):
    found = ask(MESSAGES, message(tools=[tool]))
    assert (found.unbounded, found.inferences, found.whole_context, found.web_searches) == ("", 4, True, searches)


@pytest.mark.parametrize(
    "members",
    [
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "s"}]},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"compaction": {"enabled": True}},
        {"fallbacks": [{"model": "claude-fable-5-2"}]},
        {"thread": {"id": "t"}},
        {"messages": [{"role": "user", "content": [{"type": "brand_new"}]}]},
        {"messages": [{"role": "user", "content": [{}]}]},
        {"fresh_feature": 1},
    ],
)
def test_what_has_no_maximum_is_unbounded(members):
    assert ask(MESSAGES, message(**members)).unbounded


@pytest.mark.parametrize(
    "members",
    [
        {"container": "container_1"},
        {"container": {"skills": []}},
        {"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]},
        {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}]},
        {"service_tier": "priority"},
    ],
)
def test_what_no_usage_reports_is_unmetered(members):
    assert ask(MESSAGES, message(**members)).unmetered


@pytest.mark.parametrize(
    "members",
    [
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015"}]}},
        {"tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g", "input_schema": {}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "computer_20251124", "name": "computer"}]},
        {"tools": [{"type": "browser_toolset_20260801"}, {"type": "memory_20250818", "name": "memory"}]},
        {"speed": "fast"},
        {"output_config": {"effort": "high"}},
        {"service_tier": "auto"},
        {"service_tier": "standard_only"},
    ],
)
def test_what_is_known_is_bounded(members):
    found = ask(MESSAGES, message(**members))
    assert (found.unbounded, found.unmetered, found.whole_context) == ("", "", False)


def test_speed_and_place_are_kept_for_the_price():
    found = ask(MESSAGES, message(speed="fast", inference_geo="us"))
    assert (found.speed, found.inference_geo) == ("fast", "us")
    assert ask(MESSAGES, message(speed="standard")).speed == ""


def test_the_cap_is_written_in():
    assert rewritten(MESSAGES, message(max_tokens=80), 50) == message(max_tokens=50)
    assert rewritten(MESSAGES, message(max_tokens=20), 50) == message(max_tokens=20)
    assert rewritten(MESSAGES, message(max_tokens=0), 50) == message(max_tokens=0)
    body = {name: value for name, value in message().items() if name != "max_tokens"}
    assert rewritten(MESSAGES, body, 50) == message(max_tokens=50)


def test_deep_nesting_is_refused_and_no_crash():
    block: dict = {"type": "text", "text": "x"}
    for _ in range(2_000):
        block = {"type": "tool_result", "content": [block]}
    assert MESSAGES.ask(content(block), 100_000).reason == "malformed"


def test_an_error_is_known_by_its_type():
    found = MESSAGES.whole(b'{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"req_1"}')
    assert (found.error_code, found.usage, found.complete) == ("overloaded_error", None, True)


def test_an_error_ends_a_stream_without_completing_it():
    stream = MESSAGES.stream(ask(MESSAGES, message(stream=True)))
    stream.feed(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n')
    assert (stream.outcome.error_code, stream.outcome.complete) == ("overloaded_error", False)


def test_a_report_that_cannot_be_read_leaves_the_stream_incomplete():
    stream = MESSAGES.stream(ask(MESSAGES, message(stream=True)))
    stream.feed(b'data: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n')
    stream.feed(b'data: {"type":"message_delta","usage":{"output_tokens":"many"}}\n\n')
    stream.feed(b'data: {"type":"message_stop"}\n\n')
    assert not stream.outcome.complete


def test_cache_writes_without_their_split_are_short():
    found = MESSAGES.whole(b'{"usage":{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":9}}')
    assert (found.usage.cache_write_tokens, found.usage.cache_write_1h_tokens) == (9, 0)


def test_deepseek_speaks_it_too():
    found = ask(DEEPSEEK, {"model": "deepseek-flash", "messages": [USER], "max_tokens": 9})
    assert (found.output_cap, DEEPSEEK.provider) == (9, "deepseek")
