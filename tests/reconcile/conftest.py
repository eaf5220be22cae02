"""One control in this process, a poller beside it, and the practice providers; one time for all of them."""

from __future__ import annotations

import threading
from typing import Any

import openai
import pytest
from sqlalchemy import select, update

from jackstop.reconcile.poll import Poller
from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from jackstop.store.tables import cases, credentials, findings, responses, usage
from tests.control.command_bench import Bench
from tests.providers.drivers.conftest import Practice, _served, practice  # noqa: F401 -- fixtures
from tests.reconcile.cloud import cloud, shared_cloud  # noqa: F401 -- fixtures
from tests.reconcile.world import Call, write

HOUR_US = 3_600_000_000
PROJECT = {"project": "proj_one"}


class Office:
    """A credential whose provider is the practice OpenAI, an hour old."""

    def __init__(self, bench: Bench, practice: Practice, **fields: Any) -> None:  # noqa: F811 -- the fixture
        self.bench, self.practice = bench, practice
        self.store = bench.store
        self._one_at_a_time = threading.Lock()
        self.key = practice.seed("openai", **PROJECT)
        self.at(practice.clock.now_us())
        base_url = practice.base_url("openai")
        bench.credential("main", base_url=base_url, secret=self.key["secret"], provider_key_id=self.key["id"], **fields)
        admin = practice.admin("openai")
        secret = admin.secret.reveal().decode()
        bench.run("administration add", name="office", driver="openai", base_url=admin.base_url, secret=secret)
        bench.run("administration link", name="main", administration="office", place=PROJECT)
        self.made_at(bench.clock.now_us() - HOUR_US)
        self.poller = self.worker()
        self.written = 0

    def worker(self) -> Poller:
        return Poller(self.ask, self.bench.home.lake, self.bench.clock)

    def ask(self, name: str, args: dict[str, Any]) -> Any:
        # Control does one command after another.
        with self._one_at_a_time:
            return self.bench.run(name, **args)

    def made_at(self, us: int) -> None:
        with self.store.begin() as conn:
            conn.execute(update(credentials).values(created_us=us))

    def at(self, us: int) -> None:
        self.bench.clock.jump((us - self.bench.clock.now_us()) / 1_000_000)

    def pass_time(self, seconds: float) -> None:
        self.practice.clock.advance(seconds)
        self.bench.clock.advance(seconds)

    def call(
        self, *, through_gate: bool, output: int = 40, secret: str = "", count: int = 1, credential: str = "main"
    ) -> None:
        """Calls of the provider; those through the gate are in its books."""
        client: openai.OpenAI = self.practice.openai(key=secret or self.key["secret"])
        for _ in range(count):
            answer = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hello " * 2_000}], max_completion_tokens=output
            )
            if through_gate:
                assert answer.usage is not None
                tokens = answer.usage.prompt_tokens, 0, 0, answer.usage.completion_tokens
                made = Call(
                    self.practice.clock.now_us(),
                    0,
                    answer.model,
                    tokens=tokens,
                    key=self.key["id"] if credential == "main" else "",
                    credential=credential,
                )
                self.written += 1
                write(self.bench.home.lake, [made], f"gate-1-{self.written}")

    def poll(self) -> int:
        begun = self.poller.step()
        self.poller.wait()
        return begun

    def rows(self, table: Any) -> list[Any]:
        with self.store.begin() as conn:
            return list(conn.execute(select(table)).mappings())

    def findings(self) -> list[Any]:
        return self.rows(findings)

    def cases(self) -> list[Any]:
        return self.rows(cases)

    def responses(self) -> list[Any]:
        return self.rows(responses)

    def usage(self) -> list[Any]:
        return self.rows(usage)

    def last(self) -> dict[str, Any]:
        (found,) = self.bench.run("reconcile list")["rows"]
        return dict(found)


@pytest.fixture
def bench(store: Store, home: Home) -> Bench:
    return Bench(store, home, Settings())


@pytest.fixture
def office(bench: Bench, practice: Practice) -> Office:  # noqa: F811 -- the fixture
    return Office(bench, practice, exclusive=True)


@pytest.fixture
def shared(bench: Bench, practice: Practice) -> Office:  # noqa: F811 -- the fixture
    return Office(bench, practice, exclusive=False)
