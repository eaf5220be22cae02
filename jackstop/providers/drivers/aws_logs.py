"""Single requests to Bedrock, from the files that CloudTrail and Bedrock's invocation logging write to S3.

Facts: the layout of names is `AWSLogs/ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/` below the trail's prefix, with the
organisation's id before the account for its own trails (CloudTrail User Guide, "Finding your CloudTrail log files"),
and `AWSLogs/ACCOUNT/BedrockModelInvocationLogs/REGION/YYYY/MM/DD/HH/` (Bedrock User Guide, "Monitor model invocation");
read on 2026-11-23. `bedrock-mantle` writes no invocation logs, and its inferences are CloudTrail data events that a
trail has to select (Bedrock User Guide, "Monitor bedrock-mantle API calls using CloudTrail").
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from jackstop.clock import US_PER_S, SystemClock, from_datetime, to_datetime
from jackstop.events.schema import Event
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.providers.drivers.aws_client import REGION, answered, client, pages
from jackstop.providers.drivers.driver import Administration, CallFailed, LoggedRequest, LogPage, Option

POLL_S = 60
DELAY_S = 900
"""CloudTrail "typically delivers logs within an average of about 5 minutes of an API call", without a promise."""

PLACES = (
    Option(
        "trail", "where CloudTrail writes its files: s3://BUCKET or s3://BUCKET/PREFIX, before AWSLogs/", required=False
    ),
    Option("invocation_log", "where Bedrock writes its invocation logs, in the same form", required=False),
    Option("trail_account", "the account whose files are read, where the bucket has several's", required=False),
)
LOG_PLACES = ("trail", "invocation_log", "trail_account", "region")
OPTIONS = (Option("s3_url", "S3's address, where it is not Amazon's own", required=False),)

STATEMENTS: list[dict[str, Any]] = [
    {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::BUCKET",
        "Condition": {"StringLike": {"s3:prefix": "PREFIX/AWSLogs/*"}},
    },
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::BUCKET/PREFIX/AWSLogs/*"},
]
"""What reading takes. Where the files are encrypted with a key of one's own, `kms:Decrypt` on that key as well."""

_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/?(.*)")
_MOST_FILES = 2_000
"""In one reading; what is left is read with the next one."""
_MOST_BYTES = 256 * 1024 * 1024
_EDGE = timedelta(hours=1)
"""A file of a day may hold the end of the day before."""
_DONE = {"ok", "cancelled"}
_FREE = {"CountTokens"}


class _Kind(NamedTuple):
    """One of the two logs: the folder in a region's path, the module that reads its records, and how to find them.

    A record without the words `about` is about something else, as most of a trail is.
    """

    option: str
    folder: str
    source: str
    records: Callable[[bytes], list[msgspec.Raw]]
    about: bytes


class _File(NamedTuple):
    written_us: int
    bucket: str
    name: str
    kind: _Kind


class _Records(msgspec.Struct):
    records: list[msgspec.Raw] = msgspec.field(name="Records")


def _in_object(text: bytes) -> list[msgspec.Raw]:
    return msgspec.json.decode(text, type=_Records).records


def _in_lines(text: bytes) -> list[msgspec.Raw]:
    return [msgspec.Raw(line) for line in text.splitlines() if line.strip()]


_KINDS = (
    _Kind("trail", "CloudTrail", "cloudtrail", _in_object, b"bedrock"),
    _Kind("invocation_log", "BedrockModelInvocationLogs", "bedrock_invocations", _in_lines, b""),
)


def read(
    admin: Administration,
    place: Mapping[str, str],
    since_us: int,
    until_us: int,
    *,
    written_us: int,
    known: Collection[str],
) -> LogPage:
    """The inferences in the files of the span that were written since `written_us` and are not known.

    Raises CallFailed. A file or a record that makes no sense is counted.
    """
    region = place.get("region") or REGION
    s3 = client("s3", admin.secret, region=region, url=admin.options.get("s3_url", ""), ca=admin.ca)
    found = sorted(
        file
        for kind in _KINDS
        if place.get(kind.option)
        for file in _files(s3, kind, place, since_us, until_us)
        if file.written_us >= written_us and _ref(file) not in known
    )
    requests: list[LoggedRequest] = []
    unreadable = 0
    for file in found[:_MOST_FILES]:
        made, bad = _requests(file, _text(s3, file))
        requests += made
        unreadable += bad
    files = {_ref(file): file.written_us for file in found[:_MOST_FILES]}
    return LogPage(requests, files, unreadable)


def service_of(base_url: str) -> str:
    """The service under which CloudTrail has the requests to an address, by the names of Bedrock's endpoints."""
    host = urlsplit(base_url).hostname or ""
    if host.startswith("bedrock-mantle."):
        return "bedrock-mantle"
    return "bedrock" if host.startswith("bedrock-runtime.") else ""


def _ref(file: _File) -> str:
    return f"s3://{file.bucket}/{file.name}"


def _files(s3: Any, kind: _Kind, place: Mapping[str, str], since_us: int, until_us: int) -> Iterator[_File]:
    """The log's files of the days of the span, in every region: a thief chooses his own."""
    parts = _PLACE.fullmatch(place[kind.option])
    if parts is None:
        raise CallFailed("invalid", f"the credential's {kind.option} is not of the form s3://BUCKET/PREFIX")
    bucket, prefix = parts[1], parts[2].strip("/").removesuffix("AWSLogs").rstrip("/")
    root = f"{prefix}/AWSLogs/" if prefix else "AWSLogs/"
    for account in _accounts(s3, bucket, root, place.get("trail_account", "")):
        for region in _below(s3, bucket, f"{account}{kind.folder}/"):
            for day in _days(since_us, until_us):
                asked = {"Bucket": bucket, "Prefix": region + day}
                for entry in pages(s3, "list_objects_v2", "Contents", **asked):
                    # Bodies that are too long for a record lie beside it, in `data/`: they are all content.
                    if "/data/" not in entry["Key"][len(region) :]:
                        yield _File(from_datetime(entry["LastModified"]), bucket, entry["Key"], kind)


def _accounts(s3: Any, bucket: str, root: str, only: str) -> Iterator[str]:
    for folder in _below(s3, bucket, root):
        name = folder.removeprefix(root).rstrip("/")
        if name.startswith("o-"):
            yield from _accounts(s3, bucket, folder, only)
        elif not only or name == only:
            yield folder


def _below(s3: Any, bucket: str, prefix: str) -> list[str]:
    listed = pages(s3, "list_objects_v2", "CommonPrefixes", Bucket=bucket, Prefix=prefix, Delimiter="/")
    return [entry["Prefix"] for entry in listed]


def _days(since_us: int, until_us: int) -> Iterator[str]:
    day, last = (to_datetime(since_us) - _EDGE).date(), to_datetime(until_us).date()
    while day <= last:
        yield day.strftime("%Y/%m/%d/")
        day += timedelta(days=1)


def _text(s3: Any, file: _File) -> bytes | None:
    """The file's text, None where it is none or too long."""
    with answered("get_object"):
        raw: bytes = s3.get_object(Bucket=file.bucket, Key=file.name)["Body"].read()
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    opening = zlib.decompressobj(wbits=31)
    try:
        text = opening.decompress(raw, _MOST_BYTES)
    except zlib.error:
        return None
    return text if opening.eof else None


def _requests(file: _File, text: bytes | None) -> tuple[list[LoggedRequest], int]:
    """The inferences of a file, and how many records could not be read."""
    try:
        records = file.kind.records(text) if text is not None else None
    except msgspec.DecodeError:
        records = None
    if records is None:
        return [], 1
    module = import_module(f"jackstop.events.sources.{file.kind.source}")
    now_us = SystemClock().now_us()
    origin = Origin("", _ref(file), file.written_us, max(now_us, file.written_us + US_PER_S))
    found, bad = [], 0
    for record in records:
        raw = bytes(record)
        if file.kind.about not in raw:
            continue
        try:
            event = _event(module, raw, origin)
        except (UnreadableEntry, msgspec.DecodeError):
            bad += 1
            continue
        if event.action_class == "inference" and event.action not in _FREE and event.outcome in _DONE:
            if event.request_id:
                found.append(_logged(event))
            else:
                bad += 1
    return found, bad


def _event(module: ModuleType, raw: bytes, origin: Origin) -> Event:
    event: Event = module.read(msgspec.json.decode(raw, type=module.SHAPE), origin)
    return event


def _logged(event: Event) -> LoggedRequest:
    # With a bearer token CloudTrail names the user; only the id of an API key, or of an access key, is one of a key.
    key = event.provider_key_id
    # Who has STS make a federated user's token lends it the rights of the user whose key that took.
    of_user = event.principal_kind == "user" or (event.principal_kind == "federated" and ":user/" in event.principal)
    return LoggedRequest(
        ts_us=event.ts,
        request_id=event.request_id,
        key=key if key.startswith(("AKIA", "ACCA")) else "",
        principal=event.principal,
        user=event.principal.rpartition("/")[2] if of_user else "",
        # The runtime writes under both names.
        service="bedrock" if event.service == "bedrock-runtime" else event.service,
        account=event.account,
        region=event.region,
        model=event.model or event.model_asked,
        address=event.src_ip,
        network=event.src_net or event.src_raw,
        agent=event.user_agent,
        input_tokens=event.input_tokens,
        cache_read_tokens=event.cache_read_tokens,
        cache_write_tokens=event.cache_write_tokens,
        output_tokens=event.output_tokens,
    )
