"""Reserve: the request's bound over every limit on its path; a second look before a budget refuses; no sockets here."""

from __future__ import annotations

import asyncio

from jackstop.errors import Refused
from jackstop.gate.admission import Admitted
from jackstop.gate.context import Gate, note
from jackstop.gate.record import NAME_CHARS
from jackstop.keys.format import masked
from jackstop.ledger import bounds, tokenizer
from jackstop.ledger.books import Hold, HoldContext, Short

MAX_COUNTING = 16
"""Exact counts that run or wait at the same time; beyond it a request is refused without one."""
_FAILED = Refused("journal", "the gate could not hold the money for this request", retry_after_s=2)
_TIGHT = 16
"""A hold that fits fewer times than this into what is left may leave no room to others: its input is counted first."""
_COUNTED_FROM = 4_096
"""From this bound in tokens on; a shorter input is not worth the count."""


class Reserve:
    """One request's way to its hold: `now`, and where that is short, `later`.

    `_exact` is the exact count of the input, once there is one; `_counts_first` says that it has to come before a hold.
    `_got` is what `now` answered. Few requests need these, so they are the class's until one does.
    """

    _exact: int | None = None
    _counts_first = False
    _got: Hold | Short | Refused = Short(())

    def __init__(self, gate: Gate, admitted: Admitted, ts_us: int) -> None:
        opening, ask, registry = admitted.opening, admitted.ask, gate.registry
        entry, credential, provider = opening.entry, opening.credential, opening.route.provider
        self._gate = gate
        self._admitted = admitted
        self._ask = ask
        self._provider = provider
        self._ts_us = ts_us
        self._path = registry.path(entry, credential)
        self._gap = registry.gap(provider, ask.model, ask.feature)
        self._context = HoldContext(entry.row.id, provider, masked(ask.model)[:NAME_CHARS], credential.name, ts_us)

    def now(self) -> Hold | Short | Refused:
        """Take the hold if it can be had at once; Short where waiting, or a second look, may still bring one."""
        try:
            bound = self._bound(self._admitted.cap)
            if isinstance(bound, Refused):
                self._got = bound
            elif self._ask.input_bound >= _COUNTED_FROM and self._is_coarse(bound):
                self._counts_first = True
            else:
                self._got = self._gate.books.reserve(self._path, bound.nusd, bound.tokens, self._context)
        except Exception as error:
            note("a hold failed", error)
            self._got = _FAILED
        return self._got

    async def later(self) -> Hold | Refused:
        """Wait for a lease, then look twice at what a budget refused."""
        try:
            return await self._later()
        except Exception as error:
            note("a hold failed", error)
            return _FAILED

    def _is_coarse(self, bound: bounds.Bound) -> bool:
        """Whether a bound by bytes would take so much of what is left that others may not fit beside it."""
        left = self._gate.books.left(self._path)
        return left is not None and bound.nusd * _TIGHT > left

    async def _later(self) -> Hold | Refused:
        got = self._got
        if self._counts_first:
            self._exact = await self._count()
            got = await self._reserve(self._admitted.cap)
        elif isinstance(got, Short):
            bound = self._bound(self._admitted.cap)
            if isinstance(bound, Refused):
                return bound
            got = await self._gate.books.wait(self._path, bound.nusd, bound.tokens, self._context)
        if isinstance(got, Refused) and _is_short(got) and (self._ask.has_output or self._ask.input_bound):
            got = await self._second_look(got)
        return got

    def _bound(self, cap: int) -> bounds.Bound | Refused:
        return bounds.bound(
            self._provider,
            self._ask,
            cap,
            self._ts_us,
            gap=self._gap,
            exact_input=self._exact,
            settings=self._gate.settings.ledger,
        )

    async def _reserve(self, cap: int) -> Hold | Refused:
        bound = self._bound(cap)
        if isinstance(bound, Refused):
            return bound
        got = self._gate.books.reserve(self._path, bound.nusd, bound.tokens, self._context)
        if isinstance(got, Short):
            return await self._gate.books.wait(self._path, bound.nusd, bound.tokens, self._context)
        return got

    async def _second_look(self, refused: Refused) -> Hold | Refused:
        """Count the input exactly; then, where the policy says so, lower the cap to what is left."""
        admitted = self._admitted
        before = self._bound(admitted.cap)
        if not self._counts_first:
            self._exact = await self._count()
        after = self._bound(admitted.cap)
        if isinstance(before, Refused) or isinstance(after, Refused):
            return refused
        if after.nusd < before.nusd or after.tokens < before.tokens:
            got = await self._reserve(admitted.cap)
            if isinstance(got, Hold) or not _is_short(got):
                return got
            refused = got
        left = self._gate.books.left(self._path) or 0
        fits = bounds.fitting_cap(self._provider, self._ask, left, self._ts_us, gap=self._gap, exact_input=self._exact)
        clamps = admitted.opening.rules.policy.clamp or self._gate.settings.ledger.clamp
        if clamps and fits is not None and fits < admitted.cap:
            lowered = self._lowered(fits, left)
            got = await self._reserve(lowered)
            if isinstance(got, Hold):
                admitted.cap = lowered
                admitted.write_cap = True
            return got
        if fits is not None and fits < admitted.cap and refused.details.get("kind") == "usd":
            return Refused(
                refused.reason,
                f"{refused.message}; an output cap of at most {fits} tokens would fit",
                details={**refused.details, "fitting_cap": fits},
            )
        return refused

    def _lowered(self, fits: int, left: int) -> int:
        """A cap that leaves something to the requests beside this one: of half of what is left, or a usual one."""
        half = bounds.fitting_cap(
            self._provider, self._ask, left // 2, self._ts_us, gap=self._gap, exact_input=self._exact
        )
        return min(fits, max(half or 0, self._gate.settings.ledger.default_max_output))

    async def _count(self) -> int | None:
        gate, meter = self._gate, self._admitted.opening.route.meter
        if meter is None or gate.counting >= MAX_COUNTING:
            return None
        gate.counting += 1
        try:
            texts = meter.texts(self._ask.document)
            return await asyncio.get_running_loop().run_in_executor(
                gate.count_thread, tokenizer.exact_input, texts, self._provider, self._ask.model
            )
        except Exception as error:
            note("an exact count failed", error)
            return None
        finally:
            gate.counting -= 1


def _is_short(refused: Refused) -> bool:
    """Whether what a budget has left is too little, the rest spent or held: no other refusal here has details."""
    return bool(refused.details)
