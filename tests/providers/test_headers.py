from __future__ import annotations

import pytest

from jackstop import providers

CHAT = providers.route("POST", "/openai/v1/chat/completions")
MESSAGES = providers.route("POST", "/anthropic/v1/messages")
DEEPSEEK = providers.route("POST", "/deepseek/v1/chat/completions")
DEEPSEEK_MESSAGES = providers.route("POST", "/deepseek/anthropic/v1/messages")
SECRET = b"sk-upstream"


def sent(route, *headers):
    return providers.request_headers(route, list(headers), SECRET)


def names(headers):
    return [name.lower() for name, _ in headers]


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"X-Api-Key",
        b"api-key",
        b"x-goog-api-key",
        b"Proxy-Authorization",
        b"Cookie",
        b"OpenAI-Organization",
        b"OpenAI-Project",
        b"anthropic-workspace-id",
        b"anthropic-user-profile-id",
        b"X-Forwarded-For",
        b"Forwarded",
        b"Via",
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Upgrade",
        b"Expect",
        b"Accept-Encoding",
        b"X-Anything",
    ],
)
@pytest.mark.parametrize("route", [CHAT, MESSAGES])
def test_what_stays_behind(route, name):
    assert sent(route, (name, b"client")) == sent(route)
    assert b"client" not in b"".join(value for _, value in sent(route, (name, b"client")))


def test_what_passes_in_order():
    given = [
        (b"User-Agent", b"OpenAI/Python 3.54.0"),
        (b"Accept", b"application/json"),
        (b"Content-Type", b"application/json"),
        (b"X-Stainless-Lang", b"python"),
        (b"Idempotency-Key", b"k1"),
    ]
    assert sent(CHAT, *given)[:5] == given


def test_the_credential_in_the_providers_own_header():
    assert sent(CHAT) == [(b"accept-encoding", b"identity"), (b"authorization", b"Bearer sk-upstream")]
    assert sent(DEEPSEEK)[-1] == (b"authorization", b"Bearer sk-upstream")
    assert sent(MESSAGES)[-1] == (b"x-api-key", SECRET)
    assert sent(DEEPSEEK_MESSAGES)[-1] == (b"x-api-key", SECRET)


def test_a_second_copy_of_a_header_stays_behind():
    found = sent(CHAT, (b"content-type", b"application/json"), (b"Content-Type", b"text/plain"))
    assert [value for name, value in found if name.lower() == b"content-type"] == [b"application/json"]


def test_beta_flags_pass_only_where_a_meter_knows_them():
    flags = b"context-1m-2025-08-07, interleaved-thinking-2025-05-14 ,mcp-client-2025-11-20,x,prompt-caching-2024-07-31"
    found = dict(sent(MESSAGES, (b"anthropic-beta", flags), (b"anthropic-version", b"2026-10-21")))
    assert found[b"anthropic-beta"] == b"interleaved-thinking-2025-05-14,prompt-caching-2024-07-31"
    assert found[b"anthropic-version"] == b"2026-10-21"
    assert b"anthropic-beta" not in dict(sent(MESSAGES, (b"anthropic-beta", b"code-execution-2025-05-22")))
    assert dict(sent(CHAT, (b"openai-beta", b"responses=experimental,assistants=v2")))[b"openai-beta"] == (
        b"responses=experimental"
    )


def test_each_dialect_has_its_own_headers():
    assert b"anthropic-version" not in names(sent(CHAT, (b"anthropic-version", b"2023-06-01")))
    assert b"openai-beta" not in names(sent(MESSAGES, (b"openai-beta", b"responses=v1")))
    assert b"anthropic-beta" not in names(sent(CHAT, (b"anthropic-beta", b"pdfs-2024-09-25")))


def test_answers_do_not_name_the_organisation():
    given = [
        (b"content-type", b"application/json"),
        (b"x-request-id", b"req_1"),
        (b"openai-organization", b"acme"),
        (b"openai-project", b"proj_1"),
        (b"anthropic-organization-id", b"org_1"),
        (b"set-cookie", b"__cf_bm=1"),
        (b"connection", b"keep-alive, X-Odd"),
        (b"keep-alive", b"timeout=5"),
        (b"x-odd", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"alt-svc", b"h3"),
        (b"strict-transport-security", b"max-age=1"),
        (b"openai-processing-ms", b"12"),
        (b"retry-after", b"3"),
        (b"content-length", b"9"),
    ]
    given = [(name.lower(), value) for name, value in given]
    assert names(providers.response_headers(given, frozenset({b"x-odd"}), b"")) == [
        b"content-type",
        b"x-request-id",
        b"openai-processing-ms",
        b"retry-after",
    ]
    assert names(providers.response_headers(given, frozenset(), b"req_")) == [
        b"content-type",
        b"x-odd",
        b"openai-processing-ms",
        b"retry-after",
    ]
