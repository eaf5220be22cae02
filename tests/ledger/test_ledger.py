"""The ledger as a whole: gates' books, control's leases, the journals between them; on both databases."""

import asyncio
import random
import shutil
import struct

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from jackstop.clock import ManualClock, SystemClock
from jackstop.errors import Refused
from jackstop.keys.policy import LimitRow
from jackstop.ledger import leases as ledger
from jackstop.ledger.books import Hold
from jackstop.store.tables import findings, gaps, instances, leases, open_holds, windows
from tests.ledger.rig import NOON, Rig, usd
from tests.replay import replay_all

pytestmark = pytest.mark.anyio

HOUR_S = 3_600


def refused(answer, reason):
    assert isinstance(answer, Refused), answer
    assert answer.reason == reason
    return answer


async def test_a_hold_takes_from_every_limit_and_gives_the_rest_back(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000), usd(2, 500, "key:a")]) as rig:
        gate = rig.gate()
        path = gate.path(1, 2)
        hold = await gate.hold(path, 400)
        refused(await gate.hold(path, 101), "lease")
        gate.settle(hold, 50)
        second = await gate.hold(path, 450)
        gate.settle(second, 450)
        refusal = refused(await gate.hold(path, 1), "budget")
        assert refusal.details == {"scope": "key:a", "kind": "usd", "left": 0, "need": 1}
        await rig.book()
        assert [book.settled for book in (*rig.books_of(1), *rig.books_of(2))] == [500, 500]


@pytest.mark.parametrize("seed", range(3))
async def test_random_schedules_over_two_gates_stay_within_every_limit(store, tmp_path, seed):
    chance = random.Random(seed)
    keys = range(10, 16)
    rows = [usd(1, 60_000), usd(2, 40_000, "team:t"), *(usd(key, 15_000, f"key:{key}") for key in keys)]
    async with Rig(store, tmp_path, rows, clock=SystemClock()) as rig:
        gates = [rig.gate(), rig.gate()]
        spent = dict.fromkeys(keys, 0)
        false_refusals = 0
        open_now = dict.fromkeys([1, 2, *keys], 0)
        settled = dict.fromkeys([1, 2, *keys], 0)

        async def request(gate, key):
            nonlocal false_refusals
            need = chance.randint(1, 900)
            limits_on_path = (1, 2, key)
            answer = await gate.hold(gate.path(*limits_on_path), need)
            if isinstance(answer, Refused):
                room = min(rig.rows[each].amount - settled[each] - open_now[each] for each in limits_on_path)
                false_refusals += room >= need
                return
            for each in limits_on_path:
                open_now[each] += need
            await asyncio.sleep(chance.random() * 0.003)
            used = chance.randint(0, need)
            gate.settle(answer, used)
            spent[key] += used
            for each in limits_on_path:
                open_now[each] -= need
                settled[each] += used

        async def application(gate):
            for _ in range(60):
                await request(gate, chance.choice(keys))

        await asyncio.gather(*(application(gate) for gate in gates for _ in range(4)))
        await rig.book()
        for key in keys:
            (book,) = rig.books_of(key)
            assert book.settled == spent[key] <= book.amount
            assert book.settled + book.leased <= book.amount
            assert book.over == 0
        assert rig.books_of(1)[0].settled == sum(spent.values())
        assert sum(spent.values()) > 35_000
        assert false_refusals <= 10
        for replay in replay_all(tmp_path):
            assert not replay.violations
            assert not replay.overruns


async def test_a_small_limit_moves_to_the_process_that_asks(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        first, second = rig.gate(), rig.gate()
        for gate in (first, second, first, second):
            hold = await gate.hold(gate.path(1), 100)
            assert isinstance(hold, Hold)
            gate.settle(hold, 0)


async def test_a_holder_that_stays_silent_makes_the_answer_lease_not_budget(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        stopped, asking = rig.gate(), rig.gate()
        stopped.settle(await stopped.hold(stopped.path(1), 100), 10)
        stopped.silent = True
        refused(await asking.hold(asking.path(1), 50), "lease")
        (book,) = rig.books_of(1)
        assert book.leased == 100


async def test_a_dead_gate_books_what_ended_and_charges_what_was_open(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        path = gate.path(1)
        gate.settle(await gate.hold(path, 100), 30)
        still_open = await gate.hold(path, 200)
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased, book.over) == (230, 0, 0)
        with store.begin() as conn:
            (row,) = conn.execute(select(open_holds)).all()
        assert (row.state, row.nusd, row.charges[0]["amount"]) == ("open", 200, 200)
        assert row.id.endswith("-{}-{}".format(*still_open.position))


async def test_a_journal_cut_short_charges_the_whole_lease(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 50), 20)
        synced = gate.journal.end.offset
        gate.settle(await gate.hold(gate.path(1), 50), 20)
        leased = rig.books_of(1)[0].leased
        assert leased > 100
        cut(gate, synced)
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased) == (leased, 0)
        with store.begin() as conn:
            (row,) = conn.execute(select(open_holds)).all()
        assert "lost its tail" in row.reason


def cut(gate, offset, *, position_too=False):
    """What a power loss leaves: nothing behind `offset`, and perhaps not even the note of where the end was."""
    segment = gate.journal.folder / "00000000.seg"
    data = bytearray(segment.read_bytes())
    data[offset:] = bytes(len(data) - offset)
    segment.write_bytes(data)
    if position_too:
        with (gate.journal.folder / "position").open("r+b") as file:
            file.write(struct.pack("<QQ", 0, offset))


async def test_a_lost_tail_is_known_by_the_boot_alone_after_control_started_anew(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 50), 20)
        await rig.book()
        synced = gate.journal.end.offset
        gate.settle(await gate.hold(gate.path(1), 50), 30)
        cut(gate, synced, position_too=True)
        leased = rig.books_of(1)[0].leased
        monkeypatch.setattr("jackstop.ledger.booking.boot_id", lambda: "another")
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased, book.over) == (20 + leased, 0, 0)


async def test_a_lost_grant_or_hold_is_not_taken_for_free_nor_booked_twice(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 400), 400)
        synced_hold = await gate.hold(gate.path(1), 100)
        synced = gate.journal.end.offset
        gate.settle(synced_hold, 60)
        gate.settle(await gate.hold(gate.path(1), 300), 290)
        await rig.book()
        cut(gate, synced, position_too=True)
        monkeypatch.setattr("jackstop.ledger.booking.boot_id", lambda: "another")
        before = rig.books_of(1)[0]
        assert before.settled == 750
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased, book.over) == (before.settled + before.leased, 0, 0)
        with store.begin() as conn:
            row = conn.execute(select(instances)).one()
        assert (row.segment, row.offset, row.state) == (0, synced, "closed")


async def test_what_stopped_in_order_is_whole_after_a_boot(store, tmp_path, monkeypatch):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 50), 20)
        gate.journal.close()
        await rig.book()
        monkeypatch.setattr("jackstop.ledger.booking.boot_id", lambda: "another")
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased) == (20, 0)


async def test_a_journal_that_is_gone_is_charged_whole(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 50), 20)
        leased = rig.books_of(1)[0].leased
        shutil.rmtree(gate.journal.folder)
        await rig.bury(gate)
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased) == (leased, 0)


async def test_a_grant_that_never_arrived_is_taken_back(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 10), 10)
        await rig.book()
        before = rig.books_of(1)[0]
        opening = ledger.Opening(rig.clock.now_us(), 0, frozen=False)
        with store.begin() as conn:
            ledger.grant(
                conn, 1, before.window_us, gate.instance, need=100, want=0, processes=1, observed=False, opening=opening
            )
        rig.reconcile(gate)
        assert rig.books_of(1)[0].leased == before.leased


async def test_an_overrun_is_booked_whole_found_and_opens_a_gap(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        hold = await gate.hold(gate.path(1), 900)
        extra = '{"overrun": {"provider": "openai", "model": "gpt-4o-mini", "feature": "image"}}'
        gate.settle(hold, 1_500, markers="overrun", extra=extra)
        refused(await gate.hold(gate.path(1), 1), "budget")
        await rig.book()
        (book,) = rig.books_of(1)
        assert book.settled == 1_500
        assert book.settled + book.leased <= book.amount + book.over
        with store.begin() as conn:
            (finding,) = conn.execute(select(findings)).all()
            (gap,) = conn.execute(select(gaps)).all()
        assert (finding.detection, finding.evidence["cost_nusd"]) == ("overrun", 1_500)
        assert (gap.provider, gap.feature, gap.mended) == ("openai", "image", False)


async def test_an_observed_limit_admits_and_says_so(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100, mode="observe")]) as rig:
        gate = rig.gate()
        within = await gate.hold(gate.path(1), 100)
        assert within.would_refuse is None
        beyond = await gate.hold(gate.path(1), 500)
        assert beyond.would_refuse == "budget"
        gate.settle(within, 100)
        gate.settle(beyond, 500)
        await rig.book()
        assert rig.books_of(1)[0].settled == 600


async def test_a_hold_stays_in_its_window_and_the_old_one_never_opens_again(store, tmp_path):
    clock = ManualClock(NOON)
    async with Rig(store, tmp_path, [usd(1, 100, window="hour")], clock=clock) as rig:
        gate = rig.gate()
        early = await gate.hold(gate.path(1), 100)
        clock.advance(HOUR_S)
        late = await gate.hold(gate.path(1), 100)
        gate.settle(early, 40)
        gate.settle(late, 70)
        await rig.book()
        old, new = sorted(rig.books_of(1), key=lambda book: book.window_us)
        assert (old.settled, new.settled) == (40, 70)
        list(gate.books.tend())
        await asyncio.gather(*gate.tasks)
        clock.jump(-HOUR_S)
        refused(await gate.hold(gate.path(1), 1), "lease")


async def test_frozen_openings_refuse_with_lease(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        rig.lender.frozen = True
        gate = rig.gate()
        refused(await gate.hold(gate.path(1), 1), "lease")


async def test_the_database_itself_refuses_to_go_beyond_a_limit(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        await gate.hold(gate.path(1), 60)
        with pytest.raises(IntegrityError), store.begin() as conn:
            conn.execute(update(windows).values(settled=windows.c.settled + 50))
        with pytest.raises(IntegrityError), store.begin() as conn:
            conn.execute(update(leases).values(leased=-1))


async def test_rates_and_concurrency_are_shared_between_gates(store, tmp_path):
    rows = [LimitRow(1, "key:a", "rate", 10, per_s=60), LimitRow(2, "key:a", "concurrency", 3)]
    async with Rig(store, tmp_path, rows) as rig:
        gates = [rig.gate(), rig.gate()]
        running = [await gates[number % 2].hold(gates[number % 2].path(2), 0) for number in range(3)]
        assert all(isinstance(each, Hold) for each in running)
        refused(await gates[0].hold(gates[0].path(2), 0), "concurrency")
        gates[0].settle(running[0], 0)
        assert isinstance(await gates[1].hold(gates[1].path(2), 0), Hold)
        admitted = 0
        for number in range(20):
            gate = gates[number % 2]
            answer = await gate.hold(gate.path(1), 0)
            admitted += isinstance(answer, Hold)
            rig.clock.advance(0.11)
        assert 10 <= admitted <= 11


async def test_control_away_is_bridged_from_what_is_leased(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000_000)]) as rig:
        gate = rig.gate()
        path = gate.path(1)
        for _ in range(30):
            gate.settle(await gate.hold(path, 100), 100)
            rig.clock.advance(0.1)
        list(gate.books.tend())
        await asyncio.gather(*gate.tasks)
        gate.books.disconnected()
        for _ in range(600):
            gate.settle(await gate.hold(path, 100), 100)
            rig.clock.advance(0.1)


async def test_what_nobody_uses_goes_back(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 10), 10)
        rig.clock.advance(rig.settings.ledger.outage_window_s + 1)
        list(gate.books.tend())
        await asyncio.gather(*gate.tasks)
        await rig.book()
        (book,) = rig.books_of(1)
        assert (book.settled, book.leased) == (10, 0)


async def test_nothing_goes_back_while_nobody_hears_it(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 1_000)]) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1), 10), 10)
        leased = rig.books_of(1)[0].leased
        gate.books.disconnected()
        rig.clock.advance(rig.settings.ledger.outage_window_s + 1)
        end = gate.journal.end
        list(gate.books.tend())
        assert gate.journal.end == end
        gate.books.connected(gate.to_control)
        list(gate.books.tend())
        await asyncio.gather(*gate.tasks)
        await rig.book()
        (book,) = rig.books_of(1)
        assert leased > 0
        assert (book.settled, book.leased) == (10, 0)


async def test_tokens_and_requests_are_budgets_too(store, tmp_path):
    rows = [LimitRow(1, "key:a", "tokens", 1_000, "day"), LimitRow(2, "key:a", "requests", 3, "hour")]
    async with Rig(store, tmp_path, rows) as rig:
        gate = rig.gate()
        gate.settle(await gate.hold(gate.path(1, 2), 5, tokens=900), 5, tokens=100)
        refused(await gate.hold(gate.path(1, 2), 5, tokens=901), "budget")
        for _ in range(2):
            gate.settle(await gate.hold(gate.path(1, 2), 5, tokens=10), 5, tokens=10)
        assert refused(await gate.hold(gate.path(1, 2), 5, tokens=10), "budget").details["kind"] == "requests"


async def test_a_waiter_that_gives_up_leaves_nothing_behind(store, tmp_path):
    async with Rig(store, tmp_path, [usd(1, 100)]) as rig:
        gate = rig.gate()
        waiting = asyncio.ensure_future(gate.hold(gate.path(1), 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.gather(*gate.tasks)
        hold = await gate.hold(gate.path(1), 100)
        assert isinstance(hold, Hold)
