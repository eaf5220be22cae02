"""One result of OpenAI's usage and cost reports as a bucket, whoever asked for the report.

Facts: the OpenAPI document of August 2026 (`Usage…Result`, `CostsResult`), read on 2026-11-23.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.providers.drivers.answers import nusd, shaped
from jackstop.providers.drivers.driver import Bucket


class _Tokens(msgspec.Struct):
    """Of completions, embeddings and moderations; only the first know a cache and a tier."""

    num_model_requests: int
    input_tokens: int
    output_tokens: int = 0
    input_cached_tokens: int | None = None
    input_cache_write_tokens: int | None = None
    api_key_id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    batch: bool | None = None


class _Requests(msgspec.Struct):
    """Of what is not counted in tokens: images, speech, transcriptions, searches."""

    num_model_requests: int | None = None
    num_requests: int | None = None
    api_key_id: str | None = None
    model: str | None = None


class _Amount(msgspec.Struct):
    value: float | str | None = None
    currency: str | None = None


class _Cost(msgspec.Struct):
    amount: _Amount | None = None
    api_key_id: str | None = None
    line_item: str | None = None


def of_usage(result: dict[str, Any], what: str, start_us: int, width_us: int) -> Bucket:
    """The bucket of one result of a usage report. Raises CallFailed, which names `what` and quotes nothing."""
    tokens = shaped(result, _Tokens, what)
    cached, written = tokens.input_cached_tokens or 0, tokens.input_cache_write_tokens or 0
    return Bucket(
        start_us=start_us,
        width_us=width_us,
        provider_key_id=tokens.api_key_id or "",
        model=tokens.model or "",
        tier=tokens.service_tier or ("batch" if tokens.batch else ""),
        requests=tokens.num_model_requests,
        # The provider's number holds what was read from the cache and written to it.
        input_tokens=max(0, tokens.input_tokens - cached - written),
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=tokens.output_tokens,
    )


def of_requests(result: dict[str, Any], what: str, start_us: int, width_us: int) -> Bucket:
    """The bucket of one result of a report that counts no tokens. Raises CallFailed, which names `what`."""
    counted = shaped(result, _Requests, what)
    return Bucket(
        start_us=start_us,
        width_us=width_us,
        provider_key_id=counted.api_key_id or "",
        model=counted.model or "",
        requests=counted.num_model_requests or counted.num_requests or 0,
    )


def of_costs(result: dict[str, Any], start_us: int, width_us: int) -> Bucket | None:
    """The bucket of one result of the costs, None where it is not in dollars. Raises CallFailed.

    A line item is as `gpt-6-astra, input_tokens`; what stands before the comma is the bucket's model.
    """
    cost = shaped(result, _Cost, "costs")
    if cost.amount is None or cost.amount.value is None or (cost.amount.currency or "usd").lower() != "usd":
        return None
    return Bucket(
        start_us=start_us,
        width_us=width_us,
        provider_key_id=cost.api_key_id or "",
        model=(cost.line_item or "").split(",")[0].strip(),
        cost_nusd=nusd(cost.amount.value),
    )
