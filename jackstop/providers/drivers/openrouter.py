"""OpenRouter's management API: keys with their own limits, usage by key and day.

Facts: the official SDK openrouter 1.3.84 (`openrouter/operations/`), read on 2026-11-23. A key's id is its hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jackstop.clock import US_PER_S, SystemClock, to_datetime
from jackstop.providers.drivers import openrouter_usage, trial
from jackstop.providers.drivers.answers import Absent, Buckets, Limits, micros, shaped, unless_gone
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import (
    Administration,
    Created,
    Kind,
    Option,
    ProviderKey,
    ProviderLimit,
    Verb,
    Verdict,
)
from jackstop.providers.drivers.openrouter_keys import Key, change, key_at, keys
from jackstop.secret import Secret


class _Made(msgspec.Struct):
    data: Key
    key: str


class OpenRouterDriver(Absent):
    """A new key beside the old one, with the old one's limit."""

    name = "openrouter"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create", "disable", "enable", "delete"})
    base_url = "https://openrouter.ai/api/v1"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (
        Option(
            "workspace", "the id of the workspace in which the key lives; by default the default one", required=False
        ),
    )
    last_used = True
    most_keys = 0
    expires = True
    # The activity is that of finished UTC days; a key's own counter moves at once.
    usage_poll_s = 300
    usage_width_us = openrouter_usage.DAY_S * US_PER_S
    usage_delay_s = 3_600
    permission = (
        "A management key, which an administrator of the account makes at openrouter.ai/settings/management-keys. "
        "It cannot call models; OpenRouter does not narrow it further."
    )
    sources: Mapping[str, str] = {
        "list": "GET /keys, openrouter 1.3.84 operations/list.py",
        "create": "POST /keys, openrouter 1.3.84 operations/createkeys.py",
        "disable": "PATCH /keys/{hash} disabled, openrouter 1.3.84 operations/updatekeys.py",
        "enable": "PATCH /keys/{hash} disabled, openrouter 1.3.84 operations/updatekeys.py",
        "delete": "DELETE /keys/{hash}, openrouter 1.3.84 operations/deletekeys.py",
        "usage": "GET /activity by api_key_hash, openrouter 1.3.84 operations/getuseractivity.py",
        "costs": "GET /activity, and GET /keys for the day that has not ended, openrouter 1.3.84 operations/list.py",
        "limits": "GET /keys, openrouter 1.3.84 operations/list.py",
        "set_limit": "PATCH /keys/{hash} limit, openrouter 1.3.84 operations/updatekeys.py",
        "verify": "GET /key with the key itself, openrouter 1.3.84 operations/getcurrentkey.py",
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        now_us = SystemClock().now_us()
        return [
            ProviderKey(
                id=key.hash,
                name=key.name,
                state="disabled" if key.disabled or (micros(key.expires_at) or now_us + 1) <= now_us else "active",
                created_us=micros(key.created_at),
                last_used_us=micros(key.last_used_at),
                expires_us=micros(key.expires_at),
            )
            for key in keys(admin, place)
        ]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key with the limit of the key beside: one without would be a hole in the second wall."""
        body: dict[str, Any] = {"name": name}
        if place.get("workspace"):
            body["workspace_id"] = place["workspace"]
        if expires_s is not None:
            # Seconds must be there; what is finer is not needed.
            expires_us = SystemClock().now_us() + expires_s * US_PER_S
            body["expires_at"] = to_datetime(expires_us).strftime("%Y-%m-%dT%H:%M:%SZ")
        former = key_at(admin, beside) if beside else None
        if former is not None and former.limit is not None:
            body["limit"], body["limit_reset"] = former.limit, former.limit_reset
        made = shaped(
            call("POST", admin.base_url + "/keys", bearing(admin.secret), body, ca=admin.ca), _Made, "making a key"
        )
        return Created(made.data.hash, Secret(made.key), micros(made.data.expires_at))

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        with unless_gone():
            change(admin, key_id, {"disabled": True})

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        change(admin, key_id, {"disabled": False})

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        with unless_gone():
            call("DELETE", admin.base_url + path("keys", key_id), bearing(admin.secret), ca=admin.ca)

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        """By what the key says of itself. OpenRouter's list of models is open to all, and so proves nothing."""
        return trial.judged("GET", f"{base_url}/v1/key", bearing(secret), ca=ca)

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return openrouter_usage.usage(admin, place, since_us, until_us)

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return openrouter_usage.costs(admin, place, since_us, until_us)

    def limits(self, admin: Administration, place: Mapping[str, str]) -> Limits:
        return openrouter_usage.limits(admin, place)

    def set_limit(self, admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
        return openrouter_usage.set_limit(admin, place, amount_nusd)


DRIVER = OpenRouterDriver()
