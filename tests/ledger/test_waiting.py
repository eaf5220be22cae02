"""Waiting for leases: who waits holds up nobody else, takes no more than helps, and never leaves a hold behind."""

import asyncio
import time

import pytest
from sqlalchemy.exc import IntegrityError

from jackstop.clock import US_PER_S
from jackstop.control.protocol import Granted
from jackstop.errors import Refused
from jackstop.keys.policy import LimitRow
from jackstop.ledger import leases as ledger
from jackstop.ledger.books import Hold, HoldContext, Short
from jackstop.ledger.waiting import RETURN_US
from jackstop.settings import GateSettings, Settings
from tests.ledger.rig import NOON, Rig, usd

pytestmark = pytest.mark.anyio

CONTEXT = HoldContext("key", "openai", "gpt-4o-mini", "main", NOON)


def refused(answer, reason):
    assert isinstance(answer, Refused), answer
    assert answer.reason == reason
    return answer


async def test_who_waits_for_one_limit_holds_up_nobody_at_another(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000), usd(2, 100, "key:a"), usd(3, 100, "key:b")]) as rig:
        stopped, gate = rig.gate(), rig.gate()
        stopped.settle(await stopped.hold(stopped.path(2), 90), 0)
        stopped.silent = True
        other = gate.path(1, 3)
        gate.settle(await gate.hold(other, 100), 0)
        waiting = asyncio.ensure_future(gate.hold(gate.path(1, 2), 80))
        await asyncio.sleep(0)
        assert isinstance(gate.books.reserve(other, 90, 1, CONTEXT), Hold)
        refused(await waiting, "lease")


async def test_who_comes_later_does_not_pass_those_who_wait_for_the_same_limit(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 60), 0)
        first = asyncio.ensure_future(gate.hold(gate.path(1), 100))
        await asyncio.sleep(0)
        assert isinstance(gate.books.reserve(gate.path(1), 1, 1, CONTEXT), Short)
        assert isinstance(await first, Hold)


async def test_a_request_that_cannot_fit_takes_nothing_from_other_gates(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        big, small = rig.gate(), rig.gate()
        small.settle(await small.hold(small.path(1), 10), 0)
        held = rig.books_of(1)[0].leased
        refusal = refused(await big.hold(big.path(1), 1_000), "budget")
        assert refusal.details["left"] == 100 - held
        assert rig.books_of(1)[0].leased == held
        assert isinstance(small.books.reserve(small.path(1), 10, 1, CONTEXT), Hold)


async def test_what_is_left_beyond_the_lease_counts_for_a_lower_cap(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        refused(await gate.hold(gate.path(1), 101), "budget")
        assert gate.books.left(gate.path(1)) == 100
        assert isinstance(await gate.hold(gate.path(1), 100), Hold)


async def test_asking_ahead_again_and_again_does_not_take_the_whole_limit(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gates = [rig.gate(), rig.gate()]
        for gate in gates:
            for _ in range(20):
                gate.settle(await gate.hold(gate.path(1), 10), 0)
                list(gate.books.tend())
                await asyncio.gather(*gate.tasks)
        assert rig.books_of(1)[0].leased <= 500


async def test_a_hold_taken_as_the_time_runs_out_is_not_lost(store, tmp_path):
    settings = Settings(gate=GateSettings(lease_wait_ms=20))
    async with Rig(store, tmp_path, [usd(1, 100)], settings=settings) as rig:
        gate = rig.gate()
        lease = Granted(1, gate.limits[1].at(rig.clock.now_us()).window_us, 1, 100)
        gate.books.connected(lambda message: True)
        waiting = asyncio.ensure_future(gate.hold(gate.path(1), 100))
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()

        def until_both_are_due():
            # The grant is next to be handled, and the time of the wait has run out before it is.
            time.sleep(0.05)
            loop.call_soon(gate.books.granted, lease)

        loop.call_soon(until_both_are_due)
        assert isinstance(await waiting, Hold)


HASTY = Settings(gate=GateSettings(lease_wait_ms=1))
"""So little time that whoever is refused at its end is refused before control is back."""


async def waits(gate, need=100):
    """A request that waits for its lease, and one beside it whose time runs out: so the first one's has, too."""
    waiting = asyncio.ensure_future(gate.hold(gate.path(1), need))
    await asyncio.wait((waiting,), timeout=10 * HASTY.gate.lease_wait_ms / 1000)
    return waiting


async def test_who_lacks_a_lease_while_control_is_replaced_waits_for_its_return(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)], settings=HASTY) as rig:
        gate = rig.gate()
        gate.books.disconnected()
        waiting = await waits(gate)
        assert not waiting.done()
        assert rig.books_of(1) == []
        connected_with_a_lease(gate)
        assert isinstance(await waiting, Hold)


async def test_who_waits_when_control_goes_waits_for_its_return(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)], settings=HASTY) as rig:
        gate = rig.gate()
        gate.books.connected(lambda message: True)
        waiting = asyncio.ensure_future(gate.hold(gate.path(1), 100))
        await asyncio.sleep(0)
        gate.books.disconnected()
        await asyncio.wait((waiting,), timeout=10 * HASTY.gate.lease_wait_ms / 1000)
        assert not waiting.done()
        connected_with_a_lease(gate)
        assert isinstance(await waiting, Hold)


def connected_with_a_lease(gate):
    """Control is back, and answers at once: what it would do in a process of its own."""
    window_us = gate.limits[1].at(gate.rig.clock.now_us()).window_us
    gate.books.connected(lambda message: True)
    gate.books.granted(Granted(1, window_us, 1, 100))


async def test_a_control_that_came_back_has_as_long_to_answer_as_ever_and_no_longer(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)], settings=HASTY) as rig:
        gate = rig.gate()
        gate.books.disconnected()
        waiting = await waits(gate)
        gate.books.connected(lambda message: True)
        refused(await waiting, "lease")


async def test_a_control_that_stays_away_is_not_waited_for(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)], settings=HASTY) as rig:
        gate = rig.gate()
        gate.books.disconnected()
        waiting = await waits(gate)
        rig.clock.advance(RETURN_US / US_PER_S)
        refused(await waiting, "lease")
        gate.books.disconnected()
        refused(await gate.hold(gate.path(1), 100), "lease")


async def test_nobody_waits_for_an_observed_rate_while_control_is_replaced(store, tmp_path):
    rate = LimitRow(1, "org", "rate", 5, per_s=1, mode="observe")
    async with Rig(store, tmp_path, [rate], settings=HASTY) as rig:
        gate = rig.gate()
        gate.books.connected(lambda message: True)
        waiting = asyncio.ensure_future(gate.hold(gate.path(1), 100))
        await asyncio.sleep(0)
        gate.books.disconnected()
        assert isinstance(await waiting, Hold)


async def test_the_database_refuses_a_grant_beyond_the_limit(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        await gate.hold(gate.path(1), 60)
        with pytest.raises(IntegrityError), store.begin() as conn:
            ledger.change(conn, 1, total=101)


async def test_the_answer_to_one_that_cannot_fit_is_none_to_those_who_came_after_the_question(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        holder, gate = rig.gate(), rig.gate()
        holder.settle(await holder.hold(holder.path(1), 90), 0)
        big = asyncio.ensure_future(gate.hold(gate.path(1), 1_000))
        await asyncio.sleep(0)
        small = asyncio.ensure_future(gate.hold(gate.path(1), 50))
        refused(await big, "budget")
        assert isinstance(await small, Hold)


async def test_what_running_requests_hold_may_come_back_and_what_was_spent_does_not(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        running = await gate.hold(gate.path(1), 80)
        held = refused(await gate.hold(gate.path(1), 50), "lease")
        assert (held.retry_after_s, held.details["left"]) == (1, 20)
        refused(await gate.hold(gate.path(1), 101), "budget")
        gate.settle(running, 70)
        refused(await gate.hold(gate.path(1), 50), "budget")
        assert isinstance(await gate.hold(gate.path(1), 30), Hold)


async def test_what_another_gates_requests_hold_may_come_back_too(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        one, other = rig.gate(), rig.gate()
        running = await other.hold(other.path(1), 80)
        refused(await one.hold(one.path(1), 50), "lease")
        other.settle(running, 70)
        refused(await one.hold(one.path(1), 50), "budget")
        assert isinstance(await one.hold(one.path(1), 30), Hold)
