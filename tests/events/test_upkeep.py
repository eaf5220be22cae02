"""Upkeep keeps every event once: for whoever looks at any moment, and whenever it is killed."""

import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.cli.lake import batches
from jackstop.clock import to_datetime
from jackstop.events import upkeep
from jackstop.events.analytics import DAY_US
from jackstop.events.lake import SCHEMA, files, files_of, open_file
from jackstop.events.schema import COLUMNS, Event
from jackstop.events.upkeep import tidy
from jackstop.gate.journal import Position

NOON = 1_790_000_000_000_000 // DAY_US * DAY_US + DAY_US // 2
NEXT_DAY = NOON + DAY_US


def put(lake, name, events):
    folder = lake / f"date={to_datetime(events[0].ts):%Y-%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    columns = {column: [getattr(event, column) for event in events] for column in COLUMNS}
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / f"{name}.parquet")
    return folder


def numbered(*numbers, ts=NOON):
    return [Event(ts=ts, event_id=str(number), src_ip="203.0.113.7", user_agent="curl/8", src_net="203.0.113.0/24")
            for number in numbers]  # fmt: skip


def seen(lake):
    return sorted(event_id for batch in batches(lake, ["event_id"]) for event_id in batch["event_id"].to_pylist())


class Killed(Exception):
    pass


def killed_after(monkeypatch, steps):
    """Let so many changes of the disk happen, and then none."""
    left = [steps]

    def guarded(act):
        def step(*args, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return act(*args, **options)

        return step

    monkeypatch.setattr(Path, "rename", guarded(Path.rename))
    monkeypatch.setattr(Path, "unlink", guarded(Path.unlink))


def test_the_files_of_a_finished_day_become_one(tmp_path):
    for number in range(5):
        folder = put(tmp_path, f"g0-0-{number}", numbered(number))
    assert tidy(tmp_path, NOON, {}, 90) == 0
    assert tidy(tmp_path, NEXT_DAY, {}, 90) == 1
    assert [file.name for file in folder.glob("*.parquet")] == ["merged-1.parquet"]
    assert seen(tmp_path) == list("01234")
    assert pq.read_table(folder / "merged-1.parquet").schema.equals(SCHEMA, check_metadata=False)
    assert (folder / "merged-1.parquet").stat().st_mode & 0o777 == 0o600
    assert tidy(tmp_path, NEXT_DAY, {}, 90) == 0


def test_what_comes_later_is_merged_with_what_was(tmp_path):
    folder = put(tmp_path, "g0-0-1", numbered(1))
    put(tmp_path, "g0-0-2", numbered(2))
    tidy(tmp_path, NEXT_DAY, {}, 90)
    put(tmp_path, "g0-0-3", numbered(3))
    assert seen(tmp_path) == ["1", "2", "3"]
    tidy(tmp_path, NEXT_DAY, {}, 90)
    assert seen(tmp_path) == ["1", "2", "3"]
    assert [file.name for file in files_of(folder)] == ["merged-2.parquet"]


def test_a_file_that_may_be_written_again_is_left_alone(tmp_path):
    for offset in (16, 50, 99):
        folder = put(tmp_path, f"g0-0-{offset}", numbered(offset))
    tidy(tmp_path, NEXT_DAY, {"g0": Position(0, 99)}, 90)
    assert sorted(file.name for file in files_of(folder)) == ["g0-0-99.parquet", "merged-1.parquet"]
    put(tmp_path, "g0-0-99", numbered(99, 100))
    assert seen(tmp_path) == ["100", "16", "50", "99"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=5), st.lists(st.integers(0, 12), max_size=4))
def test_killed_anywhere_it_loses_and_doubles_nothing(tmp_path_factory, sizes, kills):
    lake, number, expected = tmp_path_factory.mktemp("lake"), 0, []
    for size in sizes:
        put(lake, f"g0-0-{number}", numbered(*range(number, number + size)))
        expected += map(str, range(number, number + size))
        number += size
    for steps in kills:
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            killed_after(patch, steps)
            tidy(lake, NEXT_DAY, {}, 90)
        assert seen(lake) == sorted(expected)
        put(lake, f"g0-0-{number}", numbered(number))
        expected.append(str(number))
        number += 1
    tidy(lake, NEXT_DAY, {}, 90)
    assert seen(lake) == sorted(expected)


@pytest.mark.parametrize("steps", range(7))
def test_a_reader_that_listed_the_files_before_still_reads_each_event_once(tmp_path, monkeypatch, steps):
    for number in range(3):
        put(tmp_path, f"g0-0-{number}", numbered(number))
    listed = files(tmp_path)
    with monkeypatch.context() as patch, suppress(Killed):
        killed_after(patch, steps)
        tidy(tmp_path, NEXT_DAY, {}, 90)
    found = []
    for file in listed:
        with open_file(file) as parquet:
            found += parquet.read(columns=["event_id"])["event_id"].to_pylist()
    assert sorted(found) == ["0", "1", "2"]


def test_replaced_files_are_deleted_after_an_hour(tmp_path, monkeypatch):
    for number in range(3):
        folder = put(tmp_path, f"g0-0-{number}", numbered(number))
    tidy(tmp_path, NEXT_DAY, {}, 90)
    assert len(list(folder.iterdir())) == 4
    later = time.time() + 2 * 3600
    monkeypatch.setattr(upkeep.time, "time", lambda: later)
    tidy(tmp_path, NEXT_DAY, {}, 90)
    assert [file.name for file in folder.iterdir()] == ["merged-1.parquet"]


def test_addresses_and_user_agents_go_when_they_are_too_old(tmp_path):
    put(tmp_path, "g0-0-1", numbered(1))
    put(tmp_path, "g0-0-2", numbered(2))
    put(tmp_path, "g0-0-3", numbered(3, ts=NOON + 2 * DAY_US))
    now_us = NOON + 91 * DAY_US
    assert tidy(tmp_path, now_us, {}, 90) == 2
    rows = [row for file in files(tmp_path) for row in pq.read_table(file).to_pylist()]
    assert [(row["event_id"], row["src_ip"], row["user_agent"], row["src_net"]) for row in rows] == [
        ("1", "", "", "203.0.113.0/24"),
        ("2", "", "", "203.0.113.0/24"),
        ("3", "203.0.113.7", "curl/8", "203.0.113.0/24"),
    ]
    assert tidy(tmp_path, now_us, {}, 90) == 0
    assert tidy(tmp_path, now_us + 2 * DAY_US, {}, 90) == 1
