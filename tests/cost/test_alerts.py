from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import US_PER_S, iso
from jackstop.cost.alerts import HOUR_US, MINUTE_US, Standing, burning, forecast, passed
from jackstop.cost.history import History
from jackstop.keys.policy import Window
from jackstop.ledger.windows import bounds

USD = 1_000_000_000
NOON = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z, a Monday; November has 30 days
DAY = NOON - 12 * HOUR_US
MONTH = bounds("month", NOON)[0]


def standing(settled: int, amount: int = 24 * USD, window: Window = "day") -> Standing:
    start_us = bounds(window, NOON)[0]
    return Standing(1, "team:red", "usd", amount, window, is_default=False, window_us=start_us, settled=settled)


def names(alerts: list) -> list[str]:
    return [alert.name for alert in alerts]


def history(*points: tuple[int, int]) -> History:
    """Times and what was settled by then."""
    made = History(*points[0])
    for when_us, settled in points[1:]:
        made.add(when_us, settled, 6 * HOUR_US)
    return made


def test_a_threshold_is_reached_to_the_nano_dollar() -> None:
    assert names(passed(standing(12 * USD - 1), (50, 80, 100))) == []
    assert names(passed(standing(12 * USD), (50, 80, 100))) == ["50% of 24.00 usd"]
    assert names(passed(standing(24 * USD), (100, 50))) == ["50% of 24.00 usd", "100% of 24.00 usd"]


def test_beyond_the_budget_there_are_thresholds_too() -> None:
    assert "150% of 24.00 usd" in names(passed(standing(36 * USD), (150,)))


def test_nothing_spent_gives_no_alert_even_of_a_budget_of_nothing() -> None:
    assert passed(standing(0, amount=0), (50,)) == []
    assert len(passed(standing(1, amount=0), (50,))) == 1


def test_tokens_and_requests_are_said_in_their_own_units() -> None:
    tokens = Standing(1, "org", "tokens", 1_000, "hour", is_default=True, window_us=NOON, settled=900)
    assert passed(tokens, (80,))[0].said == "80 % of 1,000 tokens an hour are used"


# -- forecast ---------------------------------------------------------------------------------------------------------


def test_half_a_day_in_which_more_than_half_was_spent_will_pass_the_budget() -> None:
    (alert,) = forecast(standing(13 * USD), NOON)
    assert alert.said == "at this pace it will be 26.00 usd of 24.00 usd a day when the day ends"
    assert forecast(standing(12 * USD), NOON) == []


def test_a_forecast_is_said_to_four_digits() -> None:
    (alert,) = forecast(standing(13_333_333_333), NOON)
    assert "it will be 26.66 usd" in alert.said


def test_a_forecast_waits_for_a_quarter_of_the_window() -> None:
    assert forecast(standing(23 * USD), DAY + 6 * HOUR_US - US_PER_S) == []
    assert forecast(standing(23 * USD), DAY + 6 * HOUR_US)


def test_there_is_no_forecast_of_what_has_happened_nor_after_the_window() -> None:
    assert forecast(standing(24 * USD), NOON) == []
    assert forecast(standing(23 * USD), DAY + 24 * HOUR_US) == []


def test_only_days_and_months_are_forecast() -> None:
    assert forecast(standing(23 * USD, window="life"), NOON) == []
    assert forecast(standing(23 * USD, window="hour"), NOON + 50 * MINUTE_US) == []
    # 22.5 of 30 days: 300 of 400 is just the pace.
    assert forecast(standing(300 * USD, 400 * USD, "month"), MONTH + 540 * HOUR_US) == []
    assert forecast(standing(301 * USD, 400 * USD, "month"), MONTH + 540 * HOUR_US)


# -- burn rates -------------------------------------------------------------------------------------------------------


def test_a_day_s_budget_burns_at_14_4_times_its_pace() -> None:
    """24 USD a day is 1 USD an hour, so 14.4 USD within the last hour and 1.2 USD of them within five minutes."""
    past = history((DAY, 0), (NOON - HOUR_US, 2 * USD), (NOON - 5 * MINUTE_US, 15_200_000_000))
    assert names(burning(standing(16_400_000_000), past, NOON)) == ["14.4x in 1h of 24.00 usd"]


def test_the_long_time_alone_is_not_enough() -> None:
    past = history((DAY, 0), (NOON - HOUR_US, 2 * USD), (NOON - 5 * MINUTE_US, 15_200_000_001))
    assert burning(standing(16_400_000_000), past, NOON) == []


def test_the_short_time_alone_is_not_enough() -> None:
    past = history((DAY, 0), (NOON - HOUR_US, 2_000_000_001), (NOON - 5 * MINUTE_US, 2 * USD))
    assert burning(standing(16_400_000_000), past, NOON) == []


def test_a_month_s_budget_burns_at_6_times_its_pace() -> None:
    """720 USD in a month of 720 hours: 36 USD in six hours, 3 USD of them in half an hour."""
    morning = (NOON - 6 * HOUR_US, 100 * USD), (NOON - HOUR_US, 130 * USD), (NOON - 30 * MINUTE_US, 133 * USD)
    past = history((MONTH, 0), *morning)
    month = standing(136 * USD, 720 * USD, "month")
    assert names(burning(month, past, NOON)) == ["6x in 6h of 720.00 usd"]
    assert burning(standing(136 * USD - 1, 720 * USD, "month"), past, NOON) == []


def test_a_month_s_budget_burns_fast_at_two_percent_in_an_hour() -> None:
    past = history((MONTH, 0), (NOON - HOUR_US, 100 * USD), (NOON - 5 * MINUTE_US, 113_200_000_000))
    assert names(burning(standing(114_400_000_000, 720 * USD, "month"), past, NOON)) == ["14.4x in 1h of 720.00 usd"]


def test_six_hours_at_six_times_the_pace_are_more_than_a_day_has() -> None:
    past = history((DAY, 0), (NOON - HOUR_US, 28 * USD), (NOON - 30 * MINUTE_US, 34 * USD))
    assert burning(standing(40 * USD), past, NOON) == []


def test_a_history_that_begins_late_counts_from_there() -> None:
    past = history((NOON - 10 * MINUTE_US, 14 * USD))
    assert burning(standing(28 * USD), past, NOON) == []
    past = history((NOON - 10 * MINUTE_US, 13 * USD))
    assert burning(standing(28 * USD), past, NOON) != []


def test_neither_hours_nor_lives_nor_windows_that_are_over_burn() -> None:
    past = history((DAY, 0))
    assert burning(standing(30 * USD, window="life"), past, NOON) == []
    assert burning(standing(30 * USD), past, DAY + 24 * HOUR_US) == []
    assert burning(standing(0, amount=0), past, NOON) == []


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=60))
def test_a_history_gives_what_was_settled_at_any_time_that_it_keeps(steps: list[tuple[int, int]]) -> None:
    keep, when, settled = 60, 0, 0
    made, told = History(0, 0), [(0, 0)]
    for passing, spent in steps:
        when, settled = when + passing, settled + spent
        made.add(when, settled, keep)
        told.append((when, settled))
        for ago in range(keep + 1):
            at = max(0, when - ago)
            assert made.at(at) == max((each for each in told if each[0] <= at), key=lambda each: each[0])[1], iso(at)
