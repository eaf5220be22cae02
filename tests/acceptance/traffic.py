"""Clients that go on while the system is killed, stopped and replaced under them; they never try a request again."""

import asyncio
import json
import random
import threading

from tests.acceptance.load import Ask, Load

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "deepseek": "deepseek-v4-flash"}
PATHS = {
    "openai": "/openai/v1/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "deepseek": "/deepseek/chat/completions",
}
_WAIT_S = 0.05
_RENEWED = 0.02
"""How often idle connections are dropped, so that new ones spread over all gates again."""


def chat(provider, cap, *, stream, **directive):
    """One chat request with an output cap, and what the practice provider is to do."""
    words = " ".join(f"{name}={value}" for name, value in directive.items())
    body = {
        "model": MODELS[provider],
        "max_tokens": cap,
        "messages": [{"role": "user", "content": f"Hello [[sandbox: {words}]]"}],
        "stream": stream,
    }
    dialect = "anthropic" if provider == "anthropic" else "openai"
    return Ask("chat", PATHS[provider], json.dumps(body).encode(), (), dialect, stream)


def short_chat(chance, provider):
    """Done in some ten milliseconds, at a tenth to a full of what was held."""
    cap = chance.choice((20, 60))
    out = chance.randint(1, cap)
    stream = chance.random() < 0.5
    more = {"pace_ms": chance.randint(1, 4), "chunk": 8} if stream else {}
    return chat(provider, cap, stream=stream, out=out, latency_ms=chance.randint(1, 20), **more)


class Traffic:
    """Draws requests and sends them, `workers` at a time, in a thread of its own, from `with` to its end.

    `met` is every request that came to an end; `unreachable` counts the connections that could not be made, `given_up`
    the requests whose answer did not come within `patience_s`.
    """

    def __init__(self, port, draw, *, workers=8, pause_ms=20, patience_s=None, seed=1):
        self._load = Load(port, random.Random(seed))
        self._draw = draw
        self._workers = workers
        self._pause_ms = pause_ms
        self._patience_s = patience_s
        self._chance = random.Random(seed + 1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="traffic")
        self.unreachable = self.given_up = 0

    @property
    def met(self):
        return self._load.met

    def good(self):
        """How many requests came back whole with 200 so far."""
        return sum(whole(met) for met in list(self.met))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a request did not end within a minute"

    async def _run(self):
        await asyncio.gather(*(self._work() for _ in range(self._workers)))
        self._load.close()

    async def _work(self):
        while not self._stop.is_set():
            drawn = self._draw(self._chance)
            if drawn is None:
                await asyncio.sleep(_WAIT_S)
                continue
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._load.send(*drawn)
            except TimeoutError:
                self.given_up += 1
            except OSError:
                self.unreachable += 1
                await asyncio.sleep(_WAIT_S)
            if self._chance.random() < _RENEWED:
                self._load.close()
            await asyncio.sleep(self._chance.random() * self._pause_ms / 1000)


def whole(met):
    """Whether the client got a good answer to its end."""
    return met.decision == "admitted" and met.status == 200


def failed(mets):
    """Those that an application would have seen fail."""
    return [met for met in mets if not whole(met)]


def reasons(mets):
    """Why requests failed, with how many."""
    found = {}
    for met in failed(mets):
        why = met.reason or f"{met.decision} {met.status}"
        found[why] = found.get(why, 0) + 1
    return found
