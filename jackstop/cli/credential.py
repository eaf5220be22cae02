"""`jackstop credential …`: add, list, check, rotate, contain, retire."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_json, print_rows
from jackstop.cli.session import Session

_MOST_BYTES = 65_536

_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("PROVIDER", lambda row: row["provider"]),
    ("STATE", lambda row: row["state"]),
    ("KIND", lambda row: row["kind"]),
    ("BASE URL", lambda row: row["base_url"]),
    ("ADDED", lambda row: moment(row["created_us"])),
)
_CHECK_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("STATE", lambda row: row["state"]),
    ("CHECK", lambda row: "ok" if row["ok"] else "failed"),
    ("PROBLEM", lambda row: row["problem"]),
    ("WHAT TO DO", lambda row: row["remedy"]),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "credential", "credentials: secrets that providers issued, kept in the vault")
    added = command(inner, "add", _add, "put a provider's secret, read from standard input, into the vault")
    added.add_argument("name", metavar="NAME")
    added.add_argument("--provider", required=True, metavar="P")
    added.add_argument("--exclusive", action="store_true", help="only the gate may use it: a surplus is theft")
    command(inner, "list", _list, "list credentials, without their secrets")
    checked = command(inner, "check", _check, "see whether credentials can be opened and used")
    checked.add_argument("name", metavar="NAME", nargs="?")
    rotated = command(inner, "rotate", _rotate, "replace a secret by a new one from standard input")
    contained = command(inner, "contain", _end("credential contain"), "stop using a credential now")
    retired = command(inner, "retire", _end("credential retire"), "stop using a credential for good, forget its secret")
    for parser in (added, rotated):
        parser.add_argument("--base-url", metavar="URL", help="the provider's root, what stands before /v1")
        parser.add_argument("--provider-key-id", metavar="ID", help="what the provider calls this secret")
    for parser in (rotated, contained, retired):
        parser.add_argument("name", metavar="NAME")
    for parser in (contained, retired):
        parser.add_argument("--reason", metavar="TEXT", help="goes into the audit log")


def _read_secret() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("secret (not shown): ")
    return sys.stdin.read(_MOST_BYTES)


def _add(args: argparse.Namespace, session: Session) -> int:
    made = session.call(
        "credential add",
        name=args.name,
        provider=args.provider,
        base_url=args.base_url,
        provider_key_id=args.provider_key_id,
        exclusive=args.exclusive,
        secret=_read_secret(),
    )
    if args.json:
        print_json(made)
    else:
        print(f"credential {made['name']} for {made['provider']} at {made['base_url']} is {made['state']}")
    return 0


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("credential list")["rows"]
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no credentials; add one: jackstop credential add --help")
    return 0


def _check(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("credential check", name=args.name)["rows"]
    print_rows(rows, _CHECK_COLUMNS, as_json=args.json, empty="no credentials")
    return 0 if all(row["ok"] for row in rows) else 1


def _rotate(args: argparse.Namespace, session: Session) -> int:
    made = session.call(
        "credential rotate",
        name=args.name,
        base_url=args.base_url,
        provider_key_id=args.provider_key_id,
        secret=_read_secret(),
    )
    _print_change(args, made)
    return 0


def _end(name: str) -> Any:
    def run(args: argparse.Namespace, session: Session) -> int:
        _print_change(args, session.call(name, name=args.name, reason=args.reason))
        return 0

    return run


def _print_change(args: argparse.Namespace, made: dict[str, Any]) -> None:
    if args.json:
        print_json(made)
        return
    print(f"credential {made['name']} is {made['state']}")
    if made.get("keys_without_credential"):
        print(f"{made['keys_without_credential']} live keys may use no other credential and are refused now")
    print(f"next: {made['next']}")
