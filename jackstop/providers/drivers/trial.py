"""Whether a secret works: the cheapest call that a provider has, judged by its status and its documented errors."""

from __future__ import annotations

from collections.abc import Iterable

from jackstop.providers.drivers.calls import bearing, exchange, to_anthropic
from jackstop.providers.drivers.driver import CallFailed, Verdict
from jackstop.secret import Secret

Refusal = tuple[int, bytes]
"""A status, and words that its body has then; none for any body."""

REFUSED: tuple[Refusal, ...] = ((401, b""),)
"""403 says that a key is known but may not do this: a restricted one, which may still make calls."""

XAI: tuple[Refusal, ...] = (*REFUSED, (400, b"Incorrect API key"), (400, b"Incorrect%20API%20key"))
"""xAI answers 400 "Incorrect API key provided" (github continuedev/continue#10778, i-am-bee/beeai-framework#447)."""

AWS: tuple[Refusal, ...] = (
    *REFUSED,
    (403, b"UnrecognizedClientException"),
    (403, b"InvalidClientTokenId"),
    (403, b"make sure your API Key is valid"),
    (403, b"token included in the request is invalid"),
)
"""AWS answers 403 to what it does not know, with these codes ("Common Error Types" of its API references) or words
(github ai4s-research/open-science#53, Portkey-AI/gateway#440). Other 403s are of keys that exist.
"""

GOOGLE: tuple[Refusal, ...] = (*REFUSED, (403, b""), (400, b"API_KEY_INVALID"))
"""Google answers 400 to a key that is not valid, and gives this reason (google.rpc.ErrorInfo)."""


def list_models(
    provider: str, base_url: str, secret: Secret, ca: str = "", *, refused: Iterable[Refusal] = REFUSED
) -> Verdict:
    """By the list of models, which is free: OpenAI's `GET /v1/models` and Anthropic's of the same path.

    `provider` is the credential's, and so says in which header the secret goes.
    """
    headers = to_anthropic(secret) if provider == "anthropic" else bearing(secret)
    return judged("GET", f"{base_url}/v1/models", headers, ca=ca, refused=refused)


def judged(
    method: str, url: str, headers: dict[str, str], *, ca: str = "", refused: Iterable[Refusal] = REFUSED
) -> Verdict:
    """`works` for 2xx, `refused` for the provider's own refusals, `unsure` for everything else."""
    try:
        status, said, _ = exchange(method, url, headers, ca=ca)
    except CallFailed:
        return "unsure"
    if 200 <= status < 300:
        return "works"
    return "refused" if any(status == each and words in said for each, words in refused) else "unsure"
