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
import urllib.request
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from jackstop.errors import UserError
from jackstop.sandbox.bill import fingerprint
from jackstop.sandbox.mail import Mailbox

PATIENCE_S = 60
STOP_S = 15


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


class Stage:
    """Everything that runs, and how to ask it."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="jackstop-demo-"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JACKSTOP_")}
        self.environment = {**kept, "JACKSTOP_HOME": str(self.home), "JACKSTOP_MODE": "enforce"}
        self._running: list[Process] = []
        self._secrets: dict[str, str] = {}
        self.providers = ""
        self.gate = ""
        self.console = ""
        self.mailbox = Mailbox()

    def start(self, command: list[str], **environment: str) -> Process:
        """A process that is stopped with the stage."""
        process = Process(command, {**self.environment, **environment})
        self._running.append(process)
        return process

    def jackstop(self, *args: str, stdin: str = "") -> Any:
        """Run one command; its JSON. Raises UserError with what the command said when it fails."""
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
        with urllib.request.urlopen(self.providers + "/_sandbox/bill", timeout=PATIENCE_S) as answer:  # noqa: S310
            lines = {line["credential"]: line for line in json.load(answer)}
        nothing = {"requests": 0, "cost_nusd": 0}
        return {name: lines.get(fingerprint(secret), nothing) for name, secret in self._secrets.items()}

    def events(self) -> list[dict[str, Any]]:
        """Everything that the gates have recorded."""
        return [json.loads(line) for line in self.jackstop("events", "export", "--format", "ndjson").splitlines()]

    def close(self) -> None:
        """Stop everything, last started first, and remove the home."""
        for process in reversed(self._running):
            process.stop()
        self.mailbox.close()
        shutil.rmtree(self.home, ignore_errors=True)
