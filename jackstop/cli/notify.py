"""`jackstop notify …`: channels, and the messages on them."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, number, pairs, print_json, print_rows
from jackstop.cli.session import Session

_MOST_BYTES = 65_536
_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.25

_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("KIND", lambda row: row["kind"]),
    ("FROM", lambda row: row["min_severity"]),
    ("OPTIONS", lambda row: " ".join(f"{name}={value}" for name, value in sorted(row["options"].items()))),
    ("WAITING", lambda row: row["waiting"]),
    ("DEAD", lambda row: row["dead"]),
    ("ADDED", lambda row: moment(row["created_us"])),
)
_MESSAGE_COLUMNS: Columns = (
    ("ID", lambda row: row["id"]),
    ("CHANNEL", lambda row: row["channel"]),
    ("KIND", lambda row: row["kind"]),
    ("SEVERITY", lambda row: row["severity"]),
    ("TITLE", lambda row: row["title"]),
    ("STATE", lambda row: row["state"]),
    ("TRIED", lambda row: row["attempts"]),
    ("QUEUED", lambda row: moment(row["created_us"])),
    ("SENT", lambda row: moment(row["sent_us"])),
    ("PROBLEM", lambda row: row["error"]),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "notify", "channels: where news of cases go")
    added = command(inner, "add", _add, "add a channel; its secret, if it has one, is read from standard input")
    added.add_argument("name", metavar="NAME")
    added.add_argument("--kind", required=True, metavar="K", help="slack, pagerduty, email, webhook, …")
    added.add_argument("--url", metavar="URL", help="where to, for kinds whose URL is no secret")
    added.add_argument("--to", metavar="ADDRESS", help="where to, for e-mail")
    added.add_argument("--min-severity", metavar="S", help="info, low, medium, high or critical: leave out the rest")
    added.add_argument("--quiet", metavar="HOURS", help="keep still in these hours of UTC: 'mon-fri 22:00-06:00'")
    added.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the kind *")
    command(inner, "list", _list, "list channels, without their secrets")
    removed = command(inner, "remove", _remove, "forget a channel, and drop what waits for it")
    removed.add_argument("name", metavar="NAME")
    tested = command(inner, "test", _test, "send a test message on a channel and say how it went")
    tested.add_argument("name", metavar="NAME")
    shown = command(inner, "outbox", _outbox, "list messages, the newest first")
    shown.add_argument("--state", metavar="STATE", help="queued, grouped, sent, dead or dropped")
    command(inner, "dead", _dead, "list messages that could not be delivered")
    replayed = command(inner, "replay", _replay, "queue a dead message again, or all of them")
    replayed.add_argument("id", metavar="ID|all", type=_number_or_all, help="a number from `jackstop notify dead`")


def _read_secret(asked_for: str) -> str:
    if not asked_for:
        return ""
    if sys.stdin.isatty():
        return getpass.getpass(f"{asked_for} (not shown): ")
    return sys.stdin.read(_MOST_BYTES)


def _options(args: argparse.Namespace) -> dict[str, str]:
    given = {"url": args.url, "to": args.to, "quiet": args.quiet}
    return {**pairs(args.option), **{name: value for name, value in given.items() if value}}


def _add(args: argparse.Namespace, session: Session) -> int:
    from jackstop.notify.channels import find

    made = session.call(
        "notify add",
        name=args.name,
        kind=args.kind,
        options=_options(args),
        min_severity=args.min_severity,
        secret=_read_secret(find(args.kind).ASKS_FOR),
    )
    if args.json:
        print_json(made)
    else:
        print(f"channel {made['name']} of kind {made['kind']} gets news from severity {made['min_severity']} on")
        print(f"try it: jackstop notify test {made['name']}")
    return 0


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("notify list")["rows"]
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no channels; add one: jackstop notify add --help")
    return 0


def _remove(args: argparse.Namespace, session: Session) -> int:
    made = session.call("notify remove", name=args.name)
    if args.json:
        print_json(made)
    else:
        print(f"channel {made['name']} is removed; {made['dropped']} messages that waited for it are dropped")
    return 0


def _test(args: argparse.Namespace, session: Session) -> int:
    made = session.call("notify test", name=args.name)
    row = _wait(session, made["id"]) if made["live"] else _message(session, made["id"])
    if args.json:
        print_json(row)
    elif row["state"] == "sent":
        print(f"delivered on {args.name}")
    elif not made["live"]:
        print("queued; it goes out when Jackstop runs: `jackstop up`")
    else:
        problem = row["error"] or "nobody has tried it yet: see that the worker runs (`jackstop doctor`)"
        print(f"not delivered: {problem}")
    return 0 if row["state"] == "sent" or not made["live"] else 1


def _wait(session: Session, row_id: int) -> dict[str, Any]:
    """The message once its first attempt is over, or as it is when patience is."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        row = _message(session, row_id)
        if row["state"] != "queued" or row["error"] or time.monotonic() > end:
            return row
        time.sleep(_LOOK_AGAIN_S)


def _message(session: Session, row_id: int) -> dict[str, Any]:
    found: dict[str, Any] = session.call("notify outbox", id=row_id)["rows"][0]
    return found


def _outbox(args: argparse.Namespace, session: Session) -> int:
    rows = session.rows("notify outbox", state=args.state)
    print_rows(rows, _MESSAGE_COLUMNS, as_json=args.json, empty="no messages")
    return 0


def _dead(args: argparse.Namespace, session: Session) -> int:
    rows = session.rows("notify outbox", state="dead")
    print_rows(rows, _MESSAGE_COLUMNS, as_json=args.json, empty="no message is dead")
    return 0


def _number_or_all(text: str) -> int | str:
    return text if text == "all" else number(text)


def _replay(args: argparse.Namespace, session: Session) -> int:
    made = session.call("notify replay", id=None if args.id == "all" else args.id)
    if args.json:
        print_json(made)
    else:
        print(f"{made['replayed']} messages are queued again")
        if made["dropped"]:
            print(f"{made['dropped']} questions to owners are dropped: the links in them are no longer good")
    return 0
