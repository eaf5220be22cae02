"""DeepSeek: routes, headers, address. Paths by https://api-docs.deepseek.com, read 2026-11-23."""

from __future__ import annotations

from jackstop.gate.meter.deepseek import CHAT, MESSAGES
from jackstop.providers.route import DATA_WRITE, Feature, Table, metered, models

NAME = "deepseek"
BASE_URL = "https://api.deepseek.com"

_CHAT_PATHS = ("/chat/completions", "/v1/chat/completions", "/beta/chat/completions", "/beta/v1/chat/completions")
_MODEL_PATHS = ("/models", "/v1/models")


TABLE = Table(
    NAME,
    BASE_URL,
    [
        *(metered(NAME, CHAT, "chat.completions", path) for path in _CHAT_PATHS),
        metered(NAME, MESSAGES, "messages", "/anthropic/v1/messages", "anthropic"),
        *(models(NAME, path) for path in _MODEL_PATHS),
    ],
    unmetered={
        "/anthropic/v1/messages/batches": Feature("batches", "commit_spend"),
        "/anthropic/v1/messages/count_tokens": Feature("count_tokens"),
        "/beta/completions": Feature("completions"),
        "/completions": Feature("completions"),
        "/responses": Feature("responses"),
        "/v1/completions": Feature("completions"),
        "/v1/responses": Feature("responses"),
    },
    others={
        "/anthropic/v1/files": Feature("files", DATA_WRITE),
        "/user/balance": Feature("billing", "identity", "identity", probe="balance"),
    },
)
