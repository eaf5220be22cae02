"""`jackstop people list`."""

from __future__ import annotations

import argparse

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_rows
from jackstop.cli.session import Session

_COLUMNS: Columns = (
    ("ID", lambda row: row["id"]),
    ("ADDRESS", lambda row: row["email"]),
    ("ROLE", lambda row: row["role"]),
    ("ADDED", lambda row: moment(row["created_us"])),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "people", "people: owners of keys, and administrators")
    command(inner, "list", _list, "list people")


def _list(args: argparse.Namespace, session: Session) -> int:
    print_rows(session.rows("people list"), _COLUMNS, as_json=args.json, empty="no people")
    return 0
