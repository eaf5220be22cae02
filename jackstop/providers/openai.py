"""OpenAI: routes, headers, address. Paths by github.com/openai/openai-openapi f85dbe2 and openai 3.54."""

from __future__ import annotations

from jackstop.gate.meter.free import MODERATIONS
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES
from jackstop.providers.route import DATA_WRITE, Feature, Table, metered, models

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
    unmetered={
        "/v1/assistants": Feature("assistants", DATA_WRITE),
        "/v1/audio": Feature("audio"),
        "/v1/batches": Feature("batches", "commit_spend"),
        "/v1/chatkit": Feature("chatkit"),
        "/v1/completions": Feature("completions"),
        "/v1/containers": Feature("containers", DATA_WRITE),
        "/v1/evals": Feature("evals", "commit_spend"),
        "/v1/files": Feature("files", DATA_WRITE),
        "/v1/fine_tuning": Feature("fine_tuning", "commit_spend"),
        "/v1/images": Feature("images"),
        "/v1/realtime": Feature("realtime"),
        "/v1/responses/compact": Feature("responses"),
        "/v1/responses/input_tokens": Feature("responses"),
        "/v1/skills": Feature("skills", DATA_WRITE),
        "/v1/threads": Feature("threads"),
        "/v1/uploads": Feature("uploads", DATA_WRITE),
        "/v1/vector_stores": Feature("vector_stores", DATA_WRITE),
        "/v1/videos": Feature("videos"),
    },
    others={
        "/v1/chat/completions": Feature("chat.completions", DATA_WRITE),
        "/v1/conversations": Feature("conversations", DATA_WRITE),
        "/v1/dashboard/billing": Feature("billing", "identity", "identity"),
        "/v1/me": Feature("identity", "identity", "identity"),
        "/v1/models": Feature("models", DATA_WRITE, "list_models"),
        "/v1/organization": Feature("organization", "key_admin", "read_config"),
        "/v1/organizations": Feature("organizations", "identity", "identity", probe="organizations"),
        "/v1/responses": Feature("responses", DATA_WRITE),
    },
)
