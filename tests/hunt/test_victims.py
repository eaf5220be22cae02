"""Two victims who told what their provider's report showed, rebuilt with weeks of ordinary use before, and that alone.

What each said: anthropics/claude-code#92642 (2026-09-07: 17,521,366 input tokens from 04:00 to 04:30 UTC on four models
that had never been used, some 9 million of them read from the cache and 4 million written to it, 266,000 output tokens;
ordinarily less than a million a day, of Sonnet only) and anthropics/claude-code#96048 (a key tried once on a model that
it was never used with; the day after 12.8 million input tokens in an hour, in requests of 180,000 to 364,000). What
they did not say (their ordinary hours, which model it was, how much of it was cached) is made up here.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jackstop.cases.finding import Finding
from jackstop.clock import from_datetime
from jackstop.detections.catalogue import shipped
from jackstop.events.sources.anthropic_usage import read
from jackstop.events.sources.entry import Origin
from jackstop.events.usage import COLUMNS, SCHEMA
from jackstop.hunt.engines.duckdb import DuckEngine
from tests.shared import DATA, shared

ATTACK = datetime(2026, 9, 6, tzinfo=UTC)
SONNET = "claude-sonnet-4-5-20250929"
NOW_US = from_datetime(ATTACK + timedelta(days=3))
USAGE = [each for each in shipped().values() if "anthropic_usage" in each.about.sources]


def bucket(at: datetime, span: timedelta, *results: dict[str, Any]) -> dict[str, Any]:
    ends = at + span
    return {"starting_at": at.isoformat(), "ending_at": ends.isoformat(), "results": list(results)}


def used(
    model: str, into: int, out: int, *, cached: int = 0, written: int = 0, key: str = "app", window: str = "0-200k"
) -> dict[str, Any]:
    return {
        "uncached_input_tokens": into,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": written},
        "cache_read_input_tokens": cached,
        "output_tokens": out,
        "api_key_id": f"apikey_{key}",
        "workspace_id": "wrkspc_1",
        "model": model,
        "service_tier": "standard",
        "context_window": window,
    }  # fmt: skip


def ordinary(days: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Weeks of office hours, an hour a bucket: some 900,000 tokens a day of Sonnet, and hours of three times others."""
    chance = random.Random(seed)
    for day in range(days, 0, -1):
        for hour in range(7, 19):
            at = ATTACK - timedelta(days=day) + timedelta(hours=hour)
            if at.weekday() < 5:
                into = int(50_000 * chance.uniform(0.3, 3))
                yield bucket(at, timedelta(hours=1), used(SONNET, into, into // 12))


def hunted(reports: Iterable[dict[str, Any]], folder: Path) -> list[Finding]:
    """What the detections of usage find in reports, read as a hunt reads them."""
    rows = [row for entry in reports for row in read(entry, Origin("", "usage.json", 0, NOW_US))]
    part = folder / "usage.parquet"
    pq.write_table(pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS}, schema=SCHEMA), part)
    engine = DuckEngine(folder)
    try:
        engine.open([], [part], [])
        found: list[Finding] = []
        for detection in sorted(USAGE, key=lambda each: each.reads_findings):
            new = engine.findings(detection)
            engine.note(new)
            found += new
        return found
    finally:
        engine.close()


def by_name(found: Iterable[Finding]) -> dict[str, Finding]:
    return {each.detection: each for each in found}


def four_models_at_four_in_the_morning(span: timedelta) -> Iterator[dict[str, Any]]:
    models = ("claude-opus-5", "claude-opus-4-8", "claude-fable-5-1", "claude-opus-4-6")
    begins = ATTACK + timedelta(hours=4)
    parts = max(1, int(timedelta(minutes=30) / span))
    for part in range(parts):
        shares = [used(model, 4_521_366 // 4 // parts, 266_000 // 4 // parts, cached=9_000_000 // 4 // parts,
                       written=4_000_000 // 4 // parts) for model in models]  # fmt: skip
        yield bucket(begins + part * span, span, *shares)


@pytest.mark.parametrize("span", [timedelta(minutes=1), timedelta(hours=1)], ids=["by the minute", "by the hour"])
def test_four_models_that_were_never_used_at_four_in_the_morning(tmp_path: Path, span: timedelta) -> None:
    found = by_name(hunted([*ordinary(28), *four_models_at_four_in_the_morning(span)], tmp_path))
    assert {each.entity for each in found.values()} == {"provider_key:apikey_app"}
    together = found["usage_spend_and_novelty"]
    assert (together.severity, together.first_seen) == ("critical", from_datetime(ATTACK + timedelta(hours=4)))
    assert (found["usage_new_model"].severity, found["usage_new_model"].count) == ("high", 4)
    assert found["usage_spend_stop"].severity == "high"
    assert found["usage_spend_velocity"].severity == "medium"
    assert found["usage_spend_stop"].evidence["history"] == "known"


def tried_and_emptied() -> Iterator[dict[str, Any]]:
    yield bucket(ATTACK + timedelta(hours=2), timedelta(minutes=1), used("claude-opus-4-6", 12, 1))
    next_day = ATTACK + timedelta(days=1, hours=3)
    for minute in range(50):
        told = used("claude-opus-4-6", 256_000, 900, window="200k-1M" if minute % 2 else "0-200k")
        yield bucket(next_day + timedelta(minutes=minute), timedelta(minutes=1), told)


def test_a_key_that_was_tried_once_and_emptied_the_day_after(tmp_path: Path) -> None:
    found = hunted([*ordinary(28), *tried_and_emptied()], tmp_path)
    (tried,) = [each for each in found if each.detection == "usage_new_model"]
    assert (tried.first_seen, tried.severity, tried.evidence["tried"]) == (
        from_datetime(ATTACK + timedelta(hours=2)), "medium", 1,
    )  # fmt: skip
    named = by_name(found)
    assert named["usage_large_requests"].evidence["long_window"] == 1
    assert named["usage_spend_stop"].severity == "high"
    together = named["usage_spend_and_novelty"]
    assert (together.severity, together.count) == ("critical", 2)
    assert together.first_seen == from_datetime(ATTACK + timedelta(days=1, hours=3))


def test_the_same_report_with_days_only(tmp_path: Path) -> None:
    days: dict[datetime, Counter[str]] = {}
    for entry in [*ordinary(28), *four_models_at_four_in_the_morning(timedelta(hours=1))]:
        day = datetime.fromisoformat(entry["starting_at"]).replace(hour=0, minute=0)
        for told in entry["results"]:
            into = told["uncached_input_tokens"] + told["cache_read_input_tokens"]
            days.setdefault(day, Counter())[told["model"]] += into
    reports = [bucket(day, timedelta(days=1), *(used(model, count, count // 12) for model, count in told.items()))
               for day, told in days.items()]  # fmt: skip
    found = by_name(hunted(reports, tmp_path))
    assert found["usage_spend_and_novelty"].severity == "critical"


def test_without_history_it_is_said_and_one_step_less(tmp_path: Path) -> None:
    found = by_name(hunted([*ordinary(2), *four_models_at_four_in_the_morning(timedelta(hours=1))], tmp_path))
    assert (found["usage_new_model"].severity, found["usage_new_model"].evidence["history"]) == ("medium", "unproven")
    assert (found["usage_spend_stop"].severity, found["usage_spend_stop"].evidence["history"]) == ("medium", "unproven")
    assert found["usage_spend_and_novelty"].severity == "critical"


def test_weeks_of_ordinary_use_are_silent(tmp_path: Path) -> None:
    assert hunted(ordinary(60), tmp_path) == []


def traces() -> Iterator[tuple[str, list[float]]]:
    """Requests by ten minutes over fourteen days, of clients that others recorded."""
    for path in sorted((DATA / "servegen").glob("chunk-*-trace.csv.gz")):
        with gzip.open(path, "rt") as lines:
            yield path.name.split("-")[1], [float(row[1] or 0) * 600 for row in csv.reader(lines)]


def recorded(*, release: bool) -> Iterator[dict[str, Any]]:
    """Each recorded client as a key: a thousand tokens in and 250 out a request, an hour a bucket, of one model. With a
    release all of them move to another model of the same price on the tenth day.
    """
    begins = ATTACK - timedelta(days=14)
    for key, windows in traces():
        for start in range(0, len(windows) - 5, 6):
            requests = int(sum(windows[start : start + 6]))
            if requests:
                model = "claude-sonnet-4-6" if release and start >= 10 * 144 else SONNET
                told = used(model, 1_000 * requests, 250 * requests, key=key)
                yield bucket(begins + timedelta(minutes=10 * start), timedelta(hours=1), told)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        # On their first days, and in their first week: nothing to compare with, and said so.
        (False, {("usage_spend_stop", "low"): 18, ("usage_spend_stop", "medium"): 4}),
        (
            True,
            {
                ("usage_spend_stop", "low"): 18,
                ("usage_spend_stop", "medium"): 4,
                ("usage_new_model", "low"): 16,
                ("usage_new_model", "info"): 3,
            },
        ),
    ],
)
def test_what_recorded_use_gives(tmp_path: Path, *, release: bool, expected: dict[tuple[str, str], int]) -> None:
    shared("data/servegen")
    found = hunted(recorded(release=release), tmp_path)
    assert Counter((each.detection, each.severity) for each in found) == expected
