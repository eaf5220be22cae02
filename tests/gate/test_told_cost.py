"""What a provider says that a request cost, as OpenRouter does: it counts where no list has the price of the model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jackstop.clock import SystemClock
from jackstop.gate.meter.base import Ask, Outcome
from jackstop.gate.meter.openai_usage import ChatUsage, chat_usage
from jackstop.gate.settle import Charge, charge
from jackstop.ledger.books import Hold
from jackstop.money import NUSD_PER_USD

HELD = Hold(5 * NUSD_PER_USD, 10_000, (1, 64), [])


def charged(model: str, usage: dict[str, Any], *, complete: bool = True) -> Charge:
    found = chat_usage(msgspec.convert({"prompt_tokens": 1_000, "completion_tokens": 500, **usage}, ChatUsage))
    outcome = Outcome(usage=found, model=model, complete=complete)
    now_us = SystemClock().now_us()
    return charge("answered", 200, outcome, HELD, "openai", Ask(model=model), now_us, metered=True)


def test_a_model_that_no_list_has_costs_what_the_provider_says() -> None:
    told = charged("vendor/model-of-tomorrow", {"cost": 0.00125})
    assert (told.nusd, told.price_known) == (1_250_000, True)
    unsaid = charged("vendor/model-of-tomorrow", {})
    assert unsaid.price_known is False
    assert unsaid.nusd > told.nusd


def test_what_a_list_has_costs_what_it_says() -> None:
    assert charged("gpt-4o-mini", {"cost": 9.0}) == charged("gpt-4o-mini", {})


def test_a_response_that_broke_off_keeps_its_hold() -> None:
    broken = charged("vendor/model-of-tomorrow", {"cost": 0.00125}, complete=False)
    assert (broken.nusd, broken.estimated) == (HELD.nusd, True)


@pytest.mark.parametrize(
    "usage",
    [
        {"cost": 0},
        {"cost": -1},
        {"cost": "0.1"},
        {"cost": {"total_cost": 0.1}},
        {"cost": True},
        {"cost": 1e12},
        # With a key of one's own at its upstream it is only the fee.
        {"cost": 0.00125, "is_byok": True},
    ],
)
def test_what_is_no_cost_changes_nothing(usage: dict[str, Any]) -> None:
    assert charged("vendor/model-of-tomorrow", usage) == charged("vendor/model-of-tomorrow", {})
