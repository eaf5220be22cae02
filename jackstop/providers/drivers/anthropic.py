"""Anthropic's Admin API: keys that can be switched off and on and archived, but not made, and what it reports.

Facts: the official SDK anthropic 2.12.0 (`anthropic/resources/organization/`), read on 2026-11-23. Keys are made in
the Console only, so that a person or a deposited standby brings the new one. No call tells when a key was used last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from jackstop.clock import US_PER_S
from jackstop.providers.drivers import anthropic_usage, trial
from jackstop.providers.drivers.answers import Absent, Buckets, Limits, every, micros, shaped
from jackstop.providers.drivers.calls import call, path, to_anthropic
from jackstop.providers.drivers.driver import (
    Administration,
    AuditPage,
    CallFailed,
    Kind,
    Option,
    ProviderKey,
    ProviderLimit,
    Verb,
    Verdict,
)
from jackstop.secret import Secret

_PAGE = 1_000


class _Key(msgspec.Struct):
    id: str
    name: str
    status: str
    created_at: datetime
    expires_at: datetime | None = None


class _Keys(msgspec.Struct):
    data: list[_Key]
    has_more: bool
    last_id: str | None = None


class AnthropicDriver(Absent):
    """Contains by itself; for a new key it asks."""

    name = "anthropic"
    kind: Kind = "assisted"
    verbs: frozenset[Verb] = frozenset({"list", "disable", "enable", "delete"})
    base_url = "https://api.anthropic.com"
    options: Sequence[Option] = ()
    places: Sequence[Option] = (
        Option(
            "workspace",
            "the id of the workspace where the key lives (wrkspc_…); none for the default, which reports do not name",
            required=False,
        ),
    )
    last_used = False
    most_keys = 0
    expires = False
    # "Typically within five minutes", asked "once per minute for sustained use":
    # platform.claude.com/docs/en/api/usage-cost-api, frequently asked questions. An activity shows within a minute.
    usage_poll_s = 60
    usage_width_us = anthropic_usage.MINUTE_S * US_PER_S
    usage_delay_s = 300
    audit_format = "anthropic_activity"
    audit_poll_s = 60
    permission = (
        "An Admin API key (sk-ant-admin01-…), which a member with the role admin makes at platform.claude.com under "
        "Settings > Admin keys; Anthropic does not narrow it to some of these calls, and it cannot call models. It "
        "reads the activity feed (read:compliance_activities) only if it was made after the Compliance API was "
        "switched on. Spend limits are in early access, which Anthropic's account team opens."
    )
    sources: Mapping[str, str] = {
        "list": "GET /v1/organizations/api_keys, anthropic 2.12.0 resources/organization/api_keys.py list",
        "disable": "POST /v1/organizations/api_keys/{id} status inactive, anthropic 2.12.0 "
        "resources/organization/api_keys.py update",
        "enable": "POST /v1/organizations/api_keys/{id} status active, anthropic 2.12.0 "
        "resources/organization/api_keys.py update",
        "delete": "POST /v1/organizations/api_keys/{id} status archived, anthropic 2.12.0 "
        "resources/organization/api_keys.py update",
        "verify": "GET /v1/models, anthropic 2.12.0 resources/models.py list",
        "usage": "GET /v1/organizations/usage_report/messages, "
        "platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages",
        "costs": "GET /v1/organizations/cost_report, "
        "platform.claude.com/docs/en/api/resources/admin/subresources/usage_and_cost",
        "limits": "GET /v1/organizations/spend_limits (beta spend-limit-reads-2026-09-26, early access), anthropic "
        "2.12.0 resources/beta/organization/spend_limits/spend_limits.py list",
        "set_limit": "POST /v1/organizations/spend_limits (early access), anthropic 2.12.0 "
        "resources/beta/organization/spend_limits/spend_limits.py set",
        "audit": "GET /v1/compliance/activities, platform.claude.com/docs/en/manage-claude/compliance-activity-feed",
    }

    def list(self, admin: Administration, place: Mapping[str, str]) -> list[ProviderKey]:
        """The workspace's keys, or the organization's. Archived ones are gone for good and left out."""
        url = admin.base_url + "/v1/organizations/api_keys"

        def page(cursor: str) -> tuple[list[_Key], str]:
            query = {"limit": _PAGE, "workspace_id": place.get("workspace") or None, "after_id": cursor or None}
            keys = shaped(call("GET", url, to_anthropic(admin.secret), query=query, ca=admin.ca), _Keys, "listing keys")
            return keys.data, (keys.last_id or "") if keys.has_more else ""

        return [
            ProviderKey(
                id=key.id,
                name=key.name,
                state="active" if key.status == "active" else "disabled",
                created_us=micros(key.created_at),
                expires_us=micros(key.expires_at),
            )
            for key in every(page)
            if key.status != "archived"
        ]

    def disable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        _gone_is_fine(admin, key_id, "inactive")

    def enable(self, admin: Administration, place: Mapping[str, str], key_id: str) -> None:
        _turn(admin, key_id, "active")

    def delete(self, admin: Administration, place: Mapping[str, str], key_id: str, *, keep: str) -> None:
        """Archive: there is no other end to a key, and none to this one."""
        _gone_is_fine(admin, key_id, "archived")

    def verify(self, provider: str, base_url: str, place: Mapping[str, str], secret: Secret, ca: str = "") -> Verdict:
        return trial.list_models(provider, base_url, secret, ca)

    def usage(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return anthropic_usage.usage(admin, place, since_us, until_us)

    def costs(self, admin: Administration, place: Mapping[str, str], since_us: int, until_us: int) -> Buckets:
        return anthropic_usage.costs(admin, place, since_us, until_us)

    def limits(self, admin: Administration, place: Mapping[str, str]) -> Limits:
        return anthropic_usage.limits(admin, place)

    def set_limit(self, admin: Administration, place: Mapping[str, str], amount_nusd: int) -> ProviderLimit:
        return anthropic_usage.set_limit(admin, place, amount_nusd)

    def audit(self, admin: Administration, since_us: int, cursor: str) -> AuditPage:
        return anthropic_usage.audit(admin, since_us, cursor)


def _turn(admin: Administration, key_id: str, status: str) -> None:
    url = admin.base_url + "/v1/organizations/api_keys" + path(key_id)
    call("POST", url, to_anthropic(admin.secret), {"status": status}, ca=admin.ca)


def _gone_is_fine(admin: Administration, key_id: str, status: str) -> None:
    """Turn a key to something useless, unless it is archived or expired, from where no way leads."""
    try:
        _turn(admin, key_id, status)
    except CallFailed as error:
        if error.why == "missing":
            return
        if error.why != "invalid" or not _ended(admin, key_id):
            raise


def _ended(admin: Administration, key_id: str) -> bool:
    url = admin.base_url + "/v1/organizations/api_keys" + path(key_id)
    try:
        found = shaped(call("GET", url, to_anthropic(admin.secret), ca=admin.ca), _Key, "reading a key")
    except CallFailed as error:
        if error.why == "missing":
            return True
        raise
    return found.status in {"archived", "expired"}


DRIVER = AnthropicDriver()
