"""`jackstop hunt`: detections over cloud and provider logs, with what these logs cannot show."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from jackstop.cases.finding import SEVERITIES
from jackstop.cli.output import Subparsers, command
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.errors import UserError

if TYPE_CHECKING:
    from jackstop.cases.finding import Finding
    from jackstop.hunt.intake.progress import Progress
    from jackstop.hunt.report.result import Result
    from jackstop.hunt.run import Asked, Hunt

FORMATS = ("table", "json", "ocsf", "html")
ENGINES = ("duckdb", "spark")
WATCH_S = 60
_MOST_REPORTED = 200
_LEAST_WATCH_S = 1


def register(commands: Subparsers) -> None:
    """Add the command."""
    made = command(
        commands, "hunt", _hunt, "look through cloud and provider logs for hijacked credentials", with_json=False
    )
    made.add_argument(
        "paths", metavar="PATH", nargs="+", help="files, folders, s3://bucket/prefix, or - for standard input"
    )
    made.add_argument("--source", metavar="NAME", default="auto", help="the logs' format; default: found by content")
    made.add_argument("--engine", choices=ENGINES, default="duckdb", help="default: duckdb, inside this process")
    made.add_argument("--spark-url", metavar="URL", default="", help="a Spark Connect server, such as sc://host:15002")
    made.add_argument("--format", choices=FORMATS, default="table", help="default: table, for people")
    made.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    made.add_argument("--output", metavar="FILE", help="default: standard output")
    made.add_argument(
        "--fail-on",
        metavar="SEVERITY",
        choices=(*SEVERITIES, "blind"),
        help="end with status 1 on a finding of this severity or a worse one; `blind`: where one would not be seen",
    )
    made.add_argument(
        "--allow", metavar="FILE", type=Path, help="what to leave out, beside hunt-allow.toml in the home"
    )
    made.add_argument("--detection", metavar="NAME", action="append", default=[], help="only this one; can be repeated")
    made.add_argument("--since", metavar="TIME", help="findings since 7d (ago), 2026-11-23 or 2026-11-23T09:30:00Z")
    made.add_argument("--no-keep", action="store_true", help="keep nothing of what was read")
    made.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        nargs="?",
        const=WATCH_S,
        help=f"go on as files are added, and look every so often (default: {WATCH_S}), until Ctrl-C",
    )
    made.add_argument("--cases", action="store_true", help="also send findings to the Jackstop of this home, as cases")


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < _LEAST_WATCH_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; put --watch behind the paths")
    return int(text)


def _hunt(args: argparse.Namespace, session: Session) -> int:
    if args.spark_url and args.engine != "spark":
        raise UserError("--spark-url is for the engine spark", "add --engine spark", 2)
    check_output(args)
    # DuckDB and Arrow take a moment to import, which no other command should wait for.
    from jackstop.hunt.run import Hunt

    hunt = Hunt(_asked(args), session.home, SystemClock())
    if args.watch is not None:
        return _watch(args, session, hunt)
    result = _run(args, hunt)
    with output(args.output) as out:
        _WRITERS[args.format](result, out)
    if args.cases:
        _send(session, result.findings)
    return result.status(args.fail_on)


def _asked(args: argparse.Namespace) -> Asked:
    from jackstop.cli.lake import parse_moment_us
    from jackstop.hunt.run import Asked

    return Asked(
        source=args.source,
        engine=args.engine,
        spark_url=args.spark_url,
        allow=args.allow,
        detections=tuple(args.detection),
        since_us=parse_moment_us(args.since),
        keep=not args.no_keep,
    )


def _run(args: argparse.Namespace, hunt: Hunt) -> Result:
    from jackstop.hunt.intake.inputs import inputs_of
    from jackstop.hunt.intake.progress import shown

    with shown(sys.stderr) as told:
        return hunt.run(inputs_of(args.paths), told)


# -- outputs ---------------------------------------------------------------------------------------------------------


def _write_table(result: Result, out: TextIO) -> None:
    from jackstop.hunt.report.text import lines

    width = shutil.get_terminal_size((100, 0)).columns
    out.writelines(f"{line}\n" for line in lines(result, width))


def _write_json(result: Result, out: TextIO) -> None:
    from jackstop.hunt.report.result import as_json

    json.dump(as_json(result), out, indent=2)
    out.write("\n")


def _write_ocsf(result: Result, out: TextIO) -> None:
    from jackstop.hunt.report.ocsf import finding
    from jackstop.hunt.report.text import gathered, some

    out.writelines(
        json.dumps(finding(each, result.abouts[each.detection], result.began_us)) + "\n" for each in result.findings
    )
    for gap, where in gathered(result.coverage.blind):
        print(f"not seen: {gap.name}: {some(where)}: {gap.missing}", file=sys.stderr)


def _write_html(result: Result, out: TextIO) -> None:
    from jackstop.hunt.report.html import page

    out.write(page(result))


_WRITERS: dict[str, Callable[[Result, TextIO], None]] = {
    "table": _write_table,
    "json": _write_json,
    "ocsf": _write_ocsf,
    "html": _write_html,
}


def check_output(args: argparse.Namespace) -> None:
    """Raises UserError where the result could not be written, before anybody waits for it."""
    if args.output is None:
        if args.format == "html" and sys.stdout.isatty():
            raise UserError("HTML is nothing for a terminal", "name a file with --output", 2)
        return
    path = Path(args.output)
    if path.is_dir():
        raise UserError(f"{path} is a folder", "name a file in it with --output", 2)
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}", "make it first", 2)


@contextmanager
def output(name: str | None) -> Iterator[TextIO]:
    """Standard output, or a file for its owner alone that is there as a whole or not at all."""
    if name is None:
        yield sys.stdout
        return
    path = Path(name)
    # A device or a pipe is written to, and never replaced.
    place = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _file(place) as file:
            yield file
        if place != path:
            place.replace(path)
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}", "name another file with --output") from None
    finally:
        if place != path:
            place.unlink(missing_ok=True)


def _file(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8")


def _send(session: Session, findings: Sequence[Finding]) -> None:
    """Give findings to control, which puts them into cases and does nothing about them by itself."""
    import msgspec

    cases: set[int] = set()
    for start in range(0, len(findings), _MOST_REPORTED):
        part = findings[start : start + _MOST_REPORTED]
        cases.update(session.call("findings hunted", findings=msgspec.to_builtins(part))["cases"])
    told = (
        f"cases {', '.join(map(str, sorted(cases)))}: see `jackstop cases list`"
        if cases
        else "no case is new or has grown"
    )
    print(told, file=sys.stderr)


# -- watching --------------------------------------------------------------------------------------------------------


class _Line:
    """Progress of one look after the other, gone before anything else is printed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._tell: Callable[[Progress], None] | None = None

    def __call__(self, progress: Progress) -> None:
        if self._tell is None:
            from jackstop.hunt.intake.progress import shown

            self._tell = self._stack.enter_context(shown(sys.stderr))
        self._tell(progress)

    def clear(self) -> None:
        self._stack.close()
        self._tell = None


def _watch(args: argparse.Namespace, session: Session, hunt: Hunt) -> int:
    """Look again as files are added; what is new or has become worse is told once. Ends with Ctrl-C, as it stands."""
    from jackstop.hunt.report.text import missed_lines
    from jackstop.hunt.run import news

    status, line = 0, _Line()
    told: dict[str, Finding] = {}
    missed: set[tuple[str, ...]] = set()
    try:
        for result in hunt.watch(args.paths, partial(_pause, args.watch), line):
            line.clear()
            status = result.status(args.fail_on)
            for each in missed_lines(result, missed):
                print(each, file=sys.stderr, flush=True)
            _tell(args, session, result, news(result, told))
    except KeyboardInterrupt:
        line.clear()
    return status


def _pause(seconds: int) -> bool:
    time.sleep(seconds)
    return True


def _tell(args: argparse.Namespace, session: Session, result: Result, fresh: Sequence[Finding]) -> None:
    if args.format == "table" and args.output is None:
        from jackstop.hunt.report.text import told_lines

        for each in told_lines(result, fresh):
            print(each, flush=True)
    else:
        _write_again(args, result, fresh)
    if args.cases and fresh:
        _send(session, fresh)


def _write_again(args: argparse.Namespace, result: Result, fresh: Sequence[Finding]) -> None:
    """A file is written anew with all there is; on standard output stands a line for each finding that is new."""
    if args.output is not None or args.format == "html":
        with output(args.output) as out:
            _WRITERS[args.format](result, out)
        return
    from jackstop.hunt.report.ocsf import finding
    from jackstop.hunt.report.result import told

    for each in fresh:
        what = result.abouts[each.detection]
        row = finding(each, what, result.began_us) if args.format == "ocsf" else told(each, what)
        print(json.dumps(row), flush=True)
