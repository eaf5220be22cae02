"""Usage and errors as OpenAI's dialects report them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from jackstop.gate.meter.base import Usage

# No model counts beyond this; a larger or negative number is not read, and the hold stays charged.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**10)]


class PromptDetails(msgspec.Struct):
    """Cache parts of chat input."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class CompletionDetails(msgspec.Struct):
    """Parts of chat output."""

    reasoning_tokens: Count | None = None


class ChatUsage(msgspec.Struct):
    """openai 3.54 types/completion_usage.py, and DeepSeek's cache counts beside it."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Count | None = None


class CacheWriteDetails(msgspec.Struct):
    """Cache writes by lifetime."""

    ttl_12h_tokens: Count | None = None


class InputDetails(msgspec.Struct):
    """Cache parts of a response's input."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_write_tokens_details: CacheWriteDetails | None = None


class OutputDetails(msgspec.Struct):
    """Parts of a response's output."""

    reasoning_tokens: Count | None = None


class ResponsesUsage(msgspec.Struct):
    """openai 3.54 types/responses/response_usage.py."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None


_ERROR = msgspec.json.Decoder(_Error)

# msgspec cannot decode `Raw | None`: an absent member is NOTHING, and null is one of its own.
NOTHING = msgspec.Raw()
_NULL = msgspec.Raw(b"null")


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a raw member was there and not null."""
    return raw not in (NOTHING, _NULL)


def error_code(raw: msgspec.Raw) -> str:
    """The code, or else the type, of an error object; never its message, which may quote the prompt."""
    if not is_given(raw):
        return ""
    try:
        error = _ERROR.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "error"
    return str(error.code or error.type or "error")[:128]


def _split(into: int, read: int, write: int) -> tuple[int, int, int]:
    """Input that contains cache reads and writes as three disjoint counts, never less than reported."""
    return max(0, into - read - write), read, write


def chat_usage(found: ChatUsage) -> Usage | None:
    """Chat or embeddings usage; None where the input is missing."""
    into, out = found.prompt_tokens, found.completion_tokens or 0
    if into is None:
        return None
    details = found.prompt_tokens_details
    read = details.cached_tokens if details is not None else None
    if read is None:
        read = found.prompt_cache_hit_tokens or 0
    write = (details.cache_write_tokens or 0) if details is not None else 0
    plain, read, write = _split(into, read, write)
    reasoning = (found.completion_tokens_details and found.completion_tokens_details.reasoning_tokens) or 0
    # A provider that counts reasoning outside its completion tokens shows it in the total.
    out = max(out, (found.total_tokens or 0) - into)
    return Usage(
        input_tokens=plain,
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=out,
        reasoning_tokens=reasoning,
    )


def responses_usage(found: ResponsesUsage) -> Usage | None:
    """Usage of the Responses dialect; None where a count is missing."""
    into, out = found.input_tokens, found.output_tokens
    if into is None or out is None:
        return None
    details = found.input_tokens_details or InputDetails()
    plain, read, write = _split(into, details.cached_tokens or 0, details.cache_write_tokens or 0)
    long = details.cache_write_tokens_details.ttl_12h_tokens if details.cache_write_tokens_details else None
    long = min(long or 0, write)
    reasoning = (found.output_tokens_details and found.output_tokens_details.reasoning_tokens) or 0
    return Usage(
        input_tokens=plain,
        cache_read_tokens=read,
        cache_write_tokens=write - long,
        cache_write_1h_tokens=long,
        output_tokens=max(out, (found.total_tokens or 0) - into),
        reasoning_tokens=reasoning,
    )
