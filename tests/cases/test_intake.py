"""Findings into cases: folding, reopening, severities, and nothing twice."""

from __future__ import annotations

import msgspec
import pytest

from jackstop.errors import UserError
from jackstop.store import tables
from jackstop.store.audit import Intact, verify
from tests.cases.desk import DAY_US, HOUR_US, MINUTE_US, Desk


def everything(desk: Desk) -> dict[str, object]:
    return {name: desk.rows(table) for name, table in tables.metadata.tables.items() if name != "meta"}


def test_a_finding_opens_a_case_that_everybody_hears_of_once(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    case = desk.find(key, "medium")
    shown = desk.case(case)
    assert (shown["state"], shown["severity"], shown["entity"]) == ("open", "medium", key)
    assert key.replace(":", " ") in shown["title"]
    assert [row["detection"] for row in shown["findings"]] == ["model_spray"]
    assert desk.entries(case) == ["opened", "finding", "news"]
    assert desk.kinds() == ["case.opened"]
    assert desk.tags()[-1] == "system:case:open"
    assert isinstance(verify(desk.store), Intact)


def test_the_same_report_again_changes_nothing(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    found = [desk.finding(key, severity) for severity in ("medium", "critical")]
    found += [desk.finding("org", "medium", "clock_jump"), desk.finding(key, "info", "flat_day")]
    desk.report(*found)
    before = everything(desk)
    assert desk.report(*found, *found) == {"taken": 0, "cases": []}
    assert everything(desk) == before


def test_a_finding_that_grows_is_the_same_finding(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    small = desk.finding(key, "medium")
    (case,) = desk.report(small)["cases"]
    desk.report(msgspec.structs.replace(small, count=9, last_seen=small.last_seen + 5))
    desk.report(msgspec.structs.replace(small, count=4, last_seen=small.last_seen + 2))
    (row,) = desk.case(case)["findings"]
    assert (row["count"], row["last_seen_us"]) == (9, small.last_seen + 5)
    assert desk.case(case)["last_seen_us"] == small.last_seen + 5
    assert desk.kinds() == ["case.opened"]
    assert desk.entries(case).count("finding") == 1


def test_what_is_found_of_one_key_is_one_case(desk: Desk) -> None:
    key, other = f"key:{desk.key()}", f"key:{desk.key()}"
    case = desk.find(key, "medium")
    assert desk.find(key, "low", "odd_client") == case
    assert desk.find(key, "medium", window=HOUR_US) == case
    assert desk.find(other, "medium") != case
    assert len(desk.case(case)["findings"]) == 3


def test_a_severity_only_rises_and_that_is_news(desk: Desk) -> None:
    key = f"key:{desk.key(mode='observe')}"
    case = desk.find(key, "medium")
    desk.find(key, "low", "odd_client")
    assert desk.case(case)["severity"] == "medium"
    desk.find(key, "critical", "spend_and_novelty")
    desk.find(key, "high", "resale_shape")
    assert desk.case(case)["severity"] == "critical"
    assert desk.kinds()[:2] == ["case.opened", "case.updated"]
    assert desk.tags().count("system:case:raise") == 1


def test_who_looked_at_a_case_has_not_looked_at_what_it_became(desk: Desk) -> None:
    """A pager takes an acknowledged case for one that somebody attends to, and wakes nobody up."""
    key = f"key:{desk.key(mode='observe')}"
    case = desk.find(key, "medium")
    desk.run("cases note", id=case, text="a load test, I think")
    desk.run("cases respond", id=case, action="alert")
    desk.find(key, "critical", "spend_and_novelty")
    desk.run("cases respond", id=case, action="alert")
    assert [each["facts"]["acknowledged"] for each in desk.news()] == [0, 1, 0, 1]


def test_one_cause_is_one_case_for_a_day(desk: Desk) -> None:
    keys = [f"key:{desk.key()}" for _ in range(3)]
    case = desk.find(keys[0], "medium", cause="leak-7")
    desk.pass_time(20 * HOUR_US)
    assert desk.find(keys[1], "medium", cause="leak-7") == case
    assert sorted(desk.case(case)["entities"]) == sorted(keys[:2])
    desk.pass_time(25 * HOUR_US)
    assert desk.find(keys[2], "medium", cause="leak-7") != case
    assert desk.find(keys[1], "medium", "odd_client") == case


def test_information_waits_for_a_case_and_then_belongs_to_it(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    assert desk.report(desk.finding(key, "info", "flat_day"))["cases"] == []
    assert desk.run("cases list")["rows"] == []
    case = desk.find(key, "medium")
    assert [row["detection"] for row in desk.case(case)["findings"]] == ["flat_day", "model_spray"]


def test_low_severity_makes_a_case_and_no_noise(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "low", "dearer_model")
    assert desk.case(case)["state"] == "open"
    assert desk.kinds() == []
    assert desk.state(key) == ("live", None, False)


def test_a_key_is_marked_while_it_is_in_an_open_case(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "low")
    assert not desk.state(key)[2]
    desk.find(f"key:{key}", "medium", "odd_client")
    assert desk.state(key)[2]
    desk.run("cases close", id=case, verdict="misuse")
    assert not desk.state(key)[2]
    desk.run("cases reopen", id=case)
    assert desk.state(key)[2]


def test_a_closed_case_opens_again_within_a_week(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    case = desk.find(key, "medium")
    desk.run("cases close", id=case, verdict="hijack")
    desk.pass_time(6 * DAY_US)
    assert desk.find(key, "medium", window=6 * DAY_US) == case
    shown = desk.case(case)
    assert (shown["state"], shown["verdict"], shown["reopened"]) == ("open", "", 1)
    assert desk.kinds() == ["case.opened", "case.closed", "case.opened"]
    desk.run("cases close", id=case, verdict="hijack")
    desk.pass_time(8 * DAY_US)
    assert desk.find(key, "medium", window=14 * DAY_US) != case


def test_a_benign_case_stays_closed_for_the_same_again(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    case = desk.find(key, "medium")
    desk.run("cases close", id=case, verdict="benign")
    desk.pass_time(HOUR_US)
    assert desk.find(key, "medium", window=HOUR_US) == case
    assert desk.case(case)["state"] == "closed"
    assert desk.kinds() == ["case.opened", "case.closed"]
    worse = desk.find(key, "high", window=2 * HOUR_US)
    assert worse != case
    assert desk.case(worse)["state"] == "open"


def test_a_benign_case_does_not_hide_another_detection(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    case = desk.find(key, "medium")
    desk.run("cases close", id=case, verdict="benign")
    assert desk.find(key, "medium", "odd_client") != case


def test_what_goes_on_after_the_end_opens_the_case_again_and_what_was_before_does_not(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    found = desk.finding(key, "medium")
    (case,) = desk.report(found)["cases"]
    desk.pass_time(MINUTE_US)
    desk.run("cases close", id=case, verdict="hijack")
    desk.report(msgspec.structs.replace(found, count=2, last_seen=found.last_seen + 5))
    assert desk.case(case)["state"] == "closed"
    desk.report(msgspec.structs.replace(found, count=3, last_seen=desk.clock.now_us() + 5))
    assert desk.case(case)["state"] == "open"


def test_an_older_worker_is_refused(desk: Desk) -> None:
    key = f"key:{desk.key()}"
    desk.epoch = 0
    with pytest.raises(UserError, match="newer worker"):
        desk.run("findings report", epoch=0, findings=[])
    with pytest.raises(UserError, match="newer worker"):
        desk.run("findings report", epoch=0, findings=[msgspec.to_builtins(desk.finding(key))])
    assert desk.rows(tables.findings) == []


def test_a_report_has_at_most_two_hundred_findings(desk: Desk) -> None:
    found = [desk.finding("org", "info", window=n * HOUR_US) for n in range(201)]
    with pytest.raises(UserError, match="too many"):
        desk.report(*found)
    assert desk.report(*found[:200])["taken"] == 200


def test_a_finding_of_a_key_that_is_gone_is_kept(desk: Desk) -> None:
    case = desk.find("key:000000000000", "critical")
    assert desk.responses(case) == []
    assert desk.kinds() == ["case.opened"]


def test_recent_findings_are_rows_for_the_detections(desk: Desk) -> None:
    old, new = f"key:{desk.key()}", f"key:{desk.key()}"
    desk.find(old, "medium")
    desk.pass_time(3 * DAY_US)
    desk.find(new, "high")
    (row,) = desk.run("findings recent", since_us=desk.clock.now_us() - 2 * DAY_US)
    assert row == {
        "detection": "model_spray",
        "severity": "high",
        "entity": new,
        "first_seen": desk.clock.now_us() - MINUTE_US,
        "last_seen": desk.clock.now_us(),
        "count": 1,
    }


def test_baselines_leave_out_the_time_of_what_was_not_benign(desk: Desk) -> None:
    keys = [desk.key() for _ in range(4)]
    start = desk.clock.now_us()
    desk.find(f"key:{keys[0]}", "high")
    desk.run("cases close", id=desk.find(f"key:{keys[1]}", "medium"), verdict="benign")
    desk.find(f"key:{keys[2]}", "medium")
    desk.find(f"key:{keys[3]}", "low")
    desk.pass_time(HOUR_US)
    spans = {span[0]: span[1:] for span in desk.run("cases spans", since_us=start - DAY_US)}
    assert spans == {
        keys[0]: [start - MINUTE_US, start + HOUR_US],
        keys[2]: [start - MINUTE_US, start],
    }
