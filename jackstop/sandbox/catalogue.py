"""The models that the practice providers offer, and what each of them charges."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from importlib import resources
from typing import Literal

import msgspec

from jackstop.clock import to_datetime

UNITS_PER_NUSD = 1_000_000
_NUSD_PER_USD = 1_000_000_000


class Tokens(msgspec.Struct, frozen=True):
    """What one inference used. The four kinds of input are disjoint; reasoning is part of the output."""

    fresh: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    searches: int = 0

    @property
    def input(self) -> int:
        return self.fresh + self.cached + self.cache_write + self.cache_write_1h


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens, as decimal text. A kind without a rate of its own costs as fresh input."""

    input: str
    output: str
    cached: str = ""
    cache_write: str = ""
    cache_write_1h: str = ""

    def units(self, tokens: Tokens) -> int:
        """Integer millionths of a nano-dollar: tokens times nano-dollars per million tokens."""
        return (
            tokens.fresh * _nusd(self.input)
            + tokens.cached * _nusd(self.cached or self.input)
            + tokens.cache_write * _nusd(self.cache_write or self.input)
            + tokens.cache_write_1h * _nusd(self.cache_write_1h or self.cache_write or self.input)
            + tokens.output * _nusd(self.output)
        )


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of prices.toml, where the fields are explained."""

    provider: str
    id: str
    snapshot: str
    created: int
    context: int
    max_output: int
    thinking: Literal["never", "asked", "default", "always"]
    rates: dict[str, Rates]
    source: str
    checked: str
    name: str = ""
    search: str = ""
    dimensions: int = 0
    long_above: int = 0
    long_rates: dict[str, Rates] = {}
    peak_hours: tuple[tuple[int, int], ...] = ()
    peak_rates: dict[str, Rates] = {}

    def cost(self, tokens: Tokens, tier: str, ts_us: int) -> int:
        """What these tokens cost at this time (UTC microseconds), in millionths of a nano-dollar.

        A tier without rates of its own is OpenAI's `fast`, which costs as `priority`.
        """
        rates = self.rates
        if self.long_rates and tokens.input > self.long_above:
            rates = self.long_rates
        elif self.peak_rates and self._peak(ts_us):
            rates = self.peak_rates
        searches = tokens.searches * _nusd(self.search) * UNITS_PER_NUSD // 1_000 if tokens.searches else 0
        return rates[tier if tier in rates else "priority"].units(tokens) + searches

    def _peak(self, ts_us: int) -> bool:
        moment = to_datetime(ts_us)
        return moment.weekday() < 5 and any(start <= moment.hour < end for start, end in self.peak_hours)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: list[Model]


class Catalogue:
    """The models of every provider, found by name or by dated snapshot."""

    def __init__(self, models: list[Model]) -> None:
        self._of: dict[str, list[Model]] = {}
        self._named: dict[tuple[str, str], Model] = {}
        for model in models:
            self._of.setdefault(model.provider, []).append(model)
            self._named[model.provider, model.id] = model
            self._named[model.provider, model.snapshot] = model

    @classmethod
    def load(cls) -> Catalogue:
        """Read prices.toml beside this module."""
        text = resources.files("jackstop.sandbox").joinpath("prices.toml").read_text(encoding="utf-8")
        return cls(msgspec.convert(tomllib.loads(text), _File).models)

    def of(self, provider: str) -> list[Model]:
        """The provider's models, in the order of the file."""
        return self._of[provider]

    def find(self, provider: str, name: object) -> Model | None:
        """The model that this provider knows under this name."""
        return self._named.get((provider, name)) if isinstance(name, str) else None


_RATE: dict[str, int] = {}


def _nusd(usd: str) -> int:
    """Dollars as nano-dollars. Raises ValueError when the text is finer than that."""
    known = _RATE.get(usd)
    if known is None:
        exact = Decimal(usd) * _NUSD_PER_USD
        known = _RATE[usd] = int(exact)
        if known != exact:
            raise ValueError(f"{usd} US dollars is finer than one nano-dollar")
    return known
