"""The tables beside `events` that detections read, and how each follows from events: portable SQL, integers only.

`minutes` and `sightings` are sums over a batch of events. A live system adds the sums of each batch as further rows, so
a key may have several rows for one minute: whoever reads them sums again. `baselines` and `known` say what was usual
before a UTC day began; they stand still during it, so that a day gives the same findings however often it is looked at.
"""

from __future__ import annotations

MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000

TABLES: dict[str, dict[str, str]] = {
    # What a key did in one minute. `failed` are calls that the provider refused, `refused` those that the gate did,
    # `blocked` answers that the model or its guard declined, `marked` those with a marker of a resale client.
    "minutes": {
        "minute": "BIGINT",
        "key_id": "VARCHAR",
        "owner": "VARCHAR",
        "team": "VARCHAR",
        "requests": "BIGINT",
        "ok": "BIGINT",
        "failed": "BIGINT",
        "refused": "BIGINT",
        "throttled": "BIGINT",
        "blocked": "BIGINT",
        "probes": "BIGINT",
        "marked": "BIGINT",
        "streamed": "BIGINT",
        "with_tools": "BIGINT",
        "cost_nusd": "BIGINT",
        "input_tokens": "BIGINT",
        "output_tokens": "BIGINT",
        "largest_input": "BIGINT",
        "first_ts": "BIGINT",
        "last_ts": "BIGINT",
    },
    # That a key showed a value of a trait in one hour. `admitted` are the requests that the gate let through. Beyond
    # MAX_VALUES values the rest count together under OTHERS, so that no detection may ask for more of them.
    "sightings": {
        "hour": "BIGINT",
        "key_id": "VARCHAR",
        "owner": "VARCHAR",
        "team": "VARCHAR",
        "trait": "VARCHAR",
        "value": "VARCHAR",
        "first_ts": "BIGINT",
        "last_ts": "BIGINT",
        "requests": "BIGINT",
        "admitted": "BIGINT",
        "cost_nusd": "BIGINT",
    },
    # What was usual before `day` began: per key, owner, team and the organisation (`scope`, `entity`; that of the
    # organisation is `org`), sums of their keys. Only what the gate let through counts. Days are those of the 28
    # before: on the first the key was `age_days` younger, the last is `idle_days` back, 0 for yesterday; `active_days`
    # counts in the last 7, and `mature` is 1 from five of them on. Maxima and quantiles are over the last 7 days, of
    # spans with requests. `price_median_nusd` is per million tokens, the median of five minutes.
    "baselines": {
        "day": "BIGINT",
        "scope": "VARCHAR",
        "entity": "VARCHAR",
        "mature": "BIGINT",
        "active_days": "BIGINT",
        "age_days": "BIGINT",
        "idle_days": "BIGINT",
        "requests_10m_max": "BIGINT",
        "requests_10m_p99": "BIGINT",
        "cost_10m_max_nusd": "BIGINT",
        "cost_10m_p99_nusd": "BIGINT",
        "cost_5m_p99_nusd": "BIGINT",
        "cost_hour_max_nusd": "BIGINT",
        "cost_day_max_nusd": "BIGINT",
        "cost_day_median_nusd": "BIGINT",
        "price_median_nusd": "BIGINT",
        "input_max": "BIGINT",
        "systems_hour_max": "BIGINT",
        "conversations_hour_max": "BIGINT",
        "end_users_hour_max": "BIGINT",
        "nets_hour_max": "BIGINT",
        "blocked_hour_max": "BIGINT",
        "hours_day_max": "BIGINT",
    },
    # The values of a trait that a key, owner, team or the organisation had shown in the 28 days before `day`: on two of
    # them, or in 20 requests.
    "known": {
        "day": "BIGINT",
        "scope": "VARCHAR",
        "entity": "VARCHAR",
        "trait": "VARCHAR",
        "value": "VARCHAR",
        "first_day": "BIGINT",
        "last_day": "BIGINT",
        "days": "BIGINT",
    },
    # Keys, credentials and limits as they are now. `kind` is key, credential or limit; a key's `budget_day_nusd` is
    # what its own budgets let it spend in a day, 0 for no bound.
    "inventory": {
        "kind": "VARCHAR",
        "id": "VARCHAR",
        "owner": "VARCHAR",
        "team": "VARCHAR",
        "name": "VARCHAR",
        "state": "VARCHAR",
        "canary": "BIGINT",
        "created_ts": "BIGINT",
        "budget_day_nusd": "BIGINT",
    },
    # Findings of the last two days, so that detections can put them together.
    "findings": {
        "detection": "VARCHAR",
        "severity": "VARCHAR",
        "entity": "VARCHAR",
        "first_seen": "BIGINT",
        "last_seen": "BIGINT",
        "count": "BIGINT",
    },
    # What a person said to leave alone; `*` stands for every detection or entity.
    "allow": {
        "detection": "VARCHAR",
        "entity": "VARCHAR",
        "until_ts": "BIGINT",
    },
    # What providers report of their own use, by bucket: rows as `jackstop.events.usage` makes them.
    "usage": {
        "provider": "VARCHAR",
        "account": "VARCHAR",
        "credential_id": "VARCHAR",
        "provider_key_id": "VARCHAR",
        "model": "VARCHAR",
        "service_tier": "VARCHAR",
        "context_window": "VARCHAR",
        "bucket": "BIGINT",
        "bucket_us": "BIGINT",
        "requests": "BIGINT",
        "input_tokens": "BIGINT",
        "output_tokens": "BIGINT",
        "cost_nusd": "BIGINT",
        "cost_from": "VARCHAR",
        "price_nusd": "BIGINT",
        "request_tokens": "BIGINT",
    },
}

TRAITS: dict[str, str] = {
    "address": "src_ip",
    "net": "src_net",
    "country": "country",
    "asn": "CASE WHEN asn IS NULL THEN '' ELSE CAST(asn AS VARCHAR) END",
    "network_kind": "network_kind",
    "client": "CASE WHEN client = '' AND ua_state IN ('absent', 'empty') THEN 'none' ELSE client END",
    "http": "http_fp",
    "agent": "user_agent",
    "model": "model_asked",
    "endpoint": "endpoint",
    "class": "action_class",
    "system": "system_fp",
    "tools": "tools_fp",
    "conversation": "conversation_fp",
    "end_user": "end_user_fp",
    "output_cap": "CASE WHEN max_output_asked IS NULL THEN '' ELSE CAST(max_output_asked AS VARCHAR) END",
}
"""What is seen of a key, and the column or expression of an event that says it."""

PASSING = frozenset({"address", "conversation", "end_user"})
"""Traits that are counted by the hour and not kept in `known`: nobody's conversation is usual."""

MAX_VALUES = 64
"""Values that are kept of one trait, key and hour; what comes beyond counts under `OTHERS`."""
OTHERS = "…"

RESALE_MARKERS = ("sillytavern", "risu", "openrouter_app", "just_say_test", "prefill_chat")
"""Markers that the gate gives to requests of clients that buyers of resold access use."""

_MARKED = " OR ".join(f"markers LIKE '%{marker}%'" for marker in RESALE_MARKERS)


def _count(condition: str) -> str:
    return f"CAST(SUM(CASE WHEN {condition} THEN 1 ELSE 0 END) AS BIGINT)"


def minutes_of(events: str) -> str:
    """The SELECT that gives the rows of `minutes` for the events of a table."""
    return f"""
SELECT ts - mod(ts, {MINUTE_US}) AS minute, key_id, MAX(owner) AS owner, MAX(team) AS team,
  COUNT(*) AS requests,
  {_count("outcome = 'ok'")} AS ok,
  {_count("decision <> 'refused' AND outcome IN ('invalid', 'denied', 'not_found')")} AS failed,
  {_count("decision = 'refused'")} AS refused,
  {_count("outcome = 'throttled'")} AS throttled,
  {_count("outcome = 'blocked_content' OR stop_reason IN ('refusal', 'content_filter')")} AS blocked,
  {_count("markers LIKE '%probe:%'")} AS probes,
  {_count(_MARKED)} AS marked,
  {_count("stream")} AS streamed,
  {_count("tools_n > 0")} AS with_tools,
  CAST(SUM(COALESCE(cost_nusd, 0)) AS BIGINT) AS cost_nusd,
  CAST(SUM(COALESCE(input_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_write_tokens, 0)) AS BIGINT)
    AS input_tokens,
  CAST(SUM(COALESCE(output_tokens, 0)) AS BIGINT) AS output_tokens,
  CAST(MAX(COALESCE(input_tokens, 0) + COALESCE(cache_read_tokens, 0) + COALESCE(cache_write_tokens, 0)) AS BIGINT)
    AS largest_input,
  MIN(ts) AS first_ts, MAX(ts) AS last_ts
FROM {events} WHERE key_id <> '' GROUP BY 1, 2"""  # noqa: S608 -- names of tables and columns of our own


def sightings_of(events: str) -> str:
    """The SELECT that gives the rows of `sightings` for the events of a table."""
    return "\nUNION ALL\n".join(
        f"""
SELECT ts - mod(ts, {HOUR_US}) AS hour, key_id, MAX(owner) AS owner, MAX(team) AS team,
  '{trait}' AS trait, {value} AS value, MIN(ts) AS first_ts, MAX(ts) AS last_ts, COUNT(*) AS requests,
  {_count("decision <> 'refused'")} AS admitted, CAST(SUM(COALESCE(cost_nusd, 0)) AS BIGINT) AS cost_nusd
FROM {events} WHERE key_id <> '' AND ({value}) <> '' GROUP BY 1, 2, 6"""  # noqa: S608 -- as above
        for trait, value in TRAITS.items()
    )


def create(table: str) -> str:
    """The CREATE TABLE of one of `TABLES`."""
    columns = ", ".join(f"{name} {kind}" for name, kind in TABLES[table].items())
    return f"CREATE TABLE {table} ({columns})"
