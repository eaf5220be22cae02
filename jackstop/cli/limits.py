"""`jackstop credential limit`: the hard limit that a credential's provider keeps."""

from __future__ import annotations

import argparse
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, moment, print_json, print_rows, usd
from jackstop.cli.session import Session


def _amount(row: dict[str, Any]) -> str:
    if row["amount_nusd"] is None:
        return "none"
    return usd(row["amount_nusd"]) + ("" if row["enforced"] else " (not enforced)")


_COLUMNS: Columns = (
    ("SCOPE", lambda row: row["scope"]),
    ("WINDOW", lambda row: row["window"]),
    ("USD", _amount),
    ("WANTED", lambda row: usd(row["wanted_nusd"])),
    ("SEEN", lambda row: moment(row["seen_us"])),
)


def register(credential: Subparsers) -> None:
    """Add the command to the group `credential`."""
    limited = command(credential, "limit", _limit, "set or show the hard limit that the provider keeps")
    limited.add_argument("name", metavar="NAME")
    limited.add_argument("amount", metavar="AMOUNT/month", nargs="?", help="such as 500usd/month; without it: show")


def _limit(args: argparse.Namespace, session: Session) -> int:
    if args.amount:
        made = session.call("brakes want", name=args.name, amount=args.amount)
    else:
        made = session.call("brakes show", name=args.name)
    if args.json:
        print_json(made)
        return 0
    print_rows(made["rows"], _COLUMNS, as_json=False, empty="no limit has been seen there yet")
    if made["waiting_nusd"] is not None:
        print(f"{usd(made['waiting_nusd'])} USD a month is to be set; see `jackstop credential limit {args.name}`")
    if made["problem"]:
        print(f"the last try failed: {made['problem']}")
    return 0
