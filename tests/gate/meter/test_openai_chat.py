from __future__ import annotations

import json

import pytest

from jackstop.gate.meter.deepseek import CHAT as DEEPSEEK
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.ledger import allowances
from tests.gate.meter.asking import USER, ask, refused, rewritten

PNG = "data:image/png;base64," + "A" * 40_000


def chat(**members):
    return {"model": "gpt-4o-mini", "messages": [USER], **members}


def content(*parts, **members):
    return chat(messages=[{"role": "user", "content": list(parts)}], **members)


@pytest.mark.parametrize(
    "members",
    [
        {"model": None},
        {"model": ""},
        {"model": 7},
        {"model": ["gpt-4o"]},
        {"model": "m" * 300},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"messages": [{"role": "user", "content": 7}]},
        {"n": True},
        {"n": "3"},
        {"n": 0},
        {"n": -1},
        {"n": 1.5},
        {"n": 129},
        {"max_tokens": "20"},
        {"max_tokens": 20.0},
        {"max_tokens": True},
        {"max_completion_tokens": [5]},
        {"max_tokens": 10**30},
        {"stream": "true"},
        {"stream": 1},
        {"stream_options": [True]},
        {"stream_options": {"include_usage": "yes"}},
        {"tools": {"type": "function"}},
        {"functions": "f"},
        {"service_tier": 1},
        {"modalities": "audio"},
        {"prompt_cache_options": "12h"},
    ],
)
def test_wrong_types_are_malformed(members):
    found = refused(CHAT, chat(**members))
    assert (found.reason, found.status) == ("malformed", 400)


def test_a_body_without_messages_is_malformed():
    assert refused(CHAT, {"model": "gpt-4o"}).reason == "malformed"


def test_null_members_are_as_absent():
    names = ("n", "max_tokens", "stream", "stream_options", "tools", "service_tier", "audio", "web_search_options", "x")
    found = ask(CHAT, chat(**dict.fromkeys(names)))
    assert (found.n, found.output_cap, found.stream, found.unbounded, found.unmetered) == (1, None, False, "", "")


def test_the_bound_is_at_least_the_bytes():
    body = chat()
    size = len(json.dumps(body))
    found = CHAT.ask(body, size)
    assert found.input_bound == size + found.allowance
    assert found.allowance == allowances.PER_REQUEST + allowances.PER_MESSAGE


@pytest.mark.parametrize(
    ("caps", "wanted"),
    [
        ({}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9}, 9),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 9, "max_completion_tokens": 7}, 9),
        ({"max_tokens": None, "max_completion_tokens": 7}, 7),
    ],
)
def test_the_larger_cap_bounds(caps, wanted):
    assert ask(CHAT, chat(**caps)).output_cap == wanted


def test_deepseek_takes_its_cap_from_max_tokens_alone():
    body = {"model": "deepseek-flash", "messages": [USER], "max_completion_tokens": 5}
    assert ask(DEEPSEEK, body).output_cap is None
    assert rewritten(DEEPSEEK, body, 100)["max_tokens"] == 100


def test_n_and_prediction_widen_the_output():
    found = ask(CHAT, chat(n=3, prediction={"type": "content", "content": "y" * 500}))
    assert found.n == 3
    assert found.extra_output >= 500


def test_an_image_costs_its_allowance_and_not_its_bytes():
    text, picture = {"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": PNG}}
    found = ask(CHAT, content(text, picture, picture))
    assert 2 * 48_169 <= found.input_bound < 2 * 48_169 + 2_000
    assert found.feature == "image"
    assert not found.whole_context
    assert found.first_text == "what?"
    short = ask(CHAT, content({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, model="gpt-4o"))
    assert 1_445 <= short.input_bound < 2_000


def test_a_file_can_fill_the_context():
    assert ask(CHAT, content({"type": "file", "file": {"file_id": "file-1"}})).whole_context


@pytest.mark.parametrize("part", [{"image": "AAAA", "resize": 512}, {"type": "hologram"}, {}, 7])
def test_content_that_nobody_knows_is_unbounded(part):
    found = ask(CHAT, content(part))
    assert found.whole_context
    assert found.unbounded


@pytest.mark.parametrize(
    "body",
    [
        chat(modalities=["text", "audio"]),
        chat(audio={"voice": "alloy", "format": "wav"}),
        chat(model="gpt-audio-mini"),
        chat(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}, USER]),
        content({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}),
        chat(web_search_options={}),
        chat(model="gpt-4o-search-preview"),
        chat(model="gpt-5-search-api"),
        chat(service_tier="ultrafast"),
        chat(prompt_cache_options={"ttl": "12h"}),
        chat(tools=[{"type": "web_search"}]),
        chat(tools=["f"]),
    ],
)
def test_what_no_response_reports_is_unmetered(body):
    assert ask(CHAT, body).unmetered


def test_unknown_members_are_unbounded():
    assert "`deep_thought`" in ask(CHAT, chat(deep_thought=True)).unbounded
    assert not ask(DEEPSEEK, chat(thinking={"type": "enabled"})).unbounded
    assert ask(CHAT, chat(thinking={"type": "enabled"})).unbounded


def test_what_a_request_says_of_itself():
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    found = ask(
        CHAT,
        chat(
            messages=[{"role": "developer", "content": "Be kind."}, USER, USER],
            tools=[tool],
            user="u-1",
            stream=True,
            stream_options={"include_usage": True},
            service_tier="flex",
        ),
    )
    assert found.system_text == "Be kind."
    assert found.first_text == "Hello there"
    assert json.loads(found.tools_text) == [tool]
    assert (found.messages_n, found.tools_n, found.end_user, found.service_tier) == (3, 1, "u-1", "flex")
    assert found.stream
    assert found.wants_usage


@pytest.mark.parametrize("tier", ["auto", "default", None])
def test_the_projects_own_tier_is_the_standard_one(tier):
    assert ask(CHAT, chat(service_tier=tier)).service_tier == ""


def test_deep_nesting_is_refused_and_no_crash():
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    found = CHAT.ask(chat(tools=[{"type": "function", "function": deep}]), 10_000)
    assert found.reason == "malformed"


@pytest.mark.parametrize(
    ("members", "cap", "wanted"),
    [
        ({}, 50, {"max_completion_tokens": 50}),
        ({"max_tokens": 80}, 50, {"max_tokens": 50}),
        ({"max_tokens": 20}, 50, {"max_tokens": 20}),
        ({"max_tokens": 80, "max_completion_tokens": 20}, 50, {"max_tokens": 50, "max_completion_tokens": 20}),
        ({"max_tokens": None}, 50, {"max_tokens": None, "max_completion_tokens": 50}),
        ({"max_tokens": -1}, 50, {"max_tokens": -1}),
        ({"max_tokens": 80}, None, {"max_tokens": 80}),
    ],
)
def test_the_cap_goes_where_the_client_put_it(members, cap, wanted):
    assert rewritten(CHAT, chat(**members), cap) == chat(**wanted)


def test_an_untouched_body_is_the_same_object():
    raw = json.dumps(chat(max_tokens=5)).encode()
    found = ask(CHAT, chat(max_tokens=5))
    assert CHAT.rewrite(raw, found, None) is raw
    assert CHAT.rewrite(raw, found, 5) is raw


def test_new_members_leave_every_other_byte_alone():
    raw = b' \n{ "model" :"gpt-4o", "messages":[ ] , "x":1.0e0 }'
    found = ask(CHAT, {"model": "gpt-4o", "messages": []})
    assert (
        CHAT.rewrite(raw, found, 7) == b' \n{"max_completion_tokens":7, "model" :"gpt-4o", "messages":[ ] , "x":1.0e0 }'
    )


def test_replaced_members_leave_the_other_values_alone():
    raw = b'{"model":"gpt-4o","temperature":1.0e0,"max_tokens":99,"messages":[ 1 ]}'
    found = ask(CHAT, json.loads(raw) | {"messages": []})
    assert CHAT.rewrite(raw, found, 7) == b'{"model":"gpt-4o","temperature":1.0e0,"max_tokens":7,"messages":[ 1 ]}'


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, {"include_usage": True}),
        ({}, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_streams_are_asked_for_usage(options, wanted):
    assert rewritten(CHAT, chat(stream=True, stream_options=options), None)["stream_options"] == wanted


def test_usage_is_not_asked_for_twice_nor_without_a_stream():
    raw = json.dumps(chat(stream=True, stream_options={"include_usage": True})).encode()
    assert CHAT.rewrite(raw, ask(CHAT, json.loads(raw)), None) is raw
    assert "stream_options" not in rewritten(CHAT, chat(), 5)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            b'{"error":{"message":"Bad key sk-1","type":"invalid_request_error","code":"invalid_api_key"}}',
            "invalid_api_key",
        ),
        (b'{"error":{"message":"m","type":"server_error","param":null,"code":null}}', "server_error"),
        (b'{"error":{"code":400,"message":"m"}}', "400"),
        (b'{"error":"plain text"}', "error"),
    ],
)
def test_errors_are_known_by_code_and_never_by_message(body, code):
    found = CHAT.whole(body)
    assert (found.error_code, found.usage, found.complete) == (code, None, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'{"usage":{"prompt_tokens":-2}}',
        b'{"service_tier":"%b","usage":{"prompt_tokens":1,"completion_tokens":1}}' % (b"x" * 65),
        b'{"usage":{"prompt_tokens":1,"completion_tokens":99999999999999999999}}',
        b"\xff",
    ],
)
def test_what_is_no_response_counts_nothing(body):
    found = CHAT.whole(body)
    assert found.usage is None
    assert not found.complete


def test_reasoning_outside_the_completion_is_not_lost():
    found = CHAT.whole(b'{"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":80}}')
    assert found.usage.output_tokens == 70


def test_cache_counts_never_lower_the_input():
    usage = b'{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":30}}'
    assert CHAT.whole(b'{"usage":' + usage + b"}").usage.total >= 11


def test_a_stream_without_a_tier_of_its_own_has_the_one_asked_for():
    stream = CHAT.stream(ask(CHAT, chat(stream=True, service_tier="priority")))
    stream.feed(b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n')
    assert stream.outcome.usage.service_tier == "priority"


def test_texts_hold_everything_but_pictures():
    body = chat(
        messages=[
            {"role": "system", "content": "alpha"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "beta"}, {"type": "image_url", "image_url": {"url": PNG}}],
            },
            {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "gamma", "arguments": "delta"}}]},
        ],
        tools=[{"type": "function", "function": {"name": "epsilon", "parameters": {"image_url": "zeta"}}}],
    )
    texts = " ".join(CHAT.texts(body))
    for word in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta"):
        assert word in texts
    assert "AAAA" not in texts
