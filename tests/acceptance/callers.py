"""Official SDKs as applications use them, and what the books and the provider's bill say of their calls."""

import inspect
import json
from contextlib import contextmanager

import anthropic
import openai

from jackstop.events.schema import Event
from tests.acceptance.books import ask_control
from tests.acceptance.system import get, until

CHAT = "gpt-4o-mini"
RESPONSES = "gpt-5"
EMBEDDINGS = "text-embedding-3-small"
CLAUDE = "claude-haiku-4-5"
DEEPSEEK = "deepseek-v4-flash"
UNITS_PER_NUSD = 1_000_000
"""Rows of the practice providers count in millionths of a nano-dollar."""
EMPTY = {name: getattr(Event(ts=0, seen_ts=0), name) for name in Event.__struct_fields__}
"""An event's columns as they are where a journal leaves them out."""
ID_CHARS = 32
"""All that is common to the forms in which one provider's ids are written."""
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


_ID_HEADERS = ("x-request-id", "request-id", "x-ds-trace-id")


def request_id(answer):
    """What the provider's own id of the request ends with, of an answer or a stream."""
    response = getattr(answer, "response", None)
    if response is not None:
        return next(response.headers[name] for name in _ID_HEADERS if name in response.headers)[-ID_CHARS:]
    return (answer._request_id or answer.id)[-ID_CHARS:]


def provider_rows(system):
    """What the providers saw, by their own ids of the requests."""
    return {row["id"][-ID_CHARS:]: row for row in get(f"{system.sandbox.url}/_sandbox/requests", 30)}


def events_of(system, key_id, count=1):
    """The events of one key out of the gates' journals, oldest first, once there are at least so many."""

    def found():
        rows = [EMPTY | event for replay in system.replays() for _, event in replay.events if event["key_id"] == key_id]
        return sorted(rows, key=lambda row: row["ts"]) if len(rows) >= count else None

    return until(found, f"{count} events of a key", 60)


def settled(system, key_id, ids):
    """The events of a key's calls `ids`, after holding each of them, and the ledger, against the provider's bill."""
    events = events_of(system, key_id, len(ids))
    rows = provider_rows(system)
    known = {event["request_id"][-ID_CHARS:]: event for event in events}
    for ident in ids:
        event, row = known[ident[-ID_CHARS:]], rows[ident[-ID_CHARS:]]
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
            for row in ask_control(system, "budget show", scope=scope)["rows"]
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
