from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.errors import UserError
from jackstop.keys.amounts import MOST, Budget, Rate, format_amount, parse_budget, parse_rate, parse_span_us


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5usd/day", Budget("usd", 5_000_000_000, "day")),
        ("$5/day", Budget("usd", 5_000_000_000, "day")),
        (" 0.25 USD / Month ", Budget("usd", 250_000_000, "month")),
        ("0.000001usd/day", Budget("usd", 1_000, "day")),
        ("0usd/life", Budget("usd", 0, "life")),
        ("1000000tokens/hour", Budget("tokens", 1_000_000, "hour")),
        ("1_000_000tokens/hour", Budget("tokens", 1_000_000, "hour")),
        ("500req/day", Budget("requests", 500, "day")),
        ("1request/life", Budget("requests", 1, "life")),
    ],
)
def test_budgets_as_people_write_them(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5usd",
        "usd/day",
        "5usd/week",
        "5eur/day",
        "-5usd/day",
        "5usd/day/day",
        "1e3usd/day",
        "5.5req/day",
        "$/day",
        "0.0000000001usd/day",
        "99999999999usd/day",
        "60req/min",
        "\u0665usd/day",
        "5..0usd/day",
        f"{MOST + 1}tokens/day",
    ],
)
def test_what_is_no_budget_says_so(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_budget(text)
    assert caught.value.remedy
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [("60req/min", Rate(60, 60)), ("5req/s", Rate(5, 1)), ("1000requests/hour", Rate(1_000, 3_600))],
)
def test_rates_as_people_write_them(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "60", "60/min", "60req", "60req/day", "0req/min", "1.5req/s", "60usd/min", "$5/min"]
)
def test_what_is_no_rate_says_so(text: str) -> None:
    with pytest.raises(UserError):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("15m", 900), ("90s", 90), ("2w", 1_209_600)]
)
def test_spans_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_span_us(text) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1y", "99999999999999d"])
def test_what_is_no_span_says_so(text: str) -> None:
    with pytest.raises(UserError):
        parse_span_us(text)


@given(st.text(max_size=30))
def test_no_text_ends_in_another_error(text: str) -> None:
    for parse in (parse_budget, parse_rate, parse_span_us):
        try:
            parse(text)
        except UserError:
            pass


@given(st.integers(0, MOST // 10**9), st.sampled_from(["hour", "day", "month", "life"]))
def test_whole_dollars_are_exact(dollars: int, window: str) -> None:
    assert parse_budget(f"{dollars}usd/{window}").amount == dollars * 10**9


def test_amounts_are_shown_with_their_unit() -> None:
    assert format_amount("usd", 1_500_000_000) == "1.50 usd"
    assert format_amount("tokens", 1_000_000) == "1,000,000 tokens"
