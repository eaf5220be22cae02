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
_RANK = ("fine", "over", "act")
_SHOWN = 10

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
    logs = {row["credential"]: row.get("log") for row in session.call("reconcile list")["rows"]}
    rows = [_row(result, logs.get(result.watched.name) if result.watched.log else None) for result in found]
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


def _row(result: Result, log: dict[str, Any] | None) -> dict[str, Any]:
    from jackstop.reconcile.requests import Matched

    row: dict[str, Any] = msgspec.to_builtins(result.judgement)
    del row["finding"], row["surplus_us"]
    row["spent"] = msgspec.to_builtins(result.spent)
    row["verdict"] = max([row["verdict"], *(day.verdict for day in result.spent)], key=_RANK.index)
    if log is not None:
        matched = msgspec.convert(log, Matched)
        row["log"] = {
            **{name: log[name] for name in ("through_us", "verdict", "common", "consumers", "unreadable")},
            **{name: matched.sum(name) for name in ("through", "outside", "requests", "unlogged")},
            "undecided": len(matched.waiting),
            "shadow": log["shadow"],
        }
        row["verdict"] = max(row["verdict"], log["verdict"], key=_RANK.index)
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
        lines += [f"{name}: {_spent(day)}" for day in row["spent"]]
        lines += [f"{name}: {line}" for line in _logged(row.get("log"))]
    return lines


def _spent(day: dict[str, Any]) -> str:
    item = max(day["items"], key=day["items"].get)
    return (
        f"costs: {format_usd(day['shadow_nusd'])} of {moment(day['day_us'])[:10]} are explained by no tokens and no "
        f"request of the gate; most of it is {item or 'without a name'}"
    )


def _logged(log: dict[str, Any] | None) -> list[str]:
    """What the provider's log of single requests says, of the last day."""
    if log is None:
        return []
    through, outside = log["through"], log["outside"]
    until = moment(log["through_us"])
    lines = [f"log: {through + outside} requests, {through} of them through the gate, until {until}"]
    if log["requests"] and not log["common"]:
        lines.append("log: no request has the same id there and at the gate, so that they are told apart by time alone")
    if log["unlogged"]:
        lines.append(
            f"log incomplete: {log['unlogged']} of {log['requests']} requests through the gate are not in it; "
            "see whether the trail selects them (data events of bedrock-mantle)"
        )
    if log["unreadable"]:
        lines.append(f"log incomplete: {log['unreadable']} files or records could not be read")
    if log["undecided"]:
        lines.append(f"log: {log['undecided']} requests may be some whose id nobody knows yet")
    lines += [
        f"log: {each['requests']} requests outside the gate by {each['principal']} from {each['network']}, "
        f"{each['agent'] or 'no user agent'}"
        for each in log["consumers"][:_SHOWN]
    ]
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
