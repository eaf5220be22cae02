"""The gate's connection to control: what it greets with, what it takes for news, and that nothing ends it for good."""

import asyncio
from contextlib import asynccontextmanager, suppress

from jackstop.clock import US_PER_S, ManualClock
from jackstop.control.client import socket_path
from jackstop.control.protocol import (
    VERSION,
    Changes,
    Frames,
    Granted,
    Heartbeat,
    Hello,
    Recall,
    Returned,
    Welcome,
    frame,
)
from jackstop.gate.journal import Journal
from jackstop.gate.link import Link
from jackstop.gate.registry import KeyEntry, Registry
from jackstop.keys.policy import KeyRow, LimitRow
from jackstop.ledger.books import Books
from jackstop.settings import Settings

NOON = 1_790_000_000_000_000
PATIENCE_S = 20


class Control:
    """The other end of the socket: hears what the gate says, and says what a test tells it to."""

    def __init__(self, home):
        self._home = home
        self._connections = asyncio.Queue()
        self._writers = []
        self._frames, self._heard = Frames(), []

    async def _serve(self, reader, writer):
        self._writers.append(writer)
        await self._connections.put((reader, writer))

    async def listen(self):
        with socket_path(self._home) as path:
            self.server = await asyncio.start_unix_server(self._serve, path)

    async def accept(self):
        """The next connection's greeting."""
        self._reader, self._writer = await asyncio.wait_for(self._connections.get(), PATIENCE_S)
        self._frames, self._heard = Frames(), []
        return await self.hear()

    async def hear(self):
        while not self._heard:
            data = await asyncio.wait_for(self._reader.read(1 << 16), PATIENCE_S)
            if not data:
                return None
            self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    def say(self, *messages):
        self._writer.write(b"".join(map(frame, messages)))

    def hang_up(self):
        self._writer.close()

    async def close(self):
        self.server.close()
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class Gate:
    """A gate's books, rows and link, without its doors."""

    def __init__(self, home):
        self.clock = ManualClock(NOON)
        self.journal = Journal(home.journal, "g0", 1 << 16, 10_000, self.clock)
        self.journal.open(0)
        self.books = Books(self.journal, Settings(), self.clock)
        self.registry = Registry(self.books, Settings(), self.clock)
        self.link = Link(home, "g0", 3, self.registry, self.books, self.clock)

    def fresh(self):
        return self.registry.fresh(KeyEntry(KeyRow("k", b"", "", "", "")), self.clock.now_us())


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- any condition
            await asyncio.sleep(0.005)


WELCOME = Welcome(VERSION, b"pepper", b"fingerprints", 500, 1)
BUDGET = LimitRow(1, "org", "usd", 1_000, "life")
PERMITS = LimitRow(2, "org", "concurrency", 5)


@asynccontextmanager
async def linked(home):
    """Control's end and the gate."""
    control = Control(home)
    await control.listen()
    gate = Gate(home)
    await gate.link.start()
    try:
        yield control, gate
    finally:
        await gate.link.stop()
        gate.journal.close()
        await control.close()


async def test_a_gate_greets_with_all_that_it_has(home):
    async with linked(home) as (control, gate):
        assert await control.accept() == Hello(VERSION, "g0", gate.link._greeting().pid, 0, 3, gate.journal.end, [])
        control.say(WELCOME, Changes(7, [BUDGET, PERMITS]), Granted(1, 1, 11, 500), Granted(2, 0, 0, 4))
        await until(gate.books.shares)
        control.hang_up()
        again = await control.accept()
        assert (again.since, again.shares, again.end) == (7, [(2, 4)], gate.journal.end)


async def test_what_comes_before_the_snapshot_is_whole_makes_nothing_fresh(home):
    async with linked(home) as (control, gate):
        await control.accept()
        control.say(WELCOME, Changes(5, [BUDGET], more=True), Heartbeat(5, NOON))
        await until(lambda: gate.registry.seq == 5)
        assert not gate.fresh()
        control.say(Changes(6, [PERMITS]))
        await until(gate.fresh)


async def test_control_that_is_away_leaves_the_gate_fresh_for_a_while(home):
    async with linked(home) as (control, gate):
        await control.accept()
        control.say(WELCOME, Changes(1, []), Heartbeat(1, NOON))
        await until(gate.fresh)
        control.hang_up()
        for _ in range(Settings().gate.max_staleness_s):
            gate.clock.advance(1)
            gate.registry.tick(gate.clock.now_us())
        assert gate.fresh()
        gate.clock.advance(1)
        gate.registry.tick(gate.clock.now_us())
        assert not gate.fresh()


async def test_a_process_that_stood_still_believes_only_what_was_said_since(home):
    async with linked(home) as (control, gate):
        await control.accept()
        control.say(WELCOME, Changes(1, []), Heartbeat(1, NOON))
        await until(gate.fresh)
        gate.clock.advance(60)
        gate.registry.tick(gate.clock.now_us())
        assert not gate.fresh()
        control.say(*(Heartbeat(1, NOON + second * US_PER_S) for second in range(58)), Changes(2, [BUDGET]))
        await until(lambda: gate.registry.seq == 2)
        assert not gate.fresh()
        control.say(Heartbeat(2, NOON + 60 * US_PER_S))
        await until(gate.fresh)


async def test_news_that_is_late_in_coming_is_no_pause_of_a_process_that_runs(home):
    async with linked(home) as (control, gate):
        await control.accept()
        control.say(WELCOME, Changes(1, []), Heartbeat(1, NOON))
        await until(gate.fresh)
        for _ in range(30):
            gate.clock.advance(0.1)
            gate.registry.tick(gate.clock.now_us())
        control.say(Heartbeat(1, NOON), Changes(2, [BUDGET]))
        await until(lambda: gate.registry.seq == 2)
        assert gate.fresh()


async def test_a_message_that_cannot_be_handled_ends_the_connection_and_not_the_link(home, monkeypatch):
    async with linked(home) as (control, gate):
        await control.accept()

        def fail(message):
            raise RuntimeError("the books are out of order")

        with monkeypatch.context() as patch:
            patch.setattr(gate.books, "granted", fail)
            control.say(WELCOME, Changes(1, [BUDGET]), Granted(1, 1, 11, 500))
            assert isinstance(await control.accept(), Hello)
        control.say(WELCOME, Granted(1, 1, 11, 500))
        await until(lambda: gate.books.limit(1).at(NOON).free == 500)


async def test_nonsense_from_control_is_no_reason_to_give_up(home):
    async with linked(home) as (control, _gate):
        await control.accept()
        control._writer.write(b"\xff\xff\xff\xff nonsense")
        assert isinstance(await control.accept(), Hello)


async def test_others_are_served_between_the_rows_of_a_long_snapshot(home, monkeypatch):
    async with linked(home) as (control, gate):
        await control.accept()
        turns, seen = 0, []
        apply = gate.registry.apply

        def applied(rows, seq, *, more):
            seen.append(turns)
            apply(rows, seq, more=more)

        monkeypatch.setattr(gate.registry, "apply", applied)
        monkeypatch.setattr("jackstop.gate.link._NEWS_S", 0)
        control.say(WELCOME, *(Changes(number, [BUDGET], more=True) for number in range(1, 100)), Changes(100, []))
        while gate.registry.seq < 100:
            turns += 1
            await asyncio.sleep(0)
        assert len(set(seen)) == 100


async def test_a_busy_loop_takes_in_more_than_one_message_at_a_time(home, monkeypatch):
    async with linked(home) as (control, gate):
        await control.accept()
        turns, seen = 0, []
        apply = gate.registry.apply

        def applied(rows, seq, *, more):
            seen.append(turns)
            apply(rows, seq, more=more)

        monkeypatch.setattr(gate.registry, "apply", applied)
        monkeypatch.setattr("jackstop.gate.link._NEWS_S", 60)
        control.say(WELCOME, *(Changes(number, []) for number in range(1, 101)))
        while gate.registry.seq < 100:
            turns += 1
            await asyncio.sleep(0)
        assert len(set(seen)) < 10, "a revocation would wait behind all of them, one turn for each"


async def test_others_are_served_while_many_limits_are_tended(home):
    async with linked(home) as (control, gate):
        await control.accept()
        limits = [LimitRow(number, "org", "usd", 1_000, "life") for number in range(1, 2_001)]
        control.say(WELCOME, Changes(1, limits))
        await until(lambda: gate.registry.seq == 1)
        assert len(list(gate.books.tend())) == 2_000


async def test_upkeep_goes_on_after_it_failed(home, monkeypatch):
    async with linked(home) as (_control, gate):
        calls = []
        monkeypatch.setattr("jackstop.gate.link._TICK_S", 0.01)
        monkeypatch.setattr("jackstop.gate.link._TICKS_PER_TEND", 1)
        monkeypatch.setattr(gate.books, "tend", lambda: calls.append(1) or 1 // 0)
        await until(lambda: len(calls) > 2)


async def test_a_recall_is_answered_also_for_what_is_not_held(home):
    async with linked(home) as (control, _gate):
        await control.accept()
        control.say(WELCOME, Changes(1, [BUDGET]), Granted(1, 1, 11, 500), Recall(1, 1, 100, 5), Recall(9, 1, 100, 6))
        assert await control.hear() == Returned(1, 1, 11, 250, 5)
        assert await control.hear() == Returned(9, 1, 0, 0, 6)
