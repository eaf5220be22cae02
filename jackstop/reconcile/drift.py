"""Where the two sides differ without a theft, each with its cause: prices, requests nobody reported, open holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from jackstop.clock import US_PER_S
from jackstop.ledger.prices import price_list
from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import Cell
from jackstop.reconcile.judge import Judgement
from jackstop.reconcile.material import DAY_US, MINUTE_US, Stored, Watched
from jackstop.reconcile.rates import family

Cause = Literal["price", "unreported", "open holds"]

SETTLED_US = 6 * 3_600 * US_PER_S
"""A day's costs count once it has been over for so long."""
_LEAST_NUSD = NUSD_PER_USD // 10
_SHARE = 50
"""Two per cent."""
_MILLION = 1_000_000


class Drift(msgspec.Struct, frozen=True):
    """One difference. `ours_nusd` and `theirs_nusd` are the two sides; `requests` how many it is about, where that is
    known; `model` the model that it is mostly about. Of holds `ours_nusd` is what they keep charged.
    """

    cause: Cause
    since_us: int
    until_us: int
    ours_nusd: int
    theirs_nusd: int
    requests: int = 0
    model: str = ""


def drifts(
    watched: Watched, stored: Sequence[Stored], cells: Sequence[Cell], judged: Judgement, now_us: int
) -> list[Drift]:
    """All that there are of a credential, of the span that was judged."""
    found = [_prices(watched, stored, now_us), _unreported(watched, cells, judged, now_us), _holds(cells, judged)]
    return [drift for drift in found if drift is not None]


def _prices(watched: Watched, stored: Iterable[Stored], now_us: int) -> Drift | None:
    """What the provider charged for the last whole day, against our prices of the tokens that it counted itself."""
    day_us = (now_us - SETTLED_US) // DAY_US * DAY_US - DAY_US
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for each in stored:
        bucket = each.bucket
        if each.place != watched.place or not day_us <= bucket.start_us < day_us + DAY_US:
            continue
        if each.kind == "costs":
            theirs[family(bucket.model)] += bucket.cost_nusd or 0
        elif bucket.cost_nusd is None:
            ours[family(bucket.model)] += _listed(watched.provider, bucket)
    both, known = ours.total(), theirs.total()
    if not both or not known or abs(known - both) <= max(_LEAST_NUSD, both // _SHARE):
        return None
    furthest = max({*ours, *theirs}, key=lambda model: abs(ours[model] - theirs[model]))
    return Drift("price", day_us, day_us + DAY_US, both, known, model=furthest)


def _listed(provider: str, bucket: Bucket) -> int:
    rates = price_list(provider, bucket.model, bucket.start_us, tier=bucket.tier).tiers[0][1]
    into = bucket.input_tokens * rates.input + bucket.cache_read_tokens * rates.cache_read
    return (into + bucket.cache_write_tokens * rates.cache_write + bucket.output_tokens * rates.output) // _MILLION


def _unreported(watched: Watched, cells: Sequence[Cell], judged: Judgement, now_us: int) -> Drift | None:
    """What the books surely hold and the provider does not report, though it is no longer just late."""
    late_us = now_us - watched.delay_s * US_PER_S
    begin, end = judged.since_us // MINUTE_US + 1, late_us // MINUTE_US
    settled = [cell for cell in cells if cell.exact and cell.credential and begin <= cell.first and cell.last < end]
    ours, requests = sum(cell.nusd for cell in settled), sum(cell.requests for cell in settled)
    if judged.linked and ours - judged.reported_nusd > max(_LEAST_NUSD, ours // _SHARE):
        return Drift("unreported", begin * MINUTE_US, end * MINUTE_US, ours, judged.reported_nusd, requests)
    return None


def _holds(cells: Iterable[Cell], judged: Judgement) -> Drift | None:
    """Requests whose cost nobody reported: they may be charged at the provider or not, up to what is held."""
    begin = judged.since_us // MINUTE_US + 1
    kept = [cell for cell in cells if not cell.exact and cell.last >= begin]
    if not kept:
        return None
    first, last = min(cell.first for cell in kept) * MINUTE_US, (max(cell.last for cell in kept) + 1) * MINUTE_US
    return Drift("open holds", first, last, sum(cell.nusd for cell in kept), 0, sum(cell.requests for cell in kept))
