"""The books of one gate process: holds against what it has leased, and the asking for more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from jackstop.clock import US_PER_S, Clock
from jackstop.control.protocol import Granted, Message, Need, Recall, Returned
from jackstop.errors import ANYONE, Refused
from jackstop.events.schema import Event
from jackstop.gate.journal import Flooded, Held, Journal, JournalFull, Leased, Recorded
from jackstop.ledger import windows
from jackstop.ledger.ramp import Ramp
from jackstop.ledger.slices import Budget, Gauge, Limit, Path, Slice, queues, shares
from jackstop.ledger.waiting import Presence, Waiter, budget_refusal, gauge_refusal
from jackstop.settings import Settings

MAX_FLOOD_NETWORKS = 1024
"""Networks counted apart in one second; the rest share one count."""
EXHAUSTED_QUIET_US = 20_000
"""How long the answer that a rate or concurrency is used up spares control the same question."""

_NO_ROOM = Refused("journal", "the gate's journal has no room; try again shortly", retry_after_s=2)


class HoldContext(msgspec.Struct, gc=False):
    """What a hold is for; written into the journal beside it."""

    key_id: str
    provider: str
    model: str
    credential: str
    ts_us: int


class Hold(msgspec.Struct, eq=False):
    """Money (and tokens, requests, permits) taken from every limit on a path, until settled or released."""

    nusd: int
    tokens: int
    position: tuple[int, int]
    parts: list[tuple[Slice, int]]
    gauges: tuple[Gauge, ...] = ()
    would_refuse: str | None = None
    marker: str = ""
    open: bool = True


class Short(NamedTuple):
    """What is leased here of these does not suffice; `wait` may get more from control."""

    lacking: tuple[Slice | Gauge, ...]


class Sender(Protocol):
    """The way to control; False when control is away."""

    def __call__(self, message: Message) -> bool: ...


def _nowhere(message: Message) -> bool:  # noqa: ARG001 -- a Sender for the time without control
    return False


class Books:
    """Reserve, settle, release. Nothing here blocks; only `wait` waits."""

    def __init__(self, journal: Journal, settings: Settings, clock: Clock) -> None:
        self._journal = journal
        self._settings = settings
        self._clock = clock
        self._send: Sender = _nowhere
        self._presence = Presence(clock)
        self._limits: dict[int, Limit] = {}
        # Requests in `wait`. While there are none, nobody stands in any line.
        self._waiting = 0
        self._contact = settings.responses.contact or ANYONE
        self._floods: dict[str, int] = {}
        self._flood_second = 0

    # -- the request path ---------------------------------------------------------------------------------------

    def reserve(
        self, path: Path, nusd: int, tokens: int, context: HoldContext, waiter: Waiter | None = None
    ) -> Hold | Short | Refused:
        """Take one hold over every limit of the path in one step, already in the journal when it is returned."""
        now = self._clock.now_us()
        charge = nusd, tokens, 1
        observed: str | None = None
        marker = ""
        lacking: list[Slice | Gauge] = []
        gauges = path.gauges
        for gauge in gauges:
            if gauge.has(now, nusd) and (not gauge.waiters or gauge.waiters[0] is waiter):
                continue
            enforces = gauge.row.mode == "enforce"
            if now - gauge.exhausted_us < EXHAUSTED_QUIET_US:
                refusal = gauge_refusal(gauge, nusd, self._contact)
                if enforces:
                    return refusal
                observed, marker = refusal.reason, marker or refusal.marker
                # What would have been refused takes nothing: the others are judged as if it had been.
                gauges = tuple([each for each in gauges if each is not gauge])
            elif enforces or not (self._send is _nowhere or (waiter is not None and waiter.late)):
                lacking.append(gauge)
        parts = []
        on = []
        for budget in path.budgets:
            need = charge[budget.index]
            if not need:
                continue
            piece = budget.current
            if piece is None or not piece.window_us <= now < piece.end_us:
                piece = budget.at(now)
            if piece.free < need or (self._waiting and piece.waiters and piece.waiters[0] is not waiter):
                lacking.append(piece)
            parts.append((piece, need))
            on.append((piece.lease_id, need))
        if lacking:
            return Short(tuple(lacking))
        try:
            position = self._journal.hold(
                Held(now, context.key_id, nusd, tokens, on, context.provider, context.model, context.credential)
            )
        except JournalFull:
            return _NO_ROOM
        for piece, need in parts:
            free = piece.free = piece.free - need
            piece.taken += need
            piece.held += need
            piece.last_used_us = now
            if piece.over:
                observed = "budget"
            if free < piece.low:
                piece.low = 0
                self._need(piece, 0, self._target(piece) - free)
        for gauge in gauges:
            gauge.take(nusd)
        return Hold(nusd, tokens, position, parts, gauges, observed, marker)

    async def wait(self, path: Path, nusd: int, tokens: int, context: HoldContext) -> Hold | Refused:
        """Ask control for what is missing; at most `lease_wait_ms` from when it can hear, in a bounded queue."""
        gate = self._settings.gate
        if self._waiting >= gate.lease_queue:
            return Refused("lease", "too many requests wait for a lease", retry_after_s=1)
        if not self._journal.has_room():
            return _NO_ROOM
        waiter = Waiter(path, (nusd, tokens, 1), context, asyncio.get_running_loop().create_future())
        self._waiting += 1
        try:
            self._try(waiter)
            await self._presence.wait_for(waiter.future, gate.lease_wait_ms)
            if waiter.future.done():
                return waiter.future.result()
            waiter.late = True
            answer = self.reserve(path, nusd, tokens, context, waiter)
            if isinstance(answer, Hold):
                return answer
            return Refused("lease", "the budget's next lease did not come in time", retry_after_s=1)
        except asyncio.CancelledError:
            self._undo(waiter)
            raise
        finally:
            self._waiting -= 1
            self._leave(waiter)

    def _undo(self, waiter: Waiter) -> None:
        """A waiter whose client left just as its hold was taken gives the hold back."""
        if waiter.future.done() and not waiter.future.cancelled():
            answer = waiter.future.result()
            if isinstance(answer, Hold):
                self.release(answer, Event(ts=waiter.context.ts_us, key_id=waiter.context.key_id, outcome="cancelled"))

    def _leave(self, waiter: Waiter) -> None:
        self._serve(self._dismiss(waiter))

    def _try(self, waiter: Waiter) -> list[Slice | Gauge]:
        """Let a waiter in if its whole path fits, else have it stand in line just where it lacks.

        Returns the limits whose lines it left. Who lacks one limit does not hold up others at another.
        """
        nusd, tokens, _ = waiter.charge
        answer = self.reserve(waiter.path, nusd, tokens, waiter.context, waiter)
        lacking = answer.lacking if isinstance(answer, Short) else ()
        before, waiter.limits = waiter.limits, lacking
        left = [limit for limit in before if limit not in lacking]
        for limit in left:
            limit.waiters.remove(waiter)
        for limit in lacking:
            if limit not in before:
                limit.waiters.append(waiter)
                self._ask(limit)
        if not isinstance(answer, Short):
            waiter.future.set_result(answer)
        return left

    def _serve(self, limits: Iterable[Slice | Gauge]) -> None:
        """Let in every first waiter whose whole path fits, then ask control for what still lacks."""
        lines = deque(limits)
        while lines:
            limit = lines.popleft()
            while limit.waiters:
                waiter = limit.waiters[0]
                if waiter.future.done():
                    lines.extend(self._dismiss(waiter))
                    continue
                lines.extend(self._try(waiter))
                if limit in waiter.limits:
                    break
            if limit.waiters:
                self._ask(limit)

    def _dismiss(self, waiter: Waiter, answer: Refused | None = None) -> tuple[Slice | Gauge, ...]:
        """Take a waiter out of every line, with its answer if it has none yet; returns the limits."""
        left, waiter.limits = waiter.limits, ()
        for limit in left:
            limit.waiters.remove(waiter)
        if answer is not None:
            waiter.future.set_result(answer)
        return left

    def _ask(self, limit: Slice | Gauge) -> None:
        if limit.asking:
            return
        if isinstance(limit, Slice):
            charges = [waiter.charge[limit.index] for waiter in limit.waiters]
            lacking = sum(charges) - limit.free
            if lacking <= 0:
                return
            # Of a limit whose use is not known yet, one such request a second is expected.
            first = charges[0] * self._settings.ledger.outage_window_s
            want = max(lacking, first, self._target(limit) - limit.free)
            self._need(limit, lacking, want, max(1, min(charges) - limit.free))
        elif not limit.has(self._clock.now_us(), need := limit.waiters[0].charge[0]):
            limit.asking = self._send(Need(limit.row.id, 0, limit.lacks(need), limit.row.amount))

    def _target(self, piece: Slice) -> int:
        """What an outage of control would take at the present rate of use."""
        return max(piece.per_s, piece.taken) * self._settings.ledger.outage_window_s

    def release(self, hold: Hold, event: Event) -> None:
        """Write the event and free the whole hold: the provider charges nothing."""
        self.settle(hold, event, 0, 0, 0)

    def settle(self, hold: Hold, event: Event, nusd: int, tokens: int, requests: int = 1) -> None:
        """Write the event and free the rest of the hold. More than was held is booked as well."""
        if not hold.open:
            raise AssertionError("a hold can be ended only once")
        hold.open = False
        actual = nusd, tokens, requests
        parts = hold.parts
        settled = [(piece.lease_id, actual[piece.index]) for piece, _ in parts]
        self._journal.event(Recorded(event, hold.position, settled, event.estimated))
        for piece, held in parts:
            piece.free += held - actual[piece.index]
            piece.held -= held
        for gauge in hold.gauges:
            if beyond := gauge.give(hold.nusd, nusd):
                self._send(Returned(gauge.row.id, 0, 0, 0, level=beyond))
        if self._waiting:
            self._serve([limit for limit in (*(piece for piece, _ in parts), *hold.gauges) if limit.waiters])

    def record(self, event: Event) -> None:
        """Write an event without a hold: a refusal. A full journal drops it rather than the room of open holds."""
        try:
            self._journal.event(Recorded(event))
        except JournalFull:
            self.flood("journal-full")

    def flood(self, net: str) -> None:
        """Count one request with an unknown key from this network."""
        second = self._clock.now_us() // US_PER_S
        if second != self._flood_second:
            self._write_floods()
            self._flood_second = second
        if net not in self._floods and len(self._floods) >= MAX_FLOOD_NETWORKS:
            net = "other"
        self._floods[net] = self._floods.get(net, 0) + 1

    def _write_floods(self) -> None:
        floods, self._floods = self._floods, {}
        for net, count in floods.items():
            if not self._journal.has_room():
                return
            self._journal.append(Flooded(self._flood_second * US_PER_S, net, count))

    def left(self, path: Path) -> int | None:
        """Nano-dollars still to be held on the tightest dollar budget, as far as this process knows; None without."""
        now = self._clock.now_us()
        pieces = [budget.at(now) for budget in path.budgets if budget.index == 0 and budget.row.mode == "enforce"]
        return max(0, min(piece.free + piece.left for piece in pieces)) if pieces else None

    # -- control ------------------------------------------------------------------------------------------------

    def limit(self, limit_id: int) -> Limit | None:
        return self._limits.get(limit_id)

    def adopt(self, limit_id: int, limit: Limit) -> None:
        """Know a limit under its number."""
        self._limits[limit_id] = limit

    def forget(self, limit_id: int) -> None:
        """An idle limit's key is not in use any more: give back its share, and know it no more."""
        self.retire(limit_id)
        self._limits.pop(limit_id, None)

    def retire(self, limit_id: int) -> None:
        """A limit was deleted: give back what is free of it; its open holds end on it as they are."""
        limit = self._limits.get(limit_id)
        if isinstance(limit, Budget):
            for piece in limit.slices.values():
                if piece.free > 0 and piece.lease_id:
                    self._give_back(piece, piece.free)
                piece.end_us = 0
        elif limit is not None:
            share, level = limit.part_with_all(self._clock.now_us())
            self._send(Returned(limit_id, 0, 0, share, level=level))

    def leave(self) -> None:
        """This process ends: what it has of rates and concurrency is for its successors."""
        for number, limit in self._limits.items():
            if not isinstance(limit, Budget) and limit.share:
                self.retire(number)

    def connected(self, send: Sender) -> None:
        """Control is there: ask again for whatever waits."""
        self._send = send
        self._presence.came()
        for limit in queues(self._limits):
            limit.asking = False
            if limit.waiters:
                self._ask(limit)

    def disconnected(self) -> None:
        """Control is away: whom only an observed limit held up need not wait for it."""
        self._send = _nowhere
        self._presence.went()
        self._serve([limit for limit in queues(self._limits) if limit.waiters])

    def shares(self) -> list[tuple[int, int]]:
        """Shares of rates and concurrency by limit, for the greeting to control."""
        return shares(self._limits)

    @property
    def end(self) -> tuple[int, int]:
        """What the journal has reached."""
        return self._journal.end

    def granted(self, message: Granted) -> None:
        """Take in what control gave, and serve who waits; refuse those for whom there is nothing more."""
        limit = self._limits.get(message.limit_id)
        now = self._clock.now_us()
        target: Slice | Gauge
        if limit is None:
            back = Returned(message.limit_id, message.window_us, message.lease_id, message.amount, level=message.level)
            self._send(back)
            return
        if isinstance(limit, Budget):
            target = self._grown(limit, message)
        else:
            limit.grow(message.amount, message.level, now)
            target = limit
            if message.exhausted:
                self._heard_all_of(limit, message, now)
        target.asking = False
        self._serve_exhausted(target, message) if message.exhausted else self._serve([target])

    def _heard_all_of(self, gauge: Gauge, message: Granted, now: int) -> None:
        """This is all there is of a rate or concurrency: whom it does not suffice need not ask again at once."""
        if isinstance(gauge, Ramp):
            gauge.elsewhere = message.held
        least = gauge.waiters[0].charge[0] if gauge.waiters else 1
        if not message.unknown and not gauge.has(now, least):
            gauge.exhausted_us = now

    def _grown(self, budget: Budget, message: Granted) -> Slice:
        end = windows.bounds(budget.row.window, message.window_us)[1]
        piece = budget.opened(message.window_us, end)
        piece.lease_id = message.lease_id or piece.lease_id
        piece.over = message.over
        piece.left = message.left
        piece.scarce = message.amount < piece.wanted
        if message.amount and not self._journal.has_room():
            # What room there is belongs to the events of open holds; unwritten, the lease is not used.
            self._send(Returned(message.limit_id, message.window_us, message.lease_id, message.amount))
        elif message.amount:
            self._journal.append(Leased(piece.lease_id, message.limit_id, message.window_us, message.amount))
            piece.total += message.amount
            piece.free += message.amount
        piece.low = piece.free // 2
        return piece

    def _serve_exhausted(self, target: Slice | Gauge, message: Granted) -> None:
        """Serve whoever fits what there is, in order; who does not has the answer."""
        now = self._clock.now_us()
        later: list[Slice | Gauge] = [target]
        for waiter in list(target.waiters):
            if waiter.future.done() or target not in waiter.limits:
                continue
            if isinstance(target, Slice):
                need = waiter.charge[target.index]
                # Control keeps what is too little for the least of those for whom it was asked.
                fits = need <= target.free
                may_yet = fits or need <= target.free + message.left or waiter not in target.asked
                refusal = budget_refusal(target, need, message)
            else:
                need = waiter.charge[0]
                fits = may_yet = target.has(now, need)
                refusal = gauge_refusal(target, need, self._contact)
                if not fits and target.row.mode == "observe":
                    waiter.late = waiter.late or message.unknown
                    later += self._try(waiter)
                    continue
            if fits and target.waiters[0] is waiter:
                later += self._try(waiter)
            elif not may_yet:
                if message.unknown:
                    refusal = Refused("lease", "another process does not give its lease back", retry_after_s=1)
                later += self._dismiss(waiter, refusal)
        self._serve(later)

    def recalled(self, message: Recall) -> None:
        """Give back what is free: as much as was asked for, or half of it if that is more."""
        limit = self._limits.get(message.limit_id)
        answer = Returned(message.limit_id, message.window_us, 0, 0, message.recall_id)
        if isinstance(limit, Budget):
            piece = limit.slices.get(message.window_us)
            if piece is not None and piece.free > 0:
                self._give_back(piece, min(piece.free, max(message.amount, piece.free // 2)), message.recall_id)
                return
            answer.held = 0 if piece is None else piece.held
        elif limit is not None:
            answer.amount, answer.level = limit.part_with(self._clock.now_us(), message.amount)
            answer.held = limit.held if isinstance(limit, Ramp) else 0
        self._send(answer)

    def _give_back(self, piece: Slice, amount: int, recall_id: int = 0) -> None:
        limit_id = piece.budget.row.id
        # A return that nobody hears may stand behind the end to which control reads this journal at the greeting.
        if self._send is _nowhere or not self._journal.has_room():
            if recall_id:
                self._send(Returned(limit_id, piece.window_us, 0, 0, recall_id, held=piece.held))
            return
        self._journal.append(Leased(piece.lease_id, limit_id, piece.window_us, -amount))
        piece.free -= amount
        piece.total -= amount
        self._send(Returned(limit_id, piece.window_us, piece.lease_id, amount, recall_id, held=piece.held))

    # -- upkeep -------------------------------------------------------------------------------------------------

    def tend(self) -> Iterator[None]:
        """Once a second: measure use, ask ahead, open the next window's lease, return what is past or idle.

        A step for each limit; others may run in between.
        """
        now = self._clock.now_us()
        if self._floods and now // US_PER_S != self._flood_second:
            self._write_floods()
        for limit in list(self._limits.values()):
            if isinstance(limit, Budget):
                for piece in list(limit.slices.values()):
                    self._tend_slice(limit, piece, now)
            yield

    def _tend_slice(self, budget: Budget, piece: Slice, now: int) -> None:
        outage_us = self._settings.ledger.outage_window_s * US_PER_S
        piece.per_s = max(piece.taken, (7 * piece.per_s + piece.taken) // 8)
        piece.taken = 0
        if piece.free < 0:
            self._need(piece, -piece.free, -piece.free, 1)
        if now >= piece.end_us or now - piece.last_used_us > outage_us:
            if piece.free > 0 and piece.lease_id and not piece.waiters:
                self._give_back(piece, piece.free)
            if not piece.held and not piece.waiters and not piece.asking and not piece.free:
                budget.slices.pop(piece.window_us, None)
                if budget.current is piece:
                    budget.current = None
            return
        target = self._target(piece)
        # Where control has less than is wanted, `low` says when to ask again.
        if piece.free < target // 2 and not piece.scarce:
            self._need(piece, 0, target - piece.free)
        if piece.per_s and piece.end_us - now < outage_us and piece.end_us not in budget.slices:
            following = windows.bounds(budget.row.window, piece.end_us)
            upcoming = budget.opened(*following)
            upcoming.last_used_us = now
            self._need(upcoming, 0, target)

    def _need(self, piece: Slice, amount: int, want: int, least: int = 0) -> None:
        if not piece.asking:
            piece.wanted, piece.asked = want, tuple(piece.waiters) if amount else ()
            piece.asking = self._send(Need(piece.budget.row.id, piece.window_us, amount, want, least))
