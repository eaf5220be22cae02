"""Weeks of ordinary work on Azure and Google Cloud as their logs write it, and thefts in the midst of it.

All of it is made up: no public log of a theft of Azure OpenAI or Gemini keys is known. The thefts follow what was told
of Storm-2139 (keys of Azure OpenAI, a proxy in front) and of the Gemini key that cost 82,314 USD within two days of
February 2026.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jackstop.cases.finding import Finding
from jackstop.clock import from_datetime
from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import findings_of
from jackstop.detections.testing import add_events, kept
from jackstop.events.sources import in_files
from jackstop.events.sources.entry import Origin

THEFT = datetime(2026, 2, 11, 3, tzinfo=UTC)
DAYS = 21
ORIGIN = Origin("", "log.json", 0, from_datetime(THEFT + timedelta(days=3)))
SOURCES = {"azure_activity", "azure_openai", "gcp_audit"}
ACCOUNT = "/subscriptions/s1/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/bot"
UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
SA = "app@p1.iam.gserviceaccount.com"


def moments(number: int, chance: random.Random) -> Iterator[datetime]:
    """Office hours of the days before, on working days."""
    for day in range(DAYS, 0, -1):
        date = (THEFT - timedelta(days=day)).replace(hour=0)
        if date.weekday() < 5:
            yield from (date + timedelta(minutes=chance.randrange(8 * 60, 18 * 60)) for _ in range(number))


def operation(at: datetime, who: str, name: str, address: str, resource: str = ACCOUNT) -> dict[str, Any]:
    return {
        "time": at.isoformat(),
        "resourceId": resource.upper(),
        "operationName": name.upper(),
        "category": "Administrative",
        "resultType": "Success",
        "callerIpAddress": address,
        "correlationId": f"{who} {at}",
        "identity": {"claims": {UPN: who}},
        "properties": {"statusCode": "OK"},
    }


def azure_call(at: datetime, network: str, name: str = "ChatCompletions_Create", **properties: Any) -> dict[str, Any]:
    return {
        "time": at.isoformat(),
        "resourceId": ACCOUNT.upper(),
        "category": "RequestResponse",
        "operationName": name,
        "callerIpAddress": f"{network}.***",
        "resultSignature": "200",
        "correlationId": f"{network} {at}",
        "properties": {
            "apiName": "Azure OpenAI API version 2024-10-21",
            "modelDeploymentName": "chat",
            "modelName": "gpt-4o",
            "objectId": "",
            **properties,
        },
    }


def azure_days() -> Iterator[dict[str, Any]]:
    """An application behind one network, and an administrator with a pipeline."""
    chance = random.Random(1)
    yield from (azure_call(at, "198.51.100") for at in moments(200, chance))
    for at in moments(1, chance):
        yield operation(at, "ann@example.com", "Microsoft.CognitiveServices/accounts/listKeys/action", "198.51.100.7")
        yield operation(at, "ann@example.com", "Microsoft.CognitiveServices/accounts/deployments/write", "198.51.100.7")
        yield operation(at, "ci@example.com", "Microsoft.Insights/diagnosticSettings/write", "198.51.100.9")


def azure_theft() -> Iterator[dict[str, Any]]:
    """A guest lists the keys, takes the log off and makes a deployment; a proxy calls from elsewhere."""
    steps = ("accounts/listKeys/action", "accounts/deployments/write")
    for number, step in enumerate(steps):
        at = THEFT + timedelta(seconds=30 * number)
        yield operation(at, "guest@example.com", f"Microsoft.CognitiveServices/{step}", "203.0.113.9")
    settings = f"{ACCOUNT}/providers/Microsoft.Insights/diagnosticSettings/all"
    yield operation(THEFT, "guest@example.com", "Microsoft.Insights/diagnosticSettings/delete", "203.0.113.9", settings)
    yield azure_call(THEFT + timedelta(minutes=2), "203.0.113", "Deployments_List")
    for second in range(0, 3000, 3):
        yield azure_call(THEFT + timedelta(minutes=5, seconds=second), "203.0.113")


def entry(at: datetime, service: str, method: str, resource: str, info: dict[str, Any], address: str) -> dict[str, Any]:
    return {
        "insertId": f"{method} {address} {at}",
        "logName": "projects/p1/logs/cloudaudit.googleapis.com%2Fdata_access",
        "timestamp": at.isoformat(),
        "resource": {"labels": {"project_id": "p1"}},
        "protoPayload": {
            "serviceName": f"{service}.googleapis.com",
            "methodName": method,
            "resourceName": resource,
            "authenticationInfo": info,
            "authorizationInfo": [{"granted": True}],
            "requestMetadata": {"callerIp": address},
        },
    }


def model(at: datetime, name: str, info: dict[str, Any], address: str) -> dict[str, Any]:
    return entry(
        at, "generativelanguage", "google.ai.GenerativeService.GenerateContent", f"models/{name}", info, address
    )


def google_days() -> Iterator[dict[str, Any]]:
    """An application with a service account's key, another with an API key, and an administrator."""
    chance = random.Random(2)
    held = {"principalEmail": SA, "serviceAccountKeyName": f"//iam.googleapis.com/serviceAccounts/{SA}/keys/k1"}
    for at in moments(50, chance):
        yield model(at, "gemini-2.5-flash", held, "198.51.100.7")
        yield model(at, "gemini-2.5-flash", {}, "198.51.100.8")
        yield entry(at, "storage", "storage.objects.get", "projects/_/buckets/b/objects/o", held, "198.51.100.7")
    for at in moments(1, chance):
        ann = {"principalEmail": "ann@example.com"}
        yield entry(at, "logging", "google.logging.v2.ConfigServiceV2.ListSinks", "projects/p1", ann, "198.51.100.7")
        yield entry(at, "aiplatform", "x.JobService.CreateBatchPredictionJob", "projects/p1", ann, "198.51.100.7")


def google_theft() -> Iterator[dict[str, Any]]:
    """The key of a public page calls the dear models; the service account's key reads secrets and makes another key."""
    for second in range(0, 1000, 10):
        at = THEFT + timedelta(seconds=second)
        yield model(at, ("gemini-3-pro", "gemini-3-pro-image")[second % 20 == 0], {}, "203.0.113.9")
    held = {"principalEmail": SA, "serviceAccountKeyName": f"//iam.googleapis.com/serviceAccounts/{SA}/keys/k1"}
    yield model(THEFT, "gemini-2.5-flash", held, "203.0.113.9")
    secret = ("secretmanager", "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion", "secrets/s")
    yield entry(THEFT + timedelta(minutes=1), *secret, held, "203.0.113.9")
    made = entry(THEFT, "iam", "google.iam.admin.v1.CreateServiceAccountKey", "serviceAccounts/x", held, "203.0.113.9")
    made["protoPayload"]["response"] = {"name": "projects/p1/serviceAccounts/x/keys/k2"}
    yield made
    other = {
        "principalEmail": "x@p1.iam.gserviceaccount.com",
        "serviceAccountKeyName": "//iam/serviceAccounts/x/keys/k2",
    }
    yield model(THEFT + timedelta(hours=1), "gemini-2.5-flash", other, "192.0.2.66")
    sink = ("logging", "google.logging.v2.ConfigServiceV2.DeleteSink", "projects/p1/sinks/all")
    yield entry(THEFT + timedelta(minutes=2), *sink, held, "203.0.113.9")


def hunted(*logs: Iterator[dict[str, Any]]) -> list[Finding]:
    """What all detections of these sources find in records, each read by the one format that claims it."""
    formats = [each for each in in_files() if "json" in each.forms]
    events = []
    for record in (record for log in logs for record in log):
        (name,) = [each.name for each in formats if each.claims(record)]
        assert name in SOURCES
        events.append(next(each for each in formats if each.name == name).read(record, ORIGIN))
    connection = kept()
    add_events(connection, events, frozenset())
    chosen = [each for each in shipped().values() if SOURCES & set(each.about.sources)]
    return [finding for each in chosen for finding in findings_of(connection, each)]


@pytest.mark.parametrize("days", [azure_days, google_days])
def test_ordinary_weeks_wake_nobody_and_say_little(days: Any) -> None:
    found = hunted(days())
    # The first sight of everything, at the beginning of the log, which proves nothing.
    assert all(each.evidence.get("history") == "unproven" for each in found)
    assert all(each.severity in {"info", "low", "medium"} for each in found)
    assert all(each.first_seen < from_datetime(THEFT - timedelta(days=DAYS - 2)) for each in found)


def of_the_theft(found: list[Finding]) -> dict[tuple[str, str], str]:
    later = [each for each in found if each.first_seen >= from_datetime(THEFT)]
    return {(each.detection, each.entity): each.severity for each in later}


def test_a_theft_of_azure_s_keys() -> None:
    assert of_the_theft(hunted(azure_days(), azure_theft())) == {
        ("azure_keys_taken", "principal:guest@example.com"): "high",
        ("azure_access_by_newcomer", "principal:guest@example.com"): "medium",
        ("azure_safeguard_off", "principal:guest@example.com"): "high",
        ("azure_openai_probe", "account:s1"): "high",
        ("azure_network_surge", "account:s1"): "high",
    }


def test_a_theft_of_google_s_keys() -> None:
    assert of_the_theft(hunted(google_days(), google_theft())) == {
        ("gcp_key_new_network", "account:p1"): "high",
        ("gcp_key_new_network", f"principal:{SA}"): "high",
        ("gcp_key_new_network", "principal:x@p1.iam.gserviceaccount.com"): "medium",
        ("gcp_dear_model", "account:p1"): "medium",
        ("gcp_data_reached", f"principal:{SA}"): "high",
        ("gcp_key_made_and_used", f"principal:{SA}"): "high",
        ("gcp_logging_narrowed", f"principal:{SA}"): "high",
    }
