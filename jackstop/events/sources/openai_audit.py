"""OpenAI's audit log (`GET /organization/audit_logs`) as events.

Facts: openai 3.54.0, `openai/types/admin/organization/audit_log_list_response.py`, read on 2026-11-23. An entry has its
details under the name of its type. A type that is not known here keeps its name, with a class where its words tell one.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jackstop.clock import US_PER_S
from jackstop.events.schema import Event
from jackstop.events.sources.entry import Change, Origin, extra, kept, made, place, shaped

PROVIDER = "openai"
SHAPE = dict[str, Any]
LISTS = ("data",)
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "events"
CONTENT = ("whatever is not one of _EXTRA",)

_CLASSES = {
    "api_key": "key_admin",
    "admin_api_key": "key_admin",
    "project_api_key": "key_admin",
    "service_account": "key_admin",
    "service_account_token": "key_admin",
    "chatgpt_access_token": "key_admin",
    "certificate": "key_admin",
    "certificates": "key_admin",
    "external_key": "key_admin",
    "workload_identity_provider": "key_admin",
    "workload_identity_provider_mapping": "key_admin",
    "workload_identity_mapping": "key_admin",
    "workload_identity_binding": "key_admin",
    "workload_identity_access_token": "identity",
    "user": "people_admin",
    "invite": "people_admin",
    "group": "people_admin",
    "group_member": "people_admin",
    "membership": "people_admin",
    "api_organization_invite": "people_admin",
    "chatgpt_workspace_invite": "people_admin",
    "role": "people_admin",
    "role_assignment": "people_admin",
    "resource_role_assignment": "people_admin",
    "custom_role": "people_admin",
    "scim": "people_admin",
    "scim_directory": "people_admin",
    "rate_limit": "limit_admin",
    "billing_overage_limit": "limit_admin",
    "billing_alerts": "limit_admin",
    "usage_limit_workspace": "limit_admin",
    "usage_limit_group": "limit_admin",
    "usage_limit_user": "limit_admin",
    "login": "identity",
    "logout": "identity",
    "sso_connection": "change_guardrail",
    "ip_allowlist": "change_guardrail",
    "ip_allowlist_config": "change_guardrail",
    "policy": "change_guardrail",
    "session_policy": "change_guardrail",
}
"""The class of each kind of thing that is changed."""

_KINDS = {
    "project_api_key": "api_key",
    "workload_identity_provider": "federation",
    "workload_identity_provider_mapping": "federation",
    "workload_identity_mapping": "federation",
    "workload_identity_binding": "federation",
    "ip_allowlist": "ip_allowlist",
    "ip_allowlist_config": "ip_allowlist",
    "sso_connection": "sso",
    "api_organization_invite": "invite",
    "chatgpt_workspace_invite": "invite",
    "resource_role_assignment": "role_assignment",
    "billing_overage_limit": "spend_limit",
    "usage_limit_workspace": "spend_limit",
    "usage_limit_group": "spend_limit",
    "usage_limit_user": "spend_limit",
}
"""Where other logs have a word for the same thing, that one."""

_WORDS = {"archived": "deleted", "removed": "deleted", "deactivated": "disabled", "activated": "enabled"}
_EXTRA = frozenset({
    "scopes", "role", "expires_in_seconds", "allowed_ips", "resource_id", "resource_type", "principal_id",
    "principal_type", "api_call_logging", "max_requests_per_1_minute", "max_tokens_per_1_minute",
    "max_requests_per_1_day", "max_images_per_1_minute", "batch_1_day_max_input_tokens",
})  # fmt: skip
_NOT_DETAIL = frozenset({"id", "type", "effective_at", "actor", "project"})
_ALL_ADDRESSES = frozenset({"0.0.0.0", "0.0.0.0/0", "::", "::/0"})
_FAILED = frozenset({"login.failed", "logout.failed"})


class _User(msgspec.Struct):
    id: str | None = None
    email: str | None = None


class _Session(msgspec.Struct):
    user: _User | None = None
    ip_address: str | None = None
    user_agent: str | None = None


class _ApiKey(msgspec.Struct):
    id: str | None = None
    user: _User | None = None
    service_account: _User | None = None


class _Actor(msgspec.Struct):
    session: _Session | None = None
    api_key: _ApiKey | None = None


class _Project(msgspec.Struct):
    id: str | None = None


class _Entry(msgspec.Struct):
    id: str
    effective_at: int
    type: str
    actor: _Actor | None = None
    project: _Project | None = None


def claims(record: Any) -> bool:
    """Whether it is an entry of the log."""
    return isinstance(record, dict) and all(name in record for name in ("id", "type", "effective_at"))


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one entry. Raises UnreadableEntry."""
    head = shaped(entry, _Entry)
    event = made(PROVIDER, head.id, head.effective_at * US_PER_S, head.type, origin)
    event.action_class, event.target_kind, event.change = _change(event.action)
    _set_actor(event, head.actor or _Actor())
    event.account = origin.account or PROVIDER
    # Copies in other systems have underscores where the log has dots.
    named = {head.type, head.type.replace(".", "_")}
    details = shaped(next((entry[name] for name in named if entry.get(name)), {}), dict[str, Any])
    flat = _flat(details)
    event.target_id = kept(flat.pop("id", None) or flat.pop("email", None))
    if head.project is not None and head.project.id:
        event.service = kept(head.project.id)
    if head.type in _FAILED:
        event.outcome = "denied"
        event.error_code = kept(flat.pop("error_code", None))
    if head.type == "organization.updated" and "api_call_logging" in flat:
        event.action_class, event.target_kind = "change_logging", "logging"
        event.change = "disabled" if flat["api_call_logging"] == "disabled" else "updated"
    if event.target_kind == "ip_allowlist" and _is_for_all(flat.get("allowed_ips")):
        event.change = "disabled"
    event.markers = _markers(flat, event)
    # Whatever else the entry has beside its details is counted, and not kept.
    unknown = {name: value for name, value in entry.items() if name not in _NOT_DETAIL | named}
    event.extra = extra({**unknown, **flat}, _EXTRA)
    return event


def _change(kind: str) -> Change:
    thing, _, done = kind.removeprefix("tenant.").rpartition(".")
    thing = thing.replace(".", "_")
    return _CLASSES.get(thing, ""), _KINDS.get(thing, thing), _WORDS.get(done, done)


def _set_actor(event: Event, actor: _Actor) -> None:
    if actor.api_key is not None:
        key = actor.api_key
        event.principal_kind, event.auth_method = "api_key", "bearer"
        event.principal = event.provider_key_id = kept(key.id)
        behind = key.user or key.service_account
        event.session = kept(behind.email or behind.id) if behind is not None else ""
    elif actor.session is not None:
        user = actor.session.user or _User()
        event.principal_kind, event.auth_method = "user", "session"
        event.principal = kept((user.email or "").lower() or user.id)
        place(event, actor.session.ip_address, actor.session.user_agent)


def _flat(details: dict[str, Any]) -> dict[str, Any]:
    """The details with what `data` and `changes_requested` hold beside the rest."""
    flat = {name: value for name, value in details.items() if name not in {"data", "changes_requested"}}
    for inner in ("data", "changes_requested"):
        held = details.get(inner)
        if isinstance(held, dict):
            flat.update({name: value for name, value in held.items() if value is not None})
    return flat


def _markers(flat: dict[str, Any], event: Event) -> str:
    """What makes the change a way to stay: rights over the whole organization."""
    scopes = flat.get("scopes")
    wide = isinstance(scopes, list) and any(isinstance(each, str) and _is_wide(each) for each in scopes)
    high = flat.get("role") in ("owner", "admin") or (
        # An assignment says its role in its id alone: `role_assignment_role-api-organization-owner__…`.
        event.target_kind == "role_assignment" and event.target_id.partition("__")[0].endswith(("-owner", "-admin"))
    )
    return ",".join(name for name, here in (("admin_scope", wide), ("admin_role", high)) if here)


def _is_for_all(addresses: Any) -> bool:
    """Whether a list of allowed addresses allows all of them."""
    return isinstance(addresses, list) and not _ALL_ADDRESSES.isdisjoint(
        each for each in addresses if isinstance(each, str)
    )


def _is_wide(scope: str) -> bool:
    """Whether it gives what an admin key gives; model calls and reads do not."""
    return scope in {"all", "*"} or (("management" in scope or "admin" in scope) and not scope.endswith("read"))
