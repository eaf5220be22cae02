"""What a hunt could not see: each gap is there where it is one, and not where the logs close it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jackstop.hunt.gaps import NAMES
from tests.hunt.conftest import Hunter
from tests.hunt.logs import document, lines, trail
from tests.hunt.planted import RECORDS

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
QUIET = {"eventSource": "s3.amazonaws.com", "eventName": "ListBuckets", "userAgent": "aws-cli/2.15.0"}


def hourly(hours: Iterable[int], each: int = 12, account: str = "123456789012", **more: Any) -> list[dict[str, Any]]:
    """Some records in each of these hours since a day's beginning."""
    return [
        trail(
            0,
            eventID=f"{account}-{hour}-{number}",
            eventTime=(BEGIN + timedelta(hours=hour, minutes=4 * number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            recipientAccountId=account,
            **{**QUIET, **more},
        )
        for hour in hours
        for number in range(each)
    ]


def gaps(hunt: Hunter, logs: Path, *records: dict[str, Any]) -> dict[str, str]:
    (logs / "trail.json").write_bytes(document(list(records)))
    return hunt.json(logs).gaps


def test_a_bare_trail_is_blind_where_attacks_pass_unseen(hunt: Hunter, logs: Path) -> None:
    found = gaps(hunt, logs, trail(1, sourceIPAddress="AWS Internal"))
    assert found == {
        "aws.mantle": "blind",
        "aws.read_only": "blind",
        "aws.data_events": "note",
        "aws.invocation_logs": "note",
        "aws.one_region": "note",
        "history.short": "note",
    }


def test_addresses_of_which_nothing_is_known_are_told(hunt: Hunter, logs: Path) -> None:
    assert gaps(hunt, logs, trail(1, sourceIPAddress="8.8.8.8"))["addresses.none"] == "note"


def test_every_gap_says_what_it_hides_and_how_to_close_it(hunt: Hunter, logs: Path) -> None:
    (logs / "trail.json").write_bytes(document([trail(1)]))
    for gap in hunt.json(logs).json["coverage"]["gaps"]:
        assert gap["name"] in NAMES
        assert all(gap[name] for name in ("where", "missing", "hides", "close"))
        assert gap["where"] in {"account:123456789012", "hunt"}


@pytest.mark.parametrize(
    ("gap", "record"),
    [
        ("aws.read_only", trail(2, readOnly=True, **QUIET)),
        ("aws.one_region", trail(2, awsRegion="eu-west-1")),
        ("aws.data_events", trail(2, eventName="Retrieve", eventCategory="Data", managementEvent=False)),
        (
            "aws.mantle",
            trail(
                2,
                eventSource="bedrock-mantle.amazonaws.com",
                eventName="CreateInference",
                eventCategory="Data",
                managementEvent=False,
            ),
        ),
        ("history.short", trail(2, eventTime="2026-11-13T09:59:59Z")),
    ],
)
def test_one_record_closes_a_gap(hunt: Hunter, logs: Path, gap: str, record: dict[str, Any]) -> None:
    assert gap in gaps(hunt, logs, trail(1))
    assert gap not in gaps(hunt, logs, trail(1), record)


def test_mantle_s_models_listed_without_its_inference_is_said_so(hunt: Hunter, logs: Path) -> None:
    listing = trail(2, eventSource="bedrock-mantle.amazonaws.com", eventName="ListModels", readOnly=True)
    (logs / "trail.json").write_bytes(document([trail(1), listing]))
    (gap,) = [each for each in hunt.json(logs).json["coverage"]["gaps"] if each["name"] == "aws.mantle"]
    assert gap["missing"] == "ListModels on bedrock-mantle, and no CreateInference"


def test_a_trail_of_one_region_is_blind_once_it_is_long_enough_to_tell(hunt: Hunter, logs: Path) -> None:
    assert gaps(hunt, logs, *hourly(range(83)))["aws.one_region"] == "note"
    assert gaps(hunt, logs, *hourly(range(84)))["aws.one_region"] == "blind"


def test_agents_without_data_events_are_a_blind_spot(hunt: Hunter, logs: Path) -> None:
    agents = trail(2, eventSource="bedrock-agent.amazonaws.com", eventName="CreateAgent", readOnly=False)
    assert gaps(hunt, logs, agents)["aws.data_events"] == "blind"


@pytest.mark.parametrize(
    ("act", "level", "told"),
    [
        (
            "GetModelInvocationLoggingConfiguration",
            "note",
            "GetModelInvocationLoggingConfiguration at 2026-11-20 10:00",
        ),
        ("PutModelInvocationLoggingConfiguration", "note", "PutModelInvocationLoggingConfiguration at"),
        ("DeleteModelInvocationLoggingConfiguration", "blind", "DeleteModelInvocationLoggingConfiguration at"),
        ("ListGuardrails", "note", "nobody read or changed its configuration"),
    ],
)
def test_missing_invocation_logs_say_who_looked_or_switched_them_off(
    hunt: Hunter, logs: Path, act: str, level: str, told: str
) -> None:
    (logs / "trail.json").write_bytes(document([trail(1, eventName=act)]))
    (gap,) = [each for each in hunt.json(logs).json["coverage"]["gaps"] if each["name"] == "aws.invocation_logs"]
    assert gap["level"] == level
    assert told in gap["missing"]


def test_invocation_logs_of_the_same_account_close_theirs_and_those_of_another_open_one(
    hunt: Hunter, logs: Path
) -> None:
    (logs / "calls.json").write_bytes(lines([RECORDS["bedrock_invocations"]]))
    assert "aws.invocation_logs" not in gaps(hunt, logs, trail(1))
    other = {**RECORDS["bedrock_invocations"], "accountId": "999999999999"}
    (logs / "calls.json").write_bytes(lines([other]))
    found = gaps(hunt, logs, trail(1))
    assert (found["aws.invocation_logs"], found["aws.cloudtrail"]) == ("note", "blind")


# -- the other clouds and vendors ------------------------------------------------------------------------------------


def of(hunt: Hunter, logs: Path, *sources: str) -> dict[str, str]:
    for source in sources:
        (logs / f"{source}.json").write_text(json.dumps(RECORDS[source]), encoding="utf-8")
    return hunt.json(logs).gaps


@pytest.mark.parametrize(
    ("here", "gap", "closed_by"),
    [
        ("azure_activity", "azure.request_response", "azure_openai"),
        ("azure_openai", "azure.activity", "azure_activity"),
        ("openai_audit", "openai.usage", "openai_usage"),
        ("openai_usage", "openai.audit", "openai_audit"),
        ("anthropic_activity", "anthropic.usage", "anthropic_usage"),
        ("anthropic_usage", "anthropic.activity", "anthropic_activity"),
    ],
)
def test_half_of_a_vendor_s_logs_is_blind_to_the_other_half(
    hunt: Hunter, logs: Path, here: str, gap: str, closed_by: str
) -> None:
    assert of(hunt, logs, here)[gap] == "blind"
    assert gap not in of(hunt, logs, closed_by)


def test_google_s_calls_are_in_data_access_logs_only(hunt: Hunter, logs: Path) -> None:
    assert "gcp.data_access" not in of(hunt, logs, "gcp_audit")
    admin = json.loads(json.dumps(RECORDS["gcp_audit"]))
    admin["logName"] = "projects/p-1/logs/cloudaudit.googleapis.com%2Factivity"
    admin["protoPayload"] |= {
        "methodName": "google.api.apikeys.v2.ApiKeys.CreateKey",
        "serviceName": "apikeys.googleapis.com",
    }
    (logs / "gcp_audit.json").write_text(json.dumps(admin), encoding="utf-8")
    assert hunt.json(logs).gaps["gcp.data_access"] == "blind"


def test_masked_addresses_are_told(hunt: Hunter, logs: Path) -> None:
    assert of(hunt, logs, "azure_openai")["addresses.masked"] == "note"


# -- times -----------------------------------------------------------------------------------------------------------


def test_hours_that_are_never_empty_and_are_are_a_hole(hunt: Hunter, logs: Path) -> None:
    hours = [hour for hour in range(10 * 24) if hour not in {125, 126, 127, 150}]
    (logs / "trail.json").write_bytes(document(hourly(hours)))
    ran = hunt.json(logs)
    assert ran.gaps["time.hole"] == "blind"
    (span,) = ran.json["coverage"]["spans"]
    assert [(hole["hours"], hole["usual"]) for hole in span["holes"]] == [(3, 36), (1, 12)]
    assert datetime.fromtimestamp(span["holes"][0]["first"] / 1e6, UTC) == BEGIN + timedelta(hours=125)
    (gap,) = [each for each in ran.json["coverage"]["gaps"] if each["name"] == "time.hole"]
    assert "4 hours (3 h from 2026-10-06 05:00, 1 h from 2026-10-07 06:00)" in gap["missing"]


def test_nights_and_rare_hours_are_no_holes(hunt: Hunter, logs: Path) -> None:
    days = [hour for hour in range(10 * 24) if 8 <= hour % 24 < 18]
    (logs / "days.json").write_bytes(document(hourly(days)))
    assert "time.hole" not in hunt.json(logs).gaps
    (logs / "days.json").write_bytes(document(hourly([h for h in range(10 * 24) if h != 125], each=3)))
    assert not {"time.hole", "time.hours"} & set(hunt.json(logs).gaps)


def test_hours_in_which_only_another_account_has_records_are_told(hunt: Hunter, logs: Path) -> None:
    (logs / "one.json").write_bytes(document(hourly(range(6), each=1)))
    (logs / "two.json").write_bytes(document(hourly([0, 1, 5], each=1, account="999999999999")))
    ran = hunt.json(logs)
    assert ran.gaps["time.hours"] == "note"
    holes = {span["account"]: span["holes"] for span in ran.json["coverage"]["spans"]}
    assert holes["123456789012"] == []
    assert [(hole["hours"], hole["usual"]) for hole in holes["999999999999"]] == [(3, 0)]


# -- what was not read -----------------------------------------------------------------------------------------------


def test_records_that_were_set_aside_are_a_note_or_more_where_they_are_many(hunt: Hunter, logs: Path) -> None:
    broken = trail(0, eventTime="never")
    assert gaps(hunt, logs, broken, *(trail(number) for number in range(1, 101)))["records.set_aside"] == "note"
    assert gaps(hunt, logs, broken, *(trail(number) for number in range(1, 100)))["records.set_aside"] == "blind"


def test_detections_that_had_nothing_to_look_at_are_counted(hunt: Hunter, logs: Path) -> None:
    (logs / "trail.json").write_bytes(document([trail(1)]))
    covered = hunt.json(logs).json["coverage"]
    assert covered["ran"] > 5
    assert covered["not_run"]["openai_usage"] >= 5
    assert "cloudtrail" not in covered["not_run"]
    only = hunt.json(logs, "--detection", "bedrock_token_probe")
    assert only.json["ran"] == ["bedrock_token_probe"]
    assert only.gaps["detections.unasked"] == "note"
