"""`jackstop credential …`: add, list, check, link, standby, rotate, contain, invite, rotations, cancel, retire."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from jackstop.cli import limits
from jackstop.cli.output import Columns, Subparsers, command, group, moment, pairs, print_json, print_rows
from jackstop.cli.session import Session

_MOST_BYTES = 65_536

_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("PROVIDER", lambda row: row["provider"]),
    ("STATE", lambda row: row["state"]),
    ("KIND", lambda row: row["kind"]),
    ("BASE URL", lambda row: row["base_url"]),
    ("KEPT AT", lambda row: row["administration"]),
    ("ADDED", lambda row: moment(row["created_us"])),
)
_CHECK_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("STATE", lambda row: row["state"]),
    ("CHECK", lambda row: "ok" if row["ok"] else "failed"),
    ("PROBLEM", lambda row: row["problem"]),
    ("WHAT TO DO", lambda row: row["remedy"]),
)
_ROTATION_COLUMNS: Columns = (
    ("ID", lambda row: row["id"]),
    ("CREDENTIAL", lambda row: row["credential"]),
    ("ACT", lambda row: row["act"]),
    ("WHY", lambda row: f"{row['cause']} {row['reason']}".strip()),
    ("STATE", lambda row: row["state"]),
    ("STEP", lambda row: row["step"] if row["state"] == "running" else ""),
    ("BEGUN", lambda row: moment(row["started_us"])),
    ("ENDED", lambda row: moment(row["ended_us"])),
    ("PROBLEM", lambda row: row["problem"]),
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
    rotated = command(inner, "rotate", _rotate, "give a credential a new secret: made at the provider, or yours")
    contained = command(inner, "contain", _contain, "make a credential's secret useless now")
    retired = command(inner, "retire", _retire, "stop using a credential for good, forget its secret")
    linked = command(inner, "link", _link, "say where a credential's keys are made, and how often it is rotated")
    deposited = command(inner, "standby", _standby, "deposit a second secret, from standard input, for an emergency")
    invited = command(inner, "invite", _invite, "let a person bring the new key that is waited for, on a page")
    invited.add_argument("--to", required=True, metavar="EMAIL")
    invited.add_argument("--mail", action="store_true", help="send the link there instead of printing it")
    listed = command(inner, "rotations", _rotations, "list what was done to credentials at their providers")
    cancelled = command(inner, "cancel", _cancel, "stop a rotation whose new key is not in use yet")
    limits.register(inner)
    listed.add_argument("name", metavar="NAME", nargs="?")
    for parser in (added, rotated):
        parser.add_argument("--base-url", metavar="URL", help="the provider's root, what stands before /v1")
    for parser in (added, rotated, linked, deposited):
        parser.add_argument("--provider-key-id", metavar="ID", help="what the provider calls this secret")
    for parser in (rotated, contained, retired, linked, deposited, invited, cancelled):
        parser.add_argument("name", metavar="NAME")
    for parser in (rotated, contained):
        parser.add_argument("--plan", action="store_true", help="print what would be done, and do nothing")
    contained.add_argument("--now", action="store_true", help="stop using it at once, though that is an outage")
    rotated.add_argument("--by-hand", action="store_true", help="read your own new secret from standard input")
    linked.add_argument("--administration", metavar="A", help="whose keys it is one of; see `jackstop administration`")
    linked.add_argument("--place", action="append", default=[], metavar="NAME=VALUE", help="where its keys live *")
    linked.add_argument("--every", metavar="SPAN", help="30d, or never; else the setting rotation.every")
    for parser in (rotated, contained, retired, cancelled):
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
    if args.plan:
        return _print_plan(args, session, "rotate")
    made = session.call("rotation plan", name=args.name, act="rotate")
    makes = "create" in made["steps"] and not (args.by_hand or args.base_url)
    secret = "" if makes else _read_secret()
    done = session.call(
        "credential rotate",
        name=args.name,
        base_url=args.base_url,
        provider_key_id=args.provider_key_id,
        secret=secret,
        reason=args.reason,
    )
    _print_change(args, done)
    return 0


def _contain(args: argparse.Namespace, session: Session) -> int:
    if args.plan:
        return _print_plan(args, session, "contain", now=args.now)
    _print_change(args, session.call("credential contain", name=args.name, reason=args.reason, now=args.now))
    return 0


def _retire(args: argparse.Namespace, session: Session) -> int:
    _print_change(args, session.call("credential retire", name=args.name, reason=args.reason))
    return 0


def _print_plan(args: argparse.Namespace, session: Session, act: str, *, now: bool = False) -> int:
    brought = act == "rotate" and args.by_hand
    made = session.call("rotation plan", name=args.name, act=act, brought=brought, now=now)
    if args.json:
        print_json(made)
    else:
        print(f"to {act} {made['credential']}:")
        for line in made["words"]:
            print(f"  {line}")
    return 0


def _link(args: argparse.Namespace, session: Session) -> int:
    made = session.call(
        "administration link",
        name=args.name,
        administration=args.administration,
        place=pairs(args.place),
        provider_key_id=args.provider_key_id,
        every=args.every,
    )
    if args.json:
        print_json(made)
    else:
        where = made["administration"] or "no administration"
        print(f"credential {made['name']} is kept at {where}; see `jackstop credential rotate {made['name']} --plan`")
    return 0


def _standby(args: argparse.Namespace, session: Session) -> int:
    made = session.call(
        "administration standby", name=args.name, provider_key_id=args.provider_key_id, secret=_read_secret()
    )
    if args.json:
        print_json(made)
    else:
        print(f"credential {made['name']} has a standby, which takes over when its secret has to be ended")
    return 0


def _invite(args: argparse.Namespace, session: Session) -> int:
    made = session.call("invitation make", name=args.name, to=args.to, mail=args.mail)
    if args.json:
        print_json(made)
        return 0
    print(made["link"] or f"the link is on its way to {args.to}")
    print(f"good once, until {moment(made['until_us'])}, and for {args.to} alone", file=sys.stderr)
    return 0


def _rotations(args: argparse.Namespace, session: Session) -> int:
    rows = session.call("rotation list", name=args.name)["rows"]
    print_rows(rows, _ROTATION_COLUMNS, as_json=args.json, empty="no rotations")
    return 0


def _cancel(args: argparse.Namespace, session: Session) -> int:
    made = session.call("rotation cancel", name=args.name, reason=args.reason)
    if args.json:
        print_json(made)
    else:
        print(f"the {made['act']} of {made['credential']} is {made['state']}, step {made['step']}")
    return 0


def _print_change(args: argparse.Namespace, made: dict[str, Any]) -> None:
    if args.json:
        print_json(made)
        return
    if made.get("rotation"):
        print(f"credential {made['name']}: {made['rotation']['act']} begun, step {made['rotation']['step']}")
        print(f"next: jackstop credential rotations {made['name']}")
        return
    print(f"credential {made['name']} is {made['state']}")
    if made.get("keys_without_credential"):
        print(f"{made['keys_without_credential']} live keys may use no other credential and are refused now")
    print(f"next: {made['next']}")
