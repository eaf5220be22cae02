"""Where the key is found, and that two different ones are refused."""

from __future__ import annotations

import pytest

from jackstop.errors import Refused
from jackstop.gate.identify import Presented, presented
from jackstop.gate.wire import Head, Heads, RequestReader, WireLimits


def head(*headers: str, query: str = "") -> Head:
    reader = RequestReader(WireLimits(), Heads())
    lines = [f"GET /openai/v1/models{query} HTTP/1.1", "Host: gate.test", *headers]
    reader.feed("\r\n".join(lines).encode() + b"\r\n\r\n")
    found = reader.head()
    assert isinstance(found, Head)
    return found


@pytest.mark.parametrize(
    ("found", "method"),
    [
        (head("Authorization: Bearer k"), "bearer"),
        (head("authorization: bearer   k"), "bearer"),
        (head("X-Api-Key: k"), "x-api-key"),
        (head("api-key: k"), "api-key"),
        (head("x-goog-api-key: k"), "x-goog-api-key"),
        (head(query="?key=k"), "query"),
        (head(query="?alt=sse&key=%6b"), "query"),
        (head("Authorization: Bearer k", "x-api-key: k", query="?key=k"), "bearer"),
        (head("Authorization: Bearer k", "Authorization: Bearer k"), "bearer"),
        (head("Authorization: Basic eDp5", "x-api-key: k"), "x-api-key"),
        (head("Authorization: Bearer k", "x-api-key:"), "bearer"),
    ],
)
def test_the_key_is_found_wherever_sdks_put_it(found: Head, method: str) -> None:
    key = presented(found)
    assert isinstance(key, Presented)
    assert (key.key, key.auth_method) == (b"k", method)
    assert "k'" not in repr(key)


def test_the_query_goes_on_without_any_key() -> None:
    key = presented(head(query="?a=b&key=k&c=d&%6bey=k&KEY=k"))
    assert isinstance(key, Presented)
    assert key.query == b"a=b&c=d"


@pytest.mark.parametrize(
    "found",
    [
        head("Authorization: Bearer k", "x-api-key: l"),
        head("Authorization: Bearer k", "Authorization: Bearer l"),
        head("x-api-key: k", "api-key: l"),
        head("Authorization: Bearer k", query="?key=l"),
        head(query="?key=k&key=l"),
        head(query="?key=k&%6bey=l"),
    ],
)
def test_two_different_keys_are_refused(found: Head) -> None:
    refused = presented(found)
    assert isinstance(refused, Refused)
    assert refused.reason == "malformed"


@pytest.mark.parametrize(
    "found", [head(), head("Authorization: Basic eDp5"), head("Authorization: Bearer"), head("Authorization:")]
)
def test_without_a_key_nothing_is_presented(found: Head) -> None:
    key = presented(found)
    assert isinstance(key, Presented)
    assert key.key == b""
