"""The engine, with detections made for the test."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from jackstop.cases.finding import Finding, uid_of
from jackstop.detections.catalogue import load
from jackstop.detections.engine import Engine
from jackstop.detections.testing import START_US, add_events, fill, kept
from jackstop.events.schema import Event

MINUTE_US = 60_000_000
COUNTS = """
SELECT 'key:' || key_id AS entity, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count,
  CASE WHEN COUNT(*) >= 100 THEN 'high' END AS severity, MIN(model_asked) AS model, MIN(owner) AS cause
FROM events WHERE reason = '{reason}' GROUP BY key_id, ts - mod(ts, 300000000)
"""
TOGETHER = """
SELECT entity, MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen, COUNT(DISTINCT detection) AS count
FROM findings WHERE detection IN ('one', 'two') GROUP BY entity HAVING COUNT(DISTINCT detection) >= 2
"""
YAML = """
id: JS-000
title: Title
meaning: Meaning.
severity: {severity}
attack: [T1526]
atlas: []
sources: [gate]
window: {window}
cadence: {cadence}
response: note
false_positives: []
what_to_do: []
references: []
tests: []
"""


class Bench:
    """A folder of detections, tables to run them on, and the engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables = kept()
        self.write("one", COUNTS.format(reason="one"))
        self.write("two", COUNTS.format(reason="two"))
        self.write("all_of_them", TOGETHER, severity="critical", window="1h")
        self.engine = Engine(load(folder))

    def write(self, name: str, sql: str, *, severity: str = "medium", window: str = "5m", cadence: str = "5s") -> None:
        (self.folder / f"{name}.sql").write_text(sql)
        (self.folder / f"{name}.yaml").write_text(YAML.format(severity=severity, window=window, cadence=cadence))

    def add(self, reason: str, at_us: int, n: int = 1, **columns: Any) -> None:
        event = Event(ts=START_US + at_us, reason=reason, **{"key_id": "k1", "model_asked": "m", **columns})
        add_events(self.tables, [event] * n)

    def cycle(self, at_us: int, oldest_us: int | None = 0) -> list[Finding]:
        since_us = START_US + oldest_us if oldest_us else oldest_us
        return self.engine.cycle(self.tables, START_US + at_us, since_us)

    def table(self) -> list[tuple[Any, ...]]:
        return self.tables.execute("SELECT detection, entity, count FROM findings ORDER BY ALL").fetchall()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_finding_is_told_once(bench: Bench) -> None:
    bench.add("one", 7, owner="o")
    (found,) = bench.cycle(10)
    assert found == Finding(
        uid=uid_of("one", "key:k1", START_US),
        detection="one",
        severity="medium",
        entity="key:k1",
        first_seen=START_US + 7,
        last_seen=START_US + 7,
        count=1,
        evidence={"model": "m"},
        cause="o",
        response="note",
    )
    assert bench.cycle(MINUTE_US) == []
    assert bench.table() == [("one", "key:k1", 1)]


def test_what_there_are_no_events_of_is_not_run(bench: Bench) -> None:
    text = (bench.folder / "two.yaml").read_text().replace("sources: [gate]", "sources: [cloudtrail, gate_of_others]")
    (bench.folder / "two.yaml").write_text(text)
    bench.add("one", 0)
    bench.add("two", 0)
    of_the_gate = Engine(load(bench.folder), off=["two"], sources=frozenset({"gate"}))
    assert [each.detection for each in of_the_gate.once(bench.tables)] == ["one"]
    of_everything = Engine(load(bench.folder))
    assert [each.detection for each in of_everything.once(bench.tables)] == ["one", "two", "all_of_them"]


def test_it_is_told_again_when_it_has_grown(bench: Bench) -> None:
    bench.add("one", 0, 10)
    assert [each.count for each in bench.cycle(0)] == [10]
    bench.add("one", 1, 9)
    assert bench.cycle(10_000_000) == []
    bench.add("one", 2)
    assert [each.count for each in bench.cycle(20_000_000)] == [20]
    bench.add("one", MINUTE_US + 1)
    assert bench.cycle(2 * MINUTE_US) == []
    bench.add("one", MINUTE_US + 2)
    assert [each.count for each in bench.cycle(3 * MINUTE_US)] == [22]
    bench.add("one", 3, 21)
    assert bench.cycle(4 * MINUTE_US) == []
    bench.add("one", 3, 56)
    assert [(each.count, each.severity) for each in bench.cycle(5 * MINUTE_US)] == [(99, "medium")]
    bench.add("one", 3)
    assert [(each.count, each.severity) for each in bench.cycle(6 * MINUTE_US)] == [(100, "high")]


def test_it_never_takes_anything_back(bench: Bench) -> None:
    bench.add("one", 5, 100)
    bench.cycle(10)
    bench.tables.execute("DELETE FROM events")
    bench.add("one", 1, 3, model_asked="other")
    assert bench.cycle(MINUTE_US) == []
    (found,) = bench.engine.found
    assert (found.severity, found.count, found.evidence) == ("high", 100, {"model": "m"})
    assert (found.first_seen, found.last_seen) == (START_US + 1, START_US + 5)


def test_what_puts_findings_together_comes_last_and_in_the_same_cycle(bench: Bench) -> None:
    bench.add("one", 0)
    bench.add("two", 0)
    assert [each.detection for each in bench.cycle(0)] == ["one", "two", "all_of_them"]
    assert [row[0] for row in bench.table()] == ["all_of_them", "one", "two"]


def test_only_what_is_due_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write("two", COUNTS.format(reason="two"), cadence="1m")
    bench.engine = Engine(load(tmp_path))
    bench.cycle(0)
    bench.add("one", 1)
    bench.add("two", 1)
    assert [each.detection for each in bench.cycle(30_000_000, 1)] == ["one"]
    assert bench.cycle(31_000_000, None) == []
    # It has not looked at that event yet, whatever came in since.
    assert [each.detection for each in bench.cycle(MINUTE_US, 59_000_000)] == ["two", "all_of_them"]
    spent = bench.engine.spent
    assert (spent["one"].runs, spent["two"].runs) == (3, 2)
    assert spent["one"].us >= spent["one"].longest_us > 0


def test_windows_that_ended_before_the_oldest_news_are_left_alone(bench: Bench) -> None:
    bench.cycle(0)
    bench.add("one", MINUTE_US)
    bench.add("one", 6 * MINUTE_US)
    assert [each.first_seen - START_US for each in bench.cycle(7 * MINUTE_US, 6 * MINUTE_US)] == [6 * MINUTE_US]
    assert bench.cycle(8 * MINUTE_US, None) == []
    assert [each.first_seen - START_US for each in bench.cycle(9 * MINUTE_US, 4 * MINUTE_US)] == [MINUTE_US]


def test_a_late_event_is_counted_with_all_of_its_window(bench: Bench) -> None:
    bench.add("one", 0, 99)
    bench.cycle(0)
    bench.add("one", MINUTE_US)
    assert [(each.count, each.severity) for each in bench.cycle(2 * MINUTE_US, MINUTE_US)] == [(100, "high")]


def test_what_fails_stops_nothing_else_and_is_logged_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write("broken", "SELECT nothing FROM events")
    bench.write("odd", "SELECT 'key:k1' AS entity, 1 AS first_seen, 1 AS last_seen, 1 AS count, 'dire' AS severity")
    bench.write("short", "SELECT 'key:k1' AS entity")
    bench.engine = Engine(load(bench.folder))
    bench.add("one", 0)
    with caplog.at_level(logging.ERROR):
        assert [each.detection for each in bench.cycle(0)] == ["one"]
        bench.cycle(10_000_000)
    assert sorted(record.args[0] for record in caplog.records) == ["broken", "odd", "short"]
    assert bench.engine.spent["broken"].failures == 2


def test_what_failed_looks_at_what_it_missed(bench: Bench) -> None:
    bench.cycle(0)
    bench.add("one", MINUTE_US)
    bench.tables.execute("ALTER TABLE events RENAME reason TO other")
    assert bench.cycle(2 * MINUTE_US, MINUTE_US) == []
    bench.tables.execute("ALTER TABLE events RENAME other TO reason")
    assert [each.detection for each in bench.cycle(20 * MINUTE_US, None)] == ["one"]


def test_what_is_interrupted_is_no_failure_of_the_detection(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[Finding]:
        raise duckdb.InterruptException

    monkeypatch.setattr("jackstop.detections.engine.findings_of", interrupted)
    with pytest.raises(duckdb.InterruptException):
        bench.cycle(0)


@pytest.mark.parametrize(
    "row",
    [
        {"detection": "one", "entity": "key:k1"},
        {"detection": "*", "entity": "key:k1"},
        {"detection": "one", "entity": "*"},
        {"detection": "one", "entity": "key:k1", "until_ts": START_US + 1},
    ],
)
def test_what_is_allowed_is_not_found(bench: Bench, row: dict[str, Any]) -> None:
    fill(bench.tables, "allow", [row])
    bench.add("one", 0)
    assert bench.cycle(0) == []
    assert bench.table() == []


@pytest.mark.parametrize(
    "row",
    [
        {"detection": "two", "entity": "key:k1"},
        {"detection": "one", "entity": "key:k2"},
        {"detection": "one", "entity": "key:k1", "until_ts": START_US},
    ],
)
def test_what_is_allowed_otherwise_is_found(bench: Bench, row: dict[str, Any]) -> None:
    fill(bench.tables, "allow", [row])
    bench.add("one", 0)
    assert len(bench.cycle(0)) == 1


def test_what_is_off_does_not_run(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        bench.engine = Engine(load(bench.folder), ("one", "tow"))
    assert [record.args for record in caplog.records] == [("tow",)]
    bench.add("one", 0)
    bench.add("two", 0)
    assert [each.detection for each in bench.cycle(0)] == ["two"]


def test_findings_are_forgotten_after_two_days(bench: Bench) -> None:
    bench.add("one", 0)
    bench.cycle(0)
    bench.tables.execute("DELETE FROM events")
    bench.cycle(2 * 1440 * MINUTE_US)
    assert len(bench.table()) == 1
    bench.cycle(2 * 1440 * MINUTE_US + 10_000_000)
    assert (bench.table(), bench.engine.found) == ([], [])


def test_what_was_reported_before_a_restart_is_not_told_again(bench: Bench) -> None:
    bench.add("one", 0, 10)
    bench.cycle(0)
    names = ("detection", "severity", "entity", "first_seen", "last_seen", "count")
    rows = [{name: getattr(each, name) for name in names} for each in bench.engine.found]
    again = Engine(load(bench.folder))
    again.restore(bench.tables, [*rows, {**rows[0], "detection": "gone"}])
    assert bench.table() == [("one", "key:k1", 10)]
    assert again.cycle(bench.tables, START_US) == []
    bench.add("two", 0)
    assert [each.detection for each in again.cycle(bench.tables, START_US + MINUTE_US)] == ["two", "all_of_them"]


def test_one_look_at_everything(bench: Bench) -> None:
    bench.add("one", 0, 3)
    bench.add("two", 6 * MINUTE_US)
    assert [(each.detection, each.count) for each in bench.engine.once(bench.tables)] == [
        ("one", 3),
        ("two", 1),
        ("all_of_them", 2),
    ]


@pytest.mark.parametrize("rewrite", [1, 1_000])
def test_the_table_of_findings_follows_each_change(bench: Bench, monkeypatch: pytest.MonkeyPatch, rewrite: int) -> None:
    monkeypatch.setattr("jackstop.detections.engine._REWRITE_ROWS", rewrite)
    bench.add("one", 0)
    bench.add("one", 6 * MINUTE_US, key_id="k2")
    bench.cycle(0)
    for number in range(3):
        bench.add("one", number)
        bench.cycle((number + 1) * 10_000_000)
        assert bench.table() == [("one", "key:k1", number + 2), ("one", "key:k2", 1)]


def test_what_has_one_cadence_is_not_due_all_at_once(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.sql").write_text(COUNTS.format(reason=name))
        (tmp_path / f"{name}.yaml").write_text(YAML.format(severity="low", window="5m", cadence="1m"))
    engine, tables = Engine(load(tmp_path)), kept()
    runs = []
    for number in range(37):
        engine.cycle(tables, START_US + number * 5_000_000)
        runs.append(sum(spent.runs for spent in engine.spent.values()))
    assert runs[0] == 3
    assert runs[-1] == 3 + 9
    assert max(after - before for before, after in pairwise(runs)) == 1


def test_a_step_is_what_is_looked_at_again(tmp_path: Path) -> None:
    text = YAML.format(severity="low", window="1h", cadence="5s")
    bench = Bench(tmp_path)
    (tmp_path / "one.yaml").write_text(text.replace("window: 1h", "window: 1h\nstep: 5m"))
    bench.engine = Engine({"one": load(tmp_path)["one"]})
    bench.cycle(0)
    bench.add("one", MINUTE_US)
    bench.add("one", 6 * MINUTE_US)
    (found,) = bench.cycle(7 * MINUTE_US, 6 * MINUTE_US)
    assert (found.first_seen - START_US, found.count) == (6 * MINUTE_US, 1)


def test_what_a_description_asks_for_is_not_for_worse_than_its_own_severity(bench: Bench) -> None:
    bench.add("one", 0, n=99)
    assert [(each.severity, each.response) for each in bench.cycle(5_000_000)] == [("medium", "note")]
    bench.add("one", 0)
    assert [(each.severity, each.response) for each in bench.cycle(10_000_000)] == [("high", "")]
