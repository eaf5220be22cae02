"""Diagnostic logs of Azure OpenAI: records in the form that elastic/integrations tests with, and their events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from jackstop.events.sources import azure_activity
from jackstop.events.sources.azure_openai import claims, read, unwrapped
from jackstop.events.sources.entry import UnreadableEntry
from tests.events.sources.cloud_samples import ACCOUNT, MARKER, NOON, NOON_US, ORIGIN, SUBSCRIPTION, damaged

CALL: dict[str, Any] = {
    "Tenant": "eastus",
    "callerIpAddress": "81.2.69.***",
    "category": "RequestResponse",
    "correlationId": "d427a391",
    "durationMs": 1021,
    "event": "ShoeboxCallResult",
    "location": "eastus",
    "operationName": "ChatCompletions_Create",
    "properties": {
        "apiName": "Azure OpenAI API version 2023-07-01-preview",
        "requestTime": 638515262815394150,
        "requestLength": 128,
        "responseLength": 1411,
        "objectId": "",
        "streamType": "Non-Streaming",
        "modelDeploymentName": "Chat-Pilot",
        "modelName": "gpt-35-turbo",
        "modelVersion": "0301",
    },
    "resourceId": ACCOUNT.upper(),
    "resultSignature": "200",
    "time": NOON,
}
AUDIT: dict[str, Any] = {
    "AssetIdentity": "07628fea",
    "Tenant": "eastus",
    "category": "Audit",
    "operationName": "ListKey",
    "properties": {"objectId": "B610AB05"},
    "resourceId": ACCOUNT.upper(),
    "time": NOON,
}
IN_SENTINEL: dict[str, Any] = {
    "TimeGenerated": NOON,
    "Category": "RequestResponse",
    "OperationName": "ChatCompletions_Create",
    "ResourceId": ACCOUNT.upper(),
    "CallerIPAddress": "81.2.69.***",
    "CorrelationId": "d427a391",
    "DurationMs": "1021",
    "ResultSignature": "200",
    "properties_s": json.dumps(CALL["properties"]),
}
ALL: list[dict[str, Any]] = [CALL, {**CALL, "properties": json.dumps(CALL["properties"])}, IN_SENTINEL]


@pytest.mark.parametrize("record", ALL, ids=["export", "properties as text", "sentinel"])
def test_a_call_with_a_key(record: dict[str, Any]) -> None:
    assert claims(record)
    assert not azure_activity.claims(record)
    event = read(record, ORIGIN)
    assert (event.source, event.provider, event.service) == ("azure_openai", "azure", "Microsoft.CognitiveServices")
    assert (event.account, event.target_id, event.ts) == (SUBSCRIPTION, "bot", NOON_US)
    assert (event.action, event.action_class, event.api_version) == (
        "ChatCompletions_Create",
        "inference",
        "2023-07-01-preview",
    )
    assert (event.model_asked, event.model, event.stream) == ("chat-pilot", "gpt-35-turbo", False)
    assert (event.src_ip, event.src_net, event.src_raw) == ("", "81.2.69.0/24", "81.2.69.***")
    assert (event.principal, event.auth_method, event.key_kind) == ("", "key", "api_key")
    assert (event.status, event.outcome, event.latency_us) == (200, "ok", 1_021_000)
    assert (event.request_bytes, event.response_bytes, event.markers) == (128, 1411, "data_event")


def test_a_call_by_an_identity_is_no_call_with_a_key() -> None:
    event = read({**CALL, "properties": {"objectId": "B610AB05", "streamType": "Streaming"}}, ORIGIN)
    assert (event.principal, event.auth_method, event.key_kind, event.stream) == ("b610ab05", "oauth", "", True)


def test_keys_that_were_listed() -> None:
    event = read(AUDIT, ORIGIN)
    assert (event.action_class, event.target_kind, event.change) == ("key_admin", "api_key", "read")
    assert (event.principal, event.outcome, event.markers, event.src_net) == ("b610ab05", "ok", "", "")


@pytest.mark.parametrize(
    ("operation", "category", "action_class"),
    [
        ("Embeddings_Create", "RequestResponse", "inference"),
        ("Create_Thread", "RequestResponse", "inference"),
        ("Deployments_List", "RequestResponse", "list_models"),
        ("Models_List", "RequestResponse", "list_models"),
        ("FineTunes_Create", "RequestResponse", "commit_spend"),
        ("FineTunes_List", "RequestResponse", "data_read"),
        ("Batch_Create", "RequestResponse", "commit_spend"),
        ("Files_Upload", "RequestResponse", ""),
        ("RegenerateKey", "Audit", "key_admin"),
        ("Something", "Audit", ""),
        ("ChatCompletions_Create", "Trace", ""),
        ("ChatCompletions_Create", "AzureOpenAIRequestUsage", ""),
    ],
)
def test_what_operations_do(operation: str, category: str, action_class: str) -> None:
    assert read({**CALL, "operationName": operation, "category": category}, ORIGIN).action_class == action_class


@pytest.mark.parametrize(
    ("signature", "outcome"),
    [("401", "denied"), (403, "denied"), ("404", "not_found"), ("429", "throttled"), ("400", "invalid"),
     ("500", "error"), ("-1", "ok"), (None, "ok")],
)  # fmt: skip
def test_how_it_ended(signature: object, outcome: str) -> None:
    assert read({**CALL, "resultSignature": signature}, ORIGIN).outcome == outcome


def test_a_negative_time_is_not_known() -> None:
    assert read({**CALL, "durationMs": -1021}, ORIGIN).latency_us is None


def test_prompts_and_whatever_else_is_there_are_counted_and_not_kept() -> None:
    properties = {**CALL["properties"], "prompt": MARKER, "requestBody": {"messages": [MARKER]}, "category": MARKER}
    event = read({**CALL, "properties": properties, "request": MARKER, "body": [MARKER]}, ORIGIN)
    assert MARKER not in msgspec.json.encode(event).decode()
    assert json.loads(event.extra) == {
        "category": "RequestResponse",
        "content_dropped": 6,
        "event": "ShoeboxCallResult",
        "properties.modelVersion": "0301",
    }


@pytest.mark.parametrize("change", [{"operationName": None}, {"time": "yesterday"}, {"time": "9999-01-01"}])
def test_a_record_without_operation_or_time_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        read({**CALL, **change}, ORIGIN)


@pytest.mark.parametrize(
    "record",
    [{**CALL, "category": "Administrative"}, {**CALL, "resourceId": "/subscriptions/1/providers/Microsoft.Web/a"}, []],
)
def test_what_is_no_such_record(record: Any) -> None:
    assert not claims(record)


def test_a_row_of_the_portal_s_csv() -> None:
    row = {"TimeGenerated [UTC]": "11/23/2026, 1:00:00.000 PM", "empty": "", **IN_SENTINEL}
    del row["TimeGenerated"]
    assert claims(row)
    assert read(unwrapped(row), ORIGIN).ts == NOON_US - 123_456 + 3_600_000_000


@given(damaged([*ALL, AUDIT]))
def test_damage_gives_an_event_or_says_that_it_cannot_be_read(record: dict[str, Any]) -> None:
    claims(record)
    try:
        event = read(record, ORIGIN)
    except UnreadableEntry:
        return
    assert event.event_id
    msgspec.json.encode(event)
