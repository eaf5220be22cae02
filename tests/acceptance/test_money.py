"""The money side at a small size; `make soak` runs the same at full size."""

import pytest

from tests.acceptance import money_agents, money_disconnects, money_schedules

pytestmark = pytest.mark.slow

SEED = 7


def _failed(rows):
    return [row for row in rows if not row.held]


def test_no_limit_is_passed_and_the_ledger_is_the_bill(tmp_path):
    schedules = money_schedules.run(tmp_path, money_schedules.SMALL, SEED)
    # How many refusals were not due depends on the machine's other load; the soak holds it to 0.5 %.
    rows = [row for row in schedules.rows if not row.what.startswith("undue refusals")]
    assert not _failed(rows)
    assert schedules.refusals.total() < 0.05 * len(schedules.met)


def test_nothing_is_billed_that_the_ledger_lacks_when_clients_leave(tmp_path):
    assert not _failed(money_disconnects.run(tmp_path, money_disconnects.SMALL, SEED))


def test_agents_are_charged_what_they_cost_and_not_refused_while_most_is_left(tmp_path):
    rows, (shift,) = money_agents.run(tmp_path / "agents", money_agents.SMALL, SEED, clamp=False)
    assert not _failed([row for row in rows if "books against" in row.what])
    asked, undue = shift.until(0.5)
    assert asked > 20
    assert not undue
