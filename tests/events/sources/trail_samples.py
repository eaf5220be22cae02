"""Real CloudTrail records for tests: of stratus-red-team's detonations and of two attack laboratories."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec
import pytest

from jackstop.events.schema import Event
from jackstop.events.sources import cloudtrail
from jackstop.events.sources.entry import Origin
from tests.shared import DATA

ORIGIN = Origin("", "trail.json.gz", 0, 1_800_000_000_000_000)


def needs_shared() -> pytest.MarkDecorator:
    """Skips where the logs are not."""
    return pytest.mark.skipif(not (DATA / "stratus").is_dir(), reason="needs the logs in ../shared/data")


@lru_cache
def records(folder: str) -> list[dict[str, Any]]:
    """Every record of a folder's JSON files, in the order of their names."""
    found: list[dict[str, Any]] = []
    for path in sorted((DATA / folder).glob("*.json")):
        text = path.read_text(encoding="utf-8")
        if folder == "otrf_aws":
            found += [json.loads(line) for line in text.splitlines() if line.strip()]
            continue
        held = json.loads(text)
        found += held["Records"] if isinstance(held, dict) else held
    return found


def event_of(record: dict[str, Any], origin: Origin = ORIGIN) -> Event:
    """The event of a record, as a hunt reads it."""
    return cloudtrail.read(msgspec.json.decode(json.dumps(record), type=cloudtrail.SHAPE), origin)


def call(source: str = "bedrock", name: str = "InvokeModel", **changed: Any) -> dict[str, Any]:
    """A record of an IAM user's call, with the fields that are given."""
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLE",
            "arn": "arn:aws:iam::111122223333:user/dev/ann",
            "accountId": "111122223333",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "userName": "ann",
        },
        "eventTime": "2026-11-20T09:30:00Z",
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "Boto3/1.40.21 md/Botocore#1.40.21",
        "requestParameters": {"modelId": "anthropic.claude-v2"},
        "responseElements": None,
        "requestID": "a1b2c3d4-5678-90ab-cdef-000000000002",
        "eventID": "a1b2c3d4-5678-90ab-cdef-000000000001",
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
        **changed,
    }
