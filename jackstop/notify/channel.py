"""What a channel is to those who send on it, and how its secret is sealed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from jackstop.errors import UserError
from jackstop.secret import Secret
from jackstop.store.tables import channels
from jackstop.vault.envelope import Vault

CHANNEL = "channel"
"""The vault's purpose for these secrets."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One way out. What is secret of it (a URL, a token, a password) is in `secret`, empty where there is none."""

    name: str
    kind: str
    options: dict[str, str]
    secret: Secret


class Undelivered(Exception):
    """A receiver did not take a message.

    `problem` is for people and holds nothing secret. `rejected` says that the message itself is refused, so that
    sending it again helps little; `after_s` is how long the receiver asks to be left alone.
    """

    def __init__(self, problem: str, *, rejected: bool = False, after_s: int = 0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.rejected = rejected
        self.after_s = after_s


def place(name: str, kind: str, options: dict[str, Any]) -> str:
    """What a channel's blob is bound to: with another address in its row it does not open."""
    return json.dumps([name, kind, options], separators=(",", ":"), sort_keys=True)


def seal_secret(vault: Vault, name: str, kind: str, options: dict[str, Any], secret: Secret) -> bytes | None:
    """The blob for `channels.secret`, None for an empty secret."""
    return vault.seal(CHANNEL, place(name, kind, options), secret) if secret else None


def unseal_secret(vault: Vault, name: str, kind: str, options: dict[str, Any], blob: bytes | None) -> Secret:
    """The channel's secret. Raises UserError that names the channel when it cannot be opened."""
    if blob is None:
        return Secret(b"")
    try:
        return vault.unseal(CHANNEL, place(name, kind, options), blob)
    except UserError as error:
        raise UserError(f"channel {name}: {error.problem}", error.remedy) from None


def rewrap_channels(conn: Connection, vault: Vault) -> int:
    """Put every channel's secret under the current key-encryption key; how many were not yet."""
    count = 0
    for row in conn.execute(select(channels).where(channels.c.secret.is_not(None))).all():
        fresh = vault.rewrap(CHANNEL, place(row.name, row.kind, row.options), row.secret)
        if fresh is not None:
            conn.execute(update(channels).where(channels.c.name == row.name).values(secret=fresh))
            count += 1
    return count
