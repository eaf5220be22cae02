"""Record: what a request shows of its sender without its content; no sockets here.

Fingerprints are keyed BLAKE2b (RFC 7693) under control's fingerprint key, of texts whose dates and digits are masked
first, so that the same template with another date or number keeps its fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

USER_AGENT_CHARS = 200
_FINGERPRINT_BYTES = 8
# How much of a text counts for its fingerprint.
_TEXT_CHARS = 4_096
_CALENDAR = frozenset(
    b"""
    january february march april may june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
    """.split()
)
# Letters in lower case, every digit as #, and what stands between the parts of dates and numbers, or ends a word, as
# space.
_FOLDING = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;/_-!?", b"abcdefghijklmnopqrstuvwxyz##########         "
)

_FAMILIES = (
    ("openai/", "openai"),
    ("asyncopenai/", "openai"),
    ("azureopenai/", "openai-azure"),
    ("asyncazureopenai/", "openai-azure"),
    ("anthropic/", "anthropic"),
    ("asyncanthropic/", "anthropic"),
    ("anthropicbedrock/", "anthropic-bedrock"),
    ("claude-cli/", "claude-code"),
    ("codex", "codex"),
    ("litellm", "litellm"),
    ("langchain", "langchain"),
    ("sillytavern", "sillytavern"),
    ("google-genai", "google-genai"),
    ("boto3/", "boto3"),
    ("botocore/", "botocore"),
    ("aws-sdk", "aws-sdk"),
    ("python-requests/", "requests"),
    ("python-httpx", "httpx"),
    ("python-urllib", "urllib"),
    ("aiohttp", "aiohttp"),
    ("python/", "aiohttp"),
    ("axios/", "axios"),
    ("node-fetch", "node-fetch"),
    ("undici", "undici"),
    ("node", "node"),
    ("bun/", "bun"),
    ("deno/", "deno"),
    ("okhttp", "okhttp"),
    ("java", "java"),
    ("go-http-client", "go"),
    ("reqwest", "reqwest"),
    ("curl/", "curl"),
    ("wget/", "wget"),
    ("postmanruntime", "postman"),
    ("insomnia", "insomnia"),
    ("mozilla/", "browser"),
)


@lru_cache(maxsize=1024)
def client_family(user_agent: str, stainless_lang: str) -> str:
    """The kind of client, such as `openai-python` or `curl`; empty where nothing is known of it."""
    lowered = user_agent.lower()
    for start, family in _FAMILIES:
        if lowered.startswith(start):
            return f"{family}-{stainless_lang}" if stainless_lang and family in {"openai", "anthropic"} else family
    return "other" if lowered else ""


def user_agent_state(user_agent: bytes | None) -> str:
    """`absent`, `empty` or `present`."""
    return "absent" if user_agent is None else "present" if user_agent.strip() else "empty"


@lru_cache(maxsize=1024)
def header_order(names: bytes) -> str:
    """A short hash of the header names in the order in which the client sent them, joined by commas."""
    return hashlib.blake2s(names, digest_size=_FINGERPRINT_BYTES).hexdigest()


def referer_host(referer: bytes | None) -> str:
    """The host that a Referer or Origin names, without user, port, path or query."""
    if not referer:
        return ""
    found = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]{0,15}://(?:[^/@?#]*@)?([A-Za-z0-9.-]{1,253})", referer.decode("latin-1"))
    return found[1].lower() if found else ""


_APP_HEADERS = frozenset({b"http-referer", b"x-title"})
_EDGE_HEADERS = frozenset({b"cdn-loop", b"cf-ray", b"cf-visitor"})


def head_markers(first: Mapping[bytes, bytes], *, own_edge: bool) -> list[str]:
    """Signs of a reseller's proxy or of its buyers' clients in the first value of each header.

    `own_edge` says that proxies of the user's own stand before the gate, which leave their headers in any request.
    Sources: cg-dot/oai-reverse-proxy 824adfb, SillyTavern ba6f7b7.
    """
    found = []
    if not _APP_HEADERS.isdisjoint(first):
        found.append("openrouter_app")
    if any(b"sillytavern" in first.get(name, b"").lower() for name in (b"x-title", b"http-referer", b"referer")):
        found.append("sillytavern")
    if b"x-risu-tk" in first:
        found.append("risu")
    if first.get(b"origin") == b"" and first.get(b"referer") == b"":
        found.append("empty_origin")
    if not own_edge and not _EDGE_HEADERS.isdisjoint(first):
        found.append("edge_residue")
    return found


def fingerprint(key: bytes, text: str) -> str:
    """The keyed fingerprint of one text; empty for an empty text or without a key."""
    return _mac(key, _folded(text)) if text and key else ""


_remembered = lru_cache(maxsize=512)(fingerprint)


def standing_fingerprint(key: bytes, text: str) -> str:
    """As `fingerprint`, remembered: for texts that an application sends with each of its requests."""
    return _remembered(key, text[:_TEXT_CHARS])


def exact_fingerprint(key: bytes, text: str) -> str:
    """The keyed fingerprint of a name, unmasked: an end user's number is what tells that user apart."""
    return _mac(key, text.encode("utf-8", "replace")) if text and key else ""


def _folded(text: str) -> bytes:
    """The start of a text in lower case, its dates and numbers as `#`, without punctuation and spacing of its own."""
    words = (folded := text[:_TEXT_CHARS].encode("utf-8", "replace").translate(_FOLDING)).split()
    if b"#" not in folded:  # every date has a digit
        return b" ".join(words)
    if not _CALENDAR.isdisjoint(words):
        words = [b"#" if word in _CALENDAR else word for word in words]
    found = b" ".join(words)
    while b"##" in found:
        found = found.replace(b"##", b"#")
    while b"# #" in found:
        found = found.replace(b"# #", b"#")
    return found


def _mac(key: bytes, data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_FINGERPRINT_BYTES, key=key).hexdigest()
