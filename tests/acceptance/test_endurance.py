"""Half a minute of the long run: mixed load, the first few of its faults, and the whole reckoning."""

import pytest

from tests.acceptance.endurance import Run
from tests.acceptance.endurance_rows import rows

pytestmark = pytest.mark.slow


def test_load_and_faults_leave_everything_in_agreement(tmp_path):
    run = Run(tmp_path, seed=1, seconds=10).go()
    assert [row for row in rows(run) if not row[3]] == []
