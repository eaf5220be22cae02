"""Mutated requests and responses through the gate's core, without sockets: only answers come out, never an exception.

    python -m tests.gate.fuzz SECONDS [SEED]

prints the seed it used; the same seed and the same code meet the same inputs.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from jackstop.errors import Refused
from jackstop.events.schema import Event
from jackstop.gate import answer as answer_module
from jackstop.gate import forward
from jackstop.gate.admission import Admitted, AskRefused, Opening, admit, open_request
from jackstop.gate.answer import Answer
from jackstop.gate.document import read_document
from jackstop.gate.entry import Entry
from jackstop.gate.identify import Presented, presented
from jackstop.gate.record import add_ask, add_outcome, begin
from jackstop.gate.refusals import answer
from jackstop.gate.registry import KeyEntry
from jackstop.gate.reply import ReplyBroken, ReplyReader
from jackstop.gate.settle import charge
from jackstop.gate.source import behind, compile_networks, of_peer
from jackstop.gate.wire import Head, Heads, RequestReader, WireLimits
from jackstop.keys.policy import CredentialRow, KeyRow, Policy
from jackstop.ledger import bounds
from jackstop.ledger.books import Hold
from jackstop.providers import error_dialect
from jackstop.settings import Settings

SECRET = b"sk-upstream-credential"
NOW_US = 1_795_000_000 * 1_000_000
LIMITS = WireLimits(head_bytes=4096, headers=40, body_bytes=100_000)
SETTINGS = Settings()
TRUSTED = compile_networks(["127.0.0.0/8"])
POLICIES = (
    Policy(),
    Policy(mode="observe", models=("gpt-4o*",), networks=("10.0.0.0/8",), hours=("mon 08:00-09:00",)),
    Policy(mode="enforce", max_output=64, endpoints=("chat.*", "messages")),
    Policy(allow_unbounded=True, max_output=1),
)

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "/openai/v1/chat/completions",
        {
            "model": "gpt-4o-mini",
            "messages": [
                {"role": "system", "content": "You are kind."},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
            ],
            "max_completion_tokens": 100,
            "stream": True,
            "stream_options": {"include_usage": False},
            "n": 2,
            "tools": [TOOL],
            "temperature": 0.7,
            "user": "someone",
        },
    ),
    (
        "/openai/v1/responses",
        {"model": "gpt-4.1", "input": [{"role": "user", "content": "hi"}], "max_output_tokens": 9, "tools": []},
    ),
    ("/openai/v1/responses", {"model": "gpt-4.1", "input": "hi", "instructions": "be kind", "stream": True}),
    ("/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
    (
        "/anthropic/v1/messages",
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 50,
            "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "w"}],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "metadata": {"user_id": "someone"},
        },
    ),
    ("/deepseek/chat/completions", {"model": "deepseek-chat", "messages": [{"role": "user", "content": "hi"}]}),
    ("/openai/v1/moderations", {"input": "hi"}),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, -(2**63), 10**30, 0.5, 1e308, "", "x", "\x00", "\ud83d\ude00"),
    *([], {}, [[]], [{}], {"type": "text"}, {"type": "image_url", "image_url": {"url": "data:x"}}, ["x"], "auto", "é"),
)
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b"%2f", b"..", b"//", b"?", b"#", b"\xff", b"\\", b'"'),
    *(b"{", b"}", b"[", b"]", b",", b"NaN", b"Infinity", b"1e999", b"\\ud800", b"\\u0065", b"1", b"-1", b"null"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"Expect: 100-continue\r\n"),
    *(b"X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n", b"x-api-key: k\r\n", b"HTTP/1.0", b"0\r\n\r\n", b"\r\n\r\n"),
    *(b"data: [DONE]\n\n", b'"usage":', b"\n\n"),
)


def written(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def events(*documents: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + written(document) + b"\n\n" for document in documents)


OPENAI_USAGE = {"prompt_tokens": 20, "completion_tokens": 50}
ANTHROPIC_USAGE = {"input_tokens": 2, "output_tokens": 5}
REPLIES = (
    written({"id": "x", "model": "gpt-4o-mini", "choices": [], "usage": OPENAI_USAGE}),
    written({"id": "m", "model": "claude-sonnet-4-5", "content": [], "usage": ANTHROPIC_USAGE}),
    written({"error": {"message": "no such model `x`", "type": "invalid_request_error", "code": "model_not_found"}}),
    events({"model": "gpt-4o-mini", "choices": [{"delta": {"content": "a"}}]}, {"choices": [], "usage": OPENAI_USAGE})
    + b"data: [DONE]\n\n",
    events(
        {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "usage": ANTHROPIC_USAGE}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": ANTHROPIC_USAGE},
        {"type": "message_stop"},
    ),
    events({"type": "response.completed", "response": {"model": "gpt-4.1", "usage": ANTHROPIC_USAGE}}),
)
NAMES = ("stream", "n", "max_tokens", "model", "tools", "type", "store", "x")


class Known:
    """A registry that knows one credential for every provider."""

    def fresh(self, entry: KeyEntry, now_us: int) -> bool:
        return True

    def credential_for(self, provider: str, entry: KeyEntry) -> CredentialRow | None:
        return CredentialRow("main", provider, "https://provider.test/base", b"secret")


class NoBooks:
    """Books that take everything."""

    def record(self, event: Any) -> None:
        pass


def mutated_json(rng: random.Random, value: Any) -> Any:
    """The same document with one value, member or element changed somewhere."""
    if rng.random() < 0.15:
        return rng.choice(VALUES)
    if isinstance(value, dict) and value:
        name = rng.choice(list(value))
        changed = dict(value)
        act = rng.random()
        if act < 0.1:
            del changed[name]
        elif act < 0.2:
            changed[rng.choice(NAMES)] = rng.choice(VALUES)
        else:
            changed[name] = mutated_json(rng, value[name])
        return changed
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value * rng.randrange(3)
        return [*value[:at], mutated_json(rng, value[at]), *value[at + 1 :]]
    return rng.choice(VALUES)


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """Some bytes changed, dropped, doubled or put in."""
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        at = rng.randrange(len(raw) + 1)
        to = min(len(raw), at + rng.choice((1, 1, 2, 8, 64)))
        act = rng.randrange(4)
        if act == 0:
            raw = raw[:at] + bytes([rng.randrange(256)]) + raw[to:]
        elif act == 1:
            raw = raw[:at] + raw[to:]
        elif act == 2:
            raw = raw[:to] + raw[at:to] + raw[to:]
        else:
            raw = raw[:at] + rng.choice(TOKENS) + raw[at:]
    return raw


def drawn_request(rng: random.Random) -> bytes:
    path, document = rng.choice(REQUESTS)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        document = mutated_json(rng, document)
    body = json.dumps(document).encode()
    if rng.random() < 0.3:
        body = mutated(rng, body)
    head = f"POST {path} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n".encode()
    if rng.random() < 0.3:
        at = rng.randrange(len(body) + 1)
        parts = [part for part in (body[:at], body[at:]) if part]
        raw = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        whole = head + b"Transfer-Encoding: chunked\r\n\r\n" + raw
    else:
        whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return mutated(rng, whole) if rng.random() < 0.5 else whole


def read(rng: random.Random, raw: bytes) -> tuple[Head, bytes] | Refused | None:
    """Through accept, in pieces of any size."""
    reader = RequestReader(LIMITS, Heads())
    head: Head | None = None
    at = 0
    while at < len(raw):
        size = rng.choice((1, 7, 100, len(raw)))
        reader.feed(raw[at : at + size])
        at += size
        if head is None:
            found = reader.head()
            if isinstance(found, Refused):
                return found
            head = found
        if head is not None:
            body = reader.body()
            if isinstance(body, Refused):
                return body
            if body is not None:
                return head, body
    return None


def one_request(rng: random.Random) -> str:
    """One request through accept, identify, admit and as far as what would be sent. Returns how far it came."""
    found = read(rng, drawn_request(rng))
    if found is None:
        return "incomplete"
    if isinstance(found, Refused):
        answer(found, "openai", close=True)
        return "accept"
    head, body = found
    key = presented(head)
    if not isinstance(key, Presented):
        return "identify"
    source = behind(
        of_peer("127.0.0.1"), TRUSTED, [value for name, value in head.headers if name == b"x-forwarded-for"]
    )
    entry = KeyEntry(KeyRow("k", b"d", "o", "t", "n", policy=rng.choice(POLICIES)))
    opening = open_request(head, entry, source, NOW_US, Known(), SETTINGS)
    book = Entry(NoBooks(), begin(head, source, entry, opening, NOW_US, "g"))  # type: ignore[arg-type]
    admitted = admit(opening, body, SETTINGS) if isinstance(opening, Opening) else opening
    if isinstance(admitted, AskRefused):
        add_ask(book.event, admitted.ask, b"k" * 32)
    if isinstance(admitted, Refused):
        answer(admitted, error_dialect(head.path), close=False)
        book.refused(admitted, error_dialect(head.path))
        return "admit"
    assert isinstance(opening, Opening)
    add_ask(book.event, admitted.ask, b"k" * 32)
    return sent(rng, admitted, head, key.query, body)


def sent(rng: random.Random, admitted: Admitted, head: Head, query: bytes, body: bytes) -> str:
    opening, ask = admitted.opening, admitted.ask
    bound = bounds.bound(opening.route.provider, ask, admitted.cap, NOW_US, settings=SETTINGS.ledger)
    if isinstance(bound, Refused):
        return "reserve"
    assert bound.nusd >= 0
    assert bound.tokens >= 0
    _, lines = forward.head(opening, head, query)
    raw_head, raw_body = forward.request(lines, opening.route, admitted, body)
    assert raw_head.count(b"\r\n\r\n") == 1
    assert raw_head.endswith(b"content-length: %d\r\n\r\n" % len(raw_body)) or not opening.route.has_body
    if opening.route.meter is not None and opening.route.has_body:
        again = read_document(raw_body)
        assert isinstance(again, dict), "what goes out reads as what came in"
        asked = opening.route.meter.ask(again, len(raw_body))
        assert not isinstance(asked, Refused), "what goes out is what was admitted"
        assert asked.model == ask.model
        assert all(isinstance(text, str) for text in opening.route.meter.texts(admitted.ask.document))
        if asked.has_output and admitted.write_cap and asked.output_cap is not None:
            assert asked.output_cap <= admitted.cap
    one_reply(rng, admitted)
    return "sent"


def one_reply(rng: random.Random, admitted: Admitted) -> None:
    body = rng.choice(REPLIES)
    body = mutated(rng, body) if rng.random() < 0.7 else body
    if rng.random() < 0.2:
        at = rng.randrange(len(body) + 1)
        body = body[:at] + SECRET + body[at:]
    kind = b"text/event-stream" if rng.random() < 0.5 else b"application/json"
    status = rng.choice((b"200 OK", b"200 OK", b"400 Bad Request", b"529 x", b"204 No Content"))
    raw = b"HTTP/1.1 " + status + b"\r\ncontent-type: " + kind + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    raw = mutated(rng, raw) if rng.random() < 0.3 else raw
    reader = ReplyReader()
    reply: Answer | None = None
    shown = b""
    at = 0
    while at < len(raw):
        size = rng.choice((1, 7, 100, len(raw)))
        try:
            reader.feed(raw[at : at + size])
        except ReplyBroken:
            break
        at += size
        if reader.head is not None and reply is None:
            meter = admitted.opening.route.meter
            reply = Answer(reader.head, meter, admitted.ask, version="1.1", keep=True, secret=SECRET)
        if reply is not None and (taken := reader.take()):
            shown += reply.content(taken)
    if reply is None:
        return
    shown += reply.end()
    if reply.status >= 400:
        assert SECRET not in shown
    outcome = reply.outcome()
    event = Event()
    add_outcome(event, outcome)
    ending = "answered" if reader.complete else "broken"
    due = charge(
        ending,
        reply.status,
        outcome,
        Hold(1000, 10, (0, 16), []),
        admitted.opening.route.provider,
        admitted.ask,
        NOW_US,
        metered=True,
    )
    assert due.nusd >= 0
    if not reader.complete and outcome.usage is None:
        assert due.nusd == 1000


def _fail(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


def run(seconds: float, seed: int, most: int = 1 << 62) -> dict[str, int]:
    """Fuzz for so long or so many requests; returns how many came how far. Raises what the core lets through."""
    answer_module.note = _fail
    reached: dict[str, int] = {}
    end = time.monotonic() + seconds
    number = 0
    while number < most and time.monotonic() < end:
        # Each request has a seed of its own, so that one can be had again alone.
        rng = random.Random(f"{seed}:{number}")
        try:
            how_far = one_request(rng)
        except BaseException:
            print(f"seed {seed}, request {number}", file=sys.stderr)
            raise
        reached[how_far] = reached.get(how_far, 0) + 1
        number += 1
    return reached


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {chosen}", flush=True)
    for phase, count in sorted(run(duration, chosen).items()):
        print(f"{phase:12} {count}")
