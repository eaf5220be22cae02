"""The report is one file that says what was found, fetches nothing, and holds no content."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from jackstop.clock import SystemClock
from jackstop.sandbox.trails import write
from tests.hunt.conftest import Hunter
from tests.hunt.logs import document, trail
from tests.hunt.planted import MARKER, RECORDS, plant
from tests.shared import shared

_VOID = {"meta", "br", "link", "hr", "img", "input"}


class Balanced(HTMLParser):
    """Raises where an element is closed that is not open, and collects texts, elements and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert tag not in _VOID
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def check(page: str) -> Balanced:
    """A report of any hunt: well-formed, without script, and without anything that is fetched."""
    assert page.startswith("<!doctype html>")
    parsed = Balanced(page)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(parsed.elements)
    assert not {"src", "href", "action", "onload"} & {name for name, _ in parsed.attributes}
    assert not re.search(r"https?:|url\(|@import|//[a-z]", page)
    return parsed


@pytest.fixture(scope="module")
def trails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trails")
    write(folder, records=5_000, until_us=SystemClock().now_us(), days=12, thefts=6)
    return folder


def report(hunt: Hunter, *args: Path | str) -> str:
    ran = hunt(*args, "--format", "html")
    assert ran.status == 0, ran.err
    return ran.out


@pytest.mark.slow
def test_a_report_tells_what_happened_when_where_and_what_to_do(hunt: Hunter, trails: Path) -> None:
    found = hunt.json(trails).json
    page = check(report(hunt, trails))
    text = " ".join(page.text.split())
    for heading in (
        *("When", "What to do, in this order", "What was found", "Use, beside what was usual", "Where they came from"),
        *("What could not be seen", "What could be seen", "What was left out"),
    ):
        assert heading in text
    assert f"{len(found['cases'])} cases found in the logs" in text
    for case in found["cases"]:
        assert case["title"] in text
        assert case["entity"] in text
    todo = text[: text.index("What was found")]
    for case in found["cases"]:
        for step in case["what_to_do"]:
            assert step.replace("`", "") in todo
    assert page.elements.count("svg") >= len(found["cases"]) + 2


def test_a_report_of_nothing_found_says_so_and_what_could_not_be_seen(hunt: Hunter, logs: Path) -> None:
    quiet = {"eventSource": "s3.amazonaws.com", "eventName": "ListBuckets", "userAgent": "aws-cli/2.15.0"}
    (logs / "trail.json").write_bytes(document([trail(1, **quiet)]))
    text = check(report(hunt, logs)).text
    assert "No findings, as far as these logs reach" in text
    assert "aws.mantle" in text
    assert "What was found" not in text


def test_a_published_detonation_is_reported(hunt: Hunter) -> None:
    check(report(hunt, shared("data/stratus") / "aws.impact.bedrock-invoke-model.json"))
    check(report(hunt, shared("data/invictus_aws")))


def test_texts_of_logs_are_texts_in_the_report(hunt: Hunter, logs: Path) -> None:
    evil = "</td><script>alert(1)</script>&amp;'\"<u>"
    who = {"type": "IAMUser", "arn": f"arn:aws:iam::123456789012:user/{evil}", "accessKeyId": "AKIAX"}
    acts = ("ListFoundationModels", "GetModelInvocationLoggingConfiguration", "InvokeModel")
    records = [
        trail(number, eventName=act, userIdentity=who, awsRegion=evil, sourceIPAddress=evil)
        for number, act in enumerate(acts)
    ]
    (logs / f"{evil.replace('/', '_')}.json").write_bytes(document([*records, trail(9, eventTime=evil)]))
    page = check(report(hunt, logs))
    assert evil in page.text
    assert "u" not in page.elements


@pytest.mark.slow
def test_content_is_nowhere_afterwards(hunt: Hunter, logs: Path, tmp_path: Path) -> None:
    plant(logs)
    for form in ("table", "json", "ocsf", "html"):
        ran = hunt(logs, "--format", form, "--output", tmp_path / form)
        assert ran.status == 0, ran.err
        said = (tmp_path / form).read_text(encoding="utf-8") + ran.out + ran.err
        assert MARKER.lower() not in said.lower()
    counts = hunt.json(logs).json["counts"]
    assert set(counts["by_source"]) == set(RECORDS)
    assert (counts["set_aside_records"], counts["unknown"]) == (2, [])
    assert counts["content_dropped"] > len(RECORDS)
    kept = list(hunt.kept())
    assert any(path.endswith(".parquet") for path in kept)
    for text in kept:
        assert MARKER.lower() not in text.lower()


def test_cases_of_one_name_and_times_of_two_years_can_be_told_apart(hunt: Hunter) -> None:
    folder = shared("stratus")
    names = ("cloudtrail-stop", "cloudtrail-delete", "cloudtrail-event-selectors")
    stopped = [folder / f"aws.defense-evasion.{name}.json" for name in names]
    page = report(hunt, *stopped, shared("invictus_aws"))
    check(page)
    lanes = re.findall(r'class="label"[^>]*>([^<]*)<', page)
    assert {"christophe 143434273843", "christophe 847129010505", "bert-jan"} <= set(lanes)
    assert re.search(r'text-anchor="middle">20\d\d-\d\d-\d\d<', page)
