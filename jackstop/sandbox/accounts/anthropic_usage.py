"""Anthropic's usage report by minute, hour or day, and its cost report by day.

Shapes: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and …/cost_report/retrieve, read
2026-11-23; anthropic 2.12 has neither.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from jackstop.clock import from_datetime, to_datetime
from jackstop.sandbox.accounts.api import Call
from jackstop.sandbox.accounts.usage import Page, groups_of, page, wanted, width_of
from jackstop.sandbox.bill import Use
from jackstop.sandbox.catalogue import UNITS_PER_NUSD
from jackstop.sandbox.errors import ProviderError

_NUSD_PER_CENT = 10_000_000
_GROUPS = ("api_key_id", "workspace_id", "model", "service_tier", "context_window")
_NAMED = {"api_key_id", "workspace_id", "model", "service_tier"}


def moment(ts_us: int) -> str:
    """A time as Anthropic writes it (RFC 3339)."""
    return to_datetime(ts_us).isoformat().replace("+00:00", "Z")


def read_moment(text: str, name: str) -> int:
    """A time as callers write it, in UTC microseconds. Raises ProviderError when it is none."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise ProviderError(400, f"{name}: Input should be a valid datetime") from None
    return from_datetime(found if found.tzinfo else found.replace(tzinfo=UTC))


def _span(call: Call) -> tuple[int, int | None]:
    if not call.one("starting_at"):
        raise ProviderError(400, "starting_at: Field required")
    end = call.one("ending_at")
    return read_moment(call.one("starting_at"), "starting_at"), read_moment(end, "ending_at") if end else None


def _answered(found: Page, groups: list[str], shown: Callable[[Use, dict[str, str]], dict[str, object]]) -> object:
    data = [
        {
            "starting_at": moment(bucket.start_us),
            "ending_at": moment(bucket.end_us),
            "results": [shown(total.use, dict(zip(groups, total.group, strict=True))) for total in bucket.totals],
        }
        for bucket in found.buckets
    ]
    return {"data": data, "has_more": bool(found.following), "next_page": found.following or None}


def _messages(use: Use, names: dict[str, str]) -> dict[str, object]:
    tier = names.get("service_tier")
    return {
        "uncached_input_tokens": use.input_tokens,
        "cache_read_input_tokens": use.cached_tokens,
        "cache_creation": {
            "ephemeral_1h_input_tokens": use.cache_write_1h_tokens,
            "ephemeral_5m_input_tokens": use.cache_write_tokens - use.cache_write_1h_tokens,
        },
        "output_tokens": use.output_tokens,
        "server_tool_use": {"web_search_requests": use.searches},
        "api_key_id": names.get("api_key_id"),
        "workspace_id": names.get("workspace_id"),
        "model": names.get("model"),
        "service_tier": "standard" if tier == "default" else tier,
        "context_window": "0-200k" if "context_window" in names else None,
    }


def usage_report(call: Call) -> object:
    """GET /v1/organizations/usage_report/messages. The report does not count requests."""
    groups = groups_of(call, _GROUPS)
    passes = wanted(call, {"api_key_ids": "api_key_id", "workspace_ids": "workspace_id", "models": "model"})
    start_us, end_us = _span(call)
    found = page(
        call,
        "anthropic",
        width_of(call),
        start_us,
        end_us,
        groups=groups,
        counts=lambda use, names: use.endpoint == "messages" and passes(names),
    )
    return _answered(found, groups, _messages)


def _cost(use: Use, names: dict[str, str]) -> dict[str, object]:
    """The amount is in cents, as text ("123.45" is $1.23)."""
    model = names.get("description")
    amount = f"{use.units / UNITS_PER_NUSD / _NUSD_PER_CENT:.8f}"
    return {
        "amount": amount,
        "currency": "USD",
        "workspace_id": names.get("workspace_id"),
        "description": f"{model} Usage" if model else None,
        "cost_type": "tokens" if model else None,
        "model": model,
        "service_tier": "standard" if model else None,
        "context_window": "0-200k" if model else None,
        "token_type": None,
        "inference_geo": None,
    }


def cost_report(call: Call) -> object:
    """GET /v1/organizations/cost_report, by workspace and by model, never by key."""
    groups = groups_of(call, ("workspace_id", "description"))
    start_us, end_us = _span(call)
    found = page(
        call,
        "anthropic",
        width_of(call, allowed=("1d",)),
        start_us,
        end_us,
        groups=["model" if name == "description" else name for name in groups],
        counts=lambda use, names: bool(names and use.units),
    )
    return _answered(found, groups, _cost)
