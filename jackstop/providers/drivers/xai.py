"""xAI's management API: keys of a team, with their permissions and rate limits.

Facts: docs.x.ai/developers/rest-api-reference/management/auth (making and listing keys, a key's fields) and
docs.x.ai/docs/key-information/using-management-api (pages, changing by a field mask, deleting by the key's id), read
on 2026-11-23. There is no call that tells usage or the last use by key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from jackstop.clock import SystemClock
from jackstop.providers.drivers import trial
from jackstop.providers.drivers.answers import Absent, every, micros, required, shaped, unless_gone
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import (
    Administration,
    Created,
    Kind,
    Option,
    ProviderKey,
    Verb,
    Verdict,
)
from jackstop.secret import Secret

_PAGE = 100
_EVERYTHING = ["api-key:endpoint:*", "api-key:model:*"]
_RATES = ("qps", "qpm", "tpm")


class _Key(msgspec.Struct, rename="camel"):
    """`tpm` comes as text, since it is a number of 64 bits."""

    api_key_id: str
    name: str = ""
    disabled: bool = False
    create_time: datetime | None = None
    expire_time: datetime | None = None
    acl_strings: list[str] = []
    acls: list[str] = []
    qps: int | None = None
    qpm: int | None = None
    tpm: int | str | None = None


class _Keys(msgspec.Struct, rename="camel"):
    api_keys: list[_Key] = []
    pagination_token: str | None = None


class _Made(msgspec.Struct, rename="camel"):
    api_key_id: str
    api_key: str
    expire_time: datetime | None = None


class XaiDriver(Absent):
    """A new key beside the old one, with the old one's permissions and rates."""

    name = "xai"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create", "disable", "enable", "delete"})
    base_url = "https://management-api.x.ai"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (
        Option("team", "the id of the team to which the key belongs (console.x.ai, settings, team)"),
    )
    last_used = False
    most_keys = 0
    expires = False
    permission = (
        "A management key of the team, which a member with Management Keys Read + Write makes at console.x.ai under "
        "Settings > Management Keys, narrowed to reading and writing API keys. It cannot call models."
    )
    sources: Mapping[str, str] = {
        "list": "GET /auth/teams/{team}/api-keys, docs.x.ai/developers/rest-api-reference/management/auth",
        "create": "POST /auth/teams/{team}/api-keys, docs.x.ai/developers/rest-api-reference/management/auth",
        "disable": "PUT /auth/api-keys/{id} with a field mask, docs.x.ai/developers/rest-api-reference/management/auth",
        "enable": "PUT /auth/api-keys/{id} with a field mask, docs.x.ai/developers/rest-api-reference/management/auth",
        "delete": "DELETE /auth/api-keys/{id}, docs.x.ai/docs/key-information/using-management-api",
        "verify": "GET /v1/models, docs.x.ai/developers/rest-api-reference/inference/models",
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        now_us = SystemClock().now_us()
        return [
            ProviderKey(
                id=key.api_key_id,
                name=key.name,
                state="disabled" if key.disabled or (micros(key.expire_time) or now_us + 1) <= now_us else "active",
                created_us=micros(key.create_time),
                expires_us=micros(key.expire_time),
            )
            for key in _keys(admin, place)
        ]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key that may do what the key beside may do. Without one it may do everything that the team may."""
        former = next((key for key in _keys(admin, place) if key.api_key_id == beside), None) if beside else None
        permissions = (former.acl_strings or former.acls) if former else []
        body: dict[str, Any] = {"name": name, "acls": permissions or _EVERYTHING}
        if former:
            rates = {rate: getattr(former, rate) for rate in _RATES}
            body |= {rate: value for rate, value in rates.items() if value is not None}
        made = shaped(
            call("POST", _team(admin, place), bearing(admin.secret), body, ca=admin.ca), _Made, "making a key"
        )
        return Created(made.api_key_id, Secret(made.api_key), micros(made.expire_time))

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        with unless_gone():
            _turn(admin, key_id, disabled=True)

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        _turn(admin, key_id, disabled=False)

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        with unless_gone():
            call("DELETE", admin.base_url + path("auth", "api-keys", key_id), bearing(admin.secret), ca=admin.ca)

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        return trial.list_models(provider, base_url, secret, ca, refused=trial.XAI)


def _team(admin: Administration, place: Mapping[str, str]) -> str:
    return admin.base_url + path("auth", "teams", required(place, "team"), "api-keys")


def _keys(admin: Administration, place: Mapping[str, str]) -> list[_Key]:
    def page(cursor: str) -> tuple[list[_Key], str]:
        query = {"pageSize": _PAGE, "paginationToken": cursor or None}
        answer = call("GET", _team(admin, place), bearing(admin.secret), query=query, ca=admin.ca)
        keys = shaped(answer, _Keys, "listing keys")
        return keys.api_keys, keys.pagination_token or ""

    return list(every(page))


def _turn(admin: Administration, key_id: str, *, disabled: bool) -> None:
    body = {"apiKey": {"apiKeyId": key_id, "disabled": disabled}, "fieldMask": "disabled"}
    call("PUT", admin.base_url + path("auth", "api-keys", key_id), bearing(admin.secret), body, ca=admin.ca)


DRIVER = XaiDriver()
