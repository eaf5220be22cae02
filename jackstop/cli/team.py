"""`jackstop team …`: add, list."""

from __future__ import annotations

import argparse

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_json, print_rows
from jackstop.cli.session import Session

_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("MODE", lambda row: row["mode"] or "as the setting says"),
    ("ADDED", lambda row: moment(row["created_us"])),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "team", "teams: what keys are grouped by")
    made = command(inner, "add", _add, "add a team, or set the mode of one that is there")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--mode", choices=("observe", "enforce"), help="whether default rules enforce for its keys")
    command(inner, "list", _list, "list teams")


def _add(args: argparse.Namespace, session: Session) -> int:
    done = session.call("team add", name=args.name, mode=args.mode)
    if args.json:
        print_json(done)
    else:
        print(f"team {done['name']} is there")
    return 0


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("team list")["rows"]
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no teams; add one: jackstop team add NAME")
    return 0
