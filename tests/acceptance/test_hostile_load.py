"""Too much, too slow and too many: the gate refuses or times out, its memory stays bounded, and others are served."""

import json
import resource
import selectors
import socket
import threading
from contextlib import suppress

import pytest

from tests.acceptance import callers
from tests.acceptance.siege import under_attack
from tests.acceptance.sockets import answers, connect, one, post, talk, to_the_end
from tests.acceptance.system import until

pytestmark = pytest.mark.slow

MB = 1 << 20
ASK = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "Good morning"}]}
BUFFERED_MB = 128
ONE_KEY_MB = 32
"""Of these, for the bodies of one key: a quarter."""
CONNECTIONS = 10_000
SETTINGS = {
    "JACKSTOP_GATE_BODY_TIMEOUT_S": "5",
    "JACKSTOP_GATE_WRITE_TIMEOUT_S": "2",
    "JACKSTOP_GATE_MAX_BUFFERED_BYTES": str(BUFFERED_MB * MB),
    "JACKSTOP_GATE_MAX_CONNECTIONS": str(CONNECTIONS + 100),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with under_attack(tmp_path_factory.mktemp("loaded"), SETTINGS, "--max-output", "128000") as found:
        yield found


@pytest.fixture(autouse=True)
def _unharmed(loaded):
    until(lambda: loaded.neighbour.requests, "the neighbour's first request")
    gates, done = loaded.system.gates(), loaded.neighbour.requests
    yield
    until(lambda: loaded.neighbour.requests > done + 1, "the neighbour's next requests")
    assert not loaded.neighbour.failures
    assert loaded.system.gates() == gates


class Highest:
    """The gate's memory while something goes on: the most of it, in megabytes above the start."""

    def __init__(self, loaded):
        self._loaded = loaded
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.start_mb = self.most_mb = loaded.rss_mb()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.05):
            self.most_mb = max(self.most_mb, self._loaded.rss_mb())

    @property
    def growth_mb(self):
        return max(self.most_mb, self._loaded.rss_mb()) - self.start_mb


def at_once(count, work):
    """The results of `work` in so many threads at once."""
    found = [None] * count

    def run(n):
        found[n] = work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found


def test_ten_thousand_idle_connections(loaded, record_property):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    socks = []
    try:
        with Highest(loaded) as memory:
            socks.extend(connect(loaded.port) for _ in range(CONNECTIONS))
            # Every hundredth is the attacker's, with a request first; the rest never say a word.
            for sock in socks[::100]:
                sock.sendall(post("", b"", path="/healthz", method="GET", length=False))
            for sock in socks[::100]:
                assert sock.recv(12) == b"HTTP/1.1 200"
            done = loaded.neighbour.requests
            until(lambda: loaded.neighbour.requests > done + 10, "the neighbour's work meanwhile")
            status = loaded.system.status()["gates"]
            assert [gate["fresh"] for gate in status] == [True]
            assert not loaded.neighbour.failures
        record_property("idle_connections_mb", round(memory.growth_mb, 1))
        print(f"{CONNECTIONS} idle connections: {memory.growth_mb:.1f} MB")
        assert memory.growth_mb < 100
        extra = []
        refused = None
        for _ in range(300):
            extra.append(connect(loaded.port))
            socks.append(extra[-1])
        with selectors.DefaultSelector() as selector:
            for sock in extra:
                selector.register(sock, selectors.EVENT_READ)
            ready = selector.select(10)
            assert ready
            refused = answers(to_the_end(ready[0][0].fileobj))[0]
        assert (refused.status, refused.reason) == (503, "overload")
        assert int(refused.headers["retry-after"]) >= 1
        done = loaded.neighbour.requests
        until(lambda: loaded.neighbour.requests > done + 10, "the neighbour's work at the limit")
    finally:
        for sock in socks:
            with suppress(OSError):
                sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    small = post(loaded.key, ASK, "Connection: close")
    answer = until(lambda: (got := answers(talk(loaded.port, small))) and got[0].status == 200 and got[0], "room again")
    assert json.loads(answer.body)["usage"]


def test_long_heads_of_nobody(loaded):
    """Who has no key takes neither the gate's memory nor the room for the bodies of those who have one."""
    before = loaded.seen()
    half = b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 60_000
    socks = []
    try:
        with Highest(loaded) as memory:
            for _ in range((BUFFERED_MB + 8) * MB // len(half)):
                socks.append(connect(loaded.port))
                with suppress(ConnectionResetError, BrokenPipeError):
                    socks[-1].sendall(half)
            done = loaded.neighbour.requests
            until(lambda: loaded.neighbour.requests > done + 10, "the neighbour's work meanwhile")
            assert not loaded.neighbour.failures
            answer = one(talk(loaded.port, post(loaded.key, ASK, "Connection: close")))
            assert answer.status == 200
    finally:
        for sock in socks:
            sock.close()
    assert memory.growth_mb < 2 * BUFFERED_MB
    assert loaded.seen() == before + 1


def test_a_body_of_100_mb(loaded):
    """Its length is enough to refuse it; in chunks, what is taken of it is bounded."""
    before = loaded.seen()
    piece = b"x" * MB
    announced = post(loaded.key, b"", f"Content-Length: {100 * MB}", length=False)
    in_chunks = post(loaded.key, b"", "Transfer-Encoding: chunked", length=False)
    chunk = b"%x\r\n%s\r\n" % (MB, piece)
    with Highest(loaded) as memory:
        answer = one(talk(loaded.port, announced, *[piece] * 100))
        assert (answer.status, answer.reason) == (413, "too_large")
        answer = one(talk(loaded.port, in_chunks, *[chunk] * 100))
        assert (answer.status, answer.reason) == (413, "too_large")
        answer = one(talk(loaded.port, announced.replace(loaded.key.encode(), b"jsk_nobody"), *[piece] * 100))
        assert answer.status == 401
        answer = one(talk(loaded.port, in_chunks.replace(loaded.key.encode(), b"jsk_nobody"), *[chunk] * 100))
        assert answer.status == 401
    assert memory.growth_mb < 80
    assert loaded.seen() == before


def test_many_large_bodies_at_once(loaded):
    """All together are bounded: the gate says `overload` before its memory is gone."""
    before = loaded.seen()
    piece = b"x" * MB
    raw = post(loaded.key, b"", f"Content-Length: {30 * MB}", "Connection: close", length=False)
    with Highest(loaded) as memory:
        found = at_once(10, lambda _: answers(talk(loaded.port, raw, *[piece] * 30)))
    # 300 MB wanted to come in; one that was read whole is no JSON. A client that is still sending may see a reset.
    reasons = {answer.reason for got in found for answer in got}
    assert "overload" in reasons
    assert reasons <= {"overload", "malformed"}
    assert memory.growth_mb < 3 * ONE_KEY_MB
    refused = [answer for got in found for answer in got if answer.reason == "overload"]
    assert all(answer.status == 503 and int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert loaded.seen() == before
    small = post(loaded.key, ASK, "Connection: close")
    assert until(lambda: (answer := one(talk(loaded.port, small))).status == 200 and answer, "room again")


def test_one_key_does_not_fill_the_room_for_bodies(loaded):
    """Bodies that are sent almost to their end and then no further, all with one key, as of one that is stolen."""
    before = loaded.seen()
    other, _ = loaded.system.key("--provider", "openai", name="bystander")
    raw = post(loaded.key, b"", f"Content-Length: {4 * MB}", length=False) + b"x" * (4 * MB - 1)
    socks = []
    try:
        for _ in range(ONE_KEY_MB // 4 + 4):
            socks.append(connect(loaded.port))
            with suppress(ConnectionResetError, BrokenPipeError):
                socks[-1].sendall(raw)
        done = loaded.neighbour.requests
        until(lambda: loaded.neighbour.requests > done + 10, "the neighbour's work meanwhile")
        assert not loaded.neighbour.failures
        assert one(talk(loaded.port, post(other, ASK, "Connection: close"))).status == 200
        found = [one(to_the_end(sock)) for sock in socks]
    finally:
        for sock in socks:
            sock.close()
    # Some were too many, and the others did not go on.
    assert {(answer.status, answer.reason) for answer in found} == {(503, "overload"), (408, "malformed")}
    assert loaded.seen() == before + 1


def test_a_json_body_that_unfolds(loaded):
    """Small values by the million would keep the gate from everyone else while it reads them."""
    before = loaded.seen()
    with Highest(loaded) as memory:
        for unit in (b"[],", b'{"a":0},', b'"",', b"0,"):
            inner = unit * (30 * MB // len(unit))
            body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":[' + inner[:-1] + b"]}]}"
            answer = one(talk(loaded.port, post(loaded.key, body, "Connection: close")))
            assert (answer.status, answer.reason) == (400, "malformed")
    assert memory.growth_mb < 300
    assert loaded.seen() == before


def test_a_long_text_for_a_budget_that_it_does_not_fit(loaded):
    """It is counted exactly before it is refused, and that keeps nobody else waiting for long."""
    poor, _ = loaded.system.key("--budget", "0.0001usd/day", "--provider", "openai")
    body = {**ASK, "messages": [{"role": "user", "content": "How many tokens? " * (4 * MB // 17)}]}
    done = loaded.neighbour.requests
    found = at_once(4, lambda _: one(talk(loaded.port, post(poor, body, "Connection: close"))))
    assert {(answer.status, answer.reason) for answer in found} == {(429, "budget")}
    until(lambda: loaded.neighbour.requests > done, "the neighbour's work meanwhile")


def test_clients_that_do_not_read_their_streams(loaded):
    """Backpressure: the provider is read no faster than the client; in the end the client is cut off, and pays."""
    tokens = 60_000
    said = f"Good morning [[sandbox: out={tokens} chunk=1]]"
    ask = {"model": "gpt-5", "max_completion_tokens": tokens, "stream": True}
    before = len(loaded.system.replays()[0].events)
    socks = []
    with Highest(loaded) as memory:
        for n in range(10):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", loaded.port))
            sock.sendall(post(loaded.key, {**ask, "messages": [{"role": "user", "content": f"{n} {said}"}]}))
            socks.append(sock)
        rows = until(
            lambda: (
                [
                    event
                    for event in callers.events_of(loaded.system, loaded.key_id)
                    if event["stream"] and event["outcome"] == "cancelled"
                ][9:]
                and callers.events_of(loaded.system, loaded.key_id)
            ),
            "ten clients cut off",
            60,
        )
    assert memory.growth_mb < 40
    for sock in socks:
        sock.close()
    assert len(loaded.system.replays()[0].events) > before
    bills = callers.provider_rows(loaded.system)
    for event in rows:
        if event["stream"]:
            row = bills[event["request_id"][-callers.ID_CHARS :]]
            cost = -(-row["units"] // callers.UNITS_PER_NUSD)
            assert event["cost_nusd"] >= cost
            assert event["cost_nusd"] == cost or event["estimated"]
