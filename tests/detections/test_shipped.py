from __future__ import annotations

import pytest

from jackstop.detections.catalogue import Detection, Example, shipped
from jackstop.detections.testing import run

EXAMPLES = [(each, example) for each in shipped().values() for example in each.about.tests]


@pytest.mark.parametrize(
    ("detection", "example"), EXAMPLES, ids=[f"{each.name}: {example.name}" for each, example in EXAMPLES]
)
def test_the_examples_of_each_detection_give_their_findings(detection: Detection, example: Example) -> None:
    assert run(detection, example).problem == ""
