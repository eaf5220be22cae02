"""A day's costs against everything that explains them: what a key was charged for and no report of tokens shows.

Usage reports count tokens. Images, speech or training are charged as items of their own, which only the costs name. An
item is unexplained if neither the tokens that the provider reports nor the gate's requests are of its model. Names of
items are nobody's promise, so that the sum has to be beyond what is explained as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from jackstop.cases.finding import Finding, uid_of
from jackstop.ledger.prices import price_list
from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import Cell
from jackstop.reconcile.compare import Verdict
from jackstop.reconcile.judge import DETECTION
from jackstop.reconcile.material import DAY_US, MINUTE_US, Stored, Watched
from jackstop.reconcile.rates import family

_TOLERATED_NUSD = NUSD_PER_USD // 20
_TOLERATED_SHARE = 200
"""Half a per cent."""
_ACT_NUSD = NUSD_PER_USD
_ACT_SHARE = 100
_MILLION = 1_000_000


class Spent(msgspec.Struct, frozen=True):
    """What a credential's own keys were charged on the day from `day_us`, in nano-dollars; `items` are unexplained."""

    day_us: int
    verdict: Verdict
    charged_nusd: int
    explained_nusd: int
    shadow_nusd: int
    items: dict[str, int]


def spent(watched: Watched, stored: Iterable[Stored], cells: Sequence[Cell], now_us: int) -> list[Spent]:
    """The days, yesterday and today, on which more was charged than is explained.

    Of no day of which the credential, or its key, was somebody else's for a part.
    """
    if watched.kind != "usage" or not watched.keys:
        return []
    today_us = now_us - now_us % DAY_US
    rows = [each for each in stored if each.place == watched.place]
    found = [_of_day(watched, rows, cells, day_us) for day_us in (today_us - DAY_US, today_us)]
    return [each for each in found if each is not None]


def _of_day(watched: Watched, rows: Sequence[Stored], cells: Sequence[Cell], day_us: int) -> Spent | None:
    if day_us < max(watched.since_us, watched.key_since_us or 0):
        return None
    own = [(each.kind, each.bucket) for each in rows if _is_own(watched, each.bucket, day_us)]
    charged: Counter[str] = Counter()
    for kind, bucket in own:
        if kind == "costs":
            charged[family(bucket.model)] += bucket.cost_nusd or 0
    if not charged:
        return None
    begin, end = day_us // MINUTE_US, (day_us + DAY_US) // MINUTE_US
    mine = [cell for cell in cells if cell.first < end and cell.last >= begin]
    known = {family(bucket.model) for kind, bucket in own if kind == "usage"}
    known |= {family(name) for cell in mine for name in (cell.model, cell.asked)}
    items = {name: nusd for name, nusd in charged.items() if nusd > 0 and name not in known}
    booked = sum(cell.nusd for cell in mine)
    tokens = sum(_dearest(watched.provider, bucket) for kind, bucket in own if kind == "usage")
    explained = max(booked, tokens)
    # What the gate booked beyond the tokens is for tools, which have items of their own; holds may be for anything.
    beside = sum(cell.nusd if not cell.exact else _beyond_tokens(watched.provider, cell, day_us) for cell in mine)
    shadow = min(sum(items.values()) - beside, charged.total() - explained)
    if shadow <= max(_TOLERATED_NUSD, explained // _TOLERATED_SHARE):
        return None
    acts = shadow > max(_ACT_NUSD, explained // _ACT_SHARE)
    return Spent(day_us, "act" if acts else "over", charged.total(), explained, shadow, items)


def _is_own(watched: Watched, bucket: Bucket, day_us: int) -> bool:
    return bucket.provider_key_id in watched.keys and day_us <= bucket.start_us < day_us + DAY_US


def _dearest(provider: str, bucket: Bucket) -> int:
    """The tokens at the dearest of the model's prices: a report does not show which requests were long."""
    tiers = price_list(provider, bucket.model, bucket.start_us, tier=bucket.tier).tiers
    into, read, written = bucket.input_tokens, bucket.cache_read_tokens, bucket.cache_write_tokens
    return max(
        (into * r.input + read * r.cache_read + written * r.cache_write + bucket.output_tokens * r.output) // _MILLION
        for _, r in tiers
    )


def _beyond_tokens(provider: str, cell: Cell, ts_us: int) -> int:
    rates = price_list(provider, cell.model or cell.asked, ts_us).tiers[0][1]
    each = cell.tokens
    into = each.input * rates.input + each.cache_read * rates.cache_read
    return max(0, cell.nusd - (into + each.cache_write * rates.cache_write + each.output * rates.output) // _MILLION)


def finding_of(watched: Watched, day: Spent) -> Finding | None:
    """What people are told of a day, with the item that it is mostly about."""
    if not watched.exclusive:
        return None
    entity = f"credential:{watched.name}"
    return Finding(
        uid_of(DETECTION, f"{entity} costs", day.day_us),
        DETECTION,
        "critical" if day.verdict == "act" else "high",
        entity,
        day.day_us,
        day.day_us + DAY_US - 1,
        len(day.items),
        {
            "shadow_nusd": day.shadow_nusd,
            "charged_nusd": day.charged_nusd,
            "explained_nusd": day.explained_nusd,
            "item": max(day.items, key=lambda name: day.items[name]),
            "by": "costs",
        },
        sources=("reconcile",),
        response="contain" if day.verdict == "act" else "alert",
    )
