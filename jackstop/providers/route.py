"""Where one path of the gate leads: provider, dialect, meter and the provider's own path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from jackstop.errors import Refused
from jackstop.gate.meter.base import Meter
from jackstop.gate.refusals import ErrorDialect

DATA_WRITE = "data_write"
"""The `action_class` of what stores or changes data at the provider."""
_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@")


class Route(msgspec.Struct, frozen=True):
    """One route. `meter` is None for a route without a body, which is free.

    `endpoint` and `action_class` are the event's columns. `upstream_path` follows the credential's base URL.
    """

    provider: str
    dialect: str
    meter: Meter | None
    endpoint: str
    action_class: str
    upstream_path: str
    error_dialect: ErrorDialect = "openai"
    has_body: bool = True


def metered(provider: str, meter: Meter, endpoint: str, path: str, error_dialect: ErrorDialect = "openai") -> Route:
    """A route whose POST body a meter reads."""
    return Route(provider, meter.dialect, meter, endpoint, "inference", path, error_dialect)


def models(provider: str, path: str, error_dialect: ErrorDialect = "openai") -> Route:
    """The list of models, which is free: a GET without a body."""
    return Route(provider, "free", None, "models", "list_models", path, error_dialect, has_body=False)


class Feature(msgspec.Struct, frozen=True):
    """What a path is for that the gate does not forward: its event says so although it is refused.

    `writes` and `reads` are the event's `action_class` for a POST and the like, and for a GET. `probe` names the
    signature of the key checkers that call it; applications have no reason to.
    """

    endpoint: str
    writes: str = "inference"
    reads: str = "data_read"
    probe: str = ""


class Trace(NamedTuple):
    """What a request's path shows of what it wants, whether it is forwarded or not."""

    provider: str = ""
    endpoint: str = ""
    action_class: str = ""
    probe: str = ""


class Table:
    """The routes of one provider: exact ones, one resource by id, and what is known but not forwarded.

    `by_id` is the route whose path also stands before an id. `unmetered` are path starts of features that cost
    money and have no meter, `others` those of what has no business here; they and every other path are refused
    as unknown.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        routes: list[Route],
        *,
        by_id: Route | None = None,
        unmetered: Mapping[str, Feature],
        others: Mapping[str, Feature],
    ) -> None:
        self.name = name
        self.base_url = base_url
        self._routes = {("POST" if route.has_body else "GET", route.upstream_path): route for route in routes}
        self._by_id = {by_id.upstream_path: by_id} if by_id is not None else {}
        self._unmetered = unmetered
        self._features = {**others, **unmetered}

    def route(self, method: str, path: str) -> Route | Refused:
        """The route of a path that starts after the provider's name."""
        found = self._routes.get((method, path))
        if found is not None:
            return found
        parent, _, last = path.rpartition("/")
        if method == "GET" and parent in self._by_id and _is_plain(last):
            return msgspec.structs.replace(self._by_id[parent], upstream_path=path)
        if _longest(self._unmetered, path):
            return Refused("unmetered", f"{self.name} {path[:80]} has no meter yet, so its cost could not be bounded")
        return Refused("endpoint", f"the gate does not forward {method} {path[:80]} to {self.name}")

    def trace(self, method: str, path: str) -> Trace:
        """What a request to a path that starts after the provider's name wants, as far as that is known."""
        found = self.route(method, path)
        if isinstance(found, Route):
            return Trace(self.name, found.endpoint, found.action_class)
        feature = self._features.get(_longest(self._features, path))
        if feature is None:
            return Trace(self.name)
        reads = method in {"GET", "HEAD"}
        return Trace(self.name, feature.endpoint, feature.reads if reads else feature.writes, feature.probe)


def _longest(starts: Iterable[str], path: str) -> str:
    """The longest of these path starts that a path begins with, empty where none does."""
    return max((start for start in starts if path == start or path.startswith(start + "/")), key=len, default="")


def _is_plain(segment: str) -> bool:
    """Whether a path segment is an identifier: no escapes, no dots alone, no slash."""
    return 0 < len(segment) <= 256 and _ID.issuperset(segment) and segment.strip(".") != ""
