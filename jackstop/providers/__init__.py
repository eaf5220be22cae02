"""Providers: their routes, dialects and header rules. One module per provider."""

from __future__ import annotations

from jackstop.errors import Refused, UserError
from jackstop.gate.refusals import ErrorDialect
from jackstop.providers import anthropic, deepseek, openai
from jackstop.providers.base_url import fold_base_url
from jackstop.providers.headers import request_headers, response_headers
from jackstop.providers.route import Route, Trace

__all__ = [
    "PROVIDERS",
    "Route",
    "Trace",
    "default_base_url",
    "error_dialect",
    "fold_base_url",
    "provider_of",
    "request_headers",
    "response_headers",
    "route",
    "trace",
]

PROVIDERS = {provider.name: provider for provider in (openai.TABLE, anthropic.TABLE, deepseek.TABLE)}


def provider_of(path: str) -> str | None:
    """The provider that a path names first, None for one that the gate does not know."""
    name = path[1:].partition("/")[0]
    return name if name in PROVIDERS else None


def error_dialect(path: str) -> ErrorDialect:
    """In whose shape an error on this path is written, before any route is found."""
    return "anthropic" if path.startswith(("/anthropic/", "/deepseek/anthropic/")) else "openai"


def route(method: str, path: str) -> Route | Refused:
    """The route of a raw path without its query, as `/<provider>/<the provider's own path>`.

    Refused with `endpoint` for what the gate does not forward, `unmetered` for what it knows but cannot meter.
    """
    name = provider_of(path)
    if name is None:
        return Refused("endpoint", "the path names no provider; it starts with one of " + ", ".join(sorted(PROVIDERS)))
    return PROVIDERS[name].route(method, path[1 + len(name) :])


def trace(method: str, path: str) -> Trace:
    """What a raw path shows of what a request wants, also where it is refused."""
    name = provider_of(path)
    return Trace() if name is None else PROVIDERS[name].trace(method, path[1 + len(name) :])


def default_base_url(provider: str) -> str:
    """The provider's own address. Raises UserError for a provider that has none here."""
    try:
        return PROVIDERS[provider].base_url
    except KeyError:
        raise UserError(
            f"{provider!r} is not a provider that this version knows",
            "use one of " + ", ".join(sorted(PROVIDERS)),
            2,
        ) from None
