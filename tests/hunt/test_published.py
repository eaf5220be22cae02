"""What was published of two campaigns, rebuilt as CloudTrail records, is found. The sources stand in the files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jackstop.hunt.intake.corpus import Corpus
from jackstop.hunt.intake.inputs import inputs_of
from tests.hunt.conftest import Hunter

PUBLISHED = Path(__file__).parent / "published"
LARAVEL = "principal:arn:aws:iam::111122223333:user/laravel"
ADMINISTRATOR = "principal:arn:aws:iam::123456789012:user/administrator"


def found(hunt: Hunter, path: Path) -> dict[tuple[str, str, str], int]:
    findings = hunt.json(path).json["findings"]
    return {(each["severity"], each["detection"], each["entity"]): each["count"] for each in findings}


def records(name: str) -> list[dict[str, Any]]:
    read: dict[str, Any] = json.loads((PUBLISHED / name).read_text())
    assert "https://" in read["source"]
    found: list[dict[str, Any]] = read["Records"]
    return found


def write(path: Path, written: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"Records": written}))
    return path


def test_the_probe_that_sysdig_quotes_is_found_alone(hunt: Hunter, tmp_path: Path) -> None:
    quoted = write(tmp_path / "quoted.json", records("sysdig_2024_05.json")[:1])
    assert found(hunt, quoted) == {("medium", "bedrock_token_probe", LARAVEL): 1}


def test_the_campaign_that_sysdig_describes(hunt: Hunter) -> None:
    assert found(hunt, PUBLISHED / "sysdig_2024_05.json") == {
        # The same invalid token limit in three regions that have the model.
        ("high", "bedrock_token_probe", LARAVEL): 3,
        # Six regions in six seconds, and the question about the log.
        ("high", "bedrock_region_spray", LARAVEL): 7,
        # A user's key asks whether calls are logged, seconds after calls.
        ("high", "bedrock_logging_recon", LARAVEL): 1,
    }


def test_the_two_records_that_permiso_quotes(hunt: Hunter, tmp_path: Path) -> None:
    quoted = write(tmp_path / "quoted.json", records("permiso_2024_10.json")[:2])
    assert found(hunt, quoted) == {
        # aiohttp on a long-lived key, on the first day of what is known of the account: one step less than a browser on
        # Bedrock two months later.
        ("medium", "bedrock_odd_agent", ADMINISTRATOR): 1,
        ("high", "bedrock_odd_agent", ADMINISTRATOR): 1,
        # An operation of the console's, with a key that no console has.
        ("high", "bedrock_console_api", ADMINISTRATOR): 1,
    }


def test_the_campaign_that_permiso_describes(hunt: Hunter, tmp_path: Path) -> None:
    *access, call = records("permiso_2024_10.json")
    began = datetime.strptime(call["eventTime"], "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    # 75,000 calls in two days are some 1,560 an hour: here are the first two hours.
    calls = [
        {
            **call,
            "eventTime": (began + timedelta(seconds=2.3 * number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventID": f"call-{number}",
            "requestID": f"request-{number}",
        }
        for number in range(3_100)
    ]
    by_name: dict[str, list[tuple[str, int]]] = {}
    for each in hunt.json(write(tmp_path / "campaign.json", [*access, *calls])).json["findings"]:
        assert each["entity"] == ADMINISTRATOR, "one principal, so one case"
        by_name.setdefault(each["detection"], []).append((each["severity"], each["count"]))
    assert {name: sorted(found) for name, found in by_name.items()} == {
        # Calls by the hundreds by somebody who had never called a model, beside the signs below.
        "bedrock_volume_and_novelty": [("critical", 1565)],
        "bedrock_volume": [("high", 1044), ("high", 1565)],
        # A browser, then no user agent at all; two months before, aiohttp.
        "bedrock_odd_agent": [("high", 3105), ("medium", 1)],
        # The five operations of the console's page, with a long-lived key.
        "bedrock_console_api": [("high", 5)],
        # Use case, agreement and entitlement by somebody who had called no model; calls within the hour.
        "bedrock_access_by_newcomer": [("high", 3)],
        # A look at what models there are, and calls until fifteen minutes later.
        "bedrock_recon_then_invoke": [("high", 117)],
    }


@pytest.mark.parametrize("name", ["sysdig_2024_05.json", "permiso_2024_10.json"])
def test_every_record_is_read(name: str, tmp_path: Path) -> None:
    intake = Corpus(tmp_path / "corpus", 1_795_435_200_000_000).take_in(inputs_of([str(PUBLISHED / name)]))
    assert (intake.events, len(intake.set_aside)) == (len(records(name)), 0)
