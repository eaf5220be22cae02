"""OpenAI's Chat Completions dialect, which DeepSeek speaks too."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from jackstop.gate.meter import content, fields, openai_request, probes, resale, texts
from jackstop.gate.meter.answers import NOTHING, UNREADABLE, Label, finished
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter
from jackstop.gate.meter.fields import Body, Members
from jackstop.gate.meter.openai_usage import ChatUsage, chat_usage, error_code
from jackstop.gate.meter.rewriting import Rewriting
from jackstop.gate.meter.sse import EventStream
from jackstop.ledger import allowances

# https://developers.openai.com/api/reference/resources/chat: `n` is at most 128.
_MOST_CHOICES = 128
_TOOLS = frozenset({"function", "custom"})
# Models that search the web whether asked to or not, which the usage report does not count, or that speak.
_UNMETERED_MODELS = re.compile(r"-search-preview|-search-api|gpt-audio|-audio-preview")


def _choices(ask: Ask, body: Body) -> None:
    ask.n = fields.count(body, "n", _MOST_CHOICES) or 1


def _prediction(ask: Ask, body: Body) -> None:
    # Predicted tokens that the model rejects are billed as output on top of what it writes; the prediction has
    # at most one token a byte (types/chat/chat_completion_prediction_content_param.py).
    ask.extra_output = len(fields.as_text(body["prediction"]).encode())


def _stream_options(ask: Ask, body: Body) -> None:
    options = fields.mapping(body, "stream_options")
    ask.wants_usage = options is not None and fields.flag(options, "include_usage")


def _tools(ask: Ask, body: Body) -> None:
    tools = fields.items(body, "tools")
    ask.tools_n += len(tools)
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str) or kind not in _TOOLS:
            ask.unmetered = ask.unmetered or f"a tool of the type {str(kind)[:64]!r}"


def _functions(ask: Ask, body: Body) -> None:
    ask.tools_n += len(fields.items(body, "functions"))


def _modalities(ask: Ask, body: Body) -> None:
    if "audio" in fields.items(body, "modalities"):
        ask.unmetered = "audio"


def _audio(ask: Ask, body: Body) -> None:  # noqa: ARG001
    ask.unmetered = "audio"


def _web_search(ask: Ask, body: Body) -> None:  # noqa: ARG001
    ask.unmetered = "web search in chat completions"


def _cache_lifetime(ask: Ask, body: Body) -> None:
    if openai_request.cache_write(body) == "long":
        # Chat usage does not tell long-lived cache writes from others.
        ask.unmetered = "a cache lifetime that chat completions do not report"


# Every member of the request in openai 3.54 (types/chat/completion_create_params.py).
MEMBERS = Members(
    {
        **dict.fromkeys(
            [
                "messages",
                "model",
                "frequency_penalty",
                "function_call",
                "logit_bias",
                "logprobs",
                "max_completion_tokens",
                "max_tokens",
                "metadata",
                "moderation",
                "parallel_tool_calls",
                "presence_penalty",
                "prompt_cache_key",
                "prompt_cache_retention",
                "reasoning_effort",
                "response_format",
                "safety_identifier",
                "seed",
                "stop",
                "store",
                "temperature",
                "tool_choice",
                "top_logprobs",
                "top_p",
                "user",
                "verbosity",
            ]
        ),
        "audio": _audio,
        "functions": _functions,
        "modalities": _modalities,
        "n": _choices,
        "prediction": _prediction,
        "prompt_cache_options": _cache_lifetime,
        "service_tier": openai_request.service_tier,
        "stream": fields.stream,
        "stream_options": _stream_options,
        "tools": _tools,
        "web_search_options": _web_search,
    }
)
# https://api-docs.deepseek.com/api/create-chat-completion, read 2026-11-23.
MEMBERS_DEEPSEEK = Members({**MEMBERS, "thinking": None, "user_id": None})
_PARTS: content.Kinds = {
    "text": content.text,
    "refusal": content.text,
    "image_url": content.image_url,
    "input_audio": content.audio,
    "file": content.file,
}


def _part(ask: Ask, part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    read = _PARTS.get(kind) if isinstance(kind, str) else None
    return content.unknown(ask, kind) if read is None else read(ask, part)


@lru_cache(maxsize=1024)
def _unmetered_by_model(model: str) -> str:
    """What no response of this model's reports, "" for most models."""
    found = _UNMETERED_MODELS.search(model)
    if found is None:
        return ""
    return "audio" if "audio" in found[0] else "web search in chat completions"


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    """A whole response, or one chunk of a stream."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    service_tier: Label | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = NOTHING


class _BareChunk(msgspec.Struct, gc=False):
    """The same without what a compatible server may shape in its own way."""

    id: str | None = None
    model: str | None = None
    choices: list[msgspec.Raw] | None = None
    service_tier: Label | None = None
    usage: ChatUsage | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_BARE = msgspec.json.Decoder(_BareChunk)


class ChatMeter:
    """Chat Completions of one provider.

    `caps` are the members that it takes an output cap from; the first is written where the client set none.
    """

    dialect = "openai_chat"

    def __init__(self, provider: str, caps: tuple[str, ...], members: Members) -> None:
        self.provider = provider
        self.caps = caps
        self.members = members
        self._cache_write = "short" if provider in allowances.AUTOMATIC_CACHE else ""

    @fields.answers_refused
    def ask(self, body: Body, size: int) -> Ask:
        """Read a request; see `Meter.ask`."""
        messages = fields.messages(body)
        ask = Ask(fields.model(body), body, input_bound=size, messages_n=len(messages), cache_write=self._cache_write)
        first_text = system_text = aside = ""
        for message in messages:
            said = message.get("content")
            if not isinstance(said, str):
                said = content.first_text(ask, said, _part)
            role = message.get("role")
            if role == "user":
                first_text = first_text or said
            elif role in ("system", "developer"):
                if not system_text:
                    system_text = said
                elif said[:1] == "[":
                    aside = aside or said
            if "audio" in message and message["audio"] is not None:
                ask.unmetered = "audio"
        ask.first_text = first_text
        ask.system_text = system_text
        self.members.read(ask, body)
        if unmetered := _unmetered_by_model(ask.model):
            ask.unmetered = unmetered
        ask.end_user = openai_request.end_user(body)
        if (tools := body.get("tools") or body.get("functions")) is not None:
            ask.tools_text = fields.as_text(tools)
        ask.probe = probes.chat(ask, messages, self._cap(ask, body))
        ask.markers = resale.chat(ask, messages, aside)
        template = allowances.PER_REQUEST + allowances.PER_MESSAGE * len(messages) + allowances.PER_TOOL * ask.tools_n
        content.bound_input(ask, self.provider, template)
        return ask

    def _cap(self, ask: Ask, body: Body) -> int | None:
        """Read the caps that the client set: the largest bounds the output, the lowest is returned."""
        lowest = None
        for name in self.caps:
            if name in body and (cap := fields.whole_number(body, name)) is not None:
                lowest = cap if lowest is None or cap < lowest else lowest
                if cap > (ask.output_cap or 0):
                    ask.output_cap = cap
        return lowest

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:
        """Write the cap into the field that the client used, and ask for usage in a stream."""
        if cap is None and (ask.wants_usage or not ask.stream):
            return body
        rewriting = Rewriting(body, ask)
        if cap is not None:
            rewriting.cap(self.caps, cap)
        if ask.stream and not ask.wants_usage:
            rewriting.set("stream_options", {**(ask.document.get("stream_options") or {}), "include_usage": True})
        return rewriting.done()

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        reading = _Reading()
        reading.take(body)
        return finished(reading.outcome)

    def stream(self, ask: Ask) -> StreamMeter:
        """A reader that takes the usage chunk out again where the client did not ask for it."""
        reading = _Reading(ask.service_tier)
        return EventStream(reading.outcome, reading.event, leaves_out=not ask.wants_usage)

    def texts(self, body: Body) -> list[str]:
        """Every text of the request that becomes input tokens."""
        members = ("tools", "functions", "response_format", "tool_choice", "function_call")
        return texts.with_members(texts.of_messages(body.get("messages")), body, members)


class _Reading:
    """What one response or its chunks have said so far."""

    __slots__ = ("_tier", "outcome")

    def __init__(self, tier: str = "") -> None:
        self.outcome = Outcome()
        self._tier = tier

    def event(self, data: bytes) -> bool:
        """Take in the data of one event; True when it carries usage and no choice."""
        if data == b"[DONE]":
            self.outcome.complete = True
            return False
        return self.take(data)

    def take(self, data: bytes) -> bool:
        """Take in one response or chunk; True when it carries usage and no choice."""
        chunk: _Chunk | _BareChunk
        outcome = self.outcome
        try:
            chunk = _CHUNK.decode(data)
            for choice in chunk.choices or ():
                outcome.stop_reason = choice.finish_reason or outcome.stop_reason
            if chunk.error is not NOTHING:
                outcome.error_code = error_code(chunk.error) or outcome.error_code
        except UNREADABLE:
            try:
                chunk = _BARE.decode(data)
            except UNREADABLE:
                return False
        outcome.model = chunk.model or outcome.model
        outcome.request_id = chunk.id or outcome.request_id
        if chunk.service_tier:
            self._tier = chunk.service_tier
        if chunk.usage is None or (usage := chat_usage(chunk.usage, self._tier)) is None:
            return False
        outcome.usage = usage
        return chunk.choices == []


CHAT = ChatMeter("openai", ("max_completion_tokens", "max_tokens"), MEMBERS)
