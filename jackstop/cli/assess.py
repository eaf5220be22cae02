"""`jackstop assess`: a read-only first look at logs and providers' organisations, before any traffic is routed."""

from __future__ import annotations

import argparse
import getpass
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from jackstop.cases.finding import SEVERITIES
from jackstop.cli.hunt import check_output, output
from jackstop.cli.output import Columns, Subparsers, command, moment, print_rows
from jackstop.cli.session import Session
from jackstop.clock import SystemClock
from jackstop.errors import UserError
from jackstop.secret import Secret

if TYPE_CHECKING:
    from jackstop.hunt.assess import Account, Assessment, Vendor

FORMATS = ("table", "json", "html")
_DAYS = 30
_MOST_DAYS = 90
_VARIABLES: dict[Vendor, str] = {"openai": "OPENAI_ADMIN_KEY", "anthropic": "ANTHROPIC_ADMIN_KEY"}
"""Where the vendors' own SDKs look for an administration key."""

_COLUMNS: Columns = (
    ("KEY", lambda row: row["name"] or row["id"]),
    ("PROVIDER", lambda row: row["provider"]),
    ("KIND", lambda row: row["kind"]),
    ("PLACE", lambda row: row["place"]),
    ("OWNER", lambda row: row["owner"]),
    ("STATE", lambda row: row["state"]),
    ("MADE", lambda row: moment(row["created_us"])[:10]),
    ("LAST USED", lambda row: moment(row["last_used_us"])[:10] or ("never" if row["never_used"] else "")),
    ("EXPIRES", lambda row: moment(row["expires_us"])[:10] or "never"),
    ("NOTE", lambda row: "; ".join(row["notes"])),
)


def register(commands: Subparsers) -> None:
    """Add the command."""
    made = command(
        commands, "assess", _assess, "take a read-only first look, before any traffic is routed", with_json=False
    )
    made.add_argument("paths", metavar="PATH", nargs="*", help="logs: files, folders or s3://bucket/prefix")
    for vendor, variable in _VARIABLES.items():
        made.add_argument(
            f"--{vendor}",
            action="store_true",
            help=f"read the organisation with the admin key in {variable}, or ask for it",
        )
        made.add_argument(f"--{vendor}-url", metavar="URL", help="where its API is, if not where everyone's is")
    made.add_argument(
        "--days", type=int, default=_DAYS, metavar="N", help=f"how far back to read usage; default: {_DAYS}"
    )
    made.add_argument("--format", choices=FORMATS, default="table", help="default: table, for people")
    made.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    made.add_argument("--output", metavar="FILE", help="default: standard output")
    made.add_argument("--fail-on", metavar="SEVERITY", choices=(*SEVERITIES, "blind"), help="as with `jackstop hunt`")


def _assess(args: argparse.Namespace, session: Session) -> int:
    from jackstop.hunt.assess import NEEDS, assess
    from jackstop.hunt.run import Asked

    wanted: list[Vendor] = [vendor for vendor in _VARIABLES if getattr(args, vendor)]
    if not args.paths and not wanted:
        for source, needs in NEEDS.items():
            _say(f"{source}:", *(f"  {need}" for need in needs))
        raise UserError(
            "there is nothing to look at", "name logs, or add --openai or --anthropic; each needs the above", 2
        )
    if not 1 <= args.days <= _MOST_DAYS:
        raise UserError(f"{args.days} days is no span to look at", f"ask for 1 to {_MOST_DAYS}", 2)
    check_output(args)
    accounts = [_account(vendor, getattr(args, f"{vendor}_url"), NEEDS) for vendor in wanted]
    found = assess(args.paths, accounts, session.home, SystemClock(), days=args.days, told=_say, asked=Asked())
    with output(args.output) as out:
        _WRITERS[args.format](found, out)
    unread = bool(found.gaps) and args.fail_on == "blind"
    return max(int(unread), found.hunted.status(args.fail_on) if found.hunted else 0)


def _account(vendor: Vendor, url: str | None, needs: Mapping[str, Sequence[str]]) -> Account:
    from jackstop.hunt.assess import Account
    from jackstop.providers import drivers

    name = "OpenAI" if vendor == "openai" else "Anthropic"
    _say(f"{name} needs, to be read and no more:", *(f"  {need}" for need in needs[name]))
    text = os.environ.get(_VARIABLES[vendor], "")
    if not text and sys.stdin.isatty():
        text = getpass.getpass(f"admin key of {name} (not shown): ")
    if not text.strip():
        raise UserError(f"there is no admin key for {name}", f"put it into the variable {_VARIABLES[vendor]}", 2)
    return Account(vendor, url or drivers.driver(vendor).base_url, Secret(text.strip()))


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


# -- outputs ---------------------------------------------------------------------------------------------------------


def _rows(found: Assessment) -> list[dict[str, Any]]:
    import msgspec

    return [{**msgspec.to_builtins(each.key), "age_days": each.age_days, "idle_days": each.idle_days,
             "notes": list(each.notes)} for each in found.keys]  # fmt: skip


def _write_table(found: Assessment, out: TextIO) -> None:
    from jackstop.hunt.report.text import lines

    if found.keys:
        rows = sorted(_rows(found), key=lambda row: (not row["notes"], row["provider"], row["place"], row["name"]))
        with redirect_stdout(out):
            print_rows(rows, _COLUMNS, as_json=False, empty="")
        out.write("\n")
    out.writelines(
        f"not read at {gap.provider}: {gap.what}: {gap.problem}\n  needs {gap.needs}\n" for gap in found.gaps
    )
    if found.hunted is not None:
        width = shutil.get_terminal_size((100, 0)).columns
        out.writelines(f"{line}\n" for line in lines(found.hunted, width))


def _write_json(found: Assessment, out: TextIO) -> None:
    import json

    from jackstop.hunt.report.result import as_json

    hunted = as_json(found.hunted) if found.hunted is not None else None
    unread = [gap._asdict() for gap in found.gaps]
    json.dump({"keys": _rows(found), "not_read": unread, "hunt": hunted}, out, indent=2)
    out.write("\n")


def _write_html(found: Assessment, out: TextIO) -> None:
    from jackstop.hunt.report.html import page

    if found.hunted is None:
        raise UserError("no log and no usage could be read, so that there is nothing to report", "see `--format table`")
    out.write(page(found.hunted, keys=found.keys, unread=found.gaps))


_WRITERS = {"table": _write_table, "json": _write_json, "html": _write_html}
