"""Anthropic's administration: API keys that can be listed and switched but neither made nor deleted, and spend limits.

Shapes: anthropic 2.12 (`resources/organization/api_keys.py`, `resources/beta/organization/spend_limits`).
"""

from __future__ import annotations

from jackstop.sandbox.accounts.anthropic_audit import activities
from jackstop.sandbox.accounts.anthropic_usage import cost_report, moment, usage_report
from jackstop.sandbox.accounts.api import Api, Call, page_of
from jackstop.sandbox.accounts.keys import Key
from jackstop.sandbox.accounts.spend import Limit
from jackstop.sandbox.anthropic import Anthropic
from jackstop.sandbox.errors import ProviderError

_STATUS = {"active": "active", "disabled": "inactive", "deleted": "archived", "expired": "expired"}
_PAGE = 20
_LONGEST_PAGE = 1_000


class AnthropicAdministration(Anthropic):
    """api.anthropic.com for admin keys (`sk-ant-admin…`) and compliance access keys (`sk-ant-api01-…`)."""

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = super().secret(headers)
        if not found.startswith((b"sk-ant-admin", b"sk-ant-api01-")):
            raise ProviderError(401, "invalid x-api-key")
        return found


def _shown(key: Key, now_us: int) -> dict[str, object]:
    return {
        "type": "api_key",
        "id": key.id,
        "name": key.name,
        "status": _STATUS[key.state_at(now_us)],
        "created_at": moment(key.created_us),
        "created_by": {"id": "user_sandbox", "type": "user"},
        "expires_at": None if key.expires_us is None else moment(key.expires_us),
        "partial_key_hint": "...".join(key.hint(12, 4)),
        "principal": None,
        "scope": {"type": "workspace", "workspace_id": key.place["workspace"]},
    }


def _list(call: Call) -> object:
    wanted, workspace = call.one("status"), call.one("workspace_id")
    mine = [
        key
        for key in call.accounts.keys
        if key.provider == "anthropic"
        and wanted in ("", _STATUS[key.state_at(call.now_us)])
        and workspace in ("", key.place["workspace"])
    ]
    limit = call.whole("limit", _PAGE, _LONGEST_PAGE)
    found, more = page_of(mine, limit, call.one("after_id"))
    data = [_shown(key, call.now_us) for key in found]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _people(call: Call) -> object:
    """The one who made every key here."""
    person = {
        "id": "user_sandbox",
        "type": "user",
        "email": "owner@example.com",
        "name": "Sandbox Owner",
        "role": "admin",
        "added_at": moment(0),
    }
    data = [] if call.one("after_id") else [person]
    last = "user_sandbox" if data else None
    return {"data": data, "has_more": False, "first_id": last, "last_id": last}


def _key(call: Call) -> Key:
    found = call.accounts.keys.find("anthropic", call.at["key"])
    if found is None:
        raise ProviderError(404, f"API key {call.at['key']} not found")
    return found


def _get(call: Call) -> object:
    return _shown(_key(call), call.now_us)


def _update(call: Call) -> object:
    body, key = call.json(), _key(call)
    status, name = body.get("status"), body.get("name")
    if status not in (None, "active", "inactive", "archived"):
        raise ProviderError(400, "status: Input should be 'active', 'inactive' or 'archived'")
    if key.state == "deleted" and status not in (None, "archived"):
        raise ProviderError(400, "An archived API key cannot be changed.")
    if key.state_at(call.now_us) == "expired" and status == "active":
        raise ProviderError(400, "An expired API key cannot be activated.")
    if isinstance(name, str) and name:
        key.name = name
    if status == "active":
        key.revive()
    elif status is not None:
        key.end("disabled" if status == "inactive" else "deleted", call.now_us)
    call.note("anthropic", "platform_api_key_updated", key.id, key.place["workspace"], api_key_id=key.id)
    return _shown(key, call.now_us)


def _shown_limit(scope: str, limit: Limit) -> dict[str, object]:
    return {
        "type": "spend_limit",
        "id": limit.id,
        "amount": str(limit.cents),
        "currency": "USD",
        "period": "monthly",
        "is_enabled": True,
        "scope": {"type": "workspace", "workspace_id": scope} if scope else {"type": "organization"},
        "created_at": moment(limit.made_us),
        "updated_at": moment(limit.changed_us),
    }


def _limits(call: Call) -> dict[str, Limit]:
    """The limits by scope. Reading is in beta and wants its header (anthropic 2.12, spend_limit_list_params.py)."""
    return {scope: limit for (provider, scope), limit in call.accounts.spend.limits.items() if provider == "anthropic"}


def _list_limits(call: Call) -> object:
    if b"spend-limit-reads-2026-09-26" not in call.exchange.header.get(b"anthropic-beta", b""):
        raise ProviderError(400, "anthropic-beta: this endpoint needs spend-limit-reads-2026-09-26")
    workspace, kinds = call.one("workspace_id"), call.many("scope_type")
    data = [
        _shown_limit(scope, limit)
        for scope, limit in _limits(call).items()
        if workspace in ("", scope) and (not kinds or ("workspace" if scope else "organization") in kinds)
    ]
    return {"data": data, "next_page": None}


def _writable(call: Call) -> None:
    """An organisation may not be let write limits (BetaSpendLimitsAdminAPIWritesNotEnabledError in anthropic 2.12)."""
    if not call.accounts.settings.spend_limit_writes:
        raise ProviderError(
            403,
            "Spend limits cannot be set with an Admin API credential.",
            details={"error_code": "spend_limits_admin_api_writes_not_enabled"},
        )


def _set_limit(call: Call) -> object:
    _writable(call)
    body = call.json()
    amount, scope = body.get("amount"), body.get("scope")
    kind = scope.get("type") if isinstance(scope, dict) else None
    name = scope.get("workspace_id") if isinstance(scope, dict) and kind == "workspace" else ""
    if kind not in ("organization", "workspace") or not isinstance(name, str) or (kind == "workspace" and not name):
        raise ProviderError(400, "scope: Claude Console organizations set `organization` and `workspace` limits")
    if body.get("period", "monthly") != "monthly":
        raise ProviderError(400, "period: Input should be 'monthly'")
    if amount is None:
        raise ProviderError(400, "amount: an explicit no-limit override is for user limits")
    if not isinstance(amount, str) or not amount.isascii() or not amount.isdigit():
        raise ProviderError(400, "amount: Input should be a non-negative integer in decimal")
    limit = call.accounts.spend.set("anthropic", name, int(amount), call.now_us)
    return _shown_limit(name, limit)


def _limit(call: Call) -> tuple[str, Limit]:
    for scope, limit in _limits(call).items():
        if limit.id == call.at["limit"]:
            return scope, limit
    raise ProviderError(404, f"Spend limit {call.at['limit']} not found")


def _get_limit(call: Call) -> object:
    _writable(call)
    return _shown_limit(*_limit(call))


def _delete_limit(call: Call) -> object:
    _writable(call)
    scope, limit = _limit(call)
    del call.accounts.spend.limits["anthropic", scope]
    return {"id": limit.id, "type": "spend_limit_deleted"}


API = Api(
    "/anthropic/v1/organizations/",
    AnthropicAdministration(),
    [
        ("GET", "users", _people),
        ("GET", "api_keys", _list),
        ("GET", "api_keys/{key}", _get),
        ("POST", "api_keys/{key}", _update),
        ("GET", "spend_limits", _list_limits),
        ("POST", "spend_limits", _set_limit),
        ("GET", "spend_limits/{limit}", _get_limit),
        ("DELETE", "spend_limits/{limit}", _delete_limit),
        ("GET", "usage_report/messages", usage_report),
        ("GET", "cost_report", cost_report),
    ],
)
COMPLIANCE = Api("/anthropic/v1/compliance/", AnthropicAdministration(), [("GET", "activities", activities)])
