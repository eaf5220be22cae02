"""Azure's Activity log as events: exports to storage and event hubs, the REST interface, Log Analytics' columns.

Facts: learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema and …/reference/tables/azureactivity,
learn.microsoft.com/rest/api/monitor/activity-logs/list, read on 2026-11-23. An operation leaves several records with
one correlationId: Start, then Accept, Success or Failure. Requests' bodies may hold anything, and are kept only as what
the few fields looked at say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstop.events.schema import Event
from jackstop.events.sources import azure_openai
from jackstop.events.sources.azure_words import change_of, markers_of
from jackstop.events.sources.cloud import digest, first, nested, number, outcome_of, set_caller, time_us
from jackstop.events.sources.entry import Origin, UnreadableEntry, extra, kept, made

PROVIDER = "azure"
SHAPE = dict[str, Any]
LISTS = ("records", "value")
FORM = "json"
GIVES = "events"
CONTENT = ("properties.requestbody", "properties.responseBody", "identity.claims", "claims", "uri", "resultDescription")

_TIMES = ("time", "eventTimestamp", "TimeGenerated")
_OPERATIONS = ("operationName", "OperationNameValue", "OperationName")
_RESOURCES = ("resourceId", "_ResourceId", "ResourceId")
_WHO = (
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name",
    "name",
)
_APPLICATION = ("appid", "http://schemas.microsoft.com/identity/claims/objectidentifier")
_OUTCOMES = {
    "success": "ok", "succeeded": "ok", "accept": "ok", "accepted": "ok", "active": "ok", "resolved": "ok",
    "created": "ok", "start": "", "started": "", "inprogress": "", "updated": "",
}  # fmt: skip
_STATUSES = {
    "ok": 200, "created": 201, "accepted": 202, "nocontent": 204, "badrequest": 400, "unauthorized": 401,
    "forbidden": 403, "notfound": 404, "conflict": 409, "gone": 410, "toomanyrequests": 429,
    "internalservererror": 500, "serviceunavailable": 503,
}  # fmt: skip
_EXTRA = frozenset({"category", "CategoryValue", "level", "Level", "properties.eventCategory", "tenantId"})
_KNOWN = frozenset({
    *_TIMES, *_OPERATIONS, *_RESOURCES, "callerIpAddress", "CallerIpAddress", "correlationId", "CorrelationId",
    "caller", "Caller", "location", "resultType", "resultSignature", "status", "subStatus", "statusCode",
    "subscriptionId", "SubscriptionId", "ActivityStatusValue", "ActivitySubstatusValue", "eventDataId", "EventDataId",
    "properties", "Properties", "Properties_d", "httpRequest", "HTTPRequest",
})  # fmt: skip


def claims(record: Any) -> bool:
    """Whether it is a record of the Activity log, or of a resource's own log in its form."""
    if not isinstance(record, dict) or azure_openai.claims(record):
        return False
    if not first(record, *_TIMES, "TimeGenerated [UTC]") or not first(record, *_OPERATIONS):
        return False
    return any(name in record for name in (*_RESOURCES, "callerIpAddress", "CallerIpAddress", "subscriptionId"))


unwrapped = azure_openai.unwrapped


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one record. Raises UnreadableEntry."""
    operation = first(entry, *_OPERATIONS)
    if not operation:
        raise UnreadableEntry("it has no operationName")
    number_of_it = first(entry, "eventDataId", "EventDataId")
    event = made(PROVIDER, number_of_it or digest(entry), time_us(first(entry, *_TIMES)), operation, origin)
    event.source, event.provider = "azure_activity", PROVIDER
    properties = nested(entry, "properties") or nested(entry, "Properties_d") or nested(entry, "Properties")
    resource = first(entry, *_RESOURCES)
    _set_resource(event, entry, resource, origin)
    body = nested(properties, "requestbody") or nested(properties, "requestBody")
    change = change_of(operation, resource, body)
    event.action_class, event.target_kind, event.change = change.words
    event.target_id, event.model_asked = kept(change.target), kept(change.model)
    event.model = event.model_asked
    _set_principal(event, entry)
    agent = properties.get("userAgentHeader")
    set_caller(event, _address(entry), agent if isinstance(agent, str) else None)
    event.request_id = kept(first(entry, "correlationId", "CorrelationId"))
    _set_result(event, entry, properties)
    event.markers = markers_of(change, first(entry, "category", "CategoryValue"))
    unread = {name: value for name, value in entry.items() if name not in _KNOWN}
    inner = {f"properties.{name}": value for name, value in properties.items()}
    event.extra = extra({**inner, **unread, **change.details}, _EXTRA | change.details.keys())
    return event


def _set_resource(event: Event, entry: Mapping[str, Any], resource: str, origin: Origin) -> None:
    parts = resource.split("/")
    lower = resource.lower().split("/")
    subscription = lower[lower.index("subscriptions") + 1] if "subscriptions" in lower[:-1] else ""
    subscription = subscription or first(entry, "subscriptionId", "SubscriptionId", "tenantId").lower()
    event.account = kept(subscription) or origin.account
    event.region = kept(first(entry, "location")).lower()
    # The resource's provider, not the operation's: diagnostic settings of a resource are about that resource.
    named = parts[lower.index("providers") + 1] if "providers" in lower[:-1] else event.action.partition("/")[0]
    event.service = {"microsoft.cognitiveservices": "Microsoft.CognitiveServices"}.get(named.lower(), kept(named))


def _set_principal(event: Event, entry: Mapping[str, Any]) -> None:
    identity = nested(entry, "identity")
    said = nested(identity, "claims") or nested(entry, "claims") or nested(entry, "Claims_d") or nested(entry, "Claims")
    named = first(entry, "caller", "Caller") or first(said, *_WHO)
    application = first(said, *_APPLICATION)
    event.principal = kept(named or application).lower()
    if said:
        event.auth_method = "oauth"
    elif first(identity, "type") == "AccountKey":
        event.auth_method, event.key_kind = "key", "api_key"
    if event.principal:
        event.principal_kind = "user" if "@" in event.principal else "application"


def _address(entry: Mapping[str, Any]) -> str:
    direct = first(entry, "callerIpAddress", "CallerIpAddress")
    request = nested(entry, "httpRequest") or nested(entry, "HTTPRequest")
    return direct or first(request, "clientIpAddress", "clientIPAddress")


def _set_result(event: Event, entry: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    word = first(entry, "resultType", "status", "ActivityStatusValue").lower()
    detail = first(entry, "subStatus", "ActivitySubstatusValue", "resultSignature").rpartition(".")[2]
    code = next(filter(None, map(_status, (entry.get("statusCode"), properties.get("statusCode"), detail))), None)
    event.status = code
    event.outcome = _OUTCOMES.get(word, "" if code is None else outcome_of(code))
    if word in {"failure", "failed"} or (code is not None and code >= 400):
        event.outcome = outcome_of(code) if code is not None and code >= 400 else "error"
        event.error_code = kept(detail)


def _status(value: object) -> int | None:
    known = number(value)
    if known is None and isinstance(value, str):
        known = _STATUSES.get(value.replace(" ", "").lower())
    return known
