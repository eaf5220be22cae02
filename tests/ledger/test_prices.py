"""Prices against hand-computed values, and against genai-prices where it is right."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import from_datetime
from jackstop.gate.meter.base import Usage
from jackstop.ledger.prices import Price, cost, dearest, load, price_list

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
TS = from_datetime(NOON)
USD = 1_000_000_000


def at(*when: int) -> int:
    return from_datetime(datetime(*when, tzinfo=UTC))


@pytest.mark.parametrize(
    ("provider", "model", "usage", "nusd"),
    [
        # 20 x 0.15 + 20 x 0.60 USD per million
        ("openai", "gpt-4o-mini", Usage(input_tokens=20, output_tokens=20), 15_000),
        ("openai", "gpt-4o-mini-2024-07-18", Usage(input_tokens=20, output_tokens=20), 15_000),
        ("openai", "gpt-4o-mini", Usage(cache_read_tokens=1_000_000), 75_000_000),
        ("openai", "gpt-4o-mini", Usage(input_tokens=1_000_000, service_tier="priority"), 250_000_000),
        ("openai", "gpt-4o-mini", Usage(input_tokens=1_000_000, service_tier="default"), 150_000_000),
        ("openai", "gpt-6.1-sol", Usage(input_tokens=1_000, output_tokens=100), 3_000_000),
        ("openai", "gpt-6.1-sol", Usage(input_tokens=1_000, output_tokens=100, service_tier="priority"), 6_000_000),
        ("openai", "gpt-6.1-sol", Usage(input_tokens=1_000, output_tokens=100, service_tier="flex"), 1_500_000),
        ("openai", "gpt-6.1-sol", Usage(cache_write_tokens=1_000), 2_500_000),
        # past the 272,000th token the whole request costs more
        ("openai", "gpt-6.1-sol", Usage(input_tokens=272_000, output_tokens=1_000), 554_000_000),
        ("openai", "gpt-6.1-sol", Usage(input_tokens=272_001, output_tokens=1_000), 1_103_004_000),
        ("openai", "gpt-6.1-sol", Usage(input_tokens=1, cache_read_tokens=272_000), 54_404_000),
        # twelve hours in the cache: 2.5 times the input price
        ("openai", "gpt-6.1-terra", Usage(cache_write_1h_tokens=1_000_000), 5 * USD),
        ("openai", "gpt-6.1-terra", Usage(cache_write_1h_tokens=1_000), 2_500_000),
        ("openai", "gpt-6.1-terra", Usage(web_searches=3, file_searches=2), 35_000_000),
        ("openai", "text-embedding-3-small", Usage(input_tokens=8), 160),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1_000, output_tokens=100), 6_000_000),
        ("anthropic", "claude-opus-5-5", Usage(cache_write_tokens=1_000), 5_000_000),
        ("anthropic", "claude-opus-5-5", Usage(cache_write_1h_tokens=1_000), 8_000_000),
        ("anthropic", "claude-opus-5-5", Usage(cache_read_tokens=1_000), 200_000),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1_000, speed="fast"), 8_000_000),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1_000, inference_geo="us"), 4_400_000),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1_000, inference_geo="global"), 4_000_000),
        ("anthropic", "claude-2", Usage(input_tokens=1_000, inference_geo="us"), 8_000_000),
        ("anthropic", "claude-opus-5-5", Usage(input_tokens=1_000, service_tier="priority"), 4_000_000),
        ("anthropic", "claude-opus-5-5", Usage(web_searches=2, inference_geo="us"), 20_000_000),
        ("anthropic", "claude-haiku-5-5", Usage(input_tokens=100_000), 10_000_000),
        ("anthropic", "claude-haiku-5-5", Usage(input_tokens=100_001), 50_000_500),
        # no fast price is published for this one: six times its price
        ("anthropic", "claude-opus-4-6", Usage(input_tokens=1_000, speed="fast"), 30_000_000),
        # nor a priority price for this one: two and a half times
        ("openai", "gpt-3.5-turbo", Usage(input_tokens=1_000, service_tier="priority"), 1_250_000),
    ],
)
def test_by_hand(provider, model, usage, nusd):
    assert cost(provider, model, usage, TS) == Price(nusd, known=True)


@pytest.mark.parametrize(
    ("ts", "nusd"),
    [
        (at(2026, 11, 23, 0, 59), 660_000),
        (at(2026, 11, 23, 1, 0), 1_320_000),
        (at(2026, 11, 23, 3, 59), 1_320_000),
        (at(2026, 11, 23, 4, 0), 660_000),
        (at(2026, 11, 23, 6, 0), 1_320_000),
        (at(2026, 11, 23, 10, 0), 660_000),
        (at(2026, 11, 27, 9, 59), 1_320_000),
        (at(2026, 11, 21, 2, 0), 660_000),  # Saturday
        (at(2026, 11, 22, 7, 0), 660_000),  # Sunday
    ],
)
def test_deepseek_is_dear_on_weekday_mornings_only(ts, nusd):
    assert cost("deepseek", "deepseek-v4-pro", Usage(input_tokens=1_000), ts) == Price(nusd, known=True)


def test_genai_prices_gets_the_weekend_wrong():
    theirs = calc_price(
        TheirUsage(input_tokens=1_000, output_tokens=0),
        "deepseek-v4-pro",
        provider_id="deepseek",
        genai_request_timestamp=datetime(2026, 11, 21, 2, tzinfo=UTC),
    )
    assert theirs.total_price * USD == 1_320_000


def test_a_price_starts_on_its_day():
    day_before, day = at(2026, 3, 12, 23, 59), at(2026, 3, 13)
    usage = Usage(input_tokens=300_000)
    assert cost("anthropic", "claude-opus-4-6", usage, day_before).nusd == 3 * USD
    assert cost("anthropic", "claude-opus-4-6", usage, day).nusd == 1.5 * USD


def test_costs_are_rounded_up_once():
    assert cost("anthropic", "claude-haiku-5-5", Usage(cache_read_tokens=1), TS).nusd == 10
    assert cost("openai", "gpt-6-luna", Usage(cache_read_tokens=1, service_tier="flex"), TS).nusd == 5
    # 1 x 0.003625 USD per million is 3.625 nano-dollars
    first = at(2026, 7, 1)
    assert cost("deepseek", "deepseek-v4-pro", Usage(cache_read_tokens=1), first).nusd == 4
    assert cost("deepseek", "deepseek-v4-pro", Usage(cache_read_tokens=2), first).nusd == 8
    assert cost("deepseek", "deepseek-v4-pro", Usage(cache_read_tokens=8), first).nusd == 29


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek"])
def test_an_unknown_model_costs_twice_the_dearest(provider):
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    unknown = cost(provider, "no-such-model", usage, TS)
    assert not unknown.known
    highest = max(cost(provider, model.id, usage, TS).nusd for model in models(provider))
    assert unknown.nusd >= 2 * highest


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("whisper-1", Usage(input_tokens=1)),  # has no price per token
        ("omni-moderation-latest", Usage(input_tokens=1)),
        ("gpt-5.6-sol", Usage(input_tokens=1, service_tier="ultrafast")),
        ("x" * 100_000, Usage(input_tokens=1)),
        ("", Usage(input_tokens=1)),
    ],
)
def test_what_has_no_list_price_is_unknown(model, usage):
    assert cost("openai", model, usage, TS) == cost("openai", "no-such-model", Usage(input_tokens=1), TS)


def test_the_model_asked_for_stands_in_for_an_unlisted_one():
    usage = Usage(input_tokens=1_000)
    assert cost("openai", "gpt-4o-2031-01-01", usage, TS, asked="gpt-4o") == cost("openai", "gpt-4o", usage, TS)
    assert cost("openai", "", usage, TS, asked="gpt-4o") == cost("openai", "gpt-4o", usage, TS)
    assert not cost("openai", "new", usage, TS, asked="newer").known


def models(provider):
    listed = next(found for found in providers if found.id == provider).models
    return [model for model in listed if price_list(provider, model.id, TS).known]


PLAIN_MODELS = [
    (provider, model.id)
    for provider in ("openai", "anthropic")
    for model in models(provider)
    if not any(kind in str(model.get_prices(NOON).__dict__.keys()) for kind in ("image", "audio"))
]


@given(
    listed=st.sampled_from(PLAIN_MODELS),
    plain=st.integers(0, 400_000),
    read=st.integers(0, 300_000),
    out=st.integers(0, 100_000),
    tier=st.sampled_from(["", "priority", "flex"]),
)
def test_the_same_as_genai_prices(listed, plain, read, out, tier):
    provider, model = listed
    found = next(entry for entry in models(provider) if entry.id == model)
    kinds = {variant.when.get("service_tier") for variant in found.price_variants or ()}
    if tier and tier not in kinds:
        tier = ""
    if found.get_prices(NOON).cache_read_mtok is None:
        read = 0
    theirs = found.calc_price(
        TheirUsage(input_tokens=plain + read, cache_read_tokens=read, output_tokens=out),
        next(entry for entry in providers if entry.id == provider),
        genai_request_timestamp=NOON,
        price_context={"service_tier": tier} if tier else None,
    )
    ours = cost(
        provider, model, Usage(input_tokens=plain, cache_read_tokens=read, output_tokens=out, service_tier=tier), TS
    )
    exact = theirs.total_price * USD
    assert 0 <= ours.nusd - exact < Decimal(1)


def test_the_snapshot_is_read_ahead():
    load()
    assert dearest("openai").context_window >= 1_000_000
