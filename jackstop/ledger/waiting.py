"""Who waits for a lease, and what they are told when there is no more of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jackstop.clock import US_PER_S, Clock
from jackstop.control.protocol import Granted
from jackstop.errors import Refused
from jackstop.ledger.ramp import Ramp
from jackstop.ledger.slices import Gauge, Path, Rate, Slice
from jackstop.money import format_usd

if TYPE_CHECKING:
    from jackstop.ledger.books import Hold, HoldContext

RETURN_US = 5 * US_PER_S
"""How long after control went it may be expected back: a reload takes one second, a restart under load three."""


class Presence:
    """Whether control can hear a question: not while it is replaced, but then it is worth the wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals = 0
        self._gone_us: int | None = None

    def came(self) -> None:
        self._gone_us = None
        self._arrivals += 1

    def went(self) -> None:
        """Control is not there; said again, it is not there still."""
        if self._gone_us is None:
            self._gone_us = self._clock.boot_us()

    async def wait_for(self, answer: asyncio.Future[Hold | Refused], wait_ms: int) -> None:
        """Wait so long for an answer, and again where control came only meanwhile or is about to."""
        while wait_ms > 0 and not answer.done():
            arrivals = self._arrivals
            await asyncio.wait((answer,), timeout=wait_ms / 1000)
            if self._arrivals == arrivals and not self._is_expected():
                return

    def _is_expected(self) -> bool:
        return self._gone_us is not None and self._clock.boot_us() - self._gone_us < RETURN_US


class Waiter:
    """A request that waits for leases; it stands in the lines of `limits`, those that it lacks, and in no other.

    One that is `late` got no answer: limits that only observe do not hold it up any longer.
    """

    __slots__ = ("charge", "context", "future", "late", "limits", "path")

    def __init__(
        self, path: Path, charge: tuple[int, int, int], context: HoldContext, future: asyncio.Future[Hold | Refused]
    ) -> None:
        self.path = path
        self.charge = charge
        self.context = context
        self.future = future
        self.limits: tuple[Slice | Gauge, ...] = ()
        self.late = False


def budget_refusal(piece: Slice, need: int, answer: Granted) -> Refused:
    """There is less than `need` in this slice and, as control answered, elsewhere. `details` say so.

    Final only where it was spent: what running requests hold comes back as far as they do not use it.
    """
    row = piece.budget.row
    left = max(0, piece.free) + answer.left
    details: dict[str, int | str] = {"scope": row.scope, "kind": row.kind, "left": left, "need": need}
    if row.kind == "usd":
        text = f"{format_usd(left)} USD left of {format_usd(row.amount)}, this request may cost {format_usd(need)}"
    else:
        text = f"{left:,} {row.kind} left of {row.amount:,}, this request may take {need:,}"
    text = f"budget of {row.scope} per {row.window}: {text}"
    if need <= piece.free + answer.left + piece.held + answer.held:
        text += "; requests that are still running hold what is missing"
        return Refused("lease", text, retry_after_s=1, details=details)
    return Refused("budget", text, details=details)


def gauge_refusal(gauge: Gauge, nusd: int, contact: str) -> Refused:
    """A rate or concurrency is used up, for a request that may cost so much."""
    row = gauge.row
    if isinstance(gauge, Ramp):
        return _ramp_refusal(gauge, nusd, contact)
    if isinstance(gauge, Rate):
        wait_s = 1 if not gauge.share else max(1, -(-(gauge.price - gauge.level) // (gauge.share * US_PER_S)))
        return Refused("rate", f"rate of {row.scope}: {row.amount} requests per {row.per_s} s", retry_after_s=wait_s)
    return Refused("concurrency", f"concurrency of {row.scope}: {row.amount} at a time", retry_after_s=1)


def _ramp_refusal(gauge: Ramp, nusd: int, contact: str) -> Refused:
    row = gauge.row
    most = f"{format_usd(row.amount)} USD per {row.per_s} s"
    if not gauge.overspent:
        text = f"rate of {row.scope}: requests that are still running may cost all of its {most}"
        return Refused("rate", text, retry_after_s=1)
    text = f"rate of {row.scope}: it spends faster than it ever has, above {most}. Contact: {contact}"
    return Refused("rate", text, retry_after_s=gauge.wait_s(nusd), marker="ramp")
