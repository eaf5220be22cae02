"""What every replayed thief has: a stolen key, the gate's address, and a line of JSON on standard output for each call.

It knows only what a thief would know, and talks to loopback and to nothing else.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from jackstop.clock import SystemClock

CHAT = "/openai/v1/chat/completions"
NO_ANSWER = 599
_TIMEOUT_S = 30


class Loot(msgspec.Struct, forbid_unknown_fields=True):
    """What was stolen, and what the thief does with it."""

    host: str
    port: int
    key: str
    how: str


def loot() -> Loot:
    """What standard input says. Ctrl-C is for the demo. Raises ValueError where the gate is not on loopback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stolen = msgspec.json.decode(sys.stdin.buffer.read(), type=Loot)
    if not ipaddress.ip_address(stolen.host).is_loopback:
        raise ValueError("replays go to loopback only")
    return stolen


def chat(model: str, messages: Sequence[Mapping[str, str]], **members: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": model, "messages": list(messages), **members}


class Line:
    """Connections from one address to the gate, with the stolen key."""

    _printing = threading.Lock()

    def __init__(self, stolen: Loot, source: str, headers: Mapping[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection(
            stolen.host, stolen.port, timeout=_TIMEOUT_S, source_address=(source, 0)
        )
        self._headers = {
            "authorization": f"Bearer {stolen.key}",
            "content-type": "application/json",
            **(headers or {}),
        }

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> int:
        """One call; the status that came back, NO_ANSWER where none did."""
        sent_us = SystemClock().now_us()
        try:
            content = None if body is None else json.dumps(body).encode()
            self._connection.request(method, path, content, self._headers)
            response = self._connection.getresponse()
            response.read()
            status, reason = response.status, response.headers.get("x-jackstop-reason", "")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            status, reason = NO_ANSWER, type(error).__name__
        with self._printing:
            line = {"ts": sent_us, "back_ts": SystemClock().now_us(), "status": status, "reason": reason}
            print(json.dumps(line), flush=True)
        return status

    def close(self) -> None:
        self._connection.close()
