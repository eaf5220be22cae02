"""What a path asks of a language model's server: OpenAI's, Anthropic's, Gemini's, Azure's and Bedrock's, Ollama's.

Facts: the vendors' API references; ollama `docs/api.md`; what scanners of open servers ask for: Kaspersky, 2026-05-12,
and "Operation Bizarre Bazaar" (Pillar Security), read on 2026-11-23. No part of a path is kept that is not in here, but
for a model's name where the path has one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

RECON = "recon"
"""The marker of what those ask who look for servers: an application has one of these paths at most."""


class Asked(NamedTuple):
    """`action` is the method with the path as it is known, alone where it is not."""

    action: str
    endpoint: str = ""
    action_class: str = ""
    marker: str = ""
    model: str = ""


_EXACT: dict[str, tuple[str, str, str]] = {
    "/v1/chat/completions": ("chat.completions", "inference", ""),
    "/v1/completions": ("completions", "inference", ""),
    "/v1/embeddings": ("embeddings", "inference", ""),
    "/v1/responses": ("responses", "inference", ""),
    "/v1/messages": ("messages", "inference", ""),
    "/v1/complete": ("completions", "inference", ""),
    "/v1/images/generations": ("images", "inference", ""),
    "/v1/images/edits": ("images", "inference", ""),
    "/v1/audio/speech": ("audio", "inference", ""),
    "/v1/audio/transcriptions": ("audio", "inference", ""),
    "/v1/rerank": ("rerank", "inference", ""),
    "/v1/moderations": ("moderations", "inference", ""),
    "/v1/messages/count_tokens": ("count_tokens", "inference", ""),
    "/chat/completions": ("chat.completions", "inference", ""),
    "/completions": ("completions", "inference", ""),
    "/embeddings": ("embeddings", "inference", ""),
    "/api/chat": ("chat.completions", "inference", ""),
    "/api/generate": ("completions", "inference", ""),
    "/api/embed": ("embeddings", "inference", ""),
    "/api/embeddings": ("embeddings", "inference", ""),
    "/v1/models": ("models", "list_models", RECON),
    "/models": ("models", "list_models", RECON),
    "/v1beta/models": ("models", "list_models", RECON),
    "/api/tags": ("models", "list_models", RECON),
    "/api/ps": ("models", "list_models", RECON),
    "/api/show": ("models", "list_models", RECON),
    "/api/version": ("version", "read_config", RECON),
    "/version": ("version", "read_config", RECON),
    "/model/info": ("model.info", "read_config", RECON),
    "/v1/model/info": ("model.info", "read_config", RECON),
    "/.well-known/mcp.json": ("mcp", "read_config", RECON),
    "/.well-known/agent.json": ("agent", "read_config", RECON),
    "/.cursor/rules": ("editor", "read_config", RECON),
    "/mcp": ("mcp", "read_config", RECON),
    "/sse": ("mcp", "read_config", RECON),
    "/v1/organizations": ("organizations", "identity", RECON),
    "/user/balance": ("billing", "identity", RECON),
    "/v1/dashboard/billing/subscription": ("billing", "identity", RECON),
    "/v1/dashboard/billing/usage": ("billing", "identity", RECON),
    "/key/info": ("keys", "identity", RECON),
    "/v1/batches": ("batches", "commit_spend", ""),
    "/v1/fine_tuning/jobs": ("fine_tuning", "commit_spend", ""),
    "/v1/files": ("files", "data_write", ""),
    "/key/generate": ("keys", "key_admin", ""),
    "/api/pull": ("models", "data_write", ""),
    "/api/push": ("models", "data_write", ""),
    "/api/create": ("models", "data_write", ""),
    "/api/copy": ("models", "data_write", ""),
    "/api/delete": ("models", "data_write", ""),
}
_NAME = r"([A-Za-z0-9][A-Za-z0-9._:@+-]{0,127})"
_NAMED = (
    (re.compile(rf"/v1(?:beta)?/models/{_NAME}:(?:stream)?[gG]enerateContent"), "generate_content", "inference"),
    (re.compile(rf"/v1(?:beta)?/models/{_NAME}:(?:batchE|e)mbedContents?"), "embeddings", "inference"),
    (re.compile(rf"/openai/deployments/{_NAME}/chat/completions"), "chat.completions", "inference"),
    (re.compile(rf"/openai/deployments/{_NAME}/embeddings"), "embeddings", "inference"),
    (re.compile(rf"/model/{_NAME}/(?:invoke|converse)(?:-with-response-stream|-stream)?"), "converse", "inference"),
    (re.compile(rf"/v1(?:beta)?/models/{_NAME}"), "models", "list_models"),
)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@lru_cache(maxsize=8192)
def asked_of(method: str, path: str) -> Asked:
    """What a request asks for, as far as its method and its path without a query say."""
    plain = _plain(path)
    found = _EXACT.get(plain)
    if found is not None:
        endpoint, kind, marker = found
        if method in _READS and kind in {"inference", "commit_spend", "data_write"}:
            kind = "data_read" if kind != "inference" else ""
        return Asked(f"{method} {plain}", endpoint, kind, marker)
    for pattern, endpoint, kind in _NAMED:
        named = pattern.fullmatch(plain)
        if named is not None:
            return Asked(f"{method} {plain.replace(named[1], '*')}", endpoint, kind, "", named[1])
    return Asked(method or "malformed")


def _plain(path: str) -> str:
    """The path without doubled and last slashes, and without the host that a proxy's request names."""
    if path.startswith(("http://", "https://")):
        path = "/" + path.split("/", 3)[3] if path.count("/") >= 3 else "/"
    return "/" + "/".join(part for part in path.split("/") if part)
