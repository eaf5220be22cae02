"""Who is signed in to answer a question or bring a key: sessions that a link begins, in memory, for half an hour.

A mail scanner follows links, and does not press buttons: the link alone shows nothing and begins nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from jackstop.clock import US_PER_S, Clock
from jackstop.secret import Secret

COOKIE = "jackstop_visit"
VISIT_S = 1_800
MAX_VISITS = 1_000
_TOKEN_BYTES = 32


class Visits:
    """Sessions by the digest of their cookie. Each is for what one link opens and nothing else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._visits: dict[bytes, tuple[int, Secret]] = {}
        self._form_key = secrets.token_bytes(_TOKEN_BYTES)

    def begin(self, token: str) -> str:
        """Sign in whoever holds a link's token; the cookie's value."""
        now = self._clock.now_us()
        for digest in [digest for digest, (until_us, _) in self._visits.items() if until_us <= now]:
            del self._visits[digest]
        while len(self._visits) >= MAX_VISITS:
            del self._visits[next(iter(self._visits))]
        cookie = secrets.token_urlsafe(_TOKEN_BYTES)
        self._visits[_digest(cookie)] = now + VISIT_S * US_PER_S, Secret(token.encode())
        return cookie

    def token(self, cookie: str | None) -> str | None:
        """The token of what this visitor may answer, None for nobody."""
        found = self._visits.get(_digest(cookie)) if cookie else None
        if found is None or found[0] <= self._clock.now_us():
            return None
        return found[1].reveal().decode()

    def end(self, cookie: str) -> None:
        """Sign the visitor out."""
        self._visits.pop(_digest(cookie), None)

    def form_token(self, cookie: str) -> str:
        """What a form carries to show that this console's own page sent it."""
        return hmac.new(self._form_key, cookie.encode(), hashlib.sha256).hexdigest()

    def sent_by_own_page(self, cookie: str, given: str) -> bool:
        """Whether a form's token belongs to this visit."""
        return hmac.compare_digest(self.form_token(cookie).encode(), given.encode())


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
