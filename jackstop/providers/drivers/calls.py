"""One JSON call to a provider's administration API: verified, never redirected, bounded in time and size."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from jackstop.gate.listening import is_loopback
from jackstop.notify.deadline import CONNECT_S, cut_off
from jackstop.notify.http import tls_context
from jackstop.providers.drivers.driver import CallFailed, Why
from jackstop.secret import Secret

CALL_S = 20.0
_ANTHROPIC_VERSION = "2023-06-01"
_ANSWER_BYTES = 16 * 1024 * 1024
_LONGEST_WAIT_S = 3_600
_WHY: dict[int, Why] = {
    400: "invalid",
    401: "denied",
    403: "denied",
    404: "missing",
    405: "missing",
    409: "invalid",
    422: "invalid",
}


def call(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: object = None,
    *,
    query: Mapping[str, object] | None = None,
    form: Mapping[str, str] | None = None,
    ca: str = "",
) -> Any:
    """The JSON that came back, None for an empty answer. `query` takes lists for parameters that repeat.

    Raises CallFailed for anything but an answer of 200 to 299; its text holds the status, never what was said.
    """
    status, said, fields = exchange(method, url, headers, body, query=query, form=form, ca=ca)
    if not 200 <= status < 300:
        wait = fields.get("retry-after", "")
        after_s = min(int(wait), _LONGEST_WAIT_S) if wait.isascii() and wait.isdigit() else 0
        why: Why = "limited" if status == 429 else _WHY.get(status, "failed")
        raise CallFailed(why, f"{method} {shown(url)} was answered with HTTP {status}", after_s=after_s)
    if not said.strip():
        return None
    try:
        return msgspec.json.decode(said)
    except msgspec.DecodeError:
        raise CallFailed("failed", f"{method} {shown(url)} was answered with what is no JSON") from None


def exchange(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: object = None,
    *,
    query: Mapping[str, object] | None = None,
    form: Mapping[str, str] | None = None,
    ca: str = "",
) -> tuple[int, bytes, Mapping[str, str]]:
    """Status, body and header fields (names in lower case) of the answer, whatever the status.

    Raises CallFailed where there is none.
    """
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise CallFailed("invalid", f"{shown(url)} is plain http, which is for this machine only")
    kept = {name: value for name, value in (query or {}).items() if value is not None}
    target = (parts.path or "/") + (f"?{urlencode(kept, doseq=True)}" if kept else "")
    sent, kind = b"", ""
    if form is not None:
        sent, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
    elif body is not None:
        sent, kind = msgspec.json.encode(body), "application/json"
    fields = {"User-Agent": "jackstop", "Accept": "application/json", **({"Content-Type": kind} if kind else {})}
    try:
        context = tls_context(ca) if parts.scheme == "https" else None
    except OSError as error:
        raise CallFailed("unreachable", f"the authorities in {ca!r} cannot be read: {error.strerror}") from None
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_S)
    else:
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_S, context=context)
    try:
        connection.connect()
        connection.sock.settimeout(CALL_S)
        with cut_off(connection.sock, CALL_S):
            connection.request(method, target, sent or None, {**fields, **headers})
            answer = connection.getresponse()
            said = answer.read(_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        # A ValueError is of a header that is none, and quotes it.
        raise CallFailed("unreachable", f"{shown(url)} gave no answer: {_said(error)}") from None
    finally:
        connection.close()
    if len(said) > _ANSWER_BYTES:
        raise CallFailed("failed", f"{shown(url)} answered with more than {_ANSWER_BYTES:,} bytes")
    return answer.status, said, {name.lower(): value for name, value in answer.headers.items()}


def bearing(secret: Secret) -> dict[str, str]:
    """The header of a call that shows the secret as a bearer token."""
    return {"Authorization": f"Bearer {secret.reveal().decode()}"}


def to_anthropic(secret: Secret) -> dict[str, str]:
    """The headers of a call to Anthropic, which takes no bearer token and wants the version of its API."""
    return {"x-api-key": secret.reveal().decode(), "anthropic-version": _ANTHROPIC_VERSION}


def path(*parts: str) -> str:
    """Segments of a path, each escaped whole, so that an id with a slash stays one segment."""
    return "".join("/" + quote(part, safe="-_.~") for part in parts)


def shown(url: str) -> str:
    """A URL in an error: without its query, where secrets hide."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
