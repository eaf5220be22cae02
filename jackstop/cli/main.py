"""The command `jackstop`: parses, runs one command, and turns errors into two lines and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from jackstop import __version__
from jackstop.cli.session import Session
from jackstop.clock import SystemClock, iso
from jackstop.errors import UserError
from jackstop.settings import Home

GROUPS = (
    "init",
    "processes",
    "credential",
    "administration",
    "reconcile",
    "key",
    "budget",
    "cases",
    "addresses",
    "cost",
    "report",
    "events",
    "audit",
    "vault",
    "team",
    "people",
    "detections",
    "hunt",
    "assess",
    "notify",
    "doctor",
    "sandbox",
)
_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong and what to do, in two lines."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nsee `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = Parser(
        prog="jackstop",
        description="Keeps an organisation's LLM credentials from being hijacked.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"jackstop {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        import_module(f"jackstop.cli.{group}").register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0 ran, 1 a check matched, 2 wrong use, 3 failed."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        status = args.run(args, Session(Home.from_environment()))
        sys.stdout.flush()
    except UserError as error:
        _say(f"jackstop: {error.problem}", error.remedy)
        return error.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; what is buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        _say(f"jackstop: this should not have happened ({type(error).__name__})", _write_down())
        return 3
    return int(status)


def _say(*lines: str) -> None:
    for line in lines:
        if line:
            print(line, file=sys.stderr)


def _write_down() -> str:
    """Put the traceback, which holds code and no values, into a log; returns what to tell the person."""
    log = Home.from_environment().logs / "cli.log"
    kind, error, where = sys.exc_info()
    frames = "".join(traceback.format_tb(where))
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(f"{iso(SystemClock().now_us())} {kind and kind.__qualname__}: {_masked(error)}\n{frames}\n")
    except OSError as failure:
        return f"and its details could not be written to {log}: {failure.strerror}"
    return f"details are in {log}"


def _masked(error: BaseException | None) -> str:
    """An exception's text may quote what was being worked on; only system errors say no more than their cause."""
    return str(error.strerror) if isinstance(error, OSError) else "(text left out)"
