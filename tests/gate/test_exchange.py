"""Whole requests: from a client's bytes over the provider to the event, and every way in which they end."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from jackstop.gate import answer as answer_module
from jackstop.gate.journal import Recorded
from jackstop.keys.policy import LimitRow, Policy
from tests.gate.standins import (
    CHAT,
    SECRET,
    STREAM_HEAD,
    Asked,
    Handler,
    Rig,
    chat_body,
    chat_events,
    chunk,
    control_has_no_more,
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
        rig.provider.handle = replying(plain(chat_body(), "200 OK", "x-request-id: req_1", "set-cookie: a=b", "x-more: c"))
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


UNUSABLE: dict[str, Handler] = {
    "no usage": replying(plain(chat_body(usage=None))),
    "no JSON": replying(plain(b"<html>")),
    "an empty body": replying(plain(b"")),
    "usage that is no number": replying(plain(chat_body(usage={"prompt_tokens": "many"}))),
    "compressed": replying(plain(b"\x1f\x8b\x08\x00", "200 OK", "content-encoding: gzip")),
    "a stream without usage": streaming(chat_events(usage=False)),
    "a stream that ends early": streaming(chat_events(usage=False, done=False)),
}


@pytest.mark.parametrize("handle", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_a_success_without_readable_usage_keeps_the_hold(tmp_path: Path, handle: Handler) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        answered = await rig.chat(rig.key(), STREAM)
        assert answered.status == 200
        assert answered.complete
        event = only(rig).event
        assert event.estimated
        assert event.cost_nusd == event.hold_nusd


BROKEN: dict[str, tuple[Handler, int, str]] = {
    "closed without a word": (replying(b"", keep=False), 502, "the provider closed"),
    "half a head": (replying(b"HTTP/1.1 200 OK\r\ncontent-le", keep=False), 502, "the provider closed"),
    "rubbish": (replying(b"\x00\x01\x02\x03\r\n\r\n"), 502, "cannot be read"),
    "two lengths": (replying(plain(b"ab", "200 OK", "content-length: 1")), 502, "cannot be read"),
    "length and chunked": (replying(plain(b"ab", "200 OK", "transfer-encoding: chunked")), 502, "cannot be read"),
    "an upgrade": (replying(b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"), 502, "protocol"),
    "a control character": (replying(plain(b"ab", "200 OK", "x: a\x01b")), 502, "cannot be read"),
    "an endless head": (replying(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), 502, "cannot be read"),
    "1xx for ever": (replying(b"HTTP/1.1 103 Hint\r\n\r\n" * 50), 502, "cannot be read"),
    "a head and no body": (replying(plain(b"ab")[:-2], keep=False), 502, "the provider closed"),
}


@pytest.mark.parametrize(("handle", "status", "words"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_provider_that_breaks_before_its_answer_is_a_502_and_keeps_the_hold(
    tmp_path: Path, handle: Handler, status: int, words: str
) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason) == (status, "upstream")
        assert words in answered.json["error"]["message"]
        event = only(rig).event
        assert (event.status, event.outcome, event.reason, event.estimated) == (status, "error", "upstream", True)
        assert event.cost_nusd == event.hold_nusd
        assert len(rig.provider.asked) == 1


async def test_interim_responses_are_skipped(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + plain(chat_body()))
        key = rig.key()
        for _ in range(2):
            assert (await rig.chat(key)).body == chat_body()
        assert rig.provider.connections == 1


@pytest.mark.parametrize("events", [1, 3])
async def test_half_a_stream_is_seen_as_half_and_keeps_the_hold(tmp_path: Path, events: int) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events(4)[:events], end=False)
        answered = await rig.chat(rig.key(), STREAM)
        assert answered.status == 200
        assert not answered.complete
        assert answered.body == b"".join(chat_events(4)[:events])
        event = only(rig).event
        assert (event.outcome, event.estimated, event.cost_nusd) == ("error", True, event.hold_nusd)


async def test_half_a_body_is_seen_as_half_and_keeps_the_hold(tmp_path: Path) -> None:
    body = chat_body(padding="x" * 500_000)
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(body)[:-1000], keep=False)
        answered = await rig.chat(rig.key())
        assert not answered.complete
        event = only(rig).event
        assert (event.outcome, event.estimated, event.cost_nusd) == ("error", True, event.hold_nusd)


async def test_a_body_that_ends_with_the_connection_is_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        raw = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + chat_body()
        rig.provider.handle = replying(raw, keep=False)
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.body) == (200, chat_body())
        assert answered.headers["transfer-encoding"] == "chunked"
        assert only(rig).event.cost_nusd == COST


async def test_a_204_has_no_body(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(b"HTTP/1.1 204 No Content\r\n\r\n")
        key = rig.key()
        client = await rig.connect()
        for _ in range(2):
            await client.send(post(key))
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204")
            assert b"content-length" not in head
            assert b"transfer-encoding" not in head
        assert rig.provider.connections == 1


async def test_nobody_there_is_a_502_and_costs_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        await rig.provider.stop()
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason) == (502, "upstream")
        event = only(rig).event
        assert (event.cost_nusd, event.estimated, event.status) == (0, False, 502)


async def test_no_answer_in_time_is_a_504_and_keeps_the_hold(tmp_path: Path) -> None:
    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reader.read(1)
        return False

    async with running(tmp_path, response_timeout_s=0) as rig:
        rig.provider.handle = handle
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason) == (504, "upstream")
        event = only(rig).event
        assert (event.estimated, event.cost_nusd) == (True, event.hold_nusd)
        await rig.until(lambda: rig.provider.closed)


async def test_a_stream_that_stalls_is_broken_off(tmp_path: Path) -> None:
    async with running(tmp_path, stream_idle_timeout_s=0) as rig:
        rig.provider.handle = streaming(chat_events(), gate=asyncio.Event())
        answered = await rig.chat(rig.key(), STREAM)
        assert not answered.complete
        assert only(rig).event.estimated


async def test_more_use_than_was_held_is_booked_and_marked(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = replying(plain(chat_body(usage={"prompt_tokens": 10**6, "completion_tokens": 10**6})))
        assert (await rig.chat(rig.key())).status == 200
        event = only(rig).event
        assert event.cost_nusd == 10**6 * 750
        assert event.markers == "overrun"
        assert json.loads(event.extra)["overrun"]["provider"] == "openai"
        assert json.loads(event.extra)["overrun"]["model"] == "gpt-4o-mini"


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


LONG = [*chat_events(200), chunk(b"")]


@pytest.mark.parametrize("choice", ["drain", "close"])
async def test_a_client_that_leaves_mid_stream(tmp_path: Path, choice: str) -> None:
    go = asyncio.Event()
    async with running(tmp_path, on_disconnect=choice) as rig:
        rig.provider.handle = streaming(chat_events(), gate=go)
        client = await rig.connect()
        await client.send(post(rig.key(), STREAM))
        await client.reader.readuntil(b"word")
        client.cut()
        await rig.until(lambda: not rig.gate.connections)
        if choice == "drain":
            assert rig.gate.draining == 1
        go.set()
        await rig.quiet()
        event = only(rig).event
        assert event.outcome == "cancelled"
        assert event.estimated == (choice == "close")
        assert event.cost_nusd == (COST if choice == "drain" else event.hold_nusd)


async def test_the_keys_own_choice_goes_before_the_settings(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events(), gate=asyncio.Event())
        client = await rig.connect()
        await client.send(post(rig.key(policy=Policy(on_disconnect="close")), STREAM))
        await client.reader.readuntil(b"word")
        client.cut()
        await rig.quiet()
        assert only(rig).event.estimated
        await rig.until(lambda: rig.provider.closed)


async def test_a_drain_ends_in_time_and_there_are_not_too_many(tmp_path: Path) -> None:
    async with running(tmp_path, drain_max=1, drain_timeout_s=1) as rig:
        rig.provider.handle = streaming(chat_events(), gate=asyncio.Event())
        key = rig.key()
        clients = [await rig.connect() for _ in range(2)]
        for client in clients:
            await client.send(post(key, STREAM))
            await client.reader.readuntil(b"word")
        clients[0].cut()
        await rig.until(lambda: rig.gate.draining == 1)
        clients[1].cut()
        await rig.until(lambda: len(rig.events()) == 1)
        assert rig.gate.draining == 1
        await rig.quiet()
        assert all(event.estimated for event in rig.events())
        assert len(rig.events()) == 2


async def test_clients_that_leave_at_any_byte_leave_nothing_behind(tmp_path: Path) -> None:
    rng = random.Random(7)
    async with running(tmp_path) as rig:
        key = rig.key()
        for number in range(60):
            streams = rng.random() < 0.5
            rig.provider.handle = streaming(chat_events()) if streams else replying(plain(chat_body()))
            raw = post(key, STREAM if streams else CHAT)
            client = await rig.connect()
            await client.send(raw[: rng.randrange(1, len(raw) + 200)])
            if number % 2:
                for _ in range(rng.randrange(20)):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait({asyncio.ensure_future(client.reader.read(rng.randrange(1, 900)))}, timeout=0.01)
            client.cut()
        await rig.until(lambda: not rig.gate.busy)
        await rig.quiet()
        records = rig.records(Recorded)
        ended = [record.hold for record in records if record.hold is not None]
        assert len(ended) == len(set(ended)) == len(rig.holds())
        assert rig.gate.buffered == 0


async def test_a_slow_client_stops_the_provider_and_memory_stays_bounded(tmp_path: Path) -> None:
    sent = 0

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        writer.write(STREAM_HEAD)
        for _ in range(2000):
            writer.write(chunk(b": " + b"x" * 32_000 + b"\n\n"))
            await writer.drain()
            sent += 1
        writer.write(b"".join(chunk(event) for event in chat_events()) + b"0\r\n\r\n")
        return True

    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        client = await rig.connect()
        client.writer.transport.pause_reading()
        await client.send(post(rig.key(), STREAM))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        assert 0 < sent < 1000
        client.writer.transport.resume_reading()
        seen = 0
        while not (data := await client.reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
            seen += len(data)
        assert seen > 60_000_000
        assert only(rig).event.cost_nusd == COST


async def test_a_client_that_takes_nothing_for_too_long_is_gone(tmp_path: Path) -> None:
    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD)
        for _ in range(1000):
            writer.write(chunk(b": " + b"x" * 32_000 + b"\n\n"))
            await writer.drain()
        writer.write(b"".join(chunk(event) for event in chat_events()) + b"0\r\n\r\n")
        return True

    async with running(tmp_path, write_timeout_s=0) as rig:
        rig.provider.handle = handle
        client = await rig.connect()
        client.writer.transport.pause_reading()
        await client.send(post(rig.key(), STREAM))
        await rig.until(rig.events)
        await rig.quiet()
        event = only(rig).event
        assert (event.outcome, event.cost_nusd, event.estimated) == ("cancelled", COST, False)
        await rig.until(lambda: not rig.gate.connections)


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


# -- keys that are stopped


@pytest.mark.parametrize("choice", ["drain", "close"])
async def test_a_key_that_is_quarantined_loses_its_streams_at_once(tmp_path: Path, choice: str) -> None:
    go = asyncio.Event()
    async with running(tmp_path, on_disconnect=choice) as rig:
        rig.provider.handle = streaming(chat_events(), gate=go)
        key, other = rig.key(1), rig.key(2)
        clients = [await rig.connect() for _ in range(3)]
        for client, presented in zip(clients, (key, key, other), strict=True):
            await client.send(post(presented, STREAM))
            await client.reader.readuntil(b"word")
        rig.key(1, state="quarantined")
        for client in clients[:2]:
            assert await client.ended()
        go.set()
        assert (await clients[2].reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
        await rig.quiet()
        stopped = [event for event in rig.events() if event.key_id.endswith("1")]
        assert [event.markers for event in stopped] == ["stopped", "stopped"]
        assert all(event.estimated == (choice == "close") for event in stopped)
        answered = await rig.chat(key)
        assert (answered.status, answered.reason) == (403, "quarantined")


async def test_a_contained_credential_ends_at_once_on_both_sides(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events(), gate=asyncio.Event())
        client = await rig.connect()
        await client.send(post(rig.key(), STREAM))
        await client.reader.readuntil(b"word")
        rig.credential(state="contained")
        assert await client.ended()
        await rig.until(lambda: rig.provider.closed)
        assert not rig.gate.exchanges
        assert only(rig).event.estimated


async def test_a_key_that_is_stopped_while_its_body_comes(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(post(rig.key())[:-10])
        await rig.until(lambda: rig.gate.exchanges)
        rig.key(state="revoked")
        assert await client.ended()
        assert only(rig).event.markers == "stopped"


# -- limits


async def test_a_budget_that_does_not_suffice_refuses_and_names_a_cap_that_fits(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        rig.limit(LimitRow(1, "org", "usd", 40_000, "day"), 40_000)
        control_has_no_more(rig)
        answered = await rig.chat(key, {**CHAT, "max_tokens": 1000})
        assert (answered.status, answered.reason) == (429, "budget")
        assert answered.headers["x-should-retry"] == "false"
        fits = answered.json["error"]["jackstop"]["fitting_cap"]
        assert 0 < fits < 1000
        assert f"at most {fits} tokens" in answered.json["error"]["message"]
        assert (await rig.chat(key, {**CHAT, "max_tokens": fits})).status == 200
        assert len(rig.provider.asked) == 1


@pytest.mark.parametrize("policy", [Policy(clamp=True), Policy()])
async def test_clamp_lowers_the_cap_to_what_is_left(tmp_path: Path, policy: Policy) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=policy)
        rig.limit(LimitRow(1, "org", "usd", 40_000, "day"), 40_000)
        control_has_no_more(rig)
        answered = await rig.chat(key, {**CHAT, "max_tokens": 1000})
        assert answered.status == (200 if policy.clamp else 429)
        if policy.clamp:
            sent = rig.provider.asked[0].json["max_tokens"]
            assert 0 < sent < 1000
            event = only(rig).event
            assert (event.max_output_asked, event.max_output_sent) == (1000, sent)
            assert event.hold_nusd is not None
            assert event.hold_nusd <= 40_000


async def test_a_client_that_leaves_while_it_waits_holds_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=50) as rig:
        rig.limit(LimitRow(1, "org", "usd", 10**12, "day"), 0)
        client = await rig.connect()
        await client.send(post(rig.key()))
        await rig.until(lambda: rig.gate.exchanges)
        client.cut()
        await rig.quiet()
        assert (only(rig).event.outcome, rig.holds(), rig.provider.asked) == ("cancelled", [], [])


async def test_a_lease_that_comes_in_time_serves_who_waits(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=5000) as rig:
        row = LimitRow(1, "org", "usd", 10**12, "day")
        rig.limit(row, 0)
        asked = asyncio.ensure_future(rig.chat(rig.key()))
        await rig.until(lambda: rig.gate.exchanges)
        rig.limit(row, 10**9)
        assert (await asked).status == 200


async def test_a_lease_that_does_not_come_is_a_retry(tmp_path: Path) -> None:
    async with running(tmp_path, lease_wait_ms=10) as rig:
        rig.limit(LimitRow(1, "org", "usd", 10**12, "day"), 0)
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason, answered.headers["retry-after"]) == (429, "lease", "1")
        assert only(rig).event.outcome == "throttled"


async def test_a_rule_that_only_observes_admits_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key(policy=Policy(models=("x",), networks=("10.0.0.0/8",), mode="observe"))
        assert (await rig.chat(key)).status == 200
        event = only(rig).event
        assert (event.decision, event.reason, event.outcome) == ("would_refuse", "network", "ok")


async def test_nothing_that_was_said_is_in_the_journal(tmp_path: Path) -> None:
    said = "the quick brown fox"
    async with running(tmp_path) as rig:
        body = {**CHAT, "messages": [{"role": "system", "content": said}, {"role": "user", "content": said}], "user": said}
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
