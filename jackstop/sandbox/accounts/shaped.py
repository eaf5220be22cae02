"""Providers whose inference has OpenAI's shape: who they are, where their routes begin, and how they read a secret."""

from __future__ import annotations

import msgspec

from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Headers
from jackstop.sandbox.openai import OpenAI, bearer

ROOTS = {
    "openrouter": "/openrouter/api/v1/",
    "xai": "/xai/v1/",
    "mistral": "/mistral/v1/",
    "groq": "/groq/openai/v1/",
    "together": "/together/v1/",
    "bedrock": "/bedrock-mantle/v1/",
    "google": "/gemini/v1beta/openai/",
}
"""Where each begins. Bedrock's is the endpoint `bedrock-mantle.{region}.api.aws` (openai 3.54, lib/bedrock.py);
Google's is ai.google.dev/gemini-api/docs/openai."""

AZURE_ROOT = "/azure/"


class Shaped(OpenAI):
    """A provider that speaks OpenAI's dialect under its own name."""

    def __init__(self, provider: str) -> None:
        self.provider = provider


class OpenRouter(Shaped):
    """openrouter.ai, which writes errors with the status as their code."""

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        return msgspec.json.encode({"error": {"code": error.status, "message": error.message}})


class Gemini(Shaped):
    """generativelanguage.googleapis.com, whose errors are Google's, in a list."""

    def error(self, error: ProviderError, request_id: str) -> bytes:  # noqa: ARG002 the id is in a header only
        detail: dict[str, object] = {"code": error.status, "message": error.message, "status": "INVALID_ARGUMENT"}
        if error.code == "API_KEY_INVALID":
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code}
            detail["details"] = [info | {"domain": "googleapis.com"}]
        return msgspec.json.encode([{"error": detail}])


class Mantle(Shaped):
    """bedrock-mantle.{region}.api.aws, which has AWS's own id of a request beside the dialect's."""

    def headers(self, request_id: str) -> Headers:
        return [*super().headers(f"req_{request_id}"), (b"x-amzn-requestid", request_id.encode())]


class AzureAccount(Shaped):
    """One Azure account, which takes its own Key1 and Key2 and nothing else, as `api-key` or as a bearer.

    learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (the v1 API).
    """

    def __init__(self, account: str) -> None:
        super().__init__(f"azure/{account}")

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = headers.get(b"api-key", b"").strip() or bearer(headers)
        if not found:
            raise ProviderError(401, "Access denied due to missing subscription key.", code="401")
        return found


_DIALECTS: dict[str, Shaped] = {provider: Shaped(provider) for provider in ROOTS}
_DIALECTS["bedrock"] = Mantle("bedrock")
_DIALECTS["openrouter"] = OpenRouter("openrouter")
_DIALECTS["google"] = Gemini("google")


def dialect_of(path: str) -> tuple[OpenAI, str] | None:
    """Whose route a path is, and OpenAI's path for it; None for a path of nobody here."""
    if path.startswith(AZURE_ROOT):
        account, _, rest = path.removeprefix(AZURE_ROOT).partition("/")
        if account and rest.startswith("openai/v1/"):
            return AzureAccount(account), f"/openai/v1/{rest.removeprefix('openai/v1/')}"
        return None
    for provider, root in ROOTS.items():
        if path.startswith(root):
            return _DIALECTS[provider], f"/openai/v1/{path.removeprefix(root)}"
    return None
