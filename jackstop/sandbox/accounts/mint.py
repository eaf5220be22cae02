"""Identifiers and secrets in each provider's own form, so that what recognises real ones recognises these."""

from __future__ import annotations

import base64
import secrets
import string
import uuid

_ALNUM = string.ascii_letters + string.digits


def ident(prefix: str, length: int = 24) -> str:
    """An identifier that no other has."""
    return prefix + "".join(secrets.choice(_ALNUM) for _ in range(length))


def _text(length: int, alphabet: str = _ALNUM) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def secret(provider: str) -> str:
    """A secret in the form that `reference` scanners know of this provider; plain text for one without a form."""
    made = {
        "openai": lambda: f"sk-svcacct-{_text(74)}T3BlbkFJ{_text(74)}",
        "anthropic": lambda: f"sk-ant-api03-{_text(93)}AA",
        "deepseek": lambda: f"sk-{secrets.token_hex(16)}",
        "openrouter": lambda: f"sk-or-v1-{secrets.token_hex(32)}",
        "xai": lambda: f"xai-{_text(80)}",
        "groq": lambda: f"gsk_{_text(52)}",
        "together": lambda: f"tgp_v1_{_text(43)}",
        "mistral": lambda: _text(32),
        "azure": lambda: f"{_text(52)}JQQJ99{_text(1)}B{_text(12)}AAABACOG{_text(4)}",
        "google": lambda: f"AIza{_text(35)}",
        "bedrock": lambda: "ABSK" + base64.b64encode(_text(96).encode()).decode(),
    }
    return made.get(provider, lambda: _text(40))()


def token(prefix: str) -> str:
    """A short-lived access token."""
    return f"{prefix}{secrets.token_urlsafe(48)}"


def number(length: int) -> str:
    """Digits, not beginning with a zero."""
    return secrets.choice("123456789") + _text(length - 1, string.digits)


def hexadecimal(length: int) -> str:
    """Hexadecimal digits."""
    return _text(length, "0123456789abcdef")


def guid() -> str:
    """A random UUID."""
    return str(uuid.uuid4())
