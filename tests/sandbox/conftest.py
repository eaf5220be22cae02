"""A sandbox in a process of its own, and clients of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.sandbox.practice import Practice, running

SECRET = "sk-practice-secret-0123456789"
RUN = "from jackstop.sandbox.server import run; run({})"


class Running:
    """A sandbox process and what stands behind its providers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: list[openai.OpenAI | anthropic.Anthropic] = []

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: object = None) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(body or {}).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return {"status": error.code, **json.load(error)}

    def rows(self) -> list[dict[str, Any]]:
        return self.get("/_sandbox/requests")

    def bill(self) -> list[dict[str, Any]]:
        return self.get("/_sandbox/bill")

    def row(self, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The first row for which the condition holds, waiting for it."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for row in self.rows():
                if when(row):
                    return row
            time.sleep(0.01)
        raise AssertionError(f"no such row among {self.rows()}")

    def openai(self, place: str = "openai/v1", key: str = SECRET, **headers: str) -> openai.OpenAI:
        """A client that is closed after the test."""
        client = openai.OpenAI(
            api_key=key, base_url=f"{self.url}/{place}", max_retries=0, default_headers=headers or None
        )
        self._clients.append(client)
        return client

    def anthropic(self, place: str = "anthropic", **headers: str) -> anthropic.Anthropic:
        """A client that is closed after the test."""
        client = anthropic.Anthropic(
            api_key=SECRET, base_url=f"{self.url}/{place}", max_retries=0, default_headers=headers or None
        )
        self._clients.append(client)
        return client

    def deepseek(self) -> openai.OpenAI:
        return self.openai("deepseek")

    def openai_async(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key=SECRET, base_url=f"{self.url}/openai/v1", max_retries=0)

    def anthropic_async(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(api_key=SECRET, base_url=f"{self.url}/anthropic", max_retries=0)

    def close(self) -> None:
        """Close the clients that were handed out."""
        while self._clients:
            self._clients.pop().close()


@pytest.fixture(scope="session")
def _process() -> Iterator[Running]:
    with subprocess.Popen(
        [sys.executable, "-c", RUN.format("0")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"sandbox providers on (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        try:
            yield Running(found[1])
        finally:
            process.terminate()
            _, complaints = process.communicate(timeout=20)
        assert not complaints


@pytest.fixture
def sandbox(_process: Running) -> Iterator[Running]:
    """The running sandbox, with an empty bill and no mode."""
    _process.post("/_sandbox/reset")
    yield _process
    _process.close()


@pytest.fixture(scope="session")
def _clocked() -> Iterator[Practice]:
    with running() as made:
        yield made


@pytest.fixture
def practice(_clocked: Practice) -> Iterator[Practice]:
    """A sandbox at noon of a Monday, by a clock that the test moves."""
    _clocked.begin()
    yield _clocked
    _clocked.close()
