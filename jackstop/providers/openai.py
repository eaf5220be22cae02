"""OpenAI: routes, headers, address. Paths by github.com/openai/openai-openapi f85dbe2 and openai 3.54."""

from __future__ import annotations

from jackstop.gate.meter.free import MODERATIONS
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES
from jackstop.providers.route import Table, metered, models

NAME = "openai"
BASE_URL = "https://api.openai.com"
# `OpenAI-Beta` flags that change nothing a meter reads. Codex sends the one; the other two select API versions.
BETAS = frozenset({b"responses=experimental", b"responses=v1"})

_MODELS = models(NAME, "/v1/models")

TABLE = Table(
    NAME,
    BASE_URL,
    [
        metered(NAME, CHAT, "chat.completions", "/v1/chat/completions"),
        metered(NAME, RESPONSES, "responses", "/v1/responses"),
        metered(NAME, EMBEDDINGS, "embeddings", "/v1/embeddings"),
        metered(NAME, MODERATIONS, "moderations", "/v1/moderations"),
        _MODELS,
    ],
    by_id=_MODELS,
    unmetered=(
        "/v1/assistants",
        "/v1/audio",
        "/v1/batches",
        "/v1/chatkit",
        "/v1/completions",
        "/v1/containers",
        "/v1/evals",
        "/v1/files",
        "/v1/fine_tuning",
        "/v1/images",
        "/v1/realtime",
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
        "/v1/skills",
        "/v1/threads",
        "/v1/uploads",
        "/v1/vector_stores",
        "/v1/videos",
    ),
)
