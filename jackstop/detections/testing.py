"""Runs the tests in a detection's YAML: rows in, findings out.

Times are spans from the start of a fixed day (`at: 9h30m`), money may be written as `5usd`, `{n}` in a text is the
number of the repetition. What a row does not say is as in `_DEFAULTS`: one key of one owner, at work as usual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa
from msgspec.structs import replace

from jackstop.cases.finding import Finding
from jackstop.clock import US_PER_S
from jackstop.detections.catalogue import Detection, Example
from jackstop.detections.engine import findings_of
from jackstop.errors import UserError
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US, TABLES, create, minutes_of, sightings_of
from jackstop.events.lake import SCHEMA
from jackstop.events.reading import connect
from jackstop.events.schema import COLUMNS, Event
from jackstop.money import parse_usd

START_US = 20_517 * DAY_US
"""The fixed day: Thursday, 5 March 2026."""

_SPAN = re.compile(r"(\d+)(us|ms|s|m|h|d)")
_UNITS_US = {"us": 1, "ms": 1000, "s": US_PER_S, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
_KEY = {"key_id": "k1", "owner": "one@example.com", "team": "t1"}
_SQL_TYPES = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN"}
_CLEAR = ";".join(f"TRUNCATE {table}" for table in ("events", *TABLES))
_MEMORY_MB = 512
_DEFAULTS: dict[str, dict[str, Any]] = {
    "events": {
        **_KEY,
        "key_kind": "virtual",
        "provider": "openai",
        "credential_id": "c1",
        "action": "POST /v1/chat/completions",
        "action_class": "inference",
        "endpoint": "chat.completions",
        "model_asked": "gpt-4o-mini",
        "model": "gpt-4o-mini",
        "outcome": "ok",
        "status": 200,
        "decision": "admitted",
        "src_ip": "192.0.2.1",
        "src_net": "192.0.2.0/24",
        "user_agent": "OpenAI/Python 2.8.0",
        "ua_state": "present",
        "client": "openai-python",
        "http_fp": "h1",
        "input_tokens": 100,
        "output_tokens": 50,
        "cost_nusd": 1_000,
        "price_known": True,
        "messages_n": 2,
        "tools_n": 0,
        "stream": False,
    },
    "minutes": {**_KEY, "requests": 1, "ok": 1},
    "sightings": {**_KEY, "requests": 1, "admitted": 1},
    "baselines": {"day": START_US, "scope": "key", "mature": 1, "active_days": 7, "age_days": 28},
    "known": {
        "day": START_US,
        "scope": "key",
        "first_day": START_US - 20 * DAY_US,
        "last_day": START_US - DAY_US,
        "days": 20,
    },
    "inventory": {
        "kind": "key",
        "id": "k1",
        "owner": "one@example.com",
        "team": "t1",
        "name": "n1",
        "state": "live",
        "created_ts": START_US - 60 * DAY_US,
    },
    "usage": {
        "provider": "anthropic",
        "account": "w1",
        "provider_key_id": "k1",
        "model": "claude-sonnet-4-5",
        "bucket_us": HOUR_US,
        "requests": 10,
        "input_tokens": 9_000,
        "output_tokens": 1_000,
        "cost_nusd": 42_000_000,
        "cost_from": "list",
        "price_nusd": 4_200_000_000,
        "request_tokens": 900,
    },
    "findings": {"severity": "high", "entity": "key:k1", "count": 1},
}
_AWS = {
    "provider": "bedrock",
    "service": "bedrock",
    "account": "111122223333",
    "region": "us-east-1",
    "provider_key_id": "AKIA1",
    "key_kind": "long_lived",
    "auth_method": "sigv4",
    "principal": "arn:aws:iam::111122223333:user/one",
    "principal_kind": "user",
    "action": "InvokeModel",
    "action_class": "inference",
    "model_asked": "anthropic.claude-1",
    "model": "anthropic.claude-1",
    "outcome": "ok",
    "src_ip": "192.0.2.1",
    "src_net": "192.0.2.0/24",
    "user_agent": "Boto3/1.40.1",
    "ua_state": "present",
    "client": "boto3",
}
_OF_SOURCE: dict[str, dict[str, Any]] = {
    "cloudtrail": _AWS,
    "bedrock_invocations": {**_AWS, **dict.fromkeys(("src_ip", "src_net", "user_agent", "ua_state", "client"), "")},
    "azure_activity": {
        "provider": "azure",
        "service": "Microsoft.CognitiveServices",
        "account": "s1",
        "auth_method": "oauth",
        "principal": "one@example.com",
        "principal_kind": "user",
        "action": "Microsoft.CognitiveServices/accounts/read",
        "target_kind": "ai_resource",
        "target_id": "r1",
        "outcome": "ok",
        "status": 200,
        "src_ip": "192.0.2.1",
        "src_net": "192.0.2.0/24",
    },
    "azure_openai": {
        "provider": "azure",
        "service": "Microsoft.CognitiveServices",
        "account": "s1",
        "key_kind": "api_key",
        "auth_method": "key",
        "action": "ChatCompletions_Create",
        "action_class": "inference",
        "api_version": "2024-10-21",
        "target_id": "r1",
        "model_asked": "d1",
        "model": "gpt-4o",
        "outcome": "ok",
        "status": 200,
        "src_net": "192.0.2.0/24",
        "markers": "data_event",
    },
    "gcp_audit": {
        "provider": "vertex",
        "service": "aiplatform",
        "account": "p1",
        "region": "us-central1",
        "principal": "one@example.com",
        "principal_kind": "user",
        "action": "google.cloud.aiplatform.v1.PredictionService.GenerateContent",
        "action_class": "inference",
        "model_asked": "gemini-2.5-flash",
        "model": "gemini-2.5-flash",
        "outcome": "ok",
        "src_ip": "192.0.2.1",
        "src_net": "192.0.2.0/24",
        "client": "google-python",
    },
}
"""What an event is that says no more than its source, where that is not the gate: one user's program at work."""
_ENTITIES = {"key": "k1", "owner": "one@example.com", "team": "t1", "org": "org"}
# What `at` and `until` mean in each table; given rows of `minutes` and `sightings` are rounded down.
_TIMES = {
    "events": ("ts", "seen_ts"),
    "minutes": ("first_ts", "last_ts"),
    "sightings": ("first_ts", "last_ts"),
    "usage": ("bucket", "bucket"),
    "findings": ("first_seen", "last_seen"),
}


@dataclass(frozen=True, slots=True)
class Ran:
    """How one test ended; `problem` is empty when its findings were those that it expects."""

    detection: str
    test: str
    problem: str


def run(detection: Detection, test: Example) -> Ran:
    """Run one test."""
    connection = kept()
    _fill(connection, test, detection.tables)
    return Ran(detection.name, test.name, check(connection, detection, test))


def check(connection: duckdb.DuckDBPyConnection, detection: Detection, test: Example) -> str:
    """Run the SQL over the tables that `prepare` filled; returns what is wrong with its findings, "" for nothing."""
    try:
        found = findings_of(connection, detection)
    except (duckdb.Error, KeyError, TypeError, ValueError) as error:
        return f"the SQL fails: {error}"
    found.sort(key=lambda each: (each.entity, each.first_seen))
    expected = [_expected(row) for row in test.findings]
    if len(found) != len(expected):
        return f"{len(expected)} findings expected, {len(found)} found: {', '.join(map(_told, found)) or 'none'}"
    for row, finding in zip(expected, found, strict=True):
        for name, value in row.items():
            is_own = name in Finding.__struct_fields__
            if not is_own and name not in finding.evidence:
                return f"there is no {name} in {_told(finding)}"
            seen = getattr(finding, name) if is_own else finding.evidence[name]
            if seen != value:
                return f"{name} is {seen!r}, expected {value!r}, in {_told(finding)}"
    return ""


def prepare(test: Example, wanted: frozenset[str]) -> duckdb.DuckDBPyConnection:
    """A connection with all tables, those that are wanted filled with what the test gives.

    Raises UserError for rows that make no sense.
    """
    connection = empty_tables()
    _fill(connection, test, wanted)
    return connection


def kept(number: int = 0) -> duckdb.DuckDBPyConnection:
    """One of this process's connections, all its tables empty: to make one takes longer than most tests."""
    connection = _kept(number)
    connection.execute(_CLEAR)
    return connection


@lru_cache
def _kept(_number: int) -> duckdb.DuckDBPyConnection:
    return empty_tables()


def _fill(connection: duckdb.DuckDBPyConnection, test: Example, wanted: frozenset[str]) -> None:
    add_events(connection, events_of(test), wanted)
    for table, rows in rows_of(test).items():
        fill(connection, table, rows)


def events_of(test: Example) -> list[Event]:
    """The test's events in the order of their times."""
    return sorted((Event(**row) for row in _rows("events", test.events)), key=lambda event: event.ts)


def rows_of(test: Example) -> dict[str, list[dict[str, Any]]]:
    """The rows of the other tables that the test gives."""
    given = {
        "minutes": test.minutes,
        "sightings": test.sightings,
        "baselines": test.baselines,
        "known": test.known,
        "inventory": test.inventory,
        "usage": test.usage,
        "findings": test.earlier,
    }
    return {table: list(_rows(table, rows)) for table, rows in given.items()}


def empty_tables() -> duckdb.DuckDBPyConnection:
    """A connection with all tables that detections read, and nothing in them."""
    connection = connect(_MEMORY_MB)
    columns = ", ".join(f"{column.name} {_SQL_TYPES[column.type]}" for column in SCHEMA)
    tables = [f"CREATE TABLE {name} ({columns})" for name in ("events", "batch")]
    connection.execute(";".join([*tables, *map(create, TABLES)]))
    # Prepared, since to plan the many SELECTs of `sightings` takes longer than to run them.
    for table, select in (("minutes", minutes_of("batch")), ("sightings", sightings_of("batch"))):
        names = ", ".join(TABLES[table])
        connection.execute(f"PREPARE add_{table} AS INSERT INTO {table} ({names}) SELECT {names} FROM ({select})")  # noqa: S608 -- names of our own
    return connection


def add_events(
    connection: duckdb.DuckDBPyConnection, events: list[Event], wanted: frozenset[str] = frozenset(TABLES)
) -> None:
    """Add events, and what follows from them to `minutes` and `sightings`, as a batch of a live system does."""
    if not events:
        return
    columns = {name: [getattr(event, name) for event in events] for name in SCHEMA.names}
    connection.register("given", pa.table(columns, schema=SCHEMA))
    connection.execute("TRUNCATE batch; INSERT INTO batch SELECT * FROM given")
    connection.unregister("given")
    connection.execute("INSERT INTO events SELECT * FROM batch")
    for table in ("minutes", "sightings"):
        if table in wanted:
            connection.execute(f"EXECUTE add_{table}")


def fill(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Add rows to one of the tables beside `events`; a column that a row does not have is 0 or empty."""
    if not rows:
        return
    columns = {
        name: pa.array([row.get(name, 0 if kind == "BIGINT" else "") for row in rows],
                       pa.int64() if kind == "BIGINT" else pa.string())
        for name, kind in TABLES[table].items()
    }  # fmt: skip
    connection.register("given", pa.table(columns))
    connection.execute(f"INSERT INTO {table} SELECT * FROM given")  # noqa: S608 -- names of our own
    connection.unregister("given")


def span_us(text: str) -> int:
    """Read `1h30m`, `-2d` or `4m59s999ms`. Raises UserError."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.removeprefix("-"):
        raise UserError(f"{text!r} is not a span of time", "write it as 30s, 1h30m or -2d", 2)
    total = sum(int(number) * _UNITS_US[unit] for number, unit in parts)
    return -total if text.startswith("-") else total


def _rows(table: str, given: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of a table, with repetitions, lists of values and defaults written out."""
    for shape in given:
        values = shape.get("value") if table == "known" else None
        if isinstance(values, list):
            yield from _rows(table, [{**shape, "value": value} for value in values])
            continue
        every_us = span_us(shape.get("every", "0s"))
        for number in range(int(shape.get("repeat", 1))):
            yield _row(table, shape, number, number * every_us)


def _row(table: str, shape: dict[str, Any], number: int, later_us: int) -> dict[str, Any]:
    row = dict(_OF_SOURCE.get(shape.get("source", ""), _DEFAULTS[table]))
    if table in {"baselines", "known"}:
        row["entity"] = _ENTITIES.get(shape.get("scope", "key"), "")
    if table in _TIMES:
        first, last = _TIMES[table]
        row[first] = START_US + span_us(str(shape.get("at", "0s"))) + later_us
        row[last] = START_US + span_us(shape["until"]) + later_us if "until" in shape else row[first]
    for name, value in shape.items():
        if name in {"at", "until", "repeat", "every"}:
            continue
        if name not in (COLUMNS if table == "events" else TABLES[table]):
            raise UserError(f"a row of {table} has no column {name}", "see docs/events.md and docs/detections.md", 2)
        row[name] = _value(name, value, number, is_number=_is_number(table, name))
    if table == "minutes":
        row["minute"] = row["first_ts"] - row["first_ts"] % MINUTE_US
    if table == "sightings":
        row["hour"] = row["first_ts"] - row["first_ts"] % HOUR_US
    return row


def _is_number(table: str, name: str) -> bool:
    return SCHEMA.field(name).type == pa.int64() if table == "events" else TABLES[table][name] == "BIGINT"


def _value(name: str, value: Any, number: int, *, is_number: bool) -> Any:
    if not isinstance(value, str):
        return value
    if not is_number:
        return value.replace("{n}", str(number))
    if name.endswith("_us"):
        return span_us(value)
    return parse_usd(value) if name.endswith("_nusd") else START_US + span_us(value)


def _expected(row: dict[str, Any]) -> dict[str, Any]:
    expected = dict(row)
    for short, name in (("at", "first_seen"), ("until", "last_seen")):
        if short in expected:
            expected[name] = START_US + span_us(expected.pop(short))
    for name, value in expected.items():
        if name.endswith("_nusd") and isinstance(value, str):
            expected[name] = parse_usd(value)
    return expected


def _told(finding: Finding) -> str:
    """A finding in a line, with times as in tests."""
    plain = replace(finding, first_seen=finding.first_seen - START_US, last_seen=finding.last_seen - START_US)
    facts = {"at": f"{plain.first_seen}us", "until": f"{plain.last_seen}us", **plain.evidence}
    told = ", ".join(f"{name}: {value}" for name, value in facts.items())
    return f"{{entity: {plain.entity}, count: {plain.count}, severity: {plain.severity}, {told}}}"
