"""Bedrock's model-invocation log as events: tokens, cost and shape are kept, prompts and answers are not.

No public log is at hand: records are those of the documentation and of published posts, with other texts.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.events.schema import Event
from jackstop.events.sources import bedrock_invocations, cloudtrail
from jackstop.events.sources.entry import UnreadableEntry
from tests.events.sources.trail_samples import ORIGIN, call

MARK = "FORBIDDEN-CONTENT"
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def invocation(**changed: Any) -> dict[str, Any]:
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": "2026-10-06T14:14:00Z",
        "accountId": "123456789012",
        "identity": {"arn": "arn:aws:sts::123456789012:assumed-role/shop/i-0abc"},
        "region": "us-east-1",
        "inferenceRegion": "us-east-2",
        "requestId": "9e0ff76a-7cac-4a67-8d3f-5a6436a1e85b",
        "operation": "Converse",
        "modelId": SONNET,
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": {
                "system": [{"text": MARK}],
                "messages": [{"role": "user", "content": [{"text": MARK}]}] * 3,
                "inferenceConfig": {"maxTokens": 2048},
                "toolConfig": {"tools": [{"toolSpec": {"name": MARK}}] * 2},
            },
            "inputTokenCount": 1_000_000,
            "cacheReadInputTokenCount": 2_000_000,
            "cacheWriteInputTokenCount": 0,
        },
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": {
                "output": {"message": {"role": "assistant", "content": [{"text": MARK}]}},
                "stopReason": "end_turn",
                "metrics": {"latencyMs": 3640},
            },
            "outputTokenCount": 1_000_000,
        },
        "requestMetadata": {"team": MARK},
        **changed,
    }


def event_of(record: dict[str, Any]) -> Event:
    return bedrock_invocations.read(msgspec.json.decode(json.dumps(record), type=bedrock_invocations.SHAPE), ORIGIN)


def asking(body: Any, **changed: Any) -> dict[str, Any]:
    return invocation(input={"inputBodyJson": body, "inputTokenCount": 1}, **changed)


def answering(body: Any) -> dict[str, Any]:
    return invocation(output={"outputBodyJson": body, "outputTokenCount": 1})


def test_a_call_of_converse() -> None:
    event = event_of(invocation())
    assert bedrock_invocations.claims(invocation())
    assert (event.source, event.provider, event.service) == ("bedrock_invocations", "aws", "bedrock")
    assert (event.action, event.action_class, event.outcome) == ("Converse", "inference", "ok")
    assert (event.account, event.region, event.inference_region) == ("123456789012", "us-east-1", "us-east-2")
    assert event.principal == "arn:aws:iam::123456789012:role/shop"
    assert (event.principal_kind, event.session) == ("role", "i-0abc")
    assert (event.model_asked, event.model) == (SONNET, SONNET.removeprefix("us."))
    assert (event.input_tokens, event.cache_read_tokens, event.output_tokens) == (1_000_000, 2_000_000, 1_000_000)
    assert (event.messages_n, event.tools_n, event.max_output_asked) == (3, 2, 2048)
    assert (event.stop_reason, event.latency_us, event.stream) == ("end_turn", 3_640_000, False)
    assert event.request_id == "9e0ff76a-7cac-4a67-8d3f-5a6436a1e85b"


def test_what_it_cost_at_list_price() -> None:
    """Claude Sonnet 4.5 at a regional endpoint: 3.30, 0.33 and 16.50 USD a million; aws.amazon.com/bedrock/pricing."""
    event = event_of(invocation(timestamp="2026-10-06T14:14:00Z"))
    long = event_of(invocation())
    assert (event.price_known, event.cost_nusd) == (True, long.cost_nusd)
    small = event_of(
        invocation(
            input={"inputTokenCount": 1_000, "cacheReadInputTokenCount": 10_000}, output={"outputTokenCount": 1_000}
        )
    )
    assert small.cost_nusd == 3_300_000 + 3_300_000 + 16_500_000


def test_a_model_without_a_price() -> None:
    event = event_of(invocation(modelId="arn:aws:bedrock:us-east-1:123456789012:imported-model/abc123"))
    assert (event.price_known, event.cost_nusd, event.model) == (False, None, "abc123")


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": -1},
        {"max_tokens_to_sample": 0},
        {"max_gen_len": 0},
        {"inferenceConfig": {"maxTokens": -5}},
        {"inferenceConfig": {"max_new_tokens": 0}},
        {"textGenerationConfig": {"maxTokenCount": 0}},
    ],
)
def test_a_token_limit_below_one(body: dict[str, Any]) -> None:
    event = event_of(asking(body, errorCode="ValidationException"))
    assert (event.markers, event.outcome) == ("probe:token_limit", "invalid")
    assert event.max_output_asked is not None


def test_a_body_in_a_text() -> None:
    event = event_of(asking(json.dumps({"messages": [1, 2], "max_tokens": 7})))
    assert (event.messages_n, event.max_output_asked) == (2, 7)


@pytest.mark.parametrize(
    "body",
    [
        {"stop_reason": "max_tokens"},
        {"results": [], "completionReason": "max_tokens"},
        [{"type": "message_start"}, {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}, {"type": "x"}],
        [{"contentBlockDelta": {"delta": {"text": MARK}}}, {"messageStop": {"stopReason": "max_tokens"}}],
    ],
)
def test_why_an_answer_ended(body: Any) -> None:
    assert event_of(answering(body)).stop_reason == "max_tokens"


def test_how_long_a_streamed_answer_took() -> None:
    parts = [{"metadata": {"metrics": {"latencyMs": 900}}}]
    assert event_of(answering(parts)).latency_us == 900_000
    parts = [{"type": "message_stop", "amazon-bedrock-invocationMetrics": {"invocationLatency": 2714}}]
    assert event_of(answering(parts)).latency_us == 2_714_000


def test_a_reason_that_is_no_word_is_content() -> None:
    assert event_of(answering({"stopReason": f"because {MARK}"})).stop_reason == ""


@pytest.mark.parametrize(
    "arn", ["arn:aws:iam::1:user/ann", "arn:aws:iam::1:root", "arn:aws:iam::1:user/BedrockAPIKey-x"]
)
def test_whose_call(arn: str) -> None:
    assert event_of(invocation(identity={"arn": arn})).principal == arn


def test_content_is_counted_and_dropped() -> None:
    event = event_of(invocation())
    assert MARK not in repr(event)
    assert json.loads(event.extra) == {"request_metadata": ["team"], "content_dropped": 3}


@pytest.mark.parametrize("path", bedrock_invocations.CONTENT)
def test_no_content_path_comes_along(path: str) -> None:
    record = invocation(requestMetadata=None)
    head, _, field = path.partition(".")
    if field:
        record[head] = {field: [{"text": MARK}] if field.endswith("Json") else f"s3://logs/{MARK}"}
    else:
        record[head] = {"team": MARK}
    assert MARK not in repr(event_of(record))


def test_both_copies_of_a_record_are_one_event() -> None:
    held = {"id": "1", "timestamp": 1, "message": json.dumps(invocation())}
    assert bedrock_invocations.claims(held)
    assert not cloudtrail.claims(held)
    assert bedrock_invocations.read(bedrock_invocations.unwrapped(held), ORIGIN) == event_of(invocation())


@pytest.mark.parametrize("record", [None, [], {}, call(), {"message": "text"}, {"schemaType": "Other"}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not bedrock_invocations.claims(record)
    assert not cloudtrail.claims(invocation())


@pytest.mark.parametrize("at", ["1969-01-01T00:00:00Z", "2126-01-01T00:00:00Z"])
def test_a_time_that_is_none(at: str) -> None:
    with pytest.raises(UnreadableEntry):
        event_of(invocation(timestamp=at))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "max_tokens",
    "messages",
    "tools",
    "toolConfig",
    "inferenceConfig",
    "stopReason",
    "metrics",
    "delta",
    "metadata",
]


@given(body=JSON | st.dictionaries(st.sampled_from(NAMES), JSON))
def test_bodies_of_any_form(body: Any) -> None:
    record = asking(body) | {"output": {"outputBodyJson": body, "outputTokenCount": 1}}
    event = event_of(record)
    assert event.input_tokens == 1
    assert event.max_output_asked is None or type(event.max_output_asked) is int
