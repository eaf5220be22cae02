"""Whether a secret works: the cheapest call that a provider has, judged by its status alone."""

from __future__ import annotations

from jackstop.providers.drivers.calls import exchange
from jackstop.providers.drivers.driver import CallFailed, Verdict
from jackstop.secret import Secret

_REFUSED = frozenset({401})
"""403 says that a key is known but may not do this: a restricted one, which may still make calls."""
_ANTHROPIC_VERSION = "2023-06-01"


def list_models(provider: str, base_url: str, secret: Secret, ca: str = "") -> Verdict:
    """By the list of models, which is free: OpenAI's `GET /v1/models` and Anthropic's of the same path.

    `provider` is the credential's, and so says in which header the secret goes.
    """
    text = secret.reveal().decode()
    if provider == "anthropic":
        headers = {"x-api-key": text, "anthropic-version": _ANTHROPIC_VERSION}
    else:
        headers = {"Authorization": f"Bearer {text}"}
    return judged("GET", f"{base_url}/v1/models", headers, ca=ca)


def judged(method: str, url: str, headers: dict[str, str], *, ca: str = "") -> Verdict:
    """`works` for 2xx, `refused` for 401, `unsure` for everything else."""
    try:
        status, _, _ = exchange(method, url, headers, ca=ca)
    except CallFailed:
        return "unsure"
    if 200 <= status < 300:
        return "works"
    return "refused" if status in _REFUSED else "unsure"
