"""A file's source is told from what is in it, and what no source knows is named with a reason."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackstop.events import sources
from jackstop.hunt.intake.recognise import recognise
from tests.hunt.logs import as_csv, concatenated, document, ids, lines, openai_entry, pretty, taken, trail
from tests.shared import shared


@pytest.mark.parametrize("written", [document, lines, pretty, concatenated])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_trail_is_known_however_it_is_written(written: Callable[[Any], bytes], bom: bytes, tmp_path: Path) -> None:
    path = tmp_path / "what.bin"
    path.write_bytes(bom + written([trail(1), trail(2)]).replace(b"\n", b"\r\n"))
    intake, events = taken(tmp_path / "corpus", path)
    assert intake.by_source == {"cloudtrail": 2}
    assert ids(events) == ["event-1", "event-2"]
    assert intake.set_aside == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\n \r\n", "it is blank"),
        (b"\x7fELF\x02\x01\x01\0\0\0" * 20, "it is binary, and no log"),
        (b"\xff\xfe{\0", "it is UTF-16 text: save it as UTF-8"),
        (b"PAR1xxxx", "it is a Parquet file, and not one of Jackstop's lake"),
        (b"hello\nworld\n", "it is text or CSV that no source knows: name one with --source"),
        (b"a,b\n1,2\n", "it is text or CSV that no source knows: name one with --source"),
        (b'{"a": 1}\n{"a": 2}\n', "it is JSON, but no source knows its records: name one with --source"),
        (b'[{"a": 1}]', "it is JSON, but no source knows its records: name one with --source"),
        (b'{"Records": [{"a": ', "nothing at its beginning is a whole record of a source that is known"),
        (gzip.compress(document([trail(1)]), mtime=0)[:40], "its gz is cut off"),
    ],
)
def test_what_no_source_knows_is_named_with_a_reason(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    intake, events = taken(tmp_path / "corpus", path)
    assert intake.unknown == [(str(path), why)]
    assert (intake.records, events) == (0, [])


def test_kinds_of_files_are_named(tmp_path: Path) -> None:
    database = tmp_path / "db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(database, "db")
    assert recognise(database.read_bytes(), True).why == "it is an SQLite database"
    assert recognise(archive.getvalue(), True).why == "it is a tar archive: unpack it first"


DIGEST = b'{"awsAccountId": "1", "digestStartTime": "a", "digestEndTime": "b", "logFiles": [{"hashValue": "c"}]}'


@pytest.mark.parametrize("data", [b'{"Records": []}', b"[]", DIGEST])
def test_a_document_without_records_is_no_mistake(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    intake, _ = taken(tmp_path / "corpus", path)
    assert (intake.unknown, intake.files, intake.records) == ([], 1, 0)


def test_files_of_several_sources_in_a_folder_each_get_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a").write_bytes(document([trail(1)]))
    (folder / "b").write_bytes(json.dumps({"data": [openai_entry(1)]}).encode())
    (folder / "c").write_bytes(b"hello")
    intake, events = taken(tmp_path / "corpus", folder)
    assert [(event["source"], event["provider"]) for event in events] == [
        ("cloudtrail", "aws"),
        ("openai_audit", "openai"),
    ]
    assert [Path(name).name for name, _ in intake.unknown] == ["c"]


def test_records_of_several_sources_in_one_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(lines([trail(1), openai_entry(1), {"a": 1}, trail(2), [trail(3)], 5]))
    intake, events = taken(tmp_path / "corpus", path)
    assert sorted((event["source"], name) for event, name in zip(events, ids(events), strict=True)) == [
        ("cloudtrail", "event-1"),
        ("cloudtrail", "event-2"),
        ("cloudtrail", "event-3"),
        ("openai_audit", "audit_log-1"),
    ]
    assert [each.line for each in intake.set_aside] == [3, 6]
    assert intake.records == 6


def test_a_source_that_is_named_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(lines([trail(1), openai_entry(1)]))
    intake, events = taken(tmp_path / "corpus", path, source="openai_audit")
    assert ids(events) == ["audit_log-1"]
    assert [each.line for each in intake.set_aside] == [1]
    assert intake.unknown == []


def test_every_source_says_what_the_reader_must_know() -> None:
    for source in sources.in_files():
        assert source.gives in {"events", "usage"}
        assert set(source.forms) <= {"json", "text", "csv"}
        assert isinstance(source.lists, tuple)
        assert isinstance(source.content, tuple)
        for strange in (None, 1, "", "x", [], {}, {"id": None}, {"": {}}, {"eventVersion": 1, "data": "x"}):
            assert source.claims(strange) is False


def test_no_two_sources_claim_one_record() -> None:
    panther = shared("data/panther")
    logs = [
        json.loads(line)["log"] for file in sorted(panther.glob("*.ndjson")) for line in file.read_text().splitlines()
    ]
    for log in logs:
        claimed = [source.name for source in sources.in_files() if source.claims(log)]
        assert len(claimed) <= 1, claimed


@pytest.mark.parametrize("folder", ["stratus", "invictus_aws"])
def test_real_trails_are_read_to_the_last_record(folder: str, tmp_path: Path) -> None:
    path = shared(f"data/{folder}")
    found = [json.loads(file.read_bytes()) for file in path.glob("*.json")]
    count = sum(len(each["Records"] if isinstance(each, dict) else each) for each in found)
    intake, _ = taken(tmp_path / "corpus", path)
    assert (intake.events, intake.set_aside_count, intake.unknown) == (count, 0, [])


@pytest.mark.parametrize("name", ["OpenAI_Audit", "Anthropic_Activity"])
def test_entries_of_providers_are_known_by_themselves(name: str, tmp_path: Path) -> None:
    panther = shared("data/panther") / f"{name}.ndjson"
    logs = [json.loads(line)["log"] for line in panther.read_text().splitlines()]
    path = tmp_path / "feed"
    path.write_bytes(lines(logs))
    intake, _ = taken(tmp_path / "corpus", path)
    assert intake.by_source == {name.lower(): len(logs) - intake.set_aside_count}
    assert intake.events >= len(logs) * 9 // 10


def test_rows_of_a_table_are_known_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "export"
    record = trail(1)
    row = {name.lower(): value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
    path.write_bytes(as_csv([row]))
    intake, events = taken(tmp_path / "corpus", path)
    assert intake.unknown == []
    assert intake.by_source == {"cloudtrail": 1}
    assert ids(events) == ["event-1"]


def test_a_row_that_begins_as_json_makes_no_json_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "export"
    cells = {name.lower(): value if isinstance(value, str) else json.dumps(value) for name, value in trail(1).items()}
    path.write_bytes(
        b"".join(
            as_csv([{"note": note} | cells]) if not place else as_csv([{"note": note} | cells]).partition(b"\n")[2]
            for place, note in enumerate(("{}", "[1]"))
        )
    )
    intake, events = taken(tmp_path / "corpus", path)
    assert (intake.unknown, intake.set_aside_count, len(events)) == ([], 0, 2)


@pytest.mark.parametrize("named", ["auto", "access_log"])
def test_a_line_that_begins_as_json_makes_no_json_of_its_log(named: str, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    line = b'198.51.100.7 - - [20/Nov/2026:10:00:00 +0000] "POST /v1/chat/completions HTTP/1.1" 200 15 "-" "curl/8"\n'
    path.write_bytes(line + b"{},x\n" + line)
    intake, events = taken(tmp_path / "corpus", path, source=named)
    assert (len(events), intake.set_aside_count) == (2, 1)
