"""What is kept of a request and of an error: fingerprints and templates, never content."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.gate.messages import MAX_CHARS, read_error, template
from jackstop.gate.traits import (
    client_family,
    exact_fingerprint,
    fingerprint,
    header_order,
    referer_host,
    user_agent_state,
)

KEY = b"k" * 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Today is 2026-11-23.", "Today is 2027-01-05."),
        ("Today is Monday, 23 November 2026", "Today is Friday, 5 March 2027"),
        ("Order 17 of 4,200 at 12:05", "Order 9 of 13 at 7:45"),
        ("Hello   there\n", "hello there"),
    ],
)
def test_dates_digits_case_and_spacing_do_not_change_a_fingerprint(one: str, other: str) -> None:
    assert fingerprint(KEY, one) == fingerprint(KEY, other)
    assert len(fingerprint(KEY, one)) == 16


def test_another_text_or_key_has_another_fingerprint() -> None:
    assert fingerprint(KEY, "be kind") != fingerprint(KEY, "be rude")
    assert fingerprint(KEY, "be kind") != fingerprint(b"l" * 32, "be kind")
    assert exact_fingerprint(KEY, "user-1") != exact_fingerprint(KEY, "user-2")
    assert fingerprint(KEY, "") == exact_fingerprint(KEY, "") == fingerprint(b"", "x") == ""


@pytest.mark.parametrize(
    ("agent", "language", "family"),
    [
        ("OpenAI/Python 3.54.0", "python", "openai-python"),
        ("AsyncOpenAI/Python 3.54.0", "python", "openai-python"),
        ("OpenAI/JS 5.1.0", "js", "openai-js"),
        ("Anthropic/Python 2.12.0", "python", "anthropic-python"),
        ("curl/8.5.0", "", "curl"),
        ("Mozilla/5.0 (X11; Linux)", "", "browser"),
        ("Python/3.11 aiohttp/3.9.5", "", "aiohttp"),
        ("something else", "", "other"),
        ("", "", ""),
    ],
)
def test_clients_have_families(agent: str, language: str, family: str) -> None:
    assert client_family(agent, language) == family


def test_an_empty_user_agent_is_not_an_absent_one() -> None:
    assert [user_agent_state(agent) for agent in (None, b"", b" ", b"x")] == ["absent", "empty", "empty", "present"]


def test_header_order_tells_clients_apart() -> None:
    assert header_order(b"host,accept") != header_order(b"accept,host")


@pytest.mark.parametrize(
    ("referer", "host"),
    [
        (b"https://user:pass@Example.com:443/path?q=1", "example.com"),
        (b"null", ""),
        (b"", ""),
        (None, ""),
        (b"javascript:alert(1)", ""),
    ],
)
def test_of_a_referer_only_the_host_is_kept(referer: bytes | None, host: str) -> None:
    assert referer_host(referer) == host


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (
            "The model `gpt-secret` does not exist or you do not have access to it.",
            "The model * does not exist or you do not have access to it",
        ),
        ("Incorrect API key provided: sk-proj-***abcd.", "Incorrect API key provided *"),
        (
            "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000",
            "Rate limit reached for * in organization * on tokens per * Limit *",
        ),
        ("Invalid 'messages[0].content': string too long.", "Invalid * string too long"),
        ("please tell Johannes the combination is 4711", "please * the * is *"),
    ],
)
def test_messages_become_templates(message: str, kept: str) -> None:
    assert template(message) == kept


@given(st.text(max_size=500))
def test_nothing_of_a_message_but_known_words_is_kept(text: str) -> None:
    found = template(text)
    assert len(found) <= MAX_CHARS
    assert set(found.lower().split()) - {"*"} <= set(template.__globals__["_WORDS"]) or len(found) == MAX_CHARS


@given(st.binary(max_size=200))
def test_any_error_body_is_read(body: bytes) -> None:
    code, message = read_error(body)
    assert isinstance(code, str)
    assert isinstance(message, str)


def test_codes_are_names_and_nothing_else() -> None:
    assert read_error(json.dumps({"error": {"code": "model_not_found", "message": "x"}}).encode()) == (
        "model_not_found",
        "*",
    )
    assert read_error(json.dumps({"error": {"code": "Secret Text", "type": "api_error"}}).encode()) == ("api_error", "")
    assert read_error(json.dumps({"error": {"code": 7}}).encode()) == ("", "")
    assert read_error(json.dumps({"error": "not found"}).encode()) == ("", "not found")
