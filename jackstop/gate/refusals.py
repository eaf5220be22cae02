"""Refusals in the words of each dialect, so that the official SDKs raise their own exceptions; no sockets here.

Shapes: OpenAI `{"error": {message, type, param, code}}` (openai-openapi, ErrorResponse), Anthropic
`{"type": "error", "error": {type, message}}` (docs.anthropic.com, API errors; 529 overloaded_error).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from jackstop.errors import Reason, Refused
from jackstop.gate.status import status_line

ErrorDialect = Literal["openai", "anthropic"]
"""In whose shape an error is written."""

UNAUTHORIZED = Refused("unauthorized", "The API key is missing or not valid.")
"""One answer for unknown, malformed and canary keys: nobody can tell them apart."""
DEFAULT_RETRY_AFTER_S = 1


class _Words(NamedTuple):
    status: int
    openai_type: str
    openai_code: str | None
    anthropic_status: int
    anthropic_type: str
    retry: bool


_KEY = _Words(401, "invalid_request_error", "invalid_api_key", 401, "authentication_error", retry=False)
_POLICY = _Words(403, "permission_error", None, 403, "permission_error", retry=False)
_LATER = _Words(429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error", retry=True)
_BUSY = _Words(503, "server_error", "overloaded", 529, "overloaded_error", retry=True)
_BAD = _Words(400, "invalid_request_error", None, 400, "invalid_request_error", retry=False)

_WORDS: dict[Reason, _Words] = {
    "unauthorized": _KEY,
    "expired": _KEY,
    "revoked": _KEY,
    "quarantined": _POLICY,
    "network": _POLICY,
    "provider": _POLICY,
    "endpoint": _POLICY,
    "model": _POLICY,
    "hours": _POLICY,
    "probe": _POLICY,
    "unbounded": _POLICY,
    "unmetered": _POLICY,
    "price": _POLICY,
    "budget": _Words(429, "insufficient_quota", "insufficient_quota", 402, "billing_error", retry=False),
    "rate": _LATER,
    "concurrency": _LATER,
    "lease": _LATER,
    "stale": _BUSY,
    "journal": _BUSY,
    "overload": _BUSY,
    "malformed": _BAD,
    "too_large": _Words(413, "invalid_request_error", None, 413, "request_too_large", retry=False),
    "upstream": _Words(502, "server_error", "upstream", 502, "api_error", retry=True),
}


def malformed(message: str, status: int = 400) -> Refused:
    """The refusal of bytes that are no request of this gate's kind. The message never quotes them."""
    return Refused("malformed", message, status=status)


def status_of(refused: Refused, dialect: ErrorDialect) -> int:
    """The HTTP status with which this refusal is answered."""
    words = _WORDS[refused.reason]
    return refused.status or (words.anthropic_status if dialect == "anthropic" else words.status)


def answer(refused: Refused, dialect: ErrorDialect, *, close: bool, body: bool = True) -> bytes:
    """The whole response. `close` says that the connection ends with it; `body` is False for HEAD."""
    words = _WORDS[refused.reason]
    content = msgspec.json.encode(_content(refused, words, dialect))
    headers: dict[str, str] = {"x-jackstop-reason": refused.reason}
    if not words.retry:
        headers["x-should-retry"] = "false"
    elif refused.reason != "upstream" or refused.retry_after_s is not None:
        headers["retry-after"] = str(max(1, refused.retry_after_s or DEFAULT_RETRY_AFTER_S))
    return response(status_of(refused, dialect), content, headers, close=close, body=body)


def _content(refused: Refused, words: _Words, dialect: ErrorDialect) -> dict[str, Any]:
    error: dict[str, Any] = {"message": refused.message}
    if dialect == "anthropic":
        error = {"type": words.anthropic_type, "message": refused.message}
    else:
        code = words.openai_code or refused.reason
        error = {"message": refused.message, "type": words.openai_type, "param": None, "code": code}
    if refused.details:
        error["jackstop"] = refused.details
    return {"type": "error", "error": error} if dialect == "anthropic" else {"error": error}


def response(
    status: int, content: bytes, headers: Mapping[str, str], *, close: bool = False, body: bool = True
) -> bytes:
    """A whole JSON response of the gate's own."""
    lines = [status_line(status), b"content-type: application/json", b"content-length: %d" % len(content)]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (content if body else b"")
