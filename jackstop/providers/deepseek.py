"""DeepSeek: routes, headers, address. Paths by https://api-docs.deepseek.com, read 2026-11-23."""

from __future__ import annotations

from jackstop.gate.meter.deepseek import CHAT, MESSAGES
from jackstop.providers.route import Route, Table

NAME = "deepseek"
BASE_URL = "https://api.deepseek.com"

_CHAT_PATHS = ("/chat/completions", "/v1/chat/completions", "/beta/chat/completions", "/beta/v1/chat/completions")
_MODEL_PATHS = ("/models", "/v1/models")


def _models(path: str) -> Route:
    return Route(
        provider=NAME,
        dialect="free",
        meter=None,
        endpoint="models",
        action_class="list_models",
        upstream_path=path,
        has_body=False,
    )


TABLE = Table(
    NAME,
    BASE_URL,
    {
        **{
            ("POST", path): Route(NAME, CHAT.dialect, CHAT, "chat.completions", "inference", path)
            for path in _CHAT_PATHS
        },
        ("POST", "/anthropic/v1/messages"): Route(
            NAME, MESSAGES.dialect, MESSAGES, "messages", "inference", "/anthropic/v1/messages", "anthropic"
        ),
        **{("GET", path): _models(path) for path in _MODEL_PATHS},
    },
    by_id={},
    unmetered=(
        "/anthropic/v1/messages",
        "/beta/completions",
        "/completions",
        "/responses",
        "/v1/completions",
        "/v1/responses",
    ),
)
