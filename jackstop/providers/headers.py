"""Which headers pass between client and provider, and how the credential is attached."""

from __future__ import annotations

from collections.abc import Sequence

from jackstop.providers import anthropic, openai
from jackstop.providers.route import Route

Headers = list[tuple[bytes, bytes]]

# Framing (host, content-length, transfer-encoding) is the gate's own on each side. Everything else that is not here
# stays behind: the client's authorization, cookies, the organisation, project or workspace that it would choose,
# what proxies wrote about it, and tracing ids of its network.
_REQUEST = frozenset(
    {
        b"accept",
        b"accept-language",
        b"content-type",
        b"idempotency-key",
        b"user-agent",
        b"x-client-request-id",
    }
)
_REQUEST_PREFIX = b"x-stainless-"
_ANTHROPIC = frozenset({b"anthropic-version"})
_BETA_HEADERS = {b"anthropic-beta": anthropic.BETAS, b"openai-beta": openai.BETAS}

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# What names the organisation, or speaks for the provider's host rather than for the gate's.
_NOT_FOR_CLIENTS = frozenset(
    {
        b"alt-svc",
        b"anthropic-organization-id",
        b"anthropic-workspace-id",
        b"openai-organization",
        b"openai-project",
        b"set-cookie",
        b"set-cookie2",
        b"strict-transport-security",
    }
)
_GATES_OWN = frozenset({b"content-length", b"x-jackstop-reason"})
_DROPPED = _HOP_BY_HOP | _NOT_FOR_CLIENTS | _GATES_OWN


def _known_flags(value: bytes, known: frozenset[bytes]) -> bytes:
    return b",".join(flag for part in value.split(b",") if (flag := part.strip()) in known)


def request_headers(route: Route, headers: Sequence[tuple[bytes, bytes]], secret: bytes) -> Headers:
    """The headers to forward, in order, with the credential in the provider's own header.

    `headers` are the client's, names in any case. Beta flags pass only where a meter knows them.
    """
    is_anthropic = route.error_dialect == "anthropic"
    kept: Headers = []
    seen: set[bytes] = set()
    for name, value in headers:
        lower = name.lower()
        if lower in _BETA_HEADERS:
            if (lower == b"anthropic-beta") == is_anthropic and (flags := _known_flags(value, _BETA_HEADERS[lower])):
                kept.append((name, flags))
            continue
        allowed = lower in _REQUEST or lower.startswith(_REQUEST_PREFIX) or (is_anthropic and lower in _ANTHROPIC)
        # A second copy of a header could be read differently by the provider than by the gate.
        if allowed and lower not in seen:
            seen.add(lower)
            kept.append((name, value))
    kept.append((b"accept-encoding", b"identity"))
    kept.append((b"x-api-key", secret) if is_anthropic else (b"authorization", b"Bearer " + secret))
    return kept


def response_headers(headers: Sequence[tuple[bytes, bytes]], hop: frozenset[bytes], secret: bytes) -> Headers:
    """The provider's headers that the client may see, without the length, which the gate gives by itself.

    Left out are hop-by-hop headers and those that Connection names as such (`hop`), what names the organisation, and
    whatever repeats the credential's `secret`. Names are in lower case.
    """
    dropped = _DROPPED | hop if hop else _DROPPED
    return [field for field in headers if field[0] not in dropped and not (secret and secret in field[1])]
