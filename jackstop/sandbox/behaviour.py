"""How a practice provider is told to behave: directives in a prompt, and defaults set over /_sandbox/mode.

A directive stands anywhere in a request's text: `[[sandbox: out=200 pace_ms=5 cut_after=7]]`. It overrides the mode of
its credential, which overrides the mode of all. Every value is an integer; 1 switches on what has no amount. When a
request carries several directives, the last one to name a field wins.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from jackstop.sandbox.errors import ProviderError

_DIRECTIVE = re.compile(rb"\[\[sandbox:([^\]]*)\]\]")
_LIMIT = 10_000_000


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one answer is to be like. -1 and 0 leave a field at what the provider does by itself."""

    out: int = -1  # output tokens of each choice, at most the cap
    over_cap: int = 0  # this many tokens beyond the cap
    reasoning: int = -1  # of the output, this many tokens of reasoning
    cached: int = 0  # of the input, this many tokens read from the cache
    cache_write: int = 0  # of the input, this many tokens written to the cache
    cache_write_1h: int = 0  # Anthropic: of the input, this many tokens written to the cache for an hour
    searches: int = 0  # web searches made, where the request offers the tool
    tool: int = 0  # 1: call the first tool that the request offers
    latency_ms: int = 0  # wait this long before the first byte
    pace_ms: int = 0  # wait this long before each chunk of a stream
    chunk: int = 4  # tokens in each chunk of a stream
    cut_after: int = -1  # close the connection after this many chunks (not streaming: after half of the body)
    hang: int = 0  # 1: never answer
    hang_after: int = -1  # fall silent after this many chunks, connection open
    error_after: int = -1  # report an error within the stream after this many chunks
    status: int = 0  # answer with this HTTP status, in the provider's own error shape
    retry_after: int = -1  # seconds in the Retry-After header of such an answer
    half_headers: int = 0  # 1: close the connection in the middle of the response's headers
    garbage: int = 0  # 1: a body that is not JSON, a stream that is not one of events
    no_usage: int = 0  # 1: leave the usage report out
    linger: int = 0  # go on for this many tokens after noticing that the client is gone


_FIELDS = frozenset(Behaviour.__struct_fields__)
PLAIN = Behaviour()


class Modes:
    """The defaults in force, for all credentials and for single ones."""

    def __init__(self) -> None:
        self._all: dict[str, int] = {}
        self._of: dict[str, dict[str, int]] = {}

    def set(self, fields: dict[str, Any]) -> None:
        """Replace the mode of all, or of the `credential` that is named among the fields.

        Raises ProviderError when a field is unknown or no integer.
        """
        fields = dict(fields)
        credential = fields.pop("credential", None)
        for name, value in fields.items():
            _check(name, value)
        if credential is None:
            self._all = fields
        elif fields:
            self._of[str(credential)] = fields
        else:
            self._of.pop(str(credential), None)

    def clear(self) -> None:
        """Back to how a provider behaves by itself."""
        self._all = {}
        self._of = {}

    def shown(self) -> dict[str, Any]:
        """The modes in force, as they were set."""
        return {"all": self._all, "credentials": self._of}

    def behaviour(self, credential: str, body: bytes) -> Behaviour:
        """What this request is to meet. Raises ProviderError when its directive is wrong."""
        if not self._all and not self._of and b"[[sandbox:" not in body:
            return PLAIN
        fields = {**self._all, **self._of.get(credential, {})}
        for match in _DIRECTIVE.finditer(body):
            for word in match[1].decode("utf-8", "replace").split():
                name, _, amount = word.partition("=")
                value = int(amount) if amount.isascii() and amount.isdigit() else amount
                _check(name, value)
                fields[name] = int(value)
        return Behaviour(**fields)


def _check(name: str, value: object) -> None:
    if name not in _FIELDS:
        known = " ".join(Behaviour.__struct_fields__)
        raise ProviderError(400, f"sandbox: no such field {name!r} in a directive or mode; known are: {known}")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LIMIT:
        raise ProviderError(400, f"sandbox: {name} wants an integer from 0 to {_LIMIT}")
    if name == "status" and value and not 400 <= value <= 599:
        raise ProviderError(400, "sandbox: status wants an HTTP error, 400 to 599")
    if name == "chunk" and value < 1:
        raise ProviderError(400, "sandbox: chunk wants at least one token")
