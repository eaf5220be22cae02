"""The containment bench: its figures, its shapes, its churn and its virtual clock."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from bench import bench_containment
from bench.containment import attacks, benign, figures, inline, nuisance, replay, traces, victims, world
from bench.containment.gatekeeper import Gatekeeper
from bench.containment.parameters import parameters
from bench.containment.world import DAY, HOUR, MINUTE, START, US
from jackstop.detections.catalogue import load
from jackstop.events.baselines import Usual
from jackstop.events.warehouse import Warehouse

USD = 10**9
AT = START + 14 * DAY + 9 * HOUR

recorded = pytest.mark.skipif(not traces.there(), reason=traces.NOT_THERE)

FIRST_CALL = """
SELECT 'key:' || key_id AS entity, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count
FROM events WHERE system_fp LIKE 'x%' GROUP BY key_id, ts - mod(ts, 300000000)
"""
DESCRIPTION = """
{id: JS-900, title: t, meaning: m, severity: SEVERITY, attack: [], atlas: [], sources: [gate], window: 5m, cadence: 5s,
 false_positives: [f], what_to_do: [w], references: [], tests: []}
"""


def catalogue(folder: Path, severity: str) -> Any:
    (folder / "first_call.sql").write_text(FIRST_CALL)
    (folder / "first_call.yaml").write_text(DESCRIPTION.replace("SEVERITY", severity))
    return load(folder)


class NothingLearned:
    """Baselines of keys that have none."""

    def allowance(self, victim: Any) -> None:
        return None

    def rows(self, stolen: Any, victim: Any) -> tuple[list[Any], list[Any]]:
        return [], []

    def org(self) -> tuple[list[Any], list[Any]]:
        return [], []


@pytest.fixture(scope="module")
def victim() -> victims.Victim:
    return victims.victims(1, 0)[0]


def attack(shape: str, victim: victims.Victim, seed: int = 3) -> attacks.Attack:
    return attacks.Attack(shape, seed, victim, world.Networks(beyond=True), AT)


def some(shape: str, victim: victims.Victim, count: int = 400) -> list[attacks.Attempt]:
    return list(itertools.islice(attack(shape, victim).attempts(), count))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (60, 60, 0.9404, 1.0), (3, 3000, 0.0002, 0.0029)],
)
def test_bounds_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    assert figures.interval(hits, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.slow
@recorded
def test_a_key_without_mature_baseline_has_no_ramp_allowance(
    victim: victims.Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def allowance(**changed: int) -> int | None:
        def usual(_warehouse: Warehouse, _day_us: int, _digests: Any) -> Usual:
            row = {"scope": "key", "entity": victim.key.id, "mature": 1, "cost_10m_max_nusd": 9 * USD, **changed}
            return Usual(pa.Table.from_pylist([row]), pa.Table.from_pylist([{"scope": "key", "entity": "k"}]))

        monkeypatch.setattr(Warehouse, "learn", usual)
        return replay.Learned([]).allowance(victim)

    assert allowance(entity=0) is None
    assert allowance(mature=0) is None
    assert allowance() == 27 * USD
    assert allowance(cost_10m_max_nusd=0) == USD


def test_what_a_process_found_is_written_down_before_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "some.json"
    course = replay.Course("one_ip_bulk", 3, learned=True, known=False, refused=Counter(ramp=2), spent_nusd=np.int64(7))
    assert bench_containment.kept(path, [course]) == [course]
    (told,) = msgspec.json.decode(path.read_bytes())
    assert (told["shape"], told["refused"], told["spent_nusd"], told["brake_us"]) == (
        "one_ip_bulk",
        {"ramp": 2},
        7,
        None,
    )
    row = nuisance.KeyDay("k1", "ci", 4, mature=True, requests=9, nusd=5, found=[("new_model", "low", "alert")])
    assert bench_containment.kept(path, [row]) == [row]
    assert msgspec.json.decode(path.read_bytes(), type=list[nuisance.KeyDay])[0].requests == 9


def test_the_gatekeeper_lets_through_what_the_buckets_let_through() -> None:
    gate = Gatekeeper(500 * USD, USD)
    answers = [gate.ask(AT + place * US, USD // 10, USD // 10, US) for place in range(15)]
    assert answers[:10] == [""] * 10
    assert "ramp" in answers
    gate = Gatekeeper(USD, None)
    assert [gate.ask(AT, USD, 0, MINUTE), gate.ask(AT, 1, 1, US)] == ["", "budget"]
    assert gate.ask(AT + 2 * MINUTE, USD, USD, US) == ""


def test_a_throttle_lets_six_a_minute_through_for_an_hour_and_a_quarantine_nothing() -> None:
    gate = Gatekeeper(500 * USD, None)
    gate.throttle(AT)
    passed = sum(not gate.ask(AT + place * US, 1, 1, US) for place in range(10 * 60))
    assert 58 <= passed <= 62
    assert [gate.ask(AT + 2 * HOUR, 1, 1, US) for _ in range(20)] == [""] * 20
    gate.quarantine()
    assert gate.ask(AT + 3 * HOUR, 1, 1, US) == "quarantined"


def test_what_one_request_shows_is_not_forwarded_where_it_is_enforced() -> None:
    judged = inline.run(range(10), "enforce")
    assert {each.shape for each in judged} == {"checker", "canary", "foreign_network", "foreign_model"}
    assert [each for each in judged if not each.refused] == []
    assert [each for each in inline.run(range(10), "observe") if not each.noticed] == []


@pytest.mark.slow
@recorded
def test_shapes_are_what_their_sources_say(victim: victims.Victim) -> None:
    bulk = some("one_ip_bulk", victim)
    assert len({each.net for each in bulk}) == 1
    rate = len(bulk) / ((bulk[-1].ts - bulk[0].ts) / HOUR)
    assert 1_100 <= rate <= 2_200
    tokens = sum(each.made.size.input for each in some("victim_64", victim, 10_000))
    assert tokens == pytest.approx(17_500_000, rel=0.25)
    assert len({each.net for each in some("address_per_request", victim)}) >= 40
    assert {each.made.model for each in some("victim_63", victim)} & set(victim.app.models) == set()
    dollars = attack("gemini_dollars", victim)
    assert dollars.mean_nusd * dollars.calls_per_h <= 2.5e12
    assert all(each.made.client == victim.app.client for each in some("adaptive", victim))
    assert some("nothing", victim) == []


@pytest.mark.slow
@recorded
def test_a_seed_gives_the_same_attack_again(victim: victims.Victim) -> None:
    assert some("resale_marked", victim) == some("resale_marked", victim)


@recorded
def test_benign_days_are_in_order_and_the_same_again() -> None:
    def first() -> Iterator[list[Any]]:
        for life in benign.lives(traces.halves()[0], 1, "test"):
            yield [
                (each.ts, each.src_ip, each.model_asked, each.cost_nusd) for day in range(3) for each in life.day(day)
            ]

    once = list(first())
    assert once == list(first())
    assert all(events == sorted(events, key=lambda event: event[0]) for events in once)
    assert sum(map(len, once)) > 1_000


@pytest.mark.slow
@recorded
@pytest.mark.parametrize(("severity", "action"), [("critical", "quarantine"), ("high", "throttle"), ("medium", "")])
def test_what_a_cycle_finds_takes_hold(
    severity: str, action: str, victim: victims.Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = catalogue(tmp_path, severity)
    monkeypatch.setattr(replay, "load", lambda: found)
    for name, value in {"most_calls": 40, "lead_in_h": 0.2, "after_brake_h": 0.01}.items():
        monkeypatch.setitem(parameters()["run"], name, value)
    monkeypatch.setitem(parameters()["shapes"]["burst_61k"], "hours", 0.02)
    monkeypatch.setattr(replay, "_TAIL_US", 10 * US)
    courses = replay.run({3: victim}, NothingLearned(), [3], 9, ["burst_61k"])
    assert len(courses) == 4
    for course in courses:
        assert course.alerted_by == "first_call"
        assert course.alert_us is not None
        assert (course.action, course.brake_us is not None) == (action, bool(action))
        assert (course.forwarded <= 40) == bool(action)  # what nothing stops goes on
        if action:
            assert course.brake_us == course.alert_us + US // 2
            assert course.nusd_before >= 0
            assert course.requests_before <= course.forwarded


@recorded
def test_benign_days_are_judged_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first_call.sql").write_text(FIRST_CALL.replace("LIKE 'x%'", "<> ''"))
    (tmp_path / "first_call.yaml").write_text(DESCRIPTION.replace("SEVERITY", "high"))
    rows = nuisance.run(0, 1, 1, load(tmp_path))
    assert rows
    assert all(row.paged == row.throttled for row in rows)
    of = figures.of_days(rows)
    assert of["pages"][0] == sum(row.paged for row in rows) > 0
    assert nuisance.by_detection(rows)["first_call"][1] == of["pages"][0]


def test_dollars_are_those_before_the_brake() -> None:
    course = replay.Course("one_ip_bulk", 0, learned=True, known=True, forwarded=9, spent_nusd=9 * USD)
    assert figures.lost(course) == (9, 9 * USD)
    course.brake_us, course.requests_before, course.nusd_before = AT, 2, 3 * USD
    assert figures.lost(course) == (2, 3 * USD)
    course.allowance_nusd, course.largest_hold = USD, USD
    assert figures.within_allowance(course) is False
    course.largest_hold = 2 * USD
    assert figures.within_allowance(course) is True
    assert figures.spread([]) == (None, None, None)
