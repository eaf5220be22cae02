"""What both providers' usage reports do alike: a bucket of theirs as rows of the table `usage`, each priced once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from jackstop.events.sources.entry import UnreadableEntry, kept
from jackstop.events.usage import IDENTITY, Usage
from jackstop.ledger.prices import price_list
from jackstop.providers.drivers.driver import Bucket

_DAY_US = 86_400_000_000
_LONGEST_US = 32 * _DAY_US
_MILLION = 1_000_000
_LONG_CONTEXT = 200_001
"""So many tokens of input are priced as a request in Anthropic's window `200k-1M`."""
_MOST = 1 << 53
"""Counts and amounts beyond this are nobody's."""


class Told(NamedTuple):
    """A bucket of a report, and what its result says beside it."""

    bucket: Bucket
    account: str
    context_window: str = ""


def checked(start_us: int, end_us: int, now_us: int) -> int:
    """The length of a bucket. Raises UnreadableEntry for a span that is none."""
    if not 0 < start_us <= now_us + _DAY_US:
        raise UnreadableEntry("its time is before 1970, or a day from now")
    if not 0 < end_us - start_us <= _LONGEST_US:
        raise UnreadableEntry("its end is not after its beginning, or months later")
    return end_us - start_us


def word(result: dict[str, Any], name: str) -> str:
    """A short text of a result, empty where there is none."""
    return kept(result.get(name))


def rows_of(provider: str, told: Iterable[Told], account: str) -> list[Usage]:
    """The rows of one bucket, one for each identity; a result in which nothing was used gives none.

    `account` stands in where the report names neither project nor workspace. Raises UnreadableEntry.
    """
    rows: dict[tuple[Any, ...], Usage] = {}
    for each in told:
        row = _row(provider, each, account)
        if not (row.requests or row.input_tokens or row.output_tokens or row.cost_nusd):
            continue
        identity = tuple(getattr(row, name) for name in IDENTITY)
        rows[identity] = _sum(rows[identity], row) if identity in rows else row
    return [_averaged(row) for row in rows.values()]


def _row(provider: str, told: Told, account: str) -> Usage:
    bucket = told.bucket
    cost_nusd, cost_from = _cost(provider, told)
    counts = (bucket.requests, _input(bucket), bucket.output_tokens, cost_nusd)
    if any(not 0 <= count < _MOST for count in counts):
        raise UnreadableEntry("a count or an amount of it is negative, or beyond all measure")
    requests, into, out, cost_nusd = counts
    return Usage(
        provider=provider,
        account=told.account or account,
        provider_key_id=kept(bucket.provider_key_id),
        model=kept(bucket.model),
        service_tier=kept(bucket.tier),
        context_window=told.context_window,
        bucket=bucket.start_us,
        bucket_us=bucket.width_us,
        requests=requests,
        input_tokens=into,
        output_tokens=out,
        cost_nusd=cost_nusd,
        cost_from=cost_from,
    )


def _input(bucket: Bucket) -> int:
    return bucket.input_tokens + bucket.cache_read_tokens + bucket.cache_write_tokens


def _cost(provider: str, told: Told) -> tuple[int, str]:
    """What the provider charges, else the price list's word for the tokens, rounded up."""
    bucket = told.bucket
    if bucket.cost_nusd is not None:
        # A credit is no use: it is counted as nothing.
        return max(0, bucket.cost_nusd), "provider"
    if not bucket.model or not (_input(bucket) or bucket.output_tokens):
        return 0, ""
    prices = price_list(provider, bucket.model, bucket.start_us)
    rates = prices.at(_LONG_CONTEXT) if told.context_window == "200k-1M" else prices.tiers[0][1]
    units = (
        bucket.input_tokens * rates.input
        + bucket.cache_read_tokens * rates.cache_read
        + bucket.cache_write_tokens * rates.cache_write
        + bucket.output_tokens * rates.output
    )
    return -(-units // _MILLION), "list" if prices.known else "dearest"


def _sum(one: Usage, other: Usage) -> Usage:
    summed = {name: getattr(one, name) + getattr(other, name) for name in _SUMMED}
    return msgspec.structs.replace(one, **summed)


_SUMMED = ("requests", "input_tokens", "output_tokens", "cost_nusd")


def _averaged(row: Usage) -> Usage:
    tokens = row.input_tokens + row.output_tokens
    row.price_nusd = row.cost_nusd * _MILLION // tokens if tokens else 0
    row.request_tokens = row.input_tokens // row.requests if row.requests else 0
    return row
