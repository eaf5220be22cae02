"""Identify: every key that the gate knows, packed until it is used: its row and its own limits; no sockets here."""

from __future__ import annotations

import msgspec

from jackstop.keys.policy import KeyRow, LimitRow

_PARTS = 256
"""Dictionaries that the keys are spread over: one that grows is copied whole, and nobody is served meanwhile."""


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a key. Control tells of a key's limits before the key, so for a moment there is no row."""

    row: KeyRow | None = None
    limits: tuple[LimitRow, ...] = ()


_NOTHING = Known()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Known)


class Roster:
    """What control said of each key, by its id."""

    def __init__(self) -> None:
        self._parts: tuple[dict[str, bytes], ...] = tuple({} for _ in range(_PARTS))
        self._buffer = bytearray()

    def find(self, key_id: str) -> Known:
        """What is known of this key, nothing if it was never told of."""
        packed = self._parts[hash(key_id) % _PARTS].get(key_id)
        return _NOTHING if packed is None else _decoder.decode(packed)

    def tell_key(self, row: KeyRow) -> KeyRow | None:
        """Take a key's row; returns the one before."""
        known = self.find(row.id)
        self._keep(row.id, Known(row, known.limits))
        return known.row

    def tell_limit(self, key_id: str, row: LimitRow) -> KeyRow | None:
        """Take a limit of a key's own; returns the key's row."""
        known = self.find(key_id)
        limits = tuple(limit for limit in known.limits if limit.id != row.id)
        self._keep(key_id, Known(known.row, limits if row.deleted else (*limits, row)))
        return known.row

    def _keep(self, key_id: str, known: Known) -> None:
        _encoder.encode_into(known, self._buffer)
        self._parts[hash(key_id) % _PARTS][key_id] = bytes(self._buffer)
