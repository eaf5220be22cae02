"""Accept: takes connections from the listening socket, with TLS and the PROXY protocol where they are asked for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator

from jackstop.gate import proxy_protocol
from jackstop.gate.context import Gate
from jackstop.gate.listening import BACKLOG
from jackstop.gate.server import Connection
from jackstop.gate.source import Source, of_peer

MAX_GREETING = 1_024
"""Connections whose PROXY header or TLS handshake has not come yet; more wait in the kernel's queue."""
_PAUSE_S = 0.1
"""How long to wait when the process has no file descriptor left."""

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def listening(gate: Gate, listener: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Accept connections for as long as the block runs. The socket itself stays open where another process has it."""
    loop = asyncio.get_running_loop()
    if gate.settings.gate.proxy_protocol:
        task = loop.create_task(_accept_proxied(gate, listener, tls))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            listener.close()
        return
    timeout = gate.settings.gate.header_timeout_s if tls is not None else None
    server = await loop.create_server(
        lambda: Connection(gate), sock=listener, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=timeout
    )
    try:
        yield
    finally:
        server.close()


async def _accept_proxied(gate: Gate, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Accept by hand: the PROXY header has to be read from the plain socket before TLS or HTTP begins."""
    loop = asyncio.get_running_loop()
    greeting = asyncio.Semaphore(MAX_GREETING)
    while True:
        await greeting.acquire()
        try:
            connection, peer = await loop.sock_accept(listener)
        except OSError as error:
            greeting.release()
            log.warning("a connection could not be accepted: %s", error.strerror)
            await asyncio.sleep(_PAUSE_S)
            continue
        gate.spawn(_greet(gate, connection, peer, tls, greeting))


async def _greet(
    gate: Gate,
    connection: socket.socket,
    peer: tuple[str, int],
    tls: ssl.SSLContext | None,
    greeting: asyncio.Semaphore,
) -> None:
    try:
        connection.setblocking(False)
        async with asyncio.timeout(gate.settings.gate.header_timeout_s):
            source = await _named(connection, peer)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(gate, source), connection, ssl=tls
            )
    except (proxy_protocol.NotProxied, OSError, TimeoutError):
        connection.close()
    finally:
        greeting.release()


async def _named(connection: socket.socket, peer: tuple[str, int]) -> Source:
    proxied = await proxy_protocol.read(connection)
    return of_peer(proxied.host, by_proxy=True) if proxied.host else of_peer(peer[0])
