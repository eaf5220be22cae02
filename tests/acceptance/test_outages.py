"""Control, disk and processes are taken away under load; keys and credentials are stopped while their streams run."""

import random
import signal

import pytest

from tests.acceptance import outages
from tests.acceptance.breaking import broken_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with broken_in(tmp_path_factory.mktemp("outages")) as system:
        yield system


def test_control_away_is_hardly_noticed_and_nothing_goes_over(running):
    figures = outages.take_control_away(running, random.Random(1), 15, how=signal.SIGKILL)
    assert min(figures["headroom"]) >= outages.HEADROOM
    assert figures["share with headroom"] >= 0.999, figures["why not, with headroom"]
    assert figures["requests with headroom"] > 200


def test_everything_is_replaced_and_no_request_fails(running):
    figures = outages.replace_all(running, random.Random(1), 2)
    assert figures["failed"] == {}
    assert figures["unreachable"] == 0
    assert figures["sdk failures"] == []
    assert figures["sdk requests"] > 10
    assert figures["descriptors gained"] == 0


def test_what_runs_is_stopped_before_its_end(running):
    # How fast is measured by `make soak ARGS=outages`: here it is enough that no stream came to its end.
    for _, _, gates in outages.stop_keys(running, 5).values():
        assert gates == 2


def test_a_gate_that_stood_still_serves_no_key_that_was_stopped_meanwhile(running):
    figures = outages.stop_a_key_while_a_gate_stands(running, random.Random(1))
    assert figures["served"] == 0
    assert figures["waited"] > 0


def test_a_full_disk_loses_nothing(tmp_path):
    with broken_in(tmp_path, JACKSTOP_JOURNAL_SEGMENT_BYTES="131072") as system:
        full = system.places / "full"
        outages.fill_disk(system, random.Random(1), full.touch, full.unlink)
