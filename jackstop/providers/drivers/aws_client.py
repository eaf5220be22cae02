"""Calls to AWS through boto3's botocore: signed, verified, with retries that end, and answers told as any driver's."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from jackstop.errors import UserError
from jackstop.gate.listening import is_loopback
from jackstop.notify.deadline import CONNECT_S
from jackstop.providers.drivers.calls import CALL_S, shown
from jackstop.providers.drivers.driver import Administration, CallFailed, Why
from jackstop.secret import Secret

REGION = "us-east-1"
"""Where IAM of the commercial partition is signed for (IAM User Guide, "Regions and endpoints")."""

READ_ATTEMPTS = 3
"""For calls that may be repeated. One that makes a key is sent once: an answer that got lost would leave an orphan."""

_WHY: dict[str, Why] = {
    "AccessDenied": "denied",
    "AccessDeniedException": "denied",
    "ExpiredToken": "denied",
    "InvalidClientTokenId": "denied",
    "MissingAuthenticationToken": "denied",
    "SignatureDoesNotMatch": "denied",
    "UnrecognizedClientException": "denied",
    "NoSuchEntity": "missing",
    "NoSuchBucket": "missing",
    "NoSuchKey": "missing",
    "LimitExceeded": "quota",
    "Throttling": "limited",
    "ThrottlingException": "limited",
    "RequestLimitExceeded": "limited",
    "EntityTemporarilyUnmodifiable": "limited",
}
"""Error codes: IAM API Reference, "Common Error Types" and the errors of each action; also CloudWatch's and S3's."""


def client(
    service: str, secret: Secret, *, region: str, url: str = "", ca: str = "", attempts: int = READ_ATTEMPTS
) -> Any:
    """A client for one call or a few. `url` is the service's address where it is not Amazon's own.

    Raises CallFailed for a secret of another form, UserError where boto3 is missing.
    """
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError:
        raise UserError("AWS needs the package boto3", "install it: pip install 'jackstop[aws]'", 2) from None
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise CallFailed("invalid", f"{shown(url)} is plain http, which is for this machine only")
    key_id, _, key = secret.reveal().decode().partition(":")
    if not key_id or not key:
        raise CallFailed("invalid", "the secret is not of the form ACCESS_KEY_ID:SECRET_ACCESS_KEY")
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=CALL_S,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        s3={"addressing_style": "path"} if url else None,
        ignore_configured_endpoint_urls=True,
        user_agent="jackstop",
    )
    with answered(service):
        # A session of its own, since one is not safe between threads; the files of services are read once.
        session = Session()
        session.register_component("data_loader", _loader())
        return session.create_client(
            service,
            region_name=region,
            endpoint_url=url or None,
            verify=ca or None,
            aws_access_key_id=key_id,
            aws_secret_access_key=key,
            config=config,
        )


@functools.cache
def _loader() -> Any:
    from botocore.loaders import create_loader

    return create_loader()


def administrator(service: str, admin: Administration, *, attempts: int = READ_ATTEMPTS) -> Any:
    """A client of an account-wide service at the administration's base URL."""
    region = admin.options.get("region") or REGION
    return client(service, admin.secret, region=region, url=admin.base_url, ca=admin.ca, attempts=attempts)


@contextmanager
def answered(what: str) -> Iterator[None]:
    """Raise CallFailed for what botocore raises. Its text holds the error's code, never what was sent or said."""
    from botocore import exceptions as raised

    try:
        yield
    except raised.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        word = code if code.isalnum() and len(code) < 64 else ""
        raise CallFailed(
            _WHY.get(code) or _by_status(status), f"{what} was answered with HTTP {status} {word}"
        ) from None
    except (raised.ConnectionError, raised.HTTPClientError) as error:
        raise CallFailed("unreachable", f"{what} gave no answer: {type(error).__name__}") from None
    except raised.BotoCoreError as error:
        raise CallFailed("invalid", f"{what} could not be called: {type(error).__name__}") from None


def pages(reader: Any, operation: str, found: str, **asked: object) -> list[dict[str, Any]]:
    """All entries named `found` of a listing that comes in pages."""
    with answered(operation):
        return [entry for page in reader.get_paginator(operation).paginate(**asked) for entry in page.get(found, [])]


def _by_status(status: int) -> Why:
    if status == 429:
        return "limited"
    if status in (401, 403):
        return "denied"
    return "invalid" if 400 <= status < 500 else "failed"
