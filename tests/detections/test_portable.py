"""The SQL of every detection keeps to what all engines understand, and gives the columns of a finding."""

from __future__ import annotations

import re
from functools import cache

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from jackstop.detections.catalogue import HERE, Detection, shipped
from jackstop.detections.engine import LIVE
from jackstop.detections.testing import kept
from jackstop.events.analytics import MINUTE_US, TABLES
from jackstop.events.schema import COLUMNS

DETECTIONS = list(shipped().values())
FUNCTIONS = (
    exp.Min,
    exp.Max,
    exp.Sum,
    exp.Count,
    exp.Coalesce,
    exp.Case,
    exp.If,
    exp.Cast,
    exp.And,
    exp.Or,
    exp.Exists,
    exp.Lag,
    exp.RowNumber,
)
AGGREGATES_OVER_ROWS = (exp.Lag, exp.RowNumber, exp.Sum, exp.Min, exp.Max, exp.Count)
FIVE_MINUTES = re.compile(r"mod\((\w\.)?ts( \+ (\w\.)?later)?, 300000000\)")
FORBIDDEN = (
    exp.Filter,
    exp.Div,
    exp.IntDiv,
    exp.Qualify,
    exp.Star,
    exp.JSON,
    exp.Bracket,
    exp.Limit,
    exp.Order,
    exp.Except,
    exp.Intersect,
)

each_detection = pytest.mark.parametrize("detection", DETECTIONS, ids=lambda each: each.name)


def parsed(detection: Detection) -> exp.Expr:
    return parsed_sql(detection.sql)


@cache
def parsed_sql(sql: str) -> exp.Expr:
    (statement,) = sqlglot.parse(sql, read="duckdb")
    assert statement is not None
    return statement


@pytest.fixture(scope="module")
def tables() -> duckdb.DuckDBPyConnection:
    return kept()


def test_no_sql_stands_alone() -> None:
    assert {path.stem for path in HERE.glob("*.sql")} == set(shipped())


@each_detection
def test_it_is_one_select_of_the_portable_subset(detection: Detection) -> None:
    tree = parsed(detection)
    assert isinstance(tree, exp.Select)
    assert not detection.sql.rstrip().endswith(";")
    for node in tree.walk():
        if isinstance(node, FORBIDDEN):
            counted = isinstance(node, exp.Star) and isinstance(node.parent, exp.Count)
            ordered = isinstance(node, exp.Order) and isinstance(node.parent, exp.Window)
            assert counted or ordered, node.sql()
        if isinstance(node, exp.Func):
            assert isinstance(node, FUNCTIONS), node.sql()
        if isinstance(node, exp.Window):
            assert isinstance(node.this, AGGREGATES_OVER_ROWS), node.sql()
        if isinstance(node, exp.Literal) and not node.is_string:
            assert node.this.isdigit(), f"{node.sql()} is no integer"
        if isinstance(node, exp.Cast):
            assert node.to.sql() in {"BIGINT", "TEXT", "VARCHAR"}, node.sql()


@each_detection
def test_it_reads_tables_that_there_are(detection: Detection) -> None:
    tree = parsed(detection)
    made = {each.alias for each in tree.find_all(exp.CTE)}
    read = {each.name for each in tree.find_all(exp.Table)} - made
    assert read <= {"events", *TABLES}
    assert read <= detection.tables
    assert ("findings" in read) == detection.reads_findings
    assert not made & {"events", *TABLES}, "a name of its own for a table that there is"


@each_detection
def test_it_gives_the_columns_of_a_finding(detection: Detection, tables: duckdb.DuckDBPyConnection) -> None:
    cursor = tables.execute(detection.sql)
    names = [column[0] for column in cursor.description or ()]
    assert names[:4] == ["entity", "first_seen", "last_seen", "count"]
    assert len(set(names)) == len(names)
    assert not {"uid", "detection", "sources", "evidence", "response"} & set(names)


@each_detection
def test_other_engines_can_be_told_it(detection: Detection) -> None:
    for dialect in ("spark", "postgres"):
        (told,) = sqlglot.transpile(
            detection.sql, read="duckdb", write=dialect, unsupported_level=sqlglot.ErrorLevel.RAISE
        )
        assert sqlglot.parse_one(told, read=dialect)


@each_detection
def test_what_reads_events_as_they_come_is_content_with_the_last_minutes(detection: Detection) -> None:
    # A longer window is content with five minutes at a time too: it keeps what the rows of each say of it.
    live = not LIVE.isdisjoint(detection.about.sources)
    if live and "events" in detection.tables and not FIVE_MINUTES.search(detection.sql):
        assert detection.window_us + detection.reach_us <= 5 * MINUTE_US


@each_detection
def test_what_puts_findings_together_takes_no_finding_that_does_so_itself(detection: Detection) -> None:
    if detection.reads_findings:
        for literal in parsed(detection).find_all(exp.Literal):
            named = shipped().get(literal.this) if literal.is_string else None
            assert named is None or not named.reads_findings, literal.this


@each_detection
def test_its_description_is_complete(detection: Detection) -> None:
    about = detection.about
    assert about.id.startswith(("LJ-", "JS-"))
    assert about.meaning.endswith(".")
    assert not about.title.endswith(".")
    assert about.what_to_do
    assert about.false_positives
    assert set(about.needs) <= set(COLUMNS)
    assert any(example.findings for example in about.tests)
    assert any(not example.findings for example in about.tests)
    assert len({example.name for example in about.tests}) == len(about.tests)
