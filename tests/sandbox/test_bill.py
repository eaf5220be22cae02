"""The bill, recomputed here from what the SDKs were told, with prices copied from the vendors' pages by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import genai_prices
import pytest

from jackstop.clock import from_datetime
from jackstop.sandbox.bill import fingerprint
from jackstop.sandbox.catalogue import Catalogue, Tokens

# US dollars per million tokens: fresh input, cached, cache write, output.
PRICES = {
    ("gpt-4o-mini", ""): ("0.15", "0.075", "0.15", "0.6"),
    ("gpt-4o-mini", "priority"): ("0.25", "0.125", "0.25", "1"),
    ("gpt-5", ""): ("1.25", "0.125", "1.25", "10"),
    ("gpt-5", "flex"): ("0.625", "0.0625", "0.625", "5"),
    ("gpt-5-mini", "fast"): ("0.45", "0.045", "0.45", "3.6"),
    ("gpt-6.1-sol", ""): ("2", "0.1", "2.5", "10"),
    ("gpt-6.1-sol", "long"): ("4", "0.2", "5", "15"),
}


def cost(price: tuple[str, str, str, str], fresh: int, cached: int, written: int, output: int) -> Fraction:
    amounts = zip(price, (fresh, cached, written, output), strict=True)
    return sum((Fraction(usd) * 1000 * amount for usd, amount in amounts), Fraction())


def chat_cost(key: tuple[str, str], usage: Any) -> Fraction:
    cached, written = usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens
    fresh = usage.prompt_tokens - cached - written
    return cost(PRICES[key], fresh, cached, written, usage.completion_tokens)


def test_openai_is_billed_to_the_last_unit(sandbox):
    expected: Fraction = Fraction()
    client = sandbox.openai(key="sk-billed")
    for number, (model, tier) in enumerate(PRICES):
        text = "x" * 1_100_000 if tier == "long" else f"Good morning {number}"
        more: Any = {"service_tier": tier} if tier not in ("", "long") else {}
        content = f"{text} [[sandbox: cached=3 cache_write=2 out={number * 7 + 1}]]"
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], n=1 + number % 3, **more
        )
        expected += chat_cost((model, tier), answer.usage)
    assert sandbox.bill() == [
        {"credential": fingerprint("sk-billed"), "requests": len(PRICES), "cost_nusd": math.ceil(expected)}
    ]
    assert sum(row["units"] for row in sandbox.rows()) == expected * 1_000_000


def test_credentials_are_billed_apart_and_rounded_once(sandbox):
    message: Any = [{"role": "user", "content": "[[sandbox: out=1 cached=1]]"}]
    for key, times in (("sk-a", 3), ("sk-b", 1)):
        for _ in range(times):
            sandbox.openai(key=key).embeddings.create(model="text-embedding-3-small", input="four")
    sandbox.openai(key="sk-b").chat.completions.create(model="gpt-5", messages=message)
    lines = {line["credential"]: line for line in sandbox.bill()}
    assert lines[fingerprint("sk-a")] == {"credential": fingerprint("sk-a"), "requests": 3, "cost_nusd": 60}
    # 20 for the embedding; 27 bytes and one message are 10 tokens, one of them cached; one token of output
    assert lines[fingerprint("sk-b")]["cost_nusd"] == 20 + 9 * 1250 + 125 + 10_000
    assert "sk-a" not in str(sandbox.rows())


def test_anthropic_is_billed_to_the_last_unit(sandbox):
    content = "Good morning [[sandbox: cached=4 cache_write=3 cache_write_1h=2 out=33]]"
    answer = sandbox.anthropic().messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": content}]
    )
    usage = answer.usage
    expected = usage.input_tokens * 1000 + 4 * 100 + 3 * 1250 + 2 * 2000 + 33 * 5000
    assert sandbox.bill()[0]["cost_nusd"] == expected


def test_deepseek_is_billed_by_the_hour(sandbox):
    answer = sandbox.deepseek().chat.completions.create(
        model="deepseek-v4-pro", messages=[{"role": "user", "content": "Good morning [[sandbox: cached=4 out=33]]"}]
    )
    moment = datetime.fromtimestamp(sandbox.row()["ts"] / 1_000_000, UTC)
    peak = moment.isoweekday() <= 5 and moment.hour in {1, 2, 3, 6, 7, 8, 9}
    usage: Any = answer.usage
    off_peak = usage.prompt_cache_miss_tokens * 660 + usage.prompt_cache_hit_tokens * 22 + 33 * 1980
    assert sandbox.bill()[0]["cost_nusd"] == off_peak * (2 if peak else 1)


@pytest.mark.parametrize(
    ("when", "peak"),
    [
        ("2026-11-23T00:59:59", False),  # a Monday
        ("2026-11-23T01:00:00", True),
        ("2026-11-23T03:59:59", True),
        ("2026-11-23T04:00:00", False),
        ("2026-11-27T09:59:59", True),
        ("2026-11-27T10:00:00", False),
        ("2026-11-28T02:00:00", False),  # a Saturday
        ("2026-11-29T07:00:00", False),
    ],
)
def test_deepseeks_peak_is_on_weekdays(when, peak):
    model = Catalogue.load().find("deepseek", "deepseek-flash")
    assert model is not None
    ts_us = from_datetime(datetime.fromisoformat(when).replace(tzinfo=UTC))
    assert model.cost(Tokens(output=1), "default", ts_us) == (1_200_000_000 if peak else 600_000_000)


@pytest.mark.parametrize(("size", "long"), [(272_000, False), (272_001, True)])
def test_the_long_tier_begins_beyond_its_threshold(size, long):
    model = Catalogue.load().find("openai", "gpt-6.1-sol")
    assert model is not None
    spent = model.cost(Tokens(fresh=size - 10, cached=10, output=1), "default", 0)
    rate = (4, Fraction("0.2"), 15) if long else (2, Fraction("0.1"), 10)
    assert spent == ((size - 10) * rate[0] + 10 * rate[1] + rate[2]) * 1_000_000_000


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek"])
def test_the_table_agrees_with_a_second_one(provider):
    """The gate's prices come from genai-prices; ours were copied by hand. On a Sunday, outside every peak."""
    moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for model in Catalogue.load().of(provider):
        kinds = {
            "input": (genai_prices.Usage(input_tokens=100_000), Tokens(fresh=100_000)),
            "cached": (
                genai_prices.Usage(input_tokens=100_000, cache_read_tokens=100_000),
                Tokens(cached=100_000),
            ),
            "output": (genai_prices.Usage(output_tokens=100_000), Tokens(output=100_000)),
        }
        for kind, (theirs, ours) in kinds.items():
            if kind != "input" and not model.max_output:
                continue
            listed = genai_prices.calc_price(
                theirs, model.id, provider_id=provider, genai_request_timestamp=moment
            ).total_price
            units = model.cost(ours, "default", from_datetime(moment))
            assert Fraction(units, 10**15) == Fraction(listed), (model.id, kind)


def test_the_bill_shares_no_code_with_the_ledger():
    script = (
        "import sys, jackstop.sandbox.server; "
        "print([m for m in sys.modules if m.startswith(('jackstop.ledger', 'jackstop.gate', 'genai_prices'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
