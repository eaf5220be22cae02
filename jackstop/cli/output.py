"""How results are printed: aligned tables and lines for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jackstop.clock import iso
from jackstop.errors import UserError
from jackstop.money import format_usd

Subparsers = Any
"""What `add_subparsers` returns; argparse keeps its type private."""

_MOST = (1 << 63) - 1

Columns = Sequence[tuple[str, Callable[[dict[str, Any]], object]]]


def command(
    commands: Subparsers, name: str, run: Callable[..., int], help_text: str, *, with_json: bool = True
) -> argparse.ArgumentParser:
    """Add a command that ends in `run(args, session)`; with `--json` where it prints data."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", allow_abbrev=False
    )
    made.set_defaults(run=run)
    if with_json:
        made.add_argument("--json", action="store_true", help="print JSON")
    return made


def group(commands: Subparsers, name: str, help_text: str) -> Subparsers:
    """Add a group of commands, such as `key`."""
    made = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    return made.add_subparsers(title="commands", metavar="COMMAND", required=True)


def number(text: str) -> int:
    """The number of a row, for argparse. Raises ValueError for what no row can have."""
    if not (text.isascii() and text.isdigit()) or (found := int(text)) > _MOST:
        raise ValueError(text)
    return found


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Options written as NAME=VALUE. Raises UserError for one without a value."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"{text} has no value", "write it as NAME=VALUE", 2)
        found[name] = value
    return found


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    print(json.dumps(value, indent=2))


def print_rows(rows: Iterable[dict[str, Any]], columns: Columns, *, as_json: bool, empty: str) -> None:
    """Rows as they come as a JSON array, or all of them as a table; `empty` is said when there are none."""
    if as_json:
        _stream_json(rows)
        return
    lines = [[_text(cell(row)) for _, cell in columns] for row in rows]
    if not lines:
        print(empty)
        return
    heads = [head for head, _ in columns]
    widths = [max(len(line[place]) for line in (heads, *lines)) for place in range(len(heads))]
    for line in (heads, *lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _stream_json(rows: Iterable[dict[str, Any]]) -> None:
    first = True
    for row in rows:
        sys.stdout.write(("[\n " if first else ",\n ") + json.dumps(row))
        first = False
    sys.stdout.write("[]\n" if first else "\n]\n")


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; what is not known is left out."""
    shown = [(name, _text(value)) for name, value in facts if value not in {None, ""}]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name.ljust(width)}  {value}")


def moment(us: int | None) -> str:
    """A time to the second, "" for none."""
    return iso(us)[:19] + "Z" if us else ""


def usd(nusd: int | None) -> str:
    """Money, "" where it does not apply."""
    return "" if nusd is None else format_usd(nusd)


def _text(value: object) -> str:
    """A cell without control characters: names come from people, and a terminal obeys what it is sent."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(char if char.isprintable() else "?" for char in str(value))
