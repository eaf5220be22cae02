"""AWS by moto, over HTTP on loopback: one server for a process, since moto's accounts are the process's."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The server's address; whatever earlier tests left is still in it."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def moto(moto_server: str) -> str:
    """The server's address, with nothing in its accounts."""
    urllib.request.urlopen(f"{moto_server}/moto-api/reset", data=b"", timeout=10).close()
    return moto_server
