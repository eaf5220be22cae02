"""What a day's costs show that no report of tokens does."""

from __future__ import annotations

import pytest

from jackstop.money import NUSD_PER_USD as USD
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.material import Stored
from jackstop.reconcile.spent import finding_of, spent
from tests.reconcile.world import DAY_US, MODEL, NOON_US, PLACE, S_US, Call, Provider, cells_of, watched

TODAY_US = NOON_US - NOON_US % DAY_US
NOW_US = NOON_US + 3_600 * S_US


def cost(item: str, nusd: int, key: str = "key_main", day_us: int = TODAY_US) -> Stored:
    return Stored("costs", PLACE, Bucket(day_us, DAY_US, key, item, cost_nusd=nusd))


def day_of_calls(count: int = 50, start_us: int = TODAY_US + 8 * 3_600 * S_US) -> list[Call]:
    return [Call(start_us + number * 60 * S_US) for number in range(count)]


def judged(rows, calls, **fields):
    return spent(watched(**fields), [*rows, *Provider().count(calls).report()], cells_of(calls), NOW_US)


def test_images_that_nobody_asked_the_gate_for_are_somebody_elses():
    calls = day_of_calls()
    rows = [cost(MODEL, sum(call.nusd for call in calls)), cost("gpt-image-1", 8 * USD)]
    (day,) = judged(rows, calls)
    assert (day.verdict, day.shadow_nusd, day.items) == ("act", 8 * USD, {"gpt-image-1": 8 * USD})
    finding = finding_of(watched(), day)
    assert (finding.severity, finding.response, finding.evidence["item"]) == ("critical", "contain", "gpt-image-1")
    assert finding_of(watched(exclusive=False), day) is None


def test_a_little_alerts_and_does_not_act():
    calls = day_of_calls()
    rows = [cost(MODEL, sum(call.nusd for call in calls)), cost("tts-1", USD // 2)]
    (day,) = judged(rows, calls)
    assert (day.verdict, finding_of(watched(), day).severity) == ("over", "high")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        # Dearer than the list says, or the same tokens under the name of a deployment.
        [cost(MODEL, 900 * USD)],
        [cost("gpt-4o", 1)],
        # Another key's, or charged to none.
        [cost("gpt-image-1", 9 * USD, key="key_other")],
        [cost("gpt-image-1", 9 * USD, key="")],
        # A refund.
        [cost("gpt-image-1", -9 * USD)],
        # Less than is worth a word.
        [cost("gpt-image-1", USD // 25)],
        # The day before yesterday.
        [cost("gpt-image-1", 9 * USD, day_us=TODAY_US - 2 * DAY_US)],
    ],
)
def test_what_is_no_surplus(rows):
    calls = day_of_calls()
    assert judged(rows, calls) == []


def test_an_item_by_another_name_than_the_tokens_is_explained_by_the_sum():
    calls = day_of_calls()
    assert judged([cost("Text: GPT-4o Completions", sum(call.nusd for call in calls))], calls) == []


def test_tools_that_the_gate_booked_explain_their_own_item():
    calls = day_of_calls(10)
    for call in calls:
        call.cost_nusd = call.nusd + USD
    events = cells_of(calls)
    # What was booked beyond the tokens' price is what the tools cost.
    events = [cell._replace(nusd=cell.nusd + USD * cell.requests) for cell in events]
    rows = [cost(MODEL, sum(call.nusd for call in calls)), cost("web search tool calls", 10 * USD)]
    stored = [*rows, *Provider().count(calls).report()]
    assert spent(watched(), stored, events, NOW_US) == []
    more = [*stored, cost("gpt-image-1", 3 * USD)]
    (day,) = spent(watched(), more, events, NOW_US)
    assert day.shadow_nusd <= 3 * USD


def test_nothing_is_held_against_the_day_on_which_a_key_came():
    rows = [cost("gpt-image-1", 9 * USD)]
    assert judged(rows, [], since_us=NOON_US) == []
    assert judged(rows, [], key_since_us=NOON_US) == []
    assert len(judged(rows, [])) == 1
