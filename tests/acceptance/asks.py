"""Random requests for the practice providers: dialects, models, tiers, caches, errors; each body unlike any other."""

import json
from itertools import count

from tests.acceptance.load import Ask

# Short words, each a token of its own for OpenAI: denser than the four bytes a token that the sandbox counts by.
_WORDS = [
    "an",
    "to",
    "of",
    "it",
    "is",
    "in",
    "on",
    "at",
    "by",
    "we",
    "go",
    "do",
    "so",
    "no",
    "up",
    "us",
    "my",
    "me",
    "he",
    "or",
    "as",
    "if",
    "be",
    "am",
]
_numbers = count(1)

OPENAI = "/openai/v1/chat/completions"
RESPONSES = "/openai/v1/responses"
EMBEDDINGS = "/openai/v1/embeddings"
ANTHROPIC = "/anthropic/v1/messages"
DEEPSEEK = "/deepseek/chat/completions"
DEEPSEEK_MESSAGES = "/deepseek/anthropic/v1/messages"
LONG_TIER_BYTES = 4 * 280_000
"""More than the 272,000 tokens beyond which gpt-6.1-sol costs more, by the sandbox's rule of four bytes a token."""


def text(chance, size):
    """About `size` bytes of words that no other request has."""
    words = chance.choices(_WORDS, k=max(1, min(size, 4_000) // 3))
    block = f"{next(_numbers)} {' '.join(words)} "
    return (block * (size // len(block) + 1))[: max(size, len(block))]


def directive(fields):
    return f" [[sandbox: {' '.join(f'{name}={value}' for name, value in fields.items())}]]" if fields else ""


class Asks:
    """Draws requests from a chance. `torn` gives a third of them a failure that breaks their answer off."""

    def __init__(self, chance, *, torn=False, latency_ms=20):
        self._chance = chance
        self._torn = torn
        self._latency_ms = latency_ms
        self._makers = (
            (self._chat, 30),
            (self._responses, 14),
            (self._embeddings, 6),
            (self._messages, 24),
            (self._deepseek, 14),
            (self._deepseek_messages, 7),
            (self._tiers, 4),
            (self._search, 0.6),
            (self._long, 0.15),
        )

    def draw(self):
        makers, weights = zip(*self._makers, strict=True)
        return self._chance.choices(makers, weights)[0]()

    def _behaviour(self, cap, *, stream):
        """Directives: how much comes out, after how long, and what goes wrong."""
        chance = self._chance
        fields = {"out": chance.randint(1, cap), "chunk": chance.choice((4, 16, 64))}
        if chance.random() < 0.7:
            fields["latency_ms"] = chance.randint(1, self._latency_ms)
        if stream and chance.random() < 0.2:
            fields["pace_ms"] = chance.randint(1, 4)
            fields["out"] = min(fields["out"], 24 * fields["chunk"])
        if chance.random() < 0.06:
            fields["status"] = chance.choice((400, 401, 403, 404, 429, 500, 502, 503, 529))
        if self._torn and chance.random() < 1 / 3:
            fields |= self._tear(stream=stream)
        return fields

    def _tear(self, *, stream):
        chance = self._chance
        if not stream:
            return chance.choice(({"cut_after": 1}, {"half_headers": 1}, {"garbage": 1}, {"no_usage": 1}))
        after = chance.randint(0, 6)
        tears = ({"cut_after": after}, {"error_after": after}, {"half_headers": 1}, {"garbage": 1}, {"no_usage": 1})
        return chance.choice(tears)

    def _cached(self, size, *, write):
        """A share of the input that comes from a cache, and one that goes into it."""
        chance, fields = self._chance, {}
        if chance.random() < 0.4:
            fields["cached"] = chance.randint(1, size // 8)
        for name in write:
            if chance.random() < 0.5:
                fields[name] = chance.randint(1, size // 16)
        return fields

    def _body(self, path, kind, body, *, dialect="openai", headers=()):
        raw = json.dumps(body, separators=(",", ":")).encode()
        return Ask(kind, path, raw, headers, dialect, body.get("stream") is True)

    def _streams(self):
        return self._chance.random() < 0.36

    def _size(self):
        return self._chance.choice((200, 900, 2_500, 8_000))

    def _chat(self):
        chance, stream, size = self._chance, self._streams(), self._size()
        model = chance.choice(("gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "gpt-5-mini", "gpt-6.1-sol"))
        reasons = model.startswith(("gpt-5", "gpt-6"))
        cap = chance.choice((40, 200, 700))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=("cache_write",))
        if reasons and chance.random() < 0.5:
            fields["reasoning"] = chance.randint(0, fields["out"])
        content = text(chance, size) + directive(fields)
        body = {"model": model, "messages": [{"role": "system", "content": "Count."}]}
        body["messages"].append({"role": "user", "content": content})
        body["max_completion_tokens" if reasons or chance.random() < 0.5 else "max_tokens"] = cap
        if stream:
            body["stream"] = True
            if chance.random() < 0.5:
                body["stream_options"] = {"include_usage": True}
        if chance.random() < 0.1:
            body["n"] = chance.randint(2, 3)
        return self._body(OPENAI, "chat", body)

    def _responses(self):
        chance, stream, size = self._chance, self._streams(), self._size()
        cap = chance.choice((64, 300, 900))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=("cache_write",))
        body = {
            "model": chance.choice(("gpt-4o-mini", "gpt-5", "gpt-6.1-sol")),
            "input": text(chance, size) + directive(fields),
            "max_output_tokens": cap,
            "store": False,
        }
        if stream:
            body["stream"] = True
        return self._body(RESPONSES, "responses", body)

    def _embeddings(self):
        chance = self._chance
        fields = {"status": 500} if chance.random() < 0.06 else {}
        model = chance.choice(("text-embedding-3-small", "text-embedding-3-large"))
        given = [text(chance, 300) + directive(fields) for _ in range(chance.randint(1, 3))]
        return self._body(EMBEDDINGS, "embeddings", {"model": model, "input": given, "dimensions": 8})

    def _messages(self, **extra):
        chance, stream, size = self._chance, self._streams(), self._size()
        model = chance.choice(("claude-haiku-4-5", "claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-5-5"))
        cap = chance.choice((40, 200, 700))
        cached = chance.choice(("", "cache_write", "cache_write_1h"))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=(cached,) if cached else ())
        block = {"type": "text", "text": text(chance, size) + directive(fields)}
        if cached:
            block["cache_control"] = {"type": "ephemeral", "ttl": "1h" if cached == "cache_write_1h" else "5m"}
        body = {"model": model, "max_tokens": cap, "messages": [{"role": "user", "content": [block]}], **extra}
        if stream:
            body["stream"] = True
        if chance.random() < 0.2:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1_024}
        headers = ()
        if model == "claude-opus-5-5" and chance.random() < 0.3:
            if chance.random() < 0.5:
                body["speed"] = "fast"
                headers = ((b"anthropic-beta", b"fast-mode-2026-02-01"),)
            else:
                body["inference_geo"] = "us"
        return self._body(ANTHROPIC, "messages", body, dialect="anthropic", headers=headers)

    def _search(self):
        chance = self._chance
        fields = {"out": chance.randint(1, 200), "searches": chance.randint(0, 2)}
        tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
        body = {
            "model": "claude-haiku-4-5",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": text(chance, 300) + directive(fields)}],
            "tools": [tool],
        }
        return self._body(ANTHROPIC, "search", body, dialect="anthropic")

    def _deepseek(self):
        chance, stream, size = self._chance, self._streams(), self._size()
        cap = chance.choice((40, 200, 700))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=())
        body = {
            "model": chance.choice(("deepseek-v4-flash", "deepseek-v4-pro")),
            "messages": [{"role": "user", "content": text(chance, size) + directive(fields)}],
            "max_tokens": cap,
        }
        if stream:
            body["stream"] = True
        return self._body(DEEPSEEK, "deepseek", body)

    def _deepseek_messages(self):
        chance, stream, size = self._chance, self._streams(), self._size()
        cap = chance.choice((40, 200, 700))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=())
        body = {
            "model": "deepseek-v4-flash",
            "max_tokens": cap,
            "messages": [{"role": "user", "content": text(chance, size) + directive(fields)}],
        }
        if stream:
            body["stream"] = True
        return self._body(DEEPSEEK_MESSAGES, "deepseek messages", body, dialect="anthropic")

    def _tiers(self):
        chance, stream, size = self._chance, self._streams(), self._size()
        cap = chance.choice((200, 700))
        fields = self._behaviour(cap, stream=stream) | self._cached(size, write=())
        body = {
            "model": chance.choice(("gpt-5", "gpt-6.1-sol")),
            "messages": [{"role": "user", "content": text(chance, size) + directive(fields)}],
            "max_completion_tokens": cap,
            "service_tier": chance.choice(("priority", "flex", "auto", "default")),
        }
        if stream:
            body["stream"] = True
        return self._body(OPENAI, "tiers", body)

    def _long(self):
        chance = self._chance
        fields = {"out": chance.randint(1, 200)}
        body = {
            "model": "gpt-6.1-sol",
            "messages": [{"role": "user", "content": text(chance, LONG_TIER_BYTES) + directive(fields)}],
            "max_completion_tokens": 200,
        }
        return self._body(OPENAI, "long context", body)
