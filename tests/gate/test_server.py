"""Client connections over real sockets: slow, pipelined, oversized, hostile and many."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tests.gate.standins import CHAT, Asked, chat_body, plain, post, replying, running

HOST = "Host: g\r\n"


async def test_hostile_bytes_get_an_answer_and_a_closed_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for raw, status in (
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00", 400),
            (b"GET / HTTP/1.1\r\nHost: g\r\nX: " + b"y" * 70_000, 431),
        ):
            client = await rig.connect()
            await client.send(raw)
            answered = await client.answer()
            assert (answered.status, answered.reason) == (status, "malformed")
            assert answered.headers["connection"] == "close"
            assert await client.ended()
        assert not rig.provider.asked
        assert rig.events() == []
        assert sum(flood.count for flood in rig.floods()) == 4


async def test_health_and_readiness_need_no_key(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        for path, status in (("/healthz", 200), ("/readyz", 200)):
            await client.send(f"GET {path} HTTP/1.1\r\n{HOST}\r\n".encode())
            assert (await client.answer()).status == status
        rig.clock.advance(3600)
        await client.send(f"GET /readyz HTTP/1.1\r\n{HOST}\r\n".encode())
        assert (await client.answer()).status == 503
        await client.send(f"HEAD /healthz HTTP/1.1\r\n{HOST}\r\n".encode())
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await client.send(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n".encode())
        assert (await client.answer()).status == 200


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(tmp_path: Path) -> None:
    running_now = 0
    most = 0

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0)
        running_now -= 1
        return await replying(plain(chat_body(id=asked.json["user"])))(asked, reader, writer)

    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        key = rig.key()
        client = await rig.connect()
        await client.send(b"".join(post(key, {**CHAT, "user": f"u{number}"}) for number in range(20)))
        answers = [(await client.answer()).json["id"] for _ in range(20)]
        assert answers == [f"u{number}" for number in range(20)]
        assert most == 1
        assert rig.provider.connections == 1
        assert len(rig.events()) == 20


async def test_a_body_in_small_pieces_and_chunked_arrives_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        raw = post(key)
        client = await rig.connect()
        for start in range(0, len(raw), 10):
            await client.send(raw[start : start + 10])
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200
        head, _, body = raw.partition(b"\r\n\r\n")
        head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
        await client.send(head + b"\r\n\r\n5\r\n" + body[:5] + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 5, body[5:]))
        assert (await client.answer()).status == 200
        assert rig.provider.asked[1].body == body
        assert rig.provider.asked[1].header("content-length") == str(len(body))
        assert rig.provider.asked[1].header("transfer-encoding") is None


async def test_100_continue_comes_after_the_head_is_admitted_and_not_before(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        raw = post(rig.key(), headers=("Expect: 100-continue",))
        head, _, body = raw.partition(b"\r\n\r\n")
        client = await rig.connect()
        await client.send(head + b"\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        assert (await client.answer()).status == 200
        client = await rig.connect()
        await client.send(post("unknown", headers=("Expect: 100-continue",)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert (await client.answer()).status == 401


async def test_a_head_that_does_not_come_is_answered_408(tmp_path: Path) -> None:
    async with running(tmp_path, header_timeout_s=0) as rig:
        client = await rig.connect()
        await client.send(b"GET / HT")
        answered = await client.answer()
        assert (answered.status, answered.reason) == (408, "malformed")
        assert await client.ended()


async def test_a_body_that_does_not_come_is_answered_408_and_recorded(tmp_path: Path) -> None:
    async with running(tmp_path, body_timeout_s=0) as rig:
        client = await rig.connect()
        await client.send(post(rig.key())[:-5])
        answered = await client.answer()
        assert (answered.status, answered.reason) == (408, "malformed")
        (event,) = rig.events()
        assert (event.decision, event.reason, event.status) == ("refused", "malformed", 408)
        assert rig.gate.buffered == 0


async def test_an_idle_connection_is_closed_without_a_word(tmp_path: Path) -> None:
    async with running(tmp_path, idle_timeout_s=0) as rig:
        client = await rig.connect()
        assert await client.ended()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path, chunked: bool) -> None:
    async with running(tmp_path, max_body_bytes=1000) as rig:
        key = rig.key()
        raw = post(key, b"x" * 1001)
        if chunked:
            head, _, _ = raw.partition(b"\r\n\r\n")
            raw = head.replace(b"Content-Length: 1001", b"Transfer-Encoding: chunked") + b"\r\n\r\n3e9\r\n"
        client = await rig.connect()
        await client.send(raw if chunked else raw[:-1001])
        answered = await client.answer()
        assert (answered.status, answered.reason) == (413, "too_large")
        (event,) = rig.events()
        assert (event.reason, event.status) == ("too_large", 413)


async def test_a_refused_client_that_still_sends_gets_to_its_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        raw = post("unknown", b"x" * 3_000_000)
        await client.send(raw[:1000])
        answered = await client.answer()
        assert answered.status == 401
        await client.send(raw[1000:])
        assert await client.ended()
        await rig.until(lambda: rig.gate.buffered == 0)


async def test_beyond_max_connections_a_client_hears_so(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections=2) as rig:
        key = rig.key()
        kept = [await rig.connect() for _ in range(2)]
        for client in kept:
            await client.send(post(key))
            assert (await client.answer()).status == 200
        one_more = await rig.connect()
        answered = await one_more.answer()
        assert (answered.status, answered.reason) == (503, "overload")
        one_more.close()
        kept[0].close()
        await rig.until(lambda: len(rig.gate.connections) < 2)
        assert (await rig.chat(key)).status == 200


async def test_beyond_the_buffer_limit_bodies_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_buffered_bytes=100_000) as rig:
        key = rig.key()
        holder = await rig.connect()
        await holder.send(post(key, b" " * 300_000)[:-50_000])
        answered = await holder.answer()
        assert (answered.status, answered.reason) == (503, "overload")
        assert (await rig.chat(key)).status == 200
        await rig.until(lambda: rig.gate.buffered == 0)


async def test_what_waits_to_be_judged_counts_as_its_keys(tmp_path: Path) -> None:
    free = threading.Event()
    async with running(tmp_path, max_buffered_bytes=20_000_000, max_body_bytes=2_000_000) as rig:
        key, other = rig.key(), rig.key(2)
        raw = post(key, b" " * 1_900_000)
        rig.gate.judge_thread.submit(free.wait)
        try:
            waiting = [await rig.connect() for _ in range(2)]
            for client in waiting:
                await client.send(raw)
            await rig.until(lambda: rig.gate.uploads.total() == 3_800_000)
            late = await rig.connect()
            await late.send(raw[:-1000])
            answered = await late.answer()
            assert (answered.status, answered.reason) == (503, "overload")
            assert (await rig.chat(other)).status == 200
        finally:
            free.set()
        for client in waiting:
            assert (await client.answer()).reason == "malformed"
        assert not rig.gate.uploads


async def test_what_waits_behind_a_request_counts_as_its_keys(tmp_path: Path) -> None:
    go = asyncio.Event()
    answer = replying(plain(chat_body()))

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await go.wait()
        return await answer(asked, reader, writer)

    async with running(tmp_path) as rig:
        key = rig.key()
        assert (await rig.exchange(post(key))).status == 200, "the head is known from now on"
        rig.provider.handle = handle
        client = await rig.connect()
        await client.send(post(key))
        await rig.until(lambda: len(rig.provider.asked) == 2)
        await client.send(b"POST /")
        await rig.until(lambda: rig.gate.uploads)
        (exchange,) = rig.gate.exchanges
        assert rig.gate.uploads == {exchange.key_id: len(b"POST /")}
        go.set()
        assert (await client.answer()).status == 200
        client.close()
        await rig.until(lambda: not rig.gate.connections)
        assert not rig.gate.uploads


async def test_many_idle_connections_cost_little(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        key = rig.key()
        clients = [await rig.connect() for _ in range(200)]
        for client in clients:
            await client.send(post(key))
            assert (await client.answer()).status == 200
        assert rig.gate.buffered == 0
        assert not rig.gate.exchanges
        for client in clients:
            client.close()
        await rig.until(lambda: not rig.gate.connections)


async def test_http_1_0_gets_an_answer_that_ends_with_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(post(rig.key()).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        answered = await client.answer()
        assert (answered.status, answered.headers["connection"]) == (200, "close")
        assert await client.ended()


async def test_a_client_that_asks_for_a_close_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(post(rig.key(), headers=("Connection: close",)))
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.ended()


async def test_a_stop_lets_what_runs_end_and_closes_what_is_idle(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def handle(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await go.wait()
        return await replying(plain(chat_body()))(asked, reader, writer)

    async with running(tmp_path) as rig:
        rig.provider.handle = handle
        key = rig.key()
        idle, busy = await rig.connect(), await rig.connect()
        await busy.send(post(key))
        await rig.until(lambda: rig.provider.asked)
        rig.gate.retire()
        assert not rig.gate.ready
        assert await idle.ended()
        go.set()
        answered = await busy.answer()
        assert (answered.status, answered.headers["connection"]) == (200, "close")
        assert await busy.ended()
        await rig.until(lambda: not rig.gate.busy)


async def test_a_request_that_comes_while_the_gate_stops_is_served(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n".encode())
        await client.answer()
        rig.gate.retire()
        await client.send(post(rig.key()))
        answered = await client.answer()
        assert (answered.status, answered.headers["connection"]) == (200, "close")


async def test_a_client_that_leaves_mid_body_leaves_an_event_and_no_bytes(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(post(rig.key())[:-10])
        await rig.until(lambda: rig.gate.exchanges)
        client.cut()
        await rig.quiet()
        (event,) = rig.events()
        assert (event.outcome, event.decision, event.status) == ("cancelled", "", None)
        assert rig.gate.buffered == 0
        assert rig.holds() == []


async def test_half_a_connection_is_a_client_that_left(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        client = await rig.connect()
        await client.send(post(rig.key())[:-10])
        client.writer.write_eof()
        assert await client.ended()
        await rig.quiet()
