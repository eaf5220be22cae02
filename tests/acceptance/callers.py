"""Official SDKs as applications use them, and what the books and the provider's bill say of their calls."""

import inspect
import json
from contextlib import contextmanager

import anthropic
import openai

from tests.acceptance.system import get, until

CHAT = "gpt-4o-mini"
RESPONSES = "gpt-5"
EMBEDDINGS = "text-embedding-3-small"
CLAUDE = "claude-haiku-4-5"
DEEPSEEK = "deepseek-v4-flash"
UNITS_PER_NUSD = 1_000_000
"""Rows of the practice providers count in millionths of a nano-dollar."""
BASES = {
    "openai": "/openai/v1",
    "anthropic": "/anthropic",
    "deepseek": "/deepseek",
    "deepseek-anthropic": "/deepseek/anthropic",
}


def say(directives="", words="Good morning"):
    """One user message, with the practice provider's instructions in it."""
    return [{"role": "user", "content": f"{words} [[sandbox: {directives}]]" if directives else words}]


@contextmanager
def client(make, system, key, base, **options):
    """An SDK's client with its default retries, unmodified but for base URL and key; closed at the end."""
    made = make(api_key=key, base_url=system.url + BASES[base], **options)
    try:
        yield made
    finally:
        if not inspect.iscoroutinefunction(made.close):
            made.close()


async def done(call):
    """The result of a call of a synchronous or an asynchronous client."""
    return await call if inspect.isawaitable(call) else call


async def everything(stream):
    """All that a stream brings."""
    return [each async for each in stream] if hasattr(stream, "__aiter__") else list(stream)


async def close(made):
    await done(made.close())


def request_id(answer):
    """The provider's own id of the request, of an answer or a stream."""
    response = getattr(answer, "response", None)
    if response is None:
        return answer._request_id
    return response.headers.get("x-request-id") or response.headers.get("request-id")


def provider_rows(system):
    """What the providers saw, by their own ids of the requests."""
    return {row["id"]: row for row in get(f"{system.sandbox.url}/_sandbox/requests", 30)}


def events_of(system, key_id, count=1):
    """The events of one key, oldest first, once there are at least so many."""

    def found():
        rows = sorted((row for row in system.events() if row["key_id"] == key_id), key=lambda row: row["ts"])
        return rows if len(rows) >= count else None

    return until(found, f"{count} events of a key", 60)


def settled(system, key_id, ids):
    """The events of a key's calls `ids`, after holding each of them, and the ledger, against the provider's bill."""
    events = events_of(system, key_id, len(ids))
    rows = provider_rows(system)
    known = {event["request_id"]: event for event in events}
    for ident in ids:
        event, row = known[ident], rows[ident]
        assert event["cost_nusd"] == -(-row["units"] // UNITS_PER_NUSD), (event, row)
        assert event["outcome"] == "ok"
        assert not event["estimated"]
        assert event["hold_nusd"] >= event["cost_nusd"]
        if row["units"]:
            assert event["price_known"]
            assert event["output_tokens"] == row["output_tokens"]
            assert event["model"] == row["model"]
    spent = sum(event["cost_nusd"] or 0 for event in events)
    scope = f"key:{key_id}"
    until(
        lambda: all(
            row["settled_nusd"] == spent and not row["held_nusd"]
            for row in system.json("budget", "show", scope)
            if row["scope"] == scope
        ),
        f"{spent} nano-dollars in the ledger for {scope}",
    )
    return events


def reason(error):
    """The gate's own word for a refusal, out of an SDK's exception."""
    return error.response.headers.get("x-jackstop-reason")


def refusal(answer):
    """The same out of a plain response: status, reason, and the error's body."""
    return answer.status, answer.headers.get("x-jackstop-reason"), json.loads(answer.read() or b"null")


OPENAI = (openai.OpenAI, openai.AsyncOpenAI)
ANTHROPIC = (anthropic.Anthropic, anthropic.AsyncAnthropic)
