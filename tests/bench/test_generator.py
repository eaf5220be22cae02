"""The load generator, judged by an HTTP client and an HTTP server that nobody here wrote."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bench import generator

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
STREAM = {**ASK, "stream": True, "stream_options": {"include_usage": True}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if not any(map(shutil.which, generator.COMPILERS)):
        pytest.skip("there is no C compiler")
    generator.binary()


@asynccontextmanager
async def server(handler: Handler, keys: int = 1) -> AsyncIterator[generator.Target]:
    app = web.Application(client_max_size=32 * 2**20)
    app.router.add_post(generator.CHAT, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield generator.direct(port, headers=[f"authorization: Bearer {number}\r\nx-more: yes" for number in range(keys)])
    await runner.cleanup()


async def run(what: Callable[..., dict[str, Any]], *args: Any, **options: Any) -> dict[str, Any]:
    return await asyncio.to_thread(what, *args, core=None, **options)


def event(number: int, due_ns: int) -> bytes:
    delta = {"choices": [{"delta": {"content": f"@{number:06d}:{due_ns:016d} word "}}]}
    return f"data: {json.dumps(delta)}\n\n".encode()


# -- the upstream -----------------------------------------------------------------------------------------------


async def test_a_completion_has_its_usage() -> None:
    with generator.serve(core=None, prompt_tokens=7, completion_tokens=5) as upstream:
        async with (
            aiohttp.ClientSession(upstream.url) as session,
            session.post(generator.CHAT, json=ASK) as answer,
        ):
            found = await answer.json()
            assert answer.headers["x-request-id"].startswith("req_")
            async with session.post(generator.CHAT, json=ASK, headers={"connection": "close"}) as last:
                assert last.status == 200
        assert upstream.count()["open_connections"] <= 2  # the session's other one, and this one
    assert found["usage"]["prompt_tokens"] == 7
    assert found["usage"]["total_tokens"] == 12


async def test_a_stream_keeps_its_schedule_and_says_so() -> None:
    arrivals, dues, events = [], [], []
    with generator.serve(core=None, chunks=20, chunk_rate=100) as upstream:
        async with (
            aiohttp.ClientSession(upstream.url) as session,
            session.post(generator.CHAT, json=STREAM) as answer,
        ):
            async for line in answer.content:
                if line.startswith(b"data: "):
                    arrivals.append(time.monotonic_ns())
                    events.append(line.removeprefix(b"data: ").strip())
        assert upstream.count()["chunks"] == 20
    *chunks, finish, usage, done = events
    for number, text in enumerate(chunks):
        mark, _, due = json.loads(text)["choices"][0]["delta"]["content"].split()[0].partition(":")
        assert mark == f"@{number:06d}"
        dues.append(int(due))
    assert json.loads(finish)["choices"][0]["finish_reason"] == "stop"
    assert json.loads(usage)["usage"]["completion_tokens"] == 20
    assert done == b"[DONE]"
    assert {later - sooner for sooner, later in pairwise(dues)} == {10_000_000}
    assert all(arrival > due for arrival, due in zip(arrivals, dues, strict=False))


@pytest.mark.parametrize("usage", [True, False])
async def test_a_body_is_understood_in_pieces_of_any_size(usage: bool) -> None:
    body = json.dumps({**STREAM, "stream_options": {"include_usage": usage}, "padding": "w " * 100_000}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(200):
            yield body[at : at + 1]
            await asyncio.sleep(0)
        yield body[200:]

    with generator.serve(core=None, chunks=2, chunk_rate=100) as upstream:
        async with (
            aiohttp.ClientSession(upstream.url) as session,
            session.post(generator.CHAT, data=pieces()) as answer,
        ):
            text = await answer.text()
        assert upstream.count()["body_bytes"] == len(body)
    assert text.count("data: ") == 4 + usage
    assert text.endswith("data: [DONE]\n\n")


# -- the clients ------------------------------------------------------------------------------------------------


async def test_what_the_client_counts_is_what_the_server_sent() -> None:
    statuses: Counter[str] = Counter()
    keys: Counter[str] = Counter()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert await request.json() == ASK
        assert request.headers["x-more"] == "yes"
        keys[request.headers["authorization"]] += 1
        number = statuses.total()
        status = 429 if number % 5 == 0 else 200
        statuses[str(status)] += 1
        if number % 3 == 0:
            return web.json_response({"n": number}, status=status, headers={"connection": "close"})
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)  # without a length: chunked
        for _ in range(3):
            await answer.write(b"some of it")
        return answer

    async with server(handler, keys=10) as target:
        found = await run(generator.rate, target, ASK, rps=200, connections=8, seconds=0.5)
    assert found["statuses"] == dict(statuses)
    assert found["sent"] == statuses.total() == 100
    assert found["ok"] == 80
    assert found["errors"] == 0
    assert found["connects"] >= 34
    assert set(keys.values()) == {10}


async def test_a_server_that_stands_still_is_charged_for_all_who_would_have_come() -> None:
    seen = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal seen
        seen += 1
        if seen == 50:
            time.sleep(0.4)  # noqa: ASYNC251 -- the whole server stands still
        return web.json_response({})

    async with server(handler) as target:
        found = await run(generator.rate, target, ASK, rps=200, connections=4, seconds=1)
    assert found["sent"] == found["ok"] == 200
    assert found["latency_us"]["p90"] > 200_000
    assert found["latency_us"]["max"] > 390_000


async def test_twenty_megabytes_arrive_whole() -> None:
    body = json.dumps({**ASK, "padding": "word " * 4_000_000}).encode()
    hashes = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        hashes.add(hashlib.sha256(await request.read()).digest())
        return web.json_response({})

    async with server(handler) as target:
        found = await run(generator.rate, target, body, rps=0, connections=1, seconds=0.2)
    assert found["ok"] >= 1
    assert hashes == {hashlib.sha256(body).digest()}


async def test_failures_are_counted_with_their_reasons() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        key = request.headers["authorization"]
        if key.endswith("0"):
            await asyncio.sleep(2)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with server(handler, keys=2) as target:
        found = await run(generator.rate, target, ASK, rps=20, connections=20, seconds=0.5, timeout=0.5)
        nobody = generator.direct(1)
        refused = await run(generator.rate, nobody, ASK, rps=20, connections=2, seconds=0.5)
    assert (found["ok"], found["why"]["timeout"], found["why"]["closed"]) == (0, 5, 5)
    assert refused["why"]["refused"] + refused["why"]["unsent"] == refused["sent"] == 10


async def test_merged_late_lost_and_broken_are_told_apart() -> None:
    """Each stream: eight chunks, of which two come with the one before, one is late, one is missing."""
    streams = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal streams
        streams += 1
        number = streams
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        now = time.monotonic_ns
        pieces = [
            lambda: event(0, now()),
            lambda: event(1, now()) + event(2, now()) + event(3, now()),
            lambda: event(4, now() - 80_000_000),
            lambda: event(5, now())[:-30],  # the rest of it comes later, and makes one chunk with it
            lambda: event(5, now())[-30:],
            lambda: event(7, now()),
            lambda: event(8, now()),
        ]
        for piece in pieces:
            await answer.write(piece())
            await asyncio.sleep(0.02)
        if number % 2:
            await answer.write(b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\ndata: [DONE]\n\n')
        return answer

    async with server(handler) as target:
        found = await run(generator.streams, target, STREAM, connections=10, seconds=1)
    done = found["finished"] + found["broken"]
    whole = (done, streams)
    assert found["broken"] > 0
    assert found["usages"] == found["finished"]
    assert abs(found["finished"] - found["broken"]) <= 10
    for key, each in {"chunks": 8, "merged": 2, "late": 1, "late_or_merged": 3, "gaps": 1}.items():
        assert whole[0] * each <= found[key] <= whole[1] * each, key
    assert 80_000 <= found["lag_us"]["max"] < 200_000


async def test_streams_of_the_upstream_itself_come_in_time() -> None:
    with generator.serve(core=None, chunks=10, chunk_rate=50) as upstream:
        found = await run(generator.streams, upstream, STREAM, connections=50, seconds=1, ramp=0.2)
        served = upstream.count()
    assert found["broken"] == found["gaps"] == 0
    assert found["streams"] == 50
    assert found["usages"] == found["finished"] == served["streams_done"]
    assert found["chunks"] == pytest.approx(50 * 50 * 10 / 11, rel=0.15)
