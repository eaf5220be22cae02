"""Logs of other systems as events: one module per format, each with the same attributes (`Source`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, NamedTuple

import msgspec

from jackstop.events.schema import Event
from jackstop.events.sources.entry import Origin, UnreadableEntry, enclosed, set_aside

_MODULES = {
    "access_log": "access_log",
    "anthropic_activity": "anthropic_activity",
    "anthropic_usage": "anthropic_usage",
    "azure_activity": "azure_activity",
    "azure_openai": "azure_openai",
    "bedrock_invocations": "bedrock_invocations",
    "cloudtrail": "cloudtrail",
    "gate": "gate",
    "gcp_audit": "gcp_audit",
    "litellm_spend": "litellm_spend",
    "openai_audit": "openai_audit",
    "openai_usage": "openai_usage",
}
"""The module of each format; the name is also the `source` of its events."""

UNREADABLE = "unreadable"
"""The `action` of an event that stands for an entry that could not be read."""

Form = Literal["json", "text", "csv"]


class Source(NamedTuple):
    """One format: what its module says of itself.

    `shape` is what the JSON of one entry is decoded to, `lists` are the names under which a document lists entries,
    `content` the paths that are dropped; of `forms` the first is the usual one. `claims` says of a decoded record (the
    object of a JSON record, the cells of a CSV row by the names of its header, a line of text) whether it is one of
    this format, `read` makes its event or its rows of usage; where `forms` names several, both take what each of them
    gives. `unwrapped` gives the entry of a record that wraps it or stands in a form that is not among them; it is asked
    only where a record is not of `shape` as it stands. None may take what it is given for well-formed; `read` and
    `unwrapped` raise UnreadableEntry.
    """

    name: str
    provider: str
    shape: type
    lists: tuple[str, ...]
    forms: tuple[Form, ...]
    gives: Literal["events", "usage"]
    content: tuple[str, ...]
    claims: Callable[[Any], bool]
    read: Callable[[Any, Origin], Any]
    unwrapped: Callable[[Any], Any] | None


def names() -> list[str]:
    """Every format there is."""
    return sorted(_MODULES)


@lru_cache
def source(name: str) -> Source:
    """What is known of a format. Raises KeyError for a name that is none."""
    module = _module(name)
    return Source(
        name,
        module.PROVIDER,
        module.SHAPE,
        module.LISTS,
        getattr(module, "FORMS", (module.FORM,)),
        module.GIVES,
        module.CONTENT,
        module.claims,
        module.read,
        getattr(module, "unwrapped", None),
    )


@lru_cache
def in_files() -> tuple[Source, ...]:
    """The formats that files can hold, in the order of their names."""
    return tuple(source(name) for name in names())


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{_MODULES[name]}")


def _entry(decoded: dict[str, Any], shape: type) -> Any:
    """What was decoded without a type, with one. Raises UnreadableEntry."""
    if shape == dict[str, Any]:
        return decoded
    try:
        # Through JSON, because only its decoder leaves parts as they are (`msgspec.Raw`).
        return msgspec.json.decode(msgspec.json.encode(decoded), type=shape)
    except msgspec.ValidationError as error:
        raise UnreadableEntry(str(error)) from None


def events_of(source: str, entries: Iterable[Any], origin: Origin) -> list[Event]:
    """An event for each entry; one that makes no sense gives one that says so, with its place and hash only."""
    module = _module(source)
    found = []
    for number, entry in enumerate(entries):
        try:
            event = module.read(_entry(enclosed(entry), module.SHAPE), origin)
        except UnreadableEntry as error:
            event = set_aside(entry, origin, number, error)
            event.action = UNREADABLE
        event.source, event.provider, event.account = source, module.PROVIDER, origin.account
        found.append(event)
    return found
