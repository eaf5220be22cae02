"""`jackstop detections …`: list, show, test, and what to leave alone."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from jackstop.cli.output import Columns, Subparsers, command, group, moment, print_facts, print_json, print_rows
from jackstop.cli.session import Session
from jackstop.errors import UserError

_WIDTH = 100
_COLUMNS: Columns = (
    ("NAME", lambda row: row["name"]),
    ("ID", lambda row: row["id"]),
    ("SEVERITY", lambda row: row["severity"]),
    ("WINDOW", lambda row: row["window"]),
    ("CADENCE", lambda row: row["cadence"]),
    ("STATE", lambda row: "off" if row["off"] else "on"),
    ("TITLE", lambda row: row["title"]),
)
_ALLOWED_COLUMNS: Columns = (
    ("DETECTION", lambda row: row["detection"]),
    ("ENTITY", lambda row: row["entity"]),
    ("UNTIL", lambda row: moment(row["until_us"]) or "taken back"),
    ("SINCE", lambda row: moment(row["created_us"])),
    ("REASON", lambda row: row["reason"]),
)


def register(commands: Subparsers) -> None:
    """Add the group."""
    inner = group(commands, "detections", "detections: what is looked for, and what to leave alone")
    command(inner, "list", _list, "list all detections")
    shown = command(inner, "show", _show, "show what a detection means, and its SQL")
    shown.add_argument("name", metavar="NAME")
    told = shown.add_mutually_exclusive_group()
    told.add_argument("--dialect", metavar="D", help="the SQL for another engine, such as spark, athena or bigquery")
    told.add_argument(
        "--format", choices=("text", "sigma"), default="text", help="as a Sigma rule, where it can be one"
    )
    tested = command(inner, "test", _test, "run the tests of one detection, or of all")
    tested.add_argument("name", metavar="NAME", nargs="?")
    imported = command(inner, "import-sigma", _import_sigma, "make detections of your own out of Sigma rules")
    imported.add_argument("files", metavar="FILE", nargs="+", help="rules, or folders with some")
    imported.add_argument("--print", action="store_true", dest="is_printed", help="print the SQL, and keep nothing")
    allowed = command(inner, "allow", _allow, "leave something alone that a detection finds")
    allowed.add_argument("name", metavar="NAME", help="a detection, or '*' for all")
    allowed.add_argument("entity", metavar="ENTITY", help="such as key:ID, or '*' for all")
    allowed.add_argument("--reason", required=True, metavar="TEXT", help="goes into the audit log")
    allowed.add_argument("--until", metavar="SPAN", help="for how long, such as 7d; default: until it is taken back")
    disallowed = command(inner, "disallow", _disallow, "take an allowance back")
    disallowed.add_argument("name", metavar="NAME")
    disallowed.add_argument("entity", metavar="ENTITY")
    command(inner, "allowed", _allowed, "list what is left alone")


def _list(args: argparse.Namespace, session: Session) -> int:
    from jackstop.detections.catalogue import available

    off = set(session.settings.detections.off)
    rows = [
        {
            "name": each.name,
            "id": each.about.id,
            "title": each.about.title,
            "severity": each.about.severity,
            "response": each.about.response,
            "window": each.about.window,
            "cadence": each.about.cadence,
            "needs": list(each.about.needs),
            "off": each.name in off,
        }
        for each in available(session.home).values()
    ]
    print_rows(rows, _COLUMNS, as_json=args.json, empty="no detections")
    return 0


def _show(args: argparse.Namespace, session: Session) -> int:
    detection = _named(args.name, session)
    if args.format == "sigma":
        from jackstop.hunt.sigma.exporting import rule_of

        rule = rule_of(detection)
        if args.json:
            print_json({"name": detection.name, "sigma": rule})
        else:
            print(rule, end="")
        return 0
    sql = _translated(detection.sql, args.dialect) if args.dialect else detection.sql.rstrip()
    about = detection.about
    if args.json:
        import msgspec

        described = msgspec.to_builtins(about)
        print_json({"name": detection.name, **{key: described[key] for key in described if key != "tests"}, "sql": sql})
        return 0
    print(f"{detection.name}: {about.title}\n")
    print(textwrap.fill(about.meaning, _WIDTH), end="\n\n")
    print_facts(
        (
            ("id", about.id),
            ("severity", about.severity),
            ("response", about.response),
            ("window", f"{about.window}, looked at every {about.cadence}"),
            ("ATT&CK", ", ".join(about.attack)),
            ("ATLAS", ", ".join(about.atlas)),
            ("needs", ", ".join(about.needs)),
        )
    )
    _print_list("Known false positives", about.false_positives)
    _print_list("What to do", about.what_to_do)
    _print_list("References", about.references)
    print(f"\n{sql}")
    return 0


def _print_list(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        print(f"\n{title}:")
    for line in lines:
        print(textwrap.fill(line, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False))


def _named(name: str, session: Session) -> Any:
    from jackstop.detections.catalogue import available

    detection = available(session.home).get(name)
    if detection is None:
        raise UserError(f"there is no detection {name!r}", "see `jackstop detections list`", 2)
    return detection


def _translated(sql: str, dialect: str) -> str:
    from jackstop.detections.dialects import standing, translated

    told = translated(sql, dialect, pretty=True)
    return "\n".join(filter(None, (standing(dialect), told)))


def _test(args: argparse.Namespace, session: Session) -> int:
    from jackstop.detections.catalogue import available
    from jackstop.detections.testing import run

    detections = [_named(args.name, session)] if args.name else list(available(session.home).values())
    results = [run(each, example) for each in detections for example in each.about.tests]
    if args.json:
        print_json([{"detection": each.detection, "test": each.test, "problem": each.problem} for each in results])
    else:
        for each in results:
            print(f"{each.detection}: {each.test}: {'failed' if each.problem else 'ok'}")
            if each.problem:
                print(f"  {each.problem}")
    return 1 if any(each.problem for each in results) else 0


def _import_sigma(args: argparse.Namespace, session: Session) -> int:
    from jackstop.hunt.sigma.importing import Kept, import_files
    from jackstop.hunt.sigma.translate import files_of

    done = import_files(files_of(args.files), None if args.is_printed else session.home)
    refused = [each for each in done if not isinstance(each, Kept)]
    if args.json:
        print_json([each._asdict() for each in done])
    else:
        for each in done:
            if isinstance(each, Kept):
                print(f"{each.file}: {each.title}: {each.name}")
                if args.is_printed:
                    print(f"\n{each.sql}")
            else:
                print(f"{each.file}:{each.line}: {each.title}: refused: {each.why}")
        print(f"{len(done) - len(refused)} of {len(done)} rules {'can be said' if args.is_printed else 'imported'}")
    return 3 if refused else 0


def _allow(args: argparse.Namespace, session: Session) -> int:
    done = session.call(
        "detections allow", detection=args.name, entity=args.entity, reason=args.reason, until=args.until
    )
    if args.json:
        print_json(done)
    else:
        until = moment(done["until_us"]) or f"`jackstop detections disallow '{args.name}' '{args.entity}'`"
        print(f"{args.name} leaves {args.entity} alone until {until}")
    return 0


def _disallow(args: argparse.Namespace, session: Session) -> int:
    done = session.call("detections disallow", detection=args.name, entity=args.entity)
    if args.json:
        print_json(done)
    else:
        print(f"{args.name} looks at {args.entity} again")
    return 0


def _allowed(args: argparse.Namespace, session: Session) -> int:
    print_rows(session.call("detections allowed"), _ALLOWED_COLUMNS, as_json=args.json, empty="nothing is left alone")
    return 0
