from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jackstop.detections import catalogue
from jackstop.detections.catalogue import shipped


@pytest.fixture
def only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with one detection, which the test may change."""
    for name in ("checker_probe.sql", "checker_probe.yaml"):
        (tmp_path / name).write_text((catalogue.HERE / name).read_text())
    monkeypatch.setattr(catalogue, "shipped", lambda: catalogue.load(tmp_path))
    return tmp_path


def test_list_shows_what_there_is_and_what_is_off(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_DETECTIONS_OFF", "odd_client")
    rows = bare.ok("detections", "list", "--json").json
    assert [row["name"] for row in rows] == list(shipped())
    assert [row["name"] for row in rows if row["off"]] == ["odd_client"]
    assert {"id", "title", "severity", "response", "window", "cadence", "needs"} <= rows[0].keys()
    shown = bare.ok("detections", "list").out
    assert "LJ-008" in shown
    assert " off " in shown


def test_show_explains_a_detection(bare: Any) -> None:
    shown = bare.ok("detections", "show", "checker_probe").out
    detection = shipped()["checker_probe"]
    assert detection.sql.rstrip() in shown
    assert "Known false positives:" in shown
    assert "LJ-002" in shown
    described = bare.ok("detections", "show", "checker_probe", "--json").json
    assert described["severity"] == "high"
    assert described["sql"] == detection.sql.rstrip()
    assert "tests" not in described


def test_show_translates_for_another_engine(bare: Any) -> None:
    assert "ts - ts % 300000000" in bare.ok("detections", "show", "checker_probe", "--dialect", "spark").out
    for dialect in ("duckdb", "postgres", "bigquery"):
        assert "probe:" in bare.ok("detections", "show", "checker_probe", "--dialect", dialect).out
    ran = bare("detections", "show", "checker_probe", "--dialect", "cobol")
    assert (ran.status, ran.out) == (2, "")
    assert "no dialect 'cobol'" in ran.err


@pytest.mark.parametrize("command", ["show", "test"])
def test_a_name_that_there_is_not(bare: Any, command: str) -> None:
    ran = bare("detections", command, "nothing")
    assert ran.status == 2
    assert "there is no detection 'nothing'" in ran.err
    assert "detections list" in ran.err


def test_test_runs_one_or_all(bare: Any, only_one: Path) -> None:
    assert "checker_probe: one probe is enough: ok" in bare.ok("detections", "test", "checker_probe").out
    path = only_one / "checker_probe.yaml"
    path.write_text(path.read_text().replace("count: 4", "count: 5"))
    ran = bare("detections", "test")
    assert ran.status == 1
    assert (
        "checker_probe: counted by key and five minutes: failed\n  count is 4, expected 5, in {entity: key:k1"
        in ran.out
    )
    rows = bare("detections", "test", "--json").json
    assert [bool(row["problem"]) for row in rows].count(True) == 1


def test_test_says_what_was_found_instead(bare: Any, only_one: Path) -> None:
    (only_one / "checker_probe.sql").write_text("SELECT 'x' AS entity, 1 AS first_seen, 1 AS last_seen, 2 AS count")
    assert "1 found: {entity: x, count: 2" in bare("detections", "test").out
    (only_one / "checker_probe.sql").write_text("SELECT nothing")
    assert "the SQL fails: " in bare("detections", "test").out


def test_allow_and_disallow(shell: Any) -> None:
    key = shell.ok("key", "issue", "--owner", "a@example.com", "--name", "n", "--json").json["id"]
    said = shell.ok("detections", "allow", "odd_client", f"key:{key}", "--reason", "ours").out
    assert f"odd_client leaves key:{key} alone until `jackstop detections disallow" in said
    shell.ok("detections", "allow", "*", "owner:a@example.com", "--reason", "away", "--until", "7d")
    rows = shell.ok("detections", "allowed", "--json").json
    assert [(row["detection"], row["entity"], row["reason"]) for row in rows] == [
        ("odd_client", f"key:{key}", "ours"),
        ("*", "owner:a@example.com", "away"),
    ]
    assert rows[0]["until_us"] is None
    assert rows[1]["until_us"] - rows[1]["created_us"] == 7 * 86_400_000_000
    assert "taken back" in shell.ok("detections", "allowed").out
    # What is said again replaces what was said before.
    done = shell.ok("detections", "allow", "odd_client", f"key:{key}", "--reason", "a week", "--until", "7d", "--json")
    assert done.json["reason"] == "a week"
    shell.ok("detections", "disallow", "*", "owner:a@example.com")
    assert [row["reason"] for row in shell.ok("detections", "allowed", "--json").json] == ["a week"]
    assert shell.ok("audit", "verify").status == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("nothing", "*", "--reason", "r"), "no detection 'nothing'"),
        (("odd_client", "key:nobody", "--reason", "r"), "there is no key nobody"),
        (("odd_client", "somebody", "--reason", "r"), "is no scope"),
        (("odd_client", "*", "--reason", "r", "--until", "soon"), "not a span of time"),
    ],
)
def test_what_cannot_be_allowed(shell: Any, args: tuple[str, ...], says: str) -> None:
    ran = shell("detections", "allow", *args)
    assert ran.status == 2
    assert says in ran.err
    assert shell.ok("detections", "allowed").out == "nothing is left alone\n"


def test_what_was_not_allowed_cannot_be_taken_back(shell: Any) -> None:
    ran = shell("detections", "disallow", "odd_client", "*")
    assert ran.status == 2
    assert "does not leave" in ran.err
