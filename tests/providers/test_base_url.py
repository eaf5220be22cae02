from __future__ import annotations

import pytest

from jackstop.errors import UserError
from jackstop.providers import fold_base_url


@pytest.mark.parametrize(
    ("given", "folded"),
    [
        ("https://api.openai.com", "https://api.openai.com"),
        ("https://api.openai.com/", "https://api.openai.com"),
        ("https://api.openai.com/v1", "https://api.openai.com"),
        ("https://api.openai.com/v1/", "https://api.openai.com"),
        ("  https://API.OpenAI.com/v1 ", "https://api.openai.com"),
        ("https://example.com/llm/v1", "https://example.com/llm"),
        ("https://example.com:8443/v1beta", "https://example.com:8443/v1beta"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[::1]:9000/v1", "http://[::1]:9000"),
        ("http://localhost:9000/", "http://localhost:9000"),
        ("http://127.8.9.1", "http://127.8.9.1"),
    ],
)
def test_folded(given, folded):
    assert fold_base_url(given) == folded
    assert fold_base_url(folded) == folded


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.openai.com",
        "ftp://api.openai.com",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "http://api.openai.com",
        "http://10.0.0.5:8000",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "https://user:pass@api.openai.com",
        "https://user@api.openai.com",
        "https://api.openai.com?x=1",
        "https://api.openai.com/#v1",
        "https://api.openai.com:port",
        "https://api.openai.com:99999",
        "https://[::1",
        "https://exa mple.com",
        "https://example.com/a\r\nx: y",
        "https://exämple.com",
    ],
)
def test_refused(given):
    with pytest.raises(UserError) as error:
        fold_base_url(given)
    assert error.value.status == 2
    assert error.value.remedy


def test_a_secret_in_the_url_is_not_repeated():
    with pytest.raises(UserError) as error:
        fold_base_url("https://user:hunter2@api.openai.com")
    assert "hunter2" not in error.value.problem
