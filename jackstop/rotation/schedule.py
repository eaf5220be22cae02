"""When a credential is due for a new secret: every so often, not all on the same day."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, Row, select

from jackstop.cases.turn import Turn
from jackstop.clock import US_PER_S
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.rotation import intents
from jackstop.settings import RotationSettings
from jackstop.store.tables import credentials

NEVER = "never"
_SPREAD = 10
"""One part in so many of the interval by which it may be shorter."""


def check(rules: RotationSettings) -> None:
    """Raises UserError for settings that could not be followed when it matters."""
    for name, text in (("every", rules.every), ("expires", rules.expires)):
        try:
            every_us(text)
        except UserError as error:
            raise UserError(f"rotation.{name}: {error.problem}", error.remedy, 2) from None
    if 0 < every_us(rules.expires) <= every_us(rules.every):
        remedy = "make rotation.expires longer than rotation.every"
        raise UserError("keys would expire before they are rotated", remedy, 2)


def every_us(text: str) -> int:
    """An interval in microseconds, 0 for `never` and nothing. Raises UserError."""
    return 0 if text in {"", NEVER} else parse_span_us(text)


def _interval_us(credential: Row[Any], rules: RotationSettings) -> int:
    return every_us(rules.every) if credential.rotate_every_us is None else int(credential.rotate_every_us)


def life_s(credential: Row[Any], rules: RotationSettings) -> int | None:
    """How long a new key of the credential may live, None for ever: one that is never rotated, or later, must not end
    by itself.
    """
    expires_us = every_us(rules.expires)
    return expires_us // US_PER_S if expires_us > _interval_us(credential, rules) > 0 else None


def due_us(credential: Row[Any], rules: RotationSettings) -> int | None:
    """When the credential is due, None for never. The same whenever it is asked, and different for each credential."""
    interval_us = _interval_us(credential, rules)
    if not interval_us:
        return None
    last_us = int(credential.rotated_us or credential.created_us)
    drawn = int.from_bytes(hashlib.blake2b(f"{credential.name}\n{last_us}".encode(), digest_size=8).digest(), "big")
    return last_us + interval_us - drawn % (interval_us // _SPREAD + 1)


def due(conn: Connection, rules: RotationSettings, now_us: int) -> list[Row[Any]]:
    """The credentials that are due: those whose driver makes keys, and that nothing is done to."""
    linked = select(credentials).where(credentials.c.administration != "", credentials.c.state == "active")
    found = []
    for credential in conn.execute(linked).all():
        at_us = due_us(credential, rules)
        if at_us is not None and at_us <= now_us and intents.of_credential(conn, credential.name) is None:
            driver = intents.driver_of(conn, credential)
            if driver is not None and "create" in driver.verbs:
                found.append(credential)
    return found


def begin_due(turn: Turn) -> None:
    """Begin the rotations that are due."""
    for credential in due(turn.conn, turn.settings.rotation, turn.now_us):
        intents.begin(turn, credential, "rotate", "schedule")
