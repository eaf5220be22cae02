from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jackstop.clock import SystemClock, from_datetime, to_datetime
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import COLUMNS, Event

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def put(lake: Path, name: str, events: list[Event]) -> None:
    for day in {to_datetime(event.ts).strftime("%Y-%m-%d") for event in events}:
        folder = lake / f"date={day}"
        folder.mkdir(exist_ok=True)
        here = [event for event in events if to_datetime(event.ts).strftime("%Y-%m-%d") == day]
        columns = {column: [getattr(event, column) for event in here] for column in COLUMNS}
        pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"{name}.parquet")


@pytest.fixture
def now_us() -> int:
    return SystemClock().now_us()


def test_the_rollout_report_counts_per_key_and_reason(shell: Any, now_us: int) -> None:
    made = shell.ok("key", "issue", "--owner", "a@example.com", "--name", "billing", "--team", "red", "--json").json
    would = {"key_id": made["id"], "decision": "would_refuse", "cost_nusd": 10}
    put(
        shell.home.lake,
        "one",
        [
            *(Event(ts=now_us - number * HOUR_US, reason="network", **would) for number in range(3)),
            *(Event(ts=now_us - number * HOUR_US, reason="budget", **would) for number in range(2)),
            Event(ts=now_us, key_id=made["id"], decision="admitted"),
            Event(ts=now_us, key_id="other", decision="would_refuse", reason="model"),
            Event(ts=now_us, decision="refused", reason="unauthorized"),
            Event(ts=now_us - 30 * DAY_US, reason="network", **would),
        ],
    )
    rows = shell.ok("report", "rollout", "--json").json
    found = [
        (row["key_id"], row["name"], row["team"], row["reason"], row["would_refuse"], row["requests"]) for row in rows
    ]
    assert found == [
        (made["id"], "billing", "red", "network", 3, 6),
        (made["id"], "billing", "red", "budget", 2, 6),
        ("other", "", "", "model", 1, 1),
    ]
    assert (rows[0]["first_seen"], rows[0]["last_seen"]) == (now_us - 2 * HOUR_US, now_us)
    assert rows[0]["cost_nusd"] == 30
    assert "billing" in shell.ok("report", "rollout").out
    assert shell.ok("report", "rollout", "--since", "31d", "--json").json[0]["would_refuse"] == 4


def test_nothing_to_report(shell: Any) -> None:
    assert shell.ok("report", "rollout", "--json").json == []
    assert "nothing" in shell.ok("report", "rollout").out


def test_an_export_holds_every_column_of_the_time_asked_for(shell: Any) -> None:
    days = [from_datetime(to_datetime(0).replace(year=2026, month=3, day=day, hour=12)) for day in (1, 2, 3)]
    put(shell.home.lake, "one", [Event(ts=ts, event_id=str(ts), hold_nusd=5) for ts in days])
    lines = shell.ok("events", "export").out.splitlines()
    assert [json.loads(line)["ts"] for line in lines] == days
    assert set(json.loads(lines[0])) == set(COLUMNS)
    some = shell.ok("events", "export", "--since", "2026-03-02", "--until", "2026-03-03T12:00:00Z").out.splitlines()
    assert [json.loads(line)["ts"] for line in some] == days[1:2]


def test_an_export_to_a_file_is_for_its_owner_and_on_record(shell: Any, tmp_path: Path, now_us: int) -> None:
    put(shell.home.lake, "one", [Event(ts=now_us, key_id="a"), Event(ts=now_us, key_id="b")])
    out = tmp_path / "events.parquet"
    ran = shell.ok("events", "export", "--format", "parquet", "--out", str(out))
    assert "2 events" in ran.err
    assert pq.read_table(out).schema.names == SCHEMA.names
    assert sorted(pq.read_table(out)["key_id"].to_pylist()) == ["a", "b"]
    assert out.stat().st_mode & 0o777 == 0o600
    before = shell.ok("audit", "verify", "--json").json["seq"]
    shell.ok("events", "export")
    assert shell.ok("audit", "verify", "--json").json["seq"] == before + 1
    assert shell("events", "export", "--out", str(tmp_path / "no" / "x")).status == 2


def test_hidden_and_vanished_files_are_passed_by(shell: Any, now_us: int) -> None:
    put(shell.home.lake, "one", [Event(ts=now_us, key_id="a")])
    (folder,) = shell.home.lake.iterdir()
    (folder / ".two.tmp").write_bytes(b"half")
    assert len(shell.ok("events", "export").out.splitlines()) == 1


def test_an_export_without_events_is_empty(shell: Any, tmp_path: Path) -> None:
    assert shell.ok("events", "export").out == ""
    out = tmp_path / "none.parquet"
    shell.ok("events", "export", "--format", "parquet", "--out", str(out))
    assert pq.read_table(out).num_rows == 0
