"""What methods in Google Cloud's audit logs do, in the words of the event schema.

Facts: the audit-logging pages of Vertex AI, API keys, IAM, Service Usage, Cloud Logging, Cloud Billing, Cloud Storage
and Secret Manager at docs.cloud.google.com, Google's discovery documents of apikeys v2 and iam v1; read on 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jackstop.events.sources.cloud import first, nested
from jackstop.events.sources.entry import Change, kept

_NOTHING: Change = ("", "", "")
_AI = {
    **dict.fromkeys(
        (
            "generatecontent", "streamgeneratecontent", "bidigeneratecontent", "generateanswer", "predict",
            "rawpredict", "streamrawpredict", "serverstreamingpredict", "streamingpredict", "directpredict",
            "predictlongrunning", "chatcompletions", "embedcontent", "batchembedcontents",
        ),
        ("inference", "", ""),
    ),
    **dict.fromkeys(
        ("listmodels", "getmodel", "listpublishermodels", "getpublishermodel", "listtunedmodels", "listendpoints"),
        ("list_models", "model", "read"),
    ),
    "createendpoint": ("commit_spend", "endpoint", "created"),
    "deploymodel": ("commit_spend", "endpoint", "created"),
    "createdeploymentresourcepool": ("commit_spend", "endpoint", "created"),
    "createreasoningengine": ("commit_spend", "endpoint", "created"),
    "createtuningjob": ("commit_spend", "customization_job", "created"),
    "createtunedmodel": ("commit_spend", "customization_job", "created"),
    "createcustomjob": ("commit_spend", "customization_job", "created"),
    "createtrainingpipeline": ("commit_spend", "customization_job", "created"),
    "createpipelinejob": ("commit_spend", "customization_job", "created"),
    "createbatchpredictionjob": ("commit_spend", "batch_job", "created"),
    "batchgeneratecontent": ("commit_spend", "batch_job", "created"),
}  # fmt: skip
_KEYS: dict[str, Change] = {
    "createkey": ("key_admin", "api_key", "created"),
    "createapikey": ("key_admin", "api_key", "created"),
    "clonekey": ("key_admin", "api_key", "created"),
    "regenerateapikey": ("key_admin", "api_key", "created"),
    "undeletekey": ("key_admin", "api_key", "enabled"),
    "updatekey": ("key_admin", "api_key", "updated"),
    "patchapikey": ("key_admin", "api_key", "updated"),
    "deletekey": ("key_admin", "api_key", "deleted"),
    "deleteapikey": ("key_admin", "api_key", "deleted"),
    "getkeystring": ("key_admin", "api_key", "read"),
}
_IAM: dict[str, Change] = {
    "createserviceaccountkey": ("key_admin", "service_account_key", "created"),
    "uploadserviceaccountkey": ("key_admin", "service_account_key", "created"),
    "enableserviceaccountkey": ("key_admin", "service_account_key", "enabled"),
    "deleteserviceaccountkey": ("key_admin", "service_account_key", "deleted"),
    "createserviceaccount": ("people_admin", "service_account", "created"),
    "createrole": ("people_admin", "role", "created"),
    "updaterole": ("people_admin", "role", "updated"),
}
_LOGGING: dict[str, Change] = {
    "deletesink": ("change_logging", "sink", "deleted"),
    "updatesink": ("change_logging", "sink", "updated"),
    "deletebucket": ("change_logging", "log_bucket", "deleted"),
    "updatebucket": ("change_logging", "log_bucket", "updated"),
    "updatebucketasync": ("change_logging", "log_bucket", "updated"),
    "createexclusion": ("change_logging", "exclusion", "created"),
    "updateexclusion": ("change_logging", "exclusion", "updated"),
    "deletelog": ("change_logging", "log", "deleted"),
}
_LIMITS: dict[str, Change] = {
    "updateprojectbillinginfo": ("limit_admin", "billing", "updated"),
    "deletebudget": ("limit_admin", "budget", "deleted"),
    "updatebudget": ("limit_admin", "budget", "updated"),
    "createquotapreference": ("limit_admin", "quota", "updated"),
    "updatequotapreference": ("limit_admin", "quota", "updated"),
    "createconsumeroverride": ("limit_admin", "quota", "updated"),
    "updateconsumeroverride": ("limit_admin", "quota", "updated"),
}
_METHODS: dict[str, dict[str, Change]] = {
    "aiplatform": _AI,
    "generativelanguage": _AI,
    "apikeys": _KEYS,
    "iam": _IAM,
    "logging": _LOGGING,
    "cloudbilling": _LIMITS,
    "billingbudgets": _LIMITS,
    "cloudquotas": _LIMITS,
    "serviceusage": _LIMITS,
    "storage": {"get": ("data_read", "object", "read")},
    "secretmanager": {"accesssecretversion": ("data_read", "secret", "read")},
    "iamcredentials": dict.fromkeys(
        ("generateaccesstoken", "generateidtoken", "signjwt", "signblob"), ("identity", "service_account", "read")
    ),
}
_POLICIES = frozenset({"setiampolicy", "setiampermissions"})
_ENABLES = frozenset({"enableservice", "batchenableservices", "activateservices"})
AI_SERVICES = ("generativelanguage", "aiplatform")


class What(NamedTuple):
    """What a method does, to which thing, and what in its request makes it worse."""

    words: Change
    target: str
    markers: tuple[str, ...] = ()


def change_of(service: str, method: str, payload: Mapping[str, Any]) -> What:
    """What the method does; `service` is without its domain. Requests tell what was taken off."""
    name = method.rpartition(".")[2].lower()
    resource, request = first(payload, "resourceName"), nested(payload, "request")
    if name in _ENABLES:
        return _enabled(resource, request)
    if name in _POLICIES:
        return _policy(payload, resource)
    if service == "storage" and not method.lower().endswith("objects.get"):
        return What(_NOTHING, _last(resource))
    words = _METHODS.get(service, {}).get(name, _NOTHING)
    if "provisionedthroughput" in name and name.startswith("create"):
        words = ("commit_spend", "provisioned_throughput", "created")
    if words[1] in {"api_key", "service_account_key"}:
        made = first(nested(payload, "response"), "name")
        marks = _key_markers(words[2], request) if words[1] == "api_key" else ()
        return What(words, _last(made if "/keys/" in made else resource), marks)
    narrowed = words[1] in {"sink", "log_bucket"} and words[2] == "updated" and _is_narrowed(request)
    return What(words, _last(resource), ("narrowed",) if narrowed else ())


def model_of(resource: str) -> str:
    """The model in a resource's name, such as `…/publishers/google/models/gemini-3-pro`; "" where it names none."""
    named = f"/{resource}".partition("/models/")[2]
    return kept(named.partition(":")[0].partition("/")[0].partition("@")[0])


def _enabled(resource: str, request: Mapping[str, Any]) -> What:
    named = [resource, *(text for each in ("serviceIds", "serviceNames") for text in _texts(request.get(each)))]
    found = [each for each in AI_SERVICES if any(f"{each}.googleapis.com" in text for text in named)]
    words: Change = ("model_access", "service", "enabled") if found else ("", "service", "enabled")
    return What(words, ",".join(found) or _last(resource))


def _policy(payload: Mapping[str, Any], resource: str) -> What:
    """Of a policy that is set: whether it takes something out of the audit logs."""
    delta = nested(nested(payload, "serviceData"), "policyDelta") or nested(nested(payload, "metadata"), "policyDelta")
    deltas = delta.get("auditConfigDeltas")
    changes = [each for each in deltas if isinstance(each, dict)] if isinstance(deltas, list) else []
    if any(_is_less_logged(each) for each in changes):
        return What(("change_logging", "audit_config", "disabled"), _last(resource))
    if changes:
        return What(("change_logging", "audit_config", "enabled"), _last(resource))
    return What(("people_admin", "policy", "updated"), _last(resource))


def _is_less_logged(delta: Mapping[str, Any]) -> bool:
    """A kind of log was taken out, or a person was exempted."""
    exempted = bool(first(delta, "exemptedMember"))
    return first(delta, "action").upper() == ("ADD" if exempted else "REMOVE")


def _key_markers(change: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether a key is left without a list of APIs, and whether that list names models."""
    key = nested(request, "key")
    targets = nested(key, "restrictions").get("apiTargets")
    listed = [first(each, "service") for each in targets if isinstance(each, dict)] if isinstance(targets, list) else []
    if any(service.partition(".")[0] in AI_SERVICES for service in listed):
        return ("ai_scope",)
    mask = str(request.get("updateMask", ""))
    is_set = change == "created" or (change == "updated" and (mask == "*" or "restrictions" in mask))
    return ("unrestricted",) if is_set and not listed else ()


def _is_narrowed(request: Mapping[str, Any]) -> bool:
    """Whether a sink is switched off or given exclusions, or a bucket told to forget sooner."""
    sink, bucket = nested(request, "sink"), nested(request, "bucket")
    return sink.get("disabled") is True or bool(sink.get("exclusions")) or "retentionDays" in bucket


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _last(resource: str) -> str:
    return resource.rstrip("/").rpartition("/")[2]
