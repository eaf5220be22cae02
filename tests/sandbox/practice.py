"""The practice providers on a thread, with a clock that a test moves."""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai

from jackstop.clock import Clock, ManualClock, from_datetime
from jackstop.sandbox.server import listen, server
from tests.waiting import wait_for

NOON_US = from_datetime(datetime(2026, 11, 23, 12, tzinfo=UTC))
HELLO: Any = [{"role": "user", "content": "Good morning [[sandbox: out=10 cached=2]]"}]


class Practice:
    """A running sandbox and the clients of one test."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.url = url
        self.clock = clock
        self._open = contextlib.ExitStack()

    def call(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None, form: object = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        if isinstance(form, dict):
            data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def mode(self, **fields: int) -> None:
        status, answer = self.call("POST", "/_sandbox/mode", fields)
        assert status == 200, answer

    def seed(self, provider: str, secret: str = "", **place: Any) -> dict[str, Any]:
        status, answer = self.call("POST", "/_sandbox/keys", {"provider": provider, "secret": secret, **place})
        assert status == 200, answer
        return answer

    def openai(self, key: str, root: str = "openai") -> openai.OpenAI:
        """A client of inference; `root` is what stands before /v1."""
        return self._open.enter_context(openai.OpenAI(api_key=key, base_url=f"{self.url}/{root}/v1", max_retries=0))

    def openai_admin(self, key: str = "sk-admin-practice", url: str = "") -> Any:
        """`organization` of a client with an admin key."""
        made = openai.OpenAI(
            api_key="unused", admin_api_key=key, base_url=url or f"{self.url}/openai/v1", max_retries=0
        )
        return self._open.enter_context(made).admin.organization

    def anthropic(self, key: str) -> anthropic.Anthropic:
        made = anthropic.Anthropic(api_key=key, base_url=f"{self.url}/anthropic", max_retries=0)
        return self._open.enter_context(made)

    def begin(self) -> None:
        """Noon again, and nothing has happened yet."""
        self.clock.jump((NOON_US - self.clock.now_us()) / 1_000_000)
        self.call("POST", "/_sandbox/reset", {})

    def close(self) -> None:
        """Close the clients that were handed out."""
        self._open.close()


@contextlib.contextmanager
def served(clock: Clock) -> Iterator[str]:
    """The address of a sandbox on a thread of its own."""
    listening = listen(0)
    serving = server(listening, clock=clock)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        wait_for(lambda: serving.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        serving.should_exit = True
        thread.join()


@contextlib.contextmanager
def running() -> Iterator[Practice]:
    """A sandbox of its own at noon of a Monday."""
    clock = ManualClock(NOON_US)
    with served(clock) as url:
        made = Practice(url, clock)
        yield made
        made.close()
