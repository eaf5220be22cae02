"""Identify: the key that a request presents, wherever the providers' SDKs put it; no sockets here."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from jackstop.errors import Refused
from jackstop.gate.wire import Head, malformed

_PLAIN = {b"x-api-key": "x-api-key", b"api-key": "api-key", b"x-goog-api-key": "x-goog-api-key"}


class Presented(NamedTuple):
    """The presented key, empty without one, how it came, and the query without it."""

    key: bytes
    method: str
    query: bytes

    def __repr__(self) -> str:
        return f"Presented(method={self.method!r})"


def presented(head: Head) -> Presented | Refused:
    """Find the key. The same key in two places is one key; two different ones are refused."""
    found: Presented | Refused | None = head.memo.get("presented")
    if found is None:
        found = head.memo["presented"] = _find(head)
    return found


def _find(head: Head) -> Presented | Refused:
    key, method, query = b"", "", head.query
    for name, value in head.headers:
        if name == b"authorization":
            scheme, _, found = value.partition(b" ")
            if scheme.lower() != b"bearer":
                continue
            found, how = found.strip(), "bearer"
        elif name in _PLAIN:
            found, how = value, _PLAIN[name]
        else:
            continue
        if found:
            if key and key != found:
                return malformed("the request presents two different keys; send one")
            key, method = key or found, method or how
    if query:
        kept = []
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if unquote_to_bytes(name).lower() != b"key":
                kept.append(part)
                continue
            found = unquote_to_bytes(value)
            if key and found and key != found:
                return malformed("the request presents two different keys; send one")
            key, method = key or found, method or "query"
        query = b"&".join(kept)
    return Presented(key, method, query)
