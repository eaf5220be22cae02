"""`jackstop addresses …`: import, list, remove, look."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jackstop.addresses.lookup import KINDS
from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_facts, print_json, print_rows
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.errors import UserError

_DAY_US = 86_400_000_000
_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("KIND", lambda row: row["kind"]),
    ("RANGES", lambda row: row["ranges"]),
    ("OF", lambda row: moment(row["as_of_us"])[:10]),
    ("DAYS", lambda row: row["age_days"]),
    ("FROM", lambda row: row["source"]),
    ("FORMAT", lambda row: row["format"]),
    ("STATE", lambda row: row["state"]),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "addresses", "whose an address is: data that you fetched")
    made = command(inner, "import", _import, "import a file of address ranges")
    made.add_argument("file", metavar="FILE", help="as it was fetched; may be packed with gzip")
    made.add_argument("--kind", required=True, choices=KINDS, help="what the file says of its ranges")
    made.add_argument("--name", default="", metavar="NAME", help="default: the kind, or the cloud that the file names")
    made.add_argument("--format", default="auto", choices=("auto", "mmdb", "csv", "txt", "json"))
    command(inner, "list", _list, "list what was imported, and how old it is")
    gone = command(inner, "remove", _remove, "take imported data away")
    gone.add_argument("name", metavar="NAME")
    asked = command(inner, "look", _look, "say what is known of an address")
    asked.add_argument("address", metavar="ADDRESS")


def _import(args: argparse.Namespace, session: Session) -> int:
    from jackstop.addresses.importer import keep, prepare

    now_us = SystemClock().now_us()
    done = prepare(Path(args.file), args.kind, args.name, args.format, now_us)
    about = done.about
    session.call("addresses imported", name=about.name, kind=about.kind, ranges=done.total, source=about.source)
    keep(session.home, done)
    for bad in done.bad:
        print(f"{about.source}, {bad.place}: {bad.problem}; set aside", file=sys.stderr)
    if about.bad > len(done.bad):
        print(f"… and {about.bad - len(done.bad)} more", file=sys.stderr)
    _warn_if_old(about.name, about.as_of_us, now_us)
    if args.json:
        first = [each._asdict() for each in done.bad]
        print_json({"name": about.name, "kind": about.kind, "ranges": done.total, "bad": about.bad, "first_bad": first})
    else:
        aside = f", {about.bad} set aside" if about.bad else ""
        print(f"{about.name}: {done.total} ranges of {moment(about.as_of_us)[:10]}{aside}")
    return 0


def _warn_if_old(name: str, as_of_us: int, now_us: int) -> bool:
    from jackstop.addresses.importer import OLD_US

    if now_us - as_of_us <= OLD_US:
        return False
    print(f"{name} is {(now_us - as_of_us) // _DAY_US} days old: fetch it anew and import it again", file=sys.stderr)
    return True


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = list(_rows(session))
    empty = "no address data; networks then count as new by /24 alone (jackstop addresses import --help)"
    print_rows(rows, _COLUMNS, as_json=args.json, empty=empty)
    return 0


def _rows(session: Session) -> Iterator[dict[str, Any]]:
    from jackstop.addresses.lookup import files
    from jackstop.addresses.ranges import read

    now_us = SystemClock().now_us()
    for path in files(session.home):
        try:
            about, ranges = read(path)
        except UserError as error:
            print(f"{error.problem}\n{error.remedy}", file=sys.stderr)
            row = dict.fromkeys(("kind", "ranges", "as_of_us", "age_days", "source", "format", "bad"))
            yield {"name": path.stem, **row, "state": "damaged"}
            continue
        yield {
            "name": about.name,
            "kind": about.kind,
            "ranges": len(ranges.value4) + len(ranges.value6),
            "as_of_us": about.as_of_us,
            "age_days": (now_us - about.as_of_us) // _DAY_US,
            "source": about.source,
            "format": about.format,
            "bad": about.bad,
            "state": "old" if _warn_if_old(about.name, about.as_of_us, now_us) else "ok",
        }


def _remove(args: argparse.Namespace, session: Session) -> int:
    from jackstop.addresses.lookup import files

    path = next((path for path in files(session.home) if path.stem == args.name), None)
    if path is None:
        raise UserError(f"there is no address data {args.name}", "see `jackstop addresses list`", 2)
    session.call("addresses removed", name=args.name)
    path.unlink(missing_ok=True)
    if args.json:
        print_json({"removed": args.name})
    else:
        print(f"{args.name} is taken away")
    return 0


def _look(args: argparse.Namespace, session: Session) -> int:
    from jackstop.addresses.lookup import Lookup, number_of

    if number_of(args.address) is None:
        raise UserError(f"{args.address!r} is no address", "write it as 198.51.100.7 or 2001:db8::7", 2)
    lookup = Lookup(session.home)
    for error in lookup.damaged:
        print(f"{error.problem}\n{error.remedy}", file=sys.stderr)
    place, sources = lookup.place(args.address), [about.name for about, _ in lookup.matches(args.address)]
    if args.json:
        print_json({"address": args.address, **place._asdict(), "sources": sources})
    elif sources:
        print_facts([*place._asdict().items(), ("sources", ", ".join(sources))])
    else:
        print("nothing is known of it")
    return 0
