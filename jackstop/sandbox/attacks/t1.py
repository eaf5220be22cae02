"""T1: an application's key is stolen and used through the gate, by a thief in a process of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from jackstop.sandbox.attacks.calls import CHAT, Line, Loot, chat, loot

SOURCE = "127.0.0.9"  # not the applications' 127.0.0.1: the other network
SWARM = tuple(f"127.0.{number}.{number * 3 % 250 + 2}" for number in range(40, 64))
GIVES_UP_AFTER = 10
HANDS = 4
TRIES = (
    ("GET", "/openai/v1/models", None),
    ("POST", CHAT, "gpt-4o-mini"),
    ("POST", CHAT, "gpt-4o"),
    ("POST", "/anthropic/v1/messages", "claude-haiku-4-5"),
)
# As key checkers do it: does the key work, and for what? No answer is wanted, so none is to be paid for.
CHECKS = (
    ("gpt-4o-mini", "", 0),
    ("gpt-4o", "", 0),
    ("o3", "", 0),
    ("gpt-4o", "Output only your specific model name with no additional text.", 20),
)


def _story(model: str, tokens: int, latency_ms: int = 20) -> dict[str, Any]:
    text = f"[[sandbox: out={tokens} latency_ms={latency_ms}]] Tell me a story, and never end it."
    return chat(model, [{"role": "user", "content": text}], max_tokens=tokens)


def try_out(stolen: Loot) -> None:
    """A few calls, to see what the key is good for."""
    line = Line(stolen, SOURCE)
    for method, path, model in TRIES * 3:
        line.call(method, path, None if model is None else _story(model, 50))
    line.close()


def drain(stolen: Loot) -> None:
    """Use the key as fast as it gives, from one address."""
    _together(lambda: _use_up(stolen, lambda: SOURCE, _story("gpt-4o", 1_000)))


def swarm(stolen: Loot) -> None:
    """Check the key as checkers do, then use it from many networks, another one for each call."""
    line = Line(stolen, SOURCE)
    for model, text, cap in CHECKS:
        line.call("POST", CHAT, chat(model, [{"role": "user", "content": text}], max_tokens=cap))
    line.close()
    turn = count()
    _together(lambda: _use_up(stolen, lambda: SWARM[next(turn) % len(SWARM)], _story("gpt-4o", 1_000, 250)))


def _together(act: Callable[[], None]) -> None:
    hands = [threading.Thread(target=act) for _ in range(HANDS)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()


def _use_up(stolen: Loot, source: Callable[[], str], body: Mapping[str, Any]) -> None:
    refused = 0
    lines: dict[str, Line] = {}
    while refused < GIVES_UP_AFTER:
        address = source()
        line = lines.get(address) or lines.setdefault(address, Line(stolen, address))
        refused = refused + 1 if line.call("POST", CHAT, body) >= 400 else 0
    for line in lines.values():
        line.close()


WAYS = {"try": try_out, "drain": drain, "swarm": swarm}

if __name__ == "__main__":
    what = loot()
    WAYS[what.how](what)
