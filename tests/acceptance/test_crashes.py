"""Processes killed at every place where something is half done: the books, the lake and the bill agree afterwards."""

import random

import pytest

from tests.acceptance import crashes
from tests.acceptance.breaking import GAPS, broken_in

pytestmark = pytest.mark.slow


@pytest.fixture
def breakable(tmp_path):
    with broken_in(tmp_path, JACKSTOP_JOURNAL_SYNC_INTERVAL_MS="2000") as system:
        yield system


def test_kills_in_every_gap_leave_the_books_right(breakable):
    figures = crashes.kill_in_gaps(breakable, GAPS, random.Random(1))
    assert figures["budgets used up"] >= 1


def test_a_gate_that_stands_still_holds_nobody_up_and_comes_back(breakable):
    figures = crashes.stop_a_gate(breakable, random.Random(1), seconds=10)
    assert figures["answered meanwhile"] > 0
    assert figures["answered by it afterwards"] > 0


def test_a_gate_whose_journal_lost_its_tail_is_charged_whole(breakable):
    assert crashes.cut_a_journal(breakable, random.Random(1))["bytes lost"] > 0


def test_a_power_loss_makes_nothing_free(breakable):
    assert crashes.lose_power(breakable, random.Random(1), position_too=True)["bytes lost"] > 0


def test_the_parent_and_everything_at_once_are_killed_and_started_again(breakable):
    crashes.kill_parent_and_all(breakable, random.Random(1), times=1)
