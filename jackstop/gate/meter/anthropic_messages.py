"""Anthropic's Messages dialect, which DeepSeek speaks too."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.gate.meter import content, fields, probes, resale, texts
from jackstop.gate.meter.answers import MAX_CODE_CHARS, UNREADABLE, Count, Label, finished
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter, Usage
from jackstop.gate.meter.content import Part
from jackstop.gate.meter.fields import Body, Malformed, Members
from jackstop.gate.meter.rewriting import with_cap
from jackstop.gate.meter.sse import EventStream
from jackstop.ledger import allowances

_SERVICE_TIERS = frozenset({"", "auto", "standard_only"})
_SPEEDS = frozenset({"", "standard", "fast"})
_FREE_EDITS = ("clear_tool_uses_", "clear_thinking_")
# Tools that the caller runs; their schema comes from Anthropic.
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_2", "memory_", "tool_search_tool_")
_CLIENT_TOOLSETS = ("browser_toolset_", "computer_toolset_")
_DIRECT_TOOLS = frozenset({"web_search_20250305", "web_fetch_20250910"})
_CAPS = ("max_tokens",)
_MAX_GEO_CHARS = 64


def _cache_control(ask: Ask, body: Body) -> None:
    content.cache_control(ask, body["cache_control"])


def _container(ask: Ask, body: Body) -> None:  # noqa: ARG001
    ask.unmetered = "a container"


def _context_management(ask: Ask, body: Body) -> None:
    management = fields.mapping(body, "context_management") or {}
    for edit in fields.items(management, "edits"):
        kind = edit.get("type") if isinstance(edit, dict) else None
        if not isinstance(kind, str) or not kind.startswith(_FREE_EDITS):
            ask.unbounded = ask.unbounded or "compaction"


def _inference_geo(ask: Ask, body: Body) -> None:
    ask.inference_geo = fields.text(body, "inference_geo")
    if len(ask.inference_geo) > _MAX_GEO_CHARS:
        raise Malformed("`inference_geo` is longer than any region's name")


def _metadata(ask: Ask, body: Body) -> None:
    end_user = (fields.mapping(body, "metadata") or {}).get("user_id")
    ask.end_user = end_user if isinstance(end_user, str) else ""


def _service_tier(ask: Ask, body: Body) -> None:
    if fields.text(body, "service_tier") not in _SERVICE_TIERS:
        ask.unmetered = ask.unmetered or "a service tier without a list price"


def _speed(ask: Ask, body: Body) -> None:
    speed = fields.text(body, "speed")
    if speed not in _SPEEDS:
        raise Malformed("`speed` has to be one of fast, standard")
    ask.speed = "fast" if speed == "fast" else ""


# Members of anthropic 2.12 (types/message_create_params.py and types/beta/message_create_params.py). Missing on
# purpose, and so without bound: `mcp_servers` (calls between inferences without a maximum), `compaction` (an inference
# of its own), `fallbacks` and `fallback_credit_token` (an inference on another model), `thread` (input kept
# elsewhere), `billing_policy`.
MEMBERS = Members(
    {
        **dict.fromkeys(
            [
                "model",
                "messages",
                "max_tokens",
                "diagnostics",
                "output_config",
                "output_format",
                "stop_sequences",
                "system",
                "temperature",
                "thinking",
                "tool_choice",
                "tools",
                "top_k",
                "top_p",
            ]
        ),
        "cache_control": _cache_control,
        "container": _container,
        "context_management": _context_management,
        "inference_geo": _inference_geo,
        "metadata": _metadata,
        "service_tier": _service_tier,
        "speed": _speed,
        "stream": fields.stream,
    }
)


def _image(ask: Ask, block: Part) -> str:
    source = block.get("source")
    return content.image(
        ask, source.get("data") if isinstance(source, dict) and source.get("type") == "base64" else None
    )


def _document(ask: Ask, block: Part) -> str:
    source = block.get("source")
    if not isinstance(source, dict):
        source = {}
    if source.get("type") == "content":
        content.first_text(ask, source.get("content"), _block)
    elif source.get("type") != "text":
        # A PDF, by data, URL or file id, has as many pages as it likes.
        content.elsewhere(ask, "document")
    return ""


def _result(ask: Ask, block: Part) -> str:
    content.first_text(ask, block.get("content"), _block)
    return ""


def _fetched(ask: Ask, block: Part) -> str:
    result = block.get("content")
    document = result.get("content") if isinstance(result, dict) else None
    return _document(ask, document) if isinstance(document, dict) else ""


def _upload(ask: Ask, block: Part) -> str:  # noqa: ARG001
    ask.unmetered = "a container"
    return ""


_BLOCKS: content.Kinds = {
    "text": content.text,
    "thinking": content.in_body,
    "redacted_thinking": content.in_body,
    "tool_use": content.in_body,
    "server_tool_use": content.in_body,
    "web_search_tool_result": content.in_body,
    "tool_search_tool_result": content.in_body,
    "tool_reference": content.in_body,
    "mcp_tool_use": content.in_body,
    "mcp_tool_result": content.in_body,
    "image": _image,
    "document": _document,
    "tool_result": _result,
    "search_result": _result,
    "web_fetch_tool_result": _fetched,
    "container_upload": _upload,
}


def _block(ask: Ask, block: Any) -> str:
    if not isinstance(block, dict):
        raise Malformed("every block of content has to be an object")
    content.cache_control(ask, block.get("cache_control"))
    kind = content.kind_of(block)
    read = _BLOCKS.get(kind)
    if read is not None:
        return read(ask, block)
    return "" if kind.endswith("code_execution_tool_result") else content.unknown(ask, kind)


def _tool(ask: Ask, tool: dict[str, Any]) -> None:
    """Add what one tool can cause."""
    content.cache_control(ask, tool.get("cache_control"))
    kind = fields.text(tool, "type")
    if kind in ("", "custom"):
        ask.allowance += allowances.PER_TOOL
    elif kind.startswith("web_search_"):
        ask.web_searches += _server_tool(ask, tool, kind, "web_search")
    elif kind.startswith("web_fetch_"):
        _server_tool(ask, tool, kind, "web_fetch")
    elif kind.startswith(_CLIENT_TOOLSETS):
        ask.allowance += allowances.BUILT_IN_TOOLSET
    elif kind.startswith(_CLIENT_TOOLS):
        ask.allowance += allowances.BUILT_IN_TOOL
        if kind.startswith("tool_search_tool_"):
            _without_maximum(ask, "tool_search")
    elif kind.startswith("code_execution_"):
        # Billed by the hour of container time, which no usage report shows.
        ask.unmetered = "code execution"
    else:
        _without_maximum(ask, kind[:64])


def _without_maximum(ask: Ask, tool: str) -> None:
    ask.unbounded = ask.unbounded or f"the tool {tool}, which has no maximum of uses"
    ask.feature = tool


def _server_tool(ask: Ask, tool: dict[str, Any], kind: str, name: str) -> int:
    """Add a tool that Anthropic runs, with an inference after each use; returns how often it may be used."""
    ask.feature = name
    ask.allowance += allowances.BUILT_IN_TOOL
    uses = fields.count(tool, "max_uses", fields.MOST_USES)
    if uses is None:
        ask.unbounded = f"the tool {name} without `max_uses`"
        return 0
    if kind not in _DIRECT_TOOLS and tool.get("allowed_callers") != ["direct"]:
        # Code that the model writes around it runs as often as it likes, each time with an inference after it.
        ask.unbounded = f'the tool {kind[:64]}, which code may call; set `allowed_callers` to ["direct"]'
    ask.inferences += uses
    ask.whole_context = True
    return uses


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _ServerTools(msgspec.Struct, gc=False):
    web_search_requests: Count | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: Count | None = None


class _Usage(msgspec.Struct, gc=False):
    """anthropic 2.12 types/usage.py and types/message_delta_usage.py; every field may be null."""

    input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: Count | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _ServerTools | None = None
    service_tier: Label | None = None
    speed: Label | None = None
    inference_geo: Label | None = None


class _Delta(msgspec.Struct, gc=False):
    stop_reason: str | None = None


class _Error(msgspec.Struct, gc=False):
    type: str | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Event(_Message, gc=False):
    """A whole message, or one event of a stream."""

    type: str | None = None
    message: _Message | None = None
    delta: _Delta | None = None
    error: _Error | None = None


_EVENT = msgspec.json.Decoder(_Event)


def _aside(system: Any) -> str:
    """The first later block of a system prompt that is in brackets, "" without one."""
    if not isinstance(system, list):
        return ""
    texts_of = (block.get("text") for block in system[1:] if isinstance(block, dict))
    return next((said for said in texts_of if isinstance(said, str) and said[:1] == "["), "")


class MessagesMeter:
    """Messages of one provider."""

    dialect = "anthropic_messages"

    def __init__(self, provider: str) -> None:
        self.provider = provider

    @fields.answers_refused
    def ask(self, body: Body, size: int) -> Ask:
        """Read a request; see `Meter.ask`."""
        messages = fields.messages(body)
        ask = Ask(model=fields.model(body), document=body, input_bound=size, wants_usage=True, messages_n=len(messages))
        cap = fields.whole_number(body, "max_tokens")
        # A cap of zero fills the cache and writes nothing.
        ask.output_cap = cap if cap is None or cap >= 0 else None
        ask.system_text = content.first_text(ask, body.get("system"), _block, "system")
        for message in messages:
            said = content.first_text(ask, message.get("content"), _block)
            if message.get("role") == "user":
                ask.first_text = ask.first_text or said
        tools = fields.objects(body, "tools")
        for tool in tools:
            _tool(ask, tool)
        ask.tools_n = len(tools)
        ask.tools_text = fields.as_text(body.get("tools"))
        MEMBERS.read(ask, body)
        ask.probe = probes.chat(ask, messages, cap, zero_is_probe=False)
        ask.markers = resale.chat(ask, messages, _aside(body.get("system")))
        # The system prompt counts as a message.
        template = allowances.PER_REQUEST + allowances.PER_MESSAGE * (len(messages) + 1)
        content.bound_input(ask, self.provider, template + (allowances.ANTHROPIC_TOOLS_PROMPT if tools else 0))
        return ask

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:
        """Write the cap into `max_tokens`."""
        return with_cap(body, ask, _CAPS, cap)

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        reading = _Reading()
        reading.take(body)
        return finished(reading.outcome)

    def stream(self, ask: Ask) -> StreamMeter:  # noqa: ARG002
        """A reader; nothing is ever taken out of this dialect's streams."""
        reading = _Reading()
        return EventStream(reading.outcome, reading.take)

    def texts(self, body: Body) -> list[str]:
        """Every text of the request that becomes input tokens."""
        found = texts.of_content(body.get("system")) + texts.of_messages(body.get("messages"))
        return texts.with_members(found, body, ("tools", "output_config", "output_format", "tool_choice"))


def _lay_over(found: _Usage, into: Usage) -> None:
    """Lay the non-null fields of a cumulative report over what was known."""
    if found.input_tokens is not None:
        into.input_tokens = found.input_tokens
    if found.cache_read_input_tokens is not None:
        into.cache_read_tokens = found.cache_read_input_tokens
    if found.output_tokens is not None:
        into.output_tokens = found.output_tokens
    details, tools, split = found.output_tokens_details, found.server_tool_use, found.cache_creation
    if details is not None and details.thinking_tokens is not None:
        into.reasoning_tokens = details.thinking_tokens
    if tools is not None and tools.web_search_requests is not None:
        into.web_searches = tools.web_search_requests
    if found.service_tier is not None:
        into.service_tier = found.service_tier
    if found.speed is not None:
        into.speed = found.speed
    if found.inference_geo is not None:
        into.inference_geo = found.inference_geo
    if split is not None and split.ephemeral_1h_input_tokens is not None:
        into.cache_write_1h_tokens = split.ephemeral_1h_input_tokens
        into.cache_write_tokens = split.ephemeral_5m_input_tokens or 0
    written = found.cache_creation_input_tokens
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

    def take(self, data: bytes) -> None:
        """Take in one message or event. Never raises."""
        try:
            found = _EVENT.decode(data)
        except UNREADABLE:
            # A report that cannot be read would leave an earlier, smaller one standing.
            self._lost = self._lost or b'"usage"' in data
            return
        self._message(found)
        if found.message is not None:
            self._message(found.message)
        outcome = self.outcome
        if found.error is not None:
            outcome.error_code = (found.error.type or "error")[:MAX_CODE_CHARS]
        if found.delta is not None:
            outcome.stop_reason = found.delta.stop_reason or outcome.stop_reason
        if found.type == "message_stop":
            outcome.complete = not self._lost

    def _message(self, found: _Message) -> None:
        outcome = self.outcome
        outcome.model = found.model or outcome.model
        outcome.request_id = found.id or outcome.request_id
        outcome.stop_reason = found.stop_reason or outcome.stop_reason
        if found.usage is not None:
            self._count(found.usage)

    def _count(self, found: _Usage) -> None:
        _lay_over(found, self._usage)
        self._has_input = self._has_input or found.input_tokens is not None
        self._has_output = self._has_output or found.output_tokens is not None
        if self._has_input and self._has_output:
            self.outcome.usage = self._usage


MESSAGES = MessagesMeter("anthropic")
