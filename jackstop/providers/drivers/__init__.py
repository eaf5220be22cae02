"""Drivers: what can be done to a provider's keys, limits, usage and audit log by API. One module per provider."""

from __future__ import annotations

from importlib import import_module

from jackstop.errors import UserError
from jackstop.providers.drivers.driver import Driver

_MODULES = {
    "anthropic": "anthropic",
    "aws": "aws",
    "azure": "azure",
    "bedrock": "bedrock",
    "deepseek": "deepseek",
    "google": "google",
    "google_sa": "google_sa",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "xai": "xai",
}
"""The module of each driver: imported when it is asked for, since some bring a cloud's SDK with them."""


def names() -> list[str]:
    """Every driver there is."""
    return sorted(_MODULES)


def driver(name: str) -> Driver:
    """The driver of this name. Raises UserError for one that there is not."""
    if name not in _MODULES:
        raise UserError(f"there is no driver {name!r}", f"use one of: {', '.join(names())}", 2)
    found: Driver = import_module(f"{__name__}.{_MODULES[name]}").DRIVER
    return found
