"""One hunt from end to end: what counts once, which detections run, and what they see of each other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jackstop.clock import SystemClock
from jackstop.detections.catalogue import Detection, shipped
from jackstop.events.analytics import HOUR_US
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import Event
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA
from jackstop.events.usage import Usage
from jackstop.hunt.engines import DetectionFailed
from jackstop.hunt.engines.duckdb import DuckEngine
from jackstop.hunt.report.result import cases_of
from jackstop.sandbox.trails import write
from tests.hunt.conftest import Hunter
from tests.hunt.logs import document, trail

TS = 1_790_000_000_000_000


def part(path: Path, events: list[Event]) -> Path:
    columns = {name: [getattr(event, name) for event in events] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), path)
    return path


def usage_part(path: Path, rows: list[Usage]) -> Path:
    columns = {name: [getattr(row, name) for row in rows] for name in USAGE_SCHEMA.names}
    pq.write_table(pa.table(columns, schema=USAGE_SCHEMA), path)
    return path


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = DuckEngine(scratch)
    yield made
    made.close()
    assert list(scratch.iterdir()) == []


def events(*numbers: int) -> list[Event]:
    return [Event(source="cloudtrail", event_id=f"e{number}", ts=TS + number, account="a") for number in numbers]


# -- the engine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        [(1, 2, 3)],
        [(1, 2), (3,)],
        [(1, 2, 2, 3)],
        [(1, 2, 3), (1, 2, 3)],
        [(1,), (2, 3, 1), (3, 3)],
    ],
)
def test_an_event_that_came_twice_is_there_once(
    engine: DuckEngine, tmp_path: Path, parts: list[tuple[int, ...]]
) -> None:
    files = [part(tmp_path / f"{place}.parquet", events(*numbers)) for place, numbers in enumerate(parts)]
    engine.open(files, [], [])
    assert sorted(engine.rows("SELECT event_id, ts FROM events")) == [(f"e{n}", TS + n) for n in (1, 2, 3)]


def test_a_bucket_that_was_exported_twice_is_one_with_what_came_later(engine: DuckEngine, tmp_path: Path) -> None:
    early = Usage(provider="openai", provider_key_id="k", model="m", bucket=TS, bucket_us=HOUR_US, requests=3)
    late = Usage(provider="openai", provider_key_id="k", model="m", bucket=TS, bucket_us=HOUR_US, requests=5)
    other = Usage(provider="openai", provider_key_id="k", model="n", bucket=TS, bucket_us=HOUR_US, requests=1)
    files = [usage_part(tmp_path / "1.parquet", [late, other]), usage_part(tmp_path / "2.parquet", [early])]
    engine.open([], files, [])
    assert sorted(engine.rows("SELECT model, requests FROM usage")) == [("m", 5), ("n", 1)]


def test_without_parts_every_table_is_there_and_empty(engine: DuckEngine) -> None:
    engine.open([], [], [("bedrock_mantle", "account:a", 0)])
    for table in ("events", "usage", "minutes", "sightings", "baselines", "known", "inventory", "findings"):
        assert engine.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert engine.rows("SELECT * FROM allow") == [("bedrock_mantle", "account:a", 0)]
    for detection in shipped().values():
        assert engine.findings(detection) == []


def detection(sql: str, name: str = "own") -> Detection:
    base = shipped()["bedrock_mantle"]
    tables = frozenset(word for word in ("events", "findings", "minutes") if word in sql)
    return Detection(name, base.about, sql, HOUR_US, HOUR_US, HOUR_US, 0, tables)


def test_a_detection_sees_what_others_found_and_the_minutes_of_keys(engine: DuckEngine, tmp_path: Path) -> None:
    keyed = [Event(key_id="k", event_id=f"e{n}", ts=TS + n, outcome="ok") for n in range(3)]
    engine.open([part(tmp_path / "1.parquet", keyed)], [], [])
    first = detection(
        "SELECT 'key:' || key_id AS entity, MIN(first_ts) AS first_seen, MAX(last_ts) AS last_seen, "
        "SUM(requests) AS count FROM minutes GROUP BY key_id"
    )
    (found,) = engine.findings(first)
    assert (found.entity, found.count) == ("key:k", 3)
    second = detection("SELECT entity, first_seen, last_seen, count FROM findings", "other")
    assert engine.findings(second) == []
    engine.note([found])
    (seen,) = engine.findings(second)
    assert (seen.detection, seen.entity, seen.count) == ("other", "key:k", 3)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nonsense FROM events",
        "SELECT 'a' AS entity FROM events",
        "SELECT 'a' AS entity, 'x' AS first_seen, 1 AS last_seen, 1 AS count FROM events",
        "SELECT 'a' AS entity, 1 AS first_seen, 1 AS last_seen, 1 AS count, 'grave' AS severity FROM events",
    ],
)
def test_a_detection_that_fails_says_why_in_a_line(engine: DuckEngine, tmp_path: Path, sql: str) -> None:
    engine.open([part(tmp_path / "1.parquet", events(1))], [], [])
    with pytest.raises(DetectionFailed) as failed:
        engine.findings(detection(sql))
    assert str(failed.value)
    assert "\n" not in str(failed.value)
    assert engine.rows("SELECT COUNT(*) FROM events") == [(1,)]


def test_what_a_killed_hunt_had_spilled_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "spill-4194399-abc"  # beyond any process id that a Linux gives by default
    left.mkdir()
    (left / "x").write_bytes(b"x")
    DuckEngine(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


# -- a hunt ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_planted_thefts_are_found_and_the_same_files_twice_change_nothing(hunt: Hunter, tmp_path: Path) -> None:
    folder = tmp_path / "trails"
    made = write(folder, records=4_000, until_us=SystemClock().now_us(), days=12, thefts=6)
    once = hunt.json(folder)
    entities = {entity for case in once.json["cases"] for entity in case["entities"]}
    missed = [each.campaign for each in made.planted if f"principal:{each.principal}" not in entities]
    assert missed == []
    shutil.copytree(folder, tmp_path / "again")
    twice = hunt.json(folder, tmp_path / "again")
    assert twice.json["findings"] == once.json["findings"]
    assert twice.json["counts"]["events"] == 2 * once.json["counts"]["events"]


def test_what_ended_before_a_time_is_history_and_no_finding(hunt: Hunter, logs: Path) -> None:
    (logs / "trail.json").write_bytes(document([trail(1, eventName="GetModelInvocationLoggingConfiguration")]))
    assert hunt.json(logs, "--since", "2026-11-20T10:00:00Z").json["findings"]
    later = hunt.json(logs, "--since", "2026-11-20T10:00:01Z").json
    assert later["findings"] == []
    assert later["counts"]["events"] == 1


def test_a_key_of_another_gateway_is_ended_there() -> None:
    from jackstop.cases.finding import Finding
    from jackstop.cases.steps import About

    for source, first in (("litellm_spend", "This key is another gateway's"), ("gate", "Limit the key")):
        found = Finding("1", "many", "high", "key:k1", 1, 2, 1, sources=(source,))
        (case,) = cases_of([found], {"many": About("many", what_to_do=("Limit the key.",), severity="high")})
        assert case.steps[0].startswith(first)


def test_findings_of_one_entity_or_cause_are_one_case() -> None:
    from jackstop.cases.finding import Finding
    from jackstop.cases.steps import About

    def found(uid: str, entity: str, severity: Any, cause: str = "", at: int = 1) -> Finding:
        return Finding(uid, f"d{uid}", severity, entity, at, at + 1, 1, cause=cause)

    findings = [
        found("1", "principal:a", "low", at=5),
        found("2", "principal:b", "medium", "x"),
        found("3", "principal:c", "low", "x", at=3),
        found("4", "principal:c", "low"),
        found("5", "principal:d", "high", "y"),
    ]
    abouts = {each.detection: About(each.detection, severity="low") for each in findings}
    cases = cases_of(findings, abouts)
    assert [(case.severity, case.entity, [each.uid for each in case.findings]) for case in cases] == [
        ("high", "principal:d", ["5"]),
        ("medium", "principal:b", ["2", "4", "3"]),
        ("low", "principal:a", ["1"]),
    ]
    assert cases[1].entities == ("principal:b", "principal:c")
    assert (cases[1].first_seen, cases[1].last_seen) == (1, 4)
