"""CloudTrail's files about the practice providers' Bedrock, as a trail with data events of bedrock-mantle writes them.

A record has the fields of the Bedrock User Guide, "Monitor bedrock-mantle API calls using CloudTrail", and those that
every record has (CloudTrail User Guide, "CloudTrail record contents"). No published log has such a record to copy.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from jackstop.clock import to_datetime

ACCOUNT = "494659789341"
BUCKET, PREFIX = "logs", "trails"
REGION = "us-east-1"


def inference(row: dict[str, Any], user: str = "gate", **fields: Any) -> dict[str, Any]:
    """A request of the practice providers as CloudTrail tells it."""
    at = to_datetime(row["ts"])
    record = {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDA2N7TQQRGKJYPCLOG0",
            "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}",
            "accountId": ACCOUNT,
            "userName": user,
        },
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "bedrock-mantle.amazonaws.com",
        "eventName": "CreateInference",
        "awsRegion": REGION,
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "OpenAI/Python 3.54.0",
        "requestParameters": {"model": row["model"], "callWithBearerToken": True, "bearerTokenType": "LONG_TERM"},
        "responseElements": None,
        "requestID": row["id"],
        "eventID": str(uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data",
    }
    return {**record, **fields}


def put(s3: Any, records: Iterable[dict[str, Any]], at_us: int, region: str = REGION) -> str:
    """One file of the trail, named as CloudTrail names them; its name."""
    at = to_datetime(at_us)
    folder = f"{PREFIX}/AWSLogs/{ACCOUNT}/CloudTrail/{region}/{at:%Y/%m/%d}"
    name = f"{folder}/{ACCOUNT}_CloudTrail_{region}_{at:%Y%m%dT%H%MZ}_{uuid4().hex[:16]}.json.gz"
    s3.put_object(Bucket=BUCKET, Key=name, Body=gzip.compress(json.dumps({"Records": list(records)}).encode()))
    return name
