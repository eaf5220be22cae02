"""The SQL of detections in the words of engines that are not here: it parses there, and means no reserved word."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from jackstop.cli.main import main
from jackstop.detections.catalogue import Detection, shipped
from jackstop.detections.dialects import PARSED, RESERVED, standing, translated
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import COLUMNS
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA

DETECTIONS = list(shipped().values())
KINDS = {"athena": {"BIGINT", "VARCHAR"}, "bigquery": {"INT64", "STRING"}}
FUNCTIONS = {
    "athena": {"MIN", "MAX", "SUM", "COUNT", "COALESCE", "LAG", "ROW_NUMBER", "CONCAT"},
    "bigquery": {"MIN", "MAX", "SUM", "COUNT", "COALESCE", "LAG", "ROW_NUMBER", "MOD"},
}

each_detection = pytest.mark.parametrize("detection", DETECTIONS, ids=lambda each: each.name)
each_dialect = pytest.mark.parametrize("dialect", PARSED)


@cache
def parsed(sql: str, dialect: str) -> exp.Expr:
    """As that dialect reads what it is told."""
    (tree,) = sqlglot.parse(sql if dialect == "duckdb" else translated(sql, dialect, pretty=True), read=dialect)
    assert isinstance(tree, exp.Select)
    return tree


@each_dialect
@each_detection
def test_it_parses_there_and_reads_the_same_tables(detection: Detection, dialect: str) -> None:
    tree, ours = parsed(detection.sql, dialect), parsed(detection.sql, "duckdb")
    made = {each.alias for each in ours.find_all(exp.CTE)}
    read = {each.name for each in tree.find_all(exp.Table)} - made
    assert read == {each.name for each in ours.find_all(exp.Table)} - made
    assert read <= {"events", *TABLES}
    assert tree.named_selects == ours.named_selects


@each_dialect
@each_detection
def test_it_uses_only_functions_and_types_that_are_there(detection: Detection, dialect: str) -> None:
    tree = parsed(detection.sql, dialect)
    for node in tree.walk():
        if isinstance(node, exp.Cast):
            assert node.to.sql(dialect) in KINDS[dialect], node.sql()
        elif isinstance(node, exp.Anonymous):
            pytest.fail(f"{node.name} is no function that SQLGlot knows of {dialect}")
        elif isinstance(node, exp.Func) and not isinstance(node, exp.Case | exp.If | exp.Exists | exp.And | exp.Or):
            assert node.sql(dialect).partition("(")[0] in FUNCTIONS[dialect], node.sql()
        # Whole numbers, divided, are none any more on BigQuery.
        assert not isinstance(node, exp.Div | exp.IntDiv)


@each_dialect
@each_detection
def test_a_name_that_is_a_reserved_word_is_quoted(detection: Detection, dialect: str) -> None:
    tree = parsed(detection.sql, dialect)
    names = {each.name.lower() for each in tree.find_all(exp.Identifier) if not each.quoted}
    assert not names & RESERVED[dialect]


@each_dialect
def test_no_table_or_column_of_ours_is_a_reserved_word(dialect: str) -> None:
    names = {"events", *COLUMNS, *TABLES, *(column for columns in TABLES.values() for column in columns)}
    assert not names & RESERVED[dialect]


@each_detection
def test_a_backslash_in_a_pattern_is_written_with_an_escape(detection: Detection) -> None:
    # Without one, Spark and BigQuery take it for the sign of an escape, and DuckDB and Athena for a backslash.
    for like in parsed(detection.sql, "duckdb").find_all(exp.Like):
        assert "\\" not in like.expression.name


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("a!_b", r"a\\_b"), ("a!!b%", "a!b%"), (r"a\b!%", r"a\\\\b\\%"), (r"!\a", r"\\\\a"), ("a_b", "a_b")],
)
def test_bigquery_is_told_escapes_as_it_knows_them(pattern: str, told: str) -> None:
    sql = f"SELECT COUNT(*) AS n FROM events WHERE action LIKE '{pattern}' ESCAPE '!'"
    assert translated(sql, "bigquery").endswith(f"action LIKE '{told}'")
    assert translated(sql, "athena").endswith(f"action LIKE '{pattern}' ESCAPE '!'")


def test_mod_is_told_as_each_has_it() -> None:
    sql = "SELECT ts - mod(ts, 300000000) AS start, CAST(asn AS VARCHAR) AS asn FROM events"
    assert translated(sql, "bigquery") == (
        "SELECT ts - MOD(ts, 300000000) AS start, CAST(asn AS STRING) AS asn FROM events"
    )
    assert translated(sql, "athena") == "SELECT ts - ts % 300000000 AS start, CAST(asn AS VARCHAR) AS asn FROM events"
    assert translated(sql, "spark") == "SELECT ts - ts % 300000000 AS start, CAST(asn AS STRING) AS asn FROM events"


@pytest.mark.parametrize(
    ("dialect", "first"),
    [
        ("duckdb", ""),
        ("spark", ""),
        ("athena", "-- For athena: its grammar was checked; nobody ran it there."),
        ("bigquery", "-- For bigquery: its grammar was checked; nobody ran it there."),
        ("trino", "-- As SQLGlot gives it for trino: unverified."),
        ("snowflake", "-- As SQLGlot gives it for snowflake: unverified."),
        ("databricks", "-- As SQLGlot gives it for databricks: unverified."),
    ],
)
def test_the_first_line_says_how_far_it_can_be_relied_on(dialect: str, first: str, capsys) -> None:
    assert main(["detections", "show", "canary_used", "--dialect", dialect]) == 0
    assert standing(dialect).startswith(first)
    out = capsys.readouterr().out
    assert ("\n-- " in out) == bool(first)
    assert first in out


def test_a_dialect_that_there_is_not_is_named() -> None:
    with pytest.raises(UserError, match="'cobol'"):
        translated("SELECT 1", "cobol")


@pytest.mark.parametrize(("table", "schema"), [("events", SCHEMA), ("usage", USAGE_SCHEMA)])
def test_the_tables_for_athena_have_the_columns_of_ours(table: str, schema: pa.Schema) -> None:
    page = (Path(__file__).parents[2] / "docs" / "spark.md").read_text(encoding="utf-8")
    made = [each for each in re.findall(r"CREATE EXTERNAL TABLE (.*?);", page, re.DOTALL) if each.startswith(table)]
    columns = re.findall(r"(\w+)\s+(string|bigint|boolean)[,)]", made[0])
    kinds = {pa.string(): "string", pa.int64(): "bigint", pa.bool_(): "boolean"}
    assert columns == [(field.name, kinds[field.type]) for field in schema]
