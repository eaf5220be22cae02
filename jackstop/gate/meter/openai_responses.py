"""OpenAI's Responses dialect."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.gate.meter import content, fields, openai_request, probes, resale, texts
from jackstop.gate.meter.answers import MAX_CODE_CHARS, NOTHING, UNREADABLE, Count, Label, finished, is_given
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter
from jackstop.gate.meter.content import Part
from jackstop.gate.meter.fields import Body, Malformed, Members
from jackstop.gate.meter.openai_usage import ResponsesUsage, error_code, responses_usage
from jackstop.gate.meter.rewriting import with_cap
from jackstop.gate.meter.sse import EventStream
from jackstop.ledger import allowances

_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_OWN = frozenset({"function", "custom"})
_CLIENT_TOOLS = frozenset({"computer", "computer_use_preview", "local_shell", "apply_patch"})
# Tools that OpenAI runs, with an inference after each call, by the name of the feature.
_HOSTED = {"web_search": "web_search", "web_search_2025_08_26": "web_search", "file_search": "file_search"}
# Not built-in tools in the sense of `max_tool_calls`, so nothing limits their number.
_WITHOUT_MAXIMUM = frozenset({"tool_search", "mcp", "programmatic_tool_calling"})
# Items that declare tools in the midst of the input.
_TOOL_ITEMS = ("additional_tools", "tool_search_output")
_CAPS = ("max_output_tokens",)


def _background(ask: Ask, body: Body) -> None:
    if fields.flag(body, "background"):
        ask.unbounded = "a background run"


def _cache_lifetime(ask: Ask, body: Body) -> None:
    ask.cache_write = openai_request.cache_write(body)


def _reasoning(ask: Ask, body: Body) -> None:
    if fields.text(fields.mapping(body, "reasoning") or {}, "mode") not in {"", "standard"}:
        ask.unbounded = ask.unbounded or "a reasoning mode whose work the output cap is not known to cover"


# Members of openai 3.54 (types/responses/response_create_params.py). Missing on purpose, and so without bound:
# `background_options`, `context_management` (compaction is an inference of its own).
MEMBERS = Members(
    {
        **dict.fromkeys(
            [
                "access_programs",
                "conversation",
                "image",
                "include",
                "input",
                "instructions",
                "max_output_tokens",
                "max_tool_calls",
                "metadata",
                "model",
                "moderation",
                "parallel_tool_calls",
                "previous_response_id",
                "prompt",
                "prompt_cache_key",
                "prompt_cache_retention",
                "safety_identifier",
                "store",
                "stream_options",
                "temperature",
                "text",
                "tool_choice",
                "tools",
                "top_logprobs",
                "top_p",
                "truncation",
                "user",
            ]
        ),
        "background": _background,
        "prompt_cache_options": _cache_lifetime,
        "reasoning": _reasoning,
        "service_tier": openai_request.service_tier,
        "stream": fields.stream,
    }
)


_PARTS: content.Kinds = {
    **dict.fromkeys(["input_text", "output_text", "refusal", "text", "summary_text", "reasoning_text"], content.text),
    "input_image": content.image_url,
    "computer_screenshot": content.image_url,
    "input_audio": content.audio,
}


def _part(ask: Ask, part: Any) -> str:
    if not isinstance(part, dict):
        return content.file(ask, {})
    read = _PARTS.get(content.kind_of(part))
    if read is not None:
        return read(ask, part)
    # A shell's output has no type.
    return "" if part.get("type") is None and "stdout" in part else content.file(ask, part)


def _parts(ask: Ask, found: Any) -> str:
    """A content or output: text, parts, or a screenshot; returns its first text."""
    return content.first_text(ask, [found] if isinstance(found, dict) else found, _part)


def _message(ask: Ask, item: Part) -> str:
    """An item whose whole content is in the body."""
    _parts(ask, item.get("output"))
    return _parts(ask, item.get("content"))


def _stored(ask: Ask, item: Part) -> str:  # noqa: ARG001
    """An item that stands for something the provider has stored, or carries it in a form of its own."""
    return content.elsewhere(ask, "item_reference")


def _reasoned(ask: Ask, item: Part) -> str:
    # Without its encrypted content it is a reference to what the provider has stored.
    return "" if item.get("encrypted_content") else _stored(ask, item)


_ITEMS: content.Kinds = {
    **dict.fromkeys(
        [
            "message",
            "function_call",
            "function_call_output",
            "custom_tool_call",
            "custom_tool_call_output",
            "computer_call",
            "computer_call_output",
            "local_shell_call",
            "local_shell_call_output",
            "shell_call",
            "shell_call_output",
            "apply_patch_call",
            "apply_patch_call_output",
        ],
        _message,
    ),
    **dict.fromkeys(
        [
            "code_interpreter_call",
            "compaction",
            "file_search_call",
            "image_generation_call",
            "item_reference",
            "mcp_approval_request",
            "mcp_approval_response",
            "mcp_call",
            "mcp_list_tools",
            "program",
            "program_output",
            "tool_search_call",
            "web_search_call",
        ],
        _stored,
    ),
    "reasoning": _reasoned,
    **dict.fromkeys(_TOOL_ITEMS, content.in_body),
}


def _input(ask: Ask, body: Body) -> list[Any]:
    """Read the input: its system text, its first user text; returns its items, which count as messages."""
    given = body.get("input")
    if given is None:
        return [None]
    if isinstance(given, str):
        ask.first_text = given
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise Malformed("`input` has to be a string or an array")
    items = fields.objects(body, "input")
    for item in items:
        kind = item.get("type") or "message"
        if not isinstance(kind, str):
            raise Malformed("`type` has to be a string")
        read = _ITEMS.get(kind)
        said = content.unknown(ask, kind) if read is None else read(ask, item)
        role = item.get("role")
        if role == "user":
            ask.first_text = ask.first_text or said
        elif role in ("system", "developer"):
            ask.system_text = ask.system_text or said
    return items


def _tools(ask: Ask, body: Body, items: list[Any]) -> None:
    """Add what the tools of a request can cause, also those that its input declares."""
    tools = fields.objects(body, "tools")
    declared = [
        tool
        for item in items
        if isinstance(item, dict) and item.get("type") in _TOOL_ITEMS
        for tool in fields.objects(item, "tools")
    ]
    hosted = [name for tool in declared + tools if (name := _tool(ask, tool))]
    calls = fields.count(body, "max_tool_calls", fields.MOST_USES)
    ask.tools_n += len(declared) + len(tools)
    if not hosted:
        return
    ask.feature = hosted[-1]
    ask.whole_context = True
    ask.allowance += allowances.BUILT_IN_TOOL * len(hosted)
    if calls is None:
        ask.unbounded = ask.unbounded or f"the tool {hosted[-1]} without `max_tool_calls`"
        return
    # An inference after each call.
    ask.inferences += calls
    ask.web_searches = calls if "web_search" in hosted else 0
    ask.file_searches = calls if "file_search" in hosted else 0


def _tool(ask: Ask, tool: dict[str, Any]) -> str:
    """Add what one tool can cause; returns its name if OpenAI runs it, "" otherwise."""
    kind = fields.text(tool, "type")
    if kind in _OWN:
        return ""
    is_local = kind == "shell" and _is_local(tool.get("environment"))
    if kind in _CLIENT_TOOLS or is_local or (kind == "tool_search" and tool.get("execution") == "client"):
        ask.allowance += allowances.BUILT_IN_TOOL
    elif kind in _HOSTED:
        return _HOSTED[kind]
    elif kind in _WITHOUT_MAXIMUM:
        ask.unbounded = f"the tool {kind}, which has no maximum of calls"
        return kind
    elif kind == "namespace":
        inner = fields.items(tool, "tools")
        ask.tools_n += len(inner)
        if any(not isinstance(each, dict) or str(each.get("type")) not in _OWN for each in inner):
            ask.unmetered = "a tool in a namespace that is no function"
    else:
        # code_interpreter and hosted shells (container time), image_generation (another model's tokens),
        # web_search_preview (another price per call), and whatever is new.
        ask.unmetered = f"the tool {kind[:64]}"
    return ""


def _is_local(environment: Any) -> bool:
    return isinstance(environment, dict) and environment.get("type") == "local"


class _Item(msgspec.Struct, gc=False):
    type: str | None = None


class _Requests(msgspec.Struct, gc=False):
    num_requests: Count | None = None


class _ToolUsage(msgspec.Struct, gc=False):
    web_search: _Requests | None = None


class _Reason(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    incomplete_details: _Reason | None = None
    service_tier: Label | None = None
    usage: ResponsesUsage | None = None
    tool_usage: _ToolUsage | None = None
    output: list[_Item] | None = None
    error: msgspec.Raw = NOTHING


class _StreamEvent(msgspec.Struct, gc=False):
    type: str | None = None
    response: msgspec.Raw = NOTHING
    code: str | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_EVENT = msgspec.json.Decoder(_StreamEvent)
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponsesMeter:
    """The Responses dialect of one provider."""

    dialect = "openai_responses"

    def __init__(self, provider: str = "openai") -> None:
        self.provider = provider

    @fields.answers_refused
    def ask(self, body: Body, size: int) -> Ask:
        """Read a request; see `Meter.ask`."""
        ask = Ask(model=fields.model(body), document=body, input_bound=size, wants_usage=True, cache_write="short")
        cap = fields.whole_number(body, "max_output_tokens")
        ask.output_cap = cap if cap is None or cap > 0 else None
        items = _input(ask, body)
        ask.messages_n = len(items)
        ask.system_text = fields.text(body, "instructions") or ask.system_text
        for name in _ELSEWHERE:
            if body.get(name) is not None:
                content.elsewhere(ask, name)
        _tools(ask, body, items)
        ask.tools_text = fields.as_text(body.get("tools"))
        MEMBERS.read(ask, body)
        ask.end_user = openai_request.end_user(body)
        ask.probe = probes.chat(ask, items, cap)
        ask.markers = resale.chat(ask, items)
        # The instructions count as a message.
        template = allowances.PER_REQUEST + allowances.PER_MESSAGE * (len(items) + 1)
        content.bound_input(ask, self.provider, template + allowances.PER_TOOL * ask.tools_n)
        return ask

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:
        """Write the cap into `max_output_tokens`."""
        return with_cap(body, ask, _CAPS, cap)

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        reading = _Reading()
        reading.take(body)
        return finished(reading.outcome)

    def stream(self, ask: Ask) -> StreamMeter:
        """A reader; nothing is ever taken out of this dialect's streams."""
        reading = _Reading(ask.service_tier)
        return EventStream(reading.outcome, reading.event)

    def texts(self, body: Body) -> list[str]:
        """Every text of the request that becomes input tokens."""
        return texts.with_members(
            texts.of_messages(body.get("input")), body, ("instructions", "tools", "text", "tool_choice")
        )


class _Reading:
    """What one response or its events have said so far."""

    __slots__ = ("_tier", "outcome")

    def __init__(self, tier: str = "") -> None:
        self.outcome = Outcome()
        self._tier = tier

    def event(self, data: bytes) -> None:
        """Take in the data of one event. Never raises."""
        try:
            event = _EVENT.decode(data)
        except UNREADABLE:
            return
        if is_given(event.response):
            self.take(event.response)
        if event.type == "error":
            self.outcome.error_code = (event.code or "error")[:MAX_CODE_CHARS]
        elif event.type in _TERMINAL:
            self.outcome.complete = True

    def take(self, data: bytes | msgspec.Raw) -> None:
        """Take in a response. Never raises."""
        try:
            found = _RESPONSE.decode(data)
        except UNREADABLE:
            return
        outcome = self.outcome
        outcome.model = found.model or outcome.model
        outcome.request_id = found.id or outcome.request_id
        reason = found.incomplete_details.reason if found.incomplete_details else None
        outcome.stop_reason = reason or found.status or outcome.stop_reason
        outcome.error_code = error_code(found.error) or outcome.error_code
        if found.usage is None or (usage := responses_usage(found.usage)) is None:
            return
        kinds = [item.type for item in found.output or ()]
        reported = found.tool_usage.web_search if found.tool_usage else None
        usage.web_searches = max(kinds.count("web_search_call"), (reported and reported.num_requests) or 0)
        usage.file_searches = kinds.count("file_search_call")
        usage.service_tier = found.service_tier or self._tier
        outcome.usage = usage


RESPONSES = ResponsesMeter()
