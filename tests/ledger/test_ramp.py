"""A rate of money: however it is split over processes, together they let out no more than one bucket would."""

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import ManualClock
from jackstop.control.lender import Lender
from jackstop.control.protocol import Granted, Need, Recall
from jackstop.errors import Refused
from jackstop.events.schema import Event
from jackstop.keys.policy import LimitRow
from jackstop.ledger.books import Books, Hold, HoldContext, Short
from jackstop.ledger.ramp import Ramp
from jackstop.ledger.slices import Path, limit_of
from jackstop.settings import Settings
from tests.ledger.rig import NOON

USD = 10**9
TEN_MINUTES_US = 600 * 10**6
CONTEXT = HoldContext("key", "openai", "gpt-4o-mini", "main", NOON)


class Paper:
    """A journal that keeps nothing."""

    end = (0, 0)

    def hold(self, held):
        return (0, 0)

    def event(self, recorded):
        return None

    def has_room(self):
        return True


class Process:
    """One gate's books, wired to control's lender without a socket."""

    def __init__(self, node, name):
        self.node, self.instance, self.silent = node, name, False
        self.books = Books(Paper(), Settings(), node.clock)
        self.limit = limit_of(node.row)
        self.books.adopt(1, self.limit)
        self.books.connected(self.tell)
        node.lender.peers[name] = self

    def send(self, message):
        if isinstance(message, Granted):
            self.books.granted(message)
        elif isinstance(message, Recall) and not self.silent:
            self.books.recalled(message)

    def tell(self, message):
        work = self.node.lender.need if isinstance(message, Need) else self.node.lender.returned
        self.node.work.append(asyncio.ensure_future(work(self, message)))
        return True

    async def hold(self, nusd):
        path = Path([self.limit])
        answer = self.books.reserve(path, nusd, 1, CONTEXT)
        if isinstance(answer, Short):
            answer = await self.books.wait(path, nusd, 1, CONTEXT)
        await self.node.quiet()
        return answer

    async def settle(self, hold, nusd):
        self.books.settle(hold, Event(ts=NOON), nusd, 1)
        await self.node.quiet()


class Node:
    """Control, and as many processes as are asked for, about one rate of money."""

    def __init__(self, processes, amount=USD, mode="enforce"):
        self.clock = ManualClock(NOON)
        self.row = LimitRow(1, "key:a", "rate", amount, per_s=600, mode=mode, unit="nusd")
        self.lender = Lender(None, None, Settings(), self.clock)
        self.lender.know(self.row)
        self.work = []
        self.processes = [Process(self, f"g{number}") for number in range(processes)]

    async def quiet(self):
        while self.work:
            await self.work.pop()

    def wait(self, us):
        self.clock.advance(Fraction(us, 10**6))

    def change(self, amount):
        row = LimitRow(1, "key:a", "rate", amount, per_s=600, unit="nusd")
        self.lender.follow(row)
        for process in self.processes:
            process.books.retire(1)
            process.limit.row = row
        self.row = row

    @property
    def units(self):
        """What all buckets hold together, brought up to date."""
        parts = [self.lender._pools[1], *(process.limit for process in self.processes)]
        for part in parts:
            part.refill(self.clock.now_us())
        return sum(part.level for part in parts)

    @property
    def shares(self):
        return sum(part.share for part in (self.lender._pools[1], *(process.limit for process in self.processes)))


class OneBucket:
    """The same allowance in one place."""

    def __init__(self, amount):
        self.amount, self.price = amount, TEN_MINUTES_US
        self.level = amount * self.price

    def wait(self, us):
        self.level = min(self.amount * self.price, self.level + us * self.amount)

    def take(self, nusd):
        self.level -= nusd * self.price

    def give(self, nusd):
        self.level = min(self.amount * self.price, self.level + nusd * self.price)


def run(coroutine):
    return asyncio.run(coroutine)


AMOUNT = 1_000
steps = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(0, 3), st.integers(0, 2 * AMOUNT)),
        st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 100)),
        st.tuples(st.just("wait"), st.integers(0, TEN_MINUTES_US // 2), st.none()),
    ),
    max_size=40,
)


@given(steps, st.integers(1, 4))
def test_all_processes_together_let_out_no_more_than_one_bucket(script, processes):
    async def play():
        node, ideal = Node(processes, AMOUNT), OneBucket(AMOUNT)
        running, largest = [], 0
        for act, first, second in script:
            if act == "wait":
                node.wait(first)
                ideal.wait(first)
            elif act == "hold":
                process = node.processes[first % processes]
                answer = await process.hold(second)
                if isinstance(answer, Hold):
                    running.append((process, answer))
                    largest = max(largest, second)
                    ideal.take(second)
                else:
                    assert (answer.reason, second > 0) == ("rate", True)
                    assert 1 <= answer.retry_after_s <= 600
            elif running:
                process, hold = running.pop(first % len(running))
                spent = hold.nusd * second // 100
                await process.settle(hold, spent)
                ideal.give(hold.nusd - spent)
            assert node.units <= ideal.level
            assert ideal.level >= -largest * ideal.price
            assert node.shares == AMOUNT
            assert sum(process.limit.held for process in node.processes) == sum(hold.nusd for _, hold in running)

    run(play())


@given(st.lists(st.tuples(st.integers(1, 2 * AMOUNT), st.integers(0, 100), st.integers(0, 10**8)), max_size=30))
def test_one_process_alone_is_just_one_bucket(requests):
    async def play():
        node, ideal = Node(1, AMOUNT), OneBucket(AMOUNT)
        (process,) = node.processes
        for nusd, percent, pause in requests:
            answer = await process.hold(nusd)
            assert isinstance(answer, Hold) == (ideal.level > 0)
            if isinstance(answer, Hold):
                ideal.take(nusd)
                await process.settle(answer, nusd * percent // 100)
                ideal.give(nusd - nusd * percent // 100)
            assert node.units == ideal.level
            node.wait(pause)
            ideal.wait(pause)

    run(play())


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_parting_makes_nothing(amount, spent, wanted):
    giver, taker = (Ramp(LimitRow(1, "key:a", "rate", amount, per_s=600, unit="nusd")) for _ in range(2))
    giver.grow(amount, amount, NOON)
    giver.take(min(spent, amount))
    before = giver.level
    share, level = giver.part_with(NOON, wanted)
    taker.grow(share, level, NOON)
    assert giver.share + taker.share == amount
    assert 0 <= before - giver.level - taker.level < giver.price
    assert level >= min(wanted, before // giver.price)


def test_who_asks_gets_nearly_all_that_others_do_not_use():
    async def play():
        node = Node(4)
        for process in node.processes:
            hold = await process.hold(USD // 50)
            await process.settle(hold, 0)
        one, got = node.processes[0], 0
        while isinstance(hold := await one.hold(USD // 20), Hold):
            await one.settle(hold, hold.nusd)
            got += hold.nusd
        assert hold.reason == "rate"
        assert USD * 95 // 100 <= got <= USD + USD // 20

    run(play())


def test_those_who_both_need_it_both_get_some():
    async def play():
        node = Node(2)
        got = [0, 0]
        for _ in range(60):
            for number, process in enumerate(node.processes):
                if isinstance(hold := await process.hold(USD // 50), Hold):
                    await process.settle(hold, hold.nusd)
                    got[number] += hold.nusd
        assert min(got) >= USD // 4
        assert sum(got) <= USD + USD // 50

    run(play())


def test_a_request_dearer_than_the_allowance_is_let_in_once_and_pays_for_it():
    async def play():
        node = Node(2)
        first, second = node.processes
        await first.settle(await first.hold(USD // 100), 0)
        dear = await second.hold(3 * USD)
        assert isinstance(dear, Hold)
        await second.settle(dear, 3 * USD)
        refused = await first.hold(1)
        assert (refused.reason, refused.marker) == ("rate", "ramp")
        assert refused.retry_after_s == 600
        assert "faster than it ever has" in refused.message
        assert "administrator" in refused.message
        node.wait(2 * TEN_MINUTES_US + 10**6)
        assert isinstance(await first.hold(3 * USD), Hold)

    run(play())


def test_what_running_requests_may_cost_is_no_reason_for_alarm():
    async def play():
        node = Node(2)
        first, second = node.processes
        running = await first.hold(3 * USD)
        for process in node.processes:
            refused = await process.hold(USD // 100)
            assert (refused.reason, refused.marker, refused.retry_after_s) == ("rate", "", 1)
            node.wait(10**6)
        # What the request leaves comes to where the bucket is now.
        await first.settle(running, USD // 10)
        assert isinstance(await second.hold(USD // 2), Hold)

    run(play())


def test_retry_after_is_when_a_like_request_fits():
    async def play():
        node = Node(1)
        (process,) = node.processes
        await process.settle(await process.hold(USD + USD // 2), USD + USD // 2)
        refused = await process.hold(USD // 2)
        assert refused.retry_after_s in (300, 301)
        node.wait((refused.retry_after_s - 2) * 10**6)
        assert isinstance(await process.hold(USD // 2), Refused)
        node.wait(2 * 10**6)
        assert isinstance(await process.hold(USD // 2), Hold)

    run(play())


def test_observed_it_admits_and_says_so_and_only_counts_what_it_would_have_let_in():
    async def play():
        node = Node(2, mode="observe")
        first, second = node.processes
        assert (await first.hold(USD // 2)).would_refuse is None
        spent = await first.hold(USD)
        assert (spent.would_refuse, spent.marker) == (None, "")
        await first.settle(spent, USD * 3 // 4)
        late = await second.hold(USD // 2)
        assert (late.would_refuse, late.marker) == ("rate", "")
        before = node.units
        await second.settle(late, USD // 2)
        assert node.units == before

    run(play())


def test_observed_it_marks_what_was_spent_too_fast():
    async def play():
        node = Node(1, mode="observe")
        (process,) = node.processes
        await process.settle(await process.hold(2 * USD), 2 * USD)
        late = await process.hold(USD)
        assert (late.would_refuse, late.marker) == ("rate", "ramp")

    run(play())


def test_observed_it_holds_up_nobody_while_control_is_away_or_silent(monkeypatch):
    async def play():
        node = Node(2, mode="observe")
        first, second = node.processes
        await first.settle(await first.hold(USD // 2), USD // 2)
        first.silent = True
        answer = await second.hold(USD)
        assert (answer.would_refuse, answer.marker) == (None, "")
        second.books.disconnected()
        assert isinstance(second.books.reserve(Path([second.limit]), USD, 1, CONTEXT), Hold)

    run(play())


def test_enforced_it_does_not_guess_what_a_silent_process_has():
    async def play():
        node = Node(2)
        first, second = node.processes
        await first.settle(await first.hold(USD // 2), USD // 2)
        first.silent = True
        assert (await second.hold(USD // 2)).reason == "lease"

    run(play())


def test_what_costs_nothing_always_passes():
    async def play():
        node = Node(1)
        (process,) = node.processes
        await process.settle(await process.hold(2 * USD), 2 * USD)
        assert (await process.hold(USD)).reason == "rate"
        assert isinstance(await process.hold(0), Hold)

    run(play())


@pytest.mark.parametrize(("amount", "left"), [(2 * USD, USD + USD // 2), (USD // 4, USD // 4)])
def test_a_changed_allowance_keeps_what_was_spent(amount, left):
    async def play():
        node = Node(2)
        first, second = node.processes
        await first.settle(await first.hold(USD // 2), USD // 2)
        await second.settle(await second.hold(USD // 10), 0)
        node.change(amount)
        await node.quiet()
        assert node.shares == amount
        assert left - 3 <= node.units // TEN_MINUTES_US <= left
        assert isinstance(await first.hold(left - 3), Hold)

    run(play())


def test_a_process_that_leaves_hands_its_share_on_with_what_is_in_it():
    async def play():
        node = Node(2)
        first, second = node.processes
        await first.settle(await first.hold(USD // 2), USD // 4)
        first.books.leave()
        await node.quiet()
        assert (first.limit.share, node.lender._pools[1].level // TEN_MINUTES_US) == (0, USD * 3 // 4)
        assert isinstance(await second.hold(USD * 3 // 4), Hold)

    run(play())


def test_a_process_that_died_leaves_its_share_empty():
    async def play():
        node = Node(2)
        first, second = node.processes
        await first.hold(USD // 2)
        node.wait(TEN_MINUTES_US)
        del node.lender.peers[first.instance]
        node.lender.drop_shares(first.instance)
        assert node.lender._pools[1].level == 0
        node.wait(TEN_MINUTES_US // 2)
        answer = await second.hold(USD // 2)
        assert isinstance(answer, Hold)
        assert (await second.hold(1)).reason == "rate"

    run(play())
