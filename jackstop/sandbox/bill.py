"""What the practice providers charge to each credential, and one row for each request."""

from __future__ import annotations

import hashlib
from collections import deque
from itertools import islice

import msgspec

from jackstop.sandbox.catalogue import UNITS_PER_NUSD

LOG_ROWS = 100_000


class Row(msgspec.Struct, frozen=True):
    """One request. `units` is its cost in millionths of a nano-dollar, `stayed` whether the client saw the end."""

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


class Line(msgspec.Struct, frozen=True):
    """One credential on the bill: billed requests, and their cost in nano-dollars rounded up once."""

    credential: str
    requests: int
    cost_nusd: int


class Bill:
    """Exact sums per credential, and the last rows."""

    def __init__(self) -> None:
        self._units: dict[str, int] = {}
        self._requests: dict[str, int] = {}
        self._rows: deque[Row] = deque(maxlen=LOG_ROWS)

    def add(self, row: Row) -> None:
        """Book one request. One that cost nothing, such as an error or a list of models, is logged but not billed."""
        self._rows.append(row)
        if row.units:
            self._units[row.credential] = self._units.get(row.credential, 0) + row.units
            self._requests[row.credential] = self._requests.get(row.credential, 0) + 1

    def lines(self) -> list[Line]:
        """The bill, in the order in which credentials were first seen."""
        return [
            Line(credential, self._requests[credential], -(-units // UNITS_PER_NUSD))
            for credential, units in self._units.items()
        ]

    def rows(self, after: int = 0, limit: int = LOG_ROWS) -> list[Row]:
        """The rows with a sequence number beyond `after`, oldest first, at most `limit`."""
        return list(islice((row for row in self._rows if row.seq > after), limit))

    def clear(self) -> None:
        """Forget everything."""
        self._units.clear()
        self._requests.clear()
        self._rows.clear()


def fingerprint(secret: bytes | str) -> str:
    """The name of a credential on the bill: the first 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()[:12]
