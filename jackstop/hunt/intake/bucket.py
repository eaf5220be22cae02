"""Objects in S3 buckets: listed under a prefix, and read as they come."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any, cast

from jackstop.errors import UserError

SCHEME = "s3://"
_CONNECT_S = 10
_ANSWER_S = 60
_ATTEMPTS = 5
_PART = 1 << 20


def objects(url: str) -> Iterator[tuple[str, str, int, str]]:
    """Of every object under `s3://bucket/prefix` its name, place, size and version, in the order of keys.

    Raises UserError.
    """
    bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UserError(f"{url} names no bucket", "write s3://BUCKET/PREFIX", 2)
    found = False
    try:
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                found = True
                if not each["Key"].endswith("/"):
                    name = f"{SCHEME}{bucket}/{each['Key']}"
                    yield name, name, each["Size"], each["ETag"]
    except errors() as error:
        raise UserError(
            f"{SCHEME}{bucket} cannot be listed: {reason(error)}",
            "look at the bucket's name and region, and that the role may s3:ListBucket and s3:GetObject",
        ) from None
    if not found and prefix:
        raise UserError(f"nothing in {SCHEME}{bucket} begins with {prefix!r}", "look at the prefix", 2)


@contextmanager
def opened(url: str, version: str) -> Iterator[IO[bytes]]:
    """An object from its beginning, as long as it is still this version; it cannot seek."""
    body = _get(url, version)["Body"]
    try:
        yield cast("IO[bytes]", _Body(body))
    finally:
        body.close()


def seekable(url: str, version: str, size: int) -> IO[bytes]:
    """An object of which any part can be read, as long as it is still this version."""
    return io.BufferedReader(_Parts(url, version, size), _PART)


class _Body:
    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1) -> bytes:
        return cast("bytes", self._body.read(size))

    def seekable(self) -> bool:
        return False


class _Parts(io.RawIOBase):
    def __init__(self, url: str, version: str, size: int) -> None:
        self._url, self._version, self._size = url, version, size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence] + offset)
        return self._place

    def readinto(self, into: Any, /) -> int:
        end = min(self._size, self._place + len(into))
        if end <= self._place:
            return 0
        found = _get(self._url, self._version, Range=f"bytes={self._place}-{end - 1}")["Body"].read()
        into[: len(found)] = found
        self._place += len(found)
        return len(found)


def _get(url: str, version: str, **more: str) -> Any:
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    return client().get_object(Bucket=bucket, Key=key, IfMatch=version, **more)


def errors() -> tuple[type[Exception], ...]:
    """What the AWS SDK raises; nothing where it is not installed."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        return ()
    return BotoCoreError, ClientError


def reason(error: Exception) -> str:
    """An error of the SDK in a word."""
    answer = getattr(error, "response", None)
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else None
    return str(code or type(error).__name__)


@lru_cache
def client() -> Any:
    """Credentials, region and endpoint are those of the AWS SDK: its files and `AWS_…`."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise UserError("S3 needs the package boto3", "install it: pip install 'jackstop[s3]'", 2) from None
    config = Config(connect_timeout=_CONNECT_S, read_timeout=_ANSWER_S, retries={"total_max_attempts": _ATTEMPTS})
    return boto3.session.Session().client("s3", config=config)
