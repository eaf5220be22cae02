"""Azure's Activity log in the three forms that it comes in, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.events.schema import Event
from jackstop.events.sources import azure_activity, azure_openai, gcp_audit
from jackstop.events.sources.azure_activity import claims, read, unwrapped
from jackstop.events.sources.entry import UnreadableEntry
from tests.events.sources.cloud_samples import ACCOUNT, MARKER, NOON, NOON_US, ORIGIN, SUBSCRIPTION, damaged

UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"


def exported(operation: str, resource: str = ACCOUNT, **fields: Any) -> dict[str, Any]:
    """A record of an export to storage or to an event hub."""
    return {
        "time": NOON,
        "resourceId": resource.upper(),
        "operationName": operation.upper(),
        "category": "Administrative",
        "resultType": "Success",
        "resultSignature": "Succeeded.OK",
        "durationMs": 20,
        "callerIpAddress": "203.0.113.9",
        "correlationId": "c1",
        "identity": {"claims": {UPN: "Eve@example.com", "name": "Eve", "puid": MARKER}},
        "level": "Information",
        "location": "global",
        **fields,
    }


def written(body: dict[str, Any], operation: str = "Microsoft.CognitiveServices/accounts/write", **more: Any) -> Event:
    return read(exported(operation, properties={"requestbody": json.dumps(body), "statusCode": "OK"}, **more), ORIGIN)


LIST_KEYS = "Microsoft.CognitiveServices/accounts/listKeys/action"
BY_REST = {
    "authorization": {"action": LIST_KEYS, "scope": ACCOUNT},
    "caller": "Eve@example.com",
    "claims": {"appid": "a1", "name": MARKER},
    "correlationId": "c1",
    "eventDataId": "e1",
    "eventTimestamp": NOON,
    "httpRequest": {"clientIpAddress": "203.0.113.9", "method": "POST"},
    "operationName": {"value": LIST_KEYS, "localizedValue": "List keys"},
    "resourceId": ACCOUNT,
    "status": {"value": "Succeeded"},
    "subStatus": {"value": "OK"},
    "subscriptionId": SUBSCRIPTION,
    "properties": {"statusCode": "OK", "message": MARKER},
}
IN_SENTINEL = {
    "TimeGenerated": NOON,
    "OperationNameValue": LIST_KEYS.upper(),
    "ActivityStatusValue": "Success",
    "ActivitySubstatusValue": "OK",
    "Caller": "Eve@example.com",
    "CallerIpAddress": "203.0.113.9",
    "CategoryValue": "Administrative",
    "CorrelationId": "c1",
    "EventDataId": "e1",
    "_ResourceId": ACCOUNT.lower(),
    "SubscriptionId": SUBSCRIPTION,
    "Claims": json.dumps({"appid": "a1", "name": MARKER}),
    "Properties": json.dumps({"statusCode": "OK", "message": MARKER}),
}
ALL = [exported(LIST_KEYS, properties={"requestbody": MARKER, "statusCode": "OK"}), BY_REST, IN_SENTINEL]


@pytest.mark.parametrize("record", ALL, ids=["export", "rest", "sentinel"])
def test_who_did_what_to_what_and_from_where(record: dict[str, Any]) -> None:
    assert claims(record)
    event = read(record, ORIGIN)
    assert (event.source, event.provider, event.account) == ("azure_activity", "azure", SUBSCRIPTION)
    assert (event.service, event.ts) == ("Microsoft.CognitiveServices", NOON_US)
    assert (event.action_class, event.target_kind, event.change) == ("key_admin", "api_key", "read")
    assert (event.action.lower(), event.target_id) == (LIST_KEYS.lower(), "bot")
    assert (event.principal, event.principal_kind, event.auth_method) == ("eve@example.com", "user", "oauth")
    assert (event.src_ip, event.src_net, event.request_id) == ("203.0.113.9", "203.0.113.0/24", "c1")
    assert (event.outcome, event.status) == ("ok", 200)


def test_the_same_event_by_two_ways_has_one_identity() -> None:
    assert read(BY_REST, ORIGIN).event_id == read(IN_SENTINEL, ORIGIN).event_id
    assert read(ALL[0], ORIGIN).event_id == read(dict(ALL[0]), ORIGIN).event_id
    assert read(ALL[0], ORIGIN).event_id != read({**ALL[0], "resultType": "Start"}, ORIGIN).event_id


def test_a_row_of_the_portal_s_csv() -> None:
    row = {"TimeGenerated [UTC]": "11/23/2026, 12:00:00.123 PM", "Claims_d": "", **IN_SENTINEL}
    del row["TimeGenerated"]
    assert claims(row)
    assert read(unwrapped(row), ORIGIN).ts == NOON_US - 456


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (LIST_KEYS, ("key_admin", "api_key", "read")),
        ("Microsoft.CognitiveServices/accounts/regenerateKey/action", ("key_admin", "api_key", "updated")),
        ("Microsoft.MachineLearningServices/workspaces/serverlessEndpoints/listKeys/action",
         ("key_admin", "api_key", "read")),
        ("Microsoft.CognitiveServices/accounts/deployments/write", ("model_access", "deployment", "created")),
        ("Microsoft.CognitiveServices/accounts/commitmentPlans/write", ("commit_spend", "commitment_plan", "created")),
        ("Microsoft.CognitiveServices/accounts/raiPolicies/delete", ("change_guardrail", "guardrail", "deleted")),
        ("Microsoft.Insights/diagnosticSettings/delete", ("change_logging", "diagnostic_settings", "deleted")),
        ("Microsoft.Quota/quotas/write", ("limit_admin", "quota", "updated")),
        ("Microsoft.Compute/virtualMachines/write", ("", "", "")),
    ],
)  # fmt: skip
def test_operations_in_the_words_of_the_schema(operation: str, words: tuple[str, str, str]) -> None:
    event = read(exported(operation), ORIGIN)
    assert (event.action_class, event.target_kind, event.change) == words


def test_settings_of_a_resource_are_about_that_resource() -> None:
    settings = f"{ACCOUNT}/providers/Microsoft.Insights/diagnosticSettings/all"
    event = read(exported("Microsoft.Insights/diagnosticSettings/delete", settings), ORIGIN)
    assert (event.service, event.target_id) == ("Microsoft.CognitiveServices", "bot/all")


@pytest.mark.parametrize(
    ("properties", "words", "markers"),
    [
        ({"disableLocalAuth": False}, ("change_guardrail", "local_auth", "enabled"), ""),
        ({"DisableLocalAuth": True}, ("change_guardrail", "local_auth", "disabled"), ""),
        ({"publicNetworkAccess": "Enabled"}, ("change_guardrail", "network_rules", "disabled"), "opened_network"),
        ({"networkAcls": {"defaultAction": "Allow"}}, ("change_guardrail", "network_rules", "disabled"),
         "opened_network"),
        ({"networkAcls": {"defaultAction": "Deny"}, "publicNetworkAccess": "Disabled"}, ("", "ai_resource", "updated"),
         ""),
        ({"customSubDomainName": MARKER}, ("", "ai_resource", "updated"), ""),
    ],
)  # fmt: skip
def test_what_a_write_of_an_account_takes_off(
    properties: dict[str, Any], words: tuple[str, str, str], markers: str
) -> None:
    event = written({"properties": properties, "tags": {"a": MARKER}})
    assert (event.action_class, event.target_kind, event.change) == words
    assert event.markers == markers
    assert MARKER not in msgspec.json.encode(event).decode()


def test_deployments_and_reserved_capacity() -> None:
    operation, resource = "Microsoft.CognitiveServices/accounts/deployments/write", f"{ACCOUNT}/deployments/Big"
    body = {"sku": {"name": "GlobalStandard", "capacity": 50}, "properties": {"model": {"name": "gpt-5"}}}
    event = written(body, operation, resource=resource)
    assert (event.action_class, event.target_kind, event.target_id) == ("model_access", "deployment", "bot/big")
    assert (event.model, json.loads(event.extra)["sku"], json.loads(event.extra)["capacity"]) == (
        "gpt-5",
        "GlobalStandard",
        50,
    )
    reserved = written({"sku": {"name": "GlobalProvisionedManaged", "capacity": 100}}, operation, resource=resource)
    assert (reserved.action_class, reserved.target_kind) == ("commit_spend", "capacity")


@pytest.mark.parametrize(
    ("logs", "change"),
    [
        ([{"category": "Audit", "enabled": False}, {"category": "RequestResponse", "enabled": False}], "disabled"),
        ([{"category": "Audit", "enabled": False}, {"category": "RequestResponse", "enabled": True}], "updated"),
        ([], "updated"),
        (MARKER, "updated"),
    ],
)
def test_settings_with_every_log_off_are_off(logs: Any, change: str) -> None:
    assert written({"properties": {"logs": logs}}, "Microsoft.Insights/diagnosticSettings/write").change == change


@pytest.mark.parametrize(
    ("fields", "outcome", "status"),
    [
        ({"resultType": "Start", "resultSignature": "Started."}, "", None),
        ({"resultType": "Accept", "resultSignature": "Accepted.Accepted"}, "ok", 202),
        ({"resultType": "Failure", "resultSignature": "Failed.Forbidden"}, "denied", 403),
        ({"resultType": "Failed", "resultSignature": "404"}, "not_found", 404),
        ({"resultType": "Failure", "resultSignature": "Failed."}, "error", None),
        ({"resultType": "Failure", "resultSignature": "Failed.TooManyRequests"}, "throttled", 429),
        ({"resultType": "Failure", "resultSignature": "Failed.Conflict"}, "invalid", 409),
        ({"resultType": "Succeeded", "resultSignature": None, "properties": {"statusCode": "Created"}}, "ok", 201),
        ({"resultType": None, "resultSignature": None, "statusCode": 200}, "ok", 200),
        ({"resultType": None, "resultSignature": None}, "", None),
    ],
)
def test_how_it_ended(fields: dict[str, Any], outcome: str, status: int | None) -> None:
    event = read(exported(LIST_KEYS, **fields), ORIGIN)
    assert (event.outcome, event.status) == (outcome, status)


@pytest.mark.parametrize(
    ("identity", "principal", "kind"),
    [
        ({"claims": {"appid": "A1"}}, "a1", "application"),
        ({"claims": {"name": "Eve", "appid": "A1"}}, "eve", "application"),
        ({"type": "AccountKey"}, "", ""),
        ({}, "", ""),
    ],
)
def test_applications_and_nobody(identity: dict[str, Any], principal: str, kind: str) -> None:
    event = read(exported(LIST_KEYS, identity=identity), ORIGIN)
    assert (event.principal, event.principal_kind) == (principal, kind)


@pytest.mark.parametrize(
    ("address", "ip", "net", "raw"),
    [
        ("203.0.113.9:4711", "203.0.113.9", "203.0.113.0/24", ""),
        ("[2001:db8::1]:443", "2001:db8::1", "2001:db8::/48", ""),
        ("2001:db8::1", "2001:db8::1", "2001:db8::/48", ""),
        ("81.2.69.***", "", "81.2.69.0/24", "81.2.69.***"),
        ("a.b.c.***", "", "", "a.b.c.***"),
        ("", "", "", ""),
    ],
)
def test_addresses_with_ports_masks_and_none(address: str, ip: str, net: str, raw: str) -> None:
    event = read(exported(LIST_KEYS, callerIpAddress=address), ORIGIN)
    assert (event.src_ip, event.src_net, event.src_raw) == (ip, net, raw)


@pytest.mark.parametrize("record", ALL, ids=["export", "rest", "sentinel"])
def test_what_somebody_wrote_is_counted_and_not_kept(record: dict[str, Any]) -> None:
    event = read({**record, "uri": f"https://x/?sig={MARKER}", "resultDescription": MARKER, "new": MARKER}, ORIGIN)
    assert MARKER not in msgspec.json.encode(event).decode()
    assert json.loads(event.extra)["content_dropped"] >= 3


@pytest.mark.parametrize("field", ["time", "operationName"])
def test_a_record_without_time_or_operation_is_none(field: str) -> None:
    with pytest.raises(UnreadableEntry):
        read({**ALL[0], field: "x" if field == "time" else ""}, ORIGIN)


@given(damaged(ALL))
def test_damage_gives_an_event_or_says_that_it_cannot_be_read(record: dict[str, Any]) -> None:
    claims(record)
    try:
        event = read(record, ORIGIN)
    except UnreadableEntry:
        return
    assert event.event_id
    msgspec.json.encode(event)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5)) | st.text() | st.none() | st.integers())
def test_anything_else_is_not_claimed(record: Any) -> None:
    assert not any(each.claims(record) for each in (azure_activity, azure_openai, gcp_audit))
