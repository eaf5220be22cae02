"""OpenAI's administration API: keys of service accounts, beside each other, and what the organization reports.

Facts: the official SDK openai 3.54.0 (`openai/resources/admin/organization/`) and the OpenAPI document of August 2026
(github openai/openai-openapi @f85dbe2), read on 2026-11-23. OpenAI has no state in which a key is off and can be
switched on again: a key's scopes can be narrowed, but to no scope at all they cannot (an empty list means all of
them), and the former ones are told nowhere. So there is no `disable` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from jackstop.clock import US_PER_S, SystemClock
from jackstop.providers.drivers import openai_usage, trial
from jackstop.providers.drivers.answers import Absent, Buckets, Limits, every, micros, required, shaped
from jackstop.providers.drivers.calls import bearing, call, path
from jackstop.providers.drivers.driver import (
    Administration,
    AuditPage,
    CallFailed,
    Created,
    Kind,
    Option,
    ProviderKey,
    ProviderLimit,
    Verb,
    Verdict,
)
from jackstop.secret import Secret

_PAGE = 100
_AT_ONCE_S = 1


class _Account(msgspec.Struct):
    id: str


class _Owner(msgspec.Struct):
    type: str | None = None
    service_account: _Account | None = None


class _Key(msgspec.Struct):
    id: str
    name: str | None
    created_at: int
    owner: _Owner
    last_used_at: int | None = None
    expires_at: int | None = None

    @property
    def account(self) -> str:
        """The service account that owns the key, empty for a person's."""
        return self.owner.service_account.id if self.owner.service_account else ""

    def expired(self) -> bool:
        expires_us = micros(self.expires_at)
        return expires_us is not None and expires_us <= SystemClock().now_us()


class _Keys(msgspec.Struct):
    data: list[_Key]
    has_more: bool
    last_id: str | None = None


class _Made(msgspec.Struct):
    id: str
    value: str
    expires_at: int | None = None


class OpenAIDriver(Absent):
    """Several keys in one service account, so that the new one works before the old one is deleted."""

    name = "openai"
    kind: Kind = "overlap"
    verbs: frozenset[Verb] = frozenset({"list", "create", "delete"})
    base_url = "https://api.openai.com/v1"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (
        Option("project", "the id of the project in which the key lives (proj_…)"),
        Option(
            "service_account",
            "the id of the service account that owns the keys; by default the one that owns the credential's key",
            required=False,
        ),
    )
    last_used = True
    most_keys = 0
    expires = True
    # The vendor states neither how often one may ask nor how late a bucket shows: a minute, which is a bucket's width,
    # and five minutes are this side's choice.
    usage_poll_s = 60
    usage_width_us = openai_usage.MINUTE_S * US_PER_S
    usage_delay_s = 300
    audit_format = "openai_audit"
    audit_poll_s = 60
    permission = (
        "An admin key (sk-admin-…), which an owner of the organization makes at platform.openai.com under "
        "Organization > Admin keys, with an expiry and the permission Restricted where it is offered: write for API "
        "keys of projects, read for usage and costs, and for the brakes and the audit feed write for spend limits and "
        "read for audit logs. An admin key cannot call models. The audit log has to be switched on by an owner."
    )
    sources: Mapping[str, str] = {
        "list": "GET /organization/projects/{project}/api_keys, openai 3.54.0 "
        "resources/admin/organization/projects/api_keys.py list",
        "create": "POST /organization/projects/{project}/service_accounts/{id}/api_keys, openai 3.54.0 "
        "resources/admin/organization/projects/service_accounts/api_keys.py create",
        "delete": "DELETE /organization/projects/{project}/api_keys/{id}, where that is refused POST of the same path "
        "with expires_in_seconds (openai 3.54.0 resources/admin/organization/projects/api_keys.py delete, update), "
        "and last DELETE /organization/projects/{project}/service_accounts/{id} (service_accounts.py delete)",
        "verify": "GET /v1/models, openai 3.54.0 resources/models.py list",
        "usage": "GET /organization/usage/completions and /organization/usage/embeddings, openai 3.54.0 "
        "resources/admin/organization/usage.py completions, embeddings",
        "costs": "GET /organization/costs, openai 3.54.0 resources/admin/organization/usage.py costs",
        "limits": "GET /organization/projects/{project}/spend_limit and /organization/spend_limit, openai 3.54.0 "
        "resources/admin/organization/projects/spend_limit.py and spend_limit.py retrieve",
        "set_limit": "POST of the same paths, openai 3.54.0 spend_limit.py update",
        "audit": "GET /organization/audit_logs, openai 3.54.0 resources/admin/organization/audit_logs.py list",
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The project's keys, or only those of the place's service account. Expired ones are `disabled`."""
        account = place.get("service_account", "")
        return [
            ProviderKey(
                id=key.id,
                name=key.name or "",
                state="disabled" if key.expired() else "active",
                created_us=micros(key.created_at),
                last_used_us=micros(key.last_used_at),
                expires_us=micros(key.expires_at),
            )
            for key in _keys(admin, place)
            if not account or key.account == account
        ]

    def create(
        self, admin: Administration, place: Mapping[str, str], name: str, *, beside: str, expires_s: int | None
    ) -> Created:
        account = place.get("service_account") or _account_of(admin, place, beside)
        body = {"name": name} if expires_s is None else {"name": name, "expires_in_seconds": expires_s}
        url = _project(admin, place) + path("service_accounts", account, "api_keys")
        made = shaped(call("POST", url, bearing(admin.secret), body, ca=admin.ca), _Made, "making a key")
        return Created(made.id, Secret(made.value), micros(made.expires_at))

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Delete; where the server does that to no service account's key, let it expire; last, delete the account.

        Servers of before November 2026 answer 400 to the first, and may not know the second. The account is deleted
        only if no other key in it works any more, so that `keep` never goes with it.
        """
        url = _project(admin, place) + path("api_keys", key_id)
        if not _refused(("DELETE", url), admin):
            return
        if not _refused(("POST", url), admin, {"expires_in_seconds": _AT_ONCE_S}, gone=False):
            return
        keys = _keys(admin, place)
        found = next((key for key in keys if key.id == key_id), None)
        if found is None or found.expired():
            return
        if not found.account:
            raise CallFailed("invalid", "OpenAI neither deletes the key nor lets it expire, and a person owns it")
        beside = [key for key in keys if key.account == found.account and key.id != key_id]
        if any(key.id == keep or not key.expired() for key in beside):
            raise CallFailed(
                "invalid", "OpenAI neither deletes the key nor lets it expire, and its service account has other keys"
            )
        if _refused(("DELETE", _project(admin, place) + path("service_accounts", found.account)), admin):
            raise CallFailed("invalid", "OpenAI deletes neither the key nor its service account")

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        return trial.list_models(provider, base_url, secret, ca)

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return openai_usage.usage(admin, place, since_us, until_us)

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return openai_usage.costs(admin, place, since_us, until_us)

    def limits(self, admin: Administration, place: Mapping[str, str]) -> Limits:
        return openai_usage.limits(admin, place)

    def set_limit(self, admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
        return openai_usage.set_limit(admin, place, amount_nusd)

    def audit(self, admin: Administration, since_us: int, cursor: str) -> AuditPage:
        return openai_usage.audit(admin, since_us, cursor)


def _project(admin: Administration, place: Mapping[str, str]) -> str:
    return admin.base_url + path("organization", "projects", required(place, "project"))


def _keys(admin: Administration, place: Mapping[str, str]) -> list[_Key]:
    """All keys of the project, also those whose owner has lost access: they may still be somebody's."""
    url = _project(admin, place) + "/api_keys"

    def page(cursor: str) -> tuple[list[_Key], str]:
        query = {"limit": _PAGE, "owner_project_access": "any", "after": cursor or None}
        keys = shaped(call("GET", url, bearing(admin.secret), query=query, ca=admin.ca), _Keys, "listing keys")
        return keys.data, (keys.last_id or "") if keys.has_more else ""

    return list(every(page))


def _account_of(admin: Administration, place: Mapping[str, str], key_id: str) -> str:
    found = next((key for key in _keys(admin, place) if key.id == key_id), None)
    if found is None or not found.account:
        raise CallFailed(
            "invalid",
            "OpenAI makes keys for service accounts only, and the credential's key belongs to none: "
            "let its place say which service_account",
        )
    return found.account


def _refused(
    what: tuple[Literal["DELETE", "POST"], str], admin: Administration, body: object = None, *, gone: bool = True
) -> bool:
    """Whether the server does not do this to this key (400), or with `gone` false does not know the call (404)."""
    try:
        call(*what, bearing(admin.secret), body, ca=admin.ca)
    except CallFailed as error:
        if error.why == "missing":
            return not gone
        if error.why == "invalid":
            return True
        raise
    return False


DRIVER = OpenAIDriver()
