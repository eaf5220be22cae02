"""Diagnostic logs of Azure OpenAI and other Cognitive Services (Audit, RequestResponse, Trace) as events.

Facts: learn.microsoft.com/azure/azure-monitor/reference/supported-logs/microsoft-cognitiveservices-accounts-logs, and
the records with which elastic/integrations tests `packages/azure_openai` (2024-04, 2024-05), read on 2026-11-23. The
last number of the caller's address is masked, so there is a network and no address. No category holds prompts; the
request's body, and with it the model that a client names there, is not logged.
"""

from __future__ import annotations

from typing import Any

from jackstop.events.schema import Event
from jackstop.events.sources.cloud import digest, first, nested, number, outcome_of, set_caller, time_us
from jackstop.events.sources.entry import Change, Origin, UnreadableEntry, extra, kept, made

PROVIDER = "azure"
SHAPE = dict[str, Any]
LISTS = ("records", "value")
FORM = "json"
GIVES = "events"
CONTENT = ("properties.requestBody", "properties.responseBody", "properties.prompt", "properties.completion")

_CATEGORIES = frozenset({"Audit", "RequestResponse", "Trace", "AzureOpenAIRequestUsage"})
_CALLS = "RequestResponse"
_MS_US = 1000
# Operations have names such as ChatCompletions_Create; the list of them is nowhere published, so the words decide.
_WORDS: tuple[tuple[tuple[str, ...], Change], ...] = (
    (("listkey",), ("key_admin", "api_key", "read")),
    (("regeneratekey",), ("key_admin", "api_key", "updated")),
    (("finetun", "fine-tun", "fine_tun"), ("commit_spend", "customization_job", "created")),
    (("batch",), ("commit_spend", "batch_job", "created")),
    (("deployment",), ("list_models", "deployment", "read")),
    (("models", "listmodel", "model_list", "model_get"), ("list_models", "model", "read")),
    (("file", "vectorstore", "vector_store"), ("", "file", "")),
)
_READS = ("list", "get", "retrieve", "read")
_KNOWN = frozenset({
    "time", "TimeGenerated", "resourceId", "ResourceId", "_ResourceId", "category", "Category", "operationName",
    "OperationName", "callerIpAddress", "CallerIPAddress", "correlationId", "CorrelationId", "durationMs", "DurationMs",
    "resultSignature", "ResultSignature", "location", "Tenant", "properties", "properties_s",
})  # fmt: skip
_READ_PROPERTIES = frozenset({
    "apiName", "requestLength", "responseLength", "objectId", "streamType", "modelDeploymentName", "modelName",
})  # fmt: skip
_EXTRA = frozenset({"category", "properties.modelVersion", "AssetIdentity", "event", "resultType"})


def claims(record: Any) -> bool:
    """Whether it is a diagnostic record of a Cognitive Services account."""
    if not isinstance(record, dict):
        return False
    resource = first(record, "resourceId", "ResourceId", "_ResourceId").lower()
    return "/microsoft.cognitiveservices/" in resource and first(record, "category", "Category") in _CATEGORIES


def unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """A row of Log Analytics as CSV, whose portal writes `TimeGenerated [UTC]`, with the names of its columns."""
    return {name.removesuffix(" [UTC]"): value for name, value in record.items() if value != ""}


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one record. Raises UnreadableEntry."""
    operation, category = first(entry, "operationName", "OperationName"), first(entry, "category", "Category")
    if not operation:
        raise UnreadableEntry("it has no operationName")
    ts = time_us(first(entry, "time", "TimeGenerated"))
    event = made(PROVIDER, digest(entry), ts, operation, origin)
    event.source, event.provider, event.service = "azure_openai", PROVIDER, "Microsoft.CognitiveServices"
    resource = first(entry, "resourceId", "ResourceId", "_ResourceId").lower().split("/")
    event.account = kept(_after(resource, "subscriptions")) or origin.account
    event.region = kept(first(entry, "location", "Tenant")).lower()
    event.action_class, event.target_kind, event.change = _change(operation, category)
    event.target_id = kept(_after(resource, "accounts"))
    properties = nested(entry, "properties") or nested(entry, "properties_s")
    _set_call(event, properties)
    _set_principal(event, kept(properties.get("objectId")).lower(), category)
    set_caller(event, first(entry, "callerIpAddress", "CallerIPAddress"), None)
    event.request_id = kept(first(entry, "correlationId", "CorrelationId"))
    status = number(entry.get("resultSignature", entry.get("ResultSignature")))
    if status is not None:
        event.status, event.outcome = status, outcome_of(status)
    duration = number(entry.get("durationMs", entry.get("DurationMs")))
    event.latency_us = None if duration is None else duration * _MS_US
    event.markers = "data_event" if category == _CALLS else ""
    unread = {name: value for name, value in entry.items() if name not in _KNOWN}
    inner = {f"properties.{name}": value for name, value in properties.items() if name not in _READ_PROPERTIES}
    event.extra = extra({**inner, **unread, "category": category}, _EXTRA)
    return event


def _change(operation: str, category: str) -> Change:
    if category not in {_CALLS, "Audit"}:
        return "", "", ""
    name = operation.lower()
    for words, change in _WORDS:
        if any(word in name for word in words):
            is_read = change[0] == "commit_spend" and any(word in name for word in _READS)
            return ("data_read", change[1], "read") if is_read else change
    return ("inference", "", "") if category == _CALLS else ("", "", "")


def _set_call(event: Event, properties: dict[str, Any]) -> None:
    # Azure does not tell large letters from small in the name of a deployment.
    event.model_asked = kept(properties.get("modelDeploymentName")).lower()
    event.model = kept(properties.get("modelName"))
    version = kept(properties.get("apiName")).rpartition(" ")[2]
    event.api_version = version if version[:2] == "20" else ""
    event.request_bytes = number(properties.get("requestLength"))
    event.response_bytes = number(properties.get("responseLength"))
    stream = properties.get("streamType")
    event.stream = stream == "Streaming" if isinstance(stream, str) else None


def _set_principal(event: Event, object_id: str, category: str) -> None:
    event.principal = object_id
    if object_id:
        event.auth_method = "oauth"
    elif category == _CALLS:
        # A call with one of the account's two keys names nobody.
        event.auth_method, event.key_kind = "key", "api_key"


def _after(parts: list[str], name: str) -> str:
    return parts[parts.index(name) + 1] if name in parts[:-1] else ""
