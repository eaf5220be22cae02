"""Money as integer nano-dollars: reading it from people and writing it for them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from jackstop.errors import UserError

NUSD_PER_USD = 1_000_000_000
_USD = re.compile(r"^(?P<amount>\d+(?:\.\d+)?)\s*(?:usd|\$)?$", re.IGNORECASE)


def parse_usd(text: str) -> int:
    """Read dollars such as `5usd`, `0.25` or `$5` as nano-dollars.

    Raises UserError when the text is not an amount, or is finer than one nano-dollar.
    """
    match = _USD.match(text.strip().removeprefix("$"))
    if match is None:
        raise UserError(f"{text!r} is not an amount of money", "write it as 5usd or 0.25usd", 2)
    try:
        nusd = Decimal(match["amount"]) * NUSD_PER_USD
    except InvalidOperation:
        raise UserError(f"{text!r} is not an amount of money", "write it as 5usd or 0.25usd", 2) from None
    if nusd != nusd.to_integral_value():
        raise UserError(f"{text!r} is finer than one nano-dollar", "give at most nine decimals", 2)
    return int(nusd)


def format_usd(nusd: int) -> str:
    """Nano-dollars as dollars with as many decimals as matter, at least two: `0.0003`, `12.50`."""
    sign = "-" if nusd < 0 else ""
    whole, rest = divmod(abs(nusd), NUSD_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole:,}.{decimals}"
