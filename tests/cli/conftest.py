from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from jackstop.cli.main import main
from jackstop.settings import Home


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs the command line in this process, with a home and standard input of its own."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self.said = ""

    def __call__(self, *args: str, stdin: str = "") -> Ran:
        self._capfd.readouterr()
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        status = main(args)
        captured = self._capfd.readouterr()
        self.said += captured.out + captured.err
        return Ran(status, captured.out, captured.err)

    def ok(self, *args: str, stdin: str = "") -> Ran:
        ran = self(*args, stdin=stdin)
        assert ran.status == 0, ran.err
        return ran


@pytest.fixture
def bare(home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """The command line before `init`, with a home that does not exist yet."""
    fresh = Home(home.root / "fresh")
    monkeypatch.setenv("JACKSTOP_HOME", str(fresh.root))
    return Shell(fresh, monkeypatch, capfd)


@pytest.fixture
def shell(bare: Shell) -> Shell:
    bare.ok("init", "--admin", "admin@example.com")
    return bare
