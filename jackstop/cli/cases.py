"""`jackstop cases …`: list, show, respond, export, close, note, reopen."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from jackstop.cli.output import (
    Columns,
    Subparsers,
    command,
    group,
    moment,
    number,
    print_facts,
    print_json,
    print_rows,
    usd,
)
from jackstop.cli.session import Session
from jackstop.errors import UserError

_ACTIONS = (
    *("note", "alert", "throttle", "quarantine", "release", "rotate", "contain", "approve", "decline", "unlawful"),
)
_COLUMNS: Columns = (
    ("ID", lambda row: row["id"]),
    ("SEVERITY", lambda row: row["severity"]),
    ("STATE", lambda row: f"{row['state']}, {row['verdict']}" if row["verdict"] else row["state"]),
    ("WHAT", lambda row: row["title"]),
    ("FINDINGS", lambda row: row["findings"]),
    ("OPENED", lambda row: moment(row["opened_us"])),
    ("LAST SEEN", lambda row: moment(row["last_seen_us"])),
)

_COLUMN_OF = {
    "key": "key_id",
    "owner": "owner",
    "team": "team",
    "credential": "credential_id",
    "account": "account",
    "principal": "principal",
    "provider_key": "provider_key_id",
    "network": "src_net",
}


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "cases", "cases: what was found, and what is done about it")
    listed = command(inner, "list", _list, "list cases, the latest first")
    listed.add_argument("--state", choices=("open", "closed", "all"), default="open", help="default: open")
    shown = command(inner, "show", _show, "show a case: timeline, money, evidence, blast radius, next steps")
    done = command(inner, "respond", _respond, "do something about a case, or undo it with `release`")
    exported = command(inner, "export", _export, "write what a provider's refund or abuse form wants")
    closed = command(inner, "close", _close, "end a case and say what it was")
    noted = command(inner, "note", _note, "write a note into a case")
    opened = command(inner, "reopen", _reopen, "open a closed case again")
    for parser in (shown, done, exported, closed, noted, opened):
        parser.add_argument("id", metavar="ID", type=number, help="the case's number")
    done.add_argument("action", metavar="ACTION", choices=_ACTIONS, help=", ".join(_ACTIONS))
    done.add_argument(
        "--for", dest="span", metavar="SPAN", help="how long it throttles, quarantines or contains, such as 2h"
    )
    done.add_argument("--on", metavar="WHAT", help="key:ID or credential:NAME; default: what the case is about")
    exported.add_argument("--format", choices=("json", "text"), help="default: text")
    exported.add_argument("--out", metavar="FILE", help="default: standard output")
    closed.add_argument("--verdict", choices=("hijack", "misuse", "benign"), required=True)
    noted.add_argument("text", metavar="TEXT")
    for parser in (done, closed, opened):
        parser.add_argument("--reason", metavar="TEXT", help="goes into the case and the audit log")


def _list(args: argparse.Namespace, session: Session) -> int:
    rows = session.rows("cases list", state=args.state)
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no cases" if args.state == "all" else f"no {args.state} cases")
    return 0


def _respond(args: argparse.Namespace, session: Session) -> int:
    options = {"reason": args.reason, "for": args.span, "on": args.on}
    return _say(args, session.call("cases respond", id=args.id, action=args.action, **options))


def _note(args: argparse.Namespace, session: Session) -> int:
    return _say(args, session.call("cases note", id=args.id, text=args.text))


def _say(args: argparse.Namespace, result: dict[str, Any]) -> int:
    if args.json:
        print_json(result)
        return 0
    if "key" in result:
        print(result["key"])
        print("the key is not shown again, and Jackstop keeps no copy")
    for row in result["done"]:
        print(row["text"])
    return 0


def _close(args: argparse.Namespace, session: Session) -> int:
    result = session.call("cases close", id=args.id, verdict=args.verdict, reason=args.reason)
    if args.json:
        print_json(result)
        return 0
    print(f"case {result['id']} is closed: {result['verdict']}")
    for row in result["done"]:
        print(row["text"])
    for key_id in result["still_working"]:
        print(f"key {key_id} still works with the same secret: jackstop key rotate {key_id}, or key revoke")
    return 0


def _reopen(args: argparse.Namespace, session: Session) -> int:
    result = session.call("cases reopen", id=args.id, reason=args.reason)
    if args.json:
        print_json(result)
    else:
        print(f"case {result['id']} is open")
    return 0


# -- with the case's events ------------------------------------------------------------------------------------------


def _show(args: argparse.Namespace, session: Session) -> int:
    from jackstop.cases.export import Tally

    case = session.call("cases show", id=args.id)
    tally = Tally()
    for event in _events(case, session):
        tally.add(event)
    case["money"] = tally.summary(*_held(case, session))
    if args.json:
        print_json(case)
    else:
        _print(case)
    return 0


def _export(args: argparse.Namespace, session: Session) -> int:
    from jackstop.cases import export

    form = args.format or ("json" if args.json else "text")
    case = session.call("cases export", id=args.id, format=form)
    tally = export.Tally()
    found = map(export.request, tally.counting(_events(case, session)))
    with export.in_order(found, session.home.root) as requests, _output(args.out) as out:
        money = tally.summary(*_held(case, session))
        del case["scopes"]
        lines = (export.as_json if form == "json" else export.text)(case, money, requests)
        out.writelines(f"{line}\n" for line in lines)
    if args.out is not None:
        print(f"case {case['id']} with {tally.requests} requests written to {args.out}", file=sys.stderr)
    return 0


def _events(case: dict[str, Any], session: Session) -> Iterator[dict[str, Any]]:
    """The case's events out of the lake: all that its entities did in its time."""
    if not case["scopes"]:
        return
    from jackstop.cli import lake

    lake.catch_up(session)
    for batch in lake.batches(session.home.lake, None, case["since_us"], case["until_us"] + 1):
        yield from lake.rows(batch.filter(_in_scope(batch, case["scopes"])))


def _in_scope(batch: Any, scopes: list[str]) -> Any:
    """Which rows of a batch are one of these entities'."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.array([False] * batch.num_rows, pa.bool_())  # of no rows nobody could tell the type
    for scope in scopes:
        kind, _, name = scope.partition(":")
        found = pc.or_(found, pc.equal(batch[_COLUMN_OF[kind]], name))
    return found


def _held(case: dict[str, Any], session: Session) -> tuple[int, int]:
    """What is held for the case's keys in its time and nobody has reported, and how many requests that is."""
    ids = {row["id"] for row in case["keys"]}
    held = [
        row["nusd"]
        for row in session.rows("budget holds")
        if row["key_id"] in ids and row["state"] != "estimated" and case["since_us"] <= row["ts_us"] <= case["until_us"]
    ]
    return sum(held), len(held)


@contextmanager
def _output(name: str | None) -> Iterator[TextIO]:
    if name is None:
        yield sys.stdout
        return
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror}", "name another file with --out", 2) from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yield file


# -- a case for people -----------------------------------------------------------------------------------------------


def _print(case: dict[str, Any]) -> None:
    money, blast = case["money"], case["blast"]
    verdict = f", {case['verdict']}" if case["verdict"] else ""
    for line in case["unlawful_notice"]:
        print(f"! {line}")
    print_facts(
        [
            ("case", f"{case['id']}, {case['state']}{verdict}, {case['severity']}"),
            ("what", case["title"]),
            ("about", ", ".join(case["entities"])),
            ("owner", ", ".join(case["people"].values())),
            ("seen", f"{moment(case['first_seen_us'])} to {moment(case['last_seen_us'])}"),
            ("requests", f"{money['requests']}, refused {money['refused']}"),
            ("cost", f"{usd(money['settled_nusd'])} USD"),
            ("held", f"{usd(money['held_nusd'])} USD of {money['open_holds']}" if money["open_holds"] else ""),
        ]
    )
    for row in case["keys"]:
        slow = f", {row['throttle_per_min']}/min" if row["throttle_per_min"] else ""
        print(f"key {row['id']} ({row['name']}): {row['state']}{slow}")
    _section("Timeline", [f"{moment(row['ts_us'])}  {_entry(row)}" for row in case["entries"]])
    _section("Evidence", [_evidence(row) for row in case["findings"]])
    _section(
        "Dollars per hour",
        [
            f"{moment(row['hour_us'])}  {usd(row['cost_nusd'])} USD, {row['requests']} requests"
            for row in money["hours"]
        ],
    )
    _section("Seen", [f"{name}: {_values(values)}" for name, values in money["seen"].items() if values])
    _section("Blast radius", [*_blast(blast)])
    _section("Next steps", [f"{number}. {step}" for number, step in enumerate(case["next_steps"], 1)])


def _section(title: str, lines: list[str]) -> None:
    if lines:
        print(f"\n{title}")
        for line in lines:
            print("  " + "".join(char if char.isprintable() else "?" for char in line))


def _entry(row: dict[str, Any]) -> str:
    detail = ", ".join(f"{name} {value}" for name, value in row["detail"].items() if value not in {None, "", 0})
    return f"{row['kind']} ({row['actor']})" + (f": {detail}" if detail else "")


def _evidence(row: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {value}" for name, value in row["evidence"].items() if value not in {None, ""})
    return f"{row['detection']} ({row['severity']}), {row['count']} times" + (f": {shown}" if shown else "")


def _values(values: list[dict[str, Any]]) -> str:
    return ", ".join(f"{row['value']} ({row['requests']})" for row in values)


def _blast(blast: dict[str, Any]) -> Iterator[str]:
    for row in blast["other_keys"]:
        notes = [
            *(["made within a day"] if row["made_within_a_day"] else []),
            *(["may lie in the same place"] if row["same_place"] else []),
        ]
        yield f"key {row['id']} ({row['name']}), {row['state']}, same owner" + "".join(f", {note}" for note in notes)
    for row in blast["credentials"]:
        yield f"credential {row['name']} ({row['provider']}), {row['state']}, in reach"
    for row in blast["acts"]:
        yield f"{moment(row['ts_us'])}  {row['tag']} of {row['subject']} by {row['actor']}"
