"""Unpacking gz, zst and bz2 as they are read, recognised by their first bytes; what comes before damage is kept."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable
from typing import Any, Protocol

_READ = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS
_SMALL = 4_096
"""Of bz2 at once: bytes that are given out together with an error are lost."""
_BOMB_BYTES = 1 << 30
_BOMB_RATIO = 1_000
"""No log packs so well; beyond both, the rest of a file is left."""

_MAGIC = (
    (b"\x1f\x8b\x08", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)


class Below(Protocol):
    """Packed bytes read forwards, and why they ended early."""

    def read(self, size: int, /) -> bytes: ...

    @property
    def fault(self) -> str: ...


def packed_as(head: bytes) -> str | None:
    """How bytes that begin so are packed: gz, zst, bz2, zip, or None for not at all."""
    for magic, kind in _MAGIC:
        if head.startswith(magic) and (kind != "bz2" or head[3:4].isdigit()):
            return kind
    return None


def is_bomb(packed: int, unpacked: int) -> bool:
    """Whether so many bytes are more than so many packed ones hold of any log."""
    return unpacked > max(_BOMB_BYTES, _BOMB_RATIO * packed)


class Unpacking:
    """The bytes within packed ones. `fault` says why they ended early, once they have."""

    def __init__(self, below: Below, kind: str) -> None:
        self._below = below
        self._kind = kind
        self._in = 0
        self._out = 0
        self._ended = False
        self._fault = ""
        unpacker: _Gz | _Bz2 | _Zst = _UNPACKERS[kind](self._more)
        self._next = unpacker.read

    @property
    def fault(self) -> str:
        return self._fault or self._below.fault

    def _more(self, size: int) -> bytes:
        found = self._below.read(size)
        self._in += len(found)
        return found

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end."""
        if self._ended:
            return b""
        try:
            found = self._next(size)
        except _Damaged as error:
            found, self._fault, self._ended = error.found, f"its {self._kind} is {error}", True
        self._out += len(found)
        if is_bomb(self._in, self._out):
            self._fault, self._ended = f"its {self._kind} unpacks to more than {_BOMB_RATIO} times its size", True
        return found


class _Damaged(Exception):
    """What the bytes are instead of whole; `found` came before."""

    def __init__(self, what: str, found: bytes = b"") -> None:
        super().__init__(what)
        self.found = found


class _Gz:
    def __init__(self, more: Callable[[int], bytes]) -> None:
        self._more = more
        self._unpacker = zlib.decompressobj(_GZIP)

    def read(self, size: int) -> bytes:
        while True:
            packed = self._unpacker.unconsumed_tail
            if self._unpacker.eof:
                packed = self._next_member()
                if not packed:
                    return b""
                self._unpacker = zlib.decompressobj(_GZIP)
            packed = packed or self._more(_READ)
            if not packed:
                raise _Damaged("cut off", self._unpacker.flush())
            # zlib gives out nothing of a call that meets an error; the copy is there to get it.
            before = self._unpacker.copy()
            try:
                found = self._unpacker.decompress(packed, size)
            except zlib.error:
                raise _Damaged("damaged", _saved(before, packed)) from None
            if found:
                return found

    def _next_member(self) -> bytes:
        """The first bytes of what follows a member, as in files that were put together; zeros are padding."""
        rest = self._unpacker.unused_data.lstrip(b"\0")
        while not rest:
            more = self._more(_READ)
            if not more:
                return b""
            rest = more.lstrip(b"\0")
        if not rest.startswith(b"\x1f"):
            raise _Damaged("followed by bytes that are none")
        return rest


def _saved(unpacker: Any, packed: bytes) -> bytes:
    found = bytearray()
    try:
        for place in range(len(packed)):
            found += unpacker.decompress(packed[place : place + 1])
    except zlib.error:
        pass  # here is the damage
    return bytes(found)


class _Bz2:
    def __init__(self, more: Callable[[int], bytes]) -> None:
        self._more = more
        self._unpacker = bz2.BZ2Decompressor()

    def read(self, size: int) -> bytes:
        while True:
            rest = b""
            if self._unpacker.eof:
                rest = self._unpacker.unused_data or self._more(_READ)
                if not rest:
                    return b""
                self._unpacker = bz2.BZ2Decompressor()
            if not rest and self._unpacker.needs_input:
                rest = self._more(_READ)
                if not rest:
                    raise _Damaged("cut off")
            try:
                found = self._unpacker.decompress(rest, min(size, _SMALL))
            except OSError:
                raise _Damaged("damaged") from None
            if found:
                return found


class _Zst:
    def __init__(self, more: Callable[[int], bytes]) -> None:
        import pyarrow as pa

        self._unpacker = pa.CompressedInputStream(pa.PythonFile(_Pipe(more), mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        try:
            found: bytes = self._unpacker.read(min(size, _READ))
        except OSError as error:
            raise _Damaged("cut off" if "Truncated" in str(error) else "damaged") from None
        return found


class _Pipe:
    """A source of bytes as pyarrow wants a file."""

    closed = False

    def __init__(self, more: Callable[[int], bytes]) -> None:
        self.read = more

    def close(self) -> None:
        """Nothing is held."""


_UNPACKERS: dict[str, type[_Gz | _Bz2 | _Zst]] = {"gz": _Gz, "bz2": _Bz2, "zst": _Zst}
