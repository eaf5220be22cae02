"""Control's commands over a store, with findings reported to them as the worker does."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from sqlalchemy import insert, select

from jackstop.cases.finding import Finding, Severity, uid_of
from jackstop.cases.questions import with_token
from jackstop.cases.tend import tend
from jackstop.cases.turn import SYSTEM, begin
from jackstop.settings import ResponseSettings, Settings
from jackstop.store import tables
from jackstop.vault.credentials import load_pepper, question_key
from tests.control.command_bench import Bench

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


class Desk(Bench):
    """`enforce` by default, so that something happens; every channel hears everything."""

    def __init__(self, store: Any, home: Any, settings: Settings | None = None) -> None:
        super().__init__(store, home, settings or Settings(mode="enforce"))
        self.epoch = 1
        self.put(tables.meta, key="worker_epoch", value="1")
        for name, kind in (("all", "slack"), ("mail", "email")):
            self.put(tables.channels, name=name, kind=kind, min_severity="info", options={}, enabled=True, created_us=0)

    def put(self, table: Any, **values: Any) -> None:
        with self.store.begin() as conn:
            conn.execute(insert(table).values(**values))

    def rows(self, table: Any) -> list[dict[str, Any]]:
        statement = select(table)
        if "id" in table.c:
            statement = statement.order_by(table.c.id)
        with self.store.begin() as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]

    def respond_with(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, responses=ResponseSettings(**settings))

    def key(self, **options: Any) -> str:
        return str(self.issue(budget=["5usd/day"], **options)["id"])

    def finding(
        self,
        entity: str,
        severity: Severity = "high",
        detection: str = "model_spray",
        *,
        window: int = 0,
        ago_us: int = 0,
        **more: Any,
    ) -> Finding:
        """What the worker would report now of this entity's window."""
        seen = self.clock.now_us() - ago_us
        values = {"first_seen": seen - MINUTE_US, "last_seen": seen, "count": 1, **more}
        return Finding(
            uid=uid_of(detection, entity, window), detection=detection, severity=severity, entity=entity, **values
        )

    def report(self, *found: Finding, epoch: int | None = None) -> Any:
        return self.run("findings report", epoch=epoch or self.epoch, findings=msgspec.to_builtins(list(found)))

    def find(self, entity: str, severity: Severity = "high", detection: str = "model_spray", **more: Any) -> int:
        """Report one finding; the case that it is in."""
        (case,) = self.report(self.finding(entity, severity, detection, **more))["cases"]
        return int(case)

    def tend(self) -> bool:
        with begin(self.store, self.settings, self.clock.now_us(), SYSTEM) as turn:
            return tend(turn)

    def pass_time(self, us: int) -> None:
        self.clock.advance(us / 1_000_000)
        while self.tend():
            pass

    # -- looking ------------------------------------------------------------------------------------------------

    def case(self, case_id: int) -> Any:
        return self.run("cases show", id=case_id)

    def state(self, key_id: str) -> tuple[str, int | None, bool]:
        row = self.run("key show", id=key_id)
        return row["state"], row["throttle_per_min"], row["in_case"]

    def responses(self, case_id: int) -> list[tuple[str, str]]:
        return [(row["action"], row["state"]) for row in self.case(case_id)["responses"]]

    def entries(self, case_id: int) -> list[str]:
        return [row["kind"] for row in self.case(case_id)["entries"]]

    def news(self, channel: str = "all") -> list[dict[str, Any]]:
        return [row["payload"]["news"][0] for row in self.rows(tables.outbox) if row["channel"] == channel]

    def kinds(self) -> list[str]:
        return [each["kind"] for each in self.news()]

    def tags(self) -> list[str]:
        with self.store.begin() as conn:
            return list(conn.execute(select(tables.audit.c.tag).order_by(tables.audit.c.seq)).scalars())

    def tokens(self) -> list[str]:
        """Of the questions that were mailed."""
        with self.store.begin() as conn:
            key = question_key(load_pepper(conn, self.vault))
        payloads = [{"news": [each]} for each in self.news("mail") if each["kind"] == "question"]
        return [
            re.search(r"/was-this-you/([\w-]+)", with_token(key, payload)["news"][0]["text"]).group(1)  # type: ignore[union-attr]
            for payload in payloads
        ]
