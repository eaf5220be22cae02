"""What a hunt is given: folders, packed files, archives, buckets and standard input, whole, cut off and damaged."""

from __future__ import annotations

import copy
import gzip
import io
import os
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from jackstop.errors import UserError
from jackstop.hunt.intake import bucket, unpack
from jackstop.hunt.intake.inputs import Input, Unreadable, inputs_of, members
from tests.hunt.logs import PACKED, document, ids, taken, trail

TEXT = b"".join(b"line %d of a log\n" % number for number in range(50_000))


def read(given: Input) -> dict[str, tuple[bytes, str]]:
    """Of each file within an input what it holds, and why it ended early or could not be read."""
    found = {}
    for member in members(given, lambda _size: None):
        pieces = []
        while piece := member.stream.read(10_000):
            pieces.append(piece)
        found[member.name] = b"".join(pieces), member.why or member.stream.fault
    return found


def only(path: Path) -> tuple[bytes, str]:
    (given,) = inputs_of([str(path)])
    (found,) = read(given).values()
    return found


@pytest.mark.parametrize("packed", PACKED)
def test_files_are_unpacked_by_what_they_are_and_not_by_their_name(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(PACKED[packed](TEXT))
    assert only(path) == (TEXT, "")


@pytest.mark.parametrize("packed", ["gz", "zst", "bz2"])
def test_files_put_together_are_read_to_the_end(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKED[packed](TEXT) + PACKED[packed](b"more\n"))
    assert only(path) == (TEXT + b"more\n", "")


@pytest.mark.parametrize("packed", ["gz", "zst", "bz2"])
def test_a_file_that_was_cut_off_gives_what_it_has(packed: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = PACKED[packed](os.urandom(2_000_000).hex().encode())
    path.write_bytes(data[: len(data) // 2])
    found, fault = only(path)
    assert len(found) > 100_000
    assert fault == f"its {packed} is cut off"


def test_everything_before_damage_is_kept(tmp_path: Path) -> None:
    text = os.urandom(300_000).hex().encode()
    data = gzip.compress(text)
    place = len(data) // 2
    path = tmp_path / "log.gz"
    path.write_bytes(data[:place] + bytes(100) + data[place + 100 :])
    found, fault = only(path)
    before = zlib.decompressobj(31).decompress(data[:place])
    assert found.startswith(before)
    assert len(before) > 100_000
    assert fault == "its gz is damaged"


def test_padding_behind_a_file_is_nothing_and_anything_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(TEXT) + bytes(100))
    assert only(path) == (TEXT, "")
    path.write_bytes(gzip.compress(TEXT) + b"and so on")
    assert only(path) == (TEXT, "its gz is followed by bytes that are none")


def test_what_unpacks_to_more_than_any_log_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "_BOMB_BYTES", 8 << 20)
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    path = tmp_path / "bomb.gz"
    with path.open("wb") as file:
        for _ in range(200):
            file.write(packer.compress(zeros))
        file.write(packer.flush())
    (given,) = inputs_of([str(path)])
    size = 0
    for member in members(given, lambda _size: None):
        while piece := member.stream.read(1 << 20):
            size += len(piece)
        assert member.stream.fault == "its gz unpacks to more than 1000 times its size"
    assert size < 100 << 20


def test_files_of_an_archive_that_lie_over_one_another_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_BOMB_BYTES", 1 << 20)
    monkeypatch.setattr(unpack, "_BOMB_RATIO", 500)
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first", bytes(900 << 10))
        # Two names for the same bytes.
        second = copy.copy(archive.filelist[0])
        second.filename = "second"
        archive.filelist.append(second)
    (given,) = inputs_of([str(path)])
    found = {member.name: member.why for member in members(given, lambda _size: None)}
    assert found[f"{path}:first"] == ""
    assert found[f"{path}:second"] == "it unpacks to more than any log does"


def test_a_file_that_unpacks_to_itself_again_and_again_is_left(tmp_path: Path) -> None:
    data = b"x"
    for _ in range(9):
        data = gzip.compress(data)
    path = tmp_path / "log.gz"
    path.write_bytes(data)
    assert only(path)[1] == "it is packed more than 4 times over"


def test_every_file_of_an_archive_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/one.json", TEXT)
        archive.writestr("a/two.gz", gzip.compress(b"two"))
        archive.writestr("three.zip", PACKED["zip"](b"three"))
    (given,) = inputs_of([str(path)])
    found = read(given)
    assert found[f"{path}:a/one.json"] == (TEXT, "")
    assert found[f"{path}:a/two.gz"] == (b"two", "")
    assert found[f"{path}:three.zip"][1] == "it is a zip archive within another file: unpack that first"


def test_archives_that_are_cut_off_or_damaged_are_told(tmp_path: Path) -> None:
    path = tmp_path / "logs.zip"
    whole = PACKED["zip"](os.urandom(200_000))
    path.write_bytes(whole[:1_000])
    assert only(path)[1] == "its zip archive is damaged, or was not written to its end"
    path.write_bytes(whole[:5_000] + b"damage" + whole[5_006:])
    assert only(path)[1] == "its zip archive is damaged"


def test_folders_are_walked_by_name_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b/2.json", "b/1.json", "a/3.json", ".git/4.json", "b/.5.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "c").symlink_to("b")
    found = [Path(each.name).relative_to(tmp_path).as_posix() for each in inputs_of([str(tmp_path)])]
    assert found == ["a/3.json", "b/1.json", "b/2.json"]


def test_a_link_to_a_folder_elsewhere_is_told_and_not_followed(tmp_path: Path) -> None:
    for name in ("logs/here/a.json", "elsewhere/b.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "logs/linked").symlink_to("../elsewhere")
    (tmp_path / "logs/again").symlink_to("here")
    (tmp_path / "logs/up").symlink_to("..")
    (tmp_path / "logs/nothing.json").symlink_to("gone.json")
    found = {Path(each.name).name: each for each in inputs_of([str(tmp_path / "logs")])}
    assert sorted(found) == ["a.json", "linked", "nothing.json", "up"]
    for name, why in (("linked", "link to a folder"), ("up", "link to a folder"), ("nothing.json", "No such file")):
        with pytest.raises(Unreadable, match=why):
            list(members(found[name], lambda _: None))
    both = inputs_of([str(tmp_path / "logs"), str(tmp_path / "logs/linked")])
    assert [Path(each.name).name for each in both].count("b.json") == 1


def test_bodies_of_invocations_are_no_logs(tmp_path: Path) -> None:
    logs = tmp_path / "BedrockModelInvocationLogs/us-east-1/2026/11/23/12"
    (logs / "data").mkdir(parents=True)
    (logs / "log.json.gz").write_bytes(b"{}")
    (logs / "data/r-1_input.json.gz").write_bytes(b"{}")
    assert [Path(each.name).name for each in inputs_of([str(tmp_path)])] == ["log.json.gz"]
    assert len(inputs_of([str(logs / "data/r-1_input.json.gz")])) == 1


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(b"{}")
    assert len(inputs_of([str(tmp_path), str(path), f"{tmp_path}/./log.json"])) == 1


def test_a_path_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        inputs_of([str(tmp_path / "no")])
    assert caught.value.problem == f"{tmp_path}/no cannot be read: No such file or directory"
    assert caught.value.status == 2


def test_a_file_that_is_gone_when_its_turn_comes_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(b"{}")
    (given,) = inputs_of([str(path)])
    path.unlink()
    with pytest.raises(Unreadable, match="it could not be read: No such file or directory"):
        read(given)


def test_standard_input_may_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(document([trail(1)]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Once(data))))
    intake, events = taken(tmp_path / "corpus", "-")
    assert ids(events) == ["event-1"]
    assert intake.unknown == []
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Once(PACKED["zip"](b"{}")))))
    intake, _ = taken(tmp_path / "corpus", "-")
    assert intake.unknown == [("standard input", "a zip archive can be read only from a file")]


class Once(io.RawIOBase):
    """A pipe: it cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> int:
        return self._data.readinto(into)


def test_a_named_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(document([trail(1)]),))
    writer.start()
    _, events = taken(tmp_path / "corpus", pipe)
    writer.join()
    assert ids(events) == ["event-1"]


# -- buckets ----------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "practice")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "practice")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket.client.cache_clear()
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="logs")
    yield client
    bucket.client.cache_clear()


def test_objects_under_a_prefix_are_read(s3: Any, tmp_path: Path) -> None:
    for number, packed in enumerate(PACKED):
        s3.put_object(Bucket="logs", Key=f"AWSLogs/1/{number}", Body=PACKED[packed](document([trail(number)])))
    s3.put_object(Bucket="logs", Key="other/1", Body=b"{}")
    s3.put_object(Bucket="logs", Key="AWSLogs/folder/", Body=b"")
    intake, events = taken(tmp_path / "corpus", "s3://logs/AWSLogs/")
    assert sorted(ids(events)) == [f"event-{number}" for number in range(len(PACKED))]
    assert intake.files == len(PACKED)
    assert events[0]["raw_ref"] == "s3://logs/AWSLogs/1/0#event-0"


def test_an_object_that_was_replaced_is_read_anew(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="logs", Key="a", Body=document([trail(1)]))
    assert taken(tmp_path / "corpus", "s3://logs")[0].fresh == 1
    assert taken(tmp_path / "corpus", "s3://logs")[0].fresh == 0
    s3.put_object(Bucket="logs", Key="a", Body=document([trail(2)]))
    intake, events = taken(tmp_path / "corpus", "s3://logs")
    assert (intake.fresh, ids(events)) == (1, ["event-2"])


def test_an_object_that_changes_between_listing_and_reading_is_not_taken(s3: Any) -> None:
    s3.put_object(Bucket="logs", Key="a", Body=b"{}")
    (given,) = inputs_of(["s3://logs/a"])
    s3.put_object(Bucket="logs", Key="a", Body=b"[]")
    with pytest.raises(Unreadable, match="it could not be read: PreconditionFailed"):
        read(given)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3://", "s3:// names no bucket"),
        ("s3://nobody/", "s3://nobody cannot be listed: NoSuchBucket"),
        ("s3://logs/none", "nothing in s3://logs begins with 'none'"),
    ],
)
def test_a_bucket_that_is_not_there_is_an_error_that_names_it(s3: Any, url: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        inputs_of([url])
    assert caught.value.problem == problem
    assert caught.value.remedy
