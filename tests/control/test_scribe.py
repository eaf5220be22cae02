"""The scribe: jobs in order, several to a transaction, and one that fails takes no other along."""

import asyncio
import threading

import pytest
from sqlalchemy import insert, select

from jackstop.control.scribe import MAX_BATCH, Scribe
from jackstop.store.tables import meta

pytestmark = pytest.mark.anyio


@pytest.fixture
async def scribe(store):
    made = Scribe(store)
    made.start()
    yield made
    await asyncio.to_thread(made.stop)


def write(key, *, then=None):
    def act(conn):
        conn.execute(insert(meta).values(key=key, value="1"))
        if then is not None:
            raise then
        return key

    return act


def keys(store):
    with store.begin() as conn:
        return set(conn.execute(select(meta.c.key).where(meta.c.value == "1")).scalars())


class Held:
    """Keeps the scribe busy, so that what is given meanwhile comes in one batch."""

    def __init__(self, scribe):
        self._go, self._scribe = threading.Event(), scribe

    async def __aenter__(self):
        self._job = asyncio.ensure_future(self._scribe.alone(self._go.wait))
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *error):
        self._go.set()
        await self._job


async def test_results_come_back_to_whom_they_belong_in_order(store, scribe):
    order = []
    async with Held(scribe):
        jobs = [asyncio.ensure_future(scribe.do(lambda conn, n=n: order.append(n) or n)) for n in range(3 * MAX_BATCH)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*jobs) == list(range(3 * MAX_BATCH)) == order


async def test_a_job_that_fails_takes_no_other_along(store, scribe):
    async with Held(scribe):
        jobs = [
            asyncio.ensure_future(scribe.do(write(f"k{n}", then=ZeroDivisionError() if n == 3 else None)))
            for n in range(8)
        ]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert isinstance(answers.pop(3), ZeroDivisionError)
    assert answers == [f"k{n}" for n in range(8) if n != 3]
    assert keys(store) == set(answers)


async def test_two_that_cannot_both_be_leave_the_first(store, scribe):
    async with Held(scribe):
        jobs = [asyncio.ensure_future(scribe.do(write("same"))) for _ in range(2)]
        await asyncio.sleep(0)
    first, second = await asyncio.gather(*jobs, return_exceptions=True)
    assert first == "same"
    assert isinstance(second, Exception)
    assert keys(store) == {"same"}


async def test_a_result_is_known_only_after_its_commit(store, scribe):
    assert await scribe.do(write("a")) == "a"
    assert keys(store) == {"a"}


async def test_what_works_alone_opens_its_own_transactions_between_the_others(store, scribe):
    seen = []
    async with Held(scribe):
        before = asyncio.ensure_future(scribe.do(write("before")))
        await asyncio.sleep(0)
        alone = asyncio.ensure_future(scribe.alone(lambda: seen.append(keys(store))))
        await asyncio.sleep(0)
        after = asyncio.ensure_future(scribe.do(write("after")))
        await asyncio.sleep(0)
    await asyncio.gather(before, alone, after)
    assert seen == [{"before"}]
    with pytest.raises(ZeroDivisionError):
        await scribe.alone(lambda: 1 // 0)
    assert await scribe.do(write("still")) == "still"


async def test_one_that_waits_no_more_holds_nobody_up(store, scribe):
    async with Held(scribe):
        given_up = asyncio.ensure_future(scribe.do(write("given up")))
        await asyncio.sleep(0)
        given_up.cancel()
        other = asyncio.ensure_future(scribe.do(write("other")))
        await asyncio.sleep(0)
    assert await other == "other"


async def test_the_end_comes_after_what_was_given(store):
    scribe = Scribe(store)
    scribe.start()
    jobs = [asyncio.ensure_future(scribe.do(write(f"k{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    await asyncio.to_thread(scribe.stop)
    assert await asyncio.gather(*jobs) == [f"k{n}" for n in range(5)]
