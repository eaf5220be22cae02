"""A finding: what one detection says of one entity in one window."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

if TYPE_CHECKING:
    from sqlalchemy import Connection

Severity = Literal["info", "low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the least to the most severe. From `high` on somebody is woken up."""


class Finding(msgspec.Struct, frozen=True):
    """What one detection found. Times are UTC microseconds.

    `uid` is the same however often the same thing is found: findings are taken once, and grow. `entity` is `key:ID`,
    `owner:EMAIL`, `team:N`, `credential:NAME`, `account:NAME` (a provider's), `principal:NAME` (in a cloud),
    `provider_key:ID`, `network:NET` or `org`. Findings with the same `cause`, if it is not empty, belong into one case
    whatever their entities are. `response` is what the detection asks for, empty for its severity's. `hunted`: it was
    found in logs from elsewhere, which may be old or another's, so nothing is done about it by itself.
    """

    uid: str
    detection: str
    severity: Severity
    entity: str
    first_seen: int
    last_seen: int
    count: int
    evidence: dict[str, str | int | None] = {}
    sources: tuple[str, ...] = ("gate",)
    cause: str = ""
    response: str = ""
    hunted: bool = False


Report = Callable[["Connection", Finding], None]
"""Takes in what Jackstop finds at its own work, in the transaction of that work."""


def uid_of(detection: str, entity: str, window_us: int) -> str:
    """The identity of what `detection` says of `entity` in the window that starts at `window_us`."""
    return hashlib.blake2b(f"{detection}\n{entity}\n{window_us}".encode(), digest_size=12).hexdigest()
