"""A budget that refuses is known to control: the gates' books and control's lender, without processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jackstop.cost.watch import CostWatch
from jackstop.errors import Refused
from jackstop.ledger.windows import bounds
from jackstop.settings import AlertSettings
from jackstop.store.engine import Store
from jackstop.store.tables import cost_alerts
from tests.ledger.rig import NOON, Rig, usd

pytestmark = pytest.mark.anyio

WINDOW = bounds("day", NOON)[0]


async def test_a_request_that_does_not_fit_says_that_the_budget_is_exhausted(store: Store, tmp_path: Path) -> None:
    async with Rig(store, tmp_path, [usd(1, 1_000), usd(2, 100_000)]) as rig:
        gate = rig.gate()
        hold = await gate.hold(gate.path(1, 2), 950)
        assert rig.lender.exhausted == set()
        assert isinstance(await gate.hold(gate.path(1, 2), 100), Refused)
        assert rig.lender.exhausted == {(1, WINDOW)}
        gate.settle(hold, 950)
        await rig.book()
        watch = CostWatch(store, AlertSettings(thresholds=()), rig.clock)
        watch.note_exhausted(rig.lender.exhausted)
        while watch.look():
            pass
        with store.begin() as conn:
            names = [row.name for row in conn.execute(cost_alerts.select())]
        assert "exhausted of 0.000001 usd" in names


async def test_an_observed_budget_is_never_exhausted(store: Store, tmp_path: Path) -> None:
    async with Rig(store, tmp_path, [usd(1, 1_000, mode="observe")]) as rig:
        gate = rig.gate()
        for _ in range(4):
            assert not isinstance(await gate.hold(gate.path(1), 400), Refused)
        assert rig.lender.exhausted == set()


async def test_what_is_booked_names_its_leases(store: Store, tmp_path: Path) -> None:
    async with Rig(store, tmp_path, [usd(1, 1_000), usd(2, 1_000, "key:a")]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1, 2), 400), 50)
        gate.settle(await gate.hold(gate.path(1), 400), 0)
        watch = CostWatch(store, AlertSettings(thresholds=(5,)), rig.clock)
        while watch.look():
            pass
        from jackstop.ledger.booking import Tail

        tail = Tail(rig.root, gate.instance, rig.report)
        booked = await rig.scribe.do(lambda conn: tail.book(conn, rig.store))
        watch.note(booked.leases)
        while watch.look():
            pass
        with store.begin() as conn:
            assert {row.limit_id for row in conn.execute(cost_alerts.select())} == {1, 2}
