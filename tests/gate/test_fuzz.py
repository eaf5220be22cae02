"""A short run of the fuzzer, always over the same inputs."""

from __future__ import annotations

from tests.gate.fuzz import run


def test_mutated_requests_and_responses_only_get_answers() -> None:
    reached = run(60, 1, 3000)
    assert sum(reached.values()) == 3000
    assert {"accept", "admit", "sent"} <= set(reached)
