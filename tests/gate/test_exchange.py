"""Whole requests: from a client's bytes over the provider to the event."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path

import pytest

from jackstop.gate import answer as answer_module
from jackstop.gate.admission import Admitted
from jackstop.gate.answer import Answer
from jackstop.gate.entry import Entry
from jackstop.gate.exchange import LARGE_BODY_BYTES, Exchange
from jackstop.gate.journal import Recorded
from jackstop.gate.reply import ReplyReader
from jackstop.gate.reserve import Reserve
from jackstop.keys.policy import Policy
from tests.gate.standins import (
    CHAT,
    SECRET,
    Asked,
    Rig,
    chat_body,
    chat_events,
    chunk,
    plain,
    post,
    replying,
    running,
    streaming,
)

STREAM = {**CHAT, "stream": True}
COST = 20 * 150 + 50 * 600
"""Nano-dollars of the usage that the stand-in reports, at gpt-4o-mini's list price."""


def only(rig: Rig) -> Recorded:
    (record,) = rig.records(Recorded)
    return record


async def test_a_request_comes_back_as_the_provider_answered_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(
            plain(chat_body(), "200 OK", "x-request-id: req_1", "set-cookie: a=b", "x-more: c")
        )
        answered = await rig.chat(rig.key())
        assert answered.status == 200
        assert answered.body == chat_body()
        assert answered.headers["x-more"] == "c"
        assert "set-cookie" not in answered.headers
        asked = rig.provider.asked[0]
        assert asked.line == "POST /v1/chat/completions HTTP/1.1"
        assert asked.values("authorization") == [f"Bearer {SECRET.decode()}"]
        assert asked.header("host") == f"127.0.0.1:{rig.provider.port}"
        assert asked.header("accept-encoding") == "identity"
        event = only(rig).event
        assert (event.outcome, event.status, event.decision, event.request_id) == ("ok", 200, "admitted", "req_1")
        assert (event.provider, event.credential_id, event.endpoint) == ("openai", "main", "chat.completions")
        assert (event.key_id, event.owner, event.team) == ("000000000001", "app@example.com", "web")
        assert (event.input_tokens, event.output_tokens, event.max_output_sent) == (20, 50, 100)
        assert (event.src_ip, event.src_net, event.src_trust) == ("127.0.0.1", "127.0.0.0/24", "peer")
        assert event.cost_nusd == COST
        assert event.hold_nusd is not None
        assert event.hold_nusd >= COST
        assert event.latency_us is not None
        assert rig.holds()[0].nusd == event.hold_nusd


async def test_no_header_of_the_clients_own_choice_reaches_the_provider(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        headers = ("Cookie: a=b", "OpenAI-Organization: org-x", "X-Forwarded-For: 1.2.3.4", "Connection: x-y", "X-Y: z")
        assert (await rig.exchange(post(rig.key(), headers=headers))).status == 200
        names = {name for name, _ in rig.provider.asked[0].headers}
        assert names <= {"host", "content-type", "content-length", "accept-encoding", "authorization"}


async def test_the_query_goes_on_without_the_key(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.provider.handle = replying(plain(b'{"data":[]}'))
        raw = f"GET /openai/v1/models?limit=2&key={key} HTTP/1.1\r\nHost: g\r\n\r\n".encode()
        assert (await rig.exchange(raw)).body == b'{"data":[]}'
        assert rig.provider.asked[0].line == "GET /v1/models?limit=2 HTTP/1.1"
        event = only(rig).event
        assert (event.action_class, event.auth_method, event.cost_nusd) == ("list_models", "query", 0)
        assert key not in repr(event)


async def test_a_missing_cap_is_written_in_and_one_above_the_ceiling_lowered(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=Policy(max_output=60))
        await rig.chat(key, {"model": "gpt-4o-mini", "messages": []})
        await rig.chat(key, {**CHAT, "max_tokens": 100})
        await rig.chat(key, {**CHAT, "max_tokens": 50})
        sent = [asked.json for asked in rig.provider.asked]
        assert [body.get("max_tokens") or body.get("max_completion_tokens") for body in sent] == [60, 60, 50]
        events = rig.events()
        assert [event.max_output_asked for event in events] == [None, 100, 50]
        assert [event.max_output_sent for event in events] == [60, 60, 50]


async def test_a_stream_comes_back_without_the_usage_that_the_client_did_not_ask_for(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events())
        answered = await rig.chat(rig.key(), STREAM)
        assert answered.complete
        assert answered.body == b"".join(chat_events(usage=False))
        event = only(rig).event
        assert (event.outcome, event.output_tokens, event.stream, event.cost_nusd) == ("ok", 50, True, COST)
        assert event.ttft_us is not None


async def test_a_streams_events_come_one_by_one(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events(), gate=go)
        client = await rig.connect()
        await client.send(post(rig.key(), STREAM))
        await client.reader.readuntil(b"\r\n\r\n")
        first = chat_events()[0]
        assert await client.reader.readexactly(len(chunk(first))) == chunk(first)
        assert rig.records(Recorded) == []
        go.set()
        await client.reader.readuntil(b"0\r\n\r\n")
        assert only(rig).event.outcome == "ok"


async def test_the_event_is_in_the_journal_before_the_client_has_the_last_byte(tmp_path: Path) -> None:
    """The provider stalls just before its end: what the client has by then is not all of it."""
    go = asyncio.Event()
    body = chat_body(padding="x" * 200_000)

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(plain(body)[:-1])
        await go.wait()
        writer.write(body[-1:])
        return True

    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        client = await rig.connect()
        await client.send(post(rig.key()))
        await rig.until(lambda: rig.provider.asked)
        await client.reader.readuntil(b"\r\n\r\n")
        assert rig.records(Recorded) == []
        go.set()
        assert await client.reader.readexactly(len(body)) == body
        assert only(rig).event.cost_nusd == COST


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("400 Bad Request", "invalid"),
        ("401 Unauthorized", "denied"),
        ("404 Not Found", "not_found"),
        ("429 Too Many Requests", "throttled"),
        ("500 Internal Server Error", "error"),
        ("307 Temporary Redirect", "ok"),
    ],
)
async def test_a_providers_refusal_passes_and_costs_nothing(tmp_path: Path, status: str, outcome: str) -> None:
    message = "The model `private-name` has 12 errors in 'my secret prompt' for org-abc123"
    error = {"error": {"message": message, "type": "some_error", "code": None}}
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(json.dumps(error).encode(), status, "location: http://elsewhere.test/"))
        answered = await rig.chat(rig.key())
        assert answered.status == int(status[:3])
        assert answered.json == error
        record = only(rig)
        assert (record.event.outcome, record.event.cost_nusd, record.event.estimated) == (outcome, 0, False)
        assert record.event.error_code == "some_error"
        assert record.event.error_message == "The model * has * errors in * for *"
        assert len(rig.provider.asked) == 1


async def test_an_idle_connection_is_used_again_and_a_closed_one_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        for _ in range(3):
            assert (await rig.chat(key)).status == 200
        assert rig.provider.connections == 1
        for writer in list(rig.provider.writers):
            writer.close()
        await rig.until(lambda: rig.provider.closed)
        assert (await rig.chat(key)).status == 200
        assert rig.provider.connections == 2
        assert all(event.outcome == "ok" for event in rig.events())


async def test_a_connection_on_which_the_provider_spoke_unasked_is_not_used(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.provider.handle = replying(plain(chat_body()) + b"HTTP/1.1 200 OK\r\n")
        assert (await rig.chat(key)).status == 200
        rig.provider.handle = replying(plain(chat_body()))
        assert (await rig.chat(key)).status == 200
        assert rig.provider.connections == 2


async def test_each_credential_has_connections_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.credential("second")
        first, second = rig.key(1, policy=Policy(credential="main")), rig.key(2, policy=Policy(credential="second"))
        await rig.chat(first)
        await rig.chat(second)
        assert rig.provider.connections == 2


async def test_a_response_too_long_to_keep_passes_and_keeps_the_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_module, "MAX_KEPT_BYTES", 1000)
    body = chat_body(padding="x" * 300_000)
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(body))
        assert (await rig.chat(rig.key())).body == body
        assert only(rig).event.estimated
        assert rig.gate.buffered == 0


async def test_a_large_body_goes_up_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        body = {**CHAT, "messages": [{"role": "user", "content": "x" * 5_000_000}]}
        assert (await rig.chat(rig.key(), body)).status == 200
        assert rig.provider.asked[0].json == body


async def test_a_provider_that_answers_before_it_has_read_everything(tmp_path: Path) -> None:
    async def read(reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        return Asked(head.split("\r\n")[0], [], b"")

    async with running(tmp_path) as rig:
        rig.provider._read = read  # type: ignore[method-assign]
        rig.provider.handle = replying(plain(b'{"error":{"message":"too large"}}', "413 Content Too Large"), keep=False)
        body = {**CHAT, "messages": [{"role": "user", "content": "x" * 8_000_000}]}
        answered = await rig.chat(rig.key(), body)
        assert answered.status in {413, 502}
        assert len(rig.events()) == 1


async def test_a_rule_that_only_observes_admits_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=Policy(models=("x",), networks=("10.0.0.0/8",), mode="observe"))
        assert (await rig.chat(key)).status == 200
        event = only(rig).event
        assert (event.decision, event.reason, event.outcome) == ("would_refuse", "network", "ok")


async def test_nothing_that_was_said_is_in_the_journal(tmp_path: Path) -> None:
    said = "the quick brown fox"
    async with running(tmp_path) as rig:
        body = {
            **CHAT,
            "messages": [{"role": "system", "content": said}, {"role": "user", "content": said}],
            "user": said,
        }
        rig.provider.handle = replying(plain(chat_body(choices=[{"message": {"content": said}}])))
        await rig.chat(rig.key(), body)
        rig.provider.handle = replying(plain(json.dumps({"error": {"message": said}}).encode(), "400 Bad Request"))
        await rig.chat(rig.key(), body)
        events = rig.events()
        assert all(event.system_fp and event.conversation_fp and event.end_user_fp for event in events)
        assert events[0].system_fp == events[1].system_fp
        written = b"".join(path.read_bytes() for path in (tmp_path / "0-test").glob("*.seg"))
        assert b"quick" not in written
        assert b"brown" not in written
        assert SECRET not in written


async def test_requests_leave_no_objects_for_the_collector(tmp_path: Path) -> None:
    kinds = (Exchange, Entry, Answer, Reserve, ReplyReader, Admitted)
    async with running(tmp_path) as rig:
        key, client = rig.key(), await rig.connect()
        gc.collect()
        gc.disable()
        try:
            for number in range(20):
                rig.provider.handle = streaming(chat_events()) if number % 2 else replying(plain(chat_body()))
                await client.send(post(key, {**CHAT, "stream": True} if number % 2 else CHAT))
                assert (await client.answer()).status == 200
            assert [type(found) for found in gc.get_objects() if isinstance(found, kinds)] == []
        finally:
            gc.enable()


async def test_a_large_body_is_judged_apart_and_its_client_may_leave(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        large = {**CHAT, "messages": [{"role": "user", "content": "x" * (LARGE_BODY_BYTES + 1)}]}
        assert (await rig.chat(key, large)).status == 200
        assert (await rig.chat(key, {**large, "max_tokens": "many"})).status == 400
        client = await rig.connect()
        await client.send(post(key, large))
        client.cut()
        await rig.until(lambda: len(rig.events()) == 3)
        await rig.quiet()
        assert rig.gate.buffered == 0
