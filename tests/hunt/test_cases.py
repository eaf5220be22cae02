"""What a hunt finds becomes cases, and nothing else: its logs may be old, or another's."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from jackstop.cases.finding import Finding, Severity
from jackstop.cases.policy import CANARY, decide
from jackstop.cli.main import main
from jackstop.control.client import call
from jackstop.settings import Home, ResponseSettings, Settings

SEVERE = ResponseSettings(medium="quarantine", high="quarantine", critical="quarantine", contain="act")


def finding(entity: str = "principal:a", severity: Any = "critical", **more: Any) -> Finding:
    told = {"uid": "1", "detection": "orp_agent_split", "first_seen": 10, "last_seen": 20, "count": 3, **more}
    return Finding(entity=entity, severity=severity, **told)


@pytest.mark.parametrize("entity", ["key:k1", "credential:main", "principal:a", "account:1", "provider_key:p", "org"])
@pytest.mark.parametrize("response", ["", "throttle", "quarantine", "contain"])
@pytest.mark.parametrize("severity", get_args(Severity))
def test_the_most_that_is_done_about_it_is_an_alert(entity: str, response: str, severity: str) -> None:
    for detection in (CANARY, "orp_agent_split"):
        found = finding(entity, severity, response=response, detection=detection, hunted=True)
        decision = decide(found, "enforce", SEVERE, canary=True)
        assert decision.action in {"note", "alert"}
        assert (decision.state, decision.ask) == ("", False)
        assert decision.alert == (decision.action == "alert")


def test_a_grave_one_alerts_and_a_slight_one_is_noted() -> None:
    assert decide(finding(severity="high", hunted=True), "observe", ResponseSettings()).action == "alert"
    assert decide(finding(severity="low", hunted=True), "observe", ResponseSettings()).action == "note"


@pytest.fixture
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home")
    monkeypatch.setenv("JACKSTOP_HOME", str(made.root))
    assert main(["init", "--admin", "admin@example.com"]) == 0
    return made


def report(home: Home, name: str, *found: Finding, **more: Any) -> dict[str, Any]:
    taken: dict[str, Any] = call(home, Settings(), name, {"findings": msgspec.to_builtins(list(found)), **more})
    return taken


def test_the_same_again_changes_nothing_and_the_worker_s_own_is_apart(home: Home) -> None:
    assert report(home, "findings hunted", finding())["cases"] == [1]
    assert report(home, "findings hunted", finding()) == {"taken": 0, "cases": []}
    epoch = call(home, Settings(), "worker begin", {})["epoch"]
    assert report(home, "findings report", finding(), epoch=epoch) == {"taken": 1, "cases": [1]}


def test_a_key_that_a_hunt_finds_is_left_as_it_is(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["key", "issue", "--owner", "a@example.com", "--name", "n", "--canary", "--json"]) == 0
    key = msgspec.json.decode(capfd.readouterr().out)["id"]
    (case,) = report(home, "findings hunted", finding(f"key:{key}", detection=CANARY))["cases"]
    assert main(["cases", "show", str(case), "--json"]) == 0
    shown = msgspec.json.decode(capfd.readouterr().out)
    assert [row["state"] for row in shown["keys"]] == ["live"]
    assert shown["responses"] == []
