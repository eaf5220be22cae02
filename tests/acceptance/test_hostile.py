"""Requests that no honest client sends, against the running gate: refused clearly, and nothing reaches a provider."""

import json
import socket
import time

import pytest

from tests.acceptance import callers
from tests.acceptance.siege import under_attack
from tests.acceptance.sockets import answers, connect, one, post, talk, to_the_end
from tests.acceptance.system import until

pytestmark = pytest.mark.slow

CHAT = "/openai/v1/chat/completions"
ASK = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "Good morning"}]}
BODY = json.dumps(ASK).encode()
GROWTH_MB = 64
"""What one test may add to the gate's memory at most, beyond what it says itself."""
SHORT = {
    "JACKSTOP_GATE_HEADER_TIMEOUT_S": "2",
    "JACKSTOP_GATE_BODY_TIMEOUT_S": "2",
    "JACKSTOP_GATE_WRITE_TIMEOUT_S": "2",
    "JACKSTOP_GATE_IDLE_TIMEOUT_S": "3",
    "JACKSTOP_GATE_MAX_BUFFERED_BYTES": str(64 << 20),
}


@pytest.fixture(scope="module")
def besieged(tmp_path_factory):
    with under_attack(tmp_path_factory.mktemp("besieged"), SHORT) as found:
        yield found


@pytest.fixture(autouse=True)
def _unharmed(besieged):
    """Whatever a test does: no failure for the neighbour, whose work goes on, and memory that stays bounded."""
    until(lambda: besieged.neighbour.requests, "the neighbour's first request")
    before, done = besieged.rss_mb(), besieged.neighbour.requests
    gates = besieged.system.gates()
    yield
    until(lambda: besieged.neighbour.requests > done + 1, "the neighbour's next requests")
    assert not besieged.neighbour.failures
    assert besieged.system.gates() == gates
    assert besieged.rss_mb() - before < GROWTH_MB


@pytest.fixture
def unseen(besieged):
    """The provider sees nothing of what a test sends."""
    before = besieged.seen()
    yield
    assert besieged.seen() == before


SMUGGLED = b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: gate\r\n"


def head(*lines, first=f"POST {CHAT} HTTP/1.1", host="Host: gate"):
    return [first, *([host] if host else []), "Authorization: Bearer {key}", "Content-Type: application/json", *lines]


SIZE = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
WHOLE_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
WIRE = {
    "length and chunked": (head(SIZE, CHUNKED), WHOLE_CHUNK, 400),
    "chunked and length": (head(CHUNKED, SIZE), WHOLE_CHUNK, 400),
    "two lengths": (head(SIZE, SIZE), BODY, 400),
    "two lengths that differ": (head(SIZE, "Content-Length: 0"), BODY, 400),
    "lengths in a list": (head(f"{SIZE}, {len(BODY)}"), BODY, 400),
    "a length with a sign": (head(f"Content-Length: +{len(BODY)}"), BODY, 400),
    "a negative length": (head("Content-Length: -1"), BODY, 400),
    "a hexadecimal length": (head(f"Content-Length: {len(BODY):#x}"), BODY, 400),
    "a length with an underscore": (head("Content-Length: 1_0"), BODY, 400),
    "an empty length": (head("Content-Length:"), BODY, 400),
    "a length beyond 64 bits": (head("Content-Length: 18446744073709551617"), BODY, 400),
    "gzip, chunked": (head("Transfer-Encoding: gzip, chunked"), WHOLE_CHUNK, 400),
    "chunked, gzip": (head("Transfer-Encoding: chunked, gzip"), WHOLE_CHUNK, 400),
    "chunked twice": (head(CHUNKED, CHUNKED), WHOLE_CHUNK, 400),
    "chunked, chunked": (head("Transfer-Encoding: chunked, chunked"), WHOLE_CHUNK, 400),
    "chunked in quotes": (head('Transfer-Encoding: "chunked"'), WHOLE_CHUNK, 400),
    "chunked with a parameter": (head("Transfer-Encoding: chunked;q=1"), WHOLE_CHUNK, 400),
    "xchunked": (head("Transfer-Encoding: xchunked"), WHOLE_CHUNK, 400),
    "identity": (head("Transfer-Encoding: identity", SIZE), BODY, 400),
    "a vertical tab before chunked": (head("Transfer-Encoding: \x0bchunked"), WHOLE_CHUNK, 400),
    "space before the colon": (head("Transfer-Encoding : chunked"), WHOLE_CHUNK, 400),
    "a folded coding": (head("Transfer-Encoding:", " chunked"), WHOLE_CHUNK, 400),
    "a header beginning with a space": (head(" Transfer-Encoding: chunked"), WHOLE_CHUNK, 400),
    "a folded header": (head("X-Long: one", "\ttwo", SIZE), BODY, 400),
    "chunked on 1.0": (head(CHUNKED, first=f"POST {CHAT} HTTP/1.0"), WHOLE_CHUNK, 400),
    "no host": (head(SIZE, host=""), BODY, 400),
    "two hosts": (head(SIZE, "Host: other"), BODY, 400),
    "two equal hosts": (head(SIZE, "Host: gate"), BODY, 400),
    "an empty host": (head(SIZE, host="Host:"), BODY, 400),
    "a host with a path": (head(SIZE, host="Host: gate/openai"), BODY, 400),
    "a host with a user": (head(SIZE, host="Host: me@gate"), BODY, 400),
    "an absolute target": (head(SIZE, first=f"POST http://api.openai.com{CHAT} HTTP/1.1"), BODY, 400),
    "an authority target": (head(SIZE, first="CONNECT api.openai.com:443 HTTP/1.1"), BODY, 405),
    "an asterisk": (head(SIZE, first="OPTIONS * HTTP/1.1"), BODY, 400),
    "trace": (head(SIZE, first=f"TRACE {CHAT} HTTP/1.1"), BODY, 405),
    "a lower-case method": (head(SIZE, first=f"post {CHAT} HTTP/1.1"), BODY, 400),
    "a space in the target": (head(SIZE, first=f"POST {CHAT} x HTTP/1.1"), BODY, 400),
    "a tab for a space": (head(SIZE, first=f"POST\t{CHAT} HTTP/1.1"), BODY, 400),
    "http/2's preface": (["PRI * HTTP/2.0", "", "SM"], b"", 505),
    "http/1.2": (head(SIZE, first=f"POST {CHAT} HTTP/1.2"), BODY, 505),
    "http/0.9": ([f"GET {CHAT}"], b"", 400),
    "a nul in a header": (head("X-Nul: a\x00b", SIZE), BODY, 400),
    "a nul in a name": (head("X\x00Nul: ab", SIZE), BODY, 400),
    "a bare return": (head("X-Bare: a\rTransfer-Encoding: chunked", SIZE), BODY, 400),
    "a bare newline": (head("X-Bare: a\nTransfer-Encoding: chunked", SIZE), BODY, 400),
    "a name without colon": (head("Nothing", SIZE), BODY, 400),
    "an empty name": (head(": nothing", SIZE), BODY, 400),
    "a name in UTF-8": (head("Transfer-Encodinġ: chunked".encode().decode("latin-1"), SIZE), BODY, 400),
    "an upgrade": (head(SIZE, "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAA"), BODY, 400),
    "a websocket": (
        head("Upgrade: websocket", "Connection: Upgrade", first="GET /openai/v1/models HTTP/1.1"),
        b"",
        400,
    ),
    "a trailer announced": (head(CHUNKED, "Trailer: Authorization"), WHOLE_CHUNK, 400),
    "another expectation": (head(SIZE, "Expect: 200-ok"), BODY, 417),
    "a body on a path without": (head(SIZE, first="GET /openai/v1/models HTTP/1.1"), BODY, 400),
    "no length": (head(), b"", 411),
    "compressed": (head(SIZE, "Content-Encoding: gzip"), BODY, 415),
    "a trailer": (head(CHUNKED), b"%x\r\n%s\r\n0\r\nX-Late: 1\r\n\r\n" % (len(BODY), BODY), 400),
    "a trailer like a header": (head(CHUNKED), b"%x\r\n%s\r\n0\r\nContent-Length: 5\r\n\r\n" % (len(BODY), BODY), 400),
    "chunks with bare newlines": (head(CHUNKED), b"%x\n%s\n0\n\n" % (len(BODY), BODY), 400),
    "a chunk longer than it says": (head(CHUNKED), b"5\r\n%s\r\n0\r\n\r\n" % BODY, 400),
    "a chunk of negative size": (head(CHUNKED), b"-1\r\n%s\r\n0\r\n\r\n" % BODY, 400),
    "a chunk size with 0x": (head(CHUNKED), b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), 400),
    "a chunk size that overflows": (head(CHUNKED), b"10000000000000005\r\n%s\r\n0\r\n\r\n" % BODY, 400),
    "a flood of extension": (head(CHUNKED), b"5;" + b"x" * 100_000, 400),
    "a flood of chunk extensions": (head(CHUNKED), b"1;%s\r\n{\r\n" % (b"x" * 100) * 5_000, 400),
    "a flood of tiny chunks": (head(CHUNKED), b"1\r\n \r\n" * 200_000, 400),
}


@pytest.mark.parametrize("name", WIRE)
def test_a_request_that_two_programs_may_read_differently(besieged, unseen, name):
    lines, body, status = WIRE[name]
    raw = "\r\n".join([*lines, "", ""]).format(key=besieged.key).encode("latin-1") + body
    answer = one(talk(besieged.port, raw + SMUGGLED))
    assert answer.status == status
    assert answer.reason == "malformed"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.body)["error"]["message"]


def test_an_extra_byte_at_a_time_changes_nothing(besieged, unseen):
    """The same judgement when the bytes come one by one."""
    for name in ("length and chunked", "a bare newline", "a chunk longer than it says", "a trailer like a header"):
        lines, body, status = WIRE[name]
        raw = "\r\n".join([*lines, "", ""]).format(key=besieged.key).encode("latin-1") + body
        with connect(besieged.port) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for at in range(len(raw)):
                    sock.sendall(raw[at : at + 1])
            except (ConnectionResetError, BrokenPipeError):
                pass  # refused before its end
            assert one(to_the_end(sock)).status == status


def test_what_follows_a_refusal_is_not_read(besieged, unseen):
    good = post(besieged.key, BODY)
    refused = post(besieged.key, BODY, "Transfer-Encoding: chunked")
    assert [answer.status for answer in answers(talk(besieged.port, refused + good + good))] == [400]


def test_requests_in_one_packet_are_answered_in_their_order(besieged):
    before = besieged.seen()
    health = b"GET /healthz HTTP/1.1\r\nHost: gate\r\n\r\n"
    bad = post(besieged.key, BODY, "Transfer-Encoding: gzip, chunked", length=False)
    found = answers(talk(besieged.port, health + post(besieged.key, BODY) + health + bad + health))
    assert [answer.status for answer in found] == [200, 200, 200, 400]
    assert json.loads(found[1].body)["usage"]["completion_tokens"] <= 5
    assert besieged.seen() == before + 1


def test_an_old_client_is_served_and_closed(besieged):
    """HTTP/1.0 knows neither chunks nor kept connections: a stream ends with its connection."""
    old = post(besieged.key, BODY, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    (answer,) = answers(talk(besieged.port, old + old))
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    streaming = post(besieged.key, {**ASK, "stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0")
    head, _, body = talk(besieged.port, streaming).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


PATHS = [
    "/openai/v1/../v1/chat/completions",
    "/anthropic/../openai/v1/chat/completions",
    "/openai/v1/%2e%2e/v1/chat/completions",
    "/openai%2fv1/chat/completions",
    "/openai/v1/chat%2Fcompletions",
    "/openai/v1/chat%5ccompletions",
    "/openai/v1/chat\\completions",
    "//openai/v1/chat/completions",
    "/openai//v1/chat/completions",
    "/openai/v1/chat/completions//",
    "/openai/v1/./chat/completions",
    "/openai/v1/chat/completions;x=1/..",
    "/openai/v1/chat/completions%00",
    "/openai/v1/chat/completions%0d%0aX-Injected:1",
    "/openai/v1/ch%61t/completions",
    "/openai/v1/chat/completions#part",
    "/openai/v1/chat/completions/",
    "/OPENAI/v1/chat/completions",
    "/openai/V1/chat/completions",
    "/openai/v1/chat/completions%3f",
    "/openai@127.0.0.1/v1/chat/completions",
    "/openai/v1/http://127.0.0.1/",
    "/" + "x" * 9_000,
    "/openai/v1/chat/completion%zz",
    "/_sandbox/bill",
    "/openai/_sandbox/bill",
    "/",
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_a_path_with_two_readings_or_none(besieged, unseen, path):
    answer = answers(talk(besieged.port, post(besieged.key, BODY, "Connection: close", path=path)))[0]
    assert answer.status in {400, 403, 404, 414}
    assert answer.reason in {"malformed", "endpoint", "unmetered"}


BODIES = {
    "a name twice": b'{"model":"gpt-4o-mini","model":"gpt-5","messages":[{"role":"user","content":"x"}]}',
    "a name twice, once escaped": b'{"model":"gpt-4o-mini","mod\\u0065l":"gpt-5","messages":[]}',
    "a name twice, deep": b'{"model":"gpt-4o-mini","messages":[{"content":[{"type":"text","text":"a","text":"b"}]}]}',
    "a name twice in a tool": b'{"model":"gpt-4o-mini","messages":[],"tools":[{"type":"function",'
    b'"function":{"name":"f","parameters":{"properties":{"a":{"x":1,"\\u0078":2}}}}}]}',
    "the cap twice": b'{"model":"gpt-4o-mini","max_tokens":1,"messages":[],"max_tokens":9}',
    "not a number": b'{"model":"gpt-4o-mini","temperature":NaN,"messages":[{"role":"user","content":"x"}]}',
    "infinity": b'{"model":"gpt-4o-mini","temperature":-Infinity,"messages":[{"role":"user","content":"x"}]}',
    "beyond a double": b'{"model":"gpt-4o-mini","max_tokens":1e999,"messages":[{"role":"user","content":"x"}]}',
    "half a pair": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\\ud800"}]}',
    "not UTF-8": b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\xff"}]}',
    "UTF-16": '{"model":"gpt-4o-mini","messages":[]}'.encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf" + BODY,
    "something behind it": BODY + b"{}",
    "a comment": b"/* */" + BODY,
    "a comma too many": BODY[:-1] + b",}",
    "an array": b"[" + BODY + b"]",
    "a text": b'"x"',
    "null": b"null",
    "nothing": b"",
    "100,000 levels": b'{"a":' * 100_000,
    "brackets": b"[" * 1_000_000,
    "a number of 100,000 digits": b'{"model":"gpt-4o-mini","max_tokens":%s,"messages":[]}' % (b"9" * 100_000),
    "the model is a list": json.dumps({**ASK, "model": ["gpt-4o-mini"]}).encode(),
    "a negative number of choices": json.dumps({**ASK, "n": -5}).encode(),
    "the cap is a text": json.dumps({**ASK, "max_tokens": "5"}).encode(),
    "the cap is half": json.dumps({**ASK, "max_tokens": 0.5}).encode(),
    "the messages are a text": json.dumps({**ASK, "messages": "hello"}).encode(),
    "the stream is a text": json.dumps({**ASK, "stream": "false"}).encode(),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_with_two_readings_or_none(besieged, unseen, name):
    answer = answers(talk(besieged.port, post(besieged.key, BODIES[name], "Connection: close")))[0]
    assert answer.status in {400, 411}
    assert answer.reason == "malformed"
    assert "gpt" not in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "lines",
    [
        ["x-api-key: jsk_other"],
        ["Authorization: Bearer jsk_other"],
        ["api-key: jsk_other"],
        ["x-goog-api-key: jsk_other", "x-api-key: {key}"],
    ],
)
def test_two_different_keys(besieged, unseen, lines):
    raw = post(besieged.key, BODY, *(line.format(key=besieged.key) for line in lines))
    answer = one(talk(besieged.port, raw))
    assert answer.status in {400, 401}
    assert answer.reason in {"malformed", "unauthorized"}
    in_query = post(besieged.key, BODY, path=f"{CHAT}?key=jsk_other")
    assert one(talk(besieged.port, in_query)).status == answer.status


def test_a_client_names_no_address_of_its_own(besieged):
    """Without trusted proxies, whatever a request says of its source is not believed."""
    inside, inside_id = besieged.system.key("--network", "10.9.8.0/24", "--provider", "openai")
    here, here_id = besieged.system.key("--network", "127.0.0.0/8", "--provider", "openai")
    forged = [
        "X-Forwarded-For: 10.9.8.7",
        "X-Real-IP: 10.9.8.7",
        "Forwarded: for=10.9.8.7",
        "CF-Connecting-IP: 10.9.8.7",
        "True-Client-IP: 10.9.8.7",
        "X-Client-IP: 10.9.8.7",
        "X-Forwarded-Host: api.openai.com",
    ]
    before = besieged.seen()
    answer = one(talk(besieged.port, post(inside, BODY, *forged)))
    assert (answer.status, answer.reason) == (403, "network")
    assert besieged.seen() == before
    assert one(talk(besieged.port, post(here, BODY, *forged, "Connection: close"))).status == 200
    found = callers.events_of(besieged.system, inside_id) + callers.events_of(besieged.system, here_id)
    assert {(event["src_ip"], event["src_trust"], event["src_net"]) for event in found} == {
        ("127.0.0.1", "peer", "127.0.0.0/24")
    }


def test_equal_bytes_from_two_addresses_are_two_sources(besieged):
    only, only_id = besieged.system.key("--network", "127.0.0.1/32", "--provider", "openai")
    raw = post(only, BODY, "Connection: close")
    for _ in range(3):
        assert one(talk(besieged.port, raw)).status == 200
        refused = one(talk(besieged.port, raw, source="127.0.0.2"))
        assert (refused.status, refused.reason) == (403, "network")
    found = callers.events_of(besieged.system, only_id, 6)
    assert {(event["src_ip"], event["reason"]) for event in found} == {("127.0.0.1", ""), ("127.0.0.2", "network")}


@pytest.mark.parametrize("act", ["revoke", "quarantine", "rotate"])
def test_a_kept_connection_gives_no_second_life(besieged, act):
    """A key is judged anew with every request, however alike they are."""
    key, key_id = besieged.system.key("--provider", "openai")
    with connect(besieged.port) as sock, sock.makefile("rb") as file:

        def status():
            sock.sendall(post(key, BODY))
            found = int(file.readline().split()[1])
            size = 0
            while (line := file.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
            file.read(size)
            return found

        assert [status(), status()] == [200, 200]
        besieged.system.command("key", act, key_id)
        assert until(lambda: (found := status()) != 200 and found, "a refusal") in {401, 403}


def test_headers_that_never_end(besieged, unseen):
    start = time.monotonic()
    raw = post(besieged.key, BODY)
    held = []
    for at in (0, 1, 30, len(raw) - len(BODY) - 1):
        sock = connect(besieged.port)
        sock.sendall(raw[:at])
        held.append((at, sock))
    dripping = connect(besieged.port)
    dripping.sendall(raw[:40])
    try:
        while time.monotonic() < start + 8:
            dripping.sendall(b"x")
            dripping.settimeout(0.1)
            try:
                if dripping.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
    except (ConnectionResetError, BrokenPipeError):
        pass
    dripping.settimeout(10)
    answer = one(to_the_end(dripping))
    assert (answer.status, answer.reason) == (408, "malformed")
    dripping.close()
    for at, sock in held:
        found = answers(to_the_end(sock))
        assert [each.status for each in found] == ([408] if at else [])
        sock.close()


def test_bodies_that_never_end(besieged, unseen):
    raw = post(besieged.key, BODY)
    chunked = post(besieged.key, b"", "Transfer-Encoding: chunked", length=False) + b"5\r\n{"
    expecting = post(besieged.key, BODY, "Expect: 100-continue")[: -len(BODY)]
    held = []
    for piece in (raw[:-1], raw[: -len(BODY)], chunked, expecting):
        sock = connect(besieged.port)
        sock.sendall(piece)
        held.append(sock)
    for sock in held:
        last = answers(to_the_end(sock))[-1]
        assert (last.status, last.reason) == (408, "malformed")
        sock.close()
    found = callers.events_of(besieged.system, besieged.key_id, 4)[-4:]
    assert {(event["decision"], event["status"]) for event in found} == {("refused", 408)}


def test_a_megabyte_of_headers(besieged, unseen):
    for lines in (
        ["X-Long: " + "x" * 1_000_000],
        [f"X-{n}: y" for n in range(60_000)],
        ["Cookie: " + "a=b; " * 200_000],
    ):
        answer = one(talk(besieged.port, post(besieged.key, BODY, *lines)))
        assert answer.status == 431
        assert answer.reason in {"malformed", "too_large"}
    few = one(talk(besieged.port, post(besieged.key, BODY, *[f"X-{n}: y" for n in range(120)])))
    assert few.status == 431
