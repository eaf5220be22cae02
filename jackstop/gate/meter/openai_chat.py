"""OpenAI's Chat Completions dialect, which DeepSeek speaks too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.errors import Refused
from jackstop.gate.meter import fields, media, openai_request, probes
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter
from jackstop.gate.meter.fields import Malformed
from jackstop.gate.meter.openai_usage import NOTHING, ChatUsage, chat_usage, error_code
from jackstop.gate.meter.sse import FilteringReader, PassingReader
from jackstop.ledger import allowances

# Every member of the request in openai 3.54 (types/chat/completion_create_params.py) that costs nothing beyond the
# tokens it carries, or that `ask` reads.
KNOWN = frozenset(
    [
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "modalities",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
# https://api-docs.deepseek.com/api/create-chat-completion, read 2026-11-23.
KNOWN_DEEPSEEK = KNOWN | {"thinking", "user_id"}
# https://developers.openai.com/api/reference/resources/chat: `n` is at most 128.
_MOST_CHOICES = 128
_TOOLS = frozenset({"function", "custom"})
# Models that search the web whether asked to or not; the usage report does not count those searches.
_SEARCH_MODELS = ("-search-preview", "-search-api")
_AUDIO_MODELS = ("gpt-audio", "-audio-preview")


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    service_tier: str | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = NOTHING


class _BareChunk(msgspec.Struct):
    """The same without what a compatible server may shape in its own way."""

    id: str | None = None
    model: str | None = None
    choices: list[msgspec.Raw] | None = None
    service_tier: str | None = None
    usage: ChatUsage | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_BARE = msgspec.json.Decoder(_BareChunk)


class ChatMeter:
    """Chat Completions of one provider.

    `caps` are the members that it takes an output cap from; the first is written where the client set none.
    """

    dialect = "openai_chat"

    def __init__(self, provider: str, caps: tuple[str, ...], known: frozenset[str]) -> None:
        self.provider = provider
        self.caps = caps
        self.known = known

    def ask(self, body: Mapping[str, Any], size: int) -> Ask | Refused:
        """Read a request; see `Meter.ask`."""
        try:
            return self._ask(body, size)
        except Malformed as error:
            return error.refused()
        except RecursionError:
            return fields.TOO_DEEP

    def _ask(self, body: Mapping[str, Any], size: int) -> Ask:
        model = fields.model(body)
        messages = fields.items(body, "messages")
        if "messages" not in body:
            raise Malformed("`messages` is required")
        caps = [value for name in self.caps if (value := fields.whole_number(body, name)) is not None]
        tools = fields.items(body, "tools")
        functions = fields.items(body, "functions")
        seen = media.Seen(self.provider, model)
        first = ""
        system = ""
        for message in messages:
            if not isinstance(message, dict):
                raise Malformed("every entry of `messages` has to be an object")
            said = seen.chat_content(message.get("content"))
            if message.get("role") in ("system", "developer"):
                system = system or said
            elif message.get("role") == "user":
                first = first or said
            if message.get("audio") is not None:
                seen.unmetered = "audio"
        stream = fields.flag(body, "stream")
        options = fields.mapping(body, "stream_options")
        allowance = (
            allowances.PER_REQUEST
            + allowances.PER_MESSAGE * len(messages)
            + allowances.PER_TOOL * (len(tools) + len(functions))
            + seen.tokens
        )
        return Ask(
            model=model,
            stream=stream,
            input_bound=max(0, size - seen.data_bytes) + allowance,
            whole_context=seen.whole_context,
            output_cap=max((cap for cap in caps if cap > 0), default=None),
            extra_output=self._predicted(body),
            n=fields.count(body, "n", _MOST_CHOICES) or 1,
            cache_write="short" if self.provider == "openai" else "",
            service_tier=openai_request.tier(body),
            allowance=allowance,
            wants_usage=options is not None and fields.flag(options, "include_usage"),
            unbounded=seen.unbounded or fields.unknown(body, self.known),
            unmetered=seen.unmetered or _unmetered(body, model),
            probe=probes.chat(model, messages, caps, system, first),
            feature=seen.feature,
            messages_n=len(messages),
            tools_n=len(tools) + len(functions),
            end_user=openai_request.end_user(body),
            system_text=system,
            tools_text=fields.as_text(body.get("tools") or body.get("functions")),
            first_text=first,
        )

    def _predicted(self, body: Mapping[str, Any]) -> int:
        # Predicted tokens that the model rejects are billed as output on top of what it writes; the prediction has
        # at most one token a byte (types/chat/chat_completion_prediction_content_param.py).
        prediction = body.get("prediction")
        return 0 if prediction is None else len(fields.as_text(prediction).encode())

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:
        """Write the cap into the field that the client used, and ask for usage in a stream."""
        if cap is None and (ask.wants_usage or not ask.stream):
            return body
        rewriting = fields.Rewriting(body)
        if cap is not None:
            rewriting.cap(self.caps, cap)
        if ask.stream and not ask.wants_usage:
            rewriting.set("stream_options", {**(rewriting.get("stream_options") or {}), "include_usage": True})
        return rewriting.done()

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        reading = _Reading()
        reading.take(body)
        outcome = reading.outcome
        outcome.complete = outcome.usage is not None or bool(outcome.error_code)
        return outcome

    def stream(self, ask: Ask) -> StreamMeter:
        """A reader that takes the usage chunk out again where the client did not ask for it."""
        return _ChatStream(tier=ask.service_tier, strip=not ask.wants_usage)

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Every text of the request that becomes input tokens."""
        found = media.message_texts(body.get("messages"))
        for name in ("tools", "functions", "response_format", "tool_choice", "function_call"):
            found.append(fields.as_text(body.get(name)))
        return [text for text in found if text]


def _unmetered(body: Mapping[str, Any], model: str) -> str:
    """What of this request no usage report would show at its price."""
    modalities = fields.items(body, "modalities")
    if body.get("audio") is not None or "audio" in modalities or any(name in model for name in _AUDIO_MODELS):
        return "audio"
    if body.get("web_search_options") is not None or any(name in model for name in _SEARCH_MODELS):
        return "web search in chat completions"
    if openai_request.cache_write(body) == "long":
        # Chat usage does not tell long-lived cache writes from others.
        return "a cache lifetime that chat completions do not report"
    for tool in fields.items(body, "tools"):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str) or kind not in _TOOLS:
            return f"a tool of the type {str(kind)[:64]!r}"
    return openai_request.unlisted_tier(body)


class _Reading:
    """What one response or its chunks have said so far."""

    __slots__ = ("_tier", "outcome")

    def __init__(self, tier: str = "") -> None:
        self.outcome = Outcome()
        self._tier = tier

    def take(self, data: bytes) -> bool:
        """Take in one response or chunk; True when it carries usage and no choice."""
        chunk: _Chunk | _BareChunk
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            try:
                chunk = _BARE.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return False
        outcome = self.outcome
        outcome.model = chunk.model or outcome.model
        outcome.request_id = chunk.id or outcome.request_id
        self._tier = chunk.service_tier or self._tier
        if isinstance(chunk, _Chunk):
            self._choices(chunk)
        if chunk.usage is None or (usage := chat_usage(chunk.usage)) is None:
            return False
        usage.service_tier = self._tier
        outcome.usage = usage
        return chunk.choices is not None and not chunk.choices

    def _choices(self, chunk: _Chunk) -> None:
        outcome = self.outcome
        for choice in chunk.choices or ():
            outcome.stop_reason = choice.finish_reason or outcome.stop_reason
            if (delta := choice.delta) is not None:
                for said in (delta.content, delta.refusal, delta.reasoning_content):
                    if said:
                        outcome.output_bytes += len(said) if said.isascii() else len(said.encode())
        outcome.error_code = error_code(chunk.error) or outcome.error_code


class _ChatStream:
    """One streamed chat completion."""

    def __init__(self, *, tier: str, strip: bool) -> None:
        self._reading = _Reading(tier)
        self.outcome = self._reading.outcome
        self._reader = FilteringReader(self._read) if strip else PassingReader(self._read)

    def _read(self, data: bytes) -> bool:
        if data == b"[DONE]":
            self.outcome.complete = True
            return False
        return self._reading.take(data)

    def feed(self, chunk: bytes) -> bytes:
        return self._reader.feed(chunk)

    def end(self) -> bytes:
        return self._reader.end()


CHAT = ChatMeter("openai", ("max_completion_tokens", "max_tokens"), KNOWN)
