"""Google Cloud's audit logs: entries as documented, and the events that they become."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from jackstop.events.schema import Event
from jackstop.events.sources.entry import UnreadableEntry
from jackstop.events.sources.gcp_audit import claims, read
from tests.events.sources.cloud_samples import MARKER, NOON, NOON_US, ORIGIN, damaged

SA = "bot@p1.iam.gserviceaccount.com"
GEMINI = "projects/p1/locations/us-central1/publishers/google/models/gemini-3-pro-image"


def entry(service: str, method: str, resource: str = "", **payload: Any) -> dict[str, Any]:
    return {
        "insertId": "i1",
        "logName": "projects/p1/logs/cloudaudit.googleapis.com%2Factivity",
        "timestamp": NOON,
        "resource": {"type": "audited_resource", "labels": {"project_id": "p1", "location": "us-central1"}},
        "severity": "NOTICE",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": f"{service}.googleapis.com",
            "methodName": method,
            "resourceName": resource,
            "authenticationInfo": {"principalEmail": "Eve@example.com"},
            "authorizationInfo": [{"permission": "a.b.c", "granted": True}],
            "requestMetadata": {"callerIp": "203.0.113.9", "callerSuppliedUserAgent": "google-genai-sdk/1.2 gl-python"},
            "status": {},
            **payload,
        },
    }


def made(service: str, method: str, resource: str = "", **payload: Any) -> Event:
    return read(entry(service, method, resource, **payload), ORIGIN)


CALL = {
    **entry(
        "aiplatform",
        "google.cloud.aiplatform.v1.PredictionService.GenerateContent",
        GEMINI,
        authenticationInfo={
            "principalEmail": SA,
            "serviceAccountKeyName": f"//iam.googleapis.com/projects/p1/serviceAccounts/{SA}/keys/0a1b",
        },
        request={"contents": [MARKER]},
        response={"candidates": MARKER},
    ),
    "logName": "projects/p1/logs/cloudaudit.googleapis.com%2Fdata_access",
}
CREATE_KEY = entry(
    "apikeys",
    "google.api.apikeys.v2.ApiKeys.CreateKey",
    "projects/1028",
    request={"parent": "projects/p1/locations/global", "key": {"displayName": MARKER}},
    response={"name": "projects/1028/locations/global/keys/bf67", "keyString": MARKER},
)


def test_a_call_with_a_service_account_s_key() -> None:
    assert claims(CALL)
    event = read(CALL, ORIGIN)
    assert (event.source, event.provider, event.account) == ("gcp_audit", "vertex", "p1")
    assert (event.service, event.region, event.ts) == ("aiplatform", "us-central1", NOON_US)
    assert (event.action_class, event.model, event.model_asked) == ("inference", *2 * ("gemini-3-pro-image",))
    assert (event.principal, event.principal_kind) == (SA, "service_account")
    assert (event.provider_key_id, event.key_kind, event.auth_method) == ("0a1b", "service_account_key", "key")
    assert (event.src_ip, event.src_net, event.client) == ("203.0.113.9", "203.0.113.0/24", "google-genai")
    assert (event.outcome, event.markers) == ("ok", "data_event")
    assert json.loads(event.extra) == {
        "content_dropped": 2,
        "log": "data_access",
        "permission": "a.b.c",
        "severity": "NOTICE",
        "type": "audited_resource",
    }


@pytest.mark.parametrize(
    ("info", "principal", "kind", "key"),
    [
        ({"principalEmail": "Eve@example.com"}, "eve@example.com", "user", ("", "")),
        ({"principalSubject": "apikey:bf67"}, "apikey:bf67", "application", ("bf67", "api_key")),
        ({"principalSubject": "principal://iam.googleapis.com/x"}, "principal://iam.googleapis.com/x", "federated",
         ("", "")),
        ({}, "", "", ("", "api_key")),
    ],
)  # fmt: skip
def test_who_calls(info: dict[str, Any], principal: str, kind: str, key: tuple[str, str]) -> None:
    event = made("generativelanguage", "GenerateContent", "models/gemini-3-pro", authenticationInfo=info)
    assert (event.principal, event.principal_kind) == (principal, kind)
    assert (event.provider_key_id, event.key_kind) == key
    assert (event.model, event.provider) == ("gemini-3-pro", "gemini")


def test_nobody_at_another_service_has_no_key() -> None:
    assert made("storage", "storage.objects.get", authenticationInfo={}).key_kind == ""


def test_whose_token_it_was_and_how_it_was_got() -> None:
    info = {
        "principalEmail": SA,
        "oauthInfo": {"oauthClientId": "1"},
        "serviceAccountDelegationInfo": [{"firstPartyPrincipal": {"principalEmail": "Eve@example.com"}}],
    }
    event = made("storage", "storage.objects.get", authenticationInfo=info)
    assert (event.session, event.auth_method) == ("eve@example.com", "oauth")


def test_an_api_key_that_only_labels_name() -> None:
    event = read({**entry("generativelanguage", "GenerateContent"), "labels": {"credential_id": "apikey:bf67"}}, ORIGIN)
    assert (event.provider_key_id, event.key_kind) == ("bf67", "api_key")


@pytest.mark.parametrize(
    ("service", "method", "words"),
    [
        ("aiplatform", "google.cloud.aiplatform.v1.PredictionService.StreamRawPredict", ("inference", "", "")),
        ("aiplatform", "google.cloud.aiplatform.v1.ModelService.ListModels", ("list_models", "model", "read")),
        ("aiplatform", "google.cloud.aiplatform.v1.EndpointService.DeployModel",
         ("commit_spend", "endpoint", "created")),
        ("aiplatform", "google.cloud.aiplatform.v1.JobService.CreateBatchPredictionJob",
         ("commit_spend", "batch_job", "created")),
        ("aiplatform", "google.cloud.aiplatform.v1.GenAiTuningService.CreateTuningJob",
         ("commit_spend", "customization_job", "created")),
        ("aiplatform", "x.CreateProvisionedThroughput", ("commit_spend", "provisioned_throughput", "created")),
        ("iam", "google.iam.admin.v1.CreateServiceAccountKey", ("key_admin", "service_account_key", "created")),
        ("iamcredentials", "GenerateAccessToken", ("identity", "service_account", "read")),
        ("logging", "google.logging.v2.ConfigServiceV2.DeleteSink", ("change_logging", "sink", "deleted")),
        ("storage", "storage.objects.get", ("data_read", "object", "read")),
        ("storage", "storage.buckets.get", ("", "", "")),
        ("secretmanager", "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
         ("data_read", "secret", "read")),
        ("billingbudgets", "google.cloud.billing.budgets.v1.BudgetService.DeleteBudget",
         ("limit_admin", "budget", "deleted")),
        ("compute", "v1.compute.instances.insert", ("", "", "")),
    ],
)  # fmt: skip
def test_methods_in_the_words_of_the_schema(service: str, method: str, words: tuple[str, str, str]) -> None:
    event = made(service, method)
    assert (event.action_class, event.target_kind, event.change) == words


@pytest.mark.parametrize(
    ("method", "resource", "request_", "target", "action_class"),
    [
        ("google.api.serviceusage.v1.ServiceUsage.EnableService",
         "projects/1/services/generativelanguage.googleapis.com", {}, "generativelanguage", "model_access"),
        ("google.api.serviceusage.v1.ServiceUsage.BatchEnableServices", "projects/1",
         {"serviceIds": ["aiplatform.googleapis.com", "generativelanguage.googleapis.com"]},
         "generativelanguage,aiplatform", "model_access"),
        ("google.api.serviceusage.v1.ServiceUsage.EnableService", "projects/1/services/maps.googleapis.com", {},
         "maps.googleapis.com", ""),
    ],
)  # fmt: skip
def test_services_that_are_switched_on(
    method: str, resource: str, request_: dict[str, Any], target: str, action_class: str
) -> None:
    event = made("serviceusage", method, resource, request=request_)
    assert (event.target_kind, event.change, event.target_id) == ("service", "enabled", target)
    assert event.action_class == action_class


@pytest.mark.parametrize(
    ("method", "request_", "markers"),
    [
        ("CreateKey", {}, "unrestricted"),
        ("CreateKey", {"key": {"restrictions": {"browserKeyRestrictions": {}}}}, "unrestricted"),
        ("CreateKey", {"key": {"restrictions": {"apiTargets": [{"service": "maps.googleapis.com"}]}}}, ""),
        ("CreateKey", {"key": {"restrictions": {"apiTargets": [{"service": "generativelanguage.googleapis.com"}]}}},
         "ai_scope"),
        ("UpdateKey", {"key": {}, "updateMask": "restrictions"}, "unrestricted"),
        ("UpdateKey", {"key": {}, "updateMask": "*"}, "unrestricted"),
        ("UpdateKey", {"key": {"displayName": "x"}, "updateMask": "displayName"}, ""),
        ("DeleteKey", {}, ""),
        ("GetKeyString", {}, ""),
    ],
)  # fmt: skip
def test_api_keys_and_what_they_open(method: str, request_: dict[str, Any], markers: str) -> None:
    event = made("apikeys", f"google.api.apikeys.v2.ApiKeys.{method}", "projects/1/keys/bf67", request=request_)
    assert (event.action_class, event.target_kind, event.markers) == ("key_admin", "api_key", markers)
    assert event.target_id == "bf67"


def test_a_key_that_is_made_is_named_by_the_answer_and_its_string_is_not_kept() -> None:
    event = read(CREATE_KEY, ORIGIN)
    assert (event.target_id, event.markers, event.provider) == ("bf67", "unrestricted", "google")
    assert MARKER not in msgspec.json.encode(event).decode()


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        ([{"action": "REMOVE", "service": "allServices", "logType": "DATA_READ"}],
         ("change_logging", "audit_config", "disabled")),
        ([{"action": "ADD", "service": "allServices", "exemptedMember": "user:e", "logType": "DATA_READ"}],
         ("change_logging", "audit_config", "disabled")),
        ([{"action": "REMOVE", "service": "allServices", "exemptedMember": "user:e"}],
         ("change_logging", "audit_config", "enabled")),
        ([{"action": "ADD", "service": "allServices", "logType": "DATA_READ"}],
         ("change_logging", "audit_config", "enabled")),
        ([], ("people_admin", "policy", "updated")),
    ],
)  # fmt: skip
def test_policies_that_say_what_is_logged(deltas: list[dict[str, str]], words: tuple[str, str, str]) -> None:
    data = {"policyDelta": {"auditConfigDeltas": deltas, "bindingDeltas": [{"member": MARKER}]}}
    event = made("cloudresourcemanager", "SetIamPolicy", "projects/p1", serviceData=data)
    assert (event.action_class, event.target_kind, event.change) == words


@pytest.mark.parametrize(
    ("method", "request_", "markers"),
    [
        ("UpdateSink", {"sink": {"disabled": True}}, "narrowed"),
        ("UpdateSink", {"sink": {"exclusions": [{"filter": MARKER}]}}, "narrowed"),
        ("UpdateSink", {"sink": {"exclusions": [], "disabled": False}}, ""),
        ("UpdateBucket", {"bucket": {"retentionDays": 1}}, "narrowed"),
        ("UpdateBucket", {"bucket": {"description": MARKER}}, ""),
        ("DeleteSink", {"sink": {"disabled": True}}, ""),
    ],
)
def test_sinks_and_buckets_that_get_less(method: str, request_: dict[str, Any], markers: str) -> None:
    event = made("logging", f"google.logging.v2.ConfigServiceV2.{method}", "projects/p1/sinks/all", request=request_)
    assert (event.action_class, event.markers, event.target_id) == ("change_logging", markers, "all")
    assert MARKER not in msgspec.json.encode(event).decode()


@pytest.mark.parametrize(
    ("payload", "outcome", "code"),
    [
        ({"status": {"code": 7, "message": MARKER}}, "denied", "PERMISSION_DENIED"),
        ({"status": {"code": 8}}, "throttled", "RESOURCE_EXHAUSTED"),
        ({"status": {"code": 5}}, "not_found", "NOT_FOUND"),
        ({"status": {"code": 13}}, "error", "INTERNAL"),
        ({"status": {"code": 99}}, "ok", ""),
        ({"authorizationInfo": [{"granted": True}, {"granted": False}]}, "denied", "PERMISSION_DENIED"),
    ],
)
def test_how_it_ended(payload: dict[str, Any], outcome: str, code: str) -> None:
    event = made("aiplatform", "GenerateContent", GEMINI, **payload)
    assert (event.outcome, event.error_code) == (outcome, code)
    assert MARKER not in msgspec.json.encode(event).decode()


@pytest.mark.parametrize(
    ("code", "message", "said", "markers"),
    [
        (3, f"max_tokens: must be greater than 0, not {MARKER}", "max_tokens", "probe:token_limit"),
        (3, f"bad {MARKER}", "", ""),
        (7, "max_tokens", "max_tokens", ""),
    ],
)
def test_of_an_error_s_text_only_the_field_is_kept(code: int, message: str, said: str, markers: str) -> None:
    event = made("aiplatform", "RawPredict", GEMINI, status={"code": code, "message": message})
    assert (event.error_message, event.markers) == (said, markers)
    assert MARKER not in msgspec.json.encode(event).decode()


def test_entries_as_some_collectors_write_them() -> None:
    written = {
        "insertid": "i1",
        "logname": CREATE_KEY["logName"],
        "receivetimestamp": "2026-11-23 12:00:00.123456",
        "protopayload": {
            **CREATE_KEY["protoPayload"],
            "at_sign_type": "x",
            "requestMetadata": {"callerIP": "gce-internal-ip"},
        },
    }
    assert claims(written)
    event = read(written, ORIGIN)
    assert (event.ts, event.account, event.target_id) == (NOON_US, "p1", "bf67")
    assert (event.src_ip, event.src_net, event.src_raw) == ("", "", "gce-internal-ip")


def test_one_identity_for_one_entry() -> None:
    assert read(CALL, ORIGIN).event_id == read({**CALL, "receiveTimestamp": NOON}, ORIGIN).event_id
    assert read(CALL, ORIGIN).event_id != read({**CALL, "insertId": "i2"}, ORIGIN).event_id
    bare = {name: value for name, value in CALL.items() if name != "insertId"}
    assert read(bare, ORIGIN).event_id != read({**bare, "severity": "INFO"}, ORIGIN).event_id


@pytest.mark.parametrize("record", [{}, [], "x", {"protoPayload": {}}, {"protoPayload": MARKER}, {"methodName": "a"}])
def test_what_is_no_entry_of_an_audit_log(record: Any) -> None:
    assert not claims(record)


def test_an_entry_without_a_time_is_none() -> None:
    with pytest.raises(UnreadableEntry, match="timestamp"):
        read({**CALL, "timestamp": None}, ORIGIN)


@given(damaged([CALL, CREATE_KEY]))
def test_damage_gives_an_event_or_says_that_it_cannot_be_read(record: dict[str, Any]) -> None:
    claims(record)
    try:
        event = read(record, ORIGIN)
    except UnreadableEntry:
        return
    assert event.event_id
    msgspec.json.encode(event)
