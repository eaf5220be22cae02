"""OpenAI's administration of keys: service accounts, project keys, spend limits.

Shapes: OpenAI's OpenAPI document of 2026-08-21, and openai 3.54 (`types/admin/organization`) where it is newer. Quirks:
a key has no disabled state; `scopes: []` means all permissions; deleting a service account's key was refused with 400
until some time in 2026.
"""

from __future__ import annotations

from typing import Any

from jackstop.sandbox.accounts import mint
from jackstop.sandbox.accounts.api import Api, Call, expiry, page_of, text
from jackstop.sandbox.accounts.keys import Key, new_key
from jackstop.sandbox.accounts.openai_audit import audit_logs
from jackstop.sandbox.accounts.openai_organization import admin_keys, projects
from jackstop.sandbox.accounts.openai_usage import completions, costs, embeddings, nothing
from jackstop.sandbox.accounts.state import Accounts, ServiceAccount
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.openai import OpenAI, bearer

_DEFAULT_USER = {
    "id": "user-sandbox",
    "email": "owner@example.com",
    "name": "Sandbox Owner",
    "created_at": 1_700_000_000,
    "role": "owner",
}
_PAGE = 20
_LONGEST_PAGE = 100
_S = 1_000_000


class OpenAIAdministration(OpenAI):
    """api.openai.com for callers with an admin key (`sk-admin-…`, developers.openai.com/api/docs/guides/admin-apis)."""

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = super().secret(headers)
        if not bearer(headers).startswith(b"sk-admin-"):
            raise ProviderError(
                403, "You have insufficient permissions for this operation.", code="insufficient_permissions"
            )
        return found


def _missing(kind: str, name: str) -> ProviderError:
    return ProviderError(404, f"No {kind} found with id '{name}'.", kind="invalid_request_error", code="not_found")


def seed_service_account(
    accounts: Accounts, project: str, account_id: str, name: str, role: str = "member"
) -> ServiceAccount:
    """The service account of this id, made where there is none."""
    known = accounts.service_accounts.get(("openai", project, account_id))
    if known is None:
        known = ServiceAccount("openai", project, account_id, name, accounts.now_us, role)
        accounts.service_accounts["openai", project, account_id] = known
    return known


def _service_account(call: Call) -> ServiceAccount:
    found = call.accounts.service_accounts.get(("openai", call.at["project"], call.at["account"]))
    if found is None:
        raise _missing("service account", call.at["account"])
    return found


def _shown_account(account: ServiceAccount) -> dict[str, object]:
    return {
        "object": "organization.project.service_account",
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "created_at": account.created_us // _S,
    }


def _issue(call: Call, account: ServiceAccount, name: str, body: dict[str, Any]) -> dict[str, object]:
    """Make a key for a service account; its value is given this once."""
    expires_us = expiry(body, call.now_us)
    place = {"project": account.project, "service_account": account.id}
    value = mint.secret("openai")
    key = new_key("openai", mint.ident("key_"), name, value, place, call.now_us, expires_us)
    key.scopes = _scopes(body)
    call.accounts.keys.add(key)
    call.note("openai", "api_key.created", key.id, account.project, data={"scopes": key.scopes or []})
    return {
        "object": "organization.project.service_account.api_key",
        "id": key.id,
        "name": name,
        "value": value,
        "created_at": key.created_us // _S,
        "expires_at": None if expires_us is None else expires_us // _S,
    }


def _scopes(body: dict[str, Any]) -> list[str] | None:
    """The scopes asked for. An empty list, like none, means all permissions."""
    found = body.get("scopes")
    if found is not None and not (isinstance(found, list) and all(isinstance(scope, str) for scope in found)):
        raise ProviderError(400, "Invalid type for 'scopes': expected an array of strings.", param="scopes")
    return found or None


def _create_account(call: Call) -> object:
    body = call.json()
    name, only = text(body, "name"), body.get("create_service_account_only") is True
    if only and body.get("expires_in_seconds") is not None:
        raise ProviderError(400, "expires_in_seconds needs an API key to be created", param="expires_in_seconds")
    expiry(body, call.now_us)
    project, role = call.at["project"], "none" if only else "member"
    account = seed_service_account(call.accounts, project, mint.ident("user-"), name, role)
    call.note("openai", "service_account.created", account.id, project, data={"role": role})
    return {**_shown_account(account), "api_key": None if only else _issue(call, account, "Secret Key", body)}


def _list_accounts(call: Call) -> object:
    project = call.at["project"]
    mine = [a for a in call.accounts.service_accounts.values() if (a.provider, a.project) == ("openai", project)]
    found, more = page_of(mine, call.whole("limit", _PAGE, _LONGEST_PAGE), call.one("after"))
    return _listed([_shown_account(account) for account in found], more)


def _listed(data: list[dict[str, object]], more: bool) -> dict[str, object]:
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def _get_account(call: Call) -> object:
    return _shown_account(_service_account(call))


def _delete_account(call: Call) -> object:
    account = _service_account(call)
    for key in call.accounts.keys.of("openai", project=account.project, service_account=account.id):
        key.end("deleted", call.now_us)
    del call.accounts.service_accounts["openai", account.project, account.id]
    call.note("openai", "service_account.deleted", account.id, account.project)
    return {"object": "organization.project.service_account.deleted", "id": account.id, "deleted": True}


def _create_key(call: Call) -> object:
    body = call.json()
    return _issue(call, _service_account(call), text(body, "name", required=False) or "Secret Key", body)


def _owner(accounts: Accounts, key: Key) -> dict[str, object]:
    account = accounts.service_accounts.get(("openai", key.place["project"], key.place.get("service_account", "")))
    if account is None:
        return {"type": "user", "user": _DEFAULT_USER}
    shown = {"id": account.id, "name": account.name, "created_at": account.created_us // _S, "role": account.role}
    return {"type": "service_account", "service_account": shown}


def _shown_key(accounts: Accounts, key: Key) -> dict[str, object]:
    return {
        "object": "organization.project.api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": "**********".join(key.hint(8, 4)),
        "created_at": key.created_us // _S,
        "last_used_at": None if key.last_used_us is None else key.last_used_us // _S,
        "expires_at": None if key.expires_us is None else key.expires_us // _S,
        "owner": _owner(accounts, key),
        "owner_project_access": "active",
    }


def _list_keys(call: Call) -> object:
    access = call.one("owner_project_access", "active")
    mine = call.accounts.keys.of("openai", project=call.at["project"]) if access != "inactive" else []
    found, more = page_of(mine, call.whole("limit", _PAGE, _LONGEST_PAGE), call.one("after"))
    return _listed([_shown_key(call.accounts, key) for key in found], more)


def _key(call: Call) -> Key:
    found = call.accounts.keys.find("openai", call.at["key"])
    if found is None or found.state == "deleted" or found.place.get("project") != call.at["project"]:
        raise _missing("API key", call.at["key"])
    return found


def _get_key(call: Call) -> object:
    return _shown_key(call.accounts, _key(call))


def _update_key(call: Call) -> object:
    body, key = call.json(), _key(call)
    if key.state_at(call.now_us) == "expired":
        raise ProviderError(400, "Expired API keys cannot be updated.", code="api_key_expired")
    expires_us = expiry(body, call.now_us)
    if "scopes" in body:
        key.scopes = _scopes(body)
    if expires_us is not None:
        key.expires_us = expires_us
    call.note("openai", "api_key.updated", key.id, call.at["project"], changes_requested={"scopes": key.scopes or []})
    return _shown_key(call.accounts, key)


def _delete_key(call: Call) -> object:
    key = _key(call)
    if "service_account" in key.place and not call.accounts.settings.service_account_key_delete:
        raise ProviderError(
            400,
            "API keys of a service account cannot be deleted. Delete the service account instead.",
            kind="invalid_request_error",
        )
    key.end("deleted", call.now_us)
    call.note("openai", "api_key.deleted", key.id, call.at["project"])
    return {"object": "organization.project.api_key.deleted", "id": key.id, "deleted": True}


def _shown_limit(call: Call, kind: str, scope: str) -> dict[str, object]:
    spend = call.accounts.spend
    if ("openai", scope) not in spend.limits:
        raise _missing("spend limit", scope or "organization")
    status = "enforcing" if spend.exceeded("openai", scope, call.now_us) else "inactive"
    return {
        "object": f"{kind}.spend_limit",
        "threshold_amount": spend.limits["openai", scope].cents,
        "currency": "USD",
        "interval": "month",
        "enforcement": {"status": status},
    }


def _scope(call: Call) -> tuple[str, str]:
    return ("project", call.at["project"]) if "project" in call.at else ("organization", "")


def _get_limit(call: Call) -> object:
    return _shown_limit(call, *_scope(call))


def _set_limit(call: Call) -> object:
    body = call.json()
    amount = body.get("threshold_amount")
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
        raise ProviderError(400, "Invalid 'threshold_amount': expected a positive integer.", param="threshold_amount")
    if (body.get("currency", "USD"), body.get("interval", "month")) != ("USD", "month"):
        raise ProviderError(400, "A spend limit is in USD by month.", param="currency")
    kind, scope = _scope(call)
    call.accounts.spend.set("openai", scope, amount, call.now_us)
    return _shown_limit(call, kind, scope)


def _delete_limit(call: Call) -> object:
    kind, scope = _scope(call)
    _shown_limit(call, kind, scope)
    del call.accounts.spend.limits["openai", scope]
    return {"object": f"{kind}.spend_limit.deleted", "deleted": True}


_PROJECT = "projects/{project}"
_ACCOUNT = f"{_PROJECT}/service_accounts/{{account}}"
_KEY = f"{_PROJECT}/api_keys/{{key}}"

API = Api(
    "/openai/v1/organization/",
    OpenAIAdministration(),
    [
        ("GET", "projects", projects),
        ("GET", "admin_api_keys", admin_keys),
        ("GET", f"{_PROJECT}/service_accounts", _list_accounts),
        ("POST", f"{_PROJECT}/service_accounts", _create_account),
        ("GET", _ACCOUNT, _get_account),
        ("DELETE", _ACCOUNT, _delete_account),
        ("POST", f"{_ACCOUNT}/api_keys", _create_key),
        ("GET", f"{_PROJECT}/api_keys", _list_keys),
        ("GET", _KEY, _get_key),
        ("POST", _KEY, _update_key),
        ("DELETE", _KEY, _delete_key),
        ("GET", f"{_PROJECT}/spend_limit", _get_limit),
        ("POST", f"{_PROJECT}/spend_limit", _set_limit),
        ("DELETE", f"{_PROJECT}/spend_limit", _delete_limit),
        ("GET", "spend_limit", _get_limit),
        ("POST", "spend_limit", _set_limit),
        ("DELETE", "spend_limit", _delete_limit),
        ("GET", "usage/completions", completions),
        ("GET", "usage/embeddings", embeddings),
        ("GET", "usage/images", nothing),
        ("GET", "usage/audio_speeches", nothing),
        ("GET", "usage/audio_transcriptions", nothing),
        ("GET", "costs", costs),
        ("GET", "audit_logs", audit_logs),
    ],
)
