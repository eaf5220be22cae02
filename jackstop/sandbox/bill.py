"""What the practice providers charge to each credential, and one row for each request."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from itertools import islice

import msgspec

from jackstop.sandbox.catalogue import UNITS_PER_NUSD

LOG_ROWS = 100_000
MINUTE_US = 60_000_000


class Row(msgspec.Struct, frozen=True):
    """One request. `units` is its cost in millionths of a nano-dollar, `stayed` whether the client saw the end.

    `cache_write_tokens` include those written for an hour.
    """

    seq: int
    id: str
    ts: int
    credential: str
    provider: str
    endpoint: str
    model: str
    stream: bool
    status: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    searches: int
    units: int
    stayed: bool
    tier: str = ""
    cache_write_1h_tokens: int = 0


class Use(msgspec.Struct):
    """What one credential used of one model in the minute that begins at `minute_us`. Fields as in a row."""

    minute_us: int
    provider: str
    credential: str
    endpoint: str
    model: str
    tier: str
    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    searches: int = 0
    units: int = 0

    def add(self, row: Row) -> None:
        self.requests += 1
        self.input_tokens += row.input_tokens
        self.cached_tokens += row.cached_tokens
        self.cache_write_tokens += row.cache_write_tokens
        self.cache_write_1h_tokens += row.cache_write_1h_tokens
        self.output_tokens += row.output_tokens
        self.searches += row.searches
        self.units += row.units


class Line(msgspec.Struct, frozen=True):
    """One credential on the bill: billed requests, and their cost in nano-dollars rounded up once."""

    credential: str
    requests: int
    cost_nusd: int


class Bill:
    """Exact sums per credential, use per minute, and the last rows."""

    def __init__(self) -> None:
        self._units: dict[str, int] = {}
        self._requests: dict[str, int] = {}
        self._rows: deque[Row] = deque(maxlen=LOG_ROWS)
        self._minutes: dict[int, dict[tuple[str, ...], Use]] = {}

    def add(self, row: Row) -> None:
        """Book one request. One that cost nothing, such as an error or a list of models, is logged but not billed."""
        self._rows.append(row)
        if row.units:
            self._units[row.credential] = self._units.get(row.credential, 0) + row.units
            self._requests[row.credential] = self._requests.get(row.credential, 0) + 1
            minute_us = row.ts - row.ts % MINUTE_US
            uses = self._minutes.setdefault(minute_us, {})
            name = (row.provider, row.credential, row.endpoint, row.model, row.tier)
            if name not in uses:
                uses[name] = Use(minute_us, *name)
            uses[name].add(row)

    def lines(self) -> list[Line]:
        """The bill, in the order in which credentials were first seen."""
        return [
            Line(credential, self._requests[credential], -(-units // UNITS_PER_NUSD))
            for credential, units in self._units.items()
        ]

    def rows(self, after: int = 0, limit: int = LOG_ROWS) -> list[Row]:
        """The rows with a sequence number beyond `after`, oldest first, at most `limit`."""
        return list(islice((row for row in self._rows if row.seq > after), limit))

    def uses(self, since_us: int, until_us: int) -> Iterator[Use]:
        """What was billed in the minutes that begin in the span, oldest first."""
        for minute_us in sorted(minute_us for minute_us in self._minutes if since_us <= minute_us < until_us):
            yield from self._minutes[minute_us].values()

    def clear(self) -> None:
        """Forget everything."""
        self._minutes.clear()
        self._units.clear()
        self._requests.clear()
        self._rows.clear()


def fingerprint(secret: bytes | str) -> str:
    """The name of a credential on the bill: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()[:12]
