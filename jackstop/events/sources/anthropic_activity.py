"""Anthropic's Activity Feed (`GET /v1/compliance/activities`) as events.

Facts: platform.claude.com/docs/en/api/compliance/activities/list and …/docs/en/manage-claude/compliance-activity-feed,
read on 2026-11-23. There are more than 500 types, and new ones come: one that is not known here keeps its name, and is
judged by its last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from jackstop.clock import from_datetime
from jackstop.events.schema import Event
from jackstop.events.sources.cloud import number
from jackstop.events.sources.entry import Change, Origin, UnreadableEntry, extra, kept, made, place, shaped

PROVIDER = "anthropic"
SHAPE = dict[str, Any]
LISTS = ("data",)
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "events"
CONTENT = ("whatever is not one of _EXTRA",)

_TYPES: dict[str, Change] = {
    "api_key_created": ("key_admin", "api_key", "created"),
    "platform_api_key_created": ("key_admin", "api_key", "created"),
    "platform_api_key_updated": ("key_admin", "api_key", "updated"),
    "scoped_api_key_updated": ("key_admin", "api_key", "updated"),
    "scoped_api_key_deleted": ("key_admin", "api_key", "deleted"),
    "admin_api_key_created": ("key_admin", "admin_api_key", "created"),
    "admin_api_key_updated": ("key_admin", "admin_api_key", "updated"),
    "admin_api_key_deleted": ("key_admin", "admin_api_key", "deleted"),
    "service_key_created": ("key_admin", "service_key", "created"),
    "service_key_revoked": ("key_admin", "service_key", "deleted"),
    "platform_signing_key_created": ("key_admin", "signing_key", "created"),
    "platform_signing_key_deleted": ("key_admin", "signing_key", "deleted"),
    "platform_service_account_created": ("key_admin", "service_account", "created"),
    "platform_service_account_updated": ("key_admin", "service_account", "updated"),
    "platform_service_account_archived": ("key_admin", "service_account", "deleted"),
    "platform_federation_issuer_created": ("key_admin", "federation", "created"),
    "platform_federation_issuer_updated": ("key_admin", "federation", "updated"),
    "platform_federation_issuer_archived": ("key_admin", "federation", "deleted"),
    "platform_federation_rule_created": ("key_admin", "federation", "created"),
    "platform_federation_rule_updated": ("key_admin", "federation", "updated"),
    "platform_federation_rule_archived": ("key_admin", "federation", "deleted"),
    "platform_oauth_app_created": ("key_admin", "oauth_app", "created"),
    "platform_oauth_app_updated": ("key_admin", "oauth_app", "updated"),
    "platform_oauth_app_revoked": ("key_admin", "oauth_app", "deleted"),
    "org_user_invite_sent": ("people_admin", "invite", "sent"),
    "org_user_invite_re_sent": ("people_admin", "invite", "sent"),
    "org_user_invite_accepted": ("people_admin", "invite", "accepted"),
    "org_user_invite_deleted": ("people_admin", "invite", "deleted"),
    "org_invite_link_generated": ("people_admin", "invite", "created"),
    "org_invite_link_regenerated": ("people_admin", "invite", "created"),
    "org_join_request_approved": ("people_admin", "user", "added"),
    "org_user_deleted": ("people_admin", "user", "deleted"),
    "scim_user_created": ("people_admin", "user", "added"),
    "scim_user_deleted": ("people_admin", "user", "deleted"),
    "claude_user_role_updated": ("people_admin", "role_assignment", "updated"),
    "primary_owner_transferred": ("people_admin", "owner", "updated"),
    "role_assignment_granted": ("people_admin", "role_assignment", "created"),
    "role_assignment_revoked": ("people_admin", "role_assignment", "deleted"),
    "rbac_role_assigned": ("people_admin", "role_assignment", "created"),
    "rbac_role_unassigned": ("people_admin", "role_assignment", "deleted"),
    "rbac_role_created": ("people_admin", "role", "created"),
    "rbac_role_permission_added": ("people_admin", "role", "updated"),
    "platform_workspace_member_added": ("people_admin", "workspace_member", "added"),
    "platform_workspace_member_updated": ("people_admin", "workspace_member", "updated"),
    "platform_workspace_member_removed": ("people_admin", "workspace_member", "deleted"),
    "platform_spend_limit_created": ("limit_admin", "spend_limit", "created"),
    "platform_spend_limit_updated": ("limit_admin", "spend_limit", "updated"),
    "platform_spend_limit_deleted": ("limit_admin", "spend_limit", "deleted"),
    "workspace_spend_limit_created": ("limit_admin", "spend_limit", "created"),
    "workspace_spend_limit_deleted": ("limit_admin", "spend_limit", "deleted"),
    "extra_usage_spend_limit_created": ("limit_admin", "spend_limit", "created"),
    "extra_usage_spend_limit_updated": ("limit_admin", "spend_limit", "updated"),
    "extra_usage_spend_limit_deleted": ("limit_admin", "spend_limit", "deleted"),
    "platform_workspace_rate_limit_updated": ("limit_admin", "rate_limit", "updated"),
    "platform_workspace_rate_limit_deleted": ("limit_admin", "rate_limit", "deleted"),
    "prepaid_auto_recharge_updated": ("commit_spend", "auto_recharge", "updated"),
    "prepaid_auto_recharge_disabled": ("commit_spend", "auto_recharge", "disabled"),
    "prepaid_extra_usage_auto_reload_enabled": ("commit_spend", "auto_recharge", "enabled"),
    "org_ip_restriction_created": ("change_guardrail", "ip_allowlist", "created"),
    "org_ip_restriction_updated": ("change_guardrail", "ip_allowlist", "updated"),
    "org_ip_restriction_deleted": ("change_guardrail", "ip_allowlist", "deleted"),
    "org_sso_toggled": ("change_guardrail", "sso", "updated"),
    "org_sso_connection_activated": ("change_guardrail", "sso", "enabled"),
    "org_sso_connection_deactivated": ("change_guardrail", "sso", "disabled"),
    "org_sso_connection_deleted": ("change_guardrail", "sso", "deleted"),
    "org_magic_link_second_factor_toggled": ("change_guardrail", "second_factor", "updated"),
    "org_compliance_api_settings_updated": ("change_logging", "logging", "updated"),
    "sso_login_succeeded": ("identity", "login", "succeeded"),
    "sso_login_failed": ("identity", "login", "failed"),
    "magic_link_login_succeeded": ("identity", "login", "succeeded"),
    "magic_link_login_failed": ("identity", "login", "failed"),
    "social_login_succeeded": ("identity", "login", "succeeded"),
    "step_up_authentication_failed": ("identity", "login", "failed"),
    "compliance_api_accessed": ("data_read", "audit_log", "read"),
    "audit_log_export_started": ("data_read", "audit_log", "exported"),
    "org_data_export_started": ("data_read", "organization", "exported"),
    "org_members_exported": ("data_read", "user", "exported"),
}
_LAST_WORDS = {"viewed": "read_config", "listed": "read_config", "downloaded": "data_read", "exported": "data_read"}
_SWITCHES = {
    "org_sso_toggled": ("enabled", "is_enabled"),
    "org_magic_link_second_factor_toggled": ("enabled", "is_enabled"),
    "org_compliance_api_settings_updated": ("compliance_api_enabled", "compliance_api_logging_enabled"),
}
"""The fields that say whether a switch is on; off is what any of them says."""
_TARGETS = (
    "admin_api_key_id", "service_key_id", "spend_limit_id", "federation_rule_id", "federation_issuer_id",
    "service_account_id", "target_id", "principal_id", "deleted_user_id", "user_id", "invite_id", "invited_email",
    "role_id", "connection_id", "workspace_id",
)  # fmt: skip
"""Fields that name what was changed, the closest first; `api_key_id` before all, but for reading the feed itself."""
_ADMIN_ROLES = ("admin", "owner", "primary_owner", "billing", "workspace_admin", "workspace_billing")
_EXTRA = frozenset({
    "scopes", "role", "invited_role", "previous_role", "current_role", "workspace_id", "resource_type", "resource_id",
    "target_type", "principal_type", "limit_usd", "limit_action", "limit_type", "amount", "is_enabled", "enabled",
    "ignore", "value", "model_group", "limiter_type", "compliance_api_enabled", "compliance_api_logging_enabled",
    "connection_type", "service_name", "provider", "status_code", "request_method", "organization_id",
})  # fmt: skip
_ACTORS = {"api": "api_key", "admin_api_key": "api_key", "unauthenticated_user": "user"}
_NOT_DETAIL = frozenset({"id", "type", "created_at", "actor", "organization_uuid"})


class _Actor(msgspec.Struct):
    type: str = ""
    user_id: str | None = None
    email_address: str | None = None
    unauthenticated_email_address: str | None = None
    api_key_id: str | None = None
    admin_api_key_id: str | None = None
    service_account_id: str | None = None
    subject: str | None = None
    directory_id: str | None = None
    service: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


class _Entry(msgspec.Struct):
    id: str
    created_at: datetime
    type: str
    actor: _Actor | None = None


def claims(record: Any) -> bool:
    """Whether it is an entry of the log."""
    return isinstance(record, dict) and all(name in record for name in ("id", "type", "created_at", "actor"))


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one entry. Raises UnreadableEntry."""
    head = shaped(entry, _Entry)
    at = head.created_at if head.created_at.tzinfo is not None else head.created_at.replace(tzinfo=UTC)
    try:
        ts = from_datetime(at)
    except (OverflowError, ValueError):
        raise UnreadableEntry("its time is none") from None
    event = made(PROVIDER, head.id, ts, head.type, origin)
    event.action_class, event.target_kind, event.change = _change(event.action, entry)
    event.account = origin.account or _organization(entry) or PROVIDER
    actor = head.actor or _Actor()
    _set_actor(event, actor)
    place(event, actor.ip_address, actor.user_agent)
    event.target_id = _target(head.type, entry)
    if event.change == "failed":
        event.outcome = "denied"
    status = number(entry.get("status_code"))
    if status is not None:
        event.status = status
        event.outcome = "ok" if status < 400 else "denied" if status in {401, 403} else "invalid"
    event.markers = _markers(entry)
    event.extra = extra({name: value for name, value in entry.items() if name not in _NOT_DETAIL}, _EXTRA)
    return event


def _organization(entry: Mapping[str, Any]) -> str:
    return kept(entry.get("organization_uuid")) or kept(entry.get("organization_id"))


def _change(kind: str, entry: Mapping[str, Any]) -> Change:
    known = _TYPES.get(kind)
    if known is None:
        thing, _, done = kind.rpartition("_")
        return _LAST_WORDS.get(done, ""), thing, done
    off = [name for name in _SWITCHES.get(kind, ()) if str(entry.get(name)).lower() == "false"]
    if off:
        return known[0], known[1], "disabled"
    if kind == "platform_spend_limit_updated" and entry.get("ignore") is True:
        return known[0], known[1], "disabled"
    return known


def _set_actor(event: Event, actor: _Actor) -> None:
    kind = kept(actor.type).removesuffix("_actor")
    event.principal_kind = _ACTORS.get(kind, kind)
    key = actor.admin_api_key_id or actor.api_key_id
    if key:
        event.provider_key_id, event.auth_method = kept(key), "x-api-key"
    email = actor.email_address or actor.unauthenticated_email_address
    others = (actor.user_id, actor.service_account_id, actor.subject, actor.directory_id, actor.service)
    event.principal = kept(key or (email or "").lower() or next((each for each in others if each), ""))


def _target(kind: str, entry: Mapping[str, Any]) -> str:
    names = _TARGETS if kind == "compliance_api_accessed" else ("api_key_id", *_TARGETS)
    return next((kept(entry[name]) for name in names if isinstance(entry.get(name), str)), "")


def _markers(entry: Mapping[str, Any]) -> str:
    """What makes the change a way to stay: rights over the whole organization."""
    scopes = entry.get("scopes")
    wide = isinstance(scopes, list) and any(isinstance(each, str) and _is_wide(each) for each in scopes)
    high = any(entry.get(name) in _ADMIN_ROLES for name in ("role", "invited_role", "current_role"))
    return ",".join(name for name, here in (("admin_scope", wide), ("admin_role", high)) if here)


def _is_wide(scope: str) -> bool:
    return scope in {"all", "*"} or scope.startswith("write:") or "admin" in scope
