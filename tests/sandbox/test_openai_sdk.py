"""OpenAI's own SDK against the practice OpenAI."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Good morning"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Weather(BaseModel):
    city: str
    days: int
    next: Weather | None


def say(directives: str) -> Any:
    return [{"role": "user", "content": f"Good morning [[sandbox: {directives}]]"}]


def test_chat_names_the_snapshot_and_reports_usage(sandbox):
    answer = sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=50)
    assert answer.model == "gpt-4o-mini-2024-07-18"
    assert answer.usage is not None
    # "Be brief." and "Good morning": 21 bytes, two messages
    assert answer.usage.prompt_tokens == 12
    assert 1 <= answer.usage.completion_tokens <= 50
    assert len((answer.choices[0].message.content or "").split()) == answer.usage.completion_tokens
    assert answer._request_id == sandbox.row()["id"]


def test_the_same_body_gets_the_same_answer(sandbox):
    client = sandbox.openai()
    first, second, other = (
        client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, temperature=t) for t in (0, 0, 1)
    )
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.usage == second.usage
    assert first.choices[0].message.content != other.choices[0].message.content


def test_n_choices_are_each_paid_for(sandbox):
    answer = sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say("out=7"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.completion_tokens == 21


def test_finish_reason_tells_a_cap_from_an_end(sandbox):
    create = sandbox.openai().chat.completions.create
    ends = [
        create(model="gpt-4o-mini", messages=say(f"out={out}"), max_completion_tokens=10).choices[0].finish_reason
        for out in (9, 10, 11)
    ]
    assert ends == ["stop", "length", "length"]


def test_cached_and_reasoning_tokens_are_parts(sandbox):
    usage = (
        sandbox.openai()
        .chat.completions.create(
            model="gpt-5", messages=say("out=50 reasoning=20 cached=3 cache_write=2"), service_tier="flex"
        )
        .usage
    )
    assert usage.prompt_tokens_details.cached_tokens == 3
    assert usage.prompt_tokens_details.cache_write_tokens == 2
    assert usage.completion_tokens_details.reasoning_tokens == 20
    assert usage.completion_tokens == 50
    row = sandbox.row()
    assert (row["input_tokens"], row["cached_tokens"], row["cache_write_tokens"]) == (usage.prompt_tokens - 5, 3, 2)


@pytest.mark.parametrize("asked", [True, False])
def test_streamed_usage_comes_only_when_asked(sandbox, asked):
    more = {"stream_options": {"include_usage": True}} if asked else {}
    chunks = list(
        sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say("out=30"), stream=True, **more)
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) == 30
    reported = [chunk for chunk in chunks if chunk.usage]
    assert [bool(chunk.choices) for chunk in reported] == ([False] if asked else [])
    assert all(("usage" in chunk.model_fields_set) == asked for chunk in chunks)
    if asked:
        assert chunks[-1] is reported[0]
        assert reported[0].usage.completion_tokens == 30
    assert sandbox.row()["output_tokens"] == 30


def test_choices_are_streamed_side_by_side(sandbox):
    create = sandbox.openai().chat.completions.create
    sandbox.post("/_sandbox/mode", {"out": 40})
    texts = ["", ""]
    for chunk in create(model="gpt-4o-mini", messages=MESSAGES, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert [len(text.split()) for text in texts] == [40, 40]
    assert sandbox.row()["output_tokens"] == 80


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_with_arguments_that_its_schema_accepts(sandbox, stream):
    more: Any = {"model": "gpt-4o-mini", "messages": say("tool=1 out=12"), "tools": [TOOL]}
    client = sandbox.openai()
    if stream:
        with client.chat.completions.stream(**more, stream_options={"include_usage": True}) as events:
            answer = events.get_final_completion()
    else:
        answer = client.chat.completions.create(**more)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "practice", "days": 3}
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.completion_tokens == 12


def test_a_required_tool_is_called_unasked(sandbox):
    answer = sandbox.openai().chat.completions.create(
        model="gpt-5-mini", messages=MESSAGES, tools=[TOOL], tool_choice="required"
    )
    assert answer.choices[0].finish_reason == "tool_calls"


def test_structured_answers_parse(sandbox):
    client = sandbox.openai()
    parsed = client.chat.completions.parse(model="gpt-4o-mini", messages=say("out=9"), response_format=Weather)
    assert parsed.choices[0].message.parsed.city == "practice"
    answered = client.responses.parse(model="gpt-4o-mini", input="Hello [[sandbox: out=9]]", text_format=Weather)
    assert answered.output_parsed.city == "practice"


def test_responses(sandbox):
    answer = sandbox.openai().responses.create(
        model="gpt-5", input="Good morning [[sandbox: out=20 reasoning=5 cached=2]]", instructions="Be brief."
    )
    assert answer.status == "completed"
    assert answer.model == "gpt-5-2025-08-07"
    assert len(answer.output_text.split()) == 15
    assert (answer.usage.output_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (20, 5)
    assert answer.usage.input_tokens_details.cached_tokens == 2
    assert [item.type for item in answer.output] == ["reasoning", "message"]


def test_a_response_that_hits_its_cap_is_incomplete(sandbox):
    client = sandbox.openai()
    answer = client.responses.create(model="gpt-4o-mini", input="[[sandbox: out=500]]", max_output_tokens=16)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 16
    events = client.responses.create(
        model="gpt-4o-mini", input="[[sandbox: out=500]]", max_output_tokens=16, stream=True
    )
    assert [event.type for event in events][-1] == "response.incomplete"


def test_streamed_responses(sandbox):
    with sandbox.openai().responses.stream(model="gpt-5", input="Hello [[sandbox: out=20 reasoning=4]]") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text
    assert len(final.output_text.split()) == 16
    assert final.usage.output_tokens == 20


def test_a_function_call_in_responses(sandbox):
    tool: Any = {"type": "function", **TOOL["function"]}
    with sandbox.openai().responses.stream(model="gpt-5", input="[[sandbox: tool=1]]", tools=[tool]) as stream:
        final = stream.get_final_response()
    assert json.loads(final.output[-1].arguments) == {"city": "practice", "days": 3}


def test_web_searches_in_responses_cost_a_cent_each(sandbox):
    create = sandbox.openai().responses.create
    plain = create(model="gpt-4o-mini", input="[[sandbox: out=1 searches=2]]")
    assert [item.type for item in plain.output] == ["message"]
    searched = create(model="gpt-4o-mini", input="[[sandbox: out=1 searches=2]]", tools=[{"type": "web_search"}])
    assert [item.type for item in searched.output] == ["web_search_call", "web_search_call", "message"]
    rows = sandbox.rows()
    assert [row["searches"] for row in rows] == [0, 2]
    tokens = rows[1]["input_tokens"] * 150_000_000 + 600_000_000
    assert rows[1]["units"] - tokens == 2 * 10_000_000 * 1_000_000


def test_a_response_that_continues_another_reads_it_too(sandbox):
    client = sandbox.openai()
    first = client.responses.create(model="gpt-4o-mini", input="Hello [[sandbox: out=30]]")
    second = client.responses.create(
        model="gpt-4o-mini", input="Hello [[sandbox: out=30]]", previous_response_id=first.id
    )
    assert second.usage.input_tokens == first.usage.total_tokens + first.usage.input_tokens
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(model="gpt-4o-mini", input="Hello", previous_response_id="resp_unknown")


def test_embeddings(sandbox):
    client = sandbox.openai()
    answer = client.embeddings.create(model="text-embedding-3-small", input=["four", "fives"])
    assert [len(item.embedding) for item in answer.data] == [1536, 1536]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 3
    floats = client.embeddings.create(model="text-embedding-3-small", input=["four", "fives"], encoding_format="float")
    assert sum(value * value for value in floats.data[0].embedding) == pytest.approx(1, abs=1e-3)
    small = client.embeddings.create(model="text-embedding-3-large", input=[1, 2, 3], dimensions=8)
    assert len(small.data[0].embedding) == 8
    assert small.usage.prompt_tokens == 3
    assert [row["units"] for row in sandbox.rows()] == [3 * 20_000_000, 3 * 20_000_000, 3 * 130_000_000]


def test_models(sandbox):
    client = sandbox.openai()
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o-mini", "gpt-4o-mini-2024-07-18", "gpt-6.1-sol", "text-embedding-3-small"} <= set(names)
    assert client.models.retrieve("gpt-5").id == "gpt-5"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-none")
    assert sandbox.bill() == []


def test_async(sandbox):
    async def talk() -> tuple[int, int]:
        async with sandbox.openai_async() as client:
            whole = await client.chat.completions.create(model="gpt-4o-mini", messages=say("out=8"))
            stream = await client.responses.create(model="gpt-5", input="[[sandbox: out=9]]", stream=True)
            last = [event async for event in stream][-1]
            return whole.usage.completion_tokens, last.response.usage.output_tokens

    assert asyncio.run(talk()) == (8, 9)


def test_what_openai_refuses(sandbox):
    client = sandbox.openai()
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="gpt-none", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unsupported:
        create(model="gpt-5", messages=MESSAGES, max_tokens=5)
    assert unsupported.value.code == "unsupported_parameter"
    with pytest.raises(openai.BadRequestError, match="only allowed when 'stream'"):
        create(model="gpt-4o-mini", messages=MESSAGES, extra_body={"stream_options": {"include_usage": True}})
    with pytest.raises(openai.BadRequestError, match="at most 16384"):
        create(model="gpt-4o-mini", messages=MESSAGES, max_tokens=16_385)
    with pytest.raises(openai.BadRequestError) as too_long:
        create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x" * 600_000}])
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match=">= 16"):
        client.responses.create(model="gpt-4o-mini", input="Hello", max_output_tokens=15)
    with pytest.raises(openai.BadRequestError, match="service_tier"):
        create(model="gpt-4o-mini", messages=MESSAGES, service_tier="flex")
    with pytest.raises(openai.BadRequestError, match="not allowed to use the model"):
        create(model="text-embedding-3-small", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        client.files.list()
    assert sandbox.bill() == []


def test_no_key_is_openais_401(sandbox):
    with pytest.raises(openai.AuthenticationError, match="didn't provide an API key"):
        sandbox.openai(Authorization="Bearer").models.list()
