"""Mistral's Admin API: keys of a workspace, for organizations with an Enterprise account.

Facts: docs.mistral.ai/admin/admin-api/authentication (address and header) and
docs.mistral.ai/api/endpoint/beta/admin/api-keys (listing and making keys), read on 2026-11-23. Where a key
is deleted, they name the Admin Panel only: so a person does that, and a new key can be made to expire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from jackstop.clock import US_PER_S, SystemClock, from_datetime, to_datetime
from jackstop.providers.drivers import trial
from jackstop.providers.drivers.answers import Absent, every, micros, required, shaped
from jackstop.providers.drivers.calls import bearing, call
from jackstop.providers.drivers.driver import (
    Administration,
    CallFailed,
    Created,
    Kind,
    Option,
    ProviderKey,
    Verb,
    Verdict,
)
from jackstop.secret import Secret

_PAGE = 1_000


class _Key(msgspec.Struct):
    key_id: str
    name: str | None = None
    last_used: datetime | None = None
    expiration_date: str | None = None
    workspace_id: str | None = None


class _Made(msgspec.Struct):
    key_id: str
    key: str
    expiration_date: str | None = None


class MistralDriver(Absent):
    """A new key beside the old one; the old one is deleted by a person."""

    name = "mistral"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create"})
    base_url = "https://console.mistral.ai/api/admin"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (Option("workspace", "the id of the workspace in which the key lives"),)
    last_used = True
    most_keys = 0
    expires = True
    permission = (
        "An Admin API key of the organization, made in the Enterprise Backoffice (backoffice.mistral.ai, API keys). "
        "It is not narrowed further, and it cannot call models. Without an Enterprise account there is none."
    )
    sources: Mapping[str, str] = {
        "list": "GET /api/admin/api-keys, docs.mistral.ai/api/endpoint/beta/admin/api-keys",
        "create": "POST /api/admin/api-keys, docs.mistral.ai/api/endpoint/beta/admin/api-keys",
        "verify": "GET /v1/models, docs.mistral.ai/api/endpoint/models",
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The workspace's keys, or the organization's. Expired ones are `disabled`."""
        now_us = SystemClock().now_us()
        workspace = place.get("workspace", "")
        return [
            ProviderKey(
                id=key.key_id,
                name=key.name or "",
                state="disabled" if (_ends(key.expiration_date) or now_us + 1) <= now_us else "active",
                last_used_us=micros(key.last_used),
                expires_us=_ends(key.expiration_date),
            )
            for key in _keys(admin)
            if not workspace or key.workspace_id in {None, workspace}
        ]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        """Make a key, which expires with the day in which the time is up: Mistral's expiry is a date."""
        body = {"name": name, "workspace_uuid": required(place, "workspace")}
        if expires_s is not None:
            body["expiration"] = to_datetime(SystemClock().now_us() + expires_s * US_PER_S).date().isoformat()
        made = shaped(_call("POST", admin, body=body), _Made, "making a key")
        return Created(made.key_id, Secret(made.key), _ends(made.expiration_date))

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        return trial.list_models(provider, base_url, secret, ca)


def _call(method: str, admin: Administration, *, query: Mapping[str, object] | None = None, body: object = None) -> Any:
    """Ask with the header that the guide names, and where that is denied with the one of the generated reference."""
    url = admin.base_url + "/api-keys"
    try:
        return call(method, url, {"x-api-key": admin.secret.reveal().decode()}, body, query=query, ca=admin.ca)
    except CallFailed as error:
        if error.why != "denied":
            raise
    return call(method, url, bearing(admin.secret), body, query=query, ca=admin.ca)


def _keys(admin: Administration) -> list[_Key]:
    found: dict[str, _Key] = {}

    def page(cursor: str) -> tuple[list[_Key], str]:
        said = _call("GET", admin, query={"limit": _PAGE, "offset": cursor or None})
        fresh = [key for key in shaped(_listed(said), list[_Key], "listing keys") if key.key_id not in found]
        found.update({key.key_id: key for key in fresh})
        return fresh, str(len(found)) if fresh else ""

    return list(every(page))


def _listed(answer: Any) -> Any:
    """The list itself, or the one list in an object: the documentation shows what a key is, not what is around them."""
    if isinstance(answer, dict):
        lists = [value for value in answer.values() if isinstance(value, list)]
        if len(lists) == 1:
            return lists[0]
    return answer


def _ends(expiration: str | None) -> int | None:
    """When an expiry is over: at the end of a day where it names one, else at its moment."""
    if not expiration:
        return None
    moment = shaped(expiration if "T" in expiration else f"{expiration}T00:00:00Z", datetime, "an expiry")
    return from_datetime(
        (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) + timedelta(days="T" not in expiration)
    )


DRIVER = MistralDriver()
