"""Control, the worker's reader of audit logs, and the practice providers that write them."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import select

from jackstop.control.commands import run
from jackstop.errors import UserError
from jackstop.events.feeds import Feeds
from jackstop.events.follow import Follow
from jackstop.events.inbox import Inbox
from jackstop.events.lake import files
from jackstop.events.positions import LAKE_COMMANDS
from jackstop.events.watch import Round
from jackstop.settings import Home, RotationSettings, Settings
from jackstop.store.engine import Store
from jackstop.store.tables import findings, readings
from tests.control.command_bench import Bench
from tests.sandbox.practice import Practice

SECRET = "sk-admin-0123456789abcdefghij"
MINUTE_S, DAY_S = 60, 86_400
PLACE = {"project": "proj_one", "service_account": "sa_one"}
HOME_IP, ELSEWHERE_IP = "198.51.100.7", "203.0.113.9"


class Killed(Exception):
    """The worker is no more."""


class World(Bench):
    """Control's commands, the worker's readings, and the practice providers behind them, on one clock."""

    def __init__(self, store: Store, home: Home, practice: Practice) -> None:
        super().__init__(store, home, Settings(rotation=RotationSettings(watch_s=0, wait_s=0, drain_max_s=0)))
        self.clock = practice.clock
        self.practice = practice
        self.dies_at = ""
        self.inbox, self.writing = Inbox(), threading.Lock()
        self.follow = Follow(home.journal)
        self.rounds: list[Round] = []
        self.feeds = self.worker()

    def worker(self) -> Feeds:
        """A worker that knows nothing yet."""
        self.feeds = Feeds(self.home, self.ask, self.inbox, self.writing, self.clock)
        return self.feeds

    def ask(self, command: str, args: dict[str, Any]) -> Any:
        if command == self.dies_at:
            raise Killed
        if command in LAKE_COMMANDS:
            with self.store.begin() as conn:
                return LAKE_COMMANDS[command](conn, args)
        reply = run(self.context, command, args)
        if reply.problem:
            raise UserError(reply.problem, reply.remedy, reply.status)
        return reply.result

    def administer(self, name: str = "main", driver: str = "openai") -> None:
        url = {"openai": "/openai/v1", "anthropic": "/anthropic"}[driver]
        secret = SECRET if driver == "openai" else "sk-ant-admin01-0123456789abcdef"
        self.run("administration add", name=name, driver=driver, base_url=self.practice.url + url, secret=secret)

    def plant(self, kind: str, provider: str = "openai", ip: str = HOME_IP, **fields: Any) -> None:
        body = {"provider": provider, "kind": kind, "actor": "alice@example.com", "actor_id": "user-1", "ip": ip}
        status, answer = self.practice.call("POST", "/_sandbox/audit", {**body, **fields})
        assert status == 200, answer

    def step(self, later_s: float = MINUTE_S + 1) -> int:
        self.clock.advance(later_s)
        return self.feeds.step()

    def laked(self) -> list[dict[str, Any]]:
        tables = [pq.read_table(file) for file in files(self.home.lake)]
        return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["ts"])

    def actions(self) -> list[str]:
        return [row["action"] for row in self.laked()]

    def round(self) -> Round:
        made = Round(self.home, self.settings, self.ask, self.follow, self.clock, self.inbox)
        self.rounds.append(made)
        made.begin(self.writing)
        return made

    def seen(self) -> list[str]:
        """What the detections of the latest round have before them."""
        connection = self.rounds[-1].warehouse.connection
        return [action for (action,) in connection.execute("SELECT action FROM events ORDER BY ts, action").fetchall()]

    def found(self) -> dict[str, tuple[str, str]]:
        """What was found so far: entity and severity by detection."""
        with self.store.begin() as conn:
            rows = conn.execute(select(findings)).all()
        return {row.detection: (row.entity, row.severity) for row in rows}

    def reading(self) -> dict[str, Any]:
        with self.store.begin() as conn:
            return dict(conn.execute(select(readings).where(readings.c.kind == "audit")).mappings().one())
