"""The most that a request can cost, before it is sent."""

from __future__ import annotations

from functools import lru_cache, reduce

import msgspec

from jackstop.clock import US_PER_S
from jackstop.errors import Refused
from jackstop.gate.meter.base import Ask
from jackstop.ledger import allowances
from jackstop.ledger.prices import PERIODS_US, PriceList, Rates, dearer, dearest, price_list
from jackstop.settings import LedgerSettings

_MILLION = 1_000_000
_DEARER_TIERS = frozenset({"priority", "fast"})
# A request may be billed at the prices of any moment until it is done. DeepSeek's change on the half hour; the gate
# lets a response take ten minutes to start and five between two chunks.
_PRICE_HORIZON_US = 3_600 * US_PER_S
_PRICE_STEP_US = 1_800 * US_PER_S


class Bound(msgspec.Struct, frozen=True, gc=False):
    """An upper bound: nano-dollars, tokens (input and output), whether the price is listed, and the window.

    Its money is a line in the output cap: `fixed` and `per_cap` in nano-dollars times a million.
    """

    nusd: int
    tokens: int
    price_known: bool
    context_window: int
    fixed: int = 0
    per_cap: int = 0


_FREE = Bound(0, 0, price_known=True, context_window=0)


def bound(
    provider: str,
    ask: Ask,
    cap: int,
    ts_us: int,
    *,
    gap: bool = False,
    exact_input: int | None = None,
    settings: LedgerSettings | None = None,
) -> Bound | Refused:
    """The most that `ask` can cost with an output cap of `cap` tokens, in nano-dollars and tokens.

    `gap` holds it at the context window. `exact_input` is a count of its texts that takes the place of their
    bytes. Refused with `price` for an unlisted model where `unknown_price` says so.
    """
    if not (ask.has_output or ask.input_bound or ask.web_searches or ask.file_searches):
        return _FREE
    period_us = ts_us - ts_us % PERIODS_US[provider]
    listed = _dearest_list(
        provider, ask.model, ask.service_tier, ask.speed, ask.inference_geo, ask.cache_write, period_us
    )
    if not listed.known and settings is not None and settings.unknown_price == "refuse":
        return _unpriced(ask)
    window = listed.context_window
    if gap:
        # The bound was once too low, perhaps because the window in the snapshot is.
        window = max(window, dearest(provider).context_window)
    into = ask.input_bound
    if exact_input is not None:
        into = min(into, exact_input + ask.allowance)
    out = 0
    if ask.has_output:
        out = ask.n * ask.inferences
        if into > window or ask.whole_context or gap or ask.unbounded:
            into = window
    into *= ask.inferences
    rates = listed.flat or listed.at(into)
    fixed = into * rates.input + ask.extra_output * rates.output
    if ask.web_searches or ask.file_searches:
        fixed += ask.web_searches * rates.web_search + ask.file_searches * rates.file_search
    per_cap = out * rates.output
    cap = min(cap, window)
    nusd = -(-(fixed + cap * per_cap) // _MILLION)
    return Bound(nusd, into + ask.extra_output + cap * out, listed.known, window, fixed, per_cap)


def fitting_cap(
    provider: str,
    ask: Ask,
    left_nusd: int,
    ts_us: int,
    *,
    gap: bool = False,
    exact_input: int | None = None,
) -> int | None:
    """The largest output cap in tokens whose bound is at most `left_nusd`, None where none is."""
    if not ask.has_output:
        return None
    line = bound(provider, ask, 0, ts_us, gap=gap, exact_input=exact_input)
    assert isinstance(line, Bound), "only settings refuse"
    room = left_nusd * _MILLION - line.fixed
    if room < 0:
        return None
    fits = min(room // line.per_cap, line.context_window) if line.per_cap else line.context_window
    return fits if fits >= 1 else None


@lru_cache(maxsize=8192)
def _dearest_list(
    provider: str, model: str, tier: str, speed: str, geo: str, cache_write: str, period_us: int
) -> PriceList:
    """The dearest of all price lists by which such a request may be billed.

    Its rates above a threshold are the highest of every tier up to there, and its `input` is an `_input_rate`.
    """
    # The provider may serve another tier than the one asked for, and reports `fast` as `priority`.
    tiers = {tier, "", "priority"} if tier in _DEARER_TIERS else {tier, ""}
    # Without `inference_geo` the workspace's default decides where a request runs, which may be the US.
    if provider == "anthropic" and geo != "global" and not model.startswith(allowances.CLAUDE_UNTIL_4_5):
        geo = "us"
    horizon = _PRICE_HORIZON_US if provider == "deepseek" else 0
    lists = [
        price_list(provider, model, moment, tier=each, speed=speed, geo=geo)
        for moment in range(period_us, period_us + horizon + 1, _PRICE_STEP_US)
        for each in tiers
    ]
    steps = [step for listed in lists for step in listed.tiers]
    found = []
    for threshold in sorted({threshold for threshold, _ in steps}):
        rates = reduce(dearer, (rates for start, rates in steps if start <= threshold))
        found.append((threshold, msgspec.structs.replace(rates, input=_input_rate(provider, cache_write, rates))))
    return PriceList.of(
        found,
        known=all(listed.known for listed in lists),
        context_window=max(listed.context_window for listed in lists),
    )


def _input_rate(provider: str, cache_write: str, rates: Rates) -> int:
    """The dearest way in which input can be billed."""
    found = max(rates.input, rates.cache_read)
    if cache_write or provider in allowances.AUTOMATIC_CACHE:
        found = max(found, rates.cache_write)
    if cache_write == "long":
        found = max(found, rates.cache_write_long)
    return found


def _unpriced(ask: Ask) -> Refused:
    return Refused(
        "price",
        f"no list price is known for the model {ask.model!r}; use a listed model, or set unknown_price to dearest",
        details={"model": ask.model},
    )
