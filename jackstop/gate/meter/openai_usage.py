"""Usage and errors as OpenAI's dialects report them."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.gate.meter.answers import MAX_CODE_CHARS, UNREADABLE, Count, is_given
from jackstop.gate.meter.base import Usage
from jackstop.money import NUSD_PER_USD

_MOST_TOLD_USD = 10_000


class PromptDetails(msgspec.Struct, gc=False):
    """Cache parts of chat input."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionDetails(msgspec.Struct, gc=False):
    """Parts of chat output."""

    reasoning_tokens: Count | None = None


_NO_PROMPT_DETAILS = PromptDetails()
_NO_COMPLETION_DETAILS = CompletionDetails()


class ChatUsage(msgspec.Struct, gc=False):
    """openai 3.54 types/completion_usage.py; beside it DeepSeek's cache counts, and what OpenRouter charged.

    OpenRouter's `cost` is in credits, which are US dollars (openrouter.ai/docs/use-cases/usage-accounting, read on
    2026-11-23); others have something else under this name.
    """

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Count | None = None
    cost: Any = None
    is_byok: Any = None


class CacheWriteDetails(msgspec.Struct, gc=False):
    """Cache writes by lifetime."""

    ttl_12h_tokens: Count | None = None


class InputDetails(msgspec.Struct, gc=False):
    """Cache parts of a response's input."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_write_tokens_details: CacheWriteDetails | None = None


class OutputDetails(msgspec.Struct, gc=False):
    """Parts of a response's output."""

    reasoning_tokens: Count | None = None


class ResponsesUsage(msgspec.Struct, gc=False):
    """openai 3.54 types/responses/response_usage.py."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class _Error(msgspec.Struct, gc=False):
    code: str | int | None = None
    type: str | None = None


_ERROR = msgspec.json.Decoder(_Error)


def error_code(raw: msgspec.Raw) -> str:
    """The code, or else the type, of an error object; never its message, which may quote the prompt."""
    if not is_given(raw):
        return ""
    try:
        error = _ERROR.decode(raw)
    except UNREADABLE:
        return "error"
    return str(error.code or error.type or "error")[:MAX_CODE_CHARS]


def chat_usage(found: ChatUsage, tier: str = "") -> Usage | None:
    """Chat or embeddings usage, billed by `tier`; None where the input is missing."""
    into = found.prompt_tokens
    if into is None:
        return None
    inputs = found.prompt_tokens_details or _NO_PROMPT_DETAILS
    outputs = found.completion_tokens_details or _NO_COMPLETION_DETAILS
    read, write = inputs.cached_tokens, inputs.cache_write_tokens or 0
    if read is None:
        read = found.prompt_cache_hit_tokens or 0
    return Usage(
        input_tokens=max(0, into - read - write),
        cache_read_tokens=read,
        cache_write_tokens=write,
        # A provider that counts reasoning outside of the output shows it in the total.
        output_tokens=max(found.completion_tokens or 0, (found.total_tokens or 0) - into),
        reasoning_tokens=outputs.reasoning_tokens or 0,
        service_tier=tier,
        told_nusd=_told(found),
    )


def _told(found: ChatUsage) -> int | None:
    """What the provider says that it charged. With a key of one's own at its upstream that is only its fee."""
    cost = found.cost
    if isinstance(cost, bool) or not isinstance(cost, int | float) or found.is_byok:
        return None
    return round(cost * NUSD_PER_USD) if 0 < cost < _MOST_TOLD_USD else None


def responses_usage(found: ResponsesUsage) -> Usage | None:
    """Usage of the Responses dialect; None where a count is missing."""
    into, out = found.input_tokens, found.output_tokens
    if into is None or out is None:
        return None
    inputs = found.input_tokens_details or InputDetails()
    outputs = found.output_tokens_details or OutputDetails()
    by_lifetime = inputs.cache_write_tokens_details or CacheWriteDetails()
    read, write = inputs.cached_tokens or 0, inputs.cache_write_tokens or 0
    long = min(by_lifetime.ttl_12h_tokens or 0, write)
    return Usage(
        input_tokens=max(0, into - read - write),
        cache_read_tokens=read,
        cache_write_tokens=write - long,
        cache_write_1h_tokens=long,
        output_tokens=max(out, (found.total_tokens or 0) - into),
        reasoning_tokens=outputs.reasoning_tokens or 0,
    )
