from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from jackstop.cost import watch as module
from jackstop.ledger import leases
from jackstop.store.tables import cost_alerts, outbox
from tests.cost.spending import DAY_US, HALF_A_MINUTE, HOUR, USD, Spending


def test_thresholds_are_told_as_they_are_passed(spending: Spending) -> None:
    budget = spending.budget("team:red", "100usd/day")
    spending.spend(budget, "day", 49 * USD)
    assert spending.look() == []
    spending.spend(budget, "day", 1 * USD)
    assert spending.look() == ["team:red: 50 % of 100.00 usd a day are used"]
    spending.spend(budget, "day", 1 * USD)
    assert spending.look() == []


def test_of_several_at_once_the_highest_is_told_and_all_count_as_given(spending: Spending) -> None:
    budget = spending.budget("org", "100usd/day")
    spending.spend(budget, "day", 120 * USD)
    assert spending.look() == ["org: 100 % of 100.00 usd a day are used"]
    assert spending.given() == ["100% of 100.00 usd", "50% of 100.00 usd", "80% of 100.00 usd"]


def test_the_next_window_begins_anew(spending: Spending) -> None:
    budget = spending.budget("org", "1usd/hour")
    spending.spend(budget, "hour", USD)
    assert len(spending.look()) == 1
    spending.pass_time(HOUR)
    assert spending.look() == []
    spending.spend(budget, "hour", USD)
    assert len(spending.look()) == 1


def test_what_settles_after_its_window_still_counts_for_it(spending: Spending) -> None:
    budget = spending.budget("org", "1usd/hour")
    lease = spending.spend(budget, "hour", 0)
    spending.look()
    spending.pass_time(HOUR)
    with spending.store.begin() as conn:
        leases.change(conn, lease, booked=USD)
    spending.watch.note([lease])
    assert spending.look() == ["org: 100 % of 1.00 usd an hour are used"]


def test_a_budget_that_was_raised_alerts_on_its_new_amount(spending: Spending) -> None:
    budget = spending.budget("org", "10usd/day")
    spending.spend(budget, "day", 10 * USD)
    spending.look()
    spending.budget("org", "20usd/day")
    spending.spend(budget, "day", 6 * USD)
    assert spending.look() == ["org: 80 % of 20.00 usd a day are used"]


def test_what_was_booked_without_the_watch_is_seen_by_the_next_control(spending: Spending) -> None:
    budget = spending.budget("org", "10usd/life")
    spending.look()
    spending.spend(budget, "life", 10 * USD)
    spending.restart()
    assert spending.look() == ["org: 100 % of 10.00 usd for life are used"]
    spending.restart()
    assert spending.look() == []


def test_every_hour_all_budgets_are_looked_at(spending: Spending) -> None:
    budget = spending.budget("org", "10usd/day")
    spending.spend(budget, "day", 7 * USD)
    spending.look()
    spending.budget("org", "5usd/day")  # less than is spent, and nobody spends more
    assert spending.look() == []
    spending.pass_time(HOUR)
    assert "org: 100 % of 5.00 usd a day are used" in spending.look()


def test_what_a_dead_gate_is_charged_is_looked_at_next(spending: Spending) -> None:
    budget = spending.budget("org", "10usd/day")
    spending.look()
    spending.spend(budget, "day", 10 * USD)
    spending.watch._leases.clear()
    spending.watch.note_all()
    assert len(spending.look()) == 1


def test_all_budgets_are_looked_at_in_batches(spending: Spending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    for number in range(7):
        spending.spend(spending.budget(f"team:t{number}", "1usd/day"), "day", USD)
    spending.restart()
    assert len(spending.look()) == 7


def test_a_refusal_for_want_of_budget_is_told_once(spending: Spending) -> None:
    budget = spending.budget("org", "1usd/day")
    spending.spend(budget, "day", 970_000_000)
    spending.look()
    window_us = spending.clock.now_us() // DAY_US * DAY_US
    for _ in range(2):
        spending.watch.note_exhausted([(budget, window_us), (budget, window_us - DAY_US), (99, window_us)])
        spending.look()
    assert spending.messages()[1:] == ["org: a request was refused: what is left of 1.00 usd a day could not bear it"]


def test_the_default_budget_of_a_key_speaks_more_quietly(spending: Spending) -> None:
    issued = spending.bench.issue()
    shown = spending.bench.run("budget show", scope=f"key:{issued['id']}")["rows"][0]
    spending.spend(shown["id"], "day", 11 * USD)
    spending.spend(spending.budget("org", "20usd/day"), "day", 11 * USD)
    spending.look()
    assert {each["facts"]["entity"]: each["severity"] for each in spending.news()} == {
        f"key:{issued['id']}": "low",
        "org": "medium",
    }


def test_nobody_s_address_is_in_the_news(spending: Spending) -> None:
    spending.spend(spending.budget("owner:ann@example.com", "1usd/day"), "day", USD)
    spending.look()
    assert "person:" in spending.messages()[0]
    assert "ann@" not in str(spending.news())


def test_news_and_the_note_of_them_stand_or_fall_together(spending: Spending, monkeypatch: pytest.MonkeyPatch) -> None:
    spending.spend(spending.budget("org", "1usd/day"), "day", USD)

    def fail(*_: object) -> None:
        raise DBAPIError("disk full", None, Exception())

    with monkeypatch.context() as broken:
        broken.setattr(module, "queue", fail)
        with pytest.raises(DBAPIError):
            spending.watch.look()
    assert spending.given() == []
    assert len(spending.look()) == 1


def test_alerts_of_windows_that_are_long_over_are_forgotten(spending: Spending) -> None:
    spending.spend(spending.budget("org", "1usd/day"), "day", USD)
    spending.spend(spending.budget("team:red", "1usd/life"), "life", USD)
    spending.look()
    spending.pass_time(181 * 24 * HOUR)
    spending.look()
    assert spending.given() == ["100% of 1.00 usd", "50% of 1.00 usd", "80% of 1.00 usd"]


def test_a_burning_budget_is_told_before_its_first_threshold(spending: Spending) -> None:
    """720 USD a month, spent at 18 USD an hour: 18 times the pace, 14.4 USD after 48 minutes."""
    spending.only(burn_rate=True)
    budget = spending.budget("org", "720usd/month")
    spending.look()
    told: list[tuple[int, list[str]]] = []
    for step in range(125):
        spending.spend(budget, "month", 18 * USD * HALF_A_MINUTE // HOUR)
        told += [(step, said)] if (said := spending.look()) else []
        spending.pass_time(HALF_A_MINUTE)
    # 96 times 15 cents.
    assert told == [(95, ["org: the last 1 h were spent at 14.4 times the pace of 720.00 usd a month"])]


def test_after_a_restart_burning_counts_from_there(spending: Spending) -> None:
    spending.only(burn_rate=True)
    budget = spending.budget("org", "720usd/month")
    spending.spend(budget, "month", 100 * USD)
    spending.restart()
    assert spending.look() == []
    spending.pass_time(HALF_A_MINUTE)
    spending.spend(budget, "month", 14 * USD)
    assert spending.look() == []
    spending.spend(budget, "month", USD)
    assert len(spending.look()) == 1


def test_a_forecast_is_told(spending: Spending) -> None:
    spending.only(thresholds=(), forecast=True)
    budget = spending.budget("org", "20usd/day")
    spending.spend(budget, "day", 11 * USD)
    assert spending.look() == [
        "org: at this pace it will be 22.00 usd of 20.00 usd a day when the day ends",
    ]


def test_a_budget_that_refuses_has_no_more_to_say_of_its_pace(spending: Spending) -> None:
    spending.only(thresholds=(), forecast=True, burn_rate=True)
    budget = spending.budget("org", "20usd/day")
    window_us = spending.clock.now_us() // DAY_US * DAY_US
    spending.watch.note_exhausted([(budget, window_us)])
    for _ in range(2):
        spending.spend(budget, "day", 9 * USD)
        spending.look()
    assert spending.given() == ["exhausted of 20.00 usd"]


def test_each_kind_can_be_turned_off(spending: Spending) -> None:
    spending.only(thresholds=())
    spending.spend(spending.budget("org", "20usd/day"), "day", 19 * USD)
    assert spending.look() == []


steps = st.one_of(
    st.integers(0, 60),  # spend so many percent
    st.sampled_from(["look", "restart", "release"]),
    st.tuples(st.just("pass"), st.integers(1, 8)),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=25))
def test_each_threshold_is_given_once_in_each_window_however_it_grows(
    spending: Spending, plan: list[int | str | tuple[str, int]]
) -> None:
    """Against a model: the thresholds that a look has seen passed in the window of that time."""
    spending.only(thresholds=(80, 50, 100))
    spending.look()
    spending.pass_time(24 * HOUR)
    with spending.store.begin() as conn:
        conn.execute(delete(cost_alerts))
        conn.execute(delete(outbox))
    budget, settled = spending.budget("org", "100usd/day"), 0
    expected: list[str] = []
    seen: set[int] = set()
    day = spending.clock.now_us() // DAY_US
    for step in [*plan, "look"]:
        if isinstance(step, int):
            settled += step
            spending.spend(budget, "day", step * USD)
        elif step == "release":
            spending.spend(budget, "day", -min(settled, 30) * USD)
            settled -= min(settled, 30)
        elif step == "restart":
            spending.restart()
        elif step == "look":
            passed = {percent for percent in (50, 80, 100) if settled and settled >= percent} - seen
            seen |= passed
            told = spending.look()
            assert told == ([f"org: {max(passed)} % of 100.00 usd a day are used"] if passed else [])
            expected += [f"{percent}% of 100.00 usd" for percent in passed]
        elif not isinstance(step, str):
            spending.look()
            passed = {percent for percent in (50, 80, 100) if settled and settled >= percent} - seen
            expected += [f"{percent}% of 100.00 usd" for percent in passed]
            seen |= passed
            spending.pass_time(step[1] * HOUR)
            if spending.clock.now_us() // DAY_US != day:
                day, settled, seen = spending.clock.now_us() // DAY_US, 0, set()
    assert spending.given() == sorted(expected)
