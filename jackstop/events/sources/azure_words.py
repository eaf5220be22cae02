"""What operations of Azure's Activity log do, in the words of the event schema.

Facts: learn.microsoft.com/azure/role-based-access-control/permissions/ai-machine-learning and …/monitor, and the
swagger of Microsoft.CognitiveServices (accounts, deployments, commitment plans), read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jackstop.events.sources.cloud import nested, number
from jackstop.events.sources.entry import Change, kept

_AI = "microsoft.cognitiveservices/"
_ML = "microsoft.machinelearningservices/workspaces/"
_OPERATIONS: dict[str, Change] = {
    f"{_AI}accounts/listkeys/action": ("key_admin", "api_key", "read"),
    f"{_AI}accounts/regeneratekey/action": ("key_admin", "api_key", "updated"),
    f"{_ML}onlineendpoints/listkeys/action": ("key_admin", "api_key", "read"),
    f"{_ML}onlineendpoints/regeneratekeys/action": ("key_admin", "api_key", "updated"),
    f"{_ML}serverlessendpoints/listkeys/action": ("key_admin", "api_key", "read"),
    f"{_ML}serverlessendpoints/regeneratekeys/action": ("key_admin", "api_key", "updated"),
    f"{_AI}accounts/write": ("", "ai_resource", "updated"),
    f"{_AI}accounts/delete": ("", "ai_resource", "deleted"),
    f"{_AI}accounts/deployments/write": ("model_access", "deployment", "created"),
    f"{_AI}accounts/deployments/delete": ("", "deployment", "deleted"),
    f"{_AI}accounts/deployments/read": ("list_models", "deployment", "read"),
    f"{_AI}accounts/models/read": ("list_models", "model", "read"),
    f"{_AI}accounts/commitmentplans/write": ("commit_spend", "commitment_plan", "created"),
    f"{_AI}commitmentplans/write": ("commit_spend", "commitment_plan", "created"),
    f"{_AI}accounts/raipolicies/write": ("change_guardrail", "guardrail", "updated"),
    f"{_AI}accounts/raipolicies/delete": ("change_guardrail", "guardrail", "deleted"),
    "microsoft.quota/quotas/write": ("limit_admin", "quota", "updated"),
    "microsoft.consumption/budgets/delete": ("limit_admin", "budget", "deleted"),
    "microsoft.consumption/budgets/write": ("limit_admin", "budget", "updated"),
    "microsoft.insights/diagnosticsettings/delete": ("change_logging", "diagnostic_settings", "deleted"),
    "microsoft.insights/diagnosticsettings/write": ("change_logging", "diagnostic_settings", "updated"),
    "microsoft.operationalinsights/workspaces/delete": ("change_logging", "log_workspace", "deleted"),
    "microsoft.authorization/roleassignments/write": ("people_admin", "role_assignment", "created"),
    "microsoft.authorization/elevateaccess/action": ("people_admin", "role_assignment", "created"),
    "microsoft.storage/storageaccounts/listkeys/action": ("key_admin", "storage_key", "read"),
    "microsoft.keyvault/vaults/secrets/getsecret/action": ("data_read", "secret", "read"),
    "microsoft.keyvault/vaults/secrets/read": ("data_read", "secret", "read"),
    "getblob": ("data_read", "object", "read"),
}
_ACCOUNT = f"{_AI}accounts/write"
_DEPLOYMENT = f"{_AI}accounts/deployments/write"
_SETTINGS = "microsoft.insights/diagnosticsettings/write"


class What(NamedTuple):
    """What an operation does, to which thing, and the few details of its request that are kept."""

    words: Change
    target: str
    model: str
    marker: str
    details: dict[str, str | int]


def change_of(operation: str, resource: str, body: Mapping[str, Any]) -> What:
    """What the operation does to the resource; its request's body tells safeguards that it takes off."""
    name = operation.lower()
    words = _OPERATIONS.get(name, ("", "", ""))
    target = _target(resource.lower())
    if name == _ACCOUNT:
        return What(*_account(words, body, target))
    if name == _DEPLOYMENT:
        return _deployment(words, body, target)
    if name == _SETTINGS and _is_silent(body):
        words = ("change_logging", "diagnostic_settings", "disabled")
    return What(words, target, "", "", {})


def markers_of(what: What, category: str) -> str:
    """The markers of a record."""
    found = [what.marker, "data_event" if category.startswith("Storage") else ""]
    return ",".join(each for each in found if each)


def _account(words: Change, body: Mapping[str, Any], target: str) -> tuple[Change, str, str, str, dict[str, str | int]]:
    """A write of an account says all of its properties that it changes."""
    properties = _field(body, "properties")
    opened = _text(_field(properties, "networkAcls"), "defaultAction") == "allow"
    opened = opened or _text(properties, "publicNetworkAccess") == "enabled"
    if _value(properties, "disableLocalAuth") is False:
        words = ("change_guardrail", "local_auth", "enabled")
    elif _value(properties, "disableLocalAuth") is True:
        words = ("change_guardrail", "local_auth", "disabled")
    elif opened:
        words = ("change_guardrail", "network_rules", "disabled")
    return words, target, "", "opened_network" if opened else "", {}


def _deployment(words: Change, body: Mapping[str, Any], target: str) -> What:
    sku, model = _field(body, "sku"), _field(_field(body, "properties"), "model")
    name, capacity = kept(_value(sku, "name")), number(_value(sku, "capacity"))
    details: dict[str, str | int] = {"sku": name} if name else {}
    if capacity is not None:
        details["capacity"] = capacity
    # ProvisionedManaged and its global and data-zone forms are paid by the hour, used or not.
    if "provisioned" in name.lower():
        words = ("commit_spend", "capacity", "created")
    return What(words, target, kept(_value(model, "name")), "", details)


def _is_silent(body: Mapping[str, Any]) -> bool:
    """Whether diagnostic settings are written with every log off."""
    logs = _value(_field(body, "properties"), "logs")
    if not isinstance(logs, list) or not logs:
        return False
    return all(isinstance(each, dict) and _value(each, "enabled") is False for each in logs)


def _target(resource: str) -> str:
    """The thing's own name, with that of the account that holds it."""
    parts = [part for part in resource.split("/") if part]
    if "accounts" in parts[:-1]:
        account = parts[parts.index("accounts") + 1]
        return account if account == parts[-1] else f"{account}/{parts[-1]}"
    return parts[-1] if parts else ""


def _field(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = next((key for key in record if key.lower() == name.lower()), name)
    return nested(record, found)


def _value(record: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in record.items() if key.lower() == name.lower()), None)


def _text(record: Mapping[str, Any], name: str) -> str:
    value = _value(record, name)
    return value.lower() if isinstance(value, str) else ""
