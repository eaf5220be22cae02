"""Whatever logs look like, reading them ends well: nothing escapes, nothing is lost, and no content is kept.

The short form of bench/soak_parsers.py.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jackstop.events import sources
from tests.events.sources import (
    test_access_log,
    test_anthropic_activity,
    test_anthropic_usage,
    test_azure_openai,
    test_gcp_audit,
    test_litellm_spend,
    test_openai_audit,
    test_openai_usage,
    trail_samples,
)
from tests.hunt.fuzzing import FORMS, Fuzz
from tests.hunt.logs import as_csv, document, lines, taken, trail

FEW = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32)


@pytest.mark.slow
@pytest.mark.parametrize("what", [*sources.names(), *FORMS])
@given(seed=SEEDS)
@FEW
def test_damaged_logs(what: str, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(what, seed, Path(folder))
        fuzz.round(0, files=6, direct=60)
    assert dict(fuzz.tally.faults()) == {kind: [] for kind, _ in fuzz.tally.faults()}
    assert fuzz.tally.files == 6


@pytest.mark.parametrize("what", sources.names())
def test_every_source_has_records_that_are_read(what: str, tmp_path: Path) -> None:
    fuzz = Fuzz(what, 1, tmp_path)
    fuzz.round(0, files=4, direct=30)
    assert fuzz.tally.events + fuzz.tally.buckets


HUGE = 1 << 70
ENDLESS = "1e999999999"
"""A number that takes more memory to write out than there is."""


def audited(**told: Any) -> dict[str, Any]:
    return test_anthropic_activity.entry("compliance_api_accessed", **told)


@pytest.mark.parametrize(
    "record",
    [
        trail_samples.call(requestParameters={"modelId": "m", "max_tokens": HUGE}),
        test_azure_openai.CALL | {"durationMs": (1 << 62) - 1},
        test_access_log.ENVOY_JSON | {"duration": (1 << 62) - 1},
        test_litellm_spend.row(request_duration_ms=(1 << 62) - 1, endTime=None),
        test_openai_audit.entry("api_key.created", id="key_1", data={}) | {"api_key.created": {"role": ["owner"]}},
        audited(status_code=HUGE),
        test_gcp_audit.entry("aiplatform", "PredictionService.GenerateContent", status={"code": True}),
    ],
    ids=["tokens", "azure", "envoy", "litellm", "openai", "anthropic", "google"],
)
def test_a_value_that_no_column_holds_costs_no_record(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "log.json").write_bytes(lines([record]))
    intake, events = taken(tmp_path / "corpus", tmp_path / "log.json")
    assert (intake.set_aside, intake.unknown, len(events)) == ([], [], 1)


def test_half_a_surrogate_in_a_text_of_json_costs_no_record(tmp_path: Path) -> None:
    record = test_litellm_spend.row(metadata=json.dumps({"user_agent": "x\udfff"}))
    (tmp_path / "log.json").write_bytes(lines([record]))
    intake, events = taken(tmp_path / "corpus", tmp_path / "log.json")
    assert (intake.set_aside, [event["user_agent"] for event in events]) == ([], ["x?"])


@pytest.mark.parametrize(
    "record",
    [
        test_litellm_spend.row(spend=ENDLESS),
        test_openai_usage.bucket({"object": "organization.costs.result", "amount": {"value": ENDLESS}}, seconds=86_400),
        test_anthropic_usage.bucket({"amount": ENDLESS, "currency": "USD"}),
    ],
    ids=["litellm", "openai", "anthropic"],
)
def test_an_amount_beyond_all_measure_is_set_aside(record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "log.json").write_bytes(lines([record]))
    intake, _ = taken(tmp_path / "corpus", tmp_path / "log.json")
    assert intake.set_aside_count == intake.records == 1


def test_a_count_beyond_all_measure_is_set_aside(tmp_path: Path) -> None:
    row = {**dict.fromkeys(("start_time_iso", "end_time_iso"), "x"), "start_time": "1772712000"}
    (tmp_path / "use.csv").write_bytes(as_csv([{**row, "end_time": "1772798400", "input_tokens": ENDLESS}]))
    intake, _ = taken(tmp_path / "corpus", tmp_path / "use.csv")
    assert intake.set_aside_count == intake.records == 1


def test_the_name_of_a_file_need_not_be_text(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.json"
    path.write_bytes(document([trail(1)]) + b"nothing")
    for fresh in (1, 0):
        intake, events = taken(tmp_path / "corpus", path)
        assert intake.fresh == fresh
        assert [event["raw_ref"] for event in events] == [f"{tmp_path}/caf\\xe9.json#event-1"]
        assert [each.file for each in intake.set_aside] == [f"{tmp_path}/caf\\xe9.json"]


def test_a_row_of_csv_is_longer_than_a_glance_and_the_source_is_named(tmp_path: Path) -> None:
    rows = [{"eventid": str(number), "useridentity": "", "useragent": "x" * 70_000} for number in range(3)]
    (tmp_path / "trail.csv").write_bytes(as_csv(rows))
    intake, _ = taken(tmp_path / "corpus", tmp_path / "trail.csv", source="cloudtrail")
    assert intake.records == 3


def test_a_line_that_lists_and_is_not_utf_8(tmp_path: Path) -> None:
    raw = lines([{"Records": [], "note": "NOTE"}]).replace(b"NOTE", b"\xed\xa0\x80")
    (tmp_path / "trail.json").write_bytes(raw + lines([trail(1)]))
    _, events = taken(tmp_path / "corpus", tmp_path / "trail.json")
    assert len(events) == 1


def test_the_lines_of_rows_are_those_that_editors_count(tmp_path: Path) -> None:
    (tmp_path / "trail.csv").write_bytes(b"eventid,useridentity,a\r\n1,,\r2,,\r\n3,\n")
    intake, _ = taken(tmp_path / "corpus", tmp_path / "trail.csv", source="cloudtrail")
    assert intake.records == 3
    assert [(each.line, each.offset) for each in intake.set_aside][-1] == (3, 33)


def test_a_member_of_an_archive_has_no_name(tmp_path: Path) -> None:
    about = zipfile.ZipInfo()
    about.filename = ""
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as archive, archive.open(about, "w") as member:
        member.write(document([trail(1)]))
    _, events = taken(tmp_path / "corpus", tmp_path / "logs.zip")
    assert len(events) == 1
