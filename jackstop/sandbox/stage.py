"""The demo's stage: a fresh home, practice providers, and the real system on loopback, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any, NamedTuple

from jackstop.errors import UserError
from jackstop.sandbox.bill import fingerprint
from jackstop.sandbox.catalogue import UNITS_PER_NUSD
from jackstop.sandbox.mail import Mailbox

PATIENCE_S = 60
STOP_S = 15
_SETTINGS = {
    "JACKSTOP_MODE": "enforce",
    "JACKSTOP_RESPONSES_CONTAIN": "act",
    "JACKSTOP_ROTATION_WATCH_S": "0",
    "JACKSTOP_ROTATION_WAIT_S": "0",
}
"""What is done about theft is done by itself, and nobody has to sit through waits that spare others than the demo."""
_PLACE = {"project": "proj_shop", "service_account": "user-gate"}
PUBLISHED_AFTER_S = 5
"""How long after a minute's end the practice OpenAI reports its usage."""


class Process:
    """A child whose lines can be waited for. Its standard input stays open until it is told to end."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.name = command[0]
        self.lines: Queue[str | None] = Queue()
        self.errors: deque[str] = deque(maxlen=20)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", *command],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.rstrip("\n"))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches. Raises UserError when the process ends, or says nothing, before it."""
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE_S)
            except Empty:
                line = None
            if line is None:
                said = " | ".join(self.errors) or "it gave no reason"
                raise UserError(f"{self.name} did not start: {said}", "look at what it says, and try again")
            match = re.search(pattern, line)
            if match:
                return match

    def feed(self, text: str) -> None:
        """Write to its standard input, and close it."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.close()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def replay(thief: Process) -> Iterator[dict[str, Any]]:
    """The calls of a thief, as it says them, until it ends."""
    while (line := thief.lines.get(timeout=PATIENCE_S)) is not None:
        yield json.loads(line)


class Work(NamedTuple):
    """What the applications have done so far."""

    requests: int
    failures: int


class Applications:
    """The three applications, and a count of how they fare."""

    def __init__(self) -> None:
        self._running: list[Process] = []
        self._requests: Counter[str] = Counter()
        self._failures: list[str] = []

    def add(self, process: Process) -> None:
        self._running.append(process)

    def work(self) -> Work:
        """Read what they have said since the last time."""
        for process in self._running:
            with suppress(Empty):
                while (line := process.lines.get_nowait()) is not None:
                    said = json.loads(line)
                    self._requests[said["application"]] += 1
                    if said["error"]:
                        self._failures.append(f"{said['application']}: {said['error']}")
        return Work(self._requests.total(), len(self._failures))

    def work_until(self, requests: int) -> Work:
        """Wait until that many requests were made. Raises UserError when the applications do not get there."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            done = self.work()
            if done.requests >= requests and len(self._requests) == len(self._running):
                return done
            time.sleep(0.02)
        said = " | ".join(line for process in self._running for line in process.errors)
        raise UserError("the demo's applications get no further", said or "see the failures above")

    @property
    def failures(self) -> list[str]:
        """What went wrong, in words."""
        return self._failures


class Stage:
    """Everything that runs, and how to ask it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="jackstop-demo-"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JACKSTOP_")}
        self.environment = {**kept, "JACKSTOP_HOME": str(self.home), **_SETTINGS}
        self._running: list[Process] = []
        self._starting = threading.Lock()
        self._stopped = False
        self._secrets: dict[str, str] = {}
        self.providers = ""
        self.gate = ""
        self.console = ""
        self.mailbox = Mailbox()

    def start(self, command: list[str], **environment: str) -> Process:
        """A process that is stopped with the stage. Raises UserError once that is so."""
        with self._starting:
            self._check()
            process = Process(command, {**self.environment, **environment})
            self._running.append(process)
        return process

    def _check(self) -> None:
        if self._stopped:
            raise UserError("the demo has ended", "start it again")

    def jackstop(self, *args: str, stdin: str = "") -> Any:
        """Run one command; its JSON. Raises UserError with what the command said when it fails."""
        self._check()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "jackstop", *args],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise UserError(f"`jackstop {' '.join(args[:2])}` failed: {done.stderr.strip()}", "see the line before")
        return json.loads(done.stdout) if "--json" in args else done.stdout

    def open_sandbox(self) -> None:
        """Start the practice providers."""
        sandbox = self.start(["jackstop", "sandbox", "--port", "0"])
        self.providers = sandbox.wait_for(r"http://\S+")[0]

    def add_credential(self, name: str, provider: str) -> None:
        """Put a credential for a practice provider into the vault."""
        self._secrets[name] = "sk-practice-" + secrets.token_urlsafe(24)
        url = f"{self.providers}/{provider}"
        options = ["--provider", provider, "--base-url", url, "--exclusive"]
        self.jackstop("credential", "add", name, *options, stdin=self._secrets[name] + "\n")

    def open_account(self, name: str) -> None:
        """Let the practice OpenAI know a credential's secret as a service account's key, and Jackstop administer it."""
        self._behind("mode", publish_after_s=PUBLISHED_AFTER_S)
        self._behind("keys", provider="openai", id=f"key_{name}", secret=self._secrets[name], **_PLACE)
        url = f"{self.providers}/openai/v1"
        admin_key = "sk-admin-" + secrets.token_urlsafe(24)
        self.jackstop(
            "administration", "add", "openai", "--driver", "openai", "--base-url", url, stdin=admin_key + "\n"
        )

    def link(self, name: str) -> None:
        """From here on the provider's report about the credential's key is read."""
        place = [word for pair in _PLACE.items() for word in ("--place", "=".join(pair))]
        key_id = ("--provider-key-id", f"key_{name}")
        self.jackstop("credential", "link", name, "--administration", "openai", *place, *key_id)

    def stolen(self, name: str) -> str:
        """The secret with which a credential was added, as a thief has it."""
        return self._secrets[name]

    def add_mail_channel(self) -> None:
        """Let news leave by mail, and arrive in the mailbox whomever they are for."""
        options = {"host": "127.0.0.1", "port": self.mailbox.port, "tls": "none", "from": "jackstop@example.com"}
        words = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
        self.jackstop("notify", "add", "mail", "--kind", "email", "--to", "security@example.com", *words)

    def open_gate(self, workers: int) -> None:
        """`jackstop up` on free ports."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            console = f"127.0.0.1:{probe.getsockname()[1]}"
        command = ["jackstop", "up", "--gate", "127.0.0.1:0", "--console", console, "--workers", str(workers)]
        up = self.start(command)
        self.gate = up.wait_for(r"gate on (\S+)")[1]
        self.console = up.wait_for(r"console on (\S+)")[1]

    def issue(self, owner: str, name: str, *options: str) -> tuple[str, str]:
        """A key and its id."""
        issued = self.jackstop("key", "issue", "--owner", owner, "--name", name, *options, "--json")
        return issued["key"], issued["id"]

    def bill(self) -> dict[str, dict[str, int]]:
        """What the practice providers charge, by the credential's name: `requests` and `cost_nusd`."""
        lines = {line["credential"]: line for line in self._behind("bill")}
        nothing = {"requests": 0, "cost_nusd": 0}
        return {name: lines.get(fingerprint(secret), nothing) for name, secret in self._secrets.items()}

    def billed_nusd(self, secret: str, model: str) -> int:
        """What the practice providers charge to a secret for one model."""
        rows = [row for row in self._behind("requests") if row["credential"] == fingerprint(secret)]
        return -(-sum(int(row["units"]) for row in rows if row["model"] == model) // UNITS_PER_NUSD)

    def _behind(self, what: str, **fields: object) -> Any:
        """Look behind the practice providers, or set `fields` there."""
        body = json.dumps(fields).encode() if fields else None
        with urllib.request.urlopen(f"{self.providers}/_sandbox/{what}", body, timeout=PATIENCE_S) as answer:  # noqa: S310 -- our own
            return json.load(answer)

    def events(self) -> list[dict[str, Any]]:
        """Everything that the gates have recorded."""
        return [json.loads(line) for line in self.jackstop("events", "export", "--format", "ndjson").splitlines()]

    def stop(self) -> None:
        """Stop everything, last started first; nothing starts any more."""
        with self._starting:
            self._stopped = True
        for process in reversed(self._running):
            process.stop()

    def close(self) -> None:
        """Stop everything, and remove what it leaves."""
        self.stop()
        self.mailbox.close()
        shutil.rmtree(self.home, ignore_errors=True)
