import json

import pytest

from bench.bodies import chat


@pytest.mark.parametrize("size", [300, 1024, 9_000, 32 * 1024, 512 * 1024])
def test_a_body_has_just_its_size_and_alternates_between_the_speakers(size):
    body = chat("gpt-4o-mini", size, stream=True)
    roles = [message["role"] for message in json.loads(body)["messages"]]
    assert len(body) == size
    assert roles == [*["system"], *(["user", "assistant"] * len(roles))][: len(roles)]


def test_a_body_is_the_same_each_time():
    assert chat("gpt-4o-mini", 5_000) == chat("gpt-4o-mini", 5_000)
