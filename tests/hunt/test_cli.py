"""The command as people use it: what it prints, how it ends, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from jackstop.cli.main import main
from tests.hunt.conftest import Hunter
from tests.hunt.logs import document, lines, trail
from tests.shared import shared

STOLEN = "arn:aws:iam::123456789012:user/stolen"


def theft() -> list[dict[str, Any]]:
    """Somebody lists models, looks whether calls are logged, and calls a model, with a user's long-lived key."""
    who = {"type": "IAMUser", "arn": STOLEN, "accessKeyId": "AKIASTOLEN0000000000", "userName": "stolen"}
    acts = ("ListFoundationModels", "GetModelInvocationLoggingConfiguration", "InvokeModel")
    return [
        trail(
            number,
            userIdentity=who,
            eventName=act,
            eventTime=f"2026-11-20T10:0{number}:00Z",
            userAgent="Boto3/1.29.7",
            readOnly=not act.startswith("Invoke"),
        )
        for number, act in enumerate(acts)
    ]


def quiet(number: int) -> dict[str, Any]:
    """What nobody looks twice at."""
    who = {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/ci", "accessKeyId": "AKIAEXAMPLE"}
    act = {"eventSource": "s3.amazonaws.com", "eventName": "ListBuckets", "userAgent": "aws-cli/2.15.0"}
    return trail(number, userIdentity=who, **act)


@pytest.fixture
def stolen(logs: Path) -> Path:
    (logs / "trail.json").write_bytes(document(theft()))
    return logs


# -- what it prints --------------------------------------------------------------------------------------------------


def test_a_published_detonation_is_found_and_told(hunt: Hunter) -> None:
    path = shared("data/stratus") / "aws.impact.bedrock-invoke-model.json"
    ran = hunt.json(path)
    (finding, *_) = ran.json["findings"]
    assert {"detection", "severity", "entity", "first_seen", "last_seen", "count", "evidence", "sources"} <= set(
        finding
    )
    assert {"id", "title", "what_to_do", "history", "uid"} <= set(finding)
    assert finding["entity"].startswith("principal:arn:aws:iam::")
    assert finding["sources"] == ["cloudtrail"]
    assert finding["first_seen"] <= finding["last_seen"]
    table = hunt(path).out
    for told in (finding["title"], finding["entity"], "What to do", "What could not be seen"):
        assert told in table


def test_the_most_severe_case_stands_first_and_its_findings_together(hunt: Hunter, stolen: Path) -> None:
    ran = hunt.json(stolen)
    severities = ["critical", "high", "medium", "low", "info"]
    found = [severities.index(each["severity"]) for each in ran.json["findings"]]
    assert len(found) > 1
    assert found == sorted(found)
    (case,) = ran.json["cases"]
    assert case["entity"] == f"principal:{STOLEN}"
    assert case["accounts"] == ["123456789012"]
    assert sorted(case["findings"]) == sorted(each["uid"] for each in ran.json["findings"])


def test_nothing_found_is_never_said_without_what_could_not_be_seen(hunt: Hunter, logs: Path) -> None:
    (logs / "trail.json").write_bytes(document([quiet(1)]))
    ran = hunt(logs)
    assert ran.status == 0
    assert ran.out.index("No findings") < ran.out.index("What could not be seen") < ran.out.index("aws.mantle")


def test_a_terminal_is_not_obeyed_through_names(hunt: Hunter, logs: Path) -> None:
    named = {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/\x1b[31mred", "accessKeyId": "AKIAX"}
    (logs / "trail.json").write_bytes(document([{**each, "userIdentity": named} for each in theft()]))
    ran = hunt(logs)
    assert "principal:" in ran.out
    assert "\x1b" not in ran.out


def test_each_finding_is_an_ocsf_detection_finding(hunt: Hunter, stolen: Path) -> None:
    ran = hunt(stolen, "--format", "ocsf")
    made = [json.loads(line) for line in ran.out.splitlines()]
    assert len(made) == len(hunt.json(stolen).json["findings"])
    for each in made:
        DetectionFinding.model_validate(each)
        assert each["metadata"]["log_name"] == "hunt"
        assert each["finding_info"]["data_sources"] == ["cloudtrail"]
        assert each["resources"][0]["uid"] == STOLEN
    assert "not seen: aws.mantle: account:123456789012: " in ran.err


# -- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fail_on", "status"), [("info", 1), ("high", 1), ("critical", 0), ("blind", 1)])
def test_it_ends_with_one_where_asked_to(hunt: Hunter, stolen: Path, fail_on: str, status: int) -> None:
    assert hunt(stolen, "--fail-on", fail_on).status == status


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nowhere",), "nowhere cannot be read: No such file or directory"),
        (("logs", "--source", "nonsense"), "there is no source 'nonsense'"),
        (("logs", "--source", "azure_activity"), "no record of 3 is one of azure_activity: logs/trail.json:1"),
        (("logs", "--detection", "nonsense"), "there is no detection 'nonsense'"),
        (("logs", "--since", "yesterday"), "'yesterday' is no time"),
        (("logs", "--spark-url", "sc://127.0.0.1"), "--spark-url is for the engine spark"),
        (("logs", "--allow", "nowhere.toml"), "nowhere.toml cannot be read: No such file or directory"),
        (("logs", "--fail-on", "much"), "invalid choice: 'much'"),
        (("--watch", "logs"), "put --watch behind the paths"),
    ],
)
def test_wrong_use_is_said_in_two_lines(
    hunt: Hunter, stolen: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(stolen.parent)
    ran = hunt(*args)
    assert (ran.status, ran.out) == (2, "")
    assert told in ran.err
    assert len(ran.err.splitlines()) == 2


def test_an_empty_folder_is_said_to_be_one(hunt: Hunter, logs: Path) -> None:
    ran = hunt(logs)
    assert (ran.status, ran.out) == (2, "")
    assert "there is no file" in ran.err


def test_a_file_that_is_no_log_is_named(hunt: Hunter, logs: Path) -> None:
    (logs / "picture.bin").write_bytes(bytes(range(256)) * 100)
    ran = hunt(logs)
    assert (ran.status, ran.out) == (2, "")
    assert f"{logs}/picture.bin is no log that a hunt reads" in ran.err


def test_of_a_mixed_folder_what_is_no_log_is_told_and_the_rest_read(hunt: Hunter, stolen: Path) -> None:
    (stolen / "picture.bin").write_bytes(bytes(range(256)) * 100)
    (stolen / "openai.ndjson").write_bytes(
        lines([{"id": "a-1", "type": "login.failed", "effective_at": 1_795_000_000}])
    )
    ran = hunt.json(stolen)
    assert ran.json["counts"]["by_source"] == {"cloudtrail": 3, "openai_audit": 1}
    assert [file for file, _ in ran.json["counts"]["unknown"]] == [f"{stolen}/picture.bin"]
    assert ran.gaps["files.unknown"] == "note"
    assert "picture.bin: not read" in hunt(stolen).out


def test_a_half_written_gz_is_read_as_far_as_it_goes_and_is_a_blind_spot(hunt: Hunter, logs: Path) -> None:
    records = [trail(number, requestID=os.urandom(200).hex()) for number in range(200)]
    packed = gzip.compress(document(records))
    (logs / "half.json.gz").write_bytes(packed[: len(packed) // 2])
    ran = hunt.json(logs)
    assert 0 < ran.json["counts"]["events"] < 200
    assert ran.gaps["files.damaged"] == "blind"
    table = hunt(logs, "--fail-on", "blind")
    assert table.status == 1
    assert f"{logs}/half.json.gz:" in table.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(hunt: Hunter, stolen: Path) -> None:
    (stolen / "secret.json").write_bytes(b"{}")
    (stolen / "secret.json").chmod(0)
    unknown = hunt.json(stolen).json["counts"]["unknown"]
    assert unknown == [[f"{stolen}/secret.json", "it could not be read: Permission denied"]]


def test_a_detection_that_fails_is_named_and_the_rest_goes_on(hunt: Hunter, stolen: Path) -> None:
    own = hunt.home / "detections"
    own.mkdir(parents=True)
    (own / "own_broken.sql").write_text("SELECT nonsense FROM events", encoding="utf-8")
    (own / "own_broken.yaml").write_text(
        "{id: OWN-1, title: T, meaning: M, severity: low, attack: [], atlas: [], sources: [cloudtrail], window: 5m, "
        "cadence: 5s, false_positives: [], what_to_do: [], references: [], tests: []}",
        encoding="utf-8",
    )
    ran = hunt(stolen, "--json", "--fail-on", "high")
    assert ran.status == 3
    assert list(ran.json["failed"]) == ["own_broken"]
    assert "nonsense" in ran.json["failed"]["own_broken"]
    assert ran.gaps["detections.failed"] == "blind"
    assert ran.json["findings"]


# -- what it leaves behind -------------------------------------------------------------------------------------------


def test_it_needs_no_home_and_keeps_its_own_to_itself(hunt: Hunter, stolen: Path) -> None:
    assert not hunt.home.exists()
    hunt.json(stolen)
    assert [path.name for path in hunt.home.iterdir()] == ["hunts"]
    for path in (hunt.home, *hunt.home.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_nothing_stays_where_nothing_is_to_be_kept(
    hunt: Hunter, stolen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert hunt.json(stolen, "--no-keep").json["findings"]
    assert not hunt.home.exists()
    assert list(scratch.iterdir()) == []


def test_what_was_read_once_is_not_read_again(hunt: Hunter, stolen: Path) -> None:
    first = hunt.json(stolen).json
    parts = {path: path.stat().st_ino for path in hunt.home.rglob("*.parquet")}
    assert parts
    again = hunt.json(stolen).json
    assert {path: path.stat().st_ino for path in hunt.home.rglob("*.parquet")} == parts
    assert again["findings"] == first["findings"]
    assert again["counts"] == first["counts"]


def test_a_file_is_there_as_a_whole_and_for_its_owner(hunt: Hunter, stolen: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    out.write_text("before", encoding="utf-8")
    assert hunt(stolen, "--json", "--output", out).out == ""
    assert json.loads(out.read_text(encoding="utf-8"))["findings"]
    assert out.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_full_disk_is_said_to_be_one(hunt: Hunter, stolen: Path) -> None:
    ran = hunt(stolen, "--format", "html", "--output", "/dev/full")
    assert ran.status == 3
    assert ran.err.splitlines()[0] == "jackstop: /dev/full cannot be written: No space left on device"
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_is_not_there_is_said_not_to_be(hunt: Hunter, stolen: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path / "none" / "x.json", tmp_path):
        ran = hunt(stolen, "--output", wrong)
        assert (ran.status, ran.out) == (2, "")
        assert str(wrong) in ran.err
    # Nobody waits for a hunt that has nowhere to go.
    assert not hunt.home.exists()


def test_what_was_told_once_is_not_told_for_the_next_case(hunt: Hunter, logs: Path) -> None:
    records = [
        trail(
            number,
            userIdentity={"type": "IAMUser", "arn": f"{STOLEN}-{number}", "accessKeyId": f"AKIA{number}"},
            eventSource="cloudtrail.amazonaws.com",
            eventName="StopLogging",
        )
        for number in range(3)
    ]
    (logs / "trail.json").write_bytes(document(records))
    told = hunt(logs).out
    assert " in 3 cases" in told
    assert told.count("why: Somebody deleted, stopped or narrowed") == 1
    assert told.count("1. Ask whoever the principal belongs to.") == 1
    assert told.count("What to do: as in the case of") == 2


# -- as a process ----------------------------------------------------------------------------------------------------


@contextmanager
def started(hunt: Hunter, *args: Path | str, **given: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "jackstop", "hunt", *map(str, args)]
    environment = {**os.environ, "JACKSTOP_HOME": str(hunt.home), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, **given)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        with process:
            yield process
    finally:
        guard.cancel()
        process.kill()


@pytest.mark.slow
def test_standard_input_is_read(hunt: Hunter) -> None:
    with started(hunt, "-", "--json") as process:
        out, err = process.communicate(lines(theft()))
    assert process.returncode == 0, err
    assert json.loads(out)["counts"]["records"] == 3


@pytest.mark.slow
def test_an_interrupt_in_the_middle_leaves_nothing_half(hunt: Hunter, logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    os.mkfifo(logs / "pipe")
    with (
        started(hunt, logs / "pipe", "--json", "--output", out) as process,
        (logs / "pipe").open("wb", buffering=0) as pipe,  # opens once the hunt reads
    ):
        pipe.write(lines(theft()))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert not out.exists()
    assert not list(hunt.home.rglob("*.parquet*"))
    assert not list(hunt.home.rglob("spill-*"))


@pytest.mark.slow
def test_a_watch_tells_each_finding_once_as_files_come(hunt: Hunter, logs: Path) -> None:
    (logs / "1.json").write_bytes(document([quiet(9)]))
    with started(hunt, logs, "--watch", "1", "--json", "--fail-on", "high") as process:
        assert process.stdout is not None
        hidden = logs / ".2.json"
        hidden.write_bytes(document(theft()))
        hidden.rename(logs / "2.json")
        told = [json.loads(process.stdout.readline())]
        (logs / "3.json").write_bytes(document([quiet(10)]))
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate()
        told += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 1, err
    assert b"Traceback" not in err
    assert len({each["uid"] for each in told}) == len(told)
    assert {each["entity"] for each in told} == {f"principal:{STOLEN}"}


@pytest.mark.slow
def test_a_watch_says_once_what_it_could_not_see(hunt: Hunter, logs: Path) -> None:
    (logs / "1.json").write_bytes(document([quiet(9)]))
    (logs / "2.bin").write_bytes(b"\0\1\2")
    with started(hunt, logs, "--watch", "1", "--json") as process:
        assert process.stdout is not None
        hidden = logs / ".3.json"
        hidden.write_bytes(document([*theft(), {"eventVersion": "1.11", "eventSource": "s3.amazonaws.com"}]))
        hidden.rename(logs / "3.json")
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    said = err.decode().splitlines()
    assert sum("2.bin: not read: " in line for line in said) == 1, said
    assert sum("3.json:" in line and "set aside: " in line for line in said) == 1, said
    blind = [line for line in said if line.startswith("not seen: ")]
    assert blind
    assert len(set(blind)) == len(blind)


# -- cases -----------------------------------------------------------------------------------------------------------


def test_findings_become_cases_and_nothing_is_done_about_them(
    hunt: Hunter, stolen: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--admin", "admin@example.com"]) == 0
    assert "cases 1" in hunt(stolen, "--cases").err
    assert "no case is new" in hunt(stolen, "--cases").err
    capfd.readouterr()
    assert main(["cases", "show", "1", "--json"]) == 0
    case = json.loads(capfd.readouterr().out)
    assert case["entities"] == [f"principal:{STOLEN}"]
    assert case["responses"] == []
    assert any("inline policy" in step for step in case["next_steps"])


def test_without_a_home_cases_cannot_be_made(hunt: Hunter, stolen: Path) -> None:
    ran = hunt(stolen, "--cases")
    assert ran.status == 3
    assert "jackstop init" in ran.err
    assert ran.out
