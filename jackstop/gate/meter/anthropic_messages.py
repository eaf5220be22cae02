"""Anthropic's Messages dialect, which DeepSeek speaks too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.errors import Refused
from jackstop.gate.meter import fields, media, probes
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter, Usage
from jackstop.gate.meter.fields import Malformed
from jackstop.gate.meter.openai_usage import NOTHING, Count, is_given
from jackstop.gate.meter.sse import PassingReader
from jackstop.ledger import allowances

# Members of anthropic 2.12 (types/message_create_params.py and types/beta/message_create_params.py) that cost nothing
# beyond the tokens they carry, or that `ask` reads. Missing on purpose, and so without bound: `mcp_servers` (calls
# between inferences without a maximum), `compaction` (an inference of its own), `fallbacks` and
# `fallback_credit_token` (an inference on another model), `thread` (input kept elsewhere), `billing_policy`.
KNOWN = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
_SERVICE_TIERS = frozenset({"", "auto", "standard_only"})
_SPEEDS = frozenset({"", "standard", "fast"})
_FREE_EDITS = ("clear_tool_uses_", "clear_thinking_")
# Tools that the caller runs; their schema comes from Anthropic.
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_2", "memory_", "tool_search_tool_")
_CLIENT_TOOLSETS = ("browser_toolset_", "computer_toolset_")
# More is beyond any request; the product with a context window stays within 64 bits.
_MOST_USES = 10_000
_DIRECT_TOOLS = frozenset({"web_search_20250305", "web_fetch_20250910"})
_BODY_BLOCKS = frozenset(
    [
        "text",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "server_tool_use",
        "web_search_tool_result",
        "tool_search_tool_result",
        "tool_reference",
        "mcp_tool_use",
        "mcp_tool_result",
    ]
)


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _ServerTools(msgspec.Struct):
    web_search_requests: Count | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """anthropic 2.12 types/usage.py and types/message_delta_usage.py; every field may be null."""

    input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: Count | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None


class _Message(msgspec.Struct):
    """A whole message, or one event of a stream."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    message: msgspec.Raw = NOTHING
    delta: _Delta | None = None
    error: _Error | None = None


_MESSAGE = msgspec.json.Decoder(_Message)


class MessagesMeter:
    """Messages of one provider."""

    dialect = "anthropic_messages"

    def __init__(self, provider: str) -> None:
        self.provider = provider

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
        if "messages" not in body:
            raise Malformed("`messages` is required")
        messages = fields.items(body, "messages")
        cap = fields.whole_number(body, "max_tokens")
        seen = media.Seen(self.provider, model)
        seen.cached(body.get("cache_control"))
        system = _content(seen, body.get("system"), "system")
        first = ""
        for message in messages:
            if not isinstance(message, dict):
                raise Malformed("every entry of `messages` has to be an object")
            said = _content(seen, message.get("content"), "content")
            if message.get("role") == "user":
                first = first or said
        tools = _Tools(seen)
        for tool in fields.items(body, "tools"):
            tools.add(tool)
        allowance = (
            allowances.PER_REQUEST
            + allowances.PER_MESSAGE * (len(messages) + 1)
            + (allowances.ANTHROPIC_TOOLS_PROMPT if tools.count else 0)
            + tools.tokens
            + seen.tokens
        )
        return Ask(
            model=model,
            stream=fields.flag(body, "stream"),
            input_bound=max(0, size - seen.data_bytes) + allowance,
            whole_context=seen.whole_context or tools.uses > 0,
            # A cap of zero fills the cache and writes nothing.
            output_cap=cap if cap is None or cap >= 0 else None,
            inferences=1 + tools.uses,
            cache_write=seen.cache_write,
            speed=_one_of(body, "speed", _SPEEDS, "fast"),
            inference_geo=fields.text(body, "inference_geo"),
            web_searches=tools.searches,
            allowance=allowance,
            wants_usage=True,
            unbounded=tools.unbounded or seen.unbounded or _unbounded(body),
            unmetered=seen.unmetered or tools.unmetered or _unmetered(body),
            probe=probes.chat(model, messages, [] if cap is None else [cap], system, first, zero_is_probe=False),
            feature=tools.feature or seen.feature,
            messages_n=len(messages),
            tools_n=tools.count,
            end_user=_end_user(body),
            system_text=system,
            tools_text=fields.as_text(body.get("tools")),
            first_text=first,
        )

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:  # noqa: ARG002
        """Write the cap into `max_tokens`."""
        if cap is None:
            return body
        rewriting = fields.Rewriting(body)
        rewriting.cap(("max_tokens",), cap)
        return rewriting.done()

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        return _Reading().whole(body)

    def stream(self, ask: Ask) -> StreamMeter:  # noqa: ARG002
        """A reader; nothing is ever taken out of this dialect's streams."""
        return _MessagesStream()

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Every text of the request that becomes input tokens."""
        found = media.content_texts(body.get("system")) + media.message_texts(body.get("messages"))
        found += (fields.as_text(body.get(name)) for name in ("tools", "output_config", "output_format", "tool_choice"))
        return [text for text in found if text]


def _one_of(body: Mapping[str, Any], name: str, allowed: frozenset[str], kept: str) -> str:
    value = fields.text(body, name)
    if value not in allowed:
        raise Malformed(f"`{name}` has to be one of {', '.join(sorted(allowed - {''}))}")
    return value if value == kept else ""


def _end_user(body: Mapping[str, Any]) -> str:
    metadata = fields.mapping(body, "metadata")
    value = metadata.get("user_id") if metadata else None
    return value if isinstance(value, str) else ""


def _unbounded(body: Mapping[str, Any]) -> str:
    management = fields.mapping(body, "context_management")
    for edit in fields.items(management, "edits") if management else ():
        kind = edit.get("type") if isinstance(edit, dict) else None
        if not isinstance(kind, str) or not kind.startswith(_FREE_EDITS):
            return "compaction"
    return fields.unknown(body, KNOWN)


def _unmetered(body: Mapping[str, Any]) -> str:
    if body.get("container") is not None:
        return "a container"
    if fields.text(body, "service_tier") not in _SERVICE_TIERS:
        return "a service tier without a list price"
    return ""


def _content(seen: media.Seen, content: Any, name: str) -> str:
    """Read a string or an array of blocks; returns its first text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Malformed(f"`{name}` has to be a string or an array")
    first = ""
    for block in content:
        if not isinstance(block, dict):
            raise Malformed(f"every entry of `{name}` has to be an object")
        said = _block(seen, block)
        first = first or said
    return first


def _block(seen: media.Seen, block: dict[str, Any]) -> str:
    seen.cached(block.get("cache_control"))
    kind = block.get("type")
    if isinstance(kind, list | dict):
        raise Malformed("`type` has to be a string")
    if kind == "text":
        said = block.get("text")
        return said if isinstance(said, str) else ""
    source = block.get("source")
    if kind == "image":
        seen.image(source.get("data") if isinstance(source, dict) and source.get("type") == "base64" else None)
    elif kind == "document":
        _document(seen, source)
    elif kind in ("tool_result", "search_result"):
        _content(seen, block.get("content"), "content")
    elif kind == "web_fetch_tool_result":
        result = block.get("content")
        document = result.get("content") if isinstance(result, dict) else None
        if isinstance(document, dict):
            _document(seen, document.get("source"))
    elif kind == "container_upload":
        seen.unmetered = "a container"
    elif kind not in _BODY_BLOCKS and not (isinstance(kind, str) and kind.endswith("code_execution_tool_result")):
        seen.strange(kind)
    return ""


def _document(seen: media.Seen, source: Any) -> None:
    kind = source.get("type") if isinstance(source, dict) else None
    if kind == "content":
        _content(seen, source.get("content"), "content")
    elif kind != "text":
        # A PDF, by data, URL or file id, has as many pages as it likes.
        seen.beyond("document")


class _Tools:
    """What the tools of a request can cause."""

    def __init__(self, seen: media.Seen) -> None:
        self._seen = seen
        self.count = 0
        self.tokens = 0
        self.uses = 0
        self.searches = 0
        self.unbounded = ""
        self.unmetered = ""
        self.feature = ""

    def add(self, tool: Any) -> None:
        if not isinstance(tool, dict):
            raise Malformed("every entry of `tools` has to be an object")
        self.count += 1
        self._seen.cached(tool.get("cache_control"))
        kind = fields.text(tool, "type")
        if kind in ("", "custom"):
            self.tokens += allowances.PER_TOOL
        elif kind.startswith(("web_search_", "web_fetch_")):
            self._server(tool, kind)
        elif kind.startswith(_CLIENT_TOOLSETS):
            self.tokens += allowances.BUILT_IN_TOOLSET
        elif kind.startswith(_CLIENT_TOOLS):
            self.tokens += allowances.BUILT_IN_TOOL
            if kind.startswith("tool_search_tool_"):
                self._without_maximum("tool_search")
        elif kind.startswith("code_execution_"):
            # Billed by the hour of container time, which no usage report shows.
            self.unmetered = "code execution"
        else:
            self._without_maximum(kind[:64])

    def _without_maximum(self, name: str) -> None:
        self.unbounded = self.unbounded or f"the tool {name}, which has no maximum of uses"
        self.feature = name

    def _server(self, tool: dict[str, Any], kind: str) -> None:
        name = "web_search" if kind.startswith("web_search_") else "web_fetch"
        self.feature = name
        self.tokens += allowances.BUILT_IN_TOOL
        uses = fields.count(tool, "max_uses", _MOST_USES)
        if uses is None:
            self.unbounded = f"the tool {name} without `max_uses`"
            return
        if kind not in _DIRECT_TOOLS and tool.get("allowed_callers") != ["direct"]:
            # Code that the model writes around it runs as often as it likes, each time with an inference after it.
            self.unbounded = f'the tool {kind[:64]}, which code may call; set `allowed_callers` to ["direct"]'
        self.uses += uses
        if name == "web_search":
            self.searches += uses


def _lay_over(found: _Usage, into: Usage) -> None:
    """Lay the non-null fields of a cumulative report over what was known."""
    details, tools = found.output_tokens_details, found.server_tool_use
    counts: dict[str, int | None] = {
        "input_tokens": found.input_tokens,
        "cache_read_tokens": found.cache_read_input_tokens,
        "output_tokens": found.output_tokens,
        "reasoning_tokens": details.thinking_tokens if details is not None else None,
        "web_searches": tools.web_search_requests if tools is not None else None,
    }
    for name, value in counts.items():
        if value is not None:
            setattr(into, name, value)
    for name in ("service_tier", "speed", "inference_geo"):
        text = getattr(found, name)
        if text is not None:
            setattr(into, name, text)
    written = found.cache_creation_input_tokens
    split = found.cache_creation
    if split is not None and split.ephemeral_1h_input_tokens is not None:
        into.cache_write_1h_tokens = split.ephemeral_1h_input_tokens
        into.cache_write_tokens = split.ephemeral_5m_input_tokens or 0
    if written is not None:
        # The split may be missing or late; the total holds.
        into.cache_write_tokens = max(into.cache_write_tokens, written - into.cache_write_1h_tokens)


class _Reading:
    """What one message or its events have said so far."""

    __slots__ = ("_has_input", "_has_output", "_lost", "_usage", "outcome")

    def __init__(self) -> None:
        self.outcome = Outcome()
        self._usage = Usage()
        self._has_input = False
        self._has_output = False
        self._lost = False

    def whole(self, body: bytes) -> Outcome:
        """Read one complete body."""
        self.take(body)
        outcome = self.outcome
        outcome.complete = outcome.usage is not None or bool(outcome.error_code)
        return outcome

    def take(self, data: bytes | msgspec.Raw) -> None:
        """Take in one message or event. Never raises."""
        try:
            found = _MESSAGE.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # A report that cannot be read would leave an earlier, smaller one standing.
            self._lost = self._lost or b'"usage"' in bytes(data)
            return
        outcome = self.outcome
        outcome.model = found.model or outcome.model
        outcome.request_id = found.id or outcome.request_id
        outcome.stop_reason = found.stop_reason or outcome.stop_reason
        if found.usage is not None:
            self._count(found.usage)
        if found.error is not None:
            outcome.error_code = (found.error.type or "error")[:128]
        if found.delta is not None:
            outcome.stop_reason = found.delta.stop_reason or outcome.stop_reason
            for said in (found.delta.text, found.delta.thinking, found.delta.partial_json):
                if said:
                    outcome.output_bytes += len(said) if said.isascii() else len(said.encode())
        if is_given(found.message):
            self.take(found.message)
        if found.type == "message_stop":
            outcome.complete = not self._lost

    def _count(self, found: _Usage) -> None:
        _lay_over(found, self._usage)
        self._has_input = self._has_input or found.input_tokens is not None
        self._has_output = self._has_output or found.output_tokens is not None
        if self._has_input and self._has_output:
            self.outcome.usage = self._usage


class _MessagesStream:
    """One streamed message."""

    def __init__(self) -> None:
        self._reading = _Reading()
        self.outcome = self._reading.outcome
        self._reader = PassingReader(self._reading.take)

    def feed(self, chunk: bytes) -> bytes:
        return self._reader.feed(chunk)

    def end(self) -> bytes:
        return self._reader.end()


MESSAGES = MessagesMeter("anthropic")
