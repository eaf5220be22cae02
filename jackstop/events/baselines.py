"""What was usual before a day began: one digest per finished day, and `baselines` and `known` from the digests before.

A digest holds what the gate let through, as it was known when the day ended, so that it is the same whenever it is
made. Days on which a key was in a case that did not turn out benign teach nothing: neither about the key, nor about
its owner, team or organisation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import duckdb
import pyarrow as pa

from jackstop.events.analytics import DAY_US, HOUR_US, MAX_VALUES, MINUTE_US, PASSING, TABLES, TRAITS

DAYS = 28
VOLUME_DAYS = 7
MATURE_DAYS = 5
KNOWN_DAYS = 2
KNOWN_REQUESTS = 20
"""A value is known that was there on two days, or in twenty requests: what a thief tried yesterday, unseen, is not."""
SPAN_US = 5 * MINUTE_US
_WHOSE = [("key_id", pa.string()), ("owner", pa.string()), ("team", pa.string())]
PARTS = {
    "spans": pa.schema(
        [
            ("span", pa.int64()),
            *_WHOSE,
            *((name, pa.int64()) for name in ("requests", "cost_nusd", "tokens", "largest_input")),
        ]
    ),
    "hours": pa.schema(
        [
            ("hour", pa.int64()),
            *_WHOSE,
            *((name, pa.int64()) for name in ("systems", "conversations", "end_users", "nets", "blocked")),
        ]
    ),
    "traits": pa.schema([*_WHOSE, ("trait", pa.string()), ("value", pa.string()), ("requests", pa.int64())]),
}
"""The tables of a digest: sums per five minutes, distinct values per hour, values of each trait."""

Spans = Iterable[tuple[str, int, int]]
"""Keys and the times during which they were in a case: first and last microsecond."""

SCOPES = {"key": "key_id", "owner": "owner", "team": "team", "org": "'org'"}


class Digest(NamedTuple):
    """One finished day in short."""

    spans: pa.Table
    hours: pa.Table
    traits: pa.Table


class Slice(NamedTuple):
    """Events from `since_us` on, before `until_us`, and the table or FROM clause that has them."""

    since_us: int
    until_us: int
    events: str


def digest(connection: duckdb.DuckDBPyConnection, day_us: int, slices: Iterable[Slice]) -> Digest:
    """The digest of one day from slices of whole hours, each of which must fit into memory."""
    parts = {part: [schema.empty_table()] for part, schema in PARTS.items()}
    for since_us, until_us, events in slices:
        within = f"""
(SELECT * FROM {events} WHERE ts >= {since_us} AND ts < {until_us} AND seen_ts < {day_us + DAY_US}
  AND key_id <> '' AND decision <> 'refused')"""  # noqa: S608 -- names and numbers of our own
        for part, select in zip(PARTS, (_spans_of, _hours_of, _traits_of), strict=True):
            parts[part].append(connection.sql(select(within)).to_arrow_table())
    connection.register("parts", pa.concat_tables(parts["traits"]))
    try:
        traits = connection.sql(_most_used("parts")).to_arrow_table()
    finally:
        connection.unregister("parts")
    return Digest(pa.concat_tables(parts["spans"]), pa.concat_tables(parts["hours"]), traits)


def _spans_of(events: str) -> str:
    tokens = "COALESCE(input_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_write_tokens, 0)"
    return f"""
SELECT ts - mod(ts, {SPAN_US}) AS span, key_id, MAX(owner) AS owner, MAX(team) AS team, COUNT(*) AS requests,
  CAST(SUM(COALESCE(cost_nusd, 0)) AS BIGINT) AS cost_nusd,
  CAST(SUM({tokens} + COALESCE(output_tokens, 0)) AS BIGINT) AS tokens,
  CAST(MAX({tokens}) AS BIGINT) AS largest_input
FROM {events} GROUP BY 1, 2 ORDER BY 2, 1"""  # noqa: S608 -- as above


def _hours_of(events: str) -> str:
    distinct = ", ".join(
        f"COUNT(DISTINCT CASE WHEN {column} <> '' THEN {column} END) AS {name}"
        for name, column in (
            ("systems", "system_fp"),
            ("conversations", "conversation_fp"),
            ("end_users", "end_user_fp"),
            ("nets", "src_net"),
        )
    )
    return f"""
SELECT ts - mod(ts, {HOUR_US}) AS hour, key_id, MAX(owner) AS owner, MAX(team) AS team, {distinct},
  CAST(SUM(CASE WHEN outcome = 'blocked_content' OR stop_reason IN ('refusal', 'content_filter') THEN 1 ELSE 0 END)
    AS BIGINT) AS blocked
FROM {events} GROUP BY 1, 2 ORDER BY 2, 1"""  # noqa: S608 -- as above


def _traits_of(events: str) -> str:
    kept = [(trait, value) for trait, value in TRAITS.items() if trait not in PASSING]
    return "\nUNION ALL\n".join(
        f"""
SELECT key_id, MAX(owner) AS owner, MAX(team) AS team, '{trait}' AS trait, {value} AS value, COUNT(*) AS requests
FROM {events} WHERE ({value}) <> '' GROUP BY key_id, 5"""  # noqa: S608 -- as above
        for trait, value in kept
    )


def _most_used(traits: str) -> str:
    """Of each trait of a key, the values that it used most."""
    return f"""
SELECT key_id, owner, team, trait, value, requests FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY key_id, trait ORDER BY requests DESC, value) AS place FROM (
    SELECT key_id, MAX(owner) AS owner, MAX(team) AS team, trait, value, CAST(SUM(requests) AS BIGINT) AS requests
    FROM {traits} GROUP BY key_id, trait, value))
WHERE place <= {MAX_VALUES} ORDER BY 1, 4, 5"""  # noqa: S608 -- as above


def with_day(table: pa.Table, day_us: int) -> pa.Table:
    """A part of a digest with the day that it is of, as `usual_before` reads it."""
    return table.append_column("day", pa.array([day_us] * table.num_rows, pa.int64()))


class Usual(NamedTuple):
    """Rows of `baselines` and `known` for one day."""

    baselines: pa.Table
    known: pa.Table


def usual_before(connection: duckdb.DuckDBPyConnection, day_us: int, cases: Spans) -> Usual:
    """What was usual before `day_us`, from the tables or views `digest_spans`, `digest_hours` and `digest_traits` with
    the digests of the days before; leaves nothing else behind.
    """
    left_out = sorted({(key, day) for key, since, until in cases for day in _days_of(since, until)})
    excluded = pa.table(
        {"key_id": pa.array([key for key, _ in left_out], pa.string()),
         "day": pa.array([day for _, day in left_out], pa.int64())}
    )  # fmt: skip
    connection.register("excluded", excluded)
    try:
        baselines = [_rows(connection, "baselines", _baselines_of(day_us, scope)) for scope in SCOPES]
        known = [_rows(connection, "known", _known_of(day_us, scope)) for scope in SCOPES]
    finally:
        connection.unregister("excluded")
    return Usual(pa.concat_tables(baselines), pa.concat_tables(known))


def _days_of(since_us: int, until_us: int) -> range:
    return range(since_us - since_us % DAY_US, until_us + 1, DAY_US)


def _rows(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> pa.Table:
    columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in TABLES[table].items())
    return connection.sql(f"SELECT {columns} FROM ({query}) ORDER BY ALL").to_arrow_table()  # noqa: S608 -- of our own


def _of(part: str, day_us: int, days: int) -> str:
    """A part of the digests of some days before, without what teaches nothing."""
    return f"""
(SELECT * FROM digest_{part} AS d WHERE d.day >= {day_us - days * DAY_US} AND d.day < {day_us}
  AND NOT EXISTS (SELECT 1 FROM excluded AS e WHERE e.key_id = d.key_id AND e.day = d.day))"""  # noqa: S608 -- of our own


def _baselines_of(day_us: int, scope: str) -> str:
    entity = SCOPES[scope]
    return f"""
WITH spans AS (
  SELECT {entity} AS entity, span, span - mod(span, {2 * SPAN_US}) AS ten, span - mod(span, {HOUR_US}) AS hour, day,
    SUM(requests) AS requests, SUM(cost_nusd) AS cost, SUM(tokens) AS tokens, MAX(largest_input) AS largest_input
  FROM {_of("spans", day_us, VOLUME_DAYS)} WHERE {entity} <> '' GROUP BY 1, span, day),
per_span AS (
  SELECT entity, quantile_disc(cost, 0.99) AS cost_5m_p99, MAX(largest_input) AS input_max,
    quantile_disc(CASE WHEN tokens > 0 THEN cost * 1000000 // tokens END, 0.5) AS price_median
  FROM spans GROUP BY 1),
per_ten AS (
  SELECT entity, MAX(requests) AS requests_max, quantile_disc(requests, 0.99) AS requests_p99, MAX(cost) AS cost_max,
    quantile_disc(cost, 0.99) AS cost_p99
  FROM (SELECT entity, ten, SUM(requests) AS requests, SUM(cost) AS cost FROM spans GROUP BY 1, 2) GROUP BY 1),
hours AS (SELECT entity, day, hour, SUM(cost) AS cost FROM spans GROUP BY 1, 2, 3),
per_hour AS (SELECT entity, MAX(cost) AS cost_max FROM hours GROUP BY 1),
per_day AS (
  SELECT entity, COUNT(*) AS active, MAX(cost) AS cost_max, quantile_disc(cost, 0.5) AS cost_median,
    MAX(hours) AS hours_max
  FROM (SELECT entity, day, SUM(cost) AS cost, COUNT(*) AS hours FROM hours GROUP BY 1, 2) GROUP BY 1),
distincts AS (
  SELECT entity, MAX(systems) AS systems, MAX(conversations) AS conversations, MAX(end_users) AS end_users,
    MAX(nets) AS nets, MAX(blocked) AS blocked
  FROM (
    SELECT {entity} AS entity, hour, SUM(systems) AS systems, SUM(conversations) AS conversations,
      SUM(end_users) AS end_users, SUM(nets) AS nets, SUM(blocked) AS blocked
    FROM {_of("hours", day_us, VOLUME_DAYS)} WHERE {entity} <> '' GROUP BY 1, hour)
  GROUP BY 1),
seen AS (
  SELECT {entity} AS entity, MIN(day) AS first_day, MAX(day) AS last_day
  FROM {_of("spans", day_us, DAYS)} WHERE {entity} <> '' GROUP BY 1)
SELECT {day_us} AS day, '{scope}' AS scope, s.entity,
  CASE WHEN COALESCE(d.active, 0) >= {MATURE_DAYS} THEN 1 ELSE 0 END AS mature, COALESCE(d.active, 0) AS active_days,
  ({day_us} - s.first_day) // {DAY_US} AS age_days, ({day_us} - s.last_day) // {DAY_US} - 1 AS idle_days,
  COALESCE(t.requests_max, 0) AS requests_10m_max, COALESCE(t.requests_p99, 0) AS requests_10m_p99,
  COALESCE(t.cost_max, 0) AS cost_10m_max_nusd, COALESCE(t.cost_p99, 0) AS cost_10m_p99_nusd,
  COALESCE(p.cost_5m_p99, 0) AS cost_5m_p99_nusd, COALESCE(h.cost_max, 0) AS cost_hour_max_nusd,
  COALESCE(d.cost_max, 0) AS cost_day_max_nusd, COALESCE(d.cost_median, 0) AS cost_day_median_nusd,
  COALESCE(p.price_median, 0) AS price_median_nusd, COALESCE(p.input_max, 0) AS input_max,
  COALESCE(x.systems, 0) AS systems_hour_max, COALESCE(x.conversations, 0) AS conversations_hour_max,
  COALESCE(x.end_users, 0) AS end_users_hour_max, COALESCE(x.nets, 0) AS nets_hour_max,
  COALESCE(x.blocked, 0) AS blocked_hour_max, COALESCE(d.hours_max, 0) AS hours_day_max
FROM seen AS s LEFT JOIN per_span AS p USING (entity) LEFT JOIN per_ten AS t USING (entity)
LEFT JOIN per_hour AS h USING (entity) LEFT JOIN per_day AS d USING (entity)
LEFT JOIN distincts AS x USING (entity)"""  # noqa: S608 -- of our own


def _known_of(day_us: int, scope: str) -> str:
    entity = SCOPES[scope]
    return f"""
SELECT {day_us} AS day, '{scope}' AS scope, {entity} AS entity, trait, value, MIN(d.day) AS first_day,
  MAX(d.day) AS last_day, COUNT(DISTINCT d.day) AS days
FROM {_of("traits", day_us, DAYS)} AS d WHERE {entity} <> '' GROUP BY {entity}, trait, value
HAVING COUNT(DISTINCT d.day) >= {KNOWN_DAYS} OR SUM(d.requests) >= {KNOWN_REQUESTS}"""  # noqa: S608 -- of our own
