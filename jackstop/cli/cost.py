"""`jackstop cost …`: digest, alerts."""

from __future__ import annotations

import argparse
import re

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_json, print_rows
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.errors import UserError

_COLUMNS: Columns = (
    ("AT", lambda row: moment(row["ts_us"])),
    ("SCOPE", lambda row: row["scope"]),
    ("WINDOW", lambda row: row["window"]),
    ("FROM", lambda row: moment(row["window_start_us"]) if row["window"] != "life" else ""),
    ("ALERT", lambda row: row["alert"]),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "cost", "what was spent, and what was said about it")
    made = command(inner, "digest", _digest, "print a day's digest")
    made.add_argument("--day", metavar="DAY", help="2026-11-23, in UTC; default: yesterday")
    command(inner, "alerts", _alerts, "list the cost alerts that were given, the newest first")


def _digest(args: argparse.Namespace, session: Session) -> int:
    import msgspec

    from jackstop.cli import lake
    from jackstop.cost.digest import State, render
    from jackstop.cost.spend import spend_of

    day_us = _day_us(args.day)
    lake.catch_up(session)
    state = session.call("cost digest", day_us=day_us)
    spend = spend_of(session.home.lake, day_us)
    if args.json:
        print_json({"spend": msgspec.to_builtins(spend), "state": state})
    else:
        print(
            "".join(
                char if char.isprintable() or char == "\n" else "?"
                for char in render(spend, msgspec.convert(state, State))
            )
        )
    return 0


def _day_us(text: str | None) -> int:
    from jackstop.cli import lake
    from jackstop.cost.digest import day_before

    if text is None:
        return day_before(SystemClock().now_us())
    day_us = lake.parse_moment_us(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    if day_us is None:
        raise UserError(f"{text!r} is no day", "write it as 2026-11-23", 2)
    return day_us


def _alerts(args: argparse.Namespace, session: Session) -> int:
    print_rows(session.rows("cost alerts"), _COLUMNS, as_json=args.json, empty="no cost alert was given yet")
    return 0
