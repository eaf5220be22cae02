"""Where the gate listens: which addresses are allowed without TLS, and one socket for each gate process."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

from jackstop.errors import UserError
from jackstop.gate.tls import server_tls, tls_context
from jackstop.settings import GateSettings

BACKLOG = 4096


def split_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[IPv6]:PORT` as a pair. Raises UserError when it is neither."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise UserError(f"{text!r} is not an address to listen at", "write it as 127.0.0.1:8080 or [::1]:8080", 2)
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host, by its name or its address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listen(settings: GateSettings) -> None:
    """Raise UserError where keys would cross a network in clear, or where the files of TLS cannot be used."""
    host, _ = split_address(settings.listen)
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise UserError("TLS needs a certificate and its key", "set both gate.tls_cert and gate.tls_key", 2)
    for path in (settings.tls_cert, settings.tls_key):
        if path and not os.access(Path(path), os.R_OK):
            raise UserError(f"{path} cannot be read", "check gate.tls_cert and gate.tls_key, and who may read them", 2)
    if not (is_loopback(host) or settings.tls_cert or settings.behind_tls):
        raise UserError(
            f"{settings.listen} can be reached from other machines, and keys would travel in clear",
            "set gate.tls_cert and gate.tls_key, or give --behind-tls where a proxy in front ends TLS",
            2,
        )
    server_tls(settings)
    tls_context(settings)


def bind(address: str, *, shared: bool = False) -> socket.socket:
    """One listening socket; several may be bound to one address, and the kernel spreads connections over them.

    The first of them is asked for with `shared` off: then an address that is taken is refused, even where a
    second Jackstop of the same user holds it. Raises UserError for that, and for another machine's address.
    """
    host, port = split_address(address)
    try:
        family, kind, proto, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise UserError(f"cannot listen at {address}: {error.strerror}", "check gate.listen", 3) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        listener.bind(where)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen at {address}: {error.strerror}",
            "stop what uses that port, or choose another with --gate HOST:PORT",
            3,
        ) from None
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The address that a socket is bound to, as `HOST:PORT`; the real port where 0 was asked for."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
