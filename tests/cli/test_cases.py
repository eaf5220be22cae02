"""Cases on the command line, with control stopped: what is shown, what is exported, what is undone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jackstop.cases.finding import Finding, uid_of
from jackstop.clock import SystemClock
from jackstop.control.client import call
from jackstop.events.schema import Event
from jackstop.settings import Settings
from tests.cli.test_lake import put

HOUR_US = 3_600_000_000
THIEF = "203.0.113.9"


@pytest.fixture
def now_us() -> int:
    return SystemClock().now_us()


@pytest.fixture
def key(shell: Any) -> str:
    options = ("--owner", "jo@example.com", "--name", "billing", "--team", "red", "--json")
    return str(shell.ok("key", "issue", *options, "--mode", "enforce").json["id"])


def find(shell: Any, now_us: int, entity: str, severity: str = "critical", detection: str = "resale_shape") -> int:
    found = Finding(
        uid_of(detection, entity, 0),
        detection,
        severity,  # type: ignore[arg-type]
        entity,
        now_us - 2 * HOUR_US,
        now_us,
        3,
        {"networks": 4},
    )
    args = {"epoch": 0, "findings": [msgspec.to_builtins(found)]}
    (case,) = call(shell.home, Settings(), "findings report", args)["cases"]
    return int(case)


def events(key: str, now_us: int) -> list[Event]:
    usual = {"provider": "openai", "model": "gpt-4o", "credential_id": "main", "price_known": True}
    return [
        *(
            Event(
                ts=now_us - hour * HOUR_US + number,
                key_id=key,
                event_id=f"e{hour}-{number}",
                request_id=f"req_{hour}_{number}",
                decision="admitted",
                status=200,
                src_ip=THIEF,
                src_net="203.0.113.0/24",
                cost_nusd=1_500_000_000,
                **usual,
            )
            for hour in (0, 1)
            for number in range(-2, 0)
        ),
        Event(ts=now_us - 1, key_id=key, event_id="e-refused", decision="refused", reason="probe", status=403),
        Event(ts=now_us - 1, key_id="somebody-else", event_id="x", cost_nusd=10**12, src_ip="198.51.100.1", **usual),
        Event(ts=now_us - 5 * HOUR_US, key_id=key, event_id="before", cost_nusd=10**12, **usual),
    ]


@pytest.fixture
def case(shell: Any, key: str, now_us: int) -> int:
    put(shell.home.lake, "one", events(key, now_us))
    return find(shell, now_us, f"key:{key}")


def test_a_case_is_shown_with_its_money_and_next_steps(shell: Any, key: str, case: int) -> None:
    other = shell.ok("key", "issue", "--owner", "jo@example.com", "--name", "spare", "--team", "red", "--json").json[
        "id"
    ]
    shown = shell.ok("cases", "show", str(case), "--json").json
    assert (shown["money"]["settled_nusd"], shown["money"]["requests"], shown["money"]["refused"]) == (6 * 10**9, 5, 1)
    assert [row["cost_nusd"] for row in shown["money"]["hours"] if row["cost_nusd"]] == [3 * 10**9, 3 * 10**9]
    assert shown["money"]["seen"]["src_net"] == [{"value": "203.0.113.0/24", "requests": 4}]
    assert [row["id"] for row in shown["blast"]["other_keys"]] == [other]
    assert shown["blast"]["other_keys"][0]["made_within_a_day"]
    assert {row["tag"] for row in shown["blast"]["acts"]} == {"admin:key:issue", "admin:person:add"}
    assert list(shown["people"].values()) == ["jo@example.com"]
    text = shell.ok("cases", "show", str(case)).out
    for part in ("critical", f"key {key} (billing): quarantined", "6.00", "spare", "Next steps", "203.0.113.0/24 (4)"):
        assert part in text
    assert "jo@example.com" in text
    (row,) = shell.ok("cases", "list", "--json").json
    assert (row["id"], row["findings"], row["severity"]) == (case, 1, "critical")


def test_responding_and_undoing(shell: Any, key: str, case: int) -> None:
    assert "as before" in shell.ok("cases", "respond", str(case), "release", "--reason", "it was us").out
    assert shell.ok("key", "show", key, "--json").json["state"] == "live"
    assert "throttled to 6" in shell.ok("cases", "respond", str(case), "throttle", "--for", "2h").out
    secret = shell.ok("cases", "respond", str(case), "rotate").out.splitlines()[0]
    assert secret.startswith(f"jsk_1{key}")
    assert secret not in shell.ok("cases", "show", str(case)).out
    assert "written" in shell.ok("cases", "note", str(case), "the intern's laptop").out
    assert "the intern's laptop" in shell.ok("cases", "show", str(case)).out
    closed = shell.ok("cases", "close", str(case), "--verdict", "hijack", "--reason", "laptop stolen").out
    assert "still works" not in closed
    assert shell.ok("cases", "list").out == "no open cases\n"
    assert len(shell.ok("cases", "list", "--state", "closed", "--json").json) == 1
    shell.ok("cases", "reopen", str(case))
    assert len(shell.ok("cases", "list", "--json").json) == 1


def test_the_export_has_requests_hours_and_the_original_events_hashes(
    shell: Any, key: str, case: int, tmp_path: Path
) -> None:
    shell.ok("cases", "export", str(case), "--format", "json", "--out", str(tmp_path / "case.json"))
    assert (tmp_path / "case.json").stat().st_mode & 0o777 == 0o600
    exported = json.loads((tmp_path / "case.json").read_text())
    assert [row["event_id"] for row in exported["requests"]] == ["e1--2", "e1--1", "e0--2", "e-refused", "e0--1"]
    originals = {
        row["event_id"]: row
        for row in map(json.loads, shell.ok("events", "export", "--format", "ndjson").out.splitlines())
    }
    for row in exported["requests"]:
        original = json.dumps(originals[row["event_id"]], sort_keys=True, separators=(",", ":"))
        assert row["sha256"] == hashlib.sha256(original.encode()).hexdigest()
        assert row["utc"].endswith("Z")
    text = shell.ok("cases", "export", str(case)).out
    for part in ("req_1_-2", "Dollars per hour", "Cost at list price: 6.00 USD", exported["requests"][0]["sha256"]):
        assert part in text
    assert "198.51.100.1" not in text + json.dumps(exported["requests"])
    assert "somebody-else" not in text
    assert "jo@example.com" not in text + json.dumps(exported)
    shown = shell.ok("cases", "show", str(case), "--json").json
    assert [row["detail"] for row in shown["entries"] if row["kind"] == "exported"] == [
        {"format": "json"},
        {"format": "text"},
    ]


def test_what_people_wrote_about_their_acts_stays_in_the_house(shell: Any, case: int) -> None:
    shell.ok("cases", "respond", str(case), "release", "--reason", "Bob from finance says so")
    shell.ok("cases", "respond", str(case), "throttle", "--reason", "Bob from finance says so")
    assert "Bob" in shell.ok("cases", "show", str(case)).out
    exported = shell.ok("cases", "export", str(case), "--format", "json").json["case"]
    assert "Bob" not in json.dumps(exported)
    assert "os:" not in json.dumps(exported)
    assert "owner_id" not in exported["keys"][0]
    assert [row["action"] for row in exported["responses"]] == ["quarantine", "throttle"]


def test_unlawful_content_is_said_first_everywhere(shell: Any, case: int) -> None:
    shell.ok("cases", "respond", str(case), "unlawful", "--reason", "a guard's report")
    shown = shell.ok("cases", "show", str(case), "--json").json
    assert "Do not view, copy or forward" in shown["next_steps"][0]
    assert any("Counsel first" in step for step in shown["next_steps"][:3])
    assert shell.ok("cases", "show", str(case)).out.startswith("! ")
    assert "Preserve in place" in shell.ok("cases", "export", str(case)).out


def test_a_case_of_the_installation_has_no_events(shell: Any, now_us: int) -> None:
    case = find(shell, now_us, "org", "medium", "clock_jump")
    shown = shell.ok("cases", "show", str(case), "--json").json
    assert shown["money"]["requests"] == 0
    assert "The clock jumped" in shown["title"]


def test_a_case_of_an_owner_names_nobody_in_what_leaves(shell: Any, key: str, now_us: int) -> None:
    case = find(shell, now_us, "owner:jo@example.com", "high", "end_user_fanout")
    shown = shell.ok("cases", "show", str(case), "--json").json
    assert "jo@example.com" not in shown["title"]
    assert "jo@example.com" not in shell.ok("cases", "export", str(case), "--format", "json").out
    assert [row["id"] for row in shown["blast"]["other_keys"]] == [key]


def test_wrong_use_says_what_to_do(shell: Any, case: int) -> None:
    assert shell("cases", "show", "99").status == 2
    assert shell("cases", "show", str(1 << 63)).status == 2
    assert shell("cases", "show", "9" * 30).status == 2
    assert shell("cases", "close", str(case)).status == 2
    assert shell("cases", "respond", str(case), "dance").status == 2
    failed = shell("cases", "respond", str(case), "approve")
    assert (failed.status, failed.out) == (2, "")
    assert "waits for approval" in failed.err
