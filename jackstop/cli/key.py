"""`jackstop key …`: issue, list, show, rotate, throttle, quarantine, release, revoke."""

from __future__ import annotations

import argparse
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_facts, print_json, print_rows
from jackstop.cli.session import Session


def _state(row: dict[str, Any]) -> str:
    state = "canary" if row["canary"] and row["state"] == "live" else row["state"]
    return f"{state}, {row['throttle_per_min']}/min" if row["throttle_per_min"] else str(state)


_COLUMNS: Columns = (
    ("ID", lambda row: row["id"]),
    ("NAME", lambda row: row["name"]),
    ("TEAM", lambda row: row["team"]),
    ("STATE", _state),
    ("EXPIRES", lambda row: moment(row["expires_us"])),
    ("CREATED", lambda row: moment(row["created_us"])),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "key", "keys: what applications call the gate with")
    _register_issue(inner)
    command(inner, "list", _list, "list keys by their public ids")
    shown = command(inner, "show", _show, "show a key's state, policy and limits, but not the key")
    rotated = command(inner, "rotate", _rotate, "give a key a new secret and print it, this once")
    rotated.add_argument("--grace", metavar="SPAN", help="how long the old one is still accepted, such as 24h")
    slowed = command(inner, "throttle", _throttle, "slow a key down")
    slowed.add_argument("--rate", default="6req/min", metavar="RATE", help="default: 6req/min")
    stopped = command(inner, "quarantine", _act("key quarantine"), "stop a key and its streams until it is released")
    freed = command(inner, "release", _act("key release"), "let a throttled or quarantined key work again")
    ended = command(inner, "revoke", _act("key revoke"), "end a key and its streams for good")
    for parser in (shown, rotated, slowed, stopped, freed, ended):
        parser.add_argument("id", metavar="ID", help="the key's public id")
    for parser in (slowed, stopped, freed, ended):
        parser.add_argument("--reason", metavar="TEXT", help="goes into the audit log")


def _register_issue(inner: Subparsers) -> None:
    issued = command(inner, "issue", _issue, "make a key and print it, this once")
    add = issued.add_argument
    add("--owner", required=True, metavar="EMAIL", help="the person or service that answers for it")
    add("--name", required=True, help="what it is for")
    add("--team", metavar="T")
    add("--credential", metavar="NAME", help="the only credential it may use")
    add("--provider", action="append", metavar="P", help="may be given again; default: all")
    add("--model", action="append", metavar="GLOB", help="may be given again; default: all")
    add("--network", action="append", metavar="CIDR", help="may be given again; default: all")
    add("--endpoint", action="append", metavar="E", help="such as chat.completions or 'm*'; may be given again")
    add("--hours", action="append", metavar="SPAN", help="mon-fri 08:00-18:00, in UTC; may be given again")
    add("--budget", action="append", metavar="AMOUNT", help="5usd/day, 1000000tokens/hour, 500req/month, or none")
    add("--rate", action="append", metavar="RATE", help="60req/min")
    add("--concurrency", type=int, metavar="N", help="requests at a time")
    add("--max-output", type=int, metavar="N", help="tokens of output per request")
    add("--clamp", action="store_true", help="lower the output cap to what the budget has left, rather than refuse")
    add("--allow-unbounded", action="store_true", help="hold what has no bound at the model's context window")
    add("--on-disconnect", choices=("drain", "close"), help="what becomes of an answer whose client has left")
    add("--expires", metavar="SPAN", help="30d, 12h")
    add("--mode", choices=("observe", "enforce"), help="observe: admit, and record what would be refused")
    add("--respond", choices=("act", "alert"), help="alert: detections about it alert, and never throttle or stop it")
    add("--canary", action="store_true", help="a key that nobody should ever use")


def _issue(args: argparse.Namespace, session: Session) -> int:
    options = {name: value for name, value in vars(args).items() if name not in {"run", "json"} and value is not None}
    made = session.call("key issue", **options)
    if args.json:
        print_json(made)
        return 0
    print(made["key"])
    _print_once(made)
    return 0


def _print_once(made: dict[str, Any]) -> None:
    print(f"id {made['id']}; the key is not shown again, and Jackstop keeps no copy")


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.rows("key list")
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no keys; make one: jackstop key issue --help")
    return 0


def _show(args: argparse.Namespace, session: Session) -> int:
    key = session.call("key show", id=args.id)
    if args.json:
        print_json(key)
        return 0
    policy = key["policy"]
    print_facts(
        [
            ("id", key["id"]),
            ("name", key["name"]),
            ("owner", key["owner"]),
            ("team", key["team"]),
            ("state", _state(key)),
            ("created", moment(key["created_us"])),
            ("expires", moment(key["expires_us"])),
            ("old secret until", moment(key["retiring_until_us"])),
            *((name, _policy_text(value)) for name, value in policy.items()),
            *(("limit", _limit_text(limit)) for limit in key["limits"]),
        ]
    )
    return 0


def _policy_text(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _limit_text(limit: dict[str, Any]) -> str:
    notes = [note for note in ("the default" if limit["default"] else "", limit["mode"] or "") if note]
    return f"{limit['text']}" + (f" ({', '.join(notes)})" if notes else "")


def _rotate(args: argparse.Namespace, session: Session) -> int:
    made = session.call("key rotate", id=args.id, grace=args.grace)
    if args.json:
        print_json(made)
        return 0
    print(made["key"])
    _print_once(made)
    until = moment(made["old_until_us"])
    print(f"the old one is accepted until {until}" if until else "the old one is refused from now on")
    return 0


def _throttle(args: argparse.Namespace, session: Session) -> int:
    done = session.call("key throttle", id=args.id, rate=args.rate, reason=args.reason)
    if args.json:
        print_json(done)
    else:
        print(f"key {done['id']} may send {done['throttle_per_min']} requests per minute")
    return 0


def _act(name: str) -> Any:
    def run(args: argparse.Namespace, session: Session) -> int:
        done = session.call(name, id=args.id, reason=args.reason)
        if args.json:
            print_json(done)
        else:
            print(f"key {done['id']} is {done['state']}")
        return 0

    return run
