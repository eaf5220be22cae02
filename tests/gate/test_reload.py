"""Reload and crashes of the real program under real traffic."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Self

import openai
import pytest

from jackstop.sandbox.stage import Stage
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    try:
        stage.open_sandbox()
        stage.jackstop("init", "--admin", "admin@example.com")
        stage.add_credential("main", "openai")
        stage.open_gate(2)
        yield stage
    finally:
        stage.close()


def said(stage: Stage) -> str:
    return (stage.home / "logs" / "parent.log").read_text()


def pids(stage: Stage, kind: str) -> list[int]:
    return [int(pid) for pid in re.findall(rf" {kind}(?:-\d)? is process (\d+)", said(stage))]


class Traffic:
    """Clients that call without pause, each by turns on a kept connection and on new ones, and never try again."""

    def __init__(self, stage: Stage, clients: int = 4) -> None:
        self.key, _ = stage.issue("app@example.com", "app", "--budget", "100usd/day")
        self.url = stage.gate + "/openai/v1"
        self.answered = 0
        self.failures: list[str] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _call(self, number: int) -> None:
        turns = 0
        client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)
        while not self._done.is_set():
            turns += 1
            if turns % 10 == 0:
                client.close()
                client = openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)
            try:
                self._once(client, stream=number % 2 == 0)
                self.answered += 1
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
        client.close()

    def _once(self, client: openai.OpenAI, *, stream: bool) -> None:
        question = [{"role": "user", "content": "[[sandbox: out=20 pace_ms=10]] Hello"}]
        if stream:
            chunks = list(
                client.chat.completions.create(model="gpt-4o-mini", messages=question, max_tokens=20, stream=True)
            )
            assert chunks[-1].choices[0].finish_reason
        else:
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=question, max_tokens=20)
            assert answer.usage
            assert answer.usage.completion_tokens == 20


def settled(stage: Stage) -> int:
    shown = stage.jackstop("budget", "show", "--json")
    return sum(row["settled_nusd"] for row in shown if row["scope"].startswith("key:"))


def test_no_request_is_lost_over_reloads_and_the_books_agree_with_the_bill(stage: Stage) -> None:
    with Traffic(stage) as traffic:
        wait_for(lambda: traffic.answered >= 20)
        for turn in (1, 2):
            before = pids(stage, "gate")
            stage.jackstop("reload")
            wait_for(lambda turn=turn: said(stage).count(" reloaded\n") == turn)
            assert len(pids(stage, "gate")) == len(before) + 2
            served = traffic.answered
            wait_for(lambda served=served: traffic.answered >= served + 20)
    assert traffic.failures == []
    assert settled(stage) == stage.bill()["main"]["cost_nusd"]


def test_keys_that_are_first_used_during_a_reload_get_their_lease(stage: Stage) -> None:
    keys = [stage.issue("app@example.com", f"app-{number}", "--budget", "1usd/day")[0] for number in range(20)]
    stage.jackstop("reload")
    for key in keys:
        with openai.OpenAI(base_url=stage.gate + "/openai/v1", api_key=key, max_retries=0) as client:
            question = [{"role": "user", "content": "[[sandbox: out=5 latency_ms=50]] Hello"}]
            client.chat.completions.create(model="gpt-4o-mini", messages=question, max_tokens=5)
    wait_for(lambda: " reloaded\n" in said(stage))
    assert settled(stage) == stage.bill()["main"]["cost_nusd"]


def test_killed_control_is_not_noticed_and_nothing_is_booked_twice(stage: Stage) -> None:
    with Traffic(stage) as traffic:
        wait_for(lambda: traffic.answered >= 20)
        for _ in range(2):
            control = pids(stage, "control")
            os.kill(control[-1], signal.SIGKILL)
            wait_for(lambda control=control: len(pids(stage, "control")) > len(control))
            served = traffic.answered
            wait_for(lambda served=served: traffic.answered >= served + 20)
    assert traffic.failures == []
    wait_for(lambda: settled(stage) == stage.bill()["main"]["cost_nusd"])
