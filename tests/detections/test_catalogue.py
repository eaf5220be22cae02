from __future__ import annotations

from pathlib import Path

import pytest

from jackstop.detections.catalogue import HERE, load, shipped
from jackstop.detections.testing import prepare, span_us
from jackstop.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("checker_probe.sql", "checker_probe.yaml"):
        (tmp_path / name).write_text((HERE / name).read_text())
    return tmp_path


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "checker_probe.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_is_right_is_read(folder: Path) -> None:
    detection = load(folder)["checker_probe"]
    assert detection == shipped()["checker_probe"]
    assert (detection.window_us, detection.cadence_us, detection.reach_us) == (300_000_000, 5_000_000, 0)
    assert (detection.tables, detection.reads_findings) == ({"events"}, False)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title:", "titel:", "titel"),
        ("severity: high", "severity: dire", "dire"),
        ("window: 5m", "window: soon", "window: 'soon'"),
        ("window: 5m", "window: 0s", "must not be zero"),
        ("cadence: 5s", "cadence: 0s", "must not be zero"),
        ("cadence: 5s", "reach: x\ncadence: 5s", "reach: 'x'"),
        ("cadence: 5s", "", "cadence"),
        ("cadence: 5s", "cadence: 5s\nresponse: shout", "shout"),
        ("    events:", "    event:", "event"),
        ("severity: high", "severity: [", "not YAML in line"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(folder: Path, old: str, new: str, says: str) -> None:
    change(folder, old, new)
    with pytest.raises(UserError) as caught:
        load(folder)
    assert says in caught.value.problem
    assert str(folder / "checker_probe.yaml") in caught.value.problem
    assert caught.value.remedy


def test_a_description_needs_its_sql(folder: Path) -> None:
    (folder / "checker_probe.sql").unlink()
    with pytest.raises(UserError, match="has no SQL"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("at: 30s", "at: soon", "not a span"),
        ("model_asked: gpt-4o}", "model_axed: gpt-4o}", "no column model_axed"),
    ],
)
def test_rows_of_tests_that_make_no_sense(folder: Path, old: str, new: str, says: str) -> None:
    change(folder, old, new)
    detection = load(folder)["checker_probe"]
    with pytest.raises(UserError, match=says):
        prepare(detection.about.tests[0], detection.tables)


@pytest.mark.parametrize(
    ("text", "us"),
    [("0s", 0), ("1h30m", 5_400_000_000), ("-2d", -172_800_000_000), ("4m59s999ms999us", 299_999_999), ("1us", 1)],
)
def test_spans_of_tests(text: str, us: int) -> None:
    assert span_us(text) == us


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5m x", "--5m", "1.5h"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(UserError):
        span_us(text)
