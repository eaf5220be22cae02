"""Accept: the PROXY protocol, versions 1 and 2, as its specification of 2020-03-05 (haproxy.org) writes it.

Read with exact sizes from the raw socket, so that not a byte of what follows is taken.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import NamedTuple

from jackstop.gate.source import parse_address

MAX_V1_BYTES = 107
MAX_V2_BYTES = 536
"""Addresses and options behind the 16 bytes of a version 2 header."""
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = b"PROXY "
_FAMILIES = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}


class Proxied(NamedTuple):
    """The client's address as the proxy says it; empty for the proxy's own checks (LOCAL, UNKNOWN)."""

    host: str


class NotProxied(Exception):
    """The connection does not begin with a PROXY header."""


def parse_v1(line: bytes) -> Proxied:
    """A version 1 line with its line end. Raises NotProxied."""
    if not line.startswith(_V1) or not line.endswith(b"\r\n") or len(line) > MAX_V1_BYTES:
        raise NotProxied
    fields = line[:-2].split(b" ")
    if fields[1:2] == [b"UNKNOWN"]:
        return Proxied("")
    if len(fields) != 6 or fields[1] not in {b"TCP4", b"TCP6"}:
        raise NotProxied
    address = parse_address(fields[2].decode("latin-1"))
    ports = [port for port in fields[4:6] if port.isdigit() and len(port) <= 5 and int(port) <= 65_535]
    if address is None or len(ports) != 2:
        raise NotProxied
    return Proxied(str(address))


def v2_length(header: bytes) -> int:
    """How many bytes follow the 16 of a version 2 header. Raises NotProxied."""
    if len(header) != 16 or not header.startswith(_SIGNATURE) or header[12] >> 4 != 2 or header[12] & 15 > 1:
        raise NotProxied
    (length,) = struct.unpack_from("!H", header, 14)
    if length > MAX_V2_BYTES:
        raise NotProxied
    return int(length)


def parse_v2(header: bytes, rest: bytes) -> Proxied:
    """A version 2 header and what follows it. Raises NotProxied."""
    if v2_length(header) != len(rest):
        raise NotProxied
    if header[12] & 15 == 0 or header[13] == 0:
        return Proxied("")
    family = _FAMILIES.get(header[13])
    if family is None or len(rest) < 2 * family[1] + 4:
        raise NotProxied
    address = parse_address(socket.inet_ntop(family[0], rest[: family[1]]))
    return Proxied(str(address))


async def read(connection: socket.socket) -> Proxied:
    """Read the header from a connection just accepted. Raises NotProxied, OSError."""
    loop = asyncio.get_running_loop()
    start = await _exactly(loop, connection, 8)
    if start == _SIGNATURE[:8]:
        header = start + await _exactly(loop, connection, 8)
        return parse_v2(header, await _exactly(loop, connection, v2_length(header)))
    if not start.startswith(_V1):
        raise NotProxied
    line = start
    while not line.endswith(b"\r\n"):
        if len(line) >= MAX_V1_BYTES:
            raise NotProxied
        line += await _exactly(loop, connection, 1 if line.endswith(b"\r") else _least(line))
    return parse_v1(line)


def _least(line: bytes) -> int:
    r"""How many bytes a version 1 line must still have, so that reading them takes nothing of what follows.

    `PROXY UNKNOWN\\r\\n` is the shortest (15); with addresses, 22 (`PROXY TCP6 :: :: 1 1\\r\\n`).
    """
    shortest = 15 if line.startswith(b"PROXY UN") else 22
    return max(1, shortest - len(line))


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await loop.sock_recv(connection, size - len(data))
        if not part:
            raise NotProxied
        data += part
    return data
