"""Identify: the key that a request presents, wherever the providers' SDKs put it; no sockets here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from jackstop.errors import Refused
from jackstop.gate.refusals import malformed
from jackstop.gate.wire import Head

# Headers whose whole value is the key.
_KEY_HEADERS = {b"x-api-key": "x-api-key", b"api-key": "api-key", b"x-goog-api-key": "x-goog-api-key"}


class Presented(NamedTuple):
    """The presented key, empty without one, how it came (the event's `auth_method`), and the query without it."""

    key: bytes
    auth_method: str
    query: bytes

    def __repr__(self) -> str:
        return f"Presented(auth_method={self.auth_method!r})"


def presented(head: Head) -> Presented | Refused:
    """Find the key. The same key in two places is one key; two different ones are refused."""
    found: Presented | Refused | None = head.memo.get("presented")
    if found is None:
        found = head.memo["presented"] = _find(head)
    return found


def _find(head: Head) -> Presented | Refused:
    query, in_query = _split(head.query)
    found = [*_in_headers(head.headers), *in_query]
    if len({key for key, _ in found}) > 1:
        return malformed("the request presents two different keys; send one")
    key, auth_method = found[0] if found else (b"", "")
    return Presented(key, auth_method, query)


def _in_headers(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, str]]:
    """Every key in the headers, and how it came."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer" and (key := token.strip()):
                yield key, "bearer"
        elif name in _KEY_HEADERS and value:
            yield value, _KEY_HEADERS[name]


def _split(query: bytes) -> tuple[bytes, list[tuple[bytes, str]]]:
    """The query without its keys, and every key in it."""
    kept: list[bytes] = []
    keys: list[tuple[bytes, str]] = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if unquote_to_bytes(name).lower() != b"key":
            kept.append(part)
        elif key := unquote_to_bytes(value):
            keys.append((key, "query"))
    return b"&".join(kept), keys
