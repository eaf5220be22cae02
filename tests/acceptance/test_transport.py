"""TLS to clients and to providers, proxies in front, and whose address is believed, on the running program."""

import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress

import openai
import pytest

from tests.acceptance import callers
from tests.acceptance.callers import CHAT, say
from tests.acceptance.sockets import answers, connect, one, post, talk, to_the_end
from tests.acceptance.system import ROOT, Sandbox, System, until
from tests.certificates import Authority

pytestmark = pytest.mark.slow

ASK = {"model": CHAT, "max_tokens": 5, "messages": [{"role": "user", "content": "Good morning"}]}
V2 = b"\r\n\r\n\x00\r\nQUIT\n"


class SafeSandbox(Sandbox):
    """The practice providers behind TLS."""

    def __init__(self, folder, authority, cert, key):
        self.log = folder / "sandbox.log"
        self._context = ssl.create_default_context(cafile=authority.ca)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", "import sys; from jackstop.sandbox.server import run; "),
                    *(f"run(0, tls_cert={str(cert)!r}, tls_key={str(key)!r})",),
                ]
                if False
                else [
                    sys.executable,
                    "-c",
                    f"from jackstop.sandbox.server import run; run(0, tls_cert={str(cert)!r}, tls_key={str(key)!r})",
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.url = until(lambda: [word for word in self.log.read_text().split() if word[:5] == "https"], "TLS")[0]

    def rows(self):
        with urllib.request.urlopen(f"{self.url}/_sandbox/requests", timeout=5, context=self._context) as answer:
            return json.load(answer)


class Fronted(System):
    """A system whose listener is not plain HTTP: ready is what control says."""

    def wait_ready(self):
        until(lambda: len(self.gates()) >= self.workers and self.fresh(), "fresh gates", 60)
        until(self._accepts, "an open port", 60)

    def _accepts(self):
        with suppress(OSError), connect(self.port):
            return True
        return False


@pytest.fixture
def make(tmp_path):
    """A function that makes a system in front of a sandbox of its own."""
    made = []

    def system(sandbox=None, kind=Fronted, **environment):
        made.append(
            kind(tmp_path, environment={f"JACKSTOP_{k}": str(v) for k, v in environment.items()}, sandbox=sandbox)
        )
        return made[-1]

    yield system
    for each in made:
        each.close()


def trusting(authority):
    return ssl.create_default_context(cafile=authority.ca)


def over_tls(system, authority, *pieces, **options):
    context = trusting(authority)
    return talk(
        system.port, *pieces, wrap=lambda plain: context.wrap_socket(plain, server_hostname="127.0.0.1"), **options
    )


# -- TLS --------------------------------------------------------------------------------------------------------------


def test_tls_to_clients_and_to_providers(make, tmp_path):
    authority = Authority(tmp_path / "ca")
    cert, key_file, serial = authority.issue("127.0.0.1", "localhost")
    sandbox = SafeSandbox(tmp_path, authority, cert, key_file)
    system = make(sandbox=sandbox, GATE_TLS_CERT=cert, GATE_TLS_KEY=key_file, GATE_UPSTREAM_CA=authority.ca)
    system.set_up().up()
    key, key_id = system.key()
    with openai.OpenAI(
        api_key=key,
        base_url=f"https://127.0.0.1:{system.port}/openai/v1",
        http_client=openai.DefaultHttpxClient(verify=trusting(authority)),
    ) as client:
        answer = client.chat.completions.create(model=CHAT, max_tokens=5, messages=say("out=5"))
        chunks = list(client.chat.completions.create(model=CHAT, max_tokens=50, messages=say("out=50"), stream=True))
    assert answer.usage.completion_tokens == 5
    assert len(chunks) > 2
    events = callers.events_of(system, key_id, 2)
    assert sum(event["cost_nusd"] for event in events) == sum(-(-row["units"] // 10**6) for row in sandbox.rows())
    assert answers(over_tls(system, authority, post("jsk_nobody", ASK)))[0].status == 401

    # Not a byte in clear: neither an answer nor an error.
    assert b"HTTP" not in talk(system.port, post(key, ASK))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.ca)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), connect(system.port) as plain:
        old.wrap_socket(plain, server_hostname="127.0.0.1")
    with connect(system.port) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")

    # A renewed certificate is taken up by a reload.
    authority.issue("127.0.0.1", "localhost")
    assert shown_serial(system, authority) == serial
    system.command("reload")
    until(lambda: shown_serial(system, authority) != serial, "the renewed certificate", 60)
    assert answers(over_tls(system, authority, post(key, ASK, "Connection: close")))[0].status == 200


def shown_serial(system, authority):
    with connect(system.port) as plain, trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        assert sock.version() in {"TLSv1.2", "TLSv1.3"}
        return int(sock.getpeercert()["serialNumber"], 16)


class Impostor:
    """A TLS server whose certificate does not show what it has to; `heard` is what it was told after the handshake."""

    def __init__(self, cert, key):
        self.heard = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(cert, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/openai"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as sock:
                    self.heard.append(sock.recv(1000))

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


def test_providers_that_cannot_show_who_they_are(make, tmp_path):
    trusted, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    impostors = {
        "other-authority": Impostor(*other.issue("127.0.0.1")[:2]),
        "other-name": Impostor(*trusted.issue("somewhere.example", file="name")[:2]),
        "too-late": Impostor(*trusted.issue("127.0.0.1", file="date", expired=True)[:2]),
    }
    system = make(kind=System, GATE_UPSTREAM_CA=trusted.ca)
    # What the machine itself trusts does not count beside `upstream_ca`.
    system.environment["SSL_CERT_FILE"] = str(other.ca)
    system.set_up()
    secret = "sk-nobody-may-hear-this"
    for name, impostor in impostors.items():
        add = ["credential", "add", name, "--provider", "openai", "--base-url", impostor.url]
        system.command(*add, stdin=f"{secret}\n")
    system.up()
    for name in impostors:
        key, key_id = system.key("--credential", name)
        answer = one(talk(system.port, post(key, ASK, "Connection: close")))
        assert (answer.status, answer.reason) == (502, "upstream"), name
        assert "cannot be reached" in json.loads(answer.body)["error"]["message"]
        (event,) = callers.events_of(system, key_id)
        assert (event["reason"], event["status"], event["cost_nusd"] or 0) == ("upstream", 502, 0)
        row = system.budgets(f"key:{key_id}")[f"key:{key_id}"]
        assert (row["settled_nusd"], row["held_nusd"]) == (0, 0)
    for impostor in impostors.values():
        impostor.stop()
        assert not any(secret.encode() in heard for heard in impostor.heard)


def test_beyond_loopback_keys_never_travel_in_clear(make, tmp_path):
    system = make(kind=System)
    system.command("init", "--admin", "admin@example.com")
    address = f"0.0.0.0:{system.port}"
    for words in (["up", "--gate", address], ["up", "--gate", f"[::]:{system.port}"]):
        said = refused(system, words)
        assert "in clear" in said
        assert "--behind-tls" in said
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    for files in (
        {"TLS_CERT": junk},
        {"TLS_KEY": junk},
        {"TLS_CERT": junk, "TLS_KEY": junk},
        {"TLS_CERT": tmp_path / "x"},
    ):
        system.environment |= {f"JACKSTOP_GATE_{name}": str(path) for name, path in files.items()}
        assert refused(system, ["up", "--gate", address])
        for name in files:
            del system.environment[f"JACKSTOP_GATE_{name}"]
    system.up("--gate", address, "--behind-tls")
    key, _ = system.key()
    answer = one(talk(system.port, post(key, ASK, "Connection: close")))
    assert (answer.status, answer.reason) == (403, "provider")


def refused(system, words):
    """What a start says that does not come about, on standard error, without a traceback."""
    done = system.run(*words)
    assert done.returncode in {2, 3}
    assert "Traceback" not in done.stderr
    assert not done.stdout
    return done.stderr


# -- PROXY protocol ---------------------------------------------------------------------------------------------------


def v2(source, command=1, family=0x11, extra=b"", version=2):
    addresses = socket.inet_pton(socket.AF_INET if family == 0x11 else socket.AF_INET6, source)
    rest = addresses + addresses + struct.pack("!HH", 1234, 443) + extra
    return V2 + bytes([version << 4 | command, family]) + struct.pack("!H", len(rest)) + rest


def v1(source, kind="TCP4"):
    return f"PROXY {kind} {source} 10.0.0.1 1234 443\r\n".encode()


GARBAGE = {
    "nothing of it": b"",
    "a request": b"GET /healthz HTTP/1.1\r\nHost: gate\r\n\r\n",
    "version 3": v2("10.9.8.7", version=3),
    "another command": v2("10.9.8.7", command=2),
    "another family": V2 + b"\x21\x31" + struct.pack("!H", 216) + b"/" * 216,
    "too short for its family": V2 + b"\x21\x11" + struct.pack("!H", 4) + b"\x0a\x09\x08\x07",
    "65,535 bytes of options": V2 + b"\x21\x11\xff\xff" + b"x" * 65_535,
    "half a signature": V2[:6] + b"PROXY TCP4",
    "no address": b"PROXY TCP4 10.9.8 10.0.0.1 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
    "no port": b"PROXY TCP4 10.9.8.7 10.0.0.1 1\r\n",
    "a port beyond": b"PROXY TCP4 10.9.8.7 10.0.0.1 1 70000\r\n",
    "another protocol": b"PROXY UDP4 10.9.8.7 10.0.0.1 1 2\r\n",
    "lower case": b"proxy TCP4 10.9.8.7 10.0.0.1 1 2\r\n",
    "no end": b"PROXY TCP4 " + b"1" * 200,
    "a bare newline": b"PROXY TCP4 10.9.8.7 10.0.0.1 1 2\n",
    "noise": bytes(range(256)) * 4,
}


def test_the_proxy_protocol_says_who_calls(make):
    system = make(GATE_PROXY_PROTOCOL=1, GATE_HEADER_TIMEOUT_S=2)
    system.set_up().up()
    inside, inside_id = system.key("--network", "10.9.8.0/24")
    anyone, anyone_id = system.key()
    ask = post(inside, ASK, "Connection: close")
    admitted = [v1("10.9.8.7"), v2("10.9.8.7"), v2("10.9.8.7", extra=b"\x04\x00\x04abcd" * 20)]
    for header in admitted:
        assert one(talk(system.port, header + ask)).status == 200
    byte_by_byte = [bytes([byte]) for byte in v2("10.9.8.7") + ask]
    assert one(talk(system.port, *byte_by_byte)).status == 200
    for header in (v1("203.0.113.9"), v2("203.0.113.9"), v2("2001:db8::9", family=0x21), v1("2001:db8::9", "TCP6")):
        answer = one(talk(system.port, header + ask))
        assert (answer.status, answer.reason) == (403, "network")
    # What the proxy asks for itself has the proxy's address; so has what stands in a header behind it.
    for header in (b"PROXY UNKNOWN\r\n", v2("10.9.8.7", command=0), V2 + b"\x20\x00\x00\x00"):
        assert one(talk(system.port, header + ask)).status == 403
    forged = post(inside, ASK, "Connection: close", "X-Forwarded-For: 10.9.8.7")
    assert one(talk(system.port, v1("203.0.113.9") + forged)).status == 403
    found = callers.events_of(system, inside_id, 12)
    assert {(event["src_ip"], event["src_trust"]) for event in found if event["decision"] == "admitted"} == {
        ("10.9.8.7", "proxy")
    }
    assert {event["src_ip"] for event in found} == {"10.9.8.7", "203.0.113.9", "2001:db8::9", "127.0.0.1"}

    before = len(system.replays()[0].events)
    held = []
    for garbage in GARBAGE.values():
        held.append(connect(system.port))
        with suppress(ConnectionResetError, BrokenPipeError):
            held[-1].sendall(garbage + (post(anyone, ASK) if garbage else b""))
    for sock in held:
        assert to_the_end(sock) == b""
        sock.close()
    assert len(system.replays()[0].events) == before
    assert one(talk(system.port, v1("203.0.113.9") + post(anyone, ASK, "Connection: close"))).status == 200
    assert {event["src_ip"] for event in callers.events_of(system, anyone_id)} == {"203.0.113.9"}


def test_the_proxy_protocol_before_tls(make, tmp_path):
    authority = Authority(tmp_path / "ca")
    cert, key_file, _ = authority.issue("127.0.0.1")
    system = make(GATE_PROXY_PROTOCOL=1, GATE_TLS_CERT=cert, GATE_TLS_KEY=key_file, GATE_HEADER_TIMEOUT_S=2)
    system.set_up().up()
    key, key_id = system.key("--network", "10.9.8.0/24")
    ask = post(key, ASK, "Connection: close")

    def said(header, source_header=b""):
        def wrap(plain):
            plain.sendall(header)
            return trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1")

        return one(talk(system.port, source_header + ask, wrap=wrap))

    assert said(v1("10.9.8.7")).status == 200
    assert said(v2("10.9.8.7")).status == 200
    answer = said(v2("203.0.113.9"))
    assert (answer.status, answer.reason) == (403, "network")
    # A header inside TLS is the client's own word, and no request.
    assert said(v2("203.0.113.9"), v1("10.9.8.7")).status in {400, 505}
    assert b"HTTP" not in talk(system.port, v1("10.9.8.7") + ask)
    for wrong in (b"", b"GET / HTTP/1.1\r\n"):
        assert talk(system.port, wrong + greeting(authority)) == b""
    silent = connect(system.port)
    silent.sendall(v1("10.9.8.7"))
    assert to_the_end(silent) == b""
    silent.close()
    assert {event["src_ip"] for event in callers.events_of(system, key_id, 3)} == {"10.9.8.7", "203.0.113.9"}


def greeting(authority):
    """The first bytes of a TLS client."""
    said = ssl.MemoryBIO()
    client = trusting(authority).wrap_bio(ssl.MemoryBIO(), said, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


# -- X-Forwarded-For --------------------------------------------------------------------------------------------------


def test_only_a_trusted_proxy_is_believed(make):
    system = make(kind=System, GATE_TRUSTED_PROXIES="127.0.0.1/32, 10.0.0.0/24")
    system.set_up().up()
    key, key_id = system.key("--network", "10.9.8.0/24")

    def status(*lines, source=None):
        return one(talk(system.port, post(key, ASK, "Connection: close", *lines), source=source)).status

    inside = [
        ["X-Forwarded-For: 10.9.8.7"],
        ["X-Forwarded-For: 203.0.113.9, 10.9.8.7"],
        ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.9.8.7, 10.0.0.5"],
        ["X-Forwarded-For: 10.9.8.7:4711,10.0.0.5"],
        ["X-Forwarded-For: [::ffff:10.9.8.7]:4711"],
        ["X-Forwarded-For: nonsense, 10.9.8.7"],
    ]
    outside = [
        [],
        ["X-Forwarded-For: 203.0.113.9"],
        ["X-Forwarded-For: 10.9.8.7, 203.0.113.9"],
        ["X-Forwarded-For: 10.9.8.7", "X-Forwarded-For: 203.0.113.9"],
        ["X-Forwarded-For: 10.9.8.7, nonsense"],
        ["X-Forwarded-For: 10.9.8.7,"],
        ["X-Forwarded-For:"],
        ["X-Forwarded-For: 10.9.8.7, " + ", ".join(["10.0.0.5"] * 50)],
        ["Forwarded: for=10.9.8.7"],
        ["X-Real-IP: 10.9.8.7"],
    ]
    assert [status(*lines) for lines in inside] == [200] * len(inside)
    assert [status(*lines) for lines in outside] == [403] * len(outside)
    # The same header from a peer that is no trusted proxy.
    assert [status(*lines, source="127.0.0.2") for lines in inside] == [403] * len(inside)
    # On one connection, each request has its own.
    with connect(system.port) as sock:
        sock.sendall(post(key, ASK, "X-Forwarded-For: 10.9.8.7") + post(key, ASK, "X-Forwarded-For: 203.0.113.9"))
        assert [answer.status for answer in answers(to_the_end(sock))] == [200, 403]
    events = callers.events_of(system, key_id, 2 * len(inside) + len(outside) + 2)
    assert {event["src_trust"] for event in events if event["decision"] == "admitted"} == {"forwarded"}
    assert {event["src_ip"] for event in events if event["decision"] == "admitted"} == {"10.9.8.7"}
    assert {"127.0.0.2", "127.0.0.1", "203.0.113.9"} <= {event["src_ip"] for event in events}
