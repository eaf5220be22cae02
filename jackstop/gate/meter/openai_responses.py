"""OpenAI's Responses dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.errors import Refused
from jackstop.gate.meter import fields, media, openai_request, probes
from jackstop.gate.meter.base import Ask, Outcome, StreamMeter
from jackstop.gate.meter.fields import Malformed
from jackstop.gate.meter.openai_usage import NOTHING, Count, ResponsesUsage, error_code, is_given, responses_usage
from jackstop.gate.meter.sse import PassingReader
from jackstop.ledger import allowances

# Members of openai 3.54 (types/responses/response_create_params.py) that cost nothing beyond the tokens they carry, or
# that `ask` reads. Missing on purpose, and so without bound: `background_options`, `context_management` (compaction
# is an inference of its own).
KNOWN = frozenset(
    [
        "access_programs",
        "background",
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
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
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
)
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
# Items whose whole content is in the body.
_BODY_ITEMS = frozenset(
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
    ]
)
# Items that stand for something the provider has stored, or carry it in a form of its own.
_STORED_ITEMS = frozenset(
    {
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
    }
)
# More is beyond any request; the product with a context window stays within 64 bits.
_MOST_CALLS = 10_000
# Items that declare tools in the midst of the input.
_TOOL_ITEMS = frozenset({"additional_tools", "tool_search_output"})
_OWN = frozenset({"function", "custom"})
_TEXT_PARTS = frozenset({"input_text", "output_text", "refusal", "text", "summary_text", "reasoning_text"})
_CLIENT_TOOLS = frozenset({"computer", "computer_use_preview", "local_shell", "apply_patch"})


class _Item(msgspec.Struct):
    type: str | None = None


class _Requests(msgspec.Struct):
    num_requests: Count | None = None


class _ToolUsage(msgspec.Struct):
    web_search: _Requests | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    incomplete_details: _Reason | None = None
    service_tier: str | None = None
    usage: ResponsesUsage | None = None
    tool_usage: _ToolUsage | None = None
    output: list[_Item] | None = None
    error: msgspec.Raw = NOTHING


class _StreamEvent(msgspec.Struct):
    type: str | None = None
    response: msgspec.Raw = NOTHING
    delta: msgspec.Raw = NOTHING
    code: str | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_EVENT = msgspec.json.Decoder(_StreamEvent)
_TEXT = msgspec.json.Decoder(str)
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponsesMeter:
    """The Responses dialect of one provider."""

    dialect = "openai_responses"

    def __init__(self, provider: str = "openai") -> None:
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
        cap = fields.whole_number(body, "max_output_tokens")
        seen = media.Seen(self.provider, model)
        instructions = fields.text(body, "instructions")
        tools = _Tools()
        system, first, messages = _input(seen, tools, body.get("input"))
        for tool in fields.items(body, "tools"):
            tools.add(tool)
        calls = fields.count(body, "max_tool_calls", _MOST_CALLS)
        for name in _ELSEWHERE:
            if body.get(name) is not None:
                seen.beyond(name)
        allowance = (
            allowances.PER_REQUEST
            + allowances.PER_MESSAGE * (len(messages) + 1)
            + allowances.PER_TOOL * tools.count
            + tools.tokens
            + seen.tokens
        )
        hosted = tools.hosted is not None
        return Ask(
            model=model,
            stream=fields.flag(body, "stream"),
            input_bound=max(0, size - seen.data_bytes) + allowance,
            whole_context=seen.whole_context or hosted,
            output_cap=cap if cap is None or cap > 0 else None,
            inferences=1 + (calls or 0) if hosted else 1,
            cache_write=openai_request.cache_write(body),
            service_tier=openai_request.tier(body),
            web_searches=(calls or 0) if "web_search" in tools.kinds else 0,
            file_searches=(calls or 0) if "file_search" in tools.kinds else 0,
            allowance=allowance,
            wants_usage=True,
            unbounded=_unbounded(body, tools, calls) or seen.unbounded,
            unmetered=seen.unmetered or tools.unmetered or openai_request.unlisted_tier(body),
            probe=probes.chat(model, messages, [] if cap is None else [cap], instructions or system, first),
            feature=tools.hosted or seen.feature,
            messages_n=len(messages),
            tools_n=tools.count,
            end_user=openai_request.end_user(body),
            system_text=instructions or system,
            tools_text=fields.as_text(body.get("tools")),
            first_text=first,
        )

    def rewrite(self, body: bytes, ask: Ask, cap: int | None) -> bytes:  # noqa: ARG002
        """Write the cap into `max_output_tokens`."""
        if cap is None:
            return body
        rewriting = fields.Rewriting(body)
        rewriting.cap(("max_output_tokens",), cap)
        return rewriting.done()

    def whole(self, body: bytes) -> Outcome:
        """Read a complete response; see `Meter.whole`."""
        outcome = Outcome()
        _read_response(body, outcome)
        outcome.complete = outcome.usage is not None or bool(outcome.error_code)
        return outcome

    def stream(self, ask: Ask) -> StreamMeter:
        """A reader; nothing is ever taken out of this dialect's streams."""
        return _ResponsesStream(ask.service_tier)

    def texts(self, body: Mapping[str, Any]) -> list[str]:
        """Every text of the request that becomes input tokens."""
        found = media.message_texts(body.get("input"))
        found += (fields.as_text(body.get(name)) for name in ("instructions", "tools", "text", "tool_choice"))
        return [text for text in found if text]


def _unbounded(body: Mapping[str, Any], tools: _Tools, calls: int | None) -> str:
    if fields.flag(body, "background"):
        return "a background run"
    if tools.unbounded:
        return tools.unbounded
    if tools.hosted is not None and calls is None:
        return f"the tool {tools.hosted} without `max_tool_calls`"
    reasoning = fields.mapping(body, "reasoning")
    if reasoning is not None and fields.text(reasoning, "mode") not in {"", "standard"}:
        return "a reasoning mode whose work the output cap is not known to cover"
    return fields.unknown(body, KNOWN)


def _input(seen: media.Seen, tools: _Tools, given: Any) -> tuple[str, str, list[Any]]:
    """Read the input: its system text, its first user text, and its items as messages."""
    if given is None:
        return "", "", [None]
    if isinstance(given, str):
        return "", given, [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise Malformed("`input` has to be a string or an array")
    system = first = ""
    for item in given:
        if not isinstance(item, dict):
            raise Malformed("every entry of `input` has to be an object")
        said = _item(seen, tools, item)
        if item.get("role") in ("system", "developer"):
            system = system or said
        elif item.get("role") == "user":
            first = first or said
    return system, first, given


def _item(seen: media.Seen, tools: _Tools, item: dict[str, Any]) -> str:
    kind = item.get("type") or "message"
    if not isinstance(kind, str):
        raise Malformed("`type` has to be a string")
    if kind == "reasoning":
        # Without its encrypted content it is a reference to what the provider has stored.
        if not item.get("encrypted_content"):
            seen.beyond("item_reference")
        return ""
    if kind in _TOOL_ITEMS:
        for tool in fields.items(item, "tools"):
            tools.add(tool)
        return ""
    if kind in _STORED_ITEMS:
        seen.beyond("item_reference")
        return ""
    if kind not in _BODY_ITEMS:
        seen.strange(kind)
        return ""
    _parts(seen, item.get("output"))
    return _parts(seen, item.get("content"))


def _parts(seen: media.Seen, content: Any) -> str:
    """A content or output: text, parts, or a screenshot; returns its first text."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise Malformed("`content` has to be a string or an array")
    first = ""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, list | dict):
            raise Malformed("`type` has to be a string")
        if kind in _TEXT_PARTS:
            said = part.get("text")
            first = first or (said if isinstance(said, str) else "")
        elif kind in ("input_image", "computer_screenshot"):
            seen.image(media.inline_image(part.get("image_url")))
        elif kind == "input_audio":
            seen.unmetered = "audio"
        elif kind is None and isinstance(part, dict) and "stdout" in part:
            continue
        else:
            seen.beyond("file")
    return first


class _Tools:
    """What the tools of a request can cause."""

    def __init__(self) -> None:
        self.count = 0
        self.tokens = 0
        self.kinds: set[str] = set()
        self.hosted: str | None = None
        self.unbounded = ""
        self.unmetered = ""

    def add(self, tool: Any) -> None:
        if not isinstance(tool, dict):
            raise Malformed("every entry of `tools` has to be an object")
        self.count += 1
        kind = fields.text(tool, "type")
        if kind in _OWN:
            return
        if kind == "namespace":
            self.count += len(fields.items(tool, "tools"))
            if any(not isinstance(inner, dict) or str(inner.get("type")) not in _OWN for inner in tool["tools"] or ()):
                self.unmetered = "a tool in a namespace that is no function"
        elif kind in _CLIENT_TOOLS or (kind == "shell" and _is_local(tool.get("environment"))):
            self.tokens += allowances.BUILT_IN_TOOL
        elif kind in ("web_search", "web_search_2025_08_26"):
            self._host("web_search")
        elif kind == "file_search":
            self._host("file_search")
        elif kind == "tool_search" and tool.get("execution") == "client":
            self.tokens += allowances.BUILT_IN_TOOL
        elif kind in ("tool_search", "mcp", "programmatic_tool_calling"):
            # Not built-in tools in the sense of `max_tool_calls`, so nothing limits their number.
            self._host(kind)
            self.unbounded = f"the tool {kind}, which has no maximum of calls"
        else:
            # code_interpreter and hosted shells (container time), image_generation (another model's tokens),
            # web_search_preview (another price per call), and whatever is new.
            self.unmetered = f"the tool {kind[:64]}"

    def _host(self, kind: str) -> None:
        self.tokens += allowances.BUILT_IN_TOOL
        self.kinds.add(kind)
        self.hosted = kind


def _is_local(environment: Any) -> bool:
    return isinstance(environment, dict) and environment.get("type") == "local"


def _read_response(data: bytes | msgspec.Raw, outcome: Outcome, tier: str = "") -> None:
    """Take in a response object. Never raises."""
    try:
        found = _RESPONSE.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
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
    usage.service_tier = found.service_tier or tier
    outcome.usage = usage


class _ResponsesStream:
    """One streamed response."""

    def __init__(self, tier: str) -> None:
        self.outcome = Outcome()
        self._tier = tier
        self._reader = PassingReader(self._read)

    def _read(self, data: bytes) -> None:
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if is_given(event.response):
            _read_response(event.response, self.outcome, self._tier)
        if event.type is not None and event.type.endswith(".delta") and is_given(event.delta):
            try:
                said = _TEXT.decode(event.delta)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                said = ""
            self.outcome.output_bytes += len(said) if said.isascii() else len(said.encode())
        if event.type == "error":
            self.outcome.error_code = (event.code or "error")[:128]
        if event.type in _TERMINAL:
            self.outcome.complete = True

    def feed(self, chunk: bytes) -> bytes:
        return self._reader.feed(chunk)

    def end(self) -> bytes:
        return self._reader.end()


RESPONSES = ResponsesMeter()
