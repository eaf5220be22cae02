"""OpenAI: routes, headers, address. Paths by github.com/openai/openai-openapi f85dbe2 and openai 3.54."""

from __future__ import annotations

from jackstop.gate.meter.free import MODERATIONS
from jackstop.gate.meter.openai_chat import CHAT
from jackstop.gate.meter.openai_embeddings import EMBEDDINGS
from jackstop.gate.meter.openai_responses import RESPONSES
from jackstop.providers.route import Route, Table

NAME = "openai"
BASE_URL = "https://api.openai.com"
# `OpenAI-Beta` flags that change nothing a meter reads. Codex sends the one; the other two select API versions.
BETAS = frozenset({b"responses=experimental", b"responses=v1"})

_MODELS = Route(
    provider=NAME,
    dialect="free",
    meter=None,
    endpoint="models",
    action_class="list_models",
    upstream_path="/v1/models",
    has_body=False,
)

TABLE = Table(
    NAME,
    BASE_URL,
    {
        ("POST", "/v1/chat/completions"): Route(
            NAME, CHAT.dialect, CHAT, "chat.completions", "inference", "/v1/chat/completions"
        ),
        ("POST", "/v1/responses"): Route(NAME, RESPONSES.dialect, RESPONSES, "responses", "inference", "/v1/responses"),
        ("POST", "/v1/embeddings"): Route(
            NAME, EMBEDDINGS.dialect, EMBEDDINGS, "embeddings", "inference", "/v1/embeddings"
        ),
        ("POST", "/v1/moderations"): Route(
            NAME, MODERATIONS.dialect, MODERATIONS, "moderations", "inference", "/v1/moderations"
        ),
        ("GET", "/v1/models"): _MODELS,
    },
    by_id={"/v1/models": _MODELS},
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
