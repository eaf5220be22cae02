"""What OpenRouter reports: usage by day, key and model, and each key's own limit.

Facts: openrouter 1.3.84 (`openrouter/operations/getuseractivity.py`, `openrouter/components/activityitem.py`,
`openrouter/operations/list.py`), read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from jackstop.clock import US_PER_S, SystemClock, from_datetime
from jackstop.money import NUSD_PER_USD
from jackstop.providers.drivers.answers import nusd, required, shaped
from jackstop.providers.drivers.calls import bearing, call
from jackstop.providers.drivers.driver import Administration, Bucket, CallFailed, ProviderLimit
from jackstop.providers.drivers.openrouter_keys import Key, change, key_at, keys

DAY_S = 86_400
_DAY_US = DAY_S * US_PER_S
_RESET_US = 900 * US_PER_S
"""A day's counter counts from so long after midnight on: before, it may still be that of the day that ended."""
_WINDOWS = {"daily": "day", "weekly": "week", "monthly": "month"}


class _Activity(msgspec.Struct):
    """Of one day, model and endpoint. `usage` is US dollars."""

    date: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usage: float
    cached_tokens: int = 0


class _Activities(msgspec.Struct):
    data: list[_Activity]


def usage(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By day, key and model, of the last 30 UTC days as far as they have ended."""
    return [
        bucket
        for key in keys(admin, place)
        for bucket in _activity(admin, key.hash)
        if since_us <= bucket.start_us < until_us
    ]


def costs(admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> list[Bucket]:
    """By day and key. The day that has not ended is the key's own counter, which moves with each request."""
    now_us = SystemClock().now_us()
    today_us = now_us // _DAY_US * _DAY_US
    found: dict[tuple[int, str], int] = {}
    for bucket in usage(admin, place, since_us, min(until_us, today_us)):
        day = bucket.start_us, bucket.provider_key_id
        found[day] = found.get(day, 0) + (bucket.cost_nusd or 0)
    if since_us <= today_us < until_us and now_us - today_us >= _RESET_US:
        found |= {(today_us, key.hash): nusd(key.usage_daily) for key in keys(admin, place) if key.usage_daily}
    return [Bucket(start_us, _DAY_US, key_id, cost_nusd=cost) for (start_us, key_id), cost in found.items()]


def limits(admin: Administration, place: Mapping[str, str]) -> list[ProviderLimit]:
    """The limit of the place's `key`, or of each key that works in its workspace."""
    if place.get("key"):
        return [_as_limit(key_at(admin, place["key"]))]
    return [_as_limit(key) for key in keys(admin, place) if not key.disabled]


def set_limit(admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
    """Set the limit of the place's `key`, by the month where it had none."""
    if amount_nusd < 0:
        raise CallFailed("invalid", "a limit is not below zero")
    key_id = required(place, "key")
    window = key_at(admin, key_id).limit_reset or "monthly"
    return _as_limit(change(admin, key_id, {"limit": amount_nusd / NUSD_PER_USD, "limit_reset": window}))


def _activity(admin: Administration, key_id: str) -> list[Bucket]:
    query = {"api_key_hash": key_id}
    answer = call("GET", admin.base_url + "/activity", bearing(admin.secret), query=query, ca=admin.ca)
    return [
        Bucket(
            start_us=_day_us(item.date),
            width_us=_DAY_US,
            provider_key_id=key_id,
            model=item.model,
            requests=item.requests,
            # Cached tokens are a part of the prompt's, except where an answer was replayed from a cache.
            input_tokens=max(0, item.prompt_tokens - item.cached_tokens),
            cache_read_tokens=item.cached_tokens,
            output_tokens=item.completion_tokens,
            cost_nusd=nusd(item.usage),
        )
        for item in shaped(answer, _Activities, "the activity").data
    ]


def _day_us(date: str) -> int:
    try:
        return from_datetime(datetime.strptime(date[:10], "%Y-%m-%d").replace(tzinfo=UTC))
    except ValueError:
        raise CallFailed("failed", "the activity has a day that is no date") from None


def _as_limit(key: Key) -> ProviderLimit:
    window = _WINDOWS.get(key.limit_reset or "", "life")
    return ProviderLimit(f"key:{key.hash}", window, None if key.limit is None else nusd(key.limit))
