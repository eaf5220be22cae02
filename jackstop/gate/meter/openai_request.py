"""What the request members that OpenAI's dialects share mean for the bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstop.gate.meter import fields

# Tiers with a list price; "auto" leaves it to the project, whose default is "default".
_TIERS = frozenset({"", "auto", "default", "flex", "scale", "priority", "fast"})
_PROJECTS_TIER = frozenset({"auto", "default"})


def tier(body: Mapping[str, Any]) -> str:
    """The service tier asked for, "" for the standard one."""
    found = fields.text(body, "service_tier")
    return "" if found in _PROJECTS_TIER else found


def unlisted_tier(body: Mapping[str, Any]) -> str:
    """Names a tier that has no list price, "" for the others."""
    return "" if fields.text(body, "service_tier") in _TIERS else "a service tier without a list price"


def cache_write(body: Mapping[str, Any]) -> str:
    """The longest cache lifetime that the request can write: "short" by itself, "long" when asked."""
    options = fields.mapping(body, "prompt_cache_options")
    return "long" if options is not None and fields.text(options, "ttl") not in {"", "30m"} else "short"


def end_user(body: Mapping[str, Any]) -> str:
    """The end user that the client names, "" for none."""
    for name in ("safety_identifier", "user", "user_id"):
        value = body.get(name)
        if isinstance(value, str) and value:
            return value
    return ""
