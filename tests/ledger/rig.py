"""A node without processes: control's lender and booking over a real store, and any number of gates' books."""

import asyncio
import itertools

from sqlalchemy import insert, select

from jackstop.cases import intake
from jackstop.cases.turn import SYSTEM, enter
from jackstop.clock import ManualClock
from jackstop.control.lender import Lender
from jackstop.control.protocol import Granted, Need, Recall, Returned
from jackstop.control.scribe import Scribe
from jackstop.events.schema import Event
from jackstop.gate.journal import Journal
from jackstop.keys.policy import LimitRow
from jackstop.ledger import leases as ledger
from jackstop.ledger.booking import Tail
from jackstop.ledger.books import Books, HoldContext, Short
from jackstop.ledger.slices import Path, limit_of
from jackstop.settings import Settings
from jackstop.store.tables import instances, limits, windows

NOON = 1_790_000_000_000_000
_numbers = itertools.count()


class OneFeed:
    """Looks limits up as control's feed does, from the rows of the rig."""

    def __init__(self, rows):
        self.rows = rows

    def limit(self, conn, limit_id):
        return self.rows.get(limit_id)


class Gate:
    """One gate's books, wired to the lender without a socket; `silent` swallows recalls as a stopped process does."""

    def __init__(self, rig, segment_bytes=1 << 20):
        self.rig = rig
        self.instance = f"g{next(_numbers)}"
        self.journal = Journal(rig.root, self.instance, segment_bytes, 50, rig.clock)
        self.journal.open(0)
        self.books = Books(self.journal, rig.settings, rig.clock)
        self.limits = {}
        self.silent = False
        self.tasks = set()
        for row in rig.rows.values():
            self.limits[row.id] = limit_of(row)
            self.books.adopt(row.id, self.limits[row.id])
        self.books.connected(self.to_control)

    def send(self, message):
        if self.silent:
            return
        if isinstance(message, Granted):
            self.books.granted(message)
        elif isinstance(message, Recall):
            self.books.recalled(message)

    def to_control(self, message):
        work = self.rig.lender.need if isinstance(message, Need) else self.rig.lender.returned
        assert isinstance(message, (Need, Returned))
        task = asyncio.ensure_future(work(self, message))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    def path(self, *limit_ids):
        return Path([self.limits[limit_id] for limit_id in limit_ids])

    async def hold(self, path, nusd, tokens=1):
        context = HoldContext("key", "openai", "gpt-4o-mini", "main", self.rig.clock.now_us())
        answer = self.books.reserve(path, nusd, tokens, context)
        return await self.books.wait(path, nusd, tokens, context) if isinstance(answer, Short) else answer

    def settle(self, hold, nusd, tokens=1, **columns):
        event = Event(ts=self.rig.clock.now_us(), key_id="key", cost_nusd=nusd, hold_nusd=hold.nusd, **columns)
        self.books.settle(hold, event, nusd, tokens)


class Rig:
    """Control's half."""

    def __init__(self, store, root, rows, settings=None, clock=None):
        self.store, self.root = store, root
        self.clock = clock or ManualClock(NOON)
        self.settings = settings or Settings()
        self.rows = {row.id: row for row in rows}
        with store.begin() as conn:
            for row in rows:
                values = {"id": row.id, "scope": row.scope, "kind": row.kind, "amount": row.amount}
                values |= {"window": row.window, "per_s": row.per_s, "mode": row.mode, "seq": store.next_seq(conn)}
                conn.execute(insert(limits).values(**values))
        self.scribe = Scribe(store)
        self.lender = Lender(self.scribe, OneFeed(self.rows), self.settings, self.clock)
        self.gates = []
        self.tails = {}

    async def __aenter__(self):
        self.scribe.start()
        return self

    async def __aexit__(self, *error):
        for gate in self.gates:
            while gate.tasks:
                await asyncio.gather(*gate.tasks, return_exceptions=True)
        await asyncio.to_thread(self.scribe.stop)

    def gate(self, **options):
        gate = Gate(self, **options)
        with self.store.begin() as conn:
            conn.execute(insert(instances).values(id=gate.instance, state="live", started_us=0))
        self.lender.peers[gate.instance] = gate
        self.gates.append(gate)
        return gate

    async def book(self):
        for gate in self.gates:
            tail = self.tails.setdefault(gate.instance, Tail(self.root, gate.instance, self.report))
            while (await self.scribe.do(lambda conn, tail=tail: tail.book(conn, self.store))).records:
                pass

    def report(self, conn, finding):
        intake.take(enter(conn, self.store, Settings(), self.clock.now_us(), SYSTEM), [finding])

    async def bury(self, gate):
        """The process is gone; its folder is all that is left."""
        del self.lender.peers[gate.instance]
        self.gates.remove(gate)
        self.tails.pop(gate.instance, None)
        await self.scribe.do(
            lambda conn: Tail(self.root, gate.instance, self.report).recover(conn, self.store, self.clock)
        )
        self.lender.drop_shares(gate.instance)

    def books_of(self, limit_id):
        with self.store.begin() as conn:
            return conn.execute(select(windows).where(windows.c.limit_id == limit_id)).all()

    def reconcile(self, gate):
        with self.store.begin() as conn:
            ledger.reconcile(conn, gate.instance)


def usd(limit_id, amount, scope="org", window="day", mode="enforce"):
    return LimitRow(limit_id, scope, "usd", amount, window, mode=mode)
