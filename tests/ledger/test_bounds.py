"""A hold covers whatever its request can come to cost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import US_PER_S, from_datetime
from jackstop.errors import Refused
from jackstop.gate.meter.base import Ask, Usage
from jackstop.ledger import tokenizer
from jackstop.ledger.bounds import Bound, bound, fitting_cap
from jackstop.ledger.prices import cost, price_list
from jackstop.ledger.tokenizer import exact_input
from jackstop.settings import LedgerSettings

TS = from_datetime(datetime(2026, 11, 23, 12, tzinfo=UTC))
MODELS = [
    (provider.id, model.id)
    for provider in providers
    if provider.id in {"openai", "anthropic", "deepseek"}
    for model in provider.models
] + [("openai", "no-such-model"), ("anthropic", "no-such-model"), ("deepseek", "no-such-model")]


def held(provider: str, ask: Ask, cap: int, **settings) -> Bound:
    found = bound(provider, ask, cap, settings.pop("ts", TS), **settings)
    assert isinstance(found, Bound)
    return found


def test_by_hand():
    # 1,000 x 0.15 + 100 x 0.60 USD per million
    found = held("openai", Ask(model="gpt-4o-mini", input_bound=1_000), 100)
    assert (found.nusd, found.tokens) == (210_000, 1_100)
    assert (found.price_known, found.context_window) == (True, 128_000)


@pytest.mark.parametrize(
    ("provider", "ask", "cap", "nusd"),
    [
        # cache writes, automatic at OpenAI: 2.50; output 10
        ("openai", Ask(model="gpt-6.1-sol", input_bound=1_000, cache_write="short"), 100, 3_500_000),
        ("openai", Ask(model="gpt-6.1-sol", input_bound=1_000, cache_write="long"), 100, 6_000_000),
        ("openai", Ask(model="gpt-6.1-sol", input_bound=1_000, service_tier="fast"), 100, 7_000_000),
        ("openai", Ask(model="gpt-6.1-sol", input_bound=1_000, service_tier="flex"), 100, 3_500_000),
        ("openai", Ask(model="gpt-6.1-sol", input_bound=272_000), 0, 680_000_000),
        ("openai", Ask(model="gpt-6.1-sol", input_bound=272_001), 0, 1_360_005_000),
        ("openai", Ask(model="gpt-4o-mini", input_bound=1_000, n=3), 100, 330_000),
        ("openai", Ask(model="gpt-4o-mini", input_bound=1_000, extra_output=50), 100, 240_000),
        ("openai", Ask(model="gpt-4o-mini", input_bound=9_000_000), 100, 19_260_000),
        ("openai", Ask(model="gpt-4o-mini", input_bound=5, whole_context=True), 100, 19_260_000),
        ("openai", Ask(model="gpt-4o-mini", whole_context=True, inferences=3, web_searches=2), 100, 77_780_000),
        ("openai", Ask(model="text-embedding-3-small", input_bound=100_000, has_output=False), 0, 2_000_000),
        # without a word on where it runs it may run in the US: 1.1 times
        ("anthropic", Ask(model="claude-opus-5-5", input_bound=1_000), 100, 6_600_000),
        ("anthropic", Ask(model="claude-opus-5-5", input_bound=1_000, inference_geo="global"), 100, 6_000_000),
        # models before Opus 4.6 have one price everywhere
        ("anthropic", Ask(model="claude-sonnet-4-5", input_bound=1_000), 100, 4_500_000),
        (
            "anthropic",
            Ask(model="claude-opus-5-5", input_bound=1_000, inference_geo="global", speed="fast"),
            100,
            12_000_000,
        ),
        (
            "anthropic",
            Ask(model="claude-opus-5-5", input_bound=1_000, inference_geo="global", cache_write="short"),
            100,
            7_000_000,
        ),
        (
            "anthropic",
            Ask(model="claude-opus-5-5", input_bound=1_000, inference_geo="global", cache_write="long"),
            100,
            10_000_000,
        ),
        ("anthropic", Ask(model="claude-haiku-5-5", input_bound=100_001, inference_geo="global"), 0, 50_000_500),
        ("deepseek", Ask(model="deepseek-v4-pro", input_bound=1_000), 0, 660_000),
    ],
)
def test_dearest_tier_that_this_body_can_trigger(provider, ask, cap, nusd):
    assert held(provider, ask, cap).nusd == nusd


@pytest.mark.parametrize(
    ("hour", "minute", "nusd"),
    [(12, 0, 660_000), (0, 0, 1_320_000), (0, 29, 1_320_000), (3, 59, 1_320_000), (4, 0, 660_000)],
)
def test_deepseek_is_held_at_the_peak_that_the_request_may_reach(hour, minute, nusd):
    ts = from_datetime(datetime(2026, 11, 24, hour, minute, tzinfo=UTC))
    assert held("deepseek", Ask(model="deepseek-v4-pro", input_bound=1_000), 0, ts=ts).nusd == nusd


def test_the_cap_is_at_most_the_context_window():
    ask = Ask(model="gpt-4o-mini", input_bound=10)
    assert held("openai", ask, 10**9) == held("openai", ask, 128_000)


def test_a_gap_holds_the_largest_window():
    found = held("openai", Ask(model="gpt-4o-mini", input_bound=10), 10, gap=True)
    assert found.tokens >= 1_000_000


def test_unbounded_is_held_at_the_window():
    found = held("openai", Ask(model="gpt-4o-mini", input_bound=10, unbounded="a background run"), 10)
    assert found.tokens == 128_010


def test_free_routes_hold_nothing_even_without_a_price():
    refuse = LedgerSettings(unknown_price="refuse")
    assert held("openai", Ask(model="omni-moderation-latest", has_output=False), 8192, settings=refuse).nusd == 0


@pytest.mark.parametrize("settings", [LedgerSettings(), None])
def test_an_unknown_model_is_held_dear_and_marked(settings):
    found = held("openai", Ask(model="no-such-model", input_bound=1_000), 1_000, settings=settings)
    assert not found.price_known
    assert found.nusd > held("openai", Ask(model="o1-pro", input_bound=1_000), 1_000).nusd


def test_an_unknown_model_is_refused_where_the_settings_say_so():
    settings = LedgerSettings(unknown_price="refuse")
    found = bound("openai", Ask(model="no-such-model", input_bound=1_000), 1_000, TS, settings=settings)
    assert isinstance(found, Refused)
    assert found.reason == "price"
    assert isinstance(bound("openai", Ask(model="gpt-4o"), 1, TS, settings=settings), Bound)


def test_an_exact_count_takes_the_place_of_the_bytes():
    ask = Ask(model="gpt-4o-mini", input_bound=10_080, allowance=80)
    assert held("openai", ask, 0, exact_input=2_000).tokens == 2_080
    assert held("openai", ask, 0, exact_input=90_000).tokens == 10_080
    whole = Ask(model="gpt-4o-mini", input_bound=10_080, allowance=80, whole_context=True)
    assert held("openai", whole, 0, exact_input=10).tokens == 128_000


ASKS = st.builds(
    Ask,
    model=st.just(""),
    input_bound=st.integers(0, 2_000_000),
    whole_context=st.booleans(),
    extra_output=st.integers(0, 2_000),
    n=st.integers(1, 4),
    inferences=st.integers(1, 4),
    cache_write=st.sampled_from(["", "short", "long"]),
    speed=st.sampled_from(["", "fast"]),
    inference_geo=st.sampled_from(["", "global", "us"]),
    web_searches=st.integers(0, 5),
    file_searches=st.integers(0, 5),
    has_output=st.booleans(),
)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek"])
@given(data=st.data())
def test_a_hold_covers_any_usage_within_its_bounds(provider, data):
    model = data.draw(st.sampled_from([name for owner, name in MODELS if owner == provider]))
    drawn = data.draw(ASKS)
    fields = {name: getattr(drawn, name) for name in Ask.__struct_fields__} | {"model": model}
    if provider == "openai":
        fields["service_tier"] = data.draw(st.sampled_from(["", "flex", "priority", "fast", "scale"]))
    ask = Ask(**fields)
    cap = data.draw(st.integers(0, 300_000))
    ts = TS + data.draw(st.integers(-700 * 86_400, 7 * 86_400)) * US_PER_S
    found = held(provider, ask, cap, ts=ts)
    window = found.context_window
    once = (window if ask.whole_context else min(ask.input_bound, window)) if ask.has_output else ask.input_bound
    most_input = once * ask.inferences
    most_output = (min(cap, window) * ask.n * ask.inferences + ask.extra_output) if ask.has_output else 0
    writes = bool(ask.cache_write) or provider == "openai"
    left = data.draw(st.integers(0, most_input))
    usage = Usage(output_tokens=data.draw(st.integers(0, most_output)))
    if writes:
        usage.cache_write_tokens = data.draw(st.integers(0, left))
        left -= usage.cache_write_tokens
    if ask.cache_write == "long":
        usage.cache_write_1h_tokens = data.draw(st.integers(0, left))
        left -= usage.cache_write_1h_tokens
    usage.cache_read_tokens = data.draw(st.integers(0, left))
    usage.input_tokens = left - usage.cache_read_tokens
    usage.web_searches = data.draw(st.integers(0, ask.web_searches))
    usage.file_searches = data.draw(st.integers(0, ask.file_searches))
    served = {"flex": ["flex", "default"], "priority": ["priority", "default"], "fast": ["priority", "fast", "default"]}
    usage.service_tier = data.draw(st.sampled_from(served.get(ask.service_tier, ["", "default"])))
    usage.speed = data.draw(st.sampled_from([ask.speed, "standard"]))
    usage.inference_geo = (
        "global" if ask.inference_geo == "global" else data.draw(st.sampled_from(["us", "", "global"]))
    )
    later = ts + data.draw(st.integers(0, 1_800)) * US_PER_S if provider == "deepseek" else ts
    assert cost(provider, model, usage, later).nusd <= found.nusd
    assert usage.total <= found.tokens


@given(
    listed=st.sampled_from(MODELS),
    size=st.integers(0, 3_000_000),
    n=st.integers(1, 5),
    left=st.integers(0, 10**12),
)
def test_the_fitting_cap_fits_and_is_the_largest(listed, size, n, left):
    provider, model = listed
    ask = Ask(model=model, input_bound=size, n=n, inference_geo="global")
    cap = fitting_cap(provider, ask, left, TS)
    if cap is None:
        assert held(provider, ask, 1).nusd > left
        return
    assert held(provider, ask, cap).nusd <= left
    assert cap == held(provider, ask, 1).context_window or held(provider, ask, cap + 1).nusd > left


def test_no_cap_fits_what_has_no_output():
    assert (
        fitting_cap("openai", Ask(model="text-embedding-3-small", input_bound=5, has_output=False), 10**12, TS) is None
    )


def test_no_model_is_free_by_mistake():
    for provider, model in MODELS:
        listed = price_list(provider, model, TS)
        assert listed.context_window > 0
        for _, rates in listed.tiers:
            assert rates.input > 0
            assert rates.cache_write >= rates.input
            assert rates.web_search > 0


class TestExactInput:
    def test_without_a_tokenizer_there_is_no_count(self, monkeypatch):
        monkeypatch.setattr(tokenizer, "_encoder", lambda vocabulary: None)
        assert exact_input(["hello"], "openai", "gpt-4o") is None

    def test_openai_is_counted(self):
        pytest.importorskip("bpe_openai")
        assert exact_input(["hello world"] * 100, "openai", "gpt-4o") == 210
        assert exact_input([], "openai", "gpt-4o") == 0
        assert exact_input(["a" * 2_000_000], "openai", "gpt-6.1-sol") < 600_000

    def test_older_models_have_the_older_vocabulary(self):
        pytest.importorskip("bpe_openai")
        text = ["שלום עולם " * 200]
        assert exact_input(text, "openai", "gpt-4-turbo") > exact_input(text, "openai", "gpt-4o")

    @pytest.mark.parametrize("provider", ["anthropic", "deepseek"])
    def test_others_are_never_below_what_their_vocabulary_could_make(self, provider):
        pytest.importorskip("bpe_openai")
        assert exact_input([" " * 30_000], provider, "m") >= 10_000
        assert exact_input(["漢字" * 100], provider, "m") >= 600
        assert exact_input(["hello world"] * 100, provider, "m") >= 400
