"""Chat completions, as OpenAI speaks them and as DeepSeek does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jackstop.sandbox import generate, openai
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Exchange
from jackstop.sandbox.plan import Plan, plan, steps

_MAX_CHOICES = 128


class Tool(msgspec.Struct, frozen=True):
    """The call that an answer makes: a name and arguments as JSON text."""

    name: str
    arguments: str


class ChatAnswer:
    """One chat completion with its choices."""

    def __init__(
        self,
        exchange: Exchange,
        drawn: Plan,
        *,
        tool: Tool | None,
        structured: str,
        usage_asked: bool,
        deepseek: bool,
        created: int,
    ) -> None:
        self._plan = drawn
        self._tool = tool
        self._structured = structured
        self._usage_asked = usage_asked and not exchange.behaviour.no_usage
        self._usage_known = not exchange.behaviour.no_usage
        self._deepseek = deepseek
        self._chunk = exchange.behaviour.chunk
        self._id = f"chatcmpl-{exchange.ident}"
        self._envelope = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": drawn.model.snapshot,
            "service_tier": drawn.tier,
            "system_fingerprint": "fp_practice00",
        }
        if deepseek:
            del self._envelope["service_tier"]

    @property
    def _finish(self) -> str:
        if self._tool is not None:
            return "tool_calls"
        return "length" if self._plan.capped else "stop"

    def whole(self) -> object:
        answer: dict[str, object] = {
            **self._envelope,
            "object": "chat.completion",
            "choices": [self._choice(index) for index in range(self._plan.choices)],
        }
        if self._usage_known:
            answer["usage"] = self._usage()
        return answer

    def _choice(self, index: int) -> dict[str, object]:
        drawn = self._plan
        message: dict[str, object] = {"role": "assistant", "content": None}
        if not self._deepseek:
            message |= {"refusal": None, "annotations": []}
        elif drawn.reasoning:
            message["reasoning_content"] = generate.text(drawn.seed + index, 0, drawn.reasoning)
        if self._tool is None:
            message["content"] = self._structured or generate.text(drawn.seed + index, drawn.reasoning, drawn.visible)
        else:
            call = {"name": self._tool.name, "arguments": self._tool.arguments}
            message["tool_calls"] = [{"id": self._call_id(index), "type": "function", "function": call}]
        return {"index": index, "message": message, "logprobs": None, "finish_reason": self._finish}

    def _call_id(self, index: int) -> str:
        return f"call_{self._id[-20:]}{index:04d}"

    def _usage(self) -> dict[str, object]:
        used = self._plan.tokens
        usage: dict[str, object] = {
            "prompt_tokens": used.input,
            "completion_tokens": used.output,
            "total_tokens": used.input + used.output,
        }
        if self._deepseek:
            usage["prompt_tokens_details"] = {"cached_tokens": used.cached}
            usage["completion_tokens_details"] = {"reasoning_tokens": used.reasoning}
            usage["prompt_cache_hit_tokens"] = used.cached
            usage["prompt_cache_miss_tokens"] = used.input - used.cached
            return usage
        usage["prompt_tokens_details"] = {
            "cached_tokens": used.cached,
            "audio_tokens": 0,
            "cache_write_tokens": used.cache_write + used.cache_write_1h,
        }
        usage["completion_tokens_details"] = {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        }
        return usage

    def _event(self, index: int, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk: dict[str, object] = {**self._envelope, "choices": [choice]}
        if self._usage_asked:
            chunk["usage"] = None
        elif self._deepseek and finish and self._usage_known and index == self._plan.choices - 1:
            chunk["usage"] = self._usage()
        return _sse(chunk)

    def head(self) -> Iterator[bytes]:
        if self._deepseek:
            yield b": keep-alive\n\n"
        for index in range(self._plan.choices):
            first: dict[str, object] = {"role": "assistant", "content": None if self._tool else ""}
            if not self._deepseek:
                first["refusal"] = None
            yield self._event(index, first)

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        drawn, choices = self._plan, range(self._plan.choices)
        hidden = 0
        if self._deepseek:
            for at, amount in steps(0, drawn.reasoning, self._chunk):
                for index in choices:
                    words = generate.text(drawn.seed + index, at, amount)
                    yield self._event(index, {"reasoning_content": words, "content": None}), amount
        else:
            hidden = drawn.reasoning
        if self._tool is not None or self._structured:
            yield from self._json_pieces(hidden)
            return
        visible = steps(drawn.reasoning, drawn.visible, self._chunk)
        if not visible and hidden:
            for index in choices:
                yield self._event(index, {}), hidden
        for at, amount in visible:
            for index in choices:
                words = generate.text(drawn.seed + index, at, amount)
                yield self._event(index, {"content": words}), amount + hidden
            hidden = 0

    def _json_pieces(self, hidden: int) -> Iterator[tuple[bytes, int]]:
        """Arguments or a structured answer: the text is as long as it is, the tokens as many as planned."""
        text = self._tool.arguments if self._tool else self._structured
        halves = (text[: len(text) // 2], text[len(text) // 2 :])
        amounts = (hidden + self._plan.visible // 2, self._plan.visible - self._plan.visible // 2)
        for number, (part, amount) in enumerate(zip(halves, amounts, strict=True)):
            for index in range(self._plan.choices):
                if self._tool is None:
                    yield self._event(index, {"content": part}), amount
                    continue
                call: dict[str, object] = {"index": 0, "function": {"arguments": part}}
                if number == 0:
                    call |= {"id": self._call_id(index), "type": "function"}
                    call["function"] = {"name": self._tool.name, "arguments": part}
                yield self._event(index, {"tool_calls": [call]}), amount

    def tail(self) -> Iterator[bytes]:
        for index in range(self._plan.choices):
            last: dict[str, object] = {"content": ""} if self._deepseek else {}
            yield self._event(index, last, self._finish)
        if self._usage_asked:
            yield _sse({**self._envelope, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def fault(self) -> bytes:
        detail = {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": "server_error",
            "param": None,
            "code": None,
        }
        return _sse({"error": detail})


def _sse(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def input_tokens(body: Mapping[str, Any]) -> int:
    """The input of a chat request, by the published rule."""
    count = generate.Count()
    for message in body["messages"]:
        count.messages += 1
        if not isinstance(message, Mapping):
            continue
        count.text(message.get("name"))
        count.content(message.get("content"))
        count.text(message.get("reasoning_content"))
        for call in message.get("tool_calls") or ():
            if isinstance(call, Mapping):
                count.part(call.get("function"))
    count.json(body.get("tools"))
    count.json(body.get("functions"))
    count.json(body.get("response_format"))
    return count.tokens()


def first_tool(tools: object) -> tuple[str, object] | None:
    """Name and parameter schema of the first function among the tools, in either of OpenAI's shapes."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            return function["name"], function.get("parameters")
    return None


def tool_call(body: Mapping[str, Any], wanted: bool) -> Tool | None:
    """The call to make: when the behaviour wants one, or the request insists on one."""
    choice = body.get("tool_choice")
    insists = choice == "required" or isinstance(choice, Mapping)
    found = first_tool(body.get("tools"))
    if found is None or choice == "none" or not (wanted or insists):
        return None
    return Tool(found[0], msgspec.json.encode(generate.sample(found[1] or {})).decode())


def structured(form: object) -> str:
    """The answer that a response format asks for, as JSON text; empty when it asks for plain text."""
    if not isinstance(form, Mapping):
        return ""
    if form.get("type") == "json_object":
        return '{"answer":"practice"}'
    if form.get("type") == "json_schema":
        inner = form.get("json_schema", form)
        return msgspec.json.encode(generate.sample(inner.get("schema", {}))).decode()
    return ""


def _messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise ProviderError(
            400,
            "Missing required parameter: 'messages'.",
            kind="invalid_request_error",
            code="missing_required_parameter",
            param="messages",
        )
    if not isinstance(messages, list) or not messages:
        raise ProviderError(
            400,
            "Invalid 'messages': expected an array with at least one message.",
            kind="invalid_request_error",
            code="invalid_type",
            param="messages",
        )


def _usage_asked(body: Mapping[str, Any], stream: bool) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not stream:
        raise ProviderError(
            400,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            kind="invalid_request_error",
            param="stream_options",
        )
    return isinstance(options, Mapping) and options.get("include_usage") is True


async def completions(exchange: Exchange) -> None:
    """POST /v1/chat/completions at OpenAI."""
    if not await exchange.accept():
        return
    body = exchange.json()
    model = openai.find_model(exchange, body.get("model"))
    _messages(body)
    if model.thinking == "always" and body.get("max_tokens") is not None:
        raise ProviderError(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            kind="invalid_request_error",
            code="unsupported_parameter",
            param="max_tokens",
        )
    stream = body.get("stream") is True
    asked = _usage_asked(body, stream)
    caps = [openai.whole_number(body, name, most=model.max_output) for name in ("max_completion_tokens", "max_tokens")]
    counted = input_tokens(body)
    openai.check_context(model, counted)
    drawn = plan(
        model,
        exchange.body,
        exchange.behaviour,
        input_tokens=counted,
        cap=caps[0] or caps[1],
        thinks=model.thinking == "always" and body.get("reasoning_effort") not in ("none", "minimal"),
        tier=openai.service_tier(model, body.get("service_tier")),
        choices=openai.whole_number(body, "n", most=_MAX_CHOICES) or 1,
    )
    answer = ChatAnswer(
        exchange,
        drawn,
        tool=tool_call(body, exchange.behaviour.tool > 0),
        structured=structured(body.get("response_format")),
        usage_asked=asked,
        deepseek=False,
        created=exchange.ts_us // 1_000_000,
    )
    await exchange.infer(model, drawn.tier, drawn.tokens, answer, stream=stream)


async def deepseek_completions(exchange: Exchange) -> None:
    """POST /chat/completions at DeepSeek."""
    if not await exchange.accept():
        return
    body = exchange.json()
    model = exchange.practice.catalogue.find("deepseek", body.get("model"))
    if model is None:
        raise ProviderError(400, "Model Not Exist")
    _messages(body)
    stream = body.get("stream") is True
    asked = _usage_asked(body, stream)
    cap = openai.whole_number(body, "max_tokens", most=model.max_output)
    thinking = body.get("thinking")
    drawn = plan(
        model,
        exchange.body,
        exchange.behaviour,
        input_tokens=input_tokens(body),
        cap=cap,
        thinks=not (isinstance(thinking, Mapping) and thinking.get("type") == "disabled"),
    )
    answer = ChatAnswer(
        exchange,
        drawn,
        tool=tool_call(body, exchange.behaviour.tool > 0),
        structured=structured(body.get("response_format")),
        usage_asked=asked,
        deepseek=True,
        created=exchange.ts_us // 1_000_000,
    )
    await exchange.infer(model, drawn.tier, drawn.tokens, answer, stream=stream)
