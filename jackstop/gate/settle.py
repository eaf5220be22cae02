"""Settle: what a request is charged, from how it ended; functions of values, no sockets here."""

from __future__ import annotations

from typing import Literal

import msgspec

from jackstop.gate.meter.base import Ask, Outcome
from jackstop.ledger import prices
from jackstop.ledger.books import Hold

Ending = Literal["unsent", "answered", "broken"]
"""`unsent`: not a byte went to the provider. `answered`: its response came whole. `broken`: neither."""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars and tokens to settle. `released`: the hold ends at zero. `estimated`: the hold stays charged."""

    nusd: int
    tokens: int
    released: bool = False
    estimated: bool = False
    price_known: bool | None = None


_RELEASED = Charge(0, 0, released=True)


def charge(
    ending: Ending, status: int, outcome: Outcome, held: Hold, provider: str, ask: Ask, ts_us: int, *, metered: bool
) -> Charge:
    """The charge for a request that ended so. Never below what the provider was seen to report.

    A provider's error costs nothing. A success without a usage report, or a response that broke off, keeps the
    whole hold charged. A route without a meter is free and keeps no charge, however it ended. What no price list has
    costs what the provider says that it charged, where it says so.
    """
    if ending == "unsent":
        return _RELEASED
    if not metered:
        return Charge(0, 0)
    usage = outcome.usage
    if usage is None:
        if ending == "answered" and not 200 <= status < 300:
            return _RELEASED
        return Charge(held.nusd, held.tokens, estimated=True)
    price = prices.cost(provider, outcome.model, usage, ts_us, asked=ask.model)
    nusd, known = price.nusd, price.known
    if not known and usage.told_nusd is not None:
        nusd, known = usage.told_nusd, True
    if outcome.complete:
        return Charge(nusd, usage.total, price_known=known)
    return Charge(max(held.nusd, nusd), max(held.tokens, usage.total), estimated=True, price_known=known)
