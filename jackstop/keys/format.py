"""The form of a key: `jsk_1` + public id + `_` + secret and checksum, checked without asking anyone.

    jsk_ 1 7sQw3ZkP0aVd _ b5hT0kQe9ZrW2mXc7LpN4vSg8Yu 1vfm65
    |    | |              |                           checksum, 6 characters
    |    | |              secret, 27 characters: 160 bits
    |    | public id, 12 characters
    |    version
    prefix

All characters are base62 (0-9, A-Z, a-z). The checksum is the CRC-32 (ISO-HDLC, as in zlib) of everything
before it, in base62, most significant digit first, padded with `0`. `sk-` may stand before the whole, for
clients that insist on it; it is not part of the key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from jackstop.secret import Secret

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "jsk_"
VERSION = "1"
ID_CHARS = 12
SECRET_CHARS = 27
CHECKSUM_CHARS = 6
PATTERN = r"(?:sk-)?jsk_1[0-9A-Za-z]{12}_[0-9A-Za-z]{33}"

_WHOLE = re.compile(rb"(?:sk-)?(?P<key>(?P<body>jsk_1(?P<id>[0-9A-Za-z]{12})_[0-9A-Za-z]{27})(?P<sum>[0-9A-Za-z]{6}))")
_LOOKS = re.compile(r"jsk_\w*", re.ASCII)
_BLOCK_BYTES = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_SK = b"sk-"
_SK_PREFIX = b"sk-jsk_"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A well-formed key: its public id and its canonical text, without `sk-`."""

    id: str
    canonical: Secret


def parse(presented: bytes | str) -> ParsedKey | None:
    """The key in `presented`, or None when it is not one: wrong form or wrong checksum."""
    raw = presented.encode("utf-8", "replace") if isinstance(presented, str) else presented
    match = _WHOLE.fullmatch(raw)
    if match is None or checksum(match["body"]) != match["sum"]:
        return None
    return ParsedKey(match["id"].decode(), Secret(match["key"]))


def masked(text: str) -> str:
    """The text, with whatever looks like a key or the beginning of one cut down to `jsk_*`."""
    return _LOOKS.sub("jsk_*", text) if PREFIX in text else text


def digest(pepper: bytes, presented: bytes) -> bytes:
    """What the store and the gates keep of a key: HMAC-SHA256 under the key pepper, of the canonical text.

    Takes any bytes, well-formed or not, and never raises: what is no key finds no match.
    """
    canonical = presented[len(_SK) :] if presented.startswith(_SK_PREFIX) else presented
    begun = _begun(pepper)
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(canonical)
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=4)
def _begun(pepper: bytes) -> tuple[Hash, Hash]:
    """The two hashes of an HMAC (RFC 2104), fed with the pepper: the same for every key, on every request."""
    block = (pepper if len(pepper) <= _BLOCK_BYTES else hashlib.sha256(pepper).digest()).ljust(_BLOCK_BYTES, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def checksum(body: bytes) -> bytes:
    """The six characters that follow `body`."""
    rest = zlib.crc32(body)
    digits = bytearray(CHECKSUM_CHARS)
    for place in range(CHECKSUM_CHARS - 1, -1, -1):
        rest, digit = divmod(rest, len(ALPHABET))
        digits[place] = ord(ALPHABET[digit])
    return bytes(digits)


def is_id(text: str) -> bool:
    """Whether this is the form of a public id."""
    return len(text) == ID_CHARS and all(char in ALPHABET for char in text)


def new_id() -> str:
    """A public id that nobody has."""
    return _draw(ID_CHARS)


def new_key(key_id: str) -> Secret:
    """A key with a fresh secret for a public id."""
    body = f"{PREFIX}{VERSION}{key_id}_{_draw(SECRET_CHARS)}".encode()
    return Secret(body + checksum(body))


def _draw(chars: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(chars))
