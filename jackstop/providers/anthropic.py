"""Anthropic: routes, headers, address. Paths by anthropic 2.12."""

from __future__ import annotations

from jackstop.gate.meter.anthropic_messages import MESSAGES
from jackstop.gate.meter.free import COUNT_TOKENS
from jackstop.providers.route import DATA_WRITE, Feature, Table, metered, models

NAME = "anthropic"
BASE_URL = "https://api.anthropic.com"
# Beta flags that a meter knows: they add members or blocks that it reads, or change nothing that costs. Left out are
# those that add inferences or other models (advisor-tool, compact, mcp-client, server-side-fallback, fallback-credit,
# managed-agents, message-threads), containers (code-execution, skills), a dearer context (context-1m), and accounts
# (admin, user-profiles, workspaces). Source: anthropic 2.12, types/anthropic_beta_param.py; Claude Code's own flag by
# its requests.
BETAS = frozenset(
    flag.encode()
    for flag in [
        "cache-diagnosis-2026-04-07",
        "claude-code-20250219",
        "computer-use-2024-10-22",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-management-2025-06-27",
        "effort-2025-11-24",
        "extended-cache-ttl-2025-04-11",
        "fast-mode-2026-02-01",
        "files-api-2025-04-14",
        "fine-grained-tool-streaming-2025-05-14",
        "interleaved-thinking-2025-05-14",
        "message-batches-2024-09-24",
        "model-context-window-exceeded-2025-08-26",
        "output-128k-2025-02-19",
        "output-300k-2026-03-24",
        "pdfs-2024-09-25",
        "prompt-caching-2024-07-31",
        "prompt-caching-scope-2026-01-05",
        "structured-outputs-2025-11-13",
        "thinking-display-updates-2026-08-18",
        "thinking-token-count-2026-05-13",
        "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19",
        "web-fetch-2025-09-10",
        "web-search-2025-03-05",
    ]
)

_MODELS = models(NAME, "/v1/models", "anthropic")

TABLE = Table(
    NAME,
    BASE_URL,
    [
        metered(NAME, MESSAGES, "messages", "/v1/messages", "anthropic"),
        metered(NAME, COUNT_TOKENS, "count_tokens", "/v1/messages/count_tokens", "anthropic"),
        _MODELS,
    ],
    by_id=_MODELS,
    unmetered={
        "/v1/agents": Feature("agents", DATA_WRITE),
        "/v1/complete": Feature("completions"),
        "/v1/files": Feature("files", DATA_WRITE),
        "/v1/messages/batches": Feature("batches", "commit_spend"),
        "/v1/sessions": Feature("sessions"),
        "/v1/skills": Feature("skills", DATA_WRITE),
    },
    others={
        "/v1/organizations": Feature("organization", "key_admin", "read_config"),
    },
)
