"""What happened in a practice organisation, as its provider's audit log keeps it."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.sandbox.accounts import mint


class Actor(msgspec.Struct, frozen=True):
    """Who did it: a person in a session (with an address of the mail), or an administration key."""

    kind: str = "session"
    id: str = ""
    email: str = ""
    ip: str = ""
    user_agent: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One line of a provider's audit log. `kind` is the provider's own name of it, `detail` its own fields."""

    id: str
    ts_us: int
    provider: str
    kind: str
    actor: Actor
    resource: str = ""
    project: str = ""
    detail: dict[str, Any] = {}


class AuditLog:
    """The entries of all providers, oldest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def add(
        self,
        provider: str,
        kind: str,
        ts_us: int,
        actor: Actor,
        *,
        resource: str = "",
        project: str = "",
        detail: dict[str, Any] | None = None,
    ) -> Entry:
        """Write one entry."""
        prefix = "activity_" if provider == "anthropic" else "audit_log-"
        entry = Entry(mint.ident(prefix), ts_us, provider, kind, actor, resource, project, detail or {})
        self._entries.append(entry)
        return entry

    def of(self, provider: str) -> list[Entry]:
        """One provider's entries, oldest first."""
        return [entry for entry in self._entries if entry.provider == provider]
