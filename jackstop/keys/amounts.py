"""Budgets, rates and spans of time as people write them: `5usd/day`, `60req/min`, `30d`."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from jackstop.clock import US_PER_S
from jackstop.errors import UserError
from jackstop.keys.policy import Window
from jackstop.money import format_usd, parse_usd

BudgetKind = Literal["usd", "tokens", "requests"]
MOST = 2**63 - 1
"""The largest amount that the store's columns hold."""

_WINDOWS: dict[str, Window] = {"hour": "hour", "day": "day", "month": "month", "life": "life"}
_UNITS: dict[str, BudgetKind] = {
    "usd": "usd",
    "$": "usd",
    "token": "tokens",
    "tokens": "tokens",
    "req": "requests",
    "reqs": "requests",
    "request": "requests",
    "requests": "requests",
}
_PER_S = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_SPANS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_AMOUNT = re.compile(r"(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>[a-z$]+)\s*/\s*(?P<per>[a-z]+)", re.ASCII)
_SPAN = re.compile(r"(?P<number>\d+)(?P<unit>[smhdw])", re.ASCII)


class Budget(NamedTuple):
    """So many nano-dollars, tokens or requests per window."""

    kind: BudgetKind
    amount: int
    window: Window


class Rate(NamedTuple):
    """So many requests per `per_s` seconds."""

    amount: int
    per_s: int


def parse_budget(text: str) -> Budget:
    """Read `5usd/day`, `1000000tokens/hour`, `500req/month`, `100usd/life`.

    Raises UserError that says what is wrong with it.
    """
    match = _AMOUNT.fullmatch(_usd_last(text.strip().lower()))
    if match is None:
        raise _not_a_budget(text)
    kind, window = _UNITS.get(match["unit"]), _WINDOWS.get(match["per"])
    if kind is None:
        raise UserError(f"{text!r}: a budget has no unit {match['unit']!r}", "use usd, tokens or req", 2)
    if window is None:
        remedy = "use hour, day, month or life"
        if match["per"] in _PER_S and kind == "requests":
            remedy += "; for requests per minute or second use --rate"
        raise UserError(f"{text!r}: a budget has no window {match['per']!r}", remedy, 2)
    number = match["number"].replace("_", "")
    if kind == "usd":
        return Budget(kind, _bounded(parse_usd(number), text), window)
    return Budget(kind, _whole(number, text), window)


def parse_rate(text: str) -> Rate:
    """Read `60req/min`, `5req/s`, `1000req/hour`. Raises UserError."""
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None or _UNITS.get(match["unit"]) != "requests" or match["per"] not in _PER_S:
        raise UserError(f"{text!r} is not a rate", "write it as 60req/min, with s, min or hour", 2)
    amount = _whole(match["number"].replace("_", ""), text)
    if amount == 0:
        raise UserError(f"{text!r} lets nothing through", "to stop a key use `jackstop key quarantine`", 2)
    return Rate(amount, _PER_S[match["per"]])


def parse_span_us(text: str) -> int:
    """Read `30d`, `12h`, `15m`, `2w`, `90s` as microseconds. Raises UserError."""
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise UserError(f"{text!r} is not a span of time", "write it as 30d, 12h or 15m", 2)
    return _bounded(int(match["number"]) * _SPANS_S[match["unit"]] * US_PER_S, text)


def format_amount(kind: str, amount: int) -> str:
    """An amount with its unit: `5.00 usd`, `1,000 tokens`."""
    return f"{format_usd(amount)} usd" if kind == "usd" else f"{amount:,} {kind}"


def _usd_last(text: str) -> str:
    """`$5/day` as `5$/day`."""
    return f"{text[1:].partition('/')[0]}$/{text.partition('/')[2]}" if text.startswith("$") else text


def _whole(number: str, text: str) -> int:
    if "." in number:
        raise UserError(f"{text!r} asks for a part of one", "give a whole number", 2)
    return _bounded(int(number), text)


def _bounded(amount: int, text: str) -> int:
    if amount > MOST:
        raise UserError(f"{text!r} is more than can be counted", "give a smaller number", 2)
    return amount


def _not_a_budget(text: str) -> UserError:
    return UserError(f"{text!r} is not a budget", "write it as 5usd/day, 1000000tokens/hour or 500req/month", 2)
