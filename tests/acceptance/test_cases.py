"""kill -9 of control and worker between finding, case, response and news: nothing lost, nothing done twice."""

import pytest

from tests.acceptance.alarms import GAPS, alarmed, kill_in

pytestmark = pytest.mark.slow


def test_kills_between_a_finding_and_its_news_lose_nothing_and_repeat_nothing(tmp_path):
    with alarmed(tmp_path) as (system, receiver):
        for gap in GAPS:
            kill_in(system, receiver, gap)
