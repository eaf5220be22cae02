"""Hands out leases: grants what is left, calls back what others hold idle, and says when there is no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from sqlalchemy import Connection

from jackstop.clock import US_PER_S, Clock
from jackstop.control.protocol import Granted, Message, Need, Recall, Returned
from jackstop.control.scribe import Scribe
from jackstop.keys.policy import LimitRow
from jackstop.ledger import leases as ledger
from jackstop.ledger.ramp import Ramp
from jackstop.ledger.slices import Budget, Concurrency, Gauge, Rate, limit_of
from jackstop.settings import Settings
from jackstop.store.feed import Feed

RECALL_TIMEOUT_S = 0.15


class Peer(Protocol):
    """A gate process that is connected."""

    instance: str

    def send(self, message: Message) -> None: ...


class Lender:
    """Answers Need and Returned. One question per limit and window at a time, so that recalls do not cross."""

    def __init__(self, scribe: Scribe, feed: Feed, settings: Settings, clock: Clock) -> None:
        self._scribe = scribe
        self._feed = feed
        self._settings = settings
        self._clock = clock
        self.peers: dict[str, Peer] = {}
        self.unresolved: set[str] = set()
        self.frozen = False
        self.latest_us = 0
        self.exhausted: set[tuple[int, int]] = set()
        """Limits and windows in which nothing more was to be had, since somebody took this set."""
        self._limits: dict[int, LimitRow] = {}
        self._pools: dict[int, Gauge] = {}
        self._shares: dict[int, dict[str, int]] = {}
        self._locks: dict[tuple[int, int], tuple[asyncio.Lock, int]] = {}
        self._recalls: dict[int, asyncio.Future[Returned]] = {}
        self._numbers = count(1)

    # -- limits and gauges --------------------------------------------------------------------------------------

    def know(self, row: LimitRow) -> None:
        """Follow a limit's row, once it matters here. A rate or concurrency starts whole, less what gates hold."""
        old = self._limits.get(row.id)
        self._limits[row.id] = row
        if row.kind not in ("rate", "concurrency"):
            return
        pool, now_us = self._pools.get(row.id), self._clock.now_us()
        if pool is None or old is None:
            made = limit_of(row)
            assert not isinstance(made, Budget)
            pool = self._pools[row.id] = made
            level = pool.price * row.amount if isinstance(pool, Rate) else row.amount
            pool.grow(row.amount - sum(self._shares.get(row.id, {}).values()), level, now_us)
        else:
            more = row.amount - old.amount
            pool.grow(more, max(0, more) if isinstance(pool, Ramp) else 0, now_us)
            pool.row = row

    def follow(self, row: LimitRow) -> None:
        """A limit changed; only those already asked for are known here."""
        if row.id in self._limits:
            self.know(row)

    def adopt_shares(self, instance: str, shares: list[tuple[int, int]]) -> None:
        """A gate came (back): what it holds of rates and concurrency is its word."""
        self.drop_shares(instance)
        for limit_id, share in shares:
            self._shares.setdefault(limit_id, {})[instance] = share
            pool = self._pools.get(limit_id)
            if pool is not None:
                pool.grow(-share, 0, self._clock.now_us())

    def drop_shares(self, instance: str) -> None:
        """A gate is dead: its shares are free again, its part of a rate's bucket empty."""
        for limit_id, holders in self._shares.items():
            share = holders.pop(instance, 0)
            if share and limit_id in self._pools:
                self._pools[limit_id].grow(share, 0, self._clock.now_us())

    # -- asking -------------------------------------------------------------------------------------------------

    async def need(self, peer: Peer, message: Need) -> None:
        """Answer one Need with one Granted, whatever happens: the gate asks nothing more of a limit until then."""
        try:
            await self._need(peer, message)
        except Exception:
            peer.send(Granted(message.limit_id, message.window_us, 0, 0, exhausted=True, unknown=True))
            raise

    async def _need(self, peer: Peer, message: Need) -> None:
        limit_id = message.limit_id
        if message.window_us:
            await self._one_at_a_time((limit_id, message.window_us), lambda: self._need_budget(peer, message))
            return
        row = self._limits.get(limit_id) or await self._look_up(limit_id)
        if row is None or row.deleted or limit_id not in self._pools:
            peer.send(Granted(limit_id, 0, 0, 0, exhausted=True, unknown=True))
        else:
            await self._one_at_a_time((limit_id, 0), lambda: self._need_gauge(peer, row, message.amount))

    async def _look_up(self, limit_id: int) -> LimitRow | None:
        row = await self._scribe.do(lambda conn: self._feed.limit(conn, limit_id))
        if row is not None and limit_id not in self._limits:
            self.know(row)
        return self._limits.get(limit_id)

    async def _one_at_a_time(self, name: tuple[int, int], act: Callable[[], Awaitable[None]]) -> None:
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                await act()
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)

    async def _need_budget(self, peer: Peer, message: Need) -> None:
        granted = await self._grant(peer, message, final=False)
        unknown, held = granted.frozen, 0
        if granted.lacking and granted.holders:
            silent, held = await self._recall(
                message.limit_id, message.window_us, granted.lacking, granted.holders, peer.instance
            )
            granted = await self._grant(peer, message, final=True)
            unknown = granted.frozen or silent
        exhausted = bool(granted.lacking)
        if exhausted and not unknown:
            self.exhausted.add((message.limit_id, message.window_us))
        peer.send(
            Granted(
                message.limit_id,
                message.window_us,
                granted.lease_id,
                granted.amount,
                exhausted=exhausted,
                unknown=exhausted and unknown,
                over=granted.over,
                left=granted.left,
                held=held,
            )
        )

    async def _grant(self, peer: Peer, message: Need, *, final: bool) -> ledger.Grant:
        # A window that was once seen to be over stays so, whatever the clock says later.
        self.latest_us = max(self.latest_us, self._clock.now_us())
        opening = ledger.Opening(self.latest_us, self._settings.ledger.outage_window_s * US_PER_S, frozen=self.frozen)

        def act(conn: Connection) -> ledger.Grant:
            row = self._feed.limit(conn, message.limit_id)
            if row is None or row.deleted:
                return ledger.Grant(0, 0, max(1, message.amount), frozen=True)
            if not self._is_here(peer):
                return ledger.Grant(0, 0, message.amount)
            return ledger.grant(
                conn,
                row.id,
                message.window_us,
                peer.instance,
                need=message.amount,
                want=message.want,
                least=message.least,
                processes=max(1, len(self.peers)),
                observed=row.mode == "observe",
                opening=opening,
                final=final,
            )

        return await self._scribe.do(act)

    def _is_here(self, peer: Peer) -> bool:
        """Whether this connection still stands: nothing may be granted to a process that is dead or greets anew."""
        return self.peers.get(peer.instance) is peer

    async def _recall(
        self, limit_id: int, window_us: int, amount: int, holders: tuple[str, ...], asker: str
    ) -> tuple[bool, int]:
        """Ask the holders for `amount`; whether one of them stayed silent, and what running requests hold there."""
        silent = False
        answers = []
        for instance in holders:
            if instance == asker:
                continue
            holder = self.peers.get(instance)
            if holder is None:
                silent = True
                continue
            answers.append(self._ask_back(holder, limit_id, window_us, amount))
        held = 0
        for answered in await asyncio.gather(*answers):
            silent = silent or answered is None
            held += 0 if answered is None else answered.held
        return silent, held

    async def _ask_back(self, holder: Peer, limit_id: int, window_us: int, amount: int) -> Returned | None:
        number = next(self._numbers)
        future: asyncio.Future[Returned] = asyncio.get_running_loop().create_future()
        self._recalls[number] = future
        holder.send(Recall(limit_id, window_us, amount, number))
        try:
            return await asyncio.wait_for(future, RECALL_TIMEOUT_S)
        except TimeoutError:
            return None
        finally:
            del self._recalls[number]

    async def returned(self, peer: Peer, message: Returned) -> None:
        """Take back what a gate gave, and tell whoever recalled it, whose next grant comes after this in the store."""
        booked: asyncio.Future[None] | None = None
        pool = self._pools.get(message.limit_id)
        if pool is not None:
            holders = self._shares.setdefault(message.limit_id, {})
            given = min(message.amount, holders.get(peer.instance, 0))
            holders[peer.instance] = holders.get(peer.instance, 0) - given
            pool.grow(given, message.level, self._clock.now_us())
            if message.level > 0 and not given and pool.share <= 0:
                self._pass_on(peer, message)
        elif message.amount:
            booked = self._scribe.give(lambda conn: ledger.change(conn, message.lease_id, total=-message.amount))
        waiting = self._recalls.get(message.recall_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        if booked is not None:
            await booked

    def _pass_on(self, peer: Peer, message: Returned) -> None:
        """A hold gave back what belongs to a share that has moved on: to the gate that has most of it now."""
        holders = self._shares.get(message.limit_id, {})
        most = max((name for name in holders if name != peer.instance), key=lambda name: holders[name], default="")
        if (holder := self.peers.get(most)) is not None and holders[most]:
            holder.send(Granted(message.limit_id, 0, 0, 0, level=message.level))

    async def _need_gauge(self, peer: Peer, row: LimitRow, lacking: int) -> None:
        pool = self._pools[row.id]
        if self.unresolved:
            peer.send(Granted(row.id, 0, 0, 0, exhausted=True, unknown=True))
            return
        silent, elsewhere = False, 0
        if not self._worth_giving(pool, lacking):
            holders = tuple(instance for instance, share in self._shares.get(row.id, {}).items() if share)
            wanted = lacking - max(0, pool.level // pool.price) if isinstance(pool, Ramp) else 1
            silent, elsewhere = await self._recall(row.id, 0, wanted, holders, peer.instance)
        amount, level = self._part_with(pool) if self._is_here(peer) else (0, 0)
        if amount:
            held = self._shares.setdefault(row.id, {})
            held[peer.instance] = held.get(peer.instance, 0) + amount
        unknown = silent and (not amount or isinstance(pool, Ramp))
        peer.send(Granted(row.id, 0, 0, amount, exhausted=True, unknown=unknown, level=level, held=elsewhere))

    def _worth_giving(self, pool: Gauge, lacking: int) -> bool:
        now_us = self._clock.now_us()
        if isinstance(pool, Ramp):
            return pool.share > 0 and (pool.has(now_us, lacking) or pool.whole)
        return pool.share > 0 and (isinstance(pool, Concurrency) or pool.has(now_us, 0))

    def _part_with(self, pool: Gauge) -> tuple[int, int]:
        """Everything that nobody holds; a share whose bucket is empty is still a share that refills."""
        return pool.part_with_all(self._clock.now_us()) if pool.share > 0 else (0, 0)
