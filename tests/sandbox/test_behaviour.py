"""What a practice provider does when told to misbehave, and what it bills for that."""

from __future__ import annotations

import json
import socket
from typing import Any, Self
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from jackstop.sandbox.bill import fingerprint

CHUNK = 4


def say(directives: str) -> Any:
    return [{"role": "user", "content": f"Good morning [[sandbox: {directives}]]"}]


class Wire:
    """A client that sees every byte, and can walk away."""

    def __init__(self, url: str, directives: str, *, stream: bool = True) -> None:
        parts = urlsplit(url)
        body = json.dumps({"model": "gpt-4o-mini", "messages": say(directives), "stream": stream}).encode()
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=20)
        self._socket.sendall(
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer sk-wire\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def until(self, chunks: int) -> int:
        """Read at least so many content chunks; return how many have come."""
        while self._chunks() < chunks:
            self.seen += self._socket.recv(65_536)
        return self._chunks()

    def rest(self) -> bytes:
        """Read until the provider closes."""
        while more := self._socket.recv(65_536):
            self.seen += more
        return self.seen

    def _chunks(self) -> int:
        return self.seen.count(b'"content":"') - self.seen.count(b'"content":""')


def test_a_cut_comes_after_so_many_chunks_and_before_the_end(sandbox):
    with Wire(sandbox.url, "out=100 cut_after=7") as wire:
        seen = wire.rest()
        assert wire.until(0) == 7
    assert b'finish_reason":"' not in seen
    assert b"[DONE]" not in seen
    assert not seen.endswith(b"0\r\n\r\n")
    row = sandbox.row()
    assert (row["output_tokens"], row["stayed"]) == (7 * CHUNK, False)
    assert row["units"] == row["input_tokens"] * 150_000_000 + 7 * CHUNK * 600_000_000


def test_a_provider_may_go_on_after_a_cut(sandbox):
    for directives in ("out=100 cut_after=3 linger=50", "out=100 cut_after=3 linger=5000"):
        with Wire(sandbox.url, directives) as wire:
            wire.rest()
    assert [row["output_tokens"] for row in sandbox.rows()] == [3 * CHUNK + 50, 100]


def test_a_cut_after_nothing_bills_the_input(sandbox):
    with Wire(sandbox.url, "out=100 cut_after=0") as wire:
        assert wire.rest().startswith(b"HTTP/1.1 200 OK")
    row = sandbox.row()
    assert row["output_tokens"] == 0
    assert row["units"] == row["input_tokens"] * 150_000_000


def test_without_a_stream_half_of_the_body_comes(sandbox):
    with Wire(sandbox.url, "out=100 cut_after=0", stream=False) as wire:
        head, _, body = wire.rest().partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == length // 2
    assert sandbox.row()["output_tokens"] == 100


def test_a_client_that_leaves_pays_to_the_end_of_the_chunk_in_hand(sandbox):
    with Wire(sandbox.url, "out=4000 pace_ms=20") as wire:
        seen = wire.until(3)
    row = sandbox.row()
    assert row["stayed"] is False
    assert row["output_tokens"] % CHUNK == 0
    assert seen * CHUNK <= row["output_tokens"] < 4000


def test_a_client_that_leaves_before_the_first_byte(sandbox):
    with Wire(sandbox.url, "out=4000 latency_ms=100 pace_ms=1"):
        pass
    row = sandbox.row()
    assert row["stayed"] is False
    assert row["output_tokens"] <= CHUNK


def test_an_unpaced_stream_of_a_gone_client_ends_too(sandbox):
    with Wire(sandbox.url, "out=16000 chunk=1") as wire:
        wire.until(1)
    assert sandbox.row()["output_tokens"] <= 16_000


def test_hanging_costs_nothing(sandbox):
    with Wire(sandbox.url, "hang=1"):
        pass
    assert (sandbox.row()["status"], sandbox.bill()) == (499, [])


def test_silence_within_a_stream(sandbox):
    with Wire(sandbox.url, "out=100 hang_after=5") as wire:
        assert wire.until(5) == 5
    assert sandbox.row()["output_tokens"] == 5 * CHUNK


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_errors_are_openais_and_free(sandbox, status):
    with pytest.raises(openai.APIStatusError) as caught:
        sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say(f"status={status} retry_after=7"))
    assert caught.value.status_code == status
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert caught.value.response.headers["retry-after"] == "7"
    assert (sandbox.row()["status"], sandbox.bill()) == (status, [])


def test_only_what_can_be_retried_says_when(sandbox):
    found = {}
    for status in (400, 429, 500, 503):
        with pytest.raises(openai.APIStatusError) as caught:
            sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say(f"status={status}"))
        found[status] = caught.value.response.headers.get("retry-after")
    assert found == {400: None, 429: "1", 500: None, 503: "1"}


def test_an_error_within_a_stream(sandbox):
    with pytest.raises(openai.APIError, match="had an error"):
        list(sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say("error_after=2"), stream=True))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(
            sandbox.anthropic().messages.create(
                model="claude-haiku-4-5", max_tokens=100, messages=say("error_after=2 out=90"), stream=True
            )
        )
    events = list(
        sandbox.openai().responses.create(model="gpt-4o-mini", input="[[sandbox: error_after=2]]", stream=True)
    )
    assert [events[-1].type, "response.completed" in {event.type for event in events}] == ["error", False]
    assert [row["output_tokens"] for row in sandbox.rows()] == [2 * CHUNK] * 3


@pytest.mark.parametrize("stream", [True, False])
def test_garbage_is_billed_like_an_answer(sandbox, stream):
    create = sandbox.openai().chat.completions.create
    with pytest.raises((openai.APIError, ValueError)):
        list(create(model="gpt-4o-mini", messages=say("garbage=1 out=50"), stream=stream))
    assert sandbox.row()["output_tokens"] == 50


def test_half_headers(sandbox):
    with Wire(sandbox.url, "half_headers=1") as wire:
        assert wire.rest().endswith(b"content-len")
    assert sandbox.bill() == []


def test_no_usage(sandbox):
    client = sandbox.openai()
    assert client.chat.completions.create(model="gpt-4o-mini", messages=say("no_usage=1 out=50")).usage is None
    chunks = client.chat.completions.create(
        model="gpt-4o-mini", messages=say("no_usage=1 out=50"), stream=True, stream_options={"include_usage": True}
    )
    assert all(chunk.choices for chunk in chunks)
    assert client.responses.create(model="gpt-4o-mini", input="[[sandbox: no_usage=1 out=50]]").usage is None
    with sandbox.anthropic().messages.with_streaming_response.create(
        model="claude-haiku-4-5", max_tokens=100, messages=say("no_usage=1 out=50"), stream=True
    ) as answer:
        assert b"usage" not in answer.read()
    assert [row["output_tokens"] for row in sandbox.rows()] == [50] * 4


@pytest.mark.parametrize("stream", [True, False])
def test_over_the_cap(sandbox, stream):
    answer = sandbox.openai().chat.completions.create(
        model="gpt-4o-mini", messages=say("over_cap=500"), max_tokens=10, stream=stream
    )
    if stream:
        assert list(answer)[-1].choices[0].finish_reason == "length"
    assert sandbox.row()["output_tokens"] == 510


def test_chunk_sets_the_grain_of_a_stream(sandbox):
    chunks = sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say("out=10 chunk=3"), stream=True)
    sizes = [len((chunk.choices[0].delta.content or "").split()) for chunk in chunks]
    assert sizes == [0, 3, 3, 3, 1, 0]


def test_modes_stack_up(sandbox):
    def spoken(content: str, key: str) -> int:
        answer = sandbox.openai(key=key).chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": content}]
        )
        return answer.usage.completion_tokens

    sandbox.post("/_sandbox/mode", {"out": 11, "cached": 1})
    sandbox.post("/_sandbox/mode", {"out": 12, "credential": fingerprint("sk-second")})
    assert spoken("Hello", "sk-first") == 11
    assert spoken("Hello", "sk-second") == 12
    assert spoken("Hello [[sandbox: out=13]] and [[sandbox: out=14]]", "sk-second") == 14
    assert [row["cached_tokens"] for row in sandbox.rows()] == [1, 1, 1]
    assert sandbox.get("/_sandbox/mode")["all"] == {"out": 11, "cached": 1}
    sandbox.post("/_sandbox/mode", {"credential": fingerprint("sk-second")})
    assert spoken("Hello", "sk-second") == 11
    sandbox.post("/_sandbox/reset")
    assert sandbox.get("/_sandbox/mode") == {"all": {}, "credentials": {}}


def test_one_credential_can_be_refused_everywhere(sandbox):
    sandbox.post("/_sandbox/mode", {"status": 401, "credential": fingerprint("sk-stolen")})
    with pytest.raises(openai.AuthenticationError):
        sandbox.openai(key="sk-stolen").models.list()
    assert sandbox.openai(key="sk-other").models.list().data


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("outt=1", "outt"),
        ("out=x", "integer"),
        ("out=-1", "integer"),
        ("status=200", "HTTP error"),
        ("chunk=0", "chunk"),
    ],
)
def test_a_wrong_directive_is_told_not_ignored(sandbox, wrong, said):
    with pytest.raises(openai.BadRequestError, match=said):
        sandbox.openai().chat.completions.create(model="gpt-4o-mini", messages=say(wrong))
    name, value = wrong.split("=")
    mode = {name: int(value) if value.lstrip("-").isdigit() else value}
    answer = sandbox.post("/_sandbox/mode", mode)
    assert answer["status"] == 400
    assert said in answer["error"]
