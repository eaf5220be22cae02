from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop import providers
from jackstop.errors import Refused, UserError
from jackstop.providers import Route


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "dialect", "upstream"),
    [
        ("POST", "/openai/v1/chat/completions", "chat.completions", "openai_chat", "/v1/chat/completions"),
        ("POST", "/openai/v1/responses", "responses", "openai_responses", "/v1/responses"),
        ("POST", "/openai/v1/embeddings", "embeddings", "openai_embeddings", "/v1/embeddings"),
        ("POST", "/openai/v1/moderations", "moderations", "free", "/v1/moderations"),
        ("GET", "/openai/v1/models", "models", "free", "/v1/models"),
        ("GET", "/openai/v1/models/gpt-4o", "models", "free", "/v1/models/gpt-4o"),
        ("GET", "/openai/v1/models/ft:gpt-4o:org::id", "models", "free", "/v1/models/ft:gpt-4o:org::id"),
        ("POST", "/anthropic/v1/messages", "messages", "anthropic_messages", "/v1/messages"),
        ("POST", "/anthropic/v1/messages/count_tokens", "count_tokens", "free", "/v1/messages/count_tokens"),
        ("GET", "/anthropic/v1/models", "models", "free", "/v1/models"),
        ("POST", "/deepseek/chat/completions", "chat.completions", "openai_chat", "/chat/completions"),
        ("POST", "/deepseek/v1/chat/completions", "chat.completions", "openai_chat", "/v1/chat/completions"),
        ("POST", "/deepseek/anthropic/v1/messages", "messages", "anthropic_messages", "/anthropic/v1/messages"),
        ("GET", "/deepseek/models", "models", "free", "/models"),
    ],
)
def test_forwarded(method, path, endpoint, dialect, upstream):
    found = providers.route(method, path)
    assert isinstance(found, Route)
    assert (found.endpoint, found.dialect, found.upstream_path) == (endpoint, dialect, upstream)
    assert found.provider == path.split("/")[1]
    assert found.has_body is (method == "POST")
    assert (found.meter is None) is (method == "GET")
    assert found.error_dialect == ("anthropic" if "anthropic" in path else "openai")
    assert found.action_class == ("list_models" if endpoint == "models" else "inference")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/openai/v1/batches"),
        ("POST", "/openai/v1/images/generations"),
        ("POST", "/openai/v1/audio/speech"),
        ("POST", "/openai/v1/completions"),
        ("POST", "/openai/v1/files"),
        ("GET", "/openai/v1/files/file-1/content"),
        ("POST", "/openai/v1/fine_tuning/jobs"),
        ("POST", "/openai/v1/responses/compact"),
        ("POST", "/openai/v1/videos"),
        ("POST", "/anthropic/v1/messages/batches"),
        ("GET", "/anthropic/v1/messages/batches/b_1/results"),
        ("POST", "/anthropic/v1/complete"),
        ("POST", "/deepseek/responses"),
        ("POST", "/deepseek/anthropic/v1/messages/count_tokens"),
    ],
)
def test_known_without_a_meter(method, path):
    found = providers.route(method, path)
    assert isinstance(found, Refused)
    assert found.reason == "unmetered"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("POST", "/v1/chat/completions"),
        ("POST", "/mistral/v1/chat/completions"),
        ("POST", "/OpenAI/v1/chat/completions"),
        ("GET", "/openai"),
        ("GET", "/openai/"),
        ("GET", "/openai/v1/chat/completions"),
        ("PUT", "/openai/v1/chat/completions"),
        ("POST", "/openai/v1/chat/completions/"),
        ("POST", "/openai//v1/chat/completions"),
        ("POST", "/openai/v1/chat%2fcompletions"),
        ("GET", "/openai/v1/responses/resp_1"),
        ("DELETE", "/openai/v1/models/ft:gpt-4o"),
        ("GET", "/openai/v1/models/.."),
        ("GET", "/openai/v1/models/"),
        ("GET", "/openai/v1/models/a/b"),
        ("GET", "/openai/v1/models/a%2e%2e"),
        ("GET", "/openai/v1/models/a?b"),
        ("GET", "/openai/v1/organization/api_keys"),
        ("GET", "/openai/v1/organization/usage/completions"),
        ("GET", "/anthropic/v1/organizations/api_keys"),
        ("GET", "/deepseek/user/balance"),
        ("POST", "/openai/v1/filesystem"),
    ],
)
def test_nothing_else_is_forwarded(method, path):
    found = providers.route(method, path)
    assert isinstance(found, Refused)
    assert found.reason == "endpoint"


@given(st.text(max_size=60), st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
def test_no_path_breaks_the_table(path, method):
    for prefix in ("", "/openai/v1/models/", "/anthropic/", "/deepseek/"):
        found = providers.route(method, prefix + path)
        assert isinstance(found, Refused | Route)
        if isinstance(found, Route):
            assert found.upstream_path.isascii()
            assert (prefix + path).endswith(found.upstream_path)


def test_names_and_dialects_before_routing():
    assert providers.provider_of("/openai/v1/models") == "openai"
    assert providers.provider_of("/nobody/v1") is None
    assert providers.error_dialect("/anthropic/v1/nothing") == "anthropic"
    assert providers.error_dialect("/deepseek/anthropic/v1/messages") == "anthropic"
    assert providers.error_dialect("/deepseek/chat/completions") == "openai"
    assert providers.error_dialect("/anthropicx") == "openai"


def test_addresses():
    assert providers.default_base_url("openai") == "https://api.openai.com"
    assert providers.default_base_url("anthropic") == "https://api.anthropic.com"
    assert providers.default_base_url("deepseek") == "https://api.deepseek.com"
    with pytest.raises(UserError) as error:
        providers.default_base_url("nobody")
    assert error.value.status == 2
