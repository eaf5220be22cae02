"""Anthropic's usage and cost reports as rows of `usage`, as its documentation shows them."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.clock import US_PER_S
from jackstop.events.sources.anthropic_usage import claims, read
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.events.usage import Usage

NOON_S = 1_772_712_000
ORIGIN = Origin("", "usage.json", 0, (NOON_S + 86_400) * US_PER_S)


def bucket(*results: dict[str, Any], end: str = "2026-03-05T12:01:00Z") -> dict[str, Any]:
    return {"starting_at": "2026-03-05T12:00:00Z", "ending_at": end, "results": list(results)}


def tokens(**told: Any) -> dict[str, Any]:
    return {
        "uncached_input_tokens": 1_000,
        "cache_creation": {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 90},
        "cache_read_input_tokens": 300,
        "output_tokens": 100,
        "server_tool_use": {"web_search_requests": 2},
        "api_key_id": "apikey_1",
        "workspace_id": "wrkspc_1",
        "model": "claude-sonnet-4-5-20250929",
        "service_tier": "standard",
        "context_window": "0-200k",
        **told,
    }


def test_tokens_by_workspace_key_model_tier_and_window() -> None:
    entry = bucket(tokens())
    assert claims(entry)
    # Claude Sonnet 4.5: 3 USD a million in, 0.30 from the cache, 3.75 into it, 15 out.
    cost = 1_000 * 3_000 + 300 * 300 + 100 * 3_750 + 100 * 15_000
    assert read(entry, ORIGIN) == [
        Usage(
            provider="anthropic",
            account="wrkspc_1",
            provider_key_id="apikey_1",
            model="claude-sonnet-4-5-20250929",
            service_tier="standard",
            context_window="0-200k",
            bucket=NOON_S * US_PER_S,
            bucket_us=60 * US_PER_S,
            input_tokens=1_400,
            output_tokens=100,
            cost_nusd=cost,
            cost_from="list",
            price_nusd=cost * 1_000_000 // 1_500,
        )
    ]


def test_a_long_window_is_priced_as_one() -> None:
    short, long = read(bucket(tokens(), tokens(context_window="200k-1M")), ORIGIN)
    assert long.cost_nusd > short.cost_nusd


def test_the_workbench_has_no_key_and_an_account_stands_in_for_a_workspace() -> None:
    nothing = {"api_key_id": None, "workspace_id": None, "model": None, "cache_creation": None}
    (row,) = read(bucket(tokens(**nothing)), ORIGIN._replace(account="main"))
    assert (row.provider_key_id, row.account, row.cost_nusd, row.cost_from) == ("", "main", 0, "")


def test_costs_are_in_cents_by_day() -> None:
    def cost(amount: str, currency: str = "USD") -> dict[str, Any]:
        return {
            "amount": amount,
            "currency": currency,
            "cost_type": "tokens",
            "description": "Claude Sonnet 4.5 Usage - Input Tokens",
            "model": "claude-sonnet-4-5",
            "workspace_id": "wrkspc_1",
            "token_type": "uncached_input_tokens",
        }

    entry = bucket(cost("123.78912"), cost("1"), cost("9", "EUR"), cost("-5"), end="2026-03-06T12:00:00Z")
    (row,) = read(entry, ORIGIN)
    assert (row.cost_nusd, row.cost_from, row.bucket_us) == (1_247_891_200, "provider", 86_400 * US_PER_S)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {**bucket(), "starting_at": "soon"},
        {**bucket(), "starting_at": "0001-01-01T00:00:00Z"},
        bucket(end="2026-03-05T12:00:00Z"),
        bucket({}),
        bucket(tokens(output_tokens=None)),
        bucket(tokens(output_tokens=-1)),
        bucket({"amount": "much", "currency": "USD"}),
        bucket({"amount": "1"}),
    ],
)
def test_what_is_no_bucket(entry: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        read(entry, ORIGIN)


@pytest.mark.parametrize("record", [None, [], "x", {"data": []}, {"object": "bucket", "results": []}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not claims(record)
