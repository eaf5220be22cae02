"""One result of Anthropic's usage and cost reports as a bucket, whoever asked for the report.

Facts: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and …/cost_report/retrieve, read on
2026-11-23.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.providers.drivers.answers import nusd, shaped
from jackstop.providers.drivers.driver import Bucket

NUSD_PER_CENT = 10_000_000


class _Written(msgspec.Struct):
    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


class _Tokens(msgspec.Struct):
    uncached_input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation: _Written | None = None
    api_key_id: str | None = None
    model: str | None = None
    service_tier: str | None = None


class _Cost(msgspec.Struct):
    """`amount` is a decimal in cents."""

    amount: str
    currency: str
    model: str | None = None
    service_tier: str | None = None


def of_usage(result: dict[str, Any], start_us: int, width_us: int) -> Bucket:
    """The bucket of one result of the usage report, which counts no requests. Raises CallFailed."""
    tokens = shaped(result, _Tokens, "the usage report")
    written = tokens.cache_creation or _Written()
    return Bucket(
        start_us=start_us,
        width_us=width_us,
        provider_key_id=tokens.api_key_id or "",
        model=tokens.model or "",
        tier=tokens.service_tier or "",
        input_tokens=tokens.uncached_input_tokens,
        cache_read_tokens=tokens.cache_read_input_tokens,
        cache_write_tokens=written.ephemeral_1h_input_tokens + written.ephemeral_5m_input_tokens,
        output_tokens=tokens.output_tokens,
    )


def of_costs(result: dict[str, Any], start_us: int, width_us: int) -> Bucket | None:
    """The bucket of one result of the cost report, None where it is not in dollars. Raises CallFailed."""
    cost = shaped(result, _Cost, "the cost report")
    if cost.currency.upper() != "USD":
        return None
    return Bucket(
        start_us=start_us,
        width_us=width_us,
        model=cost.model or "",
        tier=cost.service_tier or "",
        cost_nusd=nusd(cost.amount, NUSD_PER_CENT),
    )
