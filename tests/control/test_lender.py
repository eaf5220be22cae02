"""Handing out leases: to whom, after what recall, and what is said when it cannot be done."""

import asyncio

import pytest
from sqlalchemy import update

from jackstop.control import lender as module
from jackstop.control.protocol import Granted, Need, Recall, Returned
from jackstop.errors import Refused
from jackstop.keys.policy import LimitRow
from jackstop.ledger.books import Hold
from jackstop.store.tables import limits
from tests.ledger.rig import NOON, Rig, usd

pytestmark = pytest.mark.anyio

DAY_US = 86_400_000_000
TODAY = NOON - NOON % DAY_US


class Wire:
    """A gate's end of the socket without a gate: what it was told, and recalls answered only when asked to."""

    def __init__(self, rig, instance):
        self.instance, self._lender = instance, rig.lender
        self.heard = []
        rig.lender.peers[instance] = self

    def send(self, message):
        self.heard.append(message)

    def granted(self):
        return [message for message in self.heard if isinstance(message, Granted)]

    def recalled(self):
        return [message for message in self.heard if isinstance(message, Recall)]

    def leave(self):
        del self._lender.peers[self.instance]


def wires(rig, count):
    made = []
    for _ in range(count):
        gate = rig.gate()
        made.append(Wire(rig, gate.instance))
    return made


def of(book):
    return book.settled, book.leased, book.over


async def test_a_lease_is_at_most_its_share_of_what_is_left(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        first, second = wires(rig, 2)
        await rig.lender.need(first, Need(1, TODAY, 10, 10_000))
        await rig.lender.need(second, Need(1, TODAY, 10, 10_000))
        await rig.lender.need(second, Need(1, TODAY, 600, 600))
        assert [message.amount for message in first.granted()] == [250]
        assert second.granted()[0].amount == 187
        assert second.granted()[1].exhausted
        assert second.granted()[1].unknown


async def test_what_lacks_is_recalled_from_its_holders(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        holder, asker = wires(rig, 2)
        await rig.lender.need(holder, Need(1, TODAY, 100, 100))
        asking = asyncio.ensure_future(rig.lender.need(asker, Need(1, TODAY, 60, 60)))
        while not holder.recalled():  # noqa: ASYNC110 -- a list that fills
            await asyncio.sleep(0)
        (recall,) = holder.recalled()
        assert (recall.limit_id, recall.window_us, recall.amount) == (1, TODAY, 60)
        lease = holder.granted()[0].lease_id
        await rig.lender.returned(holder, Returned(1, TODAY, lease, 80, recall.recall_id))
        await asking
        assert (asker.granted()[0].amount, asker.granted()[0].exhausted) == (60, False)
        assert of(rig.books_of(1)[0]) == (0, 80, 0)


async def test_a_gate_that_left_while_it_waited_is_granted_nothing(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        holder, asker = wires(rig, 2)
        await rig.lender.need(holder, Need(1, TODAY, 100, 100))
        asking = asyncio.ensure_future(rig.lender.need(asker, Need(1, TODAY, 60, 60)))
        while not holder.recalled():  # noqa: ASYNC110 -- a list that fills
            await asyncio.sleep(0)
        asker.leave()
        (recall,) = holder.recalled()
        await rig.lender.returned(holder, Returned(1, TODAY, holder.granted()[0].lease_id, 100, recall.recall_id))
        await asking
        assert of(rig.books_of(1)[0]) == (0, 0, 0)


async def test_a_gate_that_greeted_anew_is_granted_nothing_on_its_old_connection(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100), LimitRow(2, "key:a", "concurrency", 3)]) as rig:
        (old,) = wires(rig, 1)
        new = Wire(rig, old.instance)
        await rig.lender.need(old, Need(1, TODAY, 60, 60))
        await rig.lender.need(old, Need(2, 0, 1, 3))
        assert not rig.books_of(1) or of(rig.books_of(1)[0]) == (0, 0, 0)
        await rig.lender.need(new, Need(1, TODAY, 100, 100))
        await rig.lender.need(new, Need(2, 0, 1, 3))
        assert [message.amount for message in new.granted()] == [100, 3]


async def test_a_need_that_fails_is_answered_all_the_same(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        path = gate.path(1)

        def fail(*args, **options):
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module.ledger, "grant", fail)
            asking = asyncio.ensure_future(gate.hold(path, 50))
            await asyncio.sleep(0)
            await asyncio.gather(*gate.tasks, return_exceptions=True)
            answer = await asking
            assert isinstance(answer, Refused)
            assert answer.reason == "lease"
        assert isinstance(await gate.hold(path, 50), Hold)


async def test_two_questions_about_one_limit_wait_for_each_other(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        asking = wires(rig, 4)
        await asyncio.gather(*(rig.lender.need(each, Need(1, TODAY, 40, 40)) for each in asking))
        given = sorted(message.amount for each in asking for message in each.granted())
        assert sum(given) <= 100
        assert given[-2:] == [40, 40]
        assert rig.lender._locks == {}


async def test_a_limit_that_does_not_exist_any_more_gives_nothing(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        (gate,) = wires(rig, 1)
        rig.rows[1] = LimitRow(1, "org", "usd", 100, "day", deleted=True)
        with store.begin() as conn:
            conn.execute(update(limits).values(deleted=True))
        await rig.lender.need(gate, Need(1, TODAY, 10, 10))
        await rig.lender.need(gate, Need(77, TODAY, 10, 10))
        assert [(message.amount, message.exhausted, message.unknown) for message in gate.granted()] == [
            (0, True, True),
            (0, True, True),
        ]


async def test_permits_are_not_given_while_a_gate_that_may_hold_some_is_not_back(store, tmp_path):
    async with Rig(store, tmp_path, [LimitRow(1, "key:a", "concurrency", 4)]) as rig:
        (gate,) = wires(rig, 1)
        rig.lender.unresolved.add("not back yet")
        await rig.lender.need(gate, Need(1, 0, 1, 4))
        assert (gate.granted()[-1].amount, gate.granted()[-1].unknown) == (0, True)
        rig.lender.adopt_shares("not back yet", [(1, 3)])
        rig.lender.unresolved.clear()
        await rig.lender.need(gate, Need(1, 0, 1, 4))
        assert gate.granted()[-1].amount == 1
        rig.lender.drop_shares("not back yet")
        await rig.lender.need(gate, Need(1, 0, 1, 4))
        assert gate.granted()[-1].amount == 3


async def test_a_changed_limit_changes_what_is_left_to_give(store, tmp_path):
    row = LimitRow(1, "key:a", "concurrency", 2)
    async with Rig(store, tmp_path, [row]) as rig:
        (gate,) = wires(rig, 1)
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        rig.lender.follow(LimitRow(1, "key:a", "concurrency", 5))
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        rig.lender.follow(LimitRow(1, "key:a", "concurrency", 1))
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        assert [message.amount for message in gate.granted()] == [2, 3, 0]
        await rig.lender.returned(gate, Returned(1, 0, 0, 5))
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        assert gate.granted()[-1].amount == 1


async def test_no_more_comes_back_than_was_given(store, tmp_path):
    async with Rig(store, tmp_path, [LimitRow(1, "key:a", "concurrency", 2)]) as rig:
        (gate,) = wires(rig, 1)
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        await rig.lender.returned(gate, Returned(1, 0, 0, 7))
        await rig.lender.need(gate, Need(1, 0, 1, 9))
        assert gate.granted()[-1].amount == 2


async def test_a_full_journal_takes_no_lease_and_gives_none_back(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 100), 30)
        leased = rig.books_of(1)[0].leased
        end = gate.journal.end
        with monkeypatch.context() as patch:
            patch.setattr(gate.journal, "has_room", lambda: False)
            answer = await gate.hold(gate.path(1), 900)
            assert isinstance(answer, Refused)
            assert answer.reason == "journal"
            gate.books.recalled(Recall(1, TODAY, 50, 1))
            gate.books.granted(Granted(1, TODAY, 1, 0))
            await asyncio.gather(*gate.tasks)
            assert gate.journal.end == end
            assert rig.books_of(1)[0].leased == leased
        assert isinstance(await gate.hold(gate.path(1), 100), Hold)
        await rig.book()
        rig.reconcile(gate)
        (book,) = rig.books_of(1)
        assert book.leased + book.settled == gate.books.limit(1).at(NOON).total


async def test_a_lease_that_comes_when_the_journal_is_full_goes_back(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        asking = asyncio.ensure_future(gate.hold(gate.path(1), 100))
        await asyncio.sleep(0)
        monkeypatch.setattr(gate.journal, "has_room", lambda: False)
        answer = await asking
        assert isinstance(answer, Refused)
        await asyncio.gather(*gate.tasks)
        await rig.book()
        assert of(rig.books_of(1)[0]) == (0, 0, 0)
