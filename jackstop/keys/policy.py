"""What a key may do: the policy, and the limits along a request's path, as values.

Rows go over control's socket as arrays, without the names of their fields: a new field comes last, with a default.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from jackstop.settings import Mode

KeyState = Literal["live", "quarantined", "revoked"]
LimitKind = Literal["usd", "tokens", "requests", "rate", "concurrency"]
Window = Literal["hour", "day", "month", "life"]
Unit = Literal["requests", "nusd"]


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a key may do. An empty list allows everything of its kind.

    `models` are shell-style globs. `networks` are CIDR blocks. `hours` are UTC spans such as
    `mon-fri 08:00-18:00`. `max_output` is a ceiling in tokens on the output cap. `mode` is None where
    the rules that a person set enforce; `observe` admits and records what would have been refused.
    With `respond` at `alert`, what Jackstop does of itself about this key is to alert.
    """

    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    credential: str | None = None
    max_output: int | None = None
    clamp: bool = False
    allow_unbounded: bool = False
    on_disconnect: Literal["drain", "close"] | None = None
    mode: Mode | None = None
    respond: Literal["act", "alert"] | None = None


class KeyRow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="key"):
    """A key as the gates know it. `digest` is HMAC-SHA256 of the whole key under the vault's key pepper.

    `retiring` are the digests of rotated keys with the microsecond until which each is still accepted.
    `throttle_per_min` is the request rate of a throttled key, None for one that is not throttled.
    """

    id: str
    digest: bytes
    owner: str
    team: str
    name: str
    state: KeyState = "live"
    expires_us: int | None = None
    canary: bool = False
    in_case: bool = False
    throttle_per_min: int | None = None
    retiring: tuple[tuple[bytes, int], ...] = ()
    policy: Policy = Policy()


class CredentialRow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="credential"):
    """A credential as the gates know it. `secret` is in clear only in memory and on control's socket."""

    name: str
    provider: str
    base_url: str
    secret: bytes
    state: Literal["active", "contained", "retired"] = "active"
    exclusive: bool = False
    provider_key_id: str = ""

    def __repr__(self) -> str:
        return f"CredentialRow(name={self.name!r}, provider={self.provider!r}, state={self.state!r})"


class LimitRow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="limit"):
    """One limit. `scope` is `org`, `team:N`, `owner:EMAIL`, `key:ID` or `credential:NAME`.

    `amount` is nano-dollars, tokens or requests per `window` for a budget; requests per `per_s` seconds
    for a rate (which is also its burst); permits for concurrency. `deleted` takes the limit away. A rate in the unit
    `nusd` is one of money: nano-dollars per `per_s` seconds.
    """

    id: int
    scope: str
    kind: LimitKind
    amount: int
    window: Window = "life"
    per_s: int = 60
    mode: Mode = "enforce"
    deleted: bool = False
    unit: Unit = "requests"


class GapRow(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="gap"):
    """A provider, model and feature whose bound was once too low: held at the context window until mended."""

    provider: str
    model: str
    feature: str
    mended: bool = False


Row = KeyRow | CredentialRow | LimitRow | GapRow
