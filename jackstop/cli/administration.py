"""`jackstop administration …`: providers' administration APIs, and Jackstop's own keys for them."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, pairs, print_json, print_rows
from jackstop.cli.session import Session

_MOST_BYTES = 65_536

_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("DRIVER", lambda row: row["driver"]),
    ("BASE URL", lambda row: row["base_url"]),
    ("OPTIONS", lambda row: " ".join(f"{name}={value}" for name, value in sorted(row["options"].items()))),
    ("ADDED", lambda row: moment(row["created_us"])),
)
_DRIVER_COLUMNS: Columns = (
    ("DRIVER", lambda row: row["driver"]),
    ("KIND", lambda row: row["kind"]),
    ("VERBS", lambda row: " ".join(row["verbs"])),
    ("OPTIONS", lambda row: _names(row["options"])),
    ("PLACES", lambda row: _names(row["places"])),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "administration", "providers' administration APIs, by which credentials are rotated")
    added = command(inner, "add", _add, "add one; Jackstop's own key for it is read from standard input")
    added.add_argument("name", metavar="NAME")
    added.add_argument("--driver", required=True, metavar="D", help="see `jackstop administration drivers`")
    added.add_argument("--base-url", metavar="URL", help="where its API is, if not where the provider has it")
    added.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="what the driver needs *")
    command(inner, "list", _list, "list them, without their keys")
    command(inner, "drivers", _drivers, "list what can be done at which provider")
    removed = command(inner, "remove", _remove, "forget one and its key")
    removed.add_argument("name", metavar="NAME")


def _names(options: list[dict[str, Any]]) -> str:
    return " ".join(each["name"] if each["required"] else f"[{each['name']}]" for each in options)


def _add(args: argparse.Namespace, session: Session) -> int:
    secret = getpass.getpass("key (not shown): ") if sys.stdin.isatty() else sys.stdin.read(_MOST_BYTES)
    made = session.call(
        "administration add",
        name=args.name,
        driver=args.driver,
        base_url=args.base_url,
        options=pairs(args.option),
        secret=secret,
    )
    if args.json:
        print_json(made)
    else:
        print(f"administration {made['name']} at {made['base_url']} is there")
        print(f"its key needs no more than: {made['permission']}")
    return 0


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("administration list")["rows"]
    print_rows(
        rows, _COLUMNS, as_json=args.json, empty="no administrations; add one: jackstop administration add --help"
    )
    return 0


def _drivers(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("administration drivers")["rows"]
    print_rows(rows, _DRIVER_COLUMNS, as_json=args.json, empty="no drivers")
    return 0


def _remove(args: argparse.Namespace, session: Session) -> int:
    made = session.call("administration remove", name=args.name)
    if args.json:
        print_json(made)
    else:
        print(f"administration {made['name']} is gone; end its key at the provider")
    return 0
