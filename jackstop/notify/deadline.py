"""An end to what a slow receiver can take: its connection is cut when the time is over."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CONNECT_S = 5.0
DELIVER_S = 15.0
"""For one whole delivery once connected: a sender has what it took for 60 s."""


@contextmanager
def cut_off(connection: socket.socket | None, seconds: float) -> Iterator[None]:
    """Shut the connection down `seconds` from now, unless the block ends earlier. Reads and writes then fail."""

    def shut() -> None:
        with suppress(OSError):
            assert connection is not None
            # Not its own `shutdown`: that of TLS ends the encryption first, under whoever is just writing.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
