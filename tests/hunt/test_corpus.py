"""Records to Parquet: nothing is lost, nothing is read twice, and a kill leaves nothing half."""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import random
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.errors import UserError
from jackstop.events import lake, sources, usage
from jackstop.events.schema import Event
from jackstop.hunt.intake import corpus as corpus_module
from jackstop.hunt.intake.corpus import Corpus, Intake
from jackstop.hunt.intake.inputs import Input, inputs_of
from tests.hunt.logs import (
    NOW_US,
    PACKED,
    astray,
    bucket_of_usage,
    concatenated,
    document,
    events_in,
    ids,
    lines,
    openai_entry,
    pretty,
    taken,
    trail,
)
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]


def test_parts_have_the_columns_of_the_lake(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(document([trail(1)]))
    intake, (event,) = taken(tmp_path / "corpus", path)
    assert pq.read_schema(intake.parts[0]).equals(lake.SCHEMA)
    assert event["raw_ref"] == f"{path}#event-1"
    assert (event["source"], event["provider"], event["seen_ts"]) == ("cloudtrail", "aws", NOW_US)
    assert (intake.records, intake.events, intake.files, intake.fresh) == (1, 1, 1, 1)
    assert intake.raw_bytes == path.stat().st_size


def test_buckets_of_usage_are_rows_beside_the_events(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "usage").write_bytes(
        json.dumps({"object": "page", "data": [bucket_of_usage(1_795_000_000 - 3_600 * n) for n in range(3)]}).encode()
    )
    (folder / "trail").write_bytes(document([trail(1)]))
    intake, events = taken(tmp_path / "corpus", folder)
    rows = [row for part in intake.usage_parts for row in pq.read_table(part).to_pylist()]
    assert pq.read_schema(intake.usage_parts[0]).equals(usage.SCHEMA)
    assert [row["requests"] for row in rows] == [2, 2, 2]
    assert (intake.records, intake.events, intake.usage_rows, len(events)) == (4, 1, 3, 1)
    # And alone, once more: the parts hold the rows of what is asked for, and no others.
    intake, events = taken(tmp_path / "corpus", folder / "trail")
    assert (intake.fresh, intake.usage_parts, len(events)) == (0, [], 1)
    intake, events = taken(tmp_path / "corpus", folder / "usage")
    assert (intake.fresh, intake.usage_rows, intake.parts) == (0, 3, [])
    assert sum(pq.read_metadata(part).num_rows for part in intake.usage_parts) == 3


def test_files_and_folders_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(document([trail(1)]))
    with Corpus(tmp_path / "corpus", NOW_US) as corpus:
        corpus.take_in(inputs_of([str(path)]))
        for each in [tmp_path / "corpus", *(tmp_path / "corpus").rglob("*")]:
            assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)


# -- what was read before ---------------------------------------------------------------------------------------


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_bytes(document([trail(number)]) + b"garbage")
    (folder / "unknown").write_bytes(b"hello")
    first, events = taken(tmp_path / "corpus", folder)
    second, again = taken(tmp_path / "corpus", folder)
    assert (first.fresh, second.fresh) == (4, 0)
    assert again == events
    second.fresh = first.fresh
    assert second == first
    (folder / "3").write_bytes(document([trail(3)]))
    third, _ = taken(tmp_path / "corpus", folder)
    assert (third.fresh, third.events) == (1, 4)


def test_a_file_that_changed_is_read_anew_and_its_old_rows_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_bytes(lines([trail(number)]))
    taken(tmp_path / "corpus", folder)
    with (folder / "1").open("ab") as file:
        file.write(lines([trail(10)]))
    intake, events = taken(tmp_path / "corpus", folder)
    assert intake.fresh == 1
    assert sorted(ids(events)) == ["event-0", "event-1", "event-10", "event-2"]
    assert taken(tmp_path / "corpus", folder)[0].fresh == 0


def test_only_what_is_asked_for_is_in_the_parts(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    for number in range(4):
        path = folder / f"{number % 2}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document([trail(number)]))
    taken(tmp_path / "corpus", folder)
    intake, events = taken(tmp_path / "corpus", folder / "1")
    assert (intake.fresh, sorted(ids(events))) == (0, ["event-1", "event-3"])
    intake, events = taken(tmp_path / "corpus", folder)
    assert (intake.fresh, sorted(ids(events))) == (0, ["event-0", "event-1", "event-2", "event-3"])


def test_another_source_by_name_is_another_reading(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(lines([trail(1), openai_entry(1)]))
    assert taken(tmp_path / "corpus", path)[0].events == 2
    assert taken(tmp_path / "corpus", path, source="cloudtrail")[0].events == 1
    assert taken(tmp_path / "corpus", path)[0].events == 2


def test_nothing_is_kept_without_keep(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(document([trail(1)]))
    with Corpus(tmp_path / "corpus", NOW_US, keep=False) as corpus:
        intake = corpus.take_in(inputs_of([str(path)]))
        assert ids(events_in(intake)) == ["event-1"]
    assert not intake.parts[0].exists()
    assert not (tmp_path / "corpus").exists()


def test_another_hunt_does_not_sweep_parts_that_are_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(2):
        (folder / str(number)).write_bytes(document([trail(number)]))
    with Corpus(tmp_path / "corpus", NOW_US) as first:
        intake = first.take_in(inputs_of([str(folder)]))
        taken(tmp_path / "corpus", folder / "1")
        taken(tmp_path / "corpus", folder / "1")
        assert sorted(ids(events_in(intake))) == ["event-0", "event-1"]
    taken(tmp_path / "corpus", folder)
    assert not intake.parts[0].exists()


def test_what_older_code_read_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(document([trail(1)]))
    taken(tmp_path / "corpus", path)
    monkeypatch.setattr(corpus_module, "_readers_version", lambda: "next")
    assert taken(tmp_path / "corpus", path)[0].fresh == 1
    assert [each.name for each in (tmp_path / "corpus").glob("parts-*")] == ["parts-next"]


def test_jackstops_own_lake_is_taken_as_it_is(tmp_path: Path) -> None:
    lake.write_read(tmp_path / "lake", "reading", [Event(ts=NOW_US, event_id="one", key_id="k")])
    intake, events = taken(tmp_path / "corpus", tmp_path / "lake")
    assert [part.parent.parent for part in intake.parts] == [tmp_path / "lake"]
    assert [event["event_id"] for event in events] == ["one"]
    assert intake.unknown == []
    assert (intake.events, intake.records) == (1, 1)


def test_a_source_that_is_none_is_an_error(tmp_path: Path) -> None:
    with Corpus(tmp_path, NOW_US) as corpus, pytest.raises(UserError) as caught:
        corpus.take_in([], "nothing")
    assert caught.value.problem == "there is no source 'nothing'"
    assert "cloudtrail" in caught.value.remedy


def test_a_file_that_cannot_be_read_now_is_named_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(document([trail(1)]))
    (given_,) = inputs_of([str(path)])
    path.unlink()
    with Corpus(tmp_path / "corpus", NOW_US) as corpus:
        for _ in range(2):
            intake = corpus.take_in([given_])
            assert (intake.fresh, intake.unknown) == (
                1,
                [(str(path), "it could not be read: No such file or directory")],
            )


# -- nothing is lost --------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.integers(0, 99).map(trail) | st.integers(0, 99).map(openai_entry) | JSON


@settings(max_examples=60)
@given(
    st.lists(RECORDS, min_size=1, max_size=8),
    st.sampled_from([document, lines, pretty, concatenated]),
    st.sampled_from(sorted(PACKED)),
    st.integers(0, 3),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_every_record_is_an_event_or_set_aside(
    listed: list[Any], written: Any, packed: str, hits: int, inside: bool, chance: random.Random
) -> None:
    data = written([trail(100), *listed])
    for _ in range(hits if inside else 0):
        data = astray(data, chance)
    data = PACKED[packed](data)
    for _ in range(0 if inside else hits):
        data = astray(data, chance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        path.write_bytes(data)
        intake, events = taken(Path(folder, "corpus"), path)
    assert intake.records == intake.events + intake.set_aside_count
    assert intake.events == len(events) == sum(intake.by_source.values())
    assert len(intake.set_aside) == intake.set_aside_count
    if not hits:
        known = [each for each in listed if isinstance(each, dict) and {"eventID", "effective_at"} & each.keys()]
        assert intake.events == len(known) + 1
        # At the top a list stands for what is in it.
        by_itself = written in {document, pretty}
        assert intake.records == 1 + sum(1 if by_itself or not isinstance(each, list) else len(each) for each in listed)


def test_a_record_that_its_reader_cannot_take_is_set_aside_by_hash(tmp_path: Path) -> None:
    bad = trail(2, eventTime="yesterday")
    path = tmp_path / "log"
    path.write_bytes(lines([trail(1), bad, trail(3)]))
    intake, events = taken(tmp_path / "corpus", path)
    assert ids(events) == ["event-1", "event-3"]
    (aside,) = intake.set_aside
    raw = json.dumps(bad).encode()
    assert (aside.file, aside.line, aside.offset) == (str(path), 2, len(lines([trail(1)])))
    assert aside.sha256 == hashlib.sha256(raw).hexdigest()
    assert "yesterday" not in aside.why


def test_a_reader_that_fails_costs_its_record_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trails = sources.source("cloudtrail")

    def read(entry: Any, origin: Any) -> Event:
        if entry.event_id == "event-2":
            raise KeyError("what the record said")
        event: Event = trails.read(entry, origin)
        return event

    failing = trails._replace(read=read)
    monkeypatch.setattr(sources, "in_files", lambda: (failing,))
    path = tmp_path / "log"
    path.write_bytes(lines([trail(1), trail(2), trail(3)]))
    intake, events = taken(tmp_path / "corpus", path)
    assert ids(events) == ["event-1", "event-3"]
    assert [each.why for each in intake.set_aside] == ["its reader failed: KeyError"]


def test_a_half_written_file_keeps_its_whole_records_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    data = PACKED["gz"](
        document([trail(number, note=random.Random(number).randbytes(500).hex()) for number in range(300)])
    )
    path.write_bytes(data[: len(data) // 2])
    intake, events = taken(tmp_path / "corpus", path)
    assert 100 < len(events) < 200
    assert ids(events) == [f"event-{number}" for number in range(len(events))]
    assert intake.set_aside[-1].why == "its gz is cut off"


def test_a_document_larger_than_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackstop.hunt.intake.normalise._WHOLE_BYTES", 100_000)
    path = tmp_path / "log"
    path.write_bytes(document([trail(number) for number in range(5_000)]))
    intake, events = taken(tmp_path / "corpus", path)
    assert ids(events) == [f"event-{number}" for number in range(5_000)]
    assert intake.set_aside == []


def test_more_set_aside_than_are_listed_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(lines([trail(1), *range(1_500)]))
    intake, _ = taken(tmp_path / "corpus", path)
    assert (intake.set_aside_count, len(intake.set_aside), intake.records) == (1_500, 1_000, 1_501)


# -- several processes, and kills -------------------------------------------------------------------------------


def many(folder: Path, files: int = 30, records: int = 800) -> list[Input]:
    folder.mkdir()
    chance = random.Random(1)
    for number in range(files):
        made = [trail(number * records + each, note=chance.randbytes(300).hex()) for each in range(records)]
        (folder / f"{number:03}.json").write_bytes(document(made))
    return inputs_of([str(folder)])


def content(intake: Intake) -> dict[str, str]:
    """The parts by name, and what is in them."""
    return {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in intake.parts}


def test_several_processes_make_the_same_parts_as_one(tmp_path: Path) -> None:
    inputs = many(tmp_path / "logs")
    heard = []
    with Corpus(tmp_path / "one", NOW_US) as corpus:
        one = corpus.take_in(inputs, jobs=1)
    with Corpus(tmp_path / "two", NOW_US) as corpus:
        two = corpus.take_in(inputs, jobs=2, told=heard.append)
    assert len(one.parts) >= 3
    assert content(two) == content(one)
    last = heard[-1]
    assert (last.files, last.records, last.bytes) == (30, 24_000, sum(each.size for each in inputs))
    assert last.left_s == 0


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_and_the_next_run_ends_as_ever(tmp_path: Path) -> None:
    inputs = many(tmp_path / "logs")
    with Corpus(tmp_path / "whole", NOW_US) as corpus:
        whole = corpus.take_in(inputs)
    killed = []

    def kill(progress: Any) -> None:
        if progress.files and not killed:
            worker = multiprocessing.active_children()[-1]
            killed.append(worker.pid)
            worker.kill()

    with Corpus(tmp_path / "corpus", NOW_US) as corpus:
        with pytest.raises(UserError, match="a process that reads was killed"):
            corpus.take_in(inputs, told=kill)
        assert killed
        again = corpus.take_in(inputs)
    assert 0 < again.fresh < whole.fresh
    assert content(again) == content(whole)


def is_alive(pid: str) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


HUNTER = """
import sys
from pathlib import Path
from jackstop.hunt.intake.corpus import Corpus
from jackstop.hunt.intake.inputs import inputs_of

if __name__ == "__main__":
    with Corpus(Path(sys.argv[2]), int(sys.argv[3])) as corpus:
        corpus.take_in(inputs_of([sys.argv[1]]), told=lambda progress: print(progress.files, flush=True))
"""


@pytest.mark.slow
def test_a_hunt_that_is_killed_leaves_nothing_half_and_no_process(tmp_path: Path) -> None:
    inputs = many(tmp_path / "logs")
    with Corpus(tmp_path / "whole", NOW_US) as corpus:
        whole = corpus.take_in(inputs)
    script = tmp_path / "hunter.py"
    script.write_text(HUNTER)
    command = [sys.executable, str(script), str(tmp_path / "logs"), str(tmp_path / "corpus"), str(NOW_US)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as hunter:
        assert hunter.stdout is not None
        for line in hunter.stdout:
            if int(line):
                break
        children = Path(f"/proc/{hunter.pid}/task/{hunter.pid}/children").read_text().split()
        hunter.kill()
    assert len(children) >= 2
    wait_for(lambda: not any(is_alive(child) for child in children))
    with Corpus(tmp_path / "corpus", NOW_US) as corpus:
        intake = corpus.take_in(inputs)
        events = events_in(intake)
        assert not [each.name for each in intake.parts[0].parent.iterdir() if each.name.startswith(".")]
    assert 0 < intake.fresh < whole.fresh
    assert content(intake) == content(whole)
    assert len(set(ids(events))) == len(events) == 24_000


def test_a_copy_of_a_log_without_ids_has_the_same_events(tmp_path: Path) -> None:
    line = '203.0.113.9 - - [20/Nov/2026:10:00:00 +0000] "GET /v1/models HTTP/1.1" 200 12 "-" "curl/8"\n'
    other = line.replace("203.0.113.9", "203.0.113.10")
    (tmp_path / "access.log").write_text(line + line, encoding="ascii")
    (tmp_path / "copy.log").write_text(line + line, encoding="ascii")
    (tmp_path / "copy.log.gz").write_bytes(gzip.compress((line + line).encode()))
    (tmp_path / "another.log").write_text(other + line, encoding="ascii")
    found: dict[str, set[str]] = {}
    for path in sorted(tmp_path.iterdir()):
        folder = tmp_path / f".{path.name}"
        with Corpus(folder, NOW_US) as corpus:
            found[path.name] = set(ids(events_in(corpus.take_in(inputs_of([str(path)])))))
    assert found["copy.log"] == found["copy.log.gz"] == found["access.log"]
    assert len(found["access.log"]) == 2
    assert not found["another.log"] & found["access.log"]
