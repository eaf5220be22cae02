"""CloudTrail records for the tests of reading, and ways to write them down."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jackstop.clock import US_PER_S
from jackstop.hunt.intake.corpus import Corpus, Intake
from jackstop.hunt.intake.inputs import inputs_of

NOW_US = 1_795_435_200 * US_PER_S


def trail(number: int, **more: Any) -> dict[str, Any]:
    """A CloudTrail record, each number another."""
    return {
        "eventVersion": "1.09",
        "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ci", "accessKeyId": "AKIAEXAMPLE"},
        "eventTime": "2026-11-20T10:00:00Z",
        "eventSource": "bedrock.amazonaws.com",
        "eventName": "InvokeModel",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "requestParameters": {"modelId": "m", "tags": [{"key": "a"}, {"key": "b"}]},
        "eventID": f"event-{number}",
        "recipientAccountId": "123456789012",
        **more,
    }


def openai_entry(number: int) -> dict[str, Any]:
    """An entry of OpenAI's audit log."""
    return {"id": f"audit_log-{number}", "type": "api_key.created", "effective_at": 1_795_000_000}


def bucket_of_usage(start: int) -> dict[str, Any]:
    """A bucket as OpenAI's usage API gives them."""
    return {
        "object": "bucket",
        "start_time": start,
        "end_time": start + 3_600,
        "results": [
            {
                "object": "organization.usage.completions.result",
                "input_tokens": 10,
                "output_tokens": 5,
                "num_model_requests": 2,
                "project_id": "proj_1",
                "api_key_id": "key_1",
                "model": "gpt-5",
            }
        ],
    }


def document(records: list[Any]) -> bytes:
    """As trails write their files."""
    return json.dumps({"Records": records}, separators=(",", ":")).encode()


def lines(records: list[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def pretty(records: list[Any]) -> bytes:
    return json.dumps(records, indent=3).encode()


def concatenated(records: list[Any]) -> bytes:
    return b"\n".join(json.dumps(each, indent=1).encode() for each in records)


def zipped(data: bytes, name: str = "inner.json") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


PACKED = {
    "plain": bytes,
    "gz": gzip.compress,
    "zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "bz2": bz2.compress,
    "zip": zipped,
    "gz in zip": lambda data: zipped(gzip.compress(data), "inner.gz"),
    "gz in gz": lambda data: gzip.compress(gzip.compress(data)),
}


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def taken(folder: Path, *paths: Path | str, source: str = "auto", jobs: int = 1) -> tuple[Intake, list[dict[str, Any]]]:
    """What a new corpus makes of the paths, and its events."""
    with Corpus(folder, NOW_US) as corpus:
        intake = corpus.take_in(inputs_of([str(path) for path in paths]), source, jobs=jobs)
        return intake, events_in(intake)


def events_in(intake: Intake) -> list[dict[str, Any]]:
    return [row for part in intake.parts for row in pq.read_table(part).to_pylist()]


def ids(events: list[dict[str, Any]]) -> list[str]:
    """The records' own ids."""
    return [event["raw_ref"].partition("#")[2] for event in events]


def astray(data: bytes, chance: random.Random) -> bytes:
    """The bytes with something done to them."""
    place = chance.randrange(len(data) + 1)
    length = chance.randrange(1, 60)
    return chance.choice(
        [
            data[:place],
            data[place:],
            data[:place] + data[place + length :],
            data[:place] + chance.randbytes(length) + data[place + length :],
            data[:place] + chance.choice([b'"', b"{", b"}", b"[", b"]", b"\n", b",", b"\\", b"\0"]) + data[place:],
            data[:place] + data[:length] + data[place:],
        ]
    )
