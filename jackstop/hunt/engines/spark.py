"""A hunt's engine elsewhere: a Spark cluster through Spark Connect, over Parquet parts that the cluster can read."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import Detection
from jackstop.detections.dialects import translated
from jackstop.detections.engine import gathered
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES
from jackstop.events.lake import SCHEMA
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA
from jackstop.hunt.engines import Allowed, DetectionFailed
from jackstop.hunt.tables import FILLED, FOLLOWING, HAS_KEYS, usage_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession

HERE = "sc://localhost:15002"
"""Where a Spark Connect server listens that nobody told otherwise."""
_SPARK_TYPES = {pa.string(): "STRING", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}
_ARROW = {"BIGINT": pa.int64(), "VARCHAR": pa.string()}
# Sums overflow loudly, and nothing depends on where the cluster stands.
_SETTINGS = {"spark.sql.ansi.enabled": "true", "spark.sql.session.timeZone": "UTC"}
_NAMES = ", ".join(SCHEMA.names)
_PORT = 15_002
_REACH_S = 5.0


class SparkEngine:
    """See `Engine`. `url` is that of a Spark Connect server, by default what SPARK_REMOTE says, else the one here.

    The tables are temporary views of one session, which ends with `close`: nothing is left on the cluster.
    Raises UserError when the client is not installed, or there is no such server.
    """

    def __init__(self, url: str = "") -> None:
        self._url = url or os.environ.get("SPARK_REMOTE", "") or HERE
        self._rows: dict[str, list[dict[str, Any]]] = {table: [] for table in FILLED}
        self._stale = set(FILLED)
        # What a table holds without what was filled in.
        self._made: dict[str, DataFrame] = {}
        self._session = _connected(self._url)

    def open(self, parts: Sequence[Path | str], usage_parts: Sequence[Path | str], allow: Sequence[Allowed]) -> None:
        """As of `Engine`; a part may also be a URL such as `s3a://bucket/key.parquet`."""
        try:
            self._make([_uri(part) for part in parts], [_uri(part) for part in usage_parts])
        except _failures() as error:
            raise UserError(
                f"the Spark cluster cannot read the normalised events: {_told(error)}",
                "put JACKSTOP_HOME where every machine of the cluster sees it under the same path",
            ) from None
        names = ("detection", "entity", "until_ts")
        self.fill("allow", [dict(zip(names, row, strict=True)) for row in allow])

    def _make(self, parts: list[str], usage_parts: list[str]) -> None:
        self._show_events(parts)
        self._read(usage_parts, USAGE_SCHEMA).createOrReplaceTempView("buckets")
        self._make_one("usage", usage_of("buckets"))
        has_keys = bool(parts) and self._one(HAS_KEYS) > 0
        for table, select in FOLLOWING.items():
            if has_keys:
                self._make_one(table, select)
                self._made[table].persist()
            else:
                self._stale.add(table)

    def fill(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        given = list(rows)
        if given:
            self._rows.setdefault(table, []).extend(given)
            self._stale.add(table)

    def findings(self, detection: Detection) -> list[Finding]:
        wrong: tuple[type[Exception], ...] = (*_failures(), KeyError, TypeError, ValueError)
        try:
            found = self._collect(detection.sql)
            return gathered(detection, found.column_names, _rows_of(found))
        except wrong as error:
            raise DetectionFailed(_told(error)) from None

    def note(self, findings: Iterable[Finding]) -> None:
        names = TABLES["findings"]
        self.fill("findings", [{name: getattr(each, name) for name in names} for each in findings])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return _rows_of(self._collect(sql))
        except _failures() as error:
            raise UserError(f"the events cannot be counted: {_told(error)}", "see `jackstop hunt --help`") from None

    def close(self) -> None:
        for table in FOLLOWING:
            if table in self._made:
                _tried(self._made[table].unpersist)
        _tried(self._session.stop)

    # -- tables ------------------------------------------------------------------------------------------------------

    def _show_events(self, parts: list[str]) -> None:
        """The view `events`. Only where an event came twice is the first of each looked for."""
        self._read(parts, SCHEMA).createOrReplaceTempView("events")
        if not parts or not self._one("SELECT COUNT(*) - COUNT(DISTINCT event_id) FROM events"):
            return
        placed = self._read(parts, SCHEMA).select(
            *SCHEMA.names, "_metadata.file_path", self._column("_metadata.row_index").alias("row_index")
        )
        placed.createOrReplaceTempView("placed")
        self._session.sql(
            f"SELECT {_NAMES} FROM (SELECT {_NAMES}, "  # noqa: S608 -- names of our own
            "row_number() OVER (PARTITION BY event_id ORDER BY file_path, row_index) AS place FROM placed) AS numbered "
            "WHERE place = 1"
        ).createOrReplaceTempView("events")

    def _column(self, name: str) -> Any:
        from pyspark.sql.connect.functions import col

        return col(name)

    def _read(self, parts: list[str], schema: pa.Schema) -> DataFrame:
        if not parts:
            return self._frame(schema.empty_table())
        return self._session.read.schema(_ddl(schema)).parquet(*parts)

    def _frame(self, table: pa.Table) -> DataFrame:
        return self._session.createDataFrame(table if table.num_rows else [], _ddl(table.schema))

    def _make_one(self, table: str, select: str) -> None:
        sql = f"SELECT {', '.join(TABLES[table])} FROM ({select}) AS made"  # noqa: S608 -- names of our own
        self._made[table] = self._session.sql(translated(sql, "spark"))
        self._made[table].createOrReplaceTempView(table)

    def _put(self, table: str) -> None:
        """Make a table anew from what it was made of and the rows that were filled in."""
        rows = self._rows.get(table, [])
        columns = {
            name: pa.array([row.get(name, 0 if kind == "BIGINT" else "") for row in rows], _ARROW[kind])
            for name, kind in TABLES[table].items()
        }
        given = self._frame(pa.table(columns))
        made = self._made.get(table)
        (given if made is None else made.union(given)).createOrReplaceTempView(table)

    def _collect(self, sql: str) -> pa.Table:
        for table in [each for each in self._stale if each in sql]:
            self._put(table)
            self._stale.discard(table)
        return self._session.sql(_spark_sql(sql)).toArrow()

    def _one(self, sql: str) -> int:
        return int(_rows_of(self._collect(sql))[0][0])


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {_SPARK_TYPES[field.type]}" for field in schema)


def _connected(url: str) -> SparkSession:
    """A session of its own on a server that answers. Raises UserError."""
    try:
        from pyspark.sql.connect.session import SparkSession
    except ImportError:
        raise UserError(
            "hunts on Spark need its client",
            "install it with: pip install 'jackstop[spark]', or leave out --engine spark",
        ) from None
    place = urlsplit(url)
    shown = f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
    try:
        if place.scheme != "sc" or not place.hostname:
            raise UserError(f"{shown} is no address of a Spark Connect server", "write it as sc://host:15002", 2)
        port = place.port or _PORT
    except ValueError:
        raise UserError(f"{shown} has no such port", "write it as sc://host:15002", 2) from None
    wrong: tuple[type[Exception], ...] = (OSError, *_failures())
    try:
        # The client itself would try again for ten minutes.
        socket.create_connection((place.hostname, port), _REACH_S).close()
        session = SparkSession.builder.remote(url).create()
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
    except wrong as error:
        raise UserError(
            f"no Spark Connect server answers at {shown}: {_told(error)}",
            "start one, or name it in SPARK_REMOTE: see docs/spark.md",
        ) from None
    return session


def _failures() -> tuple[type[Exception], ...]:
    """What the client raises where the cluster cannot do as it is told, or does not answer."""
    from grpc import RpcError
    from pyspark.errors import PySparkException

    return (PySparkException, RpcError)


def _uri(part: Path | str) -> str:
    text = str(part)
    if "://" not in text:
        # Spark takes the letters of patterns in a path for patterns.
        return "file://" + re.sub(r"([\\*?{}\[\]])", r"\\\1", str(Path(text).absolute()))
    return f"s3a://{text.removeprefix('s3://')}" if text.startswith("s3://") else text


@lru_cache(maxsize=256)
def _spark_sql(sql: str) -> str:
    return translated(sql, "spark")


def _rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows as DuckDB gives them: a sum is an int, however many digits the engine gave it."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    return list(zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value


def _told(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _tried(act: Callable[[], object]) -> None:
    """A session that is gone needs no end."""
    try:
        act()
    except _failures():
        return
