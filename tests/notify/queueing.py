"""Channels and news of the outbox's tests, and what a sender does with them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from jackstop.notify.outbox import News, queue
from jackstop.settings import NotifySettings
from jackstop.store.tables import outbox
from tests.control.command_bench import Bench
from tests.notify.pieces import WHSEC

SECOND_US = 1_000_000
NOTIFY = NotifySettings(group_s=60, attempts=5, retention_days=1)
URL = "https://receiver.example/hook"
MAIL = {"host": "mail.example.com", "from": "jackstop@example.com"}


def hook(bench: Bench, name: str = "hook", **args: Any) -> None:
    options = {"url": URL, **args.pop("options", {})}
    bench.run("notify add", name=name, kind="webhook", options=options, secret=WHSEC, **args)


def tell(bench: Bench, *told: News) -> int:
    with bench.store.begin() as conn:
        return sum(queue(conn, bench.clock.now_us(), each) for each in told)


def take(bench: Bench, *busy: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.run("outbox take", busy=list(busy))["messages"]
    return found


def uids(taken: dict[str, Any]) -> list[str]:
    return [each["uid"] for each in taken["payload"]["news"]]


def states(bench: Bench) -> list[tuple[str, str]]:
    with bench.store.begin() as conn:
        rows = conn.execute(select(outbox).order_by(outbox.c.id)).all()
    return [(row.payload["news"][-1]["uid"] if row.state != "grouped" else "", row.state) for row in rows]


def sent(bench: Bench, taken: dict[str, Any]) -> None:
    bench.run("outbox done", id=taken["id"])


def failed(bench: Bench, taken: dict[str, Any], **how: Any) -> str:
    answer: str = bench.run("outbox failed", id=taken["id"], attempt=taken["attempt"], problem="HTTP 503", **how)
    return answer
