"""What control finds when it starts: gates that died or live on, journals that are gone, and what it tidies away."""

import asyncio
import os
import shutil

import pytest
from sqlalchemy import select, update

from jackstop.control.process import Control
from jackstop.control.protocol import VERSION, Hello
from jackstop.settings import Settings
from jackstop.store.tables import instances, open_holds
from tests.control.command_bench import Bench
from tests.ledger.rig import Rig, usd

pytestmark = pytest.mark.anyio
LIMIT = 1_000
"""Beyond the numbers that the database gives by itself."""


class Node:
    """A rig of gates, and a control that comes later to the same store and journals."""

    def __init__(self, store, home, rows):
        settings = Settings()
        self.bench = Bench(store, home, settings)
        self.rig = Rig(store, home.journal, rows, settings)
        self.store, self.home, self.settings = store, home, settings

    async def __aenter__(self):
        await self.rig.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self.rig.__aexit__(*error)

    async def control(self):
        """Control as it is when it begins to serve."""
        made = Control(self.home, self.settings, self.store, self.rig.clock)
        made.prepare()
        return made

    def die(self, gate):
        """The process is gone, and with it its threads and the lock on its journal."""
        gate.journal._closing = True
        gate.journal._wake.set()
        gate.journal._thread.join()
        os.close(gate.journal._lock_fd)

    def states(self):
        with self.store.begin() as conn:
            return dict(conn.execute(select(instances.c.id, instances.c.state)).all())

    def holds(self):
        with self.store.begin() as conn:
            return conn.execute(select(open_holds).order_by(open_holds.c.id)).all()

    def book(self):
        (found,) = self.rig.books_of(LIMIT)
        return found.settled, found.leased


@pytest.fixture
async def node(store, home):
    async with Node(store, home, [usd(LIMIT, 10_000)]) as made:
        yield made


async def test_the_dead_are_booked_and_the_living_waited_for(node):
    dead, alive = node.rig.gate(), node.rig.gate()
    dead.settle(await dead.hold(dead.path(LIMIT), 100), 30)
    still_open = await dead.hold(dead.path(LIMIT), 200)
    alive.settle(await alive.hold(alive.path(LIMIT), 100), 40)
    leased = alive.books.limit(LIMIT).at(node.rig.clock.now_us()).total
    node.die(dead)
    control = await node.control()
    assert node.states() == {dead.instance: "closed", alive.instance: "live"}
    assert control.lender.unresolved == {alive.instance}
    assert node.book() == (230, leased)
    (hold,) = node.holds()
    segment, offset = still_open.position
    assert hold.id == f"{dead.instance}-{segment}-{offset}"
    assert (hold.state, hold.nusd) == ("open", 200)


async def test_a_control_after_the_next_books_nothing_twice(node):
    gate = node.rig.gate()
    hold = await gate.hold(gate.path(LIMIT), 100)
    for settled in (0, 60, 60):
        control = await node.control()
        control.sessions.gates[gate.instance] = gate
        control.book_all()
        assert node.book()[0] == settled
        if hold.open:
            gate.settle(hold, 60)
    node.die(gate)
    await node.control()
    await node.control()
    assert node.book() == (60, 0)
    assert not node.holds()


async def test_a_journal_that_is_gone_is_charged_whole_and_not_waited_for(node):
    gate = node.rig.gate()
    gate.settle(await gate.hold(gate.path(LIMIT), 100), 30)
    leased = node.book()[1]
    node.die(gate)
    shutil.rmtree(gate.journal.folder)
    control = await node.control()
    assert node.states() == {gate.instance: "closed"}
    assert not control.lender.unresolved
    assert node.book() == (leased, 0)
    assert "lost its tail" in node.holds()[0].reason


async def test_one_that_was_given_up_may_not_greet_again(node):
    gate = node.rig.gate()
    node.die(gate)
    control = await node.control()
    control.scribe.start()
    try:
        with pytest.raises(ValueError, match="given up"):
            await control._attach(Hello(VERSION, gate.instance, 1))
    finally:
        await asyncio.to_thread(control.scribe.stop)


async def test_one_that_comes_back_is_booked_to_where_it_says(node):
    gate = node.rig.gate()
    gate.settle(await gate.hold(gate.path(LIMIT), 100), 30)
    control = await node.control()
    control.scribe.start()
    try:
        await control._attach(Hello(VERSION, gate.instance, 1, end=gate.journal.end))
    finally:
        await asyncio.to_thread(control.scribe.stop)
    assert node.book()[0] == 30
    assert not control.lender.unresolved


async def test_a_dead_journal_is_removed_once_it_is_booked_and_in_the_lake(node):
    gate, alive = node.rig.gate(), node.rig.gate()
    gate.settle(await gate.hold(gate.path(LIMIT), 100), 30)
    node.die(gate)
    control = await node.control()
    control._remove_read_segments()
    assert gate.journal.folder.exists()
    end = gate.journal.end
    with node.store.begin() as conn:
        conn.execute(update(instances).values(lake_segment=end.segment, lake_offset=end.offset))
    control._remove_read_segments()
    assert not gate.journal.folder.exists()
    assert alive.journal.folder.exists()
    assert node.states() == {gate.instance: "gone", alive.instance: "live"}


async def test_segments_go_when_they_are_read_for_both_and_no_open_hold_is_in_them(node):
    gate = node.rig.gate(segment_bytes=1 << 15)
    first = await gate.hold(gate.path(LIMIT), 100)

    async def fill(segment):
        while gate.journal.end.segment < segment:
            gate.journal._preallocate()
            gate.settle(await gate.hold(gate.path(LIMIT), 1), 1)

    def tidy():
        control.sessions.gates[gate.instance] = gate
        control.book_all()
        with node.store.begin() as conn:
            conn.execute(update(instances).values(lake_segment=gate.journal.end.segment, lake_offset=16))
        control._remove_read_segments()
        return min(int(path.stem) for path in gate.journal.folder.glob("*.seg"))

    control = await node.control()
    await fill(2)
    assert tidy() == 0
    gate.settle(first, 100)
    assert tidy() == 2


async def test_preparing_leaves_no_trace_in_the_books(node):
    await node.control()
    with node.store.begin() as conn:
        assert not conn.execute(select(instances)).all()
    assert not node.rig.books_of(LIMIT)
