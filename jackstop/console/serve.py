"""Serves the console from control's loop, on an address that it may have to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn

from jackstop.clock import Clock
from jackstop.console.address import url_of
from jackstop.console.app import Console
from jackstop.console.run import Run
from jackstop.gate.listening import split_address
from jackstop.settings import Settings

RETRY_S = 0.5
_BACKLOG = 128
_MAX_CONNECTIONS = 256
_DRAIN_S = 2

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's own, which leaves the signals to control."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings, run: Run, clock: Clock, *, is_token: Callable[[str], bool], is_invited: Callable[[str], bool]
) -> None:
    """Serve until cancelled. While another process has the address, as at a reload, wait for it."""
    config = uvicorn.Config(
        Console(run, clock, url_of(settings), is_token, is_invited).app,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = _Server(config)
    listening = await _listen(settings.console)
    log.info("the console is on %s", url_of(settings))
    try:
        await server.serve(sockets=[listening])
    except asyncio.CancelledError:
        server.should_exit = True
        raise
    finally:
        listening.close()


async def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    told = False
    while True:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if not told:
                log.warning("the console waits for %s: %s", address, error.strerror)
                told = True
            await asyncio.sleep(RETRY_S)
        else:
            listening.setblocking(False)
            return listening
