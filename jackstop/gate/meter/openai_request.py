"""What the request members that OpenAI's dialects share mean for the bound."""

from __future__ import annotations

from jackstop.gate.meter import fields
from jackstop.gate.meter.base import Ask
from jackstop.gate.meter.fields import Body

# Tiers with a list price; "auto" leaves it to the project, whose default is "default".
_TIERS = frozenset({"flex", "scale", "priority", "fast"})
_STANDARD_TIERS = frozenset({"", "auto", "default"})
_END_USERS = ("safety_identifier", "user", "user_id")
_NAMES_END_USER = frozenset(_END_USERS)


def service_tier(ask: Ask, body: Body) -> None:
    """The service tier asked for, "" for the standard one. One without a list price is unmetered."""
    found = fields.text(body, "service_tier")
    if found in _STANDARD_TIERS:
        return
    ask.service_tier = found
    if found not in _TIERS:
        ask.unmetered = ask.unmetered or "a service tier without a list price"


def cache_write(body: Body) -> str:
    """The longest cache lifetime that the request can write: "short" by itself, "long" when asked."""
    options = fields.mapping(body, "prompt_cache_options")
    return "long" if options is not None and fields.text(options, "ttl") not in {"", "30m"} else "short"


def end_user(body: Body) -> str:
    """The end user that the client names, "" for none."""
    if _NAMES_END_USER.isdisjoint(body):
        return ""
    for name in _END_USERS:
        value = body.get(name)
        if isinstance(value, str) and value:
            return value
    return ""
