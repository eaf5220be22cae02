"""Google Cloud's audit logs as events: LogEntry with an AuditLog, of Admin Activity, Data Access and Policy Denied.

Facts: docs.cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog and …/logging/docs/audit,
google/rpc/code.proto, read on 2026-11-23. BigQuery exports and some collectors write `@type` as `at_sign_type`, the
names of LogEntry in lower case, and `callerIP`. Requests and answers may hold anything; only fields that say what was
restricted or switched off are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstop.events.schema import Event
from jackstop.events.sources.cloud import digest, first, nested, set_caller, time_us
from jackstop.events.sources.entry import Origin, UnreadableEntry, extra, kept, made
from jackstop.events.sources.gcp_words import AI_SERVICES, change_of, model_of

PROVIDER = "google"
SHAPE = dict[str, Any]
LISTS = ("entries", "records")
FORM = "json"
GIVES = "events"
CONTENT = (
    "protoPayload.request", "protoPayload.response", "protoPayload.metadata", "protoPayload.serviceData",
    "protoPayload.status.message", "protoPayload.status.details", "jsonPayload", "textPayload",
)  # fmt: skip

# google.rpc.Code: its name, and the word for what came out.
_CODES = {
    1: ("CANCELLED", "cancelled"),
    2: ("UNKNOWN", "error"),
    3: ("INVALID_ARGUMENT", "invalid"),
    4: ("DEADLINE_EXCEEDED", "error"),
    5: ("NOT_FOUND", "not_found"),
    6: ("ALREADY_EXISTS", "invalid"),
    7: ("PERMISSION_DENIED", "denied"),
    8: ("RESOURCE_EXHAUSTED", "throttled"),
    9: ("FAILED_PRECONDITION", "invalid"),
    10: ("ABORTED", "error"),
    11: ("OUT_OF_RANGE", "invalid"),
    12: ("UNIMPLEMENTED", "invalid"),
    13: ("INTERNAL", "error"),
    14: ("UNAVAILABLE", "error"),
    15: ("DATA_LOSS", "error"),
    16: ("UNAUTHENTICATED", "denied"),
}
_PROVIDERS = {"generativelanguage": "gemini", "aiplatform": "vertex"}
_LIMIT_FIELDS = ("max_tokens", "max_output_tokens", "maxoutputtokens", "max_completion_tokens")
_API_KEY = "apikey:"
_EXTRA = frozenset({"permission", "log", "severity", "type"})


def claims(record: Any) -> bool:
    """Whether it is a LogEntry of an audit log."""
    if not isinstance(record, dict):
        return False
    payload = record.get("protoPayload", record.get("protopayload"))
    if not isinstance(payload, dict):
        return False
    return "methodName" in payload or "serviceName" in payload or "authorizationInfo" in payload


def read(entry: dict[str, Any], origin: Origin) -> Event:
    """The event of one entry. Raises UnreadableEntry."""
    payload = nested(entry, "protoPayload") or nested(entry, "protopayload")
    method = first(payload, "methodName") or first(nested(payload, "metadata"), "methodName")
    when = first(entry, "timestamp", "receiveTimestamp", "receivetimestamp") or first(payload, "timestamp")
    if not when:
        raise UnreadableEntry("it has no timestamp")
    log, entry_id = first(entry, "logName", "logname"), first(entry, "insertId", "insertid")
    event = made(PROVIDER, digest(log, when, entry_id) if entry_id else digest(entry), time_us(when), method, origin)
    event.source = "gcp_audit"
    _set_place(event, entry, payload, log, origin)
    event.provider = _PROVIDERS.get(event.service, PROVIDER)
    what = change_of(event.service, method, payload)
    event.action_class, event.target_kind, event.change = what.words
    event.target_id = kept(what.target)
    if event.action_class in {"inference", "list_models", "commit_spend"}:
        event.model = event.model_asked = model_of(first(payload, "resourceName"))
    _set_principal(event, nested(payload, "authenticationInfo"), nested(entry, "labels"))
    meta = nested(payload, "requestMetadata")
    agent = meta.get("callerSuppliedUserAgent")
    set_caller(event, first(meta, "callerIp", "callerIP"), agent if isinstance(agent, str) else None)
    limit = _set_result(event, payload)
    is_data = "data_access" in log
    markers = [*what.markers, *(["data_event"] if is_data else []), *(["probe:token_limit"] if limit else [])]
    event.markers = ",".join(markers)
    event.extra = _extra(entry, payload, log)
    return event


def _set_place(event: Event, entry: Mapping[str, Any], payload: Mapping[str, Any], log: str, origin: Origin) -> None:
    labels = nested(nested(entry, "resource"), "labels")
    parts = log.split("/")
    owner = parts[1] if len(parts) > 1 else ""
    event.account = kept(first(labels, "project_id") or owner) or origin.account
    locations = nested(payload, "resourceLocation").get("currentLocations")
    located = locations[0] if isinstance(locations, list) and locations else ""
    event.region = kept(first(labels, "location", "zone") or located)
    event.service = kept(first(payload, "serviceName").removesuffix(".googleapis.com"))


def _set_principal(event: Event, info: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    email, subject = first(info, "principalEmail").lower(), first(info, "principalSubject")
    event.principal = kept(email or subject)
    event.principal_kind = _principal_kind(event.principal)
    key = first(info, "serviceAccountKeyName")
    api_key = next((each for each in (subject, first(labels, "credential_id")) if each.startswith(_API_KEY)), "")
    if key:
        event.key_kind, event.auth_method = "service_account_key", "key"
        event.provider_key_id = kept(key.rpartition("/")[2])
    elif api_key:
        event.key_kind, event.auth_method = "api_key", "key"
        event.provider_key_id = kept(api_key[len(_API_KEY) :])
    elif not event.principal and event.service in AI_SERVICES:
        # Without an identity these are called with an API key, which the entry does not name.
        event.key_kind, event.auth_method = "api_key", "key"
    elif info.get("oauthInfo"):
        event.auth_method = "oauth"
    delegates = info.get("serviceAccountDelegationInfo")
    for each in delegates if isinstance(delegates, list) else []:
        if isinstance(each, dict):
            named = first(nested(each, "firstPartyPrincipal"), "principalEmail") or first(each, "principalSubject")
            event.session = event.session or kept(named).lower()


def _principal_kind(principal: str) -> str:
    if principal.startswith(_API_KEY):
        return "application"
    if principal.startswith(("principal:", "principalSet:")):
        return "federated"
    if principal.endswith("gserviceaccount.com"):
        return "service_account"
    return "user" if principal else ""


def _set_result(event: Event, payload: Mapping[str, Any]) -> bool:
    """How it ended; whether it was refused for its cap on the output, which key checkers set out of range."""
    status = nested(payload, "status")
    code = status.get("code")
    if type(code) is int and code in _CODES:
        event.error_code, event.outcome = _CODES[code]
        event.status = code
    elif _is_denied(payload.get("authorizationInfo")):
        event.outcome, event.error_code = "denied", "PERMISSION_DENIED"
    # The message may quote the caller, so no more of it is kept than which field it is about.
    message = first(status, "message").lower()
    event.error_message = next((field for field in _LIMIT_FIELDS if field in message), "")
    return bool(event.error_message) and event.outcome == "invalid"


def _is_denied(checks: object) -> bool:
    return isinstance(checks, list) and any(isinstance(each, dict) and each.get("granted") is False for each in checks)


def _extra(entry: Mapping[str, Any], payload: Mapping[str, Any], log: str) -> str:
    checks = payload.get("authorizationInfo")
    permission = (
        first(checks[0], "permission") if isinstance(checks, list) and checks and isinstance(checks[0], dict) else ""
    )
    kept_fields = {
        "permission": permission or None,
        "log": log.rpartition("%2F")[2] or None,
        "severity": entry.get("severity"),
        "type": first(nested(entry, "resource"), "type") or None,
    }
    hidden = {name: payload.get(name) for name in ("request", "response", "metadata", "serviceData", "status")}
    others = {name: entry.get(name) for name in ("jsonPayload", "textPayload", "operation", "httpRequest")}
    return extra({**kept_fields, **{name: value or None for name, value in {**hidden, **others}.items()}}, _EXTRA)
