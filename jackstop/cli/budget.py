"""`jackstop budget …`: set, show, holds, release."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_json, print_rows, usd
from jackstop.cli.session import Session
from jackstop.keys.amounts import format_amount


def _amount(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: format_amount(row["kind"], row[name])


_COLUMNS: Columns = (
    ("SCOPE", lambda row: row["scope"]),
    ("WINDOW", lambda row: row["window"]),
    ("LIMIT", _amount("limit")),
    ("SETTLED", _amount("settled")),
    ("HELD", _amount("held")),
    ("LEASED", _amount("leased")),
    ("MODE", lambda row: row["mode"]),
)
_HOLD_COLUMNS: Columns = (
    ("HOLD", lambda row: row["id"]),
    ("SINCE", lambda row: moment(row["ts_us"])),
    ("STATE", lambda row: row["state"]),
    ("KEY", lambda row: row["key_id"]),
    ("PROVIDER", lambda row: row["provider"]),
    ("MODEL", lambda row: row["model"]),
    ("USD", lambda row: usd(row["nusd"])),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "budget", "budgets: what may be spent, and what is")
    made = command(inner, "set", _set, "set a budget, or take all of a scope's budgets away with none")
    made.add_argument("scope", metavar="SCOPE", help="org, team:N, owner:EMAIL, key:ID or credential:NAME")
    made.add_argument("amount", metavar="AMOUNT/WINDOW", help="5usd/day, 1000000tokens/hour, 500req/month, or none")
    made.add_argument("--mode", choices=("observe", "enforce"), help="default: enforce")
    shown = command(inner, "show", _show, "show budgets with the books of their current window")
    shown.add_argument("scope", metavar="SCOPE", nargs="?")
    command(inner, "holds", _holds, "list requests whose cost nobody has reported yet")
    freed = command(inner, "release", _release, "take a hold that the provider did not bill out of the books")
    freed.add_argument("hold", metavar="HOLD")
    freed.add_argument("--reason", required=True, metavar="TEXT", help="goes into the audit log")


def _set(args: argparse.Namespace, session: Session) -> int:
    done = session.call("budget set", scope=args.scope, amount=args.amount, mode=args.mode)
    if args.json:
        print_json(done)
    elif "removed" in done:
        print(f"{done['scope']} has no budget any more ({done['removed']} taken away)")
    else:
        print(f"{done['scope']} may use {format_amount(done['kind'], done['amount'])} per {done['window']}")
        if done["new_scope"]:
            print(f"{done['scope']} is new: it has no key yet")
    return 0


def _show(args: argparse.Namespace, session: Session) -> int:
    rows = session.rows("budget show", scope=args.scope)
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no budgets; set one: jackstop budget set --help")
    return 0


def _holds(args: argparse.Namespace, session: Session) -> int:
    print_rows(session.rows("budget holds"), _HOLD_COLUMNS, as_json=args.json, empty="no holds")
    return 0


def _release(args: argparse.Namespace, session: Session) -> int:
    done = session.call("budget release", hold=args.hold, reason=args.reason)
    if args.json:
        print_json(done)
    else:
        print(f"hold {done['id']} is released: {usd(done['nusd'])} USD are free again")
    return 0
