"""OpenAI's usage by minute, hour or day, and its costs by day.

Shapes: `UsageCompletionsResult`, `UsageEmbeddingsResult` and `CostsResult` of OpenAI's OpenAPI document, 2026-08-21.
"""

from __future__ import annotations

from collections.abc import Callable

from jackstop.sandbox.accounts.api import Call
from jackstop.sandbox.accounts.usage import Page, groups_of, page, wanted, width_of
from jackstop.sandbox.bill import Use
from jackstop.sandbox.catalogue import UNITS_PER_NUSD
from jackstop.sandbox.errors import ProviderError

_S = 1_000_000
_CHAT = ("chat.completions", "responses")
_FILTERS = {
    "project_ids": "project_id",
    "user_ids": "user_id",
    "api_key_ids": "api_key_id",
    "models": "model",
}
_COST_MOST = 180
_LATEST_S = 253_402_300_800


def _span(call: Call) -> tuple[int, int | None]:
    start = call.whole("start_time", -1, _LATEST_S, 0)
    if start < 0:
        raise ProviderError(400, "Missing required parameter: 'start_time'.", param="start_time")
    end = call.whole("end_time", -1, _LATEST_S, 0)
    if 0 <= end <= start:
        raise ProviderError(400, "Invalid 'end_time': it must be after 'start_time'.", param="end_time")
    return start * _S, None if end < 0 else end * _S


def _answered(found: Page, groups: list[str], shown: Callable[[Use], dict[str, object]]) -> dict[str, object]:
    data = [
        {
            "object": "bucket",
            "start_time": bucket.start_us // _S,
            "end_time": bucket.end_us // _S,
            "results": [
                {**shown(total.use), **dict(zip(groups, map(_named, groups, total.group), strict=True))}
                for total in bucket.totals
            ],
        }
        for bucket in found.buckets
    ]
    return {"object": "page", "data": data, "has_more": bool(found.following), "next_page": found.following or None}


def _named(group: str, value: str) -> object:
    """The value of a group as a result shows it. Nothing here was a batch."""
    return False if group == "batch" else value or None


def _completions(use: Use) -> dict[str, object]:
    """`input_tokens` include what was read from and written to the cache."""
    whole = use.input_tokens + use.cached_tokens + use.cache_write_tokens
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": whole,
        "input_cached_tokens": use.cached_tokens,
        "input_cache_write_tokens": use.cache_write_tokens,
        "input_uncached_tokens": use.input_tokens,
        "input_text_tokens": whole,
        "input_audio_tokens": 0,
        "input_image_tokens": 0,
        "output_tokens": use.output_tokens,
        "output_text_tokens": use.output_tokens,
        "output_audio_tokens": 0,
        "output_image_tokens": 0,
        "num_model_requests": use.requests,
        "project_id": None,
        "user_id": None,
        "api_key_id": None,
        "model": None,
        "batch": None,
        "service_tier": None,
    }


def _embeddings(use: Use) -> dict[str, object]:
    return {
        "object": "organization.usage.embeddings.result",
        "input_tokens": use.input_tokens,
        "num_model_requests": use.requests,
        "project_id": None,
        "user_id": None,
        "api_key_id": None,
        "model": None,
    }


def completions(call: Call) -> object:
    """GET /organization/usage/completions, which counts the Responses API too."""
    groups = groups_of(call, ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier"))
    passes = wanted(call, _FILTERS)
    start_us, end_us = _span(call)
    batch = call.one("batch") == "true"
    found = page(
        call,
        "openai",
        width_of(call),
        start_us,
        end_us,
        groups=groups,
        counts=lambda use, names: use.endpoint in _CHAT and not batch and passes(names),
    )
    return _answered(found, groups, _completions)


def embeddings(call: Call) -> object:
    """GET /organization/usage/embeddings."""
    groups = groups_of(call, ("project_id", "user_id", "api_key_id", "model"))
    passes = wanted(call, _FILTERS)
    start_us, end_us = _span(call)
    found = page(
        call,
        "openai",
        width_of(call),
        start_us,
        end_us,
        groups=groups,
        counts=lambda use, names: use.endpoint == "embeddings" and passes(names),
    )
    return _answered(found, groups, _embeddings)


def nothing(call: Call) -> object:
    """The reports of what is not practised: GET /organization/usage/images, audio_speeches, audio_transcriptions."""
    groups = groups_of(call, ("project_id", "user_id", "api_key_id", "model", "size", "source"))
    start_us, end_us = _span(call)
    found = page(call, "openai", width_of(call), start_us, end_us, groups=groups, counts=lambda _use, _names: False)
    return _answered(found, groups, lambda _use: {})


def _cost(use: Use) -> dict[str, object]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": use.units / UNITS_PER_NUSD / 1_000_000_000, "currency": "usd"},
        "line_item": None,
        "project_id": None,
        "api_key_id": None,
    }


def costs(call: Call) -> object:
    """GET /organization/costs: by day only; a line item is a model."""
    groups = groups_of(call, ("project_id", "line_item", "api_key_id"))
    passes = wanted(call, {"project_ids": "project_id", "api_key_ids": "api_key_id"})
    start_us, end_us = _span(call)
    named = ["model" if name == "line_item" else name for name in groups]
    found = page(
        call,
        "openai",
        width_of(call, allowed=("1d",)),
        start_us,
        end_us,
        groups=named,
        counts=lambda use, names: passes(names) and bool(use.units),
        most=_COST_MOST,
    )
    return _answered(found, groups, _cost)
