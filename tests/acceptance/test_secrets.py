"""Secrets and prompts are planted, everything is made to fail, and then nothing of them is found where it could be."""

import base64
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.acceptance.echo import Echo
from tests.acceptance.sockets import answers, connect, post, talk, to_the_end
from tests.acceptance.system import ROOT, SECRETS, System, until

pytestmark = pytest.mark.slow

PROMPT = "Wherefore did zebraquartz"
COMPLETION = "Thus quothmarmalade"
ECHOED = "sk-echoed-credential-c0ffee5ec4e7"
ROTATED = "sk-rotated-credential-0ddba11"
SETTINGS = {"JACKSTOP_LOG_LEVEL": "debug", "JACKSTOP_GATE_RESPONSE_TIMEOUT_S": "2", "JACKSTOP_GATE_BODY_TIMEOUT_S": "2"}


class Planted:
    """A system after everything went wrong in it, and what must not be found: names of secrets to their bytes."""

    def __init__(self, system, echo):
        self.system = system
        self.echo = echo
        self.keys = {}
        self.said = {}
        self.answered = []

    def key(self, name, *options):
        self.keys[name], ident = self.system.key(*options, name=name)
        return self.keys[name], ident

    def run(self, *words, stdin="", expect=0):
        """A command; what it says is kept for the search."""
        done = subprocess.run(
            [sys.executable, "-m", "jackstop", *words],
            cwd=ROOT,
            env=self.system.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == expect, (words, done.stdout, done.stderr)
        self.said[" ".join(words)] = (done.stdout + done.stderr).encode()
        return done.stdout

    def ask(self, key, model="gpt-4o-mini", *lines, **more):
        """A request with the prompt in every place that has one; what the client gets."""
        body = {
            "model": model,
            "max_tokens": 20,
            "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"{PROMPT} {more}"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": PROMPT}}],
            "user": PROMPT,
            **more,
        }
        data = talk(self.system.port, post(key, body, "Connection: close", *lines))
        self.answered.append(data)
        return data

    def secrets(self):
        kek = self.system.home.joinpath("kek").read_bytes().strip()
        found = {f"credential of {provider}": secret.encode() for provider, secret in SECRETS.items()}
        found |= {f"key {name}": key.encode() for name, key in self.keys.items()}
        found |= {f"key {name} without its id": key.encode()[17:] for name, key in self.keys.items()}
        found |= {"credential of echo": ECHOED.encode(), "rotated credential": ROTATED.encode()}
        found |= {"key-encryption key": kek, "key-encryption key, bare": base64.b64decode(kek)}
        return found

    def needles(self):
        texts = {"prompt": PROMPT.encode(), "completion": COMPLETION.encode()}
        return [(name, form) for name, raw in (self.secrets() | texts).items() for form in forms(raw)]


def forms(raw):
    """Bytes as they are, in hexadecimal, and as any alignment of Base64 shows them."""
    yield raw
    yield raw.hex().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        yield coded[4 if shift else 0 : len(coded) // 4 * 4 - 4]
    with contextlib.suppress(UnicodeDecodeError):
        escaped = json.dumps(raw.decode()).strip('"').encode()
        if escaped != raw:
            yield escaped


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    echo = Echo(COMPLETION)
    system = System(folder, workers=2, environment=SETTINGS)
    system.set_up()
    system.command(
        "credential", "add", "echo", "--provider", "openai", "--base-url", f"{echo.url}/openai", stdin=ECHOED + "\n"
    )
    system.up()
    found = Planted(system, echo)
    everything_fails(found)
    yield found
    system.close()
    echo.stop()


def everything_fails(planted):
    system = planted.system
    key, key_id = planted.key("app", "--credential", "echo", "--budget", "none")
    other, other_id = planted.key("other", "--credential", "openai-main")
    stopped, stopped_id = planted.key("stopped")
    planted.key("canary", "--canary")
    for way in Echo.WAYS:
        planted.ask(key, f"gpt-4o-mini-{way}")
        planted.ask(key, f"gpt-4o-mini-{way}", stream=True)
    for directive in ("status=500", "status=401", "garbage=1", "half_headers=1", "no_usage=1", "error_after=1"):
        planted.ask(other, messages=[{"role": "user", "content": f"{PROMPT} [[sandbox: {directive}]]"}])
        planted.ask(other, stream=True, messages=[{"role": "user", "content": f"{PROMPT} [[sandbox: {directive}]]"}])
    planted.ask(other, "no-such-model")
    planted.ask(other, n=-1)
    planted.ask(other, background=True)
    planted.ask(planted.keys["canary"])
    planted.ask("jsk_nobody")
    planted.ask(other, "gpt-4o-mini", "X-Api-Key: " + key)
    planted.ask(key, "gpt-4o-mini", "Content-Encoding: gzip")
    planted.ask(other, other)
    for path in (
        f"/openai/v1/models/{other}",
        f"/{other}/chat/completions",
        f"/openai/v1/chat/completions?key={other}&x={key}",
    ):
        planted.answered.append(talk(system.port, post(other, {"model": PROMPT}, "Connection: close", path=path)))
    agent = ["User-Agent: " + other, "Referer: https://x.example/?key=" + other, "Cookie: k=" + other]
    planted.answered.append(talk(system.port, post(other, {"messages": PROMPT}, "Connection: close", *agent)))
    for body in (b'{"model":"a","model":"%s"}' % PROMPT.encode(), PROMPT.encode(), b'{"%s":' % PROMPT.encode()):
        planted.answered.append(talk(system.port, post(other, body, "Connection: close")))
    planted.answered.append(talk(system.port, post(other, PROMPT.encode(), "X-Key: " + other + "\x01")))
    planted.answered.append(talk(system.port, post(other, PROMPT.encode(), f"Content-Length: {1 << 40}", length=False)))
    with connect(system.port) as slow:
        slow.sendall(post(other, {"messages": PROMPT})[:-3])
        planted.answered.append(to_the_end(slow))
    planted.run("key", "quarantine", stopped_id, "--reason", "it was stolen")
    planted.ask(stopped)

    # Killed in the midst of a stream: gate, control, worker.
    streaming = post(
        other,
        {
            "model": "gpt-4o-mini",
            "max_tokens": 400,
            "stream": True,
            "messages": [{"role": "user", "content": f"{PROMPT} [[sandbox: out=400 pace_ms=20]]"}],
        },
    )
    for kind in ("gate", "control", "worker"):
        with connect(system.port) as sock:
            sock.sendall(streaming)
            sock.recv(100)
            for pid in system.children()[kind]:
                os.kill(pid, signal.SIGKILL)
            system.wait_ready()
    planted.run("credential", "rotate", "openai-main", stdin=ROTATED + "\n")
    planted.ask(other)
    planted.run("key", "rotate", other_id)
    planted.said.pop(f"key rotate {other_id}")

    # Commands that fail, and commands that show things.
    planted.run("credential", "add", "echo", "--provider", "openai", stdin=ECHOED + "\n", expect=2)
    planted.run(
        "credential", "add", "x", "--provider", "openai", "--base-url", "http://10.0.0.1", stdin=ECHOED, expect=2
    )
    planted.run("credential", "add", "y", "--provider", "nobody", stdin=ECHOED + "\n", expect=2)
    planted.run("credential", "add", "z", "--provider", "openai", stdin="\n", expect=2)
    planted.run("key", "show", "jsk_wrong", expect=2)
    planted.run("audit", "verify")
    shown = (
        ("credential", "list"),
        ("credential", "check"),
        ("key", "list"),
        ("key", "show", key_id),
        ("budget", "show"),
        ("budget", "holds"),
        ("report", "rollout"),
    )
    with ThreadPoolExecutor(3) as pool:
        list(
            pool.map(
                lambda words: planted.run(*words), [(*words, *form) for words in shown for form in ((), ("--json",))]
            )
        )
    for words in (("doctor",), ("doctor", "--json")):
        with contextlib.suppress(AssertionError):
            planted.run(*words)
    planted.run("events", "export")
    planted.run("events", "export", "--format", "parquet", "--out", str(system.folder / "events.parquet"))
    until(lambda: [len(pids) for pids in system.children().values()] == [1, 1, 2], "nothing but what is to run", 60)


def search(where, raw, needles):
    return [f"{name} in {where}" for name, form in needles if form in raw]


def rows_of(path):
    return json.dumps(pyarrow.parquet.read_table(path).to_pylist()).encode()


def test_everything_that_was_to_happen_did(planted):
    """Otherwise finding nothing would say nothing."""
    assert planted.echo.secrets == {ECHOED}
    statuses = {answer.status for data in planted.answered if b"chunked" not in data for answer in answers(data)}
    assert {200, 400, 401, 403, 408, 413, 415, 500, 502, 504} <= statuses
    assert any(COMPLETION.encode() in data for data in planted.answered)
    reasons = {event["reason"] for event in planted.system.events()}
    assert {"", "malformed", "upstream", "quarantined", "unauthorized", "endpoint", "too_large"} <= reasons
    assert (planted.system.home / "logs" / "gate-0.log").exists()


def test_nothing_is_in_the_home(planted):
    needles = planted.needles()
    found, looked = [], 0
    # Journals that are booked go away meanwhile.
    for folder, _, files in os.walk(planted.system.home):
        for path in (Path(folder, name) for name in files if name != "kek"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_socket():
                    continue
                found += search(path, path.read_bytes().rstrip(b"\0"), needles)
                looked += 1
            if path.suffix == ".parquet":
                found += search(f"the rows of {path}", rows_of(path), needles)
    assert not found
    assert looked > 8


def test_nothing_is_in_the_lake_and_its_exports(planted):
    needles = planted.needles()
    assert not search("the lake", json.dumps(planted.system.lake()).encode(), needles)
    assert not search("the export", rows_of(planted.system.folder / "events.parquet"), needles)


def test_nothing_is_in_what_processes_and_commands_say(planted):
    needles = planted.needles()
    found = search("up.log", (planted.system.folder / "up.log").read_bytes(), needles)
    for words, said in planted.said.items():
        found += search(words, said, needles)
    assert not found
    assert not [words for words, said in planted.said.items() if b"Traceback" in said]


def test_nothing_is_in_arguments_and_environments(planted):
    needles = planted.needles()
    pids = [planted.system.process.pid, *(pid for pids in planted.system.children().values() for pid in pids)]
    assert len(pids) == 5
    found = search("ps", subprocess.check_output(["ps", "-eo", "args"]), needles)
    for pid in pids:
        found += search(f"environ of {pid}", Path(f"/proc/{pid}/environ").read_bytes(), needles)
        found += search(f"arguments of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes(), needles)
        assert re.search(r"Max core file size +0 +0 ", Path(f"/proc/{pid}/limits").read_text())
    assert not found


def test_no_credential_reaches_a_client(planted):
    """Not even where a provider repeats it: an application never sees the organisation's credential."""
    needles = [(name, form) for name, raw in planted.secrets().items() if "key " not in name for form in forms(raw)]
    assert not [hit for data in planted.answered for hit in search(data[:300], data, needles)]


def test_only_the_owner_may_look_into_the_home(planted):
    assert planted.system.home.stat().st_mode & 0o077 == 0
    kek = planted.system.home / "kek"
    assert kek.stat().st_mode & 0o177 == 0
    assert len(io.BytesIO(kek.read_bytes()).readlines()) == 1


def test_only_control_has_the_key_encryption_key_of_an_environment(own_system):
    kek = base64.b64encode(os.urandom(32)).decode()
    system = own_system(environment={"JACKSTOP_VAULT_BACKEND": "env", "JACKSTOP_KEK": kek})
    system.set_up().up()
    has = {
        kind: kek.encode() in Path(f"/proc/{pid}/environ").read_bytes() for kind, (pid,) in system.children().items()
    }
    assert has == {"control": True, "worker": False, "gate": False}
    assert not (system.home / "kek").exists()
    key, _ = system.key()
    assert answers(talk(system.port, post(key, {"model": "gpt-4o-mini", "messages": []}, "Connection: close")))


def test_a_database_password_is_not_said(own_system):
    system = own_system()
    system.command("init")
    secret = "quiet-word-4711"
    for address in (f"joe:{secret}@127.0.0.1:1/x", f"joe@127.0.0.1:1/x?password={secret}"):
        system.environment["JACKSTOP_STORE_URL"] = f"postgresql://{address}"
        done = subprocess.run(
            [sys.executable, "-m", "jackstop", "doctor"],
            cwd=ROOT,
            env=system.environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert b"127.0.0.1:1/x does not answer" in done.stdout
        assert secret.encode() not in done.stdout + done.stderr
    for path in system.home.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
