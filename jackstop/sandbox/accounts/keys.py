"""The keys that practice providers have issued or were told of, and whether a secret still answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from jackstop.sandbox.bill import fingerprint
from jackstop.sandbox.errors import ProviderError
from jackstop.secret import Secret

State = Literal["active", "disabled", "deleted", "expired"]

_INCORRECT = {
    "anthropic": "invalid x-api-key",
    "deepseek": "Authentication Fails (governor)",
    "openrouter": "User not found.",
}
_OPENAI_REQUEST_SCOPES = frozenset({"api.all", "api.model.request", "model.request"})
_OPENAI_READ_SCOPES = _OPENAI_REQUEST_SCOPES | {"api.all.read", "api.model.read"}


class Key(msgspec.Struct, eq=False):
    """A key at one provider. Times are UTC microseconds.

    `ended_us` is when it was made useless; it answers a little longer. `scopes` None means all permissions. `details`
    holds what only its provider knows of it.
    """

    provider: str
    id: str
    name: str
    secret: Secret
    fingerprint: str
    place: dict[str, str]
    created_us: int
    expires_us: int | None = None
    last_used_us: int | None = None
    state: Literal["active", "disabled", "deleted"] = "active"
    ended_us: int | None = None
    scopes: list[str] | None = None
    details: dict[str, object] = {}

    def hint(self, head: int, tail: int) -> tuple[str, str]:
        """The beginning and the end of its secret, at most a quarter each."""
        text = self.secret.reveal().decode()
        quarter = len(text) // 4
        return text[: min(head, quarter)], text[len(text) - min(tail, quarter) :]

    def state_at(self, now_us: int) -> State:
        """Its state, in which an expiry shows as soon as it is due."""
        if self.state == "active" and self.expires_us is not None and self.expires_us <= now_us:
            return "expired"
        return self.state

    def answers(self, now_us: int, linger_us: int) -> bool:
        """Whether a request with its secret is still served."""
        ends = [moment for moment in (self.ended_us, self.expires_us) if moment is not None]
        return not ends or now_us < min(ends) + linger_us

    def end(self, state: Literal["disabled", "deleted"], now_us: int) -> None:
        """Make it useless. One that was so already keeps the moment at which that began."""
        self.state = state
        self.ended_us = self.ended_us or now_us

    def revive(self) -> None:
        """Undo a disabling."""
        self.state, self.ended_us = "active", None


class KeyRing:
    """All keys of all providers, found by their secret's fingerprint, by id, or by place."""

    def __init__(self) -> None:
        self._all: list[Key] = []
        self._of_secret: dict[tuple[str, str], Key] = {}
        self._of_id: dict[tuple[str, str], Key] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._all)

    def add(self, key: Key) -> Key:
        """Take a key in. Raises ProviderError when its provider has that secret already."""
        if (key.provider, key.fingerprint) in self._of_secret:
            raise ProviderError(409, "sandbox: this provider has issued that secret already")
        self._all.append(key)
        self._of_secret[key.provider, key.fingerprint] = key
        self._of_id[key.provider, key.id] = key
        return key

    def find(self, provider: str, key_id: str) -> Key | None:
        """The key of this id, also when it was deleted."""
        return self._of_id.get((provider, key_id))

    def of(self, provider: str, **place: str) -> list[Key]:
        """The keys of a place that were not deleted, oldest first."""
        return [
            key
            for key in self._all
            if key.provider == provider
            and key.state != "deleted"
            and all(key.place.get(name) == value for name, value in place.items())
        ]

    def known(self, provider: str, secret_fingerprint: str) -> Key | None:
        """The key with this secret, whatever its state."""
        return self._of_secret.get((provider, secret_fingerprint))


def refuse_secret(provider: str) -> ProviderError:
    """The provider's words for a key that does not count, as `jackstop.providers.drivers.trial` has their sources."""
    if provider == "google":
        return ProviderError(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
    if provider == "xai":
        return ProviderError(400, "Incorrect API key provided.", code="Client specified an invalid argument")
    if provider == "bedrock":
        return ProviderError(403, "Authentication failed: Please make sure your API Key is valid.")
    return ProviderError(401, _INCORRECT.get(provider, "Incorrect API key provided."))


def check_scopes(key: Key, endpoint: str) -> None:
    """Raises ProviderError when a restricted key may not do this.

    OpenAI: platform.openai.com's restricted keys. xAI: "by default, API keys don't have any permissions"
    (docs.x.ai/developers/rest-api-reference/management/auth, read 2026-11-23).
    """
    if key.scopes is None:
        return
    if key.provider == "openai":
        enough = _OPENAI_READ_SCOPES if endpoint == "models" else _OPENAI_REQUEST_SCOPES
        if enough.isdisjoint(key.scopes):
            raise ProviderError(
                403,
                "You have insufficient permissions for this operation. Missing scopes: model.request.",
                kind="invalid_request_error",
                code="missing_scope",
            )
    elif key.provider == "xai":
        kinds = {scope.rpartition(":")[0] for scope in key.scopes}
        if not {"api-key:endpoint", "api-key:model"} <= kinds:
            raise ProviderError(403, "The API key has no permission for this endpoint or model.", code="forbidden")


def new_key(
    provider: str,
    key_id: str,
    name: str,
    secret: str,
    place: Mapping[str, str],
    now_us: int,
    expires_us: int | None = None,
) -> Key:
    """A key that was just made."""
    return Key(
        provider=provider,
        id=key_id,
        name=name,
        secret=Secret(secret),
        fingerprint=fingerprint(secret),
        place=dict(place),
        created_us=now_us,
        expires_us=expires_us,
        details={},
    )
