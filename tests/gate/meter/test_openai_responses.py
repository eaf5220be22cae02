from __future__ import annotations

import json

import pytest

from jackstop.gate.meter.openai_responses import RESPONSES
from jackstop.ledger import allowances
from tests.gate.meter.asking import ask, refused, rewritten

SEARCH = {"type": "web_search"}


def response(**members):
    return {"model": "gpt-6.1-sol", "input": "Hello there", **members}


@pytest.mark.parametrize(
    "members",
    [
        {"model": None},
        {"input": 7},
        {"input": ["text"]},
        {"input": [{"role": "user", "content": 7}]},
        {"max_output_tokens": "5"},
        {"max_output_tokens": True},
        {"max_tool_calls": 0},
        {"max_tool_calls": 1.0},
        {"background": "yes"},
        {"tools": [7]},
        {"stream": 0},
        {"instructions": ["x"]},
        {"reasoning": "high"},
    ],
)
def test_wrong_types_are_malformed(members):
    found = refused(RESPONSES, response(**members))
    assert (found.reason, found.status) == ("malformed", 400)


def test_a_plain_request_is_bounded_by_its_bytes():
    body = response(max_output_tokens=100, instructions="Be kind.")
    found = ask(RESPONSES, body)
    assert found.input_bound == len(json.dumps(body)) + found.allowance
    assert (found.output_cap, found.inferences, found.whole_context, found.unbounded) == (100, 1, False, "")
    assert (found.system_text, found.first_text) == ("Be kind.", "Hello there")
    assert found.cache_write == "short"


@pytest.mark.parametrize(
    "members",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
        {"input": [{"type": "compaction", "encrypted_content": "AA"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.com/a.pdf"}]}]},
        {
            "input": [
                {"role": "user", "content": [{"type": "input_file", "file_data": "data:application/pdf;base64,AA"}]}
            ]
        },
    ],
)
def test_input_from_elsewhere_fills_the_context(members):
    found = ask(RESPONSES, response(**members))
    assert found.whole_context
    assert not found.unbounded


@pytest.mark.parametrize(
    "members",
    [
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "done"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]}]},
        {"input": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]},
        {"input": [{"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x", "stderr": ""}]}]},
    ],
)
def test_items_with_their_whole_content_do_not(members):
    found = ask(RESPONSES, response(**members))
    assert not found.whole_context
    assert not found.unbounded


def test_images_cost_their_allowance():
    data = "data:image/png;base64," + "A" * 90_000
    picture = {"type": "input_image", "image_url": data}
    shot = {
        "type": "computer_call_output",
        "call_id": "c",
        "output": {"type": "computer_screenshot", "image_url": data},
    }
    found = ask(RESPONSES, response(input=[{"role": "user", "content": [picture]}, shot]))
    assert 0 <= found.input_bound - 2 * allowances.IMAGE["openai"] < 2_000


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26", "file_search"])
def test_hosted_tools_need_a_maximum(kind):
    tool = {"type": kind}
    assert "max_tool_calls" in ask(RESPONSES, response(tools=[tool])).unbounded
    found = ask(RESPONSES, response(tools=[tool], max_tool_calls=4))
    assert (found.unbounded, found.inferences, found.whole_context) == ("", 5, True)
    assert found.web_searches + found.file_searches == 4


def test_both_searches_are_counted_as_if_each_took_every_call():
    found = ask(RESPONSES, response(tools=[SEARCH, {"type": "file_search"}], max_tool_calls=4))
    assert (found.web_searches, found.file_searches) == (4, 4)


@pytest.mark.parametrize(
    "members",
    [
        {"background": True},
        {"tools": [{"type": "mcp", "server_url": "https://example.com"}], "max_tool_calls": 2},
        {"tools": [{"type": "programmatic_tool_calling"}]},
        {"tools": [{"type": "tool_search"}]},
        {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
        {"background_options": {"completion_window": "8h"}},
        {"reasoning": {"mode": "pro"}},
        {"input": [{"type": "compaction_trigger"}]},
        {"input": [{"type": "configuration_update"}]},
        {"input": [{"role": "user", "content": "x"}, {"type": "additional_tools", "tools": [SEARCH]}]},
        {"fresh_feature": {}},
    ],
)
def test_what_has_no_maximum_is_unbounded(members):
    assert ask(RESPONSES, response(**members)).unbounded


@pytest.mark.parametrize(
    "members",
    [
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"tools": [{"type": "image_generation"}]},
        {"tools": [{"type": "web_search_preview"}], "max_tool_calls": 1},
        {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
        {"tools": [{"type": "shell"}]},
        {"tools": [{"type": "brand_new"}]},
        {"tools": [{}]},
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "code_interpreter"}]}]},
        {"input": [{"type": "additional_tools", "tools": [{"type": "code_interpreter"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        {"service_tier": "ultrafast"},
    ],
)
def test_what_no_usage_reports_is_unmetered(members):
    assert ask(RESPONSES, response(**members)).unmetered


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "name": "f", "parameters": {}},
        {"type": "custom", "name": "g"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
        {"type": "namespace", "name": "n"},
        {"type": "apply_patch"},
        {"type": "local_shell"},
        {"type": "shell", "environment": {"type": "local"}},
        {"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "mac"},
        {"type": "tool_search", "execution": "client"},
    ],
)
def test_tools_that_the_caller_runs_are_bounded(tool):
    found = ask(RESPONSES, response(tools=[tool]))
    assert (found.unbounded, found.unmetered, found.inferences, found.whole_context) == ("", "", 1, False)


@pytest.mark.parametrize(("ttl", "wanted"), [(None, "short"), ("30m", "short"), ("12h", "long"), ("7d", "long")])
def test_cache_lifetime(ttl, wanted):
    assert ask(RESPONSES, response(prompt_cache_options={"ttl": ttl})).cache_write == wanted


def test_the_cap_is_written_in():
    assert rewritten(RESPONSES, response(), 50) == response(max_output_tokens=50)
    assert rewritten(RESPONSES, response(max_output_tokens=80), 50) == response(max_output_tokens=50)
    assert rewritten(RESPONSES, response(max_output_tokens=20, stream=True), 50) == response(
        max_output_tokens=20, stream=True
    )
    raw = json.dumps(response()).encode()
    assert RESPONSES.rewrite(raw, ask(RESPONSES, response()), None) is raw


def test_searches_come_from_the_report_or_the_output():
    head = b'{"usage":{"input_tokens":1,"output_tokens":1},"output":[{"type":"file_search_call"}],'
    found = RESPONSES.whole(head + b'"tool_usage":{"web_search":{"num_requests":3}}}')
    assert (found.usage.web_searches, found.usage.file_searches) == (3, 1)


def test_a_failed_response_is_read():
    event = b'{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}'
    stream = RESPONSES.stream(ask(RESPONSES, response(stream=True)))
    stream.feed(b"event: response.failed\ndata: " + event + b"\n\n")
    assert stream.outcome.complete
    assert (stream.outcome.error_code, stream.outcome.usage) == ("server_error", None)


def test_texts():
    body = response(input=[{"role": "user", "content": [{"type": "input_text", "text": "alpha"}]}], instructions="beta")
    assert {"alpha", '"beta"'} <= set(RESPONSES.texts(body))
