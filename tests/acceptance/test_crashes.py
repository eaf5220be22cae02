"""Processes killed at every place where something is half done: the books, the lake and the bill agree afterwards."""

import os
import random
import signal

import pytest

from tests.acceptance.breaking import (
    BURIAL_GAPS,
    CONTROL_GAPS,
    GATE_GAPS,
    WORKER_GAPS,
    Breakable,
    at_rest,
)
from tests.acceptance.reckoning import Reckoning, check_now
from tests.acceptance.system import until
from tests.acceptance.traffic import Traffic, short_chat

pytestmark = pytest.mark.slow

PROVIDERS = ("openai", "openai", "anthropic", "deepseek")
BUDGETS = ("0.002usd/life", "0.02usd/life", "0.03usd/life", "0.01usd/life")


@pytest.fixture
def breakable(tmp_path):
    system = Breakable(tmp_path, environment={"JACKSTOP_LAKE_FLUSH_INTERVAL_S": "1"})
    system.set_up().up()
    system.tell("budget set", scope="org", amount="10usd/life")
    yield system
    system.close()


def drawer(holders):
    """Draws a short chat of one of the keys that `holders` has at the time."""

    def draw(chance):
        holder = chance.choice(holders)
        return holder.key, short_chat(chance, holder.provider)

    return draw


def issue_small(system):
    """One key of each provider with a budget that a minute uses up."""
    return [system.holder(provider, budget=[budget]) for provider, budget in zip(PROVIDERS, BUDGETS, strict=True)]


def kill_in(system, gap, chance, seconds=30):
    """Kill whoever comes to this gap next, and wait until everything runs again."""
    before = len(system.killed(gap))
    system.arm(gap, chance.randint(1, 4) if gap in {*GATE_GAPS, *CONTROL_GAPS} else 1)
    if gap in BURIAL_GAPS:
        os.kill(chance.choice(system.gates()), signal.SIGKILL)
    until(lambda: len(system.killed(gap)) > before, f"a process dies in {gap}", seconds)
    system.wait_whole()
    check_now(system)


def test_kills_in_every_gap_leave_the_books_right(breakable):
    system, chance = breakable, random.Random(1)
    holders = issue_small(system)
    with Traffic(system.port, drawer(holders), workers=10) as traffic:
        until(lambda: traffic.good() > 20, "requests are answered")
        for gap in (*GATE_GAPS, *CONTROL_GAPS, *BURIAL_GAPS, *WORKER_GAPS):
            if gap in {"grant-committed", "grant-journaled", "hold-written"}:
                holders[:] = issue_small(system)
            kill_in(system, gap, chance)
    at_rest(system)
    reckoning = Reckoning(system, traffic.met).check()
    print(reckoning.figures())
