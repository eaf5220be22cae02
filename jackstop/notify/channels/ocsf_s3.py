"""Cases as OCSF Detection Findings in an S3 bucket: an object for each message, which a repeat overwrites."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jackstop.clock import iso
from jackstop.errors import UserError
from jackstop.notify.channel import Channel, Undelivered
from jackstop.notify.channels import require
from jackstop.notify.deadline import CONNECT_S
from jackstop.notify.http import open_url
from jackstop.notify.message import Message
from jackstop.notify.ocsf import finding

OPTIONS = frozenset({"bucket", "prefix", "region", "endpoint"})
ASKS_FOR = "ACCESS_KEY_ID:SECRET_ACCESS_KEY, empty for the machine's own role"
MIN_SEVERITY = "info"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/=-]{0,256}")


def check(options: dict[str, str], secret: str) -> dict[str, str]:
    """`bucket`, `prefix`, `region`; `endpoint` for a store that is not Amazon's."""
    if not _BUCKET.fullmatch(require(options, "bucket", "say which: --option bucket=NAME")):
        raise UserError(f"{options['bucket']!r} is not the name of a bucket", "look it up where it was made", 2)
    if not _PREFIX.fullmatch(options.get("prefix", "")):
        raise UserError(f"{options['prefix']!r} is not a prefix", "use letters, digits and /", 2)
    if "endpoint" in options:
        options["endpoint"] = open_url(options["endpoint"], "the endpoint")
    if secret and (":" not in secret or not secret.isascii() or not secret.isprintable()):
        raise UserError("the secret is not a pair of keys", "pipe in ACCESS_KEY_ID:SECRET_ACCESS_KEY", 2)
    _boto3()
    return options


def _boto3() -> Any:
    try:
        import boto3
    except ImportError:
        raise UserError("S3 needs the package boto3", "install it: pip install 'jackstop[s3]'", 2) from None
    return boto3


def send(channel: Channel, message: Message, now_us: int) -> None:  # noqa: ARG001 -- as every kind
    """Put one object. Raises Undelivered."""
    try:
        boto3 = _boto3()
    except UserError as error:
        raise Undelivered(f"{error.problem}; {error.remedy}") from None
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _client(boto3, channel).put_object(
            Bucket=channel.options["bucket"],
            Key=key_of(channel, message),
            Body=msgspec.json.encode(finding(message)) + b"\n",
            ContentType="application/x-ndjson",
        )
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise Undelivered(f"the bucket answers {status} {error.response.get('Error', {}).get('Code', '')}") from None
    except BotoCoreError as error:
        raise Undelivered(f"the bucket cannot be reached: {type(error).__name__}") from None


def key_of(channel: Channel, message: Message) -> str:
    """By day and message: the same at every attempt."""
    prefix = channel.options.get("prefix", "").strip("/")
    name = f"{iso(message.at_us[0])[:10].replace('-', '/')}/{message.uid}.ndjson"
    return f"{prefix}/{name}" if prefix else name


def _client(boto3: Any, channel: Channel) -> Any:
    from botocore.config import Config

    keys: dict[str, str] = {}
    if channel.secret:
        key_id, _, secret = channel.secret.reveal().decode().partition(":")
        keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
    config = Config(connect_timeout=CONNECT_S, read_timeout=CONNECT_S, retries={"total_max_attempts": 1})
    # A session of its own: boto3's default one is shared between threads and not safe there.
    return boto3.session.Session().client(
        "s3",
        region_name=channel.options.get("region") or None,
        endpoint_url=channel.options.get("endpoint") or None,
        config=config,
        **keys,
    )
