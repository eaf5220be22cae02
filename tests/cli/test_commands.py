from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackstop.cli.config_file import EXPLAINED, render
from jackstop.cli.main import parser
from jackstop.control import client
from jackstop.control.commands import names
from jackstop.settings import Home, Settings, load

SECRET = "sk-upstream-secret-0123456789"


def leaves(top: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield " ".join(path), top
    for action in inner:
        for name, each in action.choices.items():
            yield from leaves(each, (*path, name))


LEAVES = dict(leaves(parser()))
DOCS = Path(__file__).parents[2] / "docs"


def test_init_makes_a_home_for_its_owner_alone(shell: Any) -> None:
    home = shell.home
    for path in (home.root, home.run, home.journal, home.lake, home.logs):
        assert path.stat().st_mode & 0o777 == 0o700
    for path in (home.config, home.kek, home.database):
        assert path.stat().st_mode & 0o777 == 0o600
    assert shell.ok("people", "list", "--json").json[0]["role"] == "admin"


def test_init_again_changes_nothing(shell: Any) -> None:
    shell.home.config.write_text('mode = "enforce"\n')
    kek = shell.home.kek.read_bytes()
    made = shell.ok("key", "issue", "--owner", "a@example.com", "--name", "n", "--json").json
    assert shell.ok("init", "--json").json["fresh"] is False
    assert shell.home.kek.read_bytes() == kek
    assert load(shell.home).mode == "enforce"
    assert shell.ok("key", "show", made["id"], "--json").json["state"] == "live"
    assert shell.ok("audit", "verify").status == 0


def test_init_takes_a_key_from_the_environment(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_VAULT_BACKEND", "env")
    ran = bare("init")
    assert ran.status == 3
    assert "JACKSTOP_KEK" in ran.err
    monkeypatch.setenv("JACKSTOP_KEK", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    bare.ok("init")
    assert not bare.home.kek.exists()


def test_the_settings_file_shows_every_default(shell: Any) -> None:
    text = shell.home.config.read_text()
    assert text == render()
    assert load(shell.home) == Settings()
    shell.home.config.write_text(re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE))
    assert load(shell.home) == Settings()


def test_every_setting_is_explained_and_no_other() -> None:
    shown = set()
    for name in Settings.__struct_fields__:
        value = getattr(Settings(), name)
        fields = getattr(value, "__struct_fields__", None)
        shown |= {f"{name}.{field}" for field in fields} if fields else {name}
    assert shown == set(EXPLAINED)


def test_key_issue_prints_the_key_and_its_id(shell: Any) -> None:
    ran = shell.ok("key", "issue", "--owner", "app@example.com", "--name", "app", "--budget", "1usd/day", "--json")
    assert re.fullmatch(r"jsk_1\w{12}_\w{33}", ran.json["key"])
    assert ran.json["id"] in ran.json["key"]
    plain = shell.ok("key", "issue", "--owner", "app@example.com", "--name", "app").out.splitlines()
    assert re.fullmatch(r"jsk_1\w{12}_\w{33}", plain[0])


def test_the_life_of_a_key(shell: Any) -> None:
    key = shell.ok(
        "key", "issue", "--owner", "a@example.com", "--name", "n", "--team", "red", "--provider", "openai",
        "--model", "gpt-4o*", "--network", "10.0.0.0/8", "--network", "2001:db8::/32", "--budget", "5usd/day",
        "--budget", "1000tokens/hour", "--rate", "60req/min", "--concurrency", "4", "--max-output", "100",
        "--expires", "30d", "--mode", "observe", "--json",
    ).json["id"]  # fmt: skip
    shown = shell.ok("key", "show", key, "--json").json
    assert shown["policy"]["networks"] == ["10.0.0.0/8", "2001:db8::/32"]
    assert len(shown["limits"]) == 4
    assert "10.0.0.0/8, 2001:db8::/32" in shell.ok("key", "show", key).out
    for command, state in (("throttle", "live"), ("quarantine", "quarantined"), ("release", "live")):
        shell.ok("key", command, key, "--reason", "a test")
        assert shell.ok("key", "list", "--json").json[0]["state"] == state
    assert shell.ok("key", "rotate", key, "--grace", "1h", "--json").json["id"] == key
    shell.ok("key", "revoke", key)
    assert shell("key", "release", key).status == 2
    assert "revoked" in shell.ok("key", "list").out


def test_the_life_of_a_credential(shell: Any) -> None:
    shell.ok("credential", "add", "main", "--provider", "openai", "--base-url", "http://127.0.0.1:9/v1", stdin=SECRET)
    assert shell.ok("credential", "list", "--json").json[0]["base_url"] == "http://127.0.0.1:9"
    shell.ok("credential", "check")
    assert "next:" in shell.ok("credential", "rotate", "main", stdin="sk-fresh\n").out
    assert "contained" in shell.ok("credential", "contain", "main").out
    assert shell.ok("credential", "retire", "main", "--json").json["state"] == "retired"
    assert shell("credential", "add", "x", "--provider", "openai").status == 2


def test_budgets(shell: Any) -> None:
    shell.ok("team", "add", "red")
    shell.ok("budget", "set", "team:red", "5usd/day")
    (row,) = shell.ok("budget", "show", "--json").json
    assert {"scope", "window", "limit_nusd", "settled_nusd", "held_nusd", "leased_nusd"} <= set(row)
    assert "5.00 usd" in shell.ok("budget", "show").out
    assert shell.ok("budget", "holds", "--json").json == []
    assert shell("budget", "release", "x", "--reason", "y").status == 2
    shell.ok("budget", "set", "team:red", "none")
    assert shell.ok("budget", "show", "--json").json == []


def test_an_audit_checkpoint_moves_forward_and_shows_a_truncation(shell: Any, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shell.ok("audit", "verify", "--checkpoint", str(checkpoint))
    first = json.loads(checkpoint.read_text())
    backup = shell.home.database.read_bytes()
    shell.ok("team", "add", "red")
    shell.ok("audit", "verify", "--checkpoint", str(checkpoint))
    assert json.loads(checkpoint.read_text())["seq"] == first["seq"] + 1
    shell.home.database.write_bytes(backup)
    ran = shell("audit", "verify", "--checkpoint", str(checkpoint), "--json")
    assert ran.status == 1
    assert ran.json["broken_seq"] == first["seq"] + 1
    assert json.loads(checkpoint.read_text())["seq"] == first["seq"] + 1
    assert shell.ok("audit", "verify").status == 0


def test_the_key_encryption_key_rotates(shell: Any) -> None:
    shell.ok("credential", "add", "main", "--provider", "openai", stdin=SECRET)
    before = shell.home.kek.read_bytes()
    assert shell.ok("vault", "rotate-kek", "--json").json["rewrapped"] == 2
    assert shell.home.kek.read_bytes() != before
    shell.ok("credential", "check")


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ((), 2),
        (("nonsense",), 2),
        (("key",), 2),
        (("key", "issue"), 2),
        (("key", "issue", "--own", "a@example.com", "--name", "n"), 2),
        (("key", "issue", "--owner", "a@example.com", "--name", "n", "--budget", "5"), 2),
        (("key", "show", "000000000000"), 2),
        (("budget", "set", "org", "5usd"), 2),
        (("budget", "release", "x"), 2),
        (("up", "--workers", "0"), 2),
        (("events", "export", "--format", "xml"), 2),
        (("events", "export", "--since", "yesterday"), 2),
        (("reload",), 3),
    ],
    ids=str,
)
def test_wrong_use_is_two_lines_on_standard_error(shell: Any, args: tuple[str, ...], status: int) -> None:
    ran = shell(*args)
    assert ran.status == status
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("args", [("key", "list"), ("up",), ("doctor",), ("credential", "check"), ("reload",)], ids=str)
def test_without_a_home_the_remedy_is_init(bare: Any, args: tuple[str, ...]) -> None:
    ran = bare(*args)
    assert ran.status in {1, 3}
    assert "jackstop init" in ran.out + ran.err or "jackstop up" in ran.err


def test_what_nobody_foresaw_is_one_line_and_a_log(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "distinctive-secret"

    def fail(*_args: Any) -> None:
        raise ZeroDivisionError(text)

    monkeypatch.setattr(client, "call", fail)
    ran = shell("key", "list")
    assert ran.status == 3
    assert "Traceback" not in ran.err
    assert "distinctive-secret" not in ran.err
    log = shell.home.logs / "cli.log"
    assert str(log) in ran.err
    assert "ZeroDivisionError" in log.read_text()
    assert "distinctive-secret" not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_names_from_people_cannot_steer_the_terminal(shell: Any) -> None:
    ran = shell("key", "issue", "--owner", "a@example.com", "--name", "x\x1b]0;y")
    assert ran.status == 2
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_every_command_explains_itself(name: str, bare: Any) -> None:
    ran = bare(*name.split(), "--help")
    assert ran.status == 0
    assert f"jackstop {name}" in ran.out


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_every_command_and_option_is_documented(name: str) -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert f"jackstop {name}" in page
    for action in LEAVES[name]._actions:
        for option in action.option_strings:
            if option.startswith("--") and option not in {"--help", "--json"}:
                assert option in page, option


def test_commands_have_a_name_that_the_command_line_uses() -> None:
    assert "key issue" in names()
    assert len(names()) == len(set(names()))


def test_a_reader_who_leaves_early_is_no_error(shell: Any) -> None:
    environment = {**os.environ, "JACKSTOP_HOME": str(shell.home.root)}
    line = f"{sys.executable} -m jackstop key issue --help | true; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in ran.stderr
    assert "Broken" not in ran.stderr


def test_the_command_line_starts_without_the_database_and_the_gate() -> None:
    code = (
        "import sys; from jackstop.cli.main import parser; parser();"
        "heavy = {'sqlalchemy', 'alembic', 'pyarrow', 'uvloop', 'cryptography'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_home_as_deep_as_paths_go_has_a_control_socket(tmp_path: Path) -> None:
    deep = tmp_path
    while len(str(deep)) < 180:
        deep /= "a" * 20
    home = Home(deep)
    home.create()
    assert client.connect(home) is None


@pytest.mark.postgres
def test_the_store_may_be_postgresql(bare: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.empty()
    monkeypatch.setenv("JACKSTOP_STORE_URL", postgres.url)
    bare.ok("init")
    assert not bare.home.database.exists()
    bare.ok("credential", "add", "main", "--provider", "openai", stdin=SECRET)
    bare.ok("key", "issue", "--owner", "a@example.com", "--name", "n")
    assert len(bare.ok("budget", "show", "--json").json) == 1
    bare.ok("audit", "verify")
    assert "postgresql" in bare("doctor").out
