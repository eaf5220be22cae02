"""Every detection finds the same on DuckDB and on Spark, in all tests of all detections at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from sqlglot import parse_one

from jackstop.cases.finding import Finding
from jackstop.clock import ManualClock
from jackstop.detections.catalogue import Detection, shipped
from jackstop.detections.engine import gathered
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES
from jackstop.hunt.engines import DetectionFailed
from jackstop.hunt.engines.duckdb import DuckEngine
from jackstop.hunt.engines.spark import SparkEngine
from jackstop.hunt.intake.inputs import inputs_of
from jackstop.hunt.run import Asked, Hunt
from jackstop.sandbox import trails
from jackstop.sandbox.trail_campaigns import CAMPAIGNS
from jackstop.settings import Home
from tests import spark
from tests.hunt.goldens import Goldens, build, slot_of
from tests.hunt.logs import NOW_US

pytestmark = [pytest.mark.slow, pytest.mark.long]
AT_ONCE = 4
DETECTIONS = list(shipped().values())
each_detection = pytest.mark.parametrize("detection", DETECTIONS, ids=lambda each: each.name)


Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def goldens(tmp_path_factory: pytest.TempPathFactory) -> Goldens:
    return build(DETECTIONS, tmp_path_factory.mktemp("goldens"))


@pytest.fixture(scope="module")
def duck(goldens: Goldens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckEngine]:
    engine = DuckEngine(tmp_path_factory.mktemp("spill"))
    filled(engine, goldens)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with spark.serving(spark.SMALL) as served:
        yield served


@pytest.fixture(scope="module")
def engine(goldens: Goldens, url: str) -> Iterator[SparkEngine]:
    there = SparkEngine(url)
    filled(there, goldens)
    yield there
    there.close()


def filled(engine: DuckEngine | SparkEngine, goldens: Goldens) -> None:
    engine.open(goldens.parts, goldens.usage_parts, [])
    for table, rows in goldens.rows.items():
        engine.fill(table, rows)


@pytest.fixture(scope="module")
def theirs(engine: SparkEngine) -> dict[str, Rows | UserError]:
    """The rows of each detection on Spark, several at a time: most of a query's time is spent on planning it."""

    def rows(detection: Detection) -> Rows | UserError:
        try:
            return engine.rows(detection.sql)
        except UserError as error:
            return error

    for table in TABLES:
        # What fills the tables is no business of several threads.
        engine.rows(f"SELECT COUNT(*) FROM {table}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip((each.name for each in DETECTIONS), pool.map(rows, DETECTIONS), strict=True))


@each_detection
def test_both_engines_give_the_same(
    detection: Detection, duck: DuckEngine, theirs: dict[str, Rows | UserError]
) -> None:
    seen = theirs[detection.name]
    assert isinstance(seen, list), f"on Spark: {seen}"
    # Tables that follow from events are made for the first detection that reads them.
    findings, ours = duck.findings(detection), duck.rows(detection.sql)
    assert sorted(map(repr, seen)) == sorted(map(repr, ours))
    names = parse_one(detection.sql, read="duckdb").named_selects
    assert found(gathered(detection, names, seen)) == found(findings)


def found(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {each.uid: each for each in findings}


@each_detection
def test_all_of_its_tests_are_in_the_tables(detection: Detection, duck: DuckEngine, goldens: Goldens) -> None:
    # Moved to another time and with other names, a test still finds what it did.
    counted = Counter(slot_of(each.first_seen) for each in duck.findings(detection))
    for slot in goldens.slots:
        if slot.detection == detection.name:
            assert counted[slot.number] == len(slot.test.findings), slot.test.name


def test_the_rows_made_from_events_are_the_same(duck: DuckEngine, engine: SparkEngine) -> None:
    for table in ("minutes", "sightings", "usage"):
        query = f"SELECT {', '.join(TABLES[table])} FROM {table}"
        assert Counter(map(repr, engine.rows(query))) == Counter(map(repr, duck.rows(query))), table


def test_a_finding_is_made_and_noted_there(engine: SparkEngine, duck: DuckEngine, goldens: Goldens) -> None:
    detection = shipped()["canary_used"]
    made = engine.findings(detection)
    assert made
    assert found(made) == found(duck.findings(detection))
    before = engine.rows("SELECT COUNT(*) FROM findings")[0][0]
    engine.note(made)
    assert engine.rows("SELECT COUNT(*) FROM findings")[0][0] == before + len(made)


def test_events_that_came_twice_are_there_once(duck: DuckEngine, goldens: Goldens, url: str, tmp_path: Path) -> None:
    again = tmp_path / "again [1]*.parquet"
    again.write_bytes(goldens.parts[0].read_bytes())
    there = SparkEngine(url)
    there.open([*goldens.parts, again], [], [])
    query = "SELECT COUNT(*), COUNT(DISTINCT event_id), MAX(ts) FROM events"
    assert there.rows(query) == duck.rows(query)
    there.close()


def test_nothing_to_read_is_no_failure(url: str) -> None:
    there = SparkEngine(url)
    there.open([], [], [("*", "key:k1", 0)])
    assert there.rows("SELECT COUNT(*) FROM events") == [(0,)]
    assert there.rows("SELECT detection, entity, until_ts FROM allow") == [("*", "key:k1", 0)]
    assert there.findings(shipped()["spend_velocity"]) == []
    there.close()


def test_sums_overflow_loudly_and_days_are_those_of_utc(engine: SparkEngine) -> None:
    with pytest.raises(UserError, match=r"(?i)overflow"):
        engine.rows("SELECT CAST(9223372036854775807 AS BIGINT) + CAST(ts AS BIGINT) FROM events WHERE ts > 0")
    assert engine._session.conf.get("spark.sql.session.timeZone") == "UTC"


def test_what_the_cluster_cannot_read_is_said(url: str, tmp_path: Path) -> None:
    there = SparkEngine(url)
    with pytest.raises(UserError, match="cannot read the normalised events") as raised:
        there.open([tmp_path / "none.parquet"], [], [])
    assert "every machine of the cluster" in raised.value.remedy
    there.close()


def test_sql_that_fails_is_a_detection_that_failed(engine: SparkEngine) -> None:
    broken = structs.replace(shipped()["canary_used"], sql="SELECT nothing FROM events")
    with pytest.raises(DetectionFailed, match="nothing"):
        engine.findings(broken)


def test_a_whole_hunt_says_the_same(url: str, tmp_path: Path) -> None:
    # Thefts among the work of an organisation: what is found and what could not be seen, from end to end.
    trails.write(tmp_path / "logs", records=3_000, until_us=NOW_US, thefts=len(CAMPAIGNS))
    home = Home(tmp_path / "home")
    results = []
    for name in ("duckdb", "spark"):
        hunt = Hunt(Asked(engine=name, spark_url=url if name == "spark" else ""), home, ManualClock(NOW_US))
        results.append(
            structs.replace(hunt.run(inputs_of([str(tmp_path / "logs")])), engine="", took_us=0, counts=None)
        )
    here, there = results
    assert not there.failed
    assert len({each.detection for each in here.findings}) > 5
    assert found(here.findings) == found(there.findings)
    assert here.coverage == there.coverage
    assert here.activity == there.activity
