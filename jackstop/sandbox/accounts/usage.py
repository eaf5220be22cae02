"""Usage as providers publish it: buckets made of the bill, late, and at first perhaps incomplete."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from jackstop.sandbox.accounts.api import Call
from jackstop.sandbox.accounts.spend import DEFAULT_SCOPES, SCOPES
from jackstop.sandbox.accounts.state import Accounts
from jackstop.sandbox.bill import MINUTE_US, Use
from jackstop.sandbox.errors import ProviderError

_S = 1_000_000
WIDTHS = {"1m": MINUTE_US, "1h": 60 * MINUTE_US, "1d": 1_440 * MINUTE_US}
DEFAULT_BUCKETS = {"1m": 60, "1h": 24, "1d": 7}
MOST_BUCKETS = {"1m": 1_440, "1h": 168, "1d": 31}
_AMOUNTS = (
    "requests",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "searches",
    "units",
)
_ID_PREFIX = {"openai": "key_", "anthropic": "apikey_"}


class Total(NamedTuple):
    """What the members of one group used within one bucket; `group` names them in the order asked for."""

    group: tuple[str, ...]
    use: Use


class Bucket(NamedTuple):
    """One span of time, in UTC microseconds."""

    start_us: int
    end_us: int
    totals: list[Total]


class Page(NamedTuple):
    """Buckets, and where the next page begins; empty when this is the last."""

    buckets: list[Bucket]
    following: str


def published(accounts: Accounts, use: Use) -> Use | None:
    """What the provider shows of a minute by now: nothing yet, half of it, or all."""
    settings = accounts.settings
    age_us = accounts.now_us - use.minute_us - MINUTE_US - settings.publish_after_s * _S
    if age_us < 0:
        return None
    if age_us >= settings.revise * _S:
        return use
    halves = {name: getattr(use, name) // 2 for name in _AMOUNTS}
    return msgspec.structs.replace(use, **halves)


def names_of(accounts: Accounts, use: Use) -> dict[str, str]:
    """What a use can be grouped and filtered by. A secret never heard of has an id made of its fingerprint."""
    key = accounts.keys.known(use.provider, use.credential)
    scope = SCOPES[use.provider]
    return {
        "api_key_id": key.id if key is not None else _ID_PREFIX[use.provider] + use.credential,
        f"{scope}_id": accounts.spend.scope_of(use.provider, use.credential) or DEFAULT_SCOPES[use.provider],
        "user_id": key.place.get("service_account", "") if key is not None else "",
        "model": use.model,
        "service_tier": use.tier,
    }


def groups_of(call: Call, known: Iterable[str]) -> list[str]:
    """The `group_by` of a call. Raises ProviderError for one that its report does not know."""
    asked, allowed = call.many("group_by"), set(known)
    for name in asked:
        if name not in allowed:
            raise ProviderError(
                400, f"Invalid 'group_by': {name!r} is none of {', '.join(sorted(allowed))}.", param="group_by"
            )
    return asked


def width_of(call: Call, otherwise: str = "1d", allowed: Iterable[str] = WIDTHS) -> str:
    """The `bucket_width` of a call. Raises ProviderError for any other."""
    width = call.one("bucket_width", otherwise)
    if width not in set(allowed):
        raise ProviderError(400, f"Invalid 'bucket_width': {width!r}.", param="bucket_width")
    return width


def page(
    call: Call,
    provider: str,
    width: str,
    start_us: int,
    end_us: int | None,
    *,
    groups: list[str],
    counts: Callable[[Use, dict[str, str]], bool],
    most: int = 0,
) -> Page:
    """The buckets of one call, from its `page` on. Buckets in which nothing happened are empty, not missing.

    `most` is the report's own bound on buckets in one page, 0 for the usual one of the width.

    Raises ProviderError for a bad page or limit.
    """
    span = WIDTHS[width]
    limit = call.whole("limit", DEFAULT_BUCKETS[width], most or MOST_BUCKETS[width])
    first = start_us - start_us % span
    cursor = call.one("page")
    if cursor:
        first = _opened(cursor)
    until = min(call.now_us if end_us is None else end_us, call.now_us)
    starts = range(first, until, span)
    shown = starts[:limit]
    buckets = [Bucket(start, start + span, []) for start in shown]
    if buckets:
        uses = _shown(call.accounts, provider, buckets[0].start_us, min(buckets[-1].end_us, until), counts)
        for use, names in uses:
            _add(buckets[(use.minute_us - first) // span], use, tuple(names.get(name, "") for name in groups))
    return Page(buckets, _sealed(starts[limit]) if len(starts) > limit else "")


def _shown(
    accounts: Accounts, provider: str, start_us: int, end_us: int, counts: Callable[[Use, dict[str, str]], bool]
) -> Iterator[tuple[Use, dict[str, str]]]:
    for use in accounts.bill.uses(start_us, end_us):
        if use.provider != provider:
            continue
        names = names_of(accounts, use)
        seen = published(accounts, use) if counts(use, names) else None
        if seen is not None and seen.requests:
            yield seen, names


def _add(bucket: Bucket, use: Use, group: tuple[str, ...]) -> None:
    for total in bucket.totals:
        if total.group == group:
            for name in _AMOUNTS:
                setattr(total.use, name, getattr(total.use, name) + getattr(use, name))
            return
    bucket.totals.append(Total(group, msgspec.structs.replace(use)))


def _sealed(start_us: int) -> str:
    return "page_" + base64.urlsafe_b64encode(str(start_us).encode()).decode().rstrip("=")


def _opened(cursor: str) -> int:
    text = cursor.removeprefix("page_")
    try:
        return int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise ProviderError(400, "Invalid 'page': not one that was given out.", param="page") from None


def wanted(call: Call, filters: dict[str, str]) -> Callable[[dict[str, str]], bool]:
    """Whether something passes the call's filters: `filters` maps each parameter to the name that it is about."""
    asked = {name: set(call.many(parameter)) for parameter, name in filters.items()}
    return lambda names: all(not values or names.get(name) in values for name, values in asked.items())
