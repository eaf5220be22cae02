"""OpenAI's usage and cost reports as rows of `usage`; each result is first judged by OpenAI's own SDK."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.admin.organization.usage_completions_response import UsageCompletionsResponse
from openai.types.admin.organization.usage_costs_response import UsageCostsResponse

from jackstop.clock import US_PER_S
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.events.sources.openai_usage import claims, read, unwrapped
from jackstop.events.usage import Usage

NOON_S = 1_772_712_000
ORIGIN = Origin("", "usage.json", 0, (NOON_S + 86_400) * US_PER_S)


def bucket(*results: dict[str, Any], seconds: int = 60) -> dict[str, Any]:
    return {"object": "bucket", "start_time": NOON_S, "end_time": NOON_S + seconds, "results": list(results)}


def completions(**told: Any) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "num_model_requests": 4,
        **told,
    }


def test_tokens_by_project_key_model_and_tier() -> None:
    result = completions(
        input_cached_tokens=300,
        input_cache_write_tokens=100,
        project_id="proj_1",
        user_id="user-1",
        api_key_id="key_1",
        model="gpt-4o-mini-2024-07-18",
        service_tier="default",
    )
    entry = bucket(result)
    UsageCompletionsResponse.model_validate({"object": "page", "data": [entry], "has_more": False, "next_page": None})
    assert claims(entry)
    # gpt-4o-mini: 0.15 USD a million in, 0.075 from the cache (writing costs nothing more), 0.60 out.
    cost = 600 * 150 + 300 * 75 + 100 * 150 + 100 * 600
    assert read(entry, ORIGIN) == [
        Usage(
            provider="openai",
            account="proj_1",
            provider_key_id="key_1",
            model="gpt-4o-mini-2024-07-18",
            service_tier="default",
            bucket=NOON_S * US_PER_S,
            bucket_us=60 * US_PER_S,
            requests=4,
            input_tokens=1_000,
            output_tokens=100,
            cost_nusd=cost,
            cost_from="list",
            price_nusd=cost * 1_000_000 // 1_100,
            request_tokens=250,
        )
    ]


def test_results_that_differ_in_nothing_but_the_user_are_one_row_and_unused_ones_none() -> None:
    users = [completions(api_key_id="key_1", model="gpt-4o-mini", user_id=user) for user in ("user-1", "user-2")]
    nothing = completions(api_key_id="key_2", input_tokens=0, output_tokens=0, num_model_requests=0)
    (row,) = read(bucket(*users, nothing), ORIGIN)
    assert (row.requests, row.input_tokens, row.output_tokens, row.request_tokens) == (8, 2_000, 200, 250)


@pytest.mark.parametrize(
    ("kind", "counts", "requests", "tokens"),
    [
        ("embeddings", {"input_tokens": 9, "num_model_requests": 2}, 2, 9),
        ("moderations", {"input_tokens": 9, "num_model_requests": 2}, 2, 9),
        ("images", {"images": 3, "num_model_requests": 2}, 2, 0),
        ("audio_speeches", {"characters": 3, "num_model_requests": 2}, 2, 0),
        ("audio_transcriptions", {"seconds": 3, "num_model_requests": 2}, 2, 0),
        ("web_searches", {"num_model_requests": 2, "num_requests": 5}, 2, 0),
        ("file_searches", {"num_requests": 5}, 5, 0),
    ],
)
def test_every_kind_of_use(kind: str, counts: dict[str, int], requests: int, tokens: int) -> None:
    (row,) = read(bucket({"object": f"organization.usage.{kind}.result", "api_key_id": "k", **counts}), ORIGIN)
    assert (row.provider_key_id, row.requests, row.input_tokens) == ("k", requests, tokens)
    assert (row.cost_nusd, row.cost_from) == (0, "")


@pytest.mark.parametrize(
    "result",
    [
        {"object": "organization.usage.vector_stores.result", "usage_bytes": 9},
        {"object": "organization.usage.code_interpreter_sessions.result", "num_sessions": 9},
    ],
)
def test_what_no_key_is_named_of_gives_no_row(result: dict[str, Any]) -> None:
    assert read(bucket(result), ORIGIN) == []


def test_costs_are_the_providers_word_summed_over_line_items() -> None:
    def cost(value: float, item: str, currency: str = "usd") -> dict[str, Any]:
        amount = {"value": value, "currency": currency}
        return {"object": "organization.costs.result", "amount": amount, "line_item": item, "project_id": "proj_1"}

    entry = bucket(cost(0.06, "gpt-4o, input"), cost(0.3, "gpt-4o, output"), cost(9, "gpt-4o", "eur"), seconds=86_400)
    UsageCostsResponse.model_validate({"object": "page", "data": [entry], "has_more": False, "next_page": None})
    (row,) = read(entry, ORIGIN)
    assert (row.cost_nusd, row.cost_from, row.model, row.account) == (360_000_000, "provider", "gpt-4o", "proj_1")
    assert (row.bucket_us, row.requests) == (86_400 * US_PER_S, 0)


def test_a_model_that_is_on_no_list_costs_the_dearest() -> None:
    (row,) = read(bucket(completions(model="gpt-unheard-of")), ORIGIN)
    assert row.cost_from == "dearest"
    assert row.cost_nusd > 0


def test_rows_of_the_csv_export() -> None:
    times = {
        "start_time": str(NOON_S),
        "end_time": str(NOON_S + 60),
        "start_time_iso": "2026-03-05T12:00:00+00:00",
        "end_time_iso": "2026-03-05T12:01:00+00:00",
    }
    cells = {
        **times,
        "project_id": "proj_1",
        "num_model_requests": "3.0",
        "input_tokens": "900",
        "output_tokens": "90",
        "input_cached_tokens": "",
        "api_key_id": "key_1",
        "model": "gpt-4o-mini",
        "batch": "True",
    }
    assert claims(cells)
    (row,) = read(unwrapped(cells), ORIGIN)
    assert (row.requests, row.input_tokens, row.provider_key_id, row.service_tier) == (3, 900, "key_1", "batch")
    (cost,) = read(unwrapped({**times, "amount_value": "0.5", "line_item": "gpt-4o"}), ORIGIN)
    assert (cost.cost_nusd, cost.cost_from) == (500_000_000, "provider")
    assert read(unwrapped(times), ORIGIN) == []
    assert read(unwrapped({**times, "num_model_requests": "", "input_tokens": ""}), ORIGIN) == []
    for broken in ({**times, "start_time": None}, {**cells, "input_tokens": "many"}, "no row", {}):
        with pytest.raises(UnreadableEntry):
            unwrapped(broken)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"start_time": NOON_S, "end_time": NOON_S, "results": []},
        {"start_time": NOON_S, "end_time": NOON_S + 40 * 86_400, "results": []},
        {"start_time": 0, "end_time": 60, "results": []},
        {"start_time": NOON_S + 9 * 86_400, "end_time": NOON_S + 9 * 86_400 + 60, "results": []},
        bucket({"object": "organization.usage.dreams.result"}),
        bucket({"input_tokens": 5}),
        bucket(completions(input_tokens="many")),
        bucket(completions(num_model_requests=-1)),
        bucket(completions(input_tokens=1 << 60)),
        bucket({"object": "organization.costs.result", "amount": {"value": "much", "currency": "usd"}}),
    ],
)
def test_what_is_no_bucket(entry: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        read(entry, ORIGIN)


@pytest.mark.parametrize("record", [None, [], "bucket", {"object": "page", "data": []}, {"starting_at": "x"}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not claims(record)
