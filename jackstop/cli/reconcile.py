"""`jackstop reconcile`: what providers report of each credential, beside what the gate can have caused."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from jackstop.cli.output import Columns, Subparsers, command, moment, print_json, print_rows, usd
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.money import format_usd

if TYPE_CHECKING:
    from jackstop.reconcile.desk import Result

_WAIT_S, _LOOK_S = 30.0, 0.5

_COLUMNS: Columns = (
    ("CREDENTIAL", lambda row: row["credential"]),
    ("KIND", lambda row: "exclusive" if row["exclusive"] else "shared"),
    ("THROUGH", lambda row: moment(row["through_us"]) if row["reported_nusd"] else ""),
    ("REPORTED", lambda row: usd(row["reported_nusd"])),
    ("LOWER", lambda row: usd(row["lower_nusd"])),
    ("UPPER", lambda row: usd(row["upper_nusd"])),
    ("SHADOW", lambda row: usd(row["shadow_nusd"])),
    ("COULD HIDE", lambda row: usd(row["could_hide_nusd"])),
    ("GATE", lambda row: "" if row["progress"] is None else f"{row['progress']} %"),
    ("VERDICT", lambda row: row["verdict"]),
)


def register(commands: Subparsers) -> None:
    """Add the command."""
    made = command(commands, "reconcile", _reconcile, "compare what providers report with the gate's own books")
    made.add_argument("--provider", metavar="P", help="only this provider's credentials")
    made.add_argument("--since", metavar="WHEN", help="1d (ago, the default), 2026-11-23 or a moment in RFC 3339")
    made.add_argument("--fail-on", choices=("over", "act"), help="end with status 1 where a verdict is this or worse")


def _reconcile(args: argparse.Namespace, session: Session) -> int:
    # The lake's reader takes a moment to import, which no other command should wait for.
    from jackstop.cli.lake import parse_moment_us
    from jackstop.reconcile.desk import Desk

    now_us = SystemClock().now_us()
    readings = _read(session, args.provider)
    desk = Desk(lambda name, given: session.call(name, **given), session.home.lake)
    since_us = parse_moment_us(args.since)
    found = desk.compare(lambda each: args.provider in {None, each.provider}, now_us, since_us)
    rows = [_row(result) for result in found]
    if args.json:
        print_json({"credentials": rows, "readings": readings})
    else:
        empty = "no credential whose provider reports usage; link one: jackstop credential link --help"
        print_rows(rows, _COLUMNS, as_json=False, empty=empty)
        for line in _notes(rows, readings):
            print(line)
    return int(_matches(rows, args.fail_on))


def _read(session: Session, provider: str | None) -> list[dict[str, Any]]:
    """Have the worker read what may be read now, and wait for it; how the readings then stand."""
    asked = session.call("reconcile ask", provider=provider, now=True)
    rows: list[dict[str, Any]] = asked["rows"]
    before = {(row["administration"], row["kind"]): row["read_us"] for row in rows if row["due"]}
    end = time.monotonic() + (_WAIT_S if asked["live"] else 0)
    while before and time.monotonic() < end:
        time.sleep(_LOOK_S)
        rows = session.call("reconcile ask", provider=provider)["rows"]
        for row in rows:
            name = row["administration"], row["kind"]
            if name in before and (row["problem"] or row["read_us"] != before[name]):
                del before[name]
    for administration, kind in before:
        print(f"{kind} of {administration}: the worker has not read it; this is what was read before", file=sys.stderr)
    return rows


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(result.judgement)
    del row["finding"], row["surplus_us"]
    return {**row, "provider": result.watched.provider, "drifts": msgspec.to_builtins(result.drifts)}


def _notes(rows: list[dict[str, Any]], readings: list[dict[str, Any]]) -> list[str]:
    lines = [f"{each['kind']} of {each['administration']}: {each['problem']}" for each in readings if each["problem"]]
    for row in rows:
        name = row["credential"]
        if not row["linked"]:
            lines.append(
                f"{name}: which key it is at its provider is not known: "
                f"jackstop credential link {name} --provider-key-id ID"
            )
        for key, nusd in row["outside"].items():
            lines.append(f"{name}: the key {key} in the same place used {format_usd(nusd)} outside the gate")
        lines += [f"{name}: {format_usd(nusd)} of {model} beyond the gate" for model, nusd in row["models"].items()]
        lines += [f"{name}: {_drift(drift)}" for drift in row["drifts"]]
    return lines


def _drift(drift: dict[str, Any]) -> str:
    ours, theirs = format_usd(drift["ours_nusd"]), format_usd(drift["theirs_nusd"])
    match drift["cause"]:
        case "price":
            day = moment(drift["since_us"])[:10]
            most = f"; most of it is {drift['model']}" if drift["model"] else ""
            return f"price: the tokens of {day} are {ours} at list price, and were charged {theirs}{most}"
        case "unreported":
            return f"unreported: {drift['requests']} requests are {ours} in the books, and {theirs} at the provider"
        case _:
            return f"open holds: {drift['requests']} requests whose cost nobody reported keep up to {ours} charged"


def _matches(rows: list[dict[str, Any]], fail_on: str | None) -> bool:
    wanted = {"over": {"over", "act"}, "act": {"act"}}.get(fail_on or "", set())
    return any(row["exclusive"] and row["verdict"] in wanted for row in rows)
