"""The documentation names everything that there is: settings, commands, routes, reasons, columns, audit tags."""

from __future__ import annotations

import argparse
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jackstop.cli.main import parser
from jackstop.errors import Reason
from jackstop.events.schema import COLUMNS
from jackstop.gate import journal
from jackstop.keys import format as key_format
from jackstop.providers import PROVIDERS
from jackstop.settings import Settings
from jackstop.store.audit import Tag

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def settings() -> Iterator[tuple[str, object]]:
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        if isinstance(value, msgspec.Struct):
            for inner in value.__struct_fields__:
                yield f"{name}.{inner}", getattr(value, inner)
        else:
            yield name, value


@pytest.mark.parametrize(("name", "default"), list(settings()))
def test_every_setting_is_documented_with_its_default(name: str, default: object) -> None:
    shown = (
        list(default) if isinstance(default, tuple) else str(default).lower() if isinstance(default, bool) else default
    )
    text = "empty" if default in {"", ()} else f"`{shown}`"
    assert f"| `{name}` | {text} | " in page("settings")


def test_no_setting_is_documented_that_is_gone() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", page("settings"), re.MULTILINE)
    assert sorted(rows) == sorted(name for name, _ in settings())


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    def walk(current: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        inner = [action for action in current._actions if isinstance(action, argparse._SubParsersAction)]
        if not inner:
            yield path, current
        for action in inner:
            for name, each in action.choices.items():
                yield from walk(each, f"{path} {name}")

    return walk(parser(), "jackstop")


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_command_is_documented_with_its_options(name: str, command: argparse.ArgumentParser) -> None:
    text = page("commands")
    rows = [row for row in re.findall(r"^\| `(jackstop .*?)` \|", text, re.MULTILINE) if re.match(rf"{name}( |$)", row)]
    assert rows
    where = text if name == "jackstop key issue" else rows[0]
    for action in command._actions:
        for option in action.option_strings:
            everywhere = option in {"-h", "--help"} or (option == "--json" and action.metavar is None)
            assert everywhere or option in where, option


def test_every_documented_command_exists() -> None:
    names = [name for name, _ in commands()]
    for row in re.findall(r"^\| `(jackstop .*?)` \|", page("commands"), re.MULTILINE):
        assert any(re.match(rf"{name}( |$)", row) for name in names), row


@pytest.mark.parametrize("reason", typing.get_args(Reason))
def test_every_reason_is_documented(reason: str) -> None:
    assert f"\n| `{reason}` | " in page("reasons")


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_is_documented(column: str) -> None:
    assert f"\n| `{column}` | " in page("events")


@pytest.mark.parametrize("tag", [tag.value for tag in Tag])
def test_every_audit_tag_is_documented(tag: str) -> None:
    assert f"\n| `{tag}` | " in page("audit")


def test_every_journal_record_is_documented_with_its_fields() -> None:
    for record in typing.get_args(journal.Record):
        row = re.search(rf"^\| `{record.__struct_config__.tag}` \|.*$", page("journal"), re.MULTILINE)
        assert row, record
        assert all(f"`{field}`" in row[0] for field in record.__struct_fields__), record


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_route_is_documented(name: str) -> None:
    text, table = page("routes"), PROVIDERS[name]
    for method, path in table._routes:
        assert f"`{method} /{name}{path}`" in text
    for path in table._by_id:
        assert f"`GET /{name}{path}/{{model}}`" in text
    for path in table._unmetered:
        assert f"`/{name}{path}`" in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_gate_s_own_routes_are_documented(path: str) -> None:
    assert f"`GET {path}`" in page("routes")


def test_scanners_are_told_what_a_key_looks_like() -> None:
    assert f"`{key_format.PATTERN}`" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_link_leads_somewhere() -> None:
    for file in [*ROOT.glob("*.md"), *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text(encoding="utf-8")):
            assert target.startswith("http") or (file.parent / target).exists(), f"{file.name}: {target}"
