"""When a budget gives an alert: thresholds, forecast and burn rates, as functions of its books alone.

What counts is what is settled. Held and leased money is not spent: a hold is an upper bound, often several times what
the request costs, and a lease is money that a gate has at hand, of a small budget all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from jackstop.clock import US_PER_S
from jackstop.cost.history import History
from jackstop.keys.amounts import format_amount
from jackstop.keys.policy import Window
from jackstop.ledger.windows import bounds

MINUTE_US = 60 * US_PER_S
HOUR_US = 60 * MINUTE_US
PER_WINDOW = {"hour": "an hour", "day": "a day", "month": "a month", "life": "for life"}
_PACED: frozenset[Window] = frozenset({"day", "month"})
_ENOUGH_HISTORY = 4
"""A forecast needs a window of which a quarter is over."""


class Standing(NamedTuple):
    """A budget, and its books in one window."""

    limit_id: int
    scope: str
    kind: str
    amount: int
    window: Window
    is_default: bool
    window_us: int
    settled: int

    @property
    def budget(self) -> str:
        """How people write it: `20.00 usd a day`."""
        return f"{format_amount(self.kind, self.amount)} {PER_WINDOW[self.window]}"


class Alert(NamedTuple):
    """One alert. `name` is the same for the same alert in one window; another amount of the budget is another alert."""

    name: str
    said: str


class Burn(NamedTuple):
    """Spending at `tenths` / 10 times the budget's even pace, in a long and in a short time up to now."""

    tenths: int
    long_us: int
    short_us: int

    @property
    def factor(self) -> str:
        """`14.4`, or `6` where nothing follows the point."""
        whole, tenth = divmod(self.tenths, 10)
        return f"{whole}.{tenth}" if tenth else str(whole)


BURNS = (Burn(144, HOUR_US, 5 * MINUTE_US), Burn(60, 6 * HOUR_US, 30 * MINUTE_US))
"""The long time says that it matters, the short one that it goes on. Factors and times are those of the chapter
"Alerting on SLOs" in Google's Site Reliability Workbook (sre.google/workbook/alerting-on-slos, read 2026-11-23)."""


def rounded(standing: Standing, amount: int) -> str:
    """An amount as people read it beside that of the budget: to four of the budget's digits, cut off."""
    step = 10 ** max(0, len(str(standing.amount)) - 4)
    return format_amount(standing.kind, amount - amount % step)


def passed(standing: Standing, percents: Iterable[int]) -> list[Alert]:
    """The thresholds that are reached, the lowest first."""
    amount, settled = standing.amount, standing.settled
    reached = (percent for percent in sorted(percents) if settled and settled * 100 >= percent * amount)
    return [
        Alert(f"{percent}% of {format_amount(standing.kind, amount)}", f"{percent} % of {standing.budget} are used")
        for percent in reached
    ]


def exhausted(standing: Standing) -> Alert:
    """A request was refused, since what is left could not bear it."""
    name = f"exhausted of {format_amount(standing.kind, standing.amount)}"
    return Alert(name, f"a request was refused: what is left of {standing.budget} could not bear it")


def forecast(standing: Standing, now_us: int) -> list[Alert]:
    """Whether the window's spending, going on as it has on the average, passes the budget before the window ends."""
    start_us, end_us = bounds(standing.window, standing.window_us)
    elapsed_us, whole_us = now_us - start_us, end_us - start_us
    amount, settled = standing.amount, standing.settled
    if standing.window not in _PACED or now_us >= end_us or elapsed_us * _ENOUGH_HISTORY < whole_us:
        return []
    if settled >= amount or settled * whole_us <= amount * elapsed_us:
        return []
    expected = rounded(standing, settled * whole_us // elapsed_us)
    name = f"forecast of {format_amount(standing.kind, amount)}"
    return [Alert(name, f"at this pace it will be {expected} of {standing.budget} when the {standing.window} ends")]


def burning(standing: Standing, history: History, now_us: int) -> list[Alert]:
    """Which of the burn rates are passed, the fastest only."""
    start_us, end_us = bounds(standing.window, standing.window_us)
    if standing.window not in _PACED or not start_us <= now_us < end_us:
        return []
    whole_us, amount, settled = end_us - start_us, standing.amount, standing.settled
    for burn in BURNS:
        # A rule that takes more than the whole budget to be met has nothing to say before the thresholds do.
        if burn.tenths * burn.long_us > 10 * whole_us:
            continue
        spent = ((span_us, settled - history.at(now_us - span_us)) for span_us in (burn.long_us, burn.short_us))
        if settled and all(10 * nusd * whole_us >= burn.tenths * span_us * amount for span_us, nusd in spent):
            hours = burn.long_us // HOUR_US
            name = f"{burn.factor}x in {hours}h of {format_amount(standing.kind, amount)}"
            return [Alert(name, f"the last {hours} h were spent at {burn.factor} times the pace of {standing.budget}")]
    return []
