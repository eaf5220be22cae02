"""Who waits for a lease, and what they are told when there is no more of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jackstop.clock import US_PER_S
from jackstop.errors import Refused
from jackstop.ledger.slices import Gauge, Path, Rate, Slice
from jackstop.money import format_usd

if TYPE_CHECKING:
    from jackstop.ledger.books import Hold, HoldContext


class Waiter:
    """A request that waits for leases; it stands in the lines of `limits`, those that it lacks, and in no other."""

    __slots__ = ("charge", "context", "future", "limits", "path")

    def __init__(
        self, path: Path, charge: tuple[int, int, int], context: HoldContext, future: asyncio.Future[Hold | Refused]
    ) -> None:
        self.path = path
        self.charge = charge
        self.context = context
        self.future = future
        self.limits: tuple[Slice | Gauge, ...] = ()


def budget_refusal(piece: Slice, need: int, elsewhere: int) -> Refused:
    """There is less than `need` in this slice and, `elsewhere`, with control."""
    row = piece.budget.row
    left = max(0, piece.free) + elsewhere
    if row.kind == "usd":
        text = f"{format_usd(left)} USD left of {format_usd(row.amount)}, this request may cost {format_usd(need)}"
    else:
        text = f"{left:,} {row.kind} left of {row.amount:,}, this request may take {need:,}"
    return Refused(
        "budget",
        f"budget of {row.scope} per {row.window}: {text}",
        details={"scope": row.scope, "kind": row.kind, "left": left, "need": need},
    )


def gauge_refusal(gauge: Gauge) -> Refused:
    """A rate or concurrency is used up."""
    row = gauge.row
    if isinstance(gauge, Rate):
        wait_s = 1 if not gauge.share else max(1, -(-(gauge.price - gauge.level) // (gauge.share * US_PER_S)))
        return Refused("rate", f"rate of {row.scope}: {row.amount} requests per {row.per_s} s", retry_after_s=wait_s)
    return Refused("concurrency", f"concurrency of {row.scope}: {row.amount} at a time", retry_after_s=1)
