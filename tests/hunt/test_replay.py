"""Past traffic gives the findings that it gave when it was live."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import Engine
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.events.baselines import Digest
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import Event
from jackstop.events.warehouse import Warehouse, digest_events
from jackstop.hunt.replay import of_traffic, replayed

FIRST_US = 20_500 * DAY_US
DAYS = 6
LAST_US = FIRST_US + DAYS * DAY_US
THEFT_US = LAST_US + 3 * HOUR_US
LIVE = {each.name: each for each in of_traffic(shipped().values())}


def event(number: int, ts_us: int, **columns: Any) -> Event:
    given: dict[str, Any] = {
        "key_id": "k1",
        "owner": "one@example.com",
        "team": "t1",
        "key_kind": "virtual",
        "provider": "openai",
        "action_class": "inference",
        "endpoint": "chat.completions",
        "model_asked": "gpt-4o-mini",
        "outcome": "ok",
        "decision": "admitted",
        "status": 200,
        "src_ip": "192.0.2.7",
        "src_net": "192.0.2.0/24",
        "client": "openai-python",
        "user_agent": "OpenAI/Python 2.8.0",
        "ua_state": "present",
        "http_fp": "h1",
        "input_tokens": 900,
        "output_tokens": 200,
        "cost_nusd": 2_000_000,
        "max_output_asked": 1024,
        "messages_n": 2,
        "tools_n": 0,
        "stream": False,
        "system_fp": f"s{number % 3}",
        "conversation_fp": f"c{number}",
        "event_id": f"e{number}-{ts_us}",
        "ts": ts_us,
        "seen_ts": ts_us,
        **columns,
    }
    return Event(**given)


def ordinary(day_us: int, key: str = "k1") -> list[Event]:
    hours = range(8, 18)
    return [
        event(number, day_us + hour * HOUR_US + number * 7 * MINUTE_US, key_id=key)
        for hour in hours
        for number in range(8)
    ]


def stolen() -> list[Event]:
    """A checker's probe at three in the morning, then an hour of a dear model from many networks."""
    probe = event(0, THEFT_US, markers="probe:verbatim", src_net="203.0.113.0/24", src_ip="203.0.113.9", client="curl")
    spent = [
        event(
            number,
            THEFT_US + number * 20_000_000,
            model_asked="gpt-5",
            cost_nusd=400_000_000,
            src_net=f"198.51.{number % 40}.0/24",
            src_ip=f"198.51.{number % 40}.1",
            client="node",
            http_fp="h9",
            system_fp=f"t{number % 40}",
            stream=True,
        )
        for number in range(1, 180)
    ]
    return [probe, *spent]


def history() -> list[list[Event]]:
    days = [ordinary(FIRST_US + day * DAY_US) + ordinary(FIRST_US + day * DAY_US, "k2") for day in range(DAYS + 1)]
    days[-1] = sorted([*days[-1], *stolen()], key=lambda each: each.ts)
    return days


def live(days: list[list[Event]]) -> list[Finding]:
    """The findings of a live system that saw these days, the hour of the theft ten minutes at a time."""
    warehouse, engine = Warehouse(), Engine(LIVE)
    digests: dict[int, Digest] = {}
    found: dict[str, Finding] = {}
    keys = [{"kind": "key", "id": key, "state": "live", "created_ts": FIRST_US + 8 * HOUR_US} for key in ("k1", "k2")]
    warehouse.set_table("inventory", keys)
    try:
        for day_us, events in zip(range(FIRST_US, LAST_US + 1, DAY_US), days, strict=True):
            if digests:
                warehouse.learn(day_us, digests)
            edges = [day_us, *range(day_us + 3 * HOUR_US, day_us + 4 * HOUR_US + 1, 10 * MINUTE_US), day_us + DAY_US]
            for start_us, end_us in pairwise(edges):
                batch = [each for each in events if start_us <= each.ts < end_us]
                if batch:
                    warehouse.feed(batch)
                    warehouse.tend(end_us)
                    engine.cycle(warehouse.connection, end_us, warehouse.take_oldest())
                    found |= {each.uid: each for each in engine.found}
            digests[day_us] = digest_events(events, day_us)
    finally:
        warehouse.close()
    return list(found.values())


def part(folder: Path, name: str, events: Iterable[Event]) -> Path:
    rows = list(events)
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, schema=SCHEMA), path)
    return path


def told(found: Iterable[Finding]) -> dict[str, tuple[Any, ...]]:
    return {each.uid: (each.detection, each.entity, each.severity, each.first_seen, each.last_seen) for each in found}


@pytest.mark.slow
def test_a_theft_in_past_traffic_gives_the_findings_that_it_gave_live(tmp_path: Path) -> None:
    days = history()
    found = replayed([part(tmp_path, "all", [each for day in days for each in day])], LIVE.values())
    assert told(found) == told(live(days))
    assert {each.entity for each in found if each.severity in {"high", "critical"}} == {"key:k1"}
    named = {each.detection for each in found}
    assert {"checker_probe", "spend_velocity", "spend_and_novelty"} <= named


def test_events_in_two_parts_count_once_and_other_sources_are_said(tmp_path: Path) -> None:
    days = history()[-2:]
    events = [each for day in days for each in day]
    read_us = LAST_US + 90 * DAY_US
    litellm = [structs.replace(each, source="litellm_spend", seen_ts=read_us) for each in events]
    once = replayed([part(tmp_path, "a", events)], LIVE.values())
    twice = replayed([part(tmp_path, "b", litellm), part(tmp_path, "c", litellm)], LIVE.values())
    assert told(once) == told(twice) != {}
    assert [(each.uid, each.count) for each in once] == [(each.uid, each.count) for each in twice]
    assert {each.sources for each in twice} == {("litellm_spend",)}


def test_what_a_person_allowed_is_left_out_and_without_keys_there_is_nothing(tmp_path: Path) -> None:
    days = history()[-1:]
    path = part(tmp_path, "a", days[0])
    found = {each.detection for each in replayed([path], LIVE.values(), [("checker_probe", "key:k1", 0)])}
    assert "checker_probe" not in found
    assert replayed([part(tmp_path, "b", [event(1, LAST_US, key_id="")])], LIVE.values()) == []
    assert replayed([], LIVE.values()) == []


def test_a_lake_without_a_history_is_learning(tmp_path: Path) -> None:
    found = replayed([part(tmp_path, "a", ordinary(LAST_US))], LIVE.values())
    assert [each for each in found if each.severity not in {"info", "low"}] == []
