"""Prism between a client and a server: a vendor's own document judges what either of them says."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.node import node, node_tool
from tests.shared import shared

START_S = 120


@contextlib.contextmanager
def judge(name: str, upstream: str, log: Path) -> Iterator[str]:
    """The address of a Prism that passes on what the document allows, in both directions."""
    spec = shared(f"specs/{name}")
    prism = node_tool("@stoplight/prism-cli", "5.16.0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [node(), prism, "proxy", "--errors", "-h", "127.0.0.1", "-p", str(port), spec, upstream]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            end = time.monotonic() + START_S
            while not _answers(port):
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < end, log.read_text()[-2000:]
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
