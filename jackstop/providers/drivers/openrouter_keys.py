"""OpenRouter's keys as its management API describes and changes them.

Facts: openrouter 1.3.84 (`openrouter/operations/{list,getkey,updatekeys}.py`), read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from jackstop.providers.drivers.answers import every, shaped
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import Administration


class Key(msgspec.Struct):
    """A key as OpenRouter describes it. Amounts are US dollars."""

    hash: str
    name: str
    disabled: bool
    created_at: datetime
    limit: float | None = None
    limit_reset: str | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    usage_daily: float = 0.0


class _Keys(msgspec.Struct):
    data: list[Key]


class _One(msgspec.Struct):
    data: Key


def keys(admin: Administration, place: Mapping[str, str]) -> list[Key]:
    """The workspace's keys, disabled and expired ones too."""
    url = admin.base_url + "/keys"
    found: dict[str, Key] = {}

    def page(cursor: str) -> tuple[list[Key], str]:
        query = {
            "offset": cursor or None,
            "include_disabled": "true",
            "include_expired": "true",
            "workspace_id": place.get("workspace") or None,
        }
        said = shaped(call("GET", url, bearing(admin.secret), query=query, ca=admin.ca), _Keys, "listing keys").data
        fresh = [key for key in said if key.hash not in found]
        found.update({key.hash: key for key in fresh})
        # The answer has neither a cursor nor the size of a page: the list ends where a page brings nothing new.
        return fresh, str(len(found)) if fresh else ""

    return list(every(page))


def key_at(admin: Administration, key_id: str) -> Key:
    """One key."""
    url = admin.base_url + path("keys", key_id)
    return shaped(call("GET", url, bearing(admin.secret), ca=admin.ca), _One, "reading a key").data


def change(admin: Administration, key_id: str, to: dict[str, Any]) -> Key:
    """Change a key; what it is now."""
    url = admin.base_url + path("keys", key_id)
    return shaped(call("PATCH", url, bearing(admin.secret), to, ca=admin.ca), _One, "changing a key").data
