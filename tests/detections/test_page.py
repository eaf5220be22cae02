"""docs/detections.md says what there is. `python -m tests.detections.test_page` writes its first table anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jackstop.detections.catalogue import Description, load, shipped
from jackstop.detections.testing import run
from jackstop.events.analytics import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "detections.md"
BEGIN, END = "<!-- made from the YAML files: `python -m tests.detections.test_page` -->\n", "<!-- end -->"
ORDER = ("critical", "high", "medium", "low", "info")


def table() -> str:
    rows = sorted(shipped().values(), key=lambda each: (ORDER.index(each.about.severity), each.name))
    lines = ["| detection | id | severity | window | needs | what it means |", "|---|---|---|---|---|---|"]
    for each in rows:
        about = each.about
        severity = f"{about.severity}, `{about.response}`" if about.response else about.severity
        needs = ", ".join(f"`{column}`" for column in about.needs)
        meaning = " ".join(about.meaning.split()).replace("|", "\\|")
        lines.append(
            f"| `{each.name}` | {about.id} | {severity} | {about.window} | {needs} | **{about.title}.** {meaning} |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_table_is_that_of_the_descriptions() -> None:
    assert page().partition(BEGIN)[2].partition(END)[0] == table()


@pytest.mark.parametrize("field", Description.__struct_fields__)
def test_every_field_of_a_description_is_explained(field: str) -> None:
    assert re.search(rf"^\| .*`{field}`.* \| ", page(), re.MULTILINE)


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_explained(name: str) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", page(), re.MULTILINE)
    assert row
    assert all(f"`{column}`" in row[0] for column in TABLES[name])


def test_the_example_of_a_test_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", page(), re.DOTALL)
    sql = """
    SELECT 'key:' || key_id AS entity, MIN(ts) AS first_seen, MAX(ts) AS last_seen, COUNT(*) AS count
    FROM events WHERE reason = 'model' GROUP BY key_id, ts - mod(ts, 300000000) HAVING COUNT(DISTINCT src_ip) >= 3
    """
    head = """
id: JS-000
title: Title
meaning: Meaning.
severity: medium
attack: []
atlas: []
sources: [gate]
window: 5m
cadence: 5s
false_positives: []
what_to_do: []
references: []
"""
    (tmp_path / "own.sql").write_text(sql)
    (tmp_path / "own.yaml").write_text(head + example)
    detection = load(tmp_path)["own"]
    assert run(detection, detection.about.tests[0]).problem == ""


if __name__ == "__main__":
    before, _, rest = page().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
