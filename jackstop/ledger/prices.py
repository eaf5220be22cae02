"""What usage costs: list prices as integer nano-dollars per million units, from the offline snapshot of genai-prices.

Corrected here: DeepSeek's weekends, service tiers, fast mode, US-only inference, missing cache-write prices.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from jackstop.clock import US_PER_S, to_datetime
from jackstop.gate.meter.base import Usage
from jackstop.ledger import allowances
from jackstop.money import NUSD_PER_USD

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_US_PER_DAY = 86_400 * US_PER_S
_US_PER_SLOT = 1_800 * US_PER_S
_MILLION = 1_000_000
PERIODS_US = {"openai": _US_PER_DAY, "anthropic": _US_PER_DAY, "deepseek": _US_PER_SLOT, "aws": _US_PER_DAY}
"""How long a provider's prices hold: they may change with each day, DeepSeek's with each half hour."""
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "scale", "batch"})
_PRIORITY_TIERS = frozenset({"priority", "fast"})
# DeepSeek's peak hours in UTC, Monday to Friday; no other hours of the day are dearer. Its Chinese page fixes the
# weekday in Beijing time: there the hours are 9 to 12 and 14 to 18, so the day is the same on both calendars.
# Source: https://api-docs.deepseek.com/quick_start/pricing, read 2026-11-23.
_DEEPSEEK_PEAK_STARTS = frozenset({1, 6})
_SATURDAY = 5
# A model id is at most this long in any provider's list; longer ones are nobody's.
_MAX_MODEL_CHARS = 256
# What is remembered of a longer one is still too long to be anybody's.
_MODEL_KEPT = _MAX_MODEL_CHARS + 1


class Price(msgspec.Struct, frozen=True, gc=False):
    """A cost in nano-dollars; `known` is False where it is the provider's dearest for want of a list price."""

    nusd: int
    known: bool


def times(rate: int, factor: tuple[int, int]) -> int:
    """A rate times a fraction, rounded up."""
    return -(-rate * factor[0] // factor[1])


class Rates(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars per million tokens, or per million searches."""

    input: int
    cache_read: int
    cache_write: int
    cache_write_long: int
    output: int
    web_search: int
    file_search: int

    def scaled(self, factor: tuple[int, int]) -> Rates:
        """Every token rate times a fraction, rounded up. Searches keep their price."""
        tokens = ("input", "cache_read", "cache_write", "cache_write_long", "output")
        return msgspec.structs.replace(self, **{name: times(getattr(self, name), factor) for name in tokens})


class PriceList(msgspec.Struct, frozen=True, gc=False):
    """The rates of one model at one time. `tiers` are (threshold, rates): they apply to the whole request
    once its input is above the threshold, in tokens, and stand in ascending order, the first with -1.
    `flat` are the rates of a model with one tier, as most have.
    """

    tiers: tuple[tuple[int, Rates], ...]
    known: bool
    context_window: int
    flat: Rates | None = None

    @classmethod
    def of(cls, tiers: list[tuple[int, Rates]], *, known: bool, context_window: int) -> PriceList:
        """A list of these tiers."""
        return cls(tuple(tiers), known, context_window, tiers[0][1] if len(tiers) == 1 else None)

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with so much input in all."""
        found = self.tiers[0][1]
        for threshold, rates in self.tiers:
            if input_tokens > threshold:
                found = rates
        return found


@lru_cache(maxsize=1)
def _providers() -> dict[str, Provider]:
    # 1.6 MB of Python that takes a quarter of a second to import: at first use, which `load` makes the start.
    from genai_prices.data import providers

    return {provider.id: provider for provider in providers}


def load() -> None:
    """Read the snapshot now rather than with the first request."""
    for provider in PERIODS_US:
        dearest(provider)


@lru_cache(maxsize=4096)
def _model(provider: str, model: str) -> ModelInfo | None:
    source = _providers().get(provider)
    if source is None:
        return None
    return source.find_model(model)


def _is_peak_window(constraint: Any) -> bool:
    start = getattr(constraint, "start_time", None)
    return start is not None and start.hour in _DEEPSEEK_PEAK_STARTS


def _standard(provider: str, model: ModelInfo, moment: datetime) -> ModelPrice:
    if not isinstance(model.prices, list):
        return model.prices
    weekend = provider == "deepseek" and moment.weekday() >= _SATURDAY
    for row in reversed(model.prices):
        if weekend and _is_peak_window(row.constraint):
            continue
        if row.constraint is None or row.constraint.active(moment):
            return row.prices
    return model.prices[0].prices


def _variant(model: ModelInfo, moment: datetime, key: str, value: str) -> dict[str, Any] | None:
    """The prices that override the standard ones for one request setting, None where none is published."""
    for variant in model.price_variants or ():
        if variant.when != {key: value}:
            continue
        if variant.constraint is None or variant.constraint.active(moment):
            return {name: price for name, price in variant.prices.__dict__.items() if price is not None}
    return None


def _nusd(price: Decimal, per: int = 1) -> int:
    return int((price * NUSD_PER_USD * per).to_integral_value(ROUND_CEILING))


def _thresholds(prices: dict[str, Any]) -> list[int]:
    starts = {tier.start for price in prices.values() for tier in getattr(price, "tiers", ())}
    return [-1, *sorted(starts)]


def _at_tier(price: Any, threshold: int) -> Decimal:
    if not hasattr(price, "tiers"):
        return Decimal(price)
    found: Decimal = price.base
    for tier in price.tiers:
        if tier.start <= threshold:
            found = tier.price
    return found


def _rates(provider: str, prices: dict[str, Any], threshold: int) -> Rates | None:
    """The rates above one threshold; None where the model has no price per token."""

    def highest(*names: str) -> int | None:
        # No usage report splits text from images or sound, so the dearest of them stands for all.
        found = [_nusd(_at_tier(prices[name], threshold)) for name in names if prices.get(name) is not None]
        return max(found) if found else None

    into = highest("input_mtok", "input_image_mtok", "input_audio_mtok")
    if into is None:
        return None
    out = highest("output_mtok", "output_image_mtok", "output_audio_mtok")
    read = highest("cache_read_mtok", "cache_image_read_mtok", "cache_audio_read_mtok")
    write = highest("cache_write_mtok")
    long = highest("cache_write_1h_mtok")
    web = prices.get("web_searches_kcount", Decimal(allowances.WEB_SEARCH_CENTS_PER_1000) / 100)
    files = prices.get("storage_searches_kcount", Decimal(allowances.FILE_SEARCH_CENTS_PER_1000) / 100)
    return Rates(
        input=into,
        cache_read=into if read is None else read,
        cache_write=times(into, allowances.CACHE_WRITE_FACTOR[provider]) if write is None else write,
        cache_write_long=times(into, allowances.CACHE_WRITE_LONG_FACTOR[provider]) if long is None else long,
        output=0 if out is None else out,
        web_search=_nusd(_at_tier(web, threshold), 1000),
        file_search=_nusd(_at_tier(files, threshold), 1000),
    )


def dearer(one: Rates, other: Rates) -> Rates:
    """The higher of two rates, field by field."""
    return Rates(*(max(getattr(one, name), getattr(other, name)) for name in Rates.__struct_fields__))


@lru_cache(maxsize=8)
def dearest(provider: str) -> PriceList:
    """Twice the highest price that any of the provider's models has ever had in the snapshot."""
    found: Rates | None = None
    window = 0
    for model in _providers()[provider].models:
        window = max(window, model.context_window or 0)
        rows = [row.prices for row in model.prices] if isinstance(model.prices, list) else [model.prices]
        for row in rows:
            prices = {name: price for name, price in row.__dict__.items() if price is not None}
            for threshold in _thresholds(prices):
                rates = _rates(provider, prices, threshold)
                if rates is not None:
                    found = rates if found is None else dearer(found, rates)
    assert found is not None, "the snapshot has prices for every provider that the gate routes to"
    return PriceList.of(
        [(-1, found.scaled((2, 1)))],
        known=False,
        context_window=allowances.CONTEXT_WINDOW.get(provider, window),
    )


def _resolve(provider: str, model: str, tier: str, speed: str, geo: str, moment: datetime) -> PriceList:
    found = _model(provider, model)
    if found is None or (tier not in _STANDARD_TIERS and tier not in _PRIORITY_TIERS and tier != "flex"):
        return dearest(provider)
    prices = {name: price for name, price in _standard(provider, found, moment).__dict__.items() if price is not None}
    factors: list[tuple[int, int]] = []
    if provider == "openai" and tier in _PRIORITY_TIERS | {"flex"}:
        variant = _variant(found, moment, "service_tier", tier)
        if variant is not None:
            prices |= variant
        elif tier in _PRIORITY_TIERS:
            factors.append(allowances.PRIORITY_FACTOR)
    if provider == "anthropic" and speed == "fast":
        variant = _variant(found, moment, "speed", speed)
        if variant is None:
            factors.append(allowances.FAST_FACTOR)
        else:
            prices |= variant
    has_geo = geo not in allowances.GEO_FREE and not model.startswith(allowances.CLAUDE_UNTIL_4_5)
    if provider == "anthropic" and has_geo:
        factors.append(allowances.GEO_FACTOR)
    tiers: list[tuple[int, Rates]] = []
    for threshold in _thresholds(prices):
        rates = _rates(provider, prices, threshold)
        if rates is None:
            return dearest(provider)
        for factor in factors:
            rates = rates.scaled(factor)
        tiers.append((threshold, rates))
    default = dearest(provider).context_window
    window = allowances.CONTEXT_WINDOW.get(provider) or found.context_window or default
    return PriceList.of(tiers, known=True, context_window=window)


@lru_cache(maxsize=8192)
def _listed(provider: str, model: str, tier: str, speed: str, geo: str, period_us: int) -> PriceList:
    return _resolve(provider, model, tier, speed, geo, to_datetime(period_us))


def price_list(provider: str, model: str, ts_us: int, *, tier: str = "", speed: str = "", geo: str = "") -> PriceList:
    """The prices of a model at a time; those of an unknown model or tier are the provider's dearest, doubled.

    Raises KeyError for a provider that the snapshot does not have.
    """
    if len(model) > _MAX_MODEL_CHARS:
        model = ""
    return _listed(provider, model, tier, speed, geo, ts_us - ts_us % PERIODS_US[provider])


@lru_cache(maxsize=8192)
def _billed(provider: str, model: str, asked: str, tier: str, speed: str, geo: str, period_us: int) -> PriceList:
    """The prices of the model in the response, or of the one asked for where that is not listed."""
    listed = price_list(provider, model or asked, period_us, tier=tier, speed=speed, geo=geo)
    if not listed.known and asked and asked != model:
        listed = price_list(provider, asked, period_us, tier=tier, speed=speed, geo=geo)
    return listed


def cost(provider: str, model: str, usage: Usage, ts_us: int, *, asked: str = "") -> Price:
    """What reported usage costs at list price, in nano-dollars, rounded up once.

    `model` is the one in the response, which is the one billed; `asked` the one in the request, whose price
    stands in where the response's model is not listed. `ts_us` is when the request was sent.
    """
    listed = _billed(
        provider,
        model[:_MODEL_KEPT],
        asked[:_MODEL_KEPT],
        usage.service_tier,
        usage.speed,
        usage.inference_geo,
        ts_us - ts_us % PERIODS_US[provider],
    )
    into, read = usage.input_tokens, usage.cache_read_tokens
    write, long = usage.cache_write_tokens, usage.cache_write_1h_tokens
    rates = listed.flat or listed.at(into + read + write + long)
    total = into * rates.input + usage.output_tokens * rates.output
    if read or write or long:
        total += read * rates.cache_read + write * rates.cache_write + long * rates.cache_write_long
    if usage.web_searches or usage.file_searches:
        total += usage.web_searches * rates.web_search + usage.file_searches * rates.file_search
    return Price(-(-total // _MILLION), listed.known)
