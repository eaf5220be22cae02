"""What leaves with a case: when its responses began and ended, and its requests in order however many they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jackstop.cases import export
from tests.cases.desk import HOUR_US, MINUTE_US, Desk


def text_of(desk: Desk, case: int) -> list[str]:
    leaving = desk.run("cases export", id=case)
    return list(export.text(leaving, export.Tally().summary(0, 0), []))


def test_the_text_says_what_was_released_and_when(desk: Desk) -> None:
    desk.credential("main")
    case = desk.find("credential:main", "critical")
    desk.run("cases respond", id=case, action="approve")
    before = text_of(desk, case)
    assert "2026-11-23T12:00:00Z  done: contain of credential:main" in before
    assert not any("released" in line for line in before)
    desk.pass_time(MINUTE_US)
    desk.run("cases respond", id=case, action="release")
    assert "2026-11-23T12:01:00Z  released: contain of credential:main" in text_of(desk, case)


def test_a_throttle_that_ended_by_itself_is_released_and_one_that_gave_way_is_not(desk: Desk) -> None:
    one, two = desk.key(), desk.key()
    expired, taken = desk.find(f"key:{one}", "high"), desk.find(f"key:{two}", "high")
    desk.run("key throttle", id=two, rate="2req/min")
    desk.pass_time(HOUR_US)
    assert f"2026-11-23T13:00:00Z  released: throttle of key:{one}" in text_of(desk, expired)
    (line,) = [line for line in text_of(desk, taken) if "taken over" in line]
    assert line.startswith(f"2026-11-23T12:00:00Z  taken over: throttle of key:{two}")
    assert not any("released" in line for line in text_of(desk, taken))


def test_the_timeline_is_in_the_order_of_time(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    desk.pass_time(HOUR_US)
    desk.pass_time(HOUR_US)
    desk.find(f"key:{key}", "critical", "resale_shape")
    lines = text_of(desk, case)
    start = lines.index("Timeline (UTC)") + 1
    timeline = lines[start : lines.index("", start)]
    assert [line.split()[1] for line in timeline] == ["seen:", "done:", "released:", "seen:", "done:"]
    assert timeline == sorted(timeline)


@pytest.mark.parametrize("part", [1, 2, 3, 7, 100])
def test_requests_come_by_time_in_however_many_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: int
) -> None:
    monkeypatch.setattr(export, "PART", part)
    rows: list[dict[str, Any]] = [
        {"ts": number * 5 % 7, "event_id": f"e{number}", "model": "m\u00fc"} for number in range(20)
    ]
    with export.in_order(iter(rows), tmp_path) as ordered:
        assert list(ordered) == sorted(rows, key=lambda row: (row["ts"], row["event_id"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_json_of_any_number_of_requests_is_one_object(count: int) -> None:
    rows = [{"ts": number, "event_id": str(number)} for number in range(count)]
    written = "\n".join(export.as_json({"id": 1}, {"requests": count}, iter(rows)))
    assert json.loads(written) == {"case": {"id": 1}, "money": {"requests": count}, "requests": rows}
