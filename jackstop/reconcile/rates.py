"""One price for both sides: tokens times the same rates, so that how they are cut into buckets changes nothing.

A provider sums the tokens of many requests, so that its buckets do not show which of them were long and dear: both
sides are priced at the model's lowest tier. A surplus is therefore never overstated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache, reduce

import msgspec

from jackstop.ledger.prices import PERIODS_US, Rates, dearer, dearest, price_list

_MILLION = 1_000_000
_DATED = re.compile(r"([-@](\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|latest))+$")


class Tokens(msgspec.Struct, frozen=True):
    """Counts of one or many requests, disjoint as in an event."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0

    def plus(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
        )

    def fresh(self) -> Tokens:
        """The same with no cache: all input as fresh."""
        return Tokens(self.input + self.cache_read + self.cache_write, 0, 0, self.output)

    @property
    def total(self) -> int:
        return self.input + self.cache_read + self.cache_write + self.output


@lru_cache(maxsize=4_096)
def family(model: str) -> str:
    """A model's name without the date of its snapshot: requests say it with or without, reports mostly with."""
    return _DATED.sub("", model) or model


def units(tokens: Tokens, rates: Rates) -> int:
    """What tokens are worth, in millionths of a nano-dollar."""
    return (
        tokens.input * rates.input
        + tokens.cache_read * rates.cache_read
        + tokens.cache_write * rates.cache_write
        + tokens.output * rates.output
    )


def at_most(tokens: Tokens, rates: Rates) -> int:
    """The worth in nano-dollars, rounded up."""
    return -(-units(tokens, rates) // _MILLION)


def at_least(tokens: Tokens, rates: Rates) -> int:
    """The worth in nano-dollars, rounded down."""
    return units(tokens, rates) // _MILLION


def rates_of(provider: str, models: Iterable[str], instead: Iterable[str], ts_us: int) -> Rates:
    """The dearest of these models' rates at a time; of `instead` where none is listed, and else the provider's dearest.

    `instead` is what requests for them were answered by: a deployment's name is in no price list.
    """
    for names in (models, instead):
        known = [rates for rates in (_listed(provider, model, _period(provider, ts_us)) for model in names) if rates]
        if known:
            return reduce(dearer, known)
    return dearest(provider).tiers[0][1]


def _period(provider: str, ts_us: int) -> int:
    return ts_us - ts_us % PERIODS_US[provider]


@lru_cache(maxsize=4_096)
def _listed(provider: str, model: str, ts_us: int) -> Rates | None:
    found = price_list(provider, model, ts_us)
    return found.tiers[0][1] if found.known else None
