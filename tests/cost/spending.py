"""Budgets that are spent as control books it, the watch that looks at them, and what was said about it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from jackstop.clock import US_PER_S
from jackstop.cost.watch import CostWatch
from jackstop.ledger import leases
from jackstop.ledger.windows import bounds
from jackstop.settings import AlertSettings
from jackstop.store.tables import channels, cost_alerts, outbox
from tests.control.command_bench import Bench

USD = 1_000_000_000


class Spending:
    """One running control, as far as money goes; `restart` is another."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.clock, self.store = bench, bench.clock, bench.store
        with self.store.begin() as conn:
            row = {"kind": "webhook", "min_severity": "low", "options": {}, "created_us": 0}
            conn.execute(insert(channels).values(name="everything", **row))
        self.only()

    def only(self, **options: Any) -> None:
        """Control starts with these kinds of alerts; without any, with the thresholds of the default."""
        self.settings = AlertSettings(**{"forecast": False, "burn_rate": False, **options})
        self.restart()

    def restart(self) -> None:
        self.watch = CostWatch(self.store, self.settings, self.clock)

    def budget(self, scope: str, amount: str) -> int:
        return int(self.bench.run("budget set", scope=scope, amount=amount)["limit"])

    def spend(self, limit_id: int, window: Any, amount: int, instance: str = "gate") -> int:
        """Settle an amount in the window that is open now; the lease on which it was."""
        now_us = self.clock.now_us()
        opening = leases.Opening(now_us, 0, frozen=False)
        start_us = bounds(window, now_us)[0]
        with self.store.begin() as conn:
            granted = leases.grant(
                conn, limit_id, start_us, instance, need=0, want=0, processes=1, observed=True, opening=opening
            )
            leases.change(conn, granted.lease_id, booked=amount)
        self.watch.note([granted.lease_id])
        return granted.lease_id

    def look(self) -> list[str]:
        """Look until there is no more to look at; the messages of it."""
        before = len(self.messages())
        while self.watch.look():
            pass
        return self.messages()[before:]

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def messages(self) -> list[str]:
        with self.store.begin() as conn:
            rows = conn.execute(select(outbox.c.payload).order_by(outbox.c.id)).scalars()
            return [row["news"][0]["title"] for row in rows]

    def news(self) -> list[dict[str, Any]]:
        with self.store.begin() as conn:
            return [row["news"][0] for row in conn.execute(select(outbox.c.payload).order_by(outbox.c.id)).scalars()]

    def given(self) -> list[str]:
        with self.store.begin() as conn:
            return sorted(conn.execute(select(cost_alerts.c.name)).scalars())


HALF_A_MINUTE = 30
HOUR = 3_600
DAY_US = 86_400 * US_PER_S
