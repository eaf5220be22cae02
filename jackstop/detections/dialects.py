"""A detection's SQL in the words of other engines."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from jackstop.errors import UserError

RUN = ("duckdb", "spark")
"""Dialects in which the tests run every detection."""
PARSED = ("athena", "bigquery")
"""Dialects in which the tests hold the text to the grammar and its reserved words, and run nothing."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESERVED: dict[str, frozenset[str]] = {
    "athena": _words(
        """
        alter and as between by case cast constraint create cross cube current_date current_path current_role
        current_schema current_time current_timestamp current_user deallocate delete describe distinct drop else end
        escape except execute exists extract false first for from full group grouping having in inner insert intersect
        into is join last left like listagg localtime localtimestamp natural normalize not null on or order outer
        prepare recursive right rollup row select skip table then trim true uescape unbounded union unnest using values
        when where with
        """
    ),
    "bigquery": _words(
        """
        all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube
        current default define desc distinct else end enum escape except exclude exists extract false fetch following
        for from full group grouping groups hash having if ignore in inner intersect interval into is join lateral left
        like limit lookup merge natural new no not null nulls of on or order outer over partition preceding proto
        qualify range recursive respect right rollup rows select set some struct tablesample then to treat true
        unbounded union unnest using when where window with within
        """
    ),
}
"""Words that are no names of columns without quotes; one too many here costs no more than quotes.

After docs.aws.amazon.com/athena/latest/ug/reserved-words.html with the grammar of Trino, on which Athena stands, and
cloud.google.com/bigquery/docs/reference/standard-sql/lexical, looked at on 2026-11-23.
"""


def translated(sql: str, dialect: str, *, pretty: bool = False) -> str:
    """The SQL of a detection as another engine reads it. Raises UserError for a dialect that there is not."""
    known = sorted(each.value for each in sqlglot.Dialects if each.value)
    if dialect not in known:
        raise UserError(f"there is no dialect {dialect!r}", f"use one of {', '.join(known)}", 2)
    (tree,) = sqlglot.parse(sql, read="duckdb")
    if tree is None:
        raise UserError("there is no SQL to translate", "see docs/detections.md")
    for name in tree.find_all(exp.Identifier):
        if name.name.lower() in RESERVED.get(dialect, ()):
            name.set("quoted", True)
    if dialect == "bigquery":
        for like in list(tree.find_all(exp.Escape)):
            like.replace(_with_backslashes(like))
    return tree.sql(dialect, pretty=pretty)


def standing(dialect: str) -> str:
    """How far the text of a dialect can be relied on, as a line of SQL comment; "" where the tests run it."""
    if dialect in RUN:
        return ""
    if dialect in PARSED:
        return f"-- For {dialect}: its grammar was checked; nobody ran it there. See docs/spark.md for the tables."
    return f"-- As SQLGlot gives it for {dialect}: unverified."


def _with_backslashes(escaped: exp.Escape) -> exp.Expression:
    """BigQuery has no ESCAPE after LIKE: a backslash always escapes there."""
    like, mark = escaped.this, escaped.expression.name
    told, letters = [], iter(like.expression.name)
    for letter in letters:
        meant = next(letters, "") if letter == mark else letter
        is_marked = meant == "\\" or (letter == mark and meant in {"%", "_"})
        told.append(f"\\{meant}" if is_marked else meant)
    changed: exp.Expression = like.copy()
    changed.set("expression", exp.Literal.string("".join(told)))
    return changed
