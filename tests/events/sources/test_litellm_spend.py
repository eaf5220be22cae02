"""LiteLLM's spend logs: rows as its table has them, and the events that they become."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from jackstop.clock import US_PER_S
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.events.sources.litellm_spend import claims, read, unwrapped

NOON_US = 1_772_712_000 * US_PER_S
ORIGIN = Origin("", "spend.json", 0, NOON_US + 86_400 * US_PER_S)
HASH = hashlib.sha256(b"a virtual key").hexdigest()
MARKER = "a text that must not be anywhere"


def row(**told: Any) -> dict[str, Any]:
    return {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": HASH,
        "spend": 1.5e-05,
        "total_tokens": 130,
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "startTime": "2026-03-05T12:00:00.250000+00:00",
        "endTime": "2026-03-05T12:00:02.250000Z",
        "completionStartTime": "2026-03-05T12:00:01",
        "model": "gpt-4o-mini",
        "model_id": "m-1",
        "model_group": "small",
        "custom_llm_provider": "openai",
        "api_base": "https://api.openai.com",
        "user": "one@example.com",
        "metadata": {"additional_usage_values": {"cache_read_input_tokens": 40}, "user_api_key_alias": MARKER},
        "cache_hit": "False",
        "cache_key": "Cache OFF",
        "request_tags": ["batch-job", "User-Agent: openai/python", "User-Agent: OpenAI/Python 2.8.0"],
        "team_id": "t1",
        "organization_id": "o1",
        "end_user": MARKER,
        "requester_ip_address": "198.51.100.7",
        "messages": [{"role": "user", "content": MARKER}],
        "response": {"choices": [{"message": {"content": MARKER}}]},
        "proxy_server_request": {"body": {"messages": [{"content": MARKER}]}},
        "session_id": "s1",
        "status": "success",
        **told,
    }


def test_who_asked_for_what_when_and_at_what_cost() -> None:
    assert claims(row())
    event = read(row(), ORIGIN)
    assert (event.provider, event.account, event.team, event.owner) == ("openai", "o1", "t1", "one@example.com")
    assert (event.key_id, event.provider_key_id, event.session) == (HASH, HASH, "s1")
    assert (event.action, event.action_class, event.endpoint) == ("acompletion", "inference", "chat.completions")
    assert (event.model_asked, event.model) == ("small", "gpt-4o-mini")
    assert (event.input_tokens, event.cache_read_tokens, event.output_tokens) == (60, 40, 30)
    assert (event.cost_nusd, event.ts) == (15_000, NOON_US + 250_000)
    assert (event.latency_us, event.ttft_us) == (2_000_000, 750_000)
    assert (event.src_ip, event.src_net, event.user_agent) == ("198.51.100.7", "198.51.100.0/24", "openai/python")
    assert (event.client, event.outcome, event.status, event.decision) == ("openai", "ok", 200, "admitted")


def test_content_is_dropped_and_counted() -> None:
    event = read(row(), ORIGIN)
    assert MARKER not in msgspec.json.encode(event).decode()
    told = json.loads(event.extra)
    assert told == {"cache_hit": "False", "content_dropped": 5, "model_id": "m-1", "request_tags": ["batch-job"]}
    empty = row(messages={}, response="{}", proxy_server_request=None, end_user="", metadata={})
    assert "content_dropped" not in json.loads(read(empty, ORIGIN).extra)


def test_a_row_of_csv_is_the_same_event() -> None:
    cells = {name: json.dumps(value) if isinstance(value, dict | list) else str(value) for name, value in row().items()}
    assert claims(cells)
    event, expected = read(unwrapped(cells), ORIGIN), read(row(), ORIGIN)
    assert event == expected
    assert read(unwrapped({**cells, "metadata": "{broken"}), ORIGIN).input_tokens == 100
    with pytest.raises(UnreadableEntry):
        unwrapped("no row")


def test_a_key_in_the_clear_is_hashed_as_litellm_does() -> None:
    event = read(row(api_key="sk-virtual-1234567890"), ORIGIN)
    assert event.key_id == hashlib.sha256(b"sk-virtual-1234567890").hexdigest()
    assert "sk-virtual" not in msgspec.json.encode(event).decode()
    assert read(row(api_key=""), ORIGIN).key_kind == ""


@pytest.mark.parametrize(
    ("spend", "nusd"),
    [(0, 0), ("0.1", 100_000_000), (0.1 + 0.2, 300_000_000), (1e-9, 1), ("12.3456789", 12_345_678_900), (3, 3 * 10**9)],
)
def test_spend_is_exact(spend: Any, nusd: int) -> None:
    assert read(row(spend=spend), ORIGIN).cost_nusd == nusd


@pytest.mark.parametrize(
    ("call", "kind", "endpoint"),
    [
        ("completion", "inference", "chat.completions"),
        ("atext_completion", "inference", "completions"),
        ("aembedding", "inference", "embeddings"),
        ("aresponses", "inference", "responses"),
        ("anthropic_messages", "inference", "messages"),
        ("_arealtime", "inference", "realtime"),
        ("acreate_batch", "commit_spend", "batches"),
        ("create_fine_tuning_job", "commit_spend", "fine_tuning"),
        ("afile_content", "data_read", "files"),
        ("pass_through_endpoint", "inference", ""),
        ("unheard_of", "", ""),
    ],
)
def test_kinds_of_calls(call: str, kind: str, endpoint: str) -> None:
    event = read(row(call_type=call), ORIGIN)
    assert (event.action, event.action_class, event.endpoint) == (call, kind, endpoint)


@pytest.mark.parametrize(
    ("error", "outcome", "decision", "markers"),
    [
        ({"error_code": "400", "error_class": "BadRequestError", "error_message": "max_tokens is too small"},
         "invalid", "admitted", "probe:token_limit"),
        ({"error_code": "400", "error_class": "BadRequestError", "error_message": f"bad {MARKER}"},
         "invalid", "admitted", ""),
        ({"error_code": "404", "error_class": "NotFoundError", "error_message": "max_tokens"},
         "not_found", "admitted", ""),
        ({"error_code": "429", "error_class": "RateLimitError"}, "throttled", "admitted", ""),
        ({"error_code": "400", "error_class": "BudgetExceededError"}, "invalid", "refused", ""),
        ({"error_code": "", "error_class": "APIConnectionError"}, "error", "admitted", ""),
        (None, "error", "admitted", ""),
    ],
)  # fmt: skip
def test_failures(error: Any, outcome: str, decision: str, markers: str) -> None:
    event = read(row(status="failure", metadata={"error_information": error}), ORIGIN)
    assert (event.outcome, event.decision, event.markers) == (outcome, decision, markers)
    assert event.error_code == (error or {}).get("error_class", "")
    assert MARKER not in event.error_message
    assert read(row(status=None, metadata={"status": "failure"}), ORIGIN).outcome == "error"


def test_what_a_row_does_not_say() -> None:
    event = read({name: row()[name] for name in ("request_id", "call_type", "startTime", "spend")}, ORIGIN)
    assert (event.key_id, event.owner, event.src_ip, event.ua_state, event.client) == ("", "", "", "", "")
    assert (event.input_tokens, event.latency_us, event.ttft_us) == (None, None, None)
    assert read(row(endTime=None, request_duration_ms=7), ORIGIN).latency_us == 7_000
    assert read(row(metadata={"user_agent": "curl/8.5.0"}), ORIGIN).client == "curl"


@pytest.mark.parametrize(
    "told",
    [{"startTime": "soon"}, {"startTime": None}, {"request_id": ""}, {"spend": "much"}, {"spend": -1}, {"spend": 1e30},
     {"spend": "NaN"}, {"startTime": "2030-01-01T00:00:00Z"}, {"endTime": "never"}],
)  # fmt: skip
def test_what_is_no_row(told: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        read(row(**told), ORIGIN)


@pytest.mark.parametrize("record", [None, [], "x", {"startTime": "2026-03-05", "spend": 1, "users": {}}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not claims(record)
