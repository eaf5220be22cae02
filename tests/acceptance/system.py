"""The whole program as a user runs it: sandbox providers, `jackstop up`, commands; in a home of its own."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pyarrow.dataset

from jackstop.errors import UserError
from tests.replay import replay_all

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "openai": "sk-upstream-openai-7f3a9c",
    "anthropic": "sk-ant-upstream-4be1d2",
    "deepseek": "sk-upstream-deepseek-91aa07",
}


def free_port():
    """A port that is free, below those that connections go out from: none of them takes it before it is listened on."""
    outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(10_000, max(outgoing, 30_000)), 100):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of a hundred ports is free")


def until(condition, what, seconds=30):
    """Wait for a condition; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return json.loads(answer.read() or b"null")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


class Sandbox:
    """The practice providers in a process of their own."""

    def __init__(self, folder, *options):
        self.log = folder / "sandbox.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jackstop", "sandbox", "--port", "0", *options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        found = until(lambda: re.search(r"https?://\S+:\d+", self.log.read_text()), "the sandbox's address")
        self.url = found.group(0)

    def bill(self):
        return get(f"{self.url}/_sandbox/bill")

    def cost(self):
        return sum(row["cost_nusd"] for row in self.bill())

    def set_mode(self, **fields):
        body = json.dumps(fields).encode()
        request = urllib.request.Request(
            f"{self.url}/_sandbox/mode", body, {"content-type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=5):
            pass

    def stop(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class System:
    """An installation in a fresh home, its three credentials pointing at the sandbox."""

    def __init__(self, folder, workers=1, environment=None, sandbox=None):
        self.folder = folder
        self.home = folder / "home"
        self.workers = workers
        self.port, self.console_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = dict(os.environ, JACKSTOP_HOME=str(self.home), **(environment or {}))
        self.sandbox = sandbox or Sandbox(folder)
        self.process = None

    def run(self, *words, stdin=""):
        """Run a command, however it ends."""
        return subprocess.run(
            [sys.executable, "-m", "jackstop", *words],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def command(self, *words, stdin="", status=0):
        """Run a command; what it printed."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == status, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout

    def json(self, *words, **options):
        return json.loads(self.command(*words, "--json", **options))

    def set_up(self):
        self.command("init", "--admin", "admin@example.com")
        for provider, secret in SECRETS.items():
            base = f"{self.sandbox.url}/{provider}"
            self.command(
                "credential", "add", f"{provider}-main", "--provider", provider, "--base-url", base, stdin=secret + "\n"
            )
        return self

    def key(self, *options, owner="app@example.com", name="app"):
        """Issue a key: the key itself and its id."""
        row = self.json("key", "issue", "--owner", owner, "--name", name, *options)
        return row["key"], row["id"]

    def up(self, *options):
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jackstop", "up"),
                    *("--gate", f"127.0.0.1:{self.port}", "--console", f"127.0.0.1:{self.console_port}"),
                    *("--workers", str(self.workers), *options),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready()
        return self

    def wait_ready(self):
        until(lambda: answers(f"{self.url}/readyz") and len(self.gates()) >= self.workers, "a ready gate", 60)
        until(self.fresh, "fresh gates", 60)

    def fresh(self):
        """Whether every gate is connected to control and up to date; no while control is away."""
        with suppress(UserError):
            gates = self.status()["gates"]
            return len(gates) >= self.workers and all(gate["fresh"] for gate in gates)
        return False

    def status(self):
        from jackstop.control import client
        from jackstop.settings import Home

        return client.ask(Home(self.home), "status", {})

    def children(self):
        """Process ids of the parent's children by kind: control, worker, gate."""
        found = {"control": [], "worker": [], "gate": []}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with suppress(OSError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                for kind, pids in found.items():
                    if f"-m jackstop {kind} " in arguments:
                        pids.append(int(pid))
        return found

    def gates(self):
        return self.children()["gate"] if self.process else []

    def budgets(self, scope=None):
        """The books by scope."""
        rows = self.json("budget", "show", *([scope] if scope else []))
        return {row["scope"]: row for row in rows}

    def holds(self):
        return self.json("budget", "holds")

    def events(self):
        """Every event that is in the lake by now."""
        self.command("events", "export", "--format", "ndjson", "--out", str(self.folder / "events.ndjson"))
        with (self.folder / "events.ndjson").open() as file:
            return [json.loads(line) for line in file]

    def lake(self):
        return pyarrow.dataset.dataset(self.home / "lake", partitioning="hive").to_table().to_pylist()

    def replays(self):
        return replay_all(self.home / "journal")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        self.sandbox.stop()
