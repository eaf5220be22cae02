"""Envelope encryption: each blob has a data key of its own, wrapped by the key-encryption key (KEK).

A blob is, in this order:

    1 byte    version, 0x01
    8 bytes   KEK id: the first 8 bytes of SHA-256("jackstop-kek-id" + KEK)
    12 bytes  nonce of the wrapped data key
    48 bytes  data key (32 bytes) under the KEK, AES-256-GCM with its 16-byte tag
    12 bytes  nonce of the content
    n + 16    content under the data key, AES-256-GCM with its tag

Associated data of both layers: the version byte, the KEK id (wrapping only), and the purpose and the name,
each with its length in 4 bytes before it, so that a blob opens only in the place it was sealed for.
Re-wrapping under another KEK changes the first 69 bytes and leaves the content alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jackstop.errors import UserError
from jackstop.secret import Secret

VERSION = b"\x01"
KEK_BYTES = 32
_ID, _NONCE, _TAG, _DATA_KEY = 8, 12, 16, 32
_WRAPPED_END = 1 + _ID + _NONCE + _DATA_KEY + _TAG
_SHORTEST = _WRAPPED_END + _NONCE + _TAG

RandomBytes = Callable[[int], bytes]


def kek_id(kek: Secret) -> bytes:
    """The 8-byte public name of a key-encryption key."""
    return hashlib.sha256(b"jackstop-kek-id" + kek.reveal()).digest()[:_ID]


class Vault:
    """Seals and unseals under a set of key-encryption keys, of which the last is current.

    More than one key is there only while a rotation is under way.
    """

    def __init__(self, keks: Sequence[Secret], random: RandomBytes = os.urandom) -> None:
        self._random = random
        self.adopt(keks)

    def adopt(self, keks: Sequence[Secret]) -> None:
        """Go on with these keys, the last of them current, as a rotation begins or ends."""
        if not keks or any(len(kek) != KEK_BYTES for kek in keks):
            raise ValueError(f"a key-encryption key has {KEK_BYTES} bytes")
        self._ciphers = {kek_id(kek): AESGCM(kek.reveal()) for kek in keks}
        self._current = kek_id(keks[-1])

    @property
    def current_kek_id(self) -> str:
        """The id of the key under which new blobs are sealed, in hex."""
        return self._current.hex()

    def seal(self, purpose: str, name: str, secret: Secret) -> bytes:
        """Encrypt for one place, named by purpose and name."""
        data_key, nonce = self._random(_DATA_KEY), self._random(_NONCE)
        sealed = AESGCM(data_key).encrypt(nonce, secret.reveal(), _place(purpose, name))
        return self._wrap(data_key, purpose, name) + nonce + sealed

    def unseal(self, purpose: str, name: str, blob: bytes) -> Secret:
        """Decrypt. Raises UserError for another place, another key, another version or a changed blob."""
        data_key = self._unwrap(purpose, name, blob)
        nonce, sealed = blob[_WRAPPED_END : _WRAPPED_END + _NONCE], blob[_WRAPPED_END + _NONCE :]
        try:
            return Secret(AESGCM(data_key).decrypt(nonce, sealed, _place(purpose, name)))
        except InvalidTag:
            raise _changed(purpose) from None

    def rewrap(self, purpose: str, name: str, blob: bytes) -> bytes | None:
        """The same content under the current KEK, or None when it is already there. Raises as `unseal`."""
        if blob[: 1 + _ID] == VERSION + self._current:
            return None
        data_key = self._unwrap(purpose, name, blob)
        return self._wrap(data_key, purpose, name) + blob[_WRAPPED_END:]

    def _wrap(self, data_key: bytes, purpose: str, name: str) -> bytes:
        nonce = self._random(_NONCE)
        wrapped = self._ciphers[self._current].encrypt(nonce, data_key, self._current + _place(purpose, name))
        return VERSION + self._current + nonce + wrapped

    def _unwrap(self, purpose: str, name: str, blob: bytes) -> bytes:
        if blob[:1] != VERSION or len(blob) < _SHORTEST:
            raise UserError(
                f"a sealed {purpose} has a form that this program does not know",
                "start the newer program that wrote it, or restore a backup",
            )
        kek, nonce, wrapped = blob[1 : 1 + _ID], blob[1 + _ID : 1 + _ID + _NONCE], blob[1 + _ID + _NONCE : _WRAPPED_END]
        cipher = self._ciphers.get(kek)
        if cipher is None:
            raise UserError(
                f"a sealed {purpose} needs the key-encryption key {kek.hex()}, which is not here",
                "bring back that key (the kek file, or JACKSTOP_KEK) and try again",
            )
        try:
            return cipher.decrypt(nonce, wrapped, kek + _place(purpose, name))
        except InvalidTag:
            raise _changed(purpose) from None


def _place(purpose: str, name: str) -> bytes:
    parts = (purpose.encode(), name.encode())
    return VERSION + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _changed(purpose: str) -> UserError:
    return UserError(
        f"a sealed {purpose} was changed, or moved from the place it was sealed for",
        "find out who writes to the database (`jackstop audit verify`), then enter the secret again",
    )
