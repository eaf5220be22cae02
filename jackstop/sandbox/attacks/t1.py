"""T1: an application's key is stolen and used through the gate, by a thief in a process of its own.

The thief reads what it has stolen from standard input as JSON and prints a line of JSON for each call that it makes.
It knows only what a thief would: the gate's address and a key. It talks to loopback and to nothing else.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import signal
import sys
import threading
from collections import Counter

import msgspec

from jackstop.clock import SystemClock

SOURCE = "127.0.0.9"  # not the applications' 127.0.0.1: the other network
GIVES_UP_AFTER = 10
HANDS = 4
TRIES = (
    ("GET", "/openai/v1/models", None),
    ("POST", "/openai/v1/chat/completions", "gpt-4o-mini"),
    ("POST", "/openai/v1/chat/completions", "gpt-4o"),
    ("POST", "/anthropic/v1/messages", "claude-haiku-4-5"),
)


class Loot(msgspec.Struct, forbid_unknown_fields=True):
    """What was stolen, and what the thief does with it: `try` a few calls, or `drain` it as fast as it gives."""

    host: str
    port: int
    key: str
    how: str


class Thief:
    """One stolen key in use."""

    def __init__(self, loot: Loot) -> None:
        if not ipaddress.ip_address(loot.host).is_loopback:
            raise ValueError("replays go to loopback only")
        self.loot = loot
        self._printing = threading.Lock()

    def run(self) -> None:
        """Use the key until it is of no more use."""
        if self.loot.how == "try":
            connection = self._connect()
            for method, path, model in TRIES * 3:
                self._call(connection, method, path, model, 50)
            connection.close()
            return
        hands = [threading.Thread(target=self._drain) for _ in range(HANDS)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()

    def _drain(self) -> None:
        connection = self._connect()
        refused = 0
        while refused < GIVES_UP_AFTER:
            status = self._call(connection, "POST", "/openai/v1/chat/completions", "gpt-4o", 1_000)
            refused = refused + 1 if status >= 400 else 0
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.loot.host, self.loot.port, timeout=30, source_address=(SOURCE, 0))

    def _call(
        self, connection: http.client.HTTPConnection, method: str, path: str, model: str | None, tokens: int
    ) -> int:
        """One call; the status that came back, 599 where none did."""
        body = None
        if model is not None:
            story = f"[[sandbox: out={tokens} latency_ms=20]] Tell me a story, and never end it."
            body = json.dumps(
                {"model": model, "max_tokens": tokens, "messages": [{"role": "user", "content": story}]}
            ).encode()
        sent_us = SystemClock().now_us()
        try:
            headers = {"authorization": f"Bearer {self.loot.key}", "content-type": "application/json"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            status, reason = response.status, response.headers.get("x-jackstop-reason", "")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, reason = 599, type(error).__name__
        with self._printing:
            line = {"ts": sent_us, "back_ts": SystemClock().now_us(), "status": status, "reason": reason}
            print(json.dumps(line), flush=True)
        return status


def refused(calls: Counter[tuple[int, str]]) -> int:
    """How many of the calls, counted by status and reason, were refused by the gate."""
    return sum(count for (_, reason), count in calls.items() if reason)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the demo
    Thief(msgspec.json.decode(sys.stdin.buffer.read(), type=Loot)).run()
