"""A desk with credentials that are kept at administrations, and the words that a worker and control exchange."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from jackstop.keys.policy import CredentialRow
from jackstop.rotation.task import Outcome
from jackstop.settings import RotationSettings
from jackstop.store import tables
from jackstop.store.feed import Feed
from tests.cases.desk import Desk

ADMIN = "sk-admin-0e5b2f71"
OLD = "sk-old-7f3a9c1d4b"
FRESH = "sk-fresh-81d2c6aa"
STANDBY = "sk-standby-55e0b9c3"
SECRETS = (ADMIN, OLD, FRESH, STANDBY)
PLACES = {"openai": {"project": "proj_1"}}
WORKER = "w1"
S = 1_000_000


class Running:
    """Stands for the running system: which requests there are, and what the gates were told."""

    def __init__(self) -> None:
        self.under_way: list[dict[str, Any]] = []
        self.gates: list[dict[str, Any]] = []
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1

    def holds(self) -> list[dict[str, Any]]:
        return self.under_way

    def status(self) -> dict[str, Any]:
        return {"gates": self.gates}


class RotationDesk(Desk):
    """`worker` is who takes steps; a test does them in its place."""

    worker = WORKER

    def rules(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, rotation=RotationSettings(**settings))

    def kept(self, name: str = "main", driver: str = "openai", **options: Any) -> None:
        """A credential at an administration."""
        base_url = {"base_url": "http://127.0.0.1:9/v1"}
        values = {"provider": "openai", "secret": OLD, "provider_key_id": "key_old", **base_url, **options}
        self.credential(name, **values)
        if not any(row["name"] == driver for row in self.run("administration list")["rows"]):
            self.run("administration add", name=driver, driver=driver, secret=ADMIN)
        self.run("administration link", name=name, administration=driver, place=PLACES.get(driver, {}))

    # -- as the worker ------------------------------------------------------------------------------------------

    def take(self, *busy: str, worker: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("rotation take", worker=worker or self.worker, busy=busy)["tasks"]
        return found

    def one(self) -> dict[str, Any]:
        (task,) = self.take()
        return task

    def record(self, task: dict[str, Any], ending: Any = "done", **more: Any) -> None:
        outcome = msgspec.to_builtins(Outcome(ending, **more))
        self.run("rotation record", id=task["id"], step=task["step"], number=task["number"], outcome=outcome)

    def until(self, step: str, name: str = "", **more: dict[str, Any]) -> dict[str, Any]:
        """Every step is done until this one is given out; `more` is what the outcomes of steps say.

        With the name of a credential only its steps are.
        """
        others = [row["name"] for row in self.run("credential list")["rows"] if name not in {"", row["name"]}]
        known = {
            "note": {"detail": {"old_id": "key_old", "known": ["key_old"]}},
            "create": {"detail": {"new_id": "key_new"}, "fresh": FRESH},
            **more,
        }
        for _ in range(60):
            for task in self.take(*others):
                if task["step"] == step:
                    return task
                self.record(task, **known.get(task["step"], {}))
            self.clock.advance(1)
        raise AssertionError(f"{step} did not come: {self.latest()}")

    def finish(self, **more: dict[str, Any]) -> dict[str, Any]:
        """Every step is done until there is none left."""
        last = self.until("refused", **more)
        self.record(last)
        return self.latest(last["credential"])

    # -- looking ------------------------------------------------------------------------------------------------

    def latest(self, name: str = "main") -> dict[str, Any]:
        found: dict[str, Any] = self.run("rotation list", name=name)["rows"][0]
        return found

    def fed(self, name: str = "main") -> CredentialRow:
        """The credential as gates get it."""
        with self.store.begin() as conn:
            rows = Feed(self.vault, self.settings).rows_since(conn, 0)[1]
        return next(row for row in rows if isinstance(row, CredentialRow) and row.name == name)

    def detections(self) -> list[str]:
        return [row["detection"] for row in self.rows(tables.findings)]

    def everything(self) -> str:
        """Every row of every table, and what people are shown."""
        tell = ("rotation list", "administration list", "credential list", "cases list")
        rows = [self.rows(table) for table in tables.metadata.tables.values()]
        return str(rows) + str([self.run(command) for command in tell])


def took_s(act: Any, times: int = 20) -> float:
    """The quickest of so many calls, in seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)
