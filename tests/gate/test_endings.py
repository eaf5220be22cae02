"""Every way in which an exchange ends badly: what the client sees, and what is charged."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from jackstop.gate.journal import Recorded
from jackstop.keys.policy import Policy
from tests.gate.standins import (
    CHAT,
    STREAM_HEAD,
    Asked,
    Handler,
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
    "an upgrade": (
        replying(b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        502,
        "protocol",
    ),
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


async def test_a_client_that_leaves_because_of_an_error_in_the_stream_is_told_from_one_that_just_left(
    tmp_path: Path,
) -> None:
    error = b'data: {"error":{"message":"overloaded","type":"server_error","code":null}}\n\n'

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(STREAM_HEAD + chunk(chat_events()[0]) + chunk(error))
        await reader.read()  # nothing more comes: the gate ends it
        return False

    async with running(tmp_path, on_disconnect="close") as rig:
        rig.provider.handle = handle
        client = await rig.connect()
        await client.send(post(rig.key(), STREAM))
        await client.reader.readuntil(b"overloaded")
        client.cut()
        await rig.quiet()
        event = only(rig).event
        assert (event.outcome, event.error_code) == ("error", "server_error")
        assert (event.cost_nusd, event.estimated) == (event.hold_nusd, True)


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


# -- failures that nobody foresaw


def fails(*args: object, **options: object) -> object:
    raise RuntimeError("the quick brown fox")


@pytest.mark.parametrize(
    ("where", "what", "status", "reason"),
    [
        ("jackstop.gate.meter.openai_chat.CHAT", "ask", 400, "malformed"),
        ("jackstop.ledger.bounds", "bound", 503, "journal"),
        ("jackstop.gate.meter.openai_chat.CHAT", "rewrite", 502, "upstream"),
        ("jackstop.gate.upstream.Pool", "connect", 502, "upstream"),
        ("jackstop.gate.meter.openai_chat.CHAT", "whole", 200, None),
        ("jackstop.ledger.prices", "cost", 200, None),
    ],
)
async def test_whatever_fails_the_client_is_answered_and_the_hold_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    what: str,
    status: int,
    reason: str | None,
) -> None:
    monkeypatch.setattr(f"{where}.{what}", fails)
    async with running(tmp_path) as rig:
        answered = await rig.chat(rig.key())
        assert (answered.status, answered.reason) == (status, reason)
        await rig.quiet()
        event = only(rig).event
        if status == 200:
            assert (event.estimated, event.cost_nusd) == (True, event.hold_nusd)
        assert "RuntimeError at test_endings.py" in caplog.text
        assert "fox" not in caplog.text
        ended = [record for record in rig.records(Recorded) if record.hold is not None]
        assert len(ended) == len(rig.holds())


async def test_a_stream_that_cannot_be_read_passes_and_keeps_the_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackstop.gate.meter.sse.EventStream.feed", fails)
    async with running(tmp_path) as rig:
        rig.provider.handle = streaming(chat_events())
        answered = await rig.chat(rig.key(), STREAM)
        assert answered.complete
        assert answered.body == b"".join(chat_events())
        assert only(rig).event.estimated
