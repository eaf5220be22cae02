"""Anthropic as practice, and the Anthropic dialect of DeepSeek: messages, token counts and models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from jackstop.sandbox import generate
from jackstop.sandbox.catalogue import Model
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Exchange, Headers
from jackstop.sandbox.openai import bearer
from jackstop.sandbox.plan import Plan, plan, steps

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Anthropic:
    """api.anthropic.com, or the place at DeepSeek that speaks its dialect."""

    def __init__(self, provider: str = "anthropic") -> None:
        self.provider = provider

    def secret(self, headers: dict[bytes, bytes]) -> bytes:
        found = headers.get(b"x-api-key", b"").strip() or bearer(headers)
        if not found:
            raise ProviderError(401, "x-api-key header is required")
        return found

    def error(self, error: ProviderError, request_id: str) -> bytes:
        kind = error.kind or _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
        detail: dict[str, object] = {"type": kind, "message": error.message}
        if error.details is not None:
            detail["details"] = error.details
        return msgspec.json.encode({"type": "error", "error": detail, "request_id": request_id})

    def headers(self, request_id: str) -> Headers:
        if self.provider == "deepseek":
            return [(b"x-ds-trace-id", request_id.removeprefix("req_").encode())]
        return [
            (b"request-id", request_id.encode()),
            (b"anthropic-organization-id", b"00000000-0000-4000-8000-000000000000"),
            (b"anthropic-ratelimit-requests-limit", b"10000"),
            (b"anthropic-ratelimit-requests-remaining", b"9999"),
        ]


ANTHROPIC = Anthropic()
DEEPSEEK_ANTHROPIC = Anthropic("deepseek")


class MessageAnswer:
    """One message: thinking, then text or a tool call."""

    def __init__(self, exchange: Exchange, drawn: Plan, tool: tuple[str, object] | None, *, visible: bool) -> None:
        self._plan = drawn
        self._tool = tool
        self._visible_thinking = visible and drawn.reasoning > 0
        self._usage_known = not exchange.behaviour.no_usage
        self._chunk = exchange.behaviour.chunk
        self._id = f"msg_{exchange.ident}"
        self._deepseek = exchange.dialect.provider == "deepseek"

    @property
    def _stop(self) -> str:
        if self._tool is not None:
            return "tool_use"
        return "max_tokens" if self._plan.capped else "end_turn"

    def _message(self) -> dict[str, object]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._plan.model.snapshot,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
        }

    def _usage(self, output: int, reasoning: int) -> dict[str, object]:
        used = self._plan.tokens
        usage: dict[str, object] = {
            "input_tokens": used.fresh,
            "cache_creation_input_tokens": used.cache_write + used.cache_write_1h,
            "cache_read_input_tokens": used.cached,
            "output_tokens": output,
        }
        if self._deepseek:
            return usage | {"service_tier": "standard"}
        usage |= {
            "cache_creation": {
                "ephemeral_5m_input_tokens": used.cache_write,
                "ephemeral_1h_input_tokens": used.cache_write_1h,
            },
            "output_tokens_details": {"thinking_tokens": reasoning},
            "server_tool_use": None,
            "service_tier": "standard",
            "inference_geo": self._place(),
            "speed": "fast" if self._plan.tier.endswith("fast") else "standard",
        }
        if used.searches:
            usage["server_tool_use"] = {"web_search_requests": used.searches, "web_fetch_requests": 0}
        return usage

    def _place(self) -> str:
        if "us" not in self._plan.model.rates:
            return "not_available"
        return "us" if self._plan.tier.startswith("us") else "global"

    def _last_block(self) -> dict[str, object]:
        if self._tool is None:
            return {"type": "text", "text": generate.text(self._plan.seed, self._plan.reasoning, self._plan.visible)}
        name, schema = self._tool
        return {
            "type": "tool_use",
            "id": f"toolu_{self._id[4:]}",
            "name": name,
            "input": generate.sample(schema or {}),
            "caller": {"type": "direct"},
        }

    def whole(self) -> object:
        drawn = self._plan
        blocks: list[dict[str, object]] = []
        if self._visible_thinking:
            words = generate.text(drawn.seed, 0, drawn.reasoning)
            blocks.append({"type": "thinking", "thinking": words, "signature": "cHJhY3RpY2U="})
        blocks.append(self._last_block())
        message = self._message() | {"content": blocks, "stop_reason": self._stop}
        if self._usage_known:
            message["usage"] = self._usage(drawn.output, drawn.reasoning)
        return message

    def head(self) -> Iterator[bytes]:
        message = self._message()
        if self._usage_known:
            message["usage"] = self._usage(1, 0)
        yield _sse({"type": "message_start", "message": message})
        if self._visible_thinking:
            yield self._start(0, {"type": "thinking", "thinking": "", "signature": ""})
        else:
            yield self._start(0, self._empty())
        yield _sse({"type": "ping"})

    def _empty(self) -> dict[str, object]:
        block = self._last_block()
        if self._tool is None:
            return block | {"text": ""}
        return block | {"input": {}}

    def _start(self, index: int, block: dict[str, object]) -> bytes:
        return _sse({"type": "content_block_start", "index": index, "content_block": block})

    def _delta(self, index: int, kind: str, name: str, value: str) -> bytes:
        return _sse({"type": "content_block_delta", "index": index, "delta": {"type": kind, name: value}})

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        drawn = self._plan
        index, hidden, before = 0, 0, b""
        if self._visible_thinking:
            for at, amount in steps(0, drawn.reasoning, self._chunk):
                words = generate.text(drawn.seed, at, amount)
                yield self._delta(0, "thinking_delta", "thinking", words), amount
            before = self._delta(0, "signature_delta", "signature", "cHJhY3RpY2U=")
            before += _sse({"type": "content_block_stop", "index": 0}) + self._start(1, self._empty())
            index = 1
        else:
            hidden = drawn.reasoning
        if self._tool is not None:
            text = msgspec.json.encode(generate.sample(self._tool[1] or {})).decode()
            half = drawn.visible // 2
            yield before + self._delta(index, "input_json_delta", "partial_json", text[:7]), hidden + half
            yield self._delta(index, "input_json_delta", "partial_json", text[7:]), drawn.visible - half
            return
        visible = steps(drawn.reasoning, drawn.visible, self._chunk)
        if not visible:
            yield before + self._delta(index, "text_delta", "text", ""), hidden
        for at, amount in visible:
            words = generate.text(drawn.seed, at, amount)
            yield before + self._delta(index, "text_delta", "text", words), amount + hidden
            before, hidden = b"", 0

    def tail(self) -> Iterator[bytes]:
        yield _sse({"type": "content_block_stop", "index": 1 if self._visible_thinking else 0})
        end: dict[str, object] = {
            "type": "message_delta",
            "delta": {"stop_reason": self._stop, "stop_sequence": None, "stop_details": None, "container": None},
        }
        if self._usage_known:
            usage = self._usage(self._plan.output, self._plan.reasoning)
            named = (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
                "output_tokens_details",
                "server_tool_use",
            )
            end["usage"] = {name: usage[name] for name in named if usage.get(name) is not None}
        yield _sse(end)
        yield _sse({"type": "message_stop"})

    def fault(self) -> bytes:
        return _sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def _sse(value: dict[str, object]) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"


def input_tokens(body: Mapping[str, Any]) -> int:
    """The input of a messages request, by the published rule."""
    count = generate.Count()
    for message in body["messages"]:
        count.messages += 1
        if isinstance(message, Mapping):
            count.content(message.get("content"))
    count.content(body.get("system"))
    count.json(body.get("tools"))
    return count.tokens()


def _checked(exchange: Exchange) -> dict[str, Any]:
    body = exchange.json()
    if exchange.dialect.provider == "anthropic" and not exchange.header.get(b"anthropic-version"):
        raise ProviderError(400, "anthropic-version: header is required")
    for name, kind in (("model", str), ("messages", list)):
        if name not in body:
            raise ProviderError(400, f"{name}: Field required")
        if not isinstance(body[name], kind):
            raise ProviderError(400, f"{name}: Input should be a valid {kind.__name__}")
    if not body["messages"]:
        raise ProviderError(400, "messages: at least one message is required")
    if not isinstance(body.get("tools") or [], list):
        raise ProviderError(400, "tools: Input should be a valid list")
    return body


def _find_model(exchange: Exchange, name: str) -> Model:
    """Raises ProviderError for an unknown model; DeepSeek serves another one instead.

    Source of DeepSeek's mapping: https://api-docs.deepseek.com/guides/anthropic_api, read 2026-11-23.
    """
    catalogue = exchange.practice.catalogue
    provider = exchange.dialect.provider
    found = catalogue.find(provider, name)
    if found is None and provider == "deepseek":
        found = catalogue.find(provider, "deepseek-v4-pro" if name.startswith("claude-opus") else "deepseek-v4-flash")
    if found is None:
        raise ProviderError(404, f"model: {name}")
    return found


def _cap(model: Model, body: Mapping[str, Any]) -> int:
    cap = body.get("max_tokens")
    if cap is None:
        raise ProviderError(400, "max_tokens: Field required")
    if isinstance(cap, bool) or not isinstance(cap, int):
        raise ProviderError(400, "max_tokens: Input should be a valid integer")
    if cap < 1:
        raise ProviderError(400, "max_tokens: Input should be greater than or equal to 1")
    if cap > model.max_output:
        raise ProviderError(
            400,
            f"max_tokens: {cap} > {model.max_output}, which is the maximum allowed number of output tokens for "
            f"{model.id}",
        )
    return cap


def _tier(model: Model, body: Mapping[str, Any]) -> str:
    """Which of the model's rates fast mode and the place of inference call for.

    Source: https://platform.claude.com/docs/en/manage-claude/data-residency, read 2026-11-23.
    """
    if model.provider != "anthropic":
        return "default"
    fast, place = body.get("speed") == "fast", body.get("inference_geo")
    if place is not None and "us" not in model.rates:
        raise ProviderError(400, f"inference_geo: not supported by {model.id}")
    if place not in (None, "global", "us"):
        raise ProviderError(400, "inference_geo: Input should be 'global' or 'us'")
    if fast and "fast" not in model.rates:
        raise ProviderError(400, f"speed: fast mode is not supported by {model.id}")
    if place == "us":
        return "us_fast" if fast else "us"
    return "fast" if fast else "default"


def _thinks(model: Model, thinking: object) -> bool:
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if model.thinking == "always":
        return True
    if model.thinking == "default":
        return kind != "disabled"
    return kind in ("enabled", "adaptive")


def _tool_call(body: Mapping[str, Any], wanted: bool) -> tuple[str, object] | None:
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "none" or not (wanted or kind in ("any", "tool")):
        return None
    for tool in body.get("tools") or ():
        if isinstance(tool, Mapping) and "input_schema" in tool and isinstance(tool.get("name"), str):
            return tool["name"], tool["input_schema"]
    return None


def _searches(body: Mapping[str, Any], wanted: int) -> int:
    """As many web searches as the behaviour wants, within what the request's tool allows."""
    for tool in body.get("tools") or ():
        if isinstance(tool, Mapping) and str(tool.get("type", "")).startswith("web_search_"):
            most = tool.get("max_uses")
            return min(wanted, most) if isinstance(most, int) else wanted
    return 0


async def messages(exchange: Exchange) -> None:
    """POST /v1/messages."""
    if not await exchange.accept():
        return
    body = _checked(exchange)
    model = _find_model(exchange, body["model"])
    cap = _cap(model, body)
    counted = input_tokens(body)
    if counted > model.context:
        raise ProviderError(400, f"prompt is too long: {counted} tokens > {model.context} maximum")
    tier = _tier(model, body)
    thinking = body.get("thinking")
    drawn = plan(
        model,
        exchange.body,
        exchange.behaviour,
        input_tokens=counted,
        cap=cap,
        thinks=_thinks(model, thinking),
        tier=tier,
        searches=_searches(body, exchange.behaviour.searches) if model.search else 0,
    )
    shown = isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")
    tool = _tool_call(body, exchange.behaviour.tool > 0)
    answer = MessageAnswer(exchange, drawn, tool, visible=shown or exchange.dialect.provider == "deepseek")
    await exchange.infer(model, tier, drawn.tokens, answer, stream=body.get("stream") is True)


async def count_tokens(exchange: Exchange) -> None:
    """POST /v1/messages/count_tokens. Free."""
    if not await exchange.accept():
        return
    body = _checked(exchange)
    model = _find_model(exchange, body["model"])
    await exchange.reply(200, msgspec.json.encode({"input_tokens": input_tokens(body)}))
    exchange.book(model=model.snapshot, stayed=not exchange.gone)


def _model_object(model: Model) -> dict[str, object]:
    return {
        "type": "model",
        "id": model.snapshot,
        "display_name": model.name,
        "created_at": datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
        "line": model.id.split("-")[1],
        "deprecated_at": None,
        "retires_at": None,
        "capabilities": None,
        "max_input_tokens": model.context,
        "max_tokens": model.max_output,
    }


async def models(exchange: Exchange) -> None:
    """GET /v1/models, page by page."""
    if not await exchange.accept():
        return
    asked = parse_qs(exchange.query.decode("ascii", "replace"))
    limit = int(asked["limit"][0]) if asked.get("limit", ["x"])[0].isdigit() else 20
    listed = [_model_object(model) for model in exchange.practice.catalogue.of("anthropic")]
    names = [model["id"] for model in listed]
    after = asked.get("after_id", [""])[0]
    first = names.index(after) + 1 if after in names else 0
    page = listed[first : first + max(1, limit)]
    body = {
        "data": page,
        "has_more": first + len(page) < len(listed),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
    await exchange.reply(200, msgspec.json.encode(body))
    exchange.book(stayed=not exchange.gone)


async def model(exchange: Exchange, name: str) -> None:
    """GET /v1/models/{id}."""
    if not await exchange.accept():
        return
    found = exchange.practice.catalogue.find("anthropic", name)
    if found is None:
        raise ProviderError(404, f"model: {name}")
    await exchange.reply(200, msgspec.json.encode(_model_object(found)))
    exchange.book(model=found.snapshot, stayed=not exchange.gone)
