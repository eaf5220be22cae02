"""What a corpus lets go, what it reads anew, and rows that it cannot write down."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackstop.addresses.lookup import Lookup
from jackstop.clock import ManualClock
from jackstop.events import sources, usage
from jackstop.events.analytics import DAY_US
from jackstop.events.chores import Chores
from jackstop.events.follow import Follow
from jackstop.events.schema import Event
from jackstop.events.sources.entry import Origin
from jackstop.events.watch import Watch
from jackstop.hunt.intake import parts
from jackstop.hunt.intake.corpus import Corpus
from jackstop.hunt.intake.inputs import inputs_of
from jackstop.settings import Home, Settings
from tests.hunt.logs import NOW_US, bucket_of_usage, document, events_in, ids, lines, taken, trail


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("parts-*/*.parquet"))


def two_logs(folder: Path) -> Path:
    for number in range(2):
        path = folder / f"{number}/log"
        path.parent.mkdir(parents=True)
        path.write_bytes(document([trail(number)]))
    return folder


def test_parts_that_nobody_asks_for_are_gone_after_a_time(tmp_path: Path) -> None:
    logs, folder = two_logs(tmp_path / "logs"), tmp_path / "corpus"
    taken(folder, logs / "0")
    (unused,) = held(folder)
    for day, stays in ((89, True), (90, False)):
        with Corpus(folder, NOW_US + day * DAY_US) as corpus:
            corpus.take_in(inputs_of([str(logs / "1")]))
        assert (unused in held(folder)) == stays
    # What is asked for is kept.
    with Corpus(folder, NOW_US + 179 * DAY_US) as corpus:
        assert corpus.take_in(inputs_of([str(logs / "1")])).fresh == 0


def test_how_long_parts_are_kept_can_be_said(tmp_path: Path) -> None:
    logs, folder = two_logs(tmp_path / "logs"), tmp_path / "corpus"
    taken(folder, logs / "0")
    with Corpus(folder, NOW_US + 3 * DAY_US, unused_days=3) as corpus:
        assert corpus.take_in(inputs_of([str(logs / "0")])).fresh == 1


def chores_of(root: Path) -> tuple[Chores, Path]:
    """The worker's chores in a home, and the folder of its hunts."""
    home = Home(root)

    def ask(command: str, args: dict[str, Any]) -> Any:
        raise AssertionError(f"control was asked for {command}")

    clock = ManualClock(NOW_US)
    watch = Watch(home, Settings(), ask, Follow(home.journal, Lookup.load(home)), threading.Lock(), clock)
    return Chores(home, Settings(), ask, watch, clock), root / "hunts"


def test_the_worker_removes_what_no_hunt_asked_for(tmp_path: Path) -> None:
    chores, folder = chores_of(tmp_path / "home")
    chores.do(NOW_US)  # nobody has hunted here yet
    assert not folder.exists()
    taken(folder, two_logs(tmp_path / "logs"))
    vendor = folder / "organisations" / "openai-audit_logs.jsonl"
    vendor.parent.mkdir()
    vendor.write_bytes(b"{}")
    os.utime(vendor, ns=(NOW_US * 1_000, NOW_US * 1_000))
    kept = held(folder)
    chores.do(NOW_US + 89 * DAY_US)
    assert (held(folder), vendor.exists()) == (kept, True)
    with Corpus(folder, NOW_US):
        chores.do(NOW_US + 90 * DAY_US)
        assert (held(folder), vendor.exists()) == (kept, False)
    chores.do(NOW_US + 91 * DAY_US)
    assert held(folder) == []
    assert not list(folder.glob("passing-*"))


def test_what_was_read_of_a_file_goes_after_the_file(tmp_path: Path) -> None:
    logs, folder = two_logs(tmp_path / "logs"), tmp_path / "corpus"
    taken(folder, logs)
    (logs / "0" / "log").unlink()
    taken(folder, logs)
    kept = {reading.name for path in folder.glob("parts-*/*.parquet") for reading in parts.readings_in(path)[0]}
    taken(folder, logs)
    (only,) = folder.glob("parts-*/*.parquet")
    assert kept == {str(logs / "0" / "log"), str(logs / "1" / "log")}  # a part that is replaced goes with the next hunt
    assert [reading.name for reading in parts.readings_in(only)[0]] == [str(logs / "1" / "log")]
    (logs / "1" / "log").unlink()
    other = tmp_path / "other"
    other.write_bytes(document([trail(3)]))
    taken(folder, other)
    assert only.name not in held(folder)


def test_a_file_that_could_be_read_only_later_is_then_kept(tmp_path: Path) -> None:
    logs, folder = two_logs(tmp_path / "logs"), tmp_path / "corpus"
    inputs = inputs_of([str(logs)])
    late = logs / "1" / "log"
    aside = late.rename(tmp_path / "aside")
    with Corpus(folder, NOW_US) as corpus:
        assert [name for name, _ in corpus.take_in(inputs).unknown] == [str(late)]
    aside.rename(late)
    for fresh in (1, 0):
        with Corpus(folder, NOW_US) as corpus:
            intake = corpus.take_in(inputs)
            assert (intake.fresh, sorted(ids(events_in(intake)))) == (fresh, ["event-0", "event-1"])


def test_a_damaged_part_is_made_anew(tmp_path: Path) -> None:
    logs, folder = two_logs(tmp_path / "logs"), tmp_path / "corpus"
    taken(folder, logs)
    (part,) = folder.glob("parts-*/*.parquet")
    part.write_bytes(part.read_bytes()[:-100])
    intake, events = taken(folder, logs)
    assert (intake.fresh, sorted(ids(events))) == (2, ["event-0", "event-1"])


def test_what_passed_through_a_hunt_that_was_killed_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    left = folder / "passing-left"
    left.mkdir(parents=True)
    (left / "0.parquet").write_bytes(b"rows")
    with Corpus(folder, NOW_US) as corpus:
        corpus.take_in([])
        assert not left.exists()
    assert not list(folder.glob("passing-*"))


# -- values that no column holds ---------------------------------------------------------------------------------


def too_large(monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[Any], None]) -> None:
    """Have the reader of a source give values that are more than a column holds."""
    real = sources.source(name)

    def read(entry: Any, origin: Origin) -> Any:
        done = real.read(entry, origin)
        spoil(done)
        return done

    known = tuple(real._replace(read=read) if each == real else each for each in sources.in_files())
    monkeypatch.setattr(sources, "in_files", lambda: known)


@pytest.mark.parametrize(("column", "value"), [("input_tokens", 1 << 63), ("region", "\ud800"), ("model", 7)])
@pytest.mark.parametrize("written", [document, lines])
def test_an_event_that_no_column_holds_is_set_aside_alone(
    column: str, value: object, written: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spoil(event: Event) -> None:
        if event.raw_ref.endswith("#event-1"):
            setattr(event, column, value)

    too_large(monkeypatch, "cloudtrail", spoil)
    path = tmp_path / "log"
    path.write_bytes(written([trail(0), trail(1), trail(2)]))
    intake, events = taken(tmp_path / "corpus", path)
    assert ids(events) == ["event-0", "event-2"]
    assert (intake.records, intake.events, intake.set_aside_count) == (3, 2, 1)
    assert intake.set_aside[0].why == "a value in it is more than a column holds"
    assert intake.set_aside[0].line == (2 if written is lines else 1)


def test_a_bucket_that_no_column_holds_is_set_aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def spoil(rows: list[usage.Usage]) -> None:
        rows[0].requests = 1 << 70

    too_large(monkeypatch, "openai_usage", spoil)
    path = tmp_path / "log"
    path.write_bytes(lines([bucket_of_usage(1_795_000_000)]))
    intake, _ = taken(tmp_path / "corpus", path)
    assert (intake.records, intake.usage_rows, intake.set_aside_count) == (1, 0, 1)
