"""OpenAI's responses: items of output, and the events that build them up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from jackstop.sandbox import generate, openai
from jackstop.sandbox.chat import Tool, structured, tool_call
from jackstop.sandbox.errors import ProviderError
from jackstop.sandbox.exchange import Exchange
from jackstop.sandbox.plan import Plan, plan, steps

_LEAST_CAP = 16
_REMEMBERED = 10_000
_ECHOED: dict[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
}


class ResponseAnswer:
    """One response: reasoning, searches, then a message or a function call."""

    def __init__(
        self, exchange: Exchange, drawn: Plan, body: Mapping[str, Any], *, tool: Tool | None, structured: str
    ) -> None:
        self._plan = drawn
        self._tool = tool
        self._usage_known = not exchange.behaviour.no_usage
        self._chunk = exchange.behaviour.chunk
        self._ident = exchange.ident
        self._created = exchange.ts_us // 1_000_000
        self._text = structured
        self._seq = 0
        self.id = f"resp_{exchange.ident}"
        asked = body.get("reasoning")
        self._fields: dict[str, object] = {
            **_ECHOED,
            **{name: body[name] for name in _ECHOED if body.get(name) is not None},
            "background": False,
            "reasoning": {"effort": asked.get("effort") if isinstance(asked, Mapping) else None, "summary": None},
            "service_tier": drawn.tier,
            "text": {"format": {"type": "text"}, **(body.get("text") or {})},
        }

    @property
    def _cut_short(self) -> bool:
        return self._plan.capped and self._tool is None

    def _response(self, status: str, output: list[dict[str, object]]) -> dict[str, object]:
        over = status in {"completed", "incomplete"}
        response: dict[str, object] = {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self._plan.model.snapshot,
            "output": output,
            **self._fields,
        }
        if status == "completed":
            response["completed_at"] = self._created
        if over and self._usage_known:
            response["usage"] = self._usage()
        return response

    def _usage(self) -> dict[str, object]:
        used = self._plan.tokens
        return {
            "input_tokens": used.input,
            "input_tokens_details": {
                "cached_tokens": used.cached,
                "cache_write_tokens": used.cache_write + used.cache_write_1h,
            },
            "output_tokens": used.output,
            "output_tokens_details": {"reasoning_tokens": used.reasoning},
            "total_tokens": used.input + used.output,
        }

    def _before(self) -> list[dict[str, object]]:
        """The items that stand before the message."""
        items: list[dict[str, object]] = []
        if self._plan.reasoning:
            items.append({"id": f"rs_{self._ident}", "type": "reasoning", "summary": []})
        items.extend(
            {
                "id": f"ws_{self._ident}{number:04d}",
                "type": "web_search_call",
                "status": "completed",
                "action": {"type": "search", "query": "practice", "queries": ["practice"]},
            }
            for number in range(self._plan.tokens.searches)
        )
        return items

    def _item(self, status: str) -> dict[str, object]:
        """The message or the call: empty while in progress."""
        done = status != "in_progress"
        if self._tool is not None:
            return {
                "id": f"fc_{self._ident}",
                "type": "function_call",
                "call_id": f"call_{self._ident[-24:]}",
                "name": self._tool.name,
                "arguments": self._tool.arguments if done else "",
                "status": status,
            }
        return {
            "id": f"msg_{self._ident}",
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [self._part(self._words())] if done else [],
        }

    def _words(self) -> str:
        return self._text or generate.text(self._plan.seed, self._plan.reasoning, self._plan.visible)

    def _part(self, text: str) -> dict[str, object]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def whole(self) -> object:
        status = "incomplete" if self._cut_short else "completed"
        return self._response(status, [*self._before(), self._item(status)])

    def _event(self, kind: str, **fields: object) -> bytes:
        event = {"type": kind, **fields, "sequence_number": self._seq}
        self._seq += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"

    def head(self) -> Iterator[bytes]:
        opening = self._response("in_progress", [])
        yield self._event("response.created", response=opening)
        yield self._event("response.in_progress", response=opening)

    def _opening(self) -> bytes:
        """The events between the start of generating and the first visible token."""
        before = self._before()
        events = b""
        for index, item in enumerate(before):
            events += self._event("response.output_item.added", output_index=index, item=item)
            events += self._event("response.output_item.done", output_index=index, item=item)
        events += self._event("response.output_item.added", output_index=len(before), item=self._item("in_progress"))
        if self._tool is None:
            events += self._event("response.content_part.added", **self._place(), part=self._part(""))
        return events

    def _place(self) -> dict[str, object]:
        place: dict[str, object] = {"item_id": self._item("in_progress")["id"], "output_index": len(self._before())}
        return place if self._tool is not None else place | {"content_index": 0}

    def pieces(self) -> Iterator[tuple[bytes, int]]:
        drawn, place = self._plan, self._place()
        before, hidden = self._opening(), drawn.reasoning
        if self._tool is not None or self._text:
            text = self._tool.arguments if self._tool else self._text
            half, middle = drawn.visible // 2, len(text) // 2
            yield before + self._delta(place, text[:middle]), hidden + half
            yield self._delta(place, text[middle:]), drawn.visible - half
            return
        visible = steps(drawn.reasoning, drawn.visible, self._chunk)
        if not visible:
            yield before, hidden
        for at, amount in visible:
            yield before + self._delta(place, generate.text(drawn.seed, at, amount)), amount + hidden
            before, hidden = b"", 0

    def _delta(self, place: dict[str, object], text: str) -> bytes:
        if self._tool is not None:
            return self._event("response.function_call_arguments.delta", **place, delta=text)
        return self._event("response.output_text.delta", **place, delta=text, logprobs=[])

    def tail(self) -> Iterator[bytes]:
        status = "incomplete" if self._cut_short else "completed"
        place, item = self._place(), self._item(status)
        if self._tool is not None:
            yield self._event(
                "response.function_call_arguments.done",
                **place,
                name=self._tool.name,
                arguments=self._tool.arguments,
            )
        else:
            yield self._event("response.output_text.done", **place, text=self._words(), logprobs=[])
            yield self._event("response.content_part.done", **place, part=self._part(self._words()))
        yield self._event("response.output_item.done", output_index=place["output_index"], item=item)
        yield self._event(f"response.{status}", response=self._response(status, [*self._before(), item]))

    def fault(self) -> bytes:
        return self._event("error", code="server_error", message="The server had an error.", param=None)


def input_tokens(body: Mapping[str, Any]) -> int:
    """The input of a responses request that its body carries, by the published rule."""
    count = generate.Count()
    given = body.get("input")
    if isinstance(given, list):
        for item in given:
            count.messages += 1
            count.part(item)
    else:
        count.messages = 1
        count.text(given)
    count.text(body.get("instructions"))
    count.json(body.get("tools"))
    count.json((body.get("text") or {}).get("format"))
    return count.tokens()


def _checked(body: dict[str, Any]) -> None:
    if body.get("input") is None:
        raise ProviderError(
            400,
            "Missing required parameter: 'input'.",
            kind="invalid_request_error",
            code="missing_required_parameter",
            param="input",
        )
    for name in ("background", "prompt", "conversation"):
        if body.get(name):
            raise ProviderError(
                400, f"sandbox: '{name}' is not practised here.", kind="invalid_request_error", param=name
            )
    if not isinstance(body.get("text") or {}, Mapping):
        raise ProviderError(400, "Invalid type for 'text'.", kind="invalid_request_error", param="text")


def _earlier(exchange: Exchange, body: Mapping[str, Any]) -> int:
    """Tokens of the conversation that the request continues. Raises ProviderError when it is unknown."""
    ident = body.get("previous_response_id")
    if ident is None:
        return 0
    found = exchange.practice.contexts.get(f"{exchange.credential}/{ident}")
    if found is None:
        raise ProviderError(
            400,
            f"Previous response with id '{ident}' not found.",
            kind="invalid_request_error",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    return found


def _searches(body: Mapping[str, Any], wanted: int) -> int:
    tools = body.get("tools")
    offered = isinstance(tools, list) and any(
        isinstance(tool, Mapping) and str(tool.get("type", "")).startswith("web_search") for tool in tools
    )
    most = body.get("max_tool_calls")
    return (min(wanted, most) if isinstance(most, int) else wanted) if offered else 0


async def create(exchange: Exchange) -> None:
    """POST /v1/responses."""
    if not await exchange.accept():
        return
    body = exchange.json()
    model = openai.find_model(exchange, body.get("model"))
    _checked(body)
    cap = openai.whole_number(body, "max_output_tokens", least=_LEAST_CAP, most=model.max_output)
    counted = input_tokens(body) + _earlier(exchange, body)
    openai.check_context(model, counted)
    drawn = plan(
        model,
        exchange.body,
        exchange.behaviour,
        input_tokens=counted,
        cap=cap,
        thinks=model.thinking == "always",
        tier=openai.service_tier(model, body.get("service_tier")),
        searches=_searches(body, exchange.behaviour.searches),
    )
    answer = ResponseAnswer(
        exchange,
        drawn,
        body,
        tool=tool_call(body, exchange.behaviour.tool > 0),
        structured=structured((body.get("text") or {}).get("format")),
    )
    await exchange.infer(model, drawn.tier, drawn.tokens, answer, stream=body.get("stream") is True)
    if body.get("store") is not False:
        contexts = exchange.practice.contexts
        contexts[f"{exchange.credential}/{answer.id}"] = counted + drawn.tokens.output
        if len(contexts) > _REMEMBERED:
            del contexts[next(iter(contexts))]
