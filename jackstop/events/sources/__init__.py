"""Logs of other systems as events: one module per format, each with the same `PROVIDER` and `read`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from jackstop.events.schema import Event
from jackstop.events.sources.entry import Origin, UnreadableEntry, enclosed, set_aside

_MODULES = {
    "anthropic_activity": "anthropic_activity",
    "openai_audit": "openai_audit",
}
"""The module of each format; the name is also the `source` of its events."""

UNREADABLE = "unreadable"
"""The `action` of an event that stands for an entry that could not be read."""


def names() -> list[str]:
    """Every format there is."""
    return sorted(_MODULES)


def events_of(source: str, entries: Iterable[Any], origin: Origin) -> list[Event]:
    """An event for each entry; one that makes no sense gives one that says so, with its place and hash only."""
    module = import_module(f"{__name__}.{_MODULES[source]}")
    found = []
    for number, entry in enumerate(entries):
        try:
            event = module.read(enclosed(entry), origin)
        except UnreadableEntry as error:
            event = set_aside(entry, origin, number, error)
            event.action = UNREADABLE
        event.source, event.provider, event.account = source, module.PROVIDER, origin.account
        found.append(event)
    return found
