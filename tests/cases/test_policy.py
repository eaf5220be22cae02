"""What is decided about a finding, as a table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.cases.finding import SEVERITIES, Finding
from jackstop.cases.policy import Decision, decide
from jackstop.cases.responses import check
from jackstop.errors import UserError
from jackstop.settings import ResponseSettings

RULES = ResponseSettings()


def finding(entity: str = "key:k", severity: str = "high", detection: str = "ramp", response: str = "") -> Finding:
    return Finding("uid", detection, severity, entity, 1, 2, 1, response=response)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("info", Decision("note")),
        ("low", Decision("note")),
        ("medium", Decision("alert", alert=True)),
        ("high", Decision("throttle", "applied", alert=True, ask=True)),
        ("critical", Decision("quarantine", "applied", alert=True)),
    ],
)
def test_the_default_for_each_severity(severity: str, expected: Decision) -> None:
    assert decide(finding(severity=severity), "enforce", RULES) == expected


def test_where_rules_observe_it_is_only_written_down() -> None:
    assert decide(finding(severity="critical"), "observe", RULES) == Decision("quarantine", "observed", alert=True)
    assert decide(finding(severity="high"), "observe", RULES) == Decision("throttle", "observed", alert=True)


@pytest.mark.parametrize("mode", ["observe", "enforce"])
@pytest.mark.parametrize("only_alert", [True, False])
def test_a_canary_is_always_quarantined(mode: str, only_alert: bool) -> None:
    expected = Decision("quarantine", "applied", alert=True)
    by_key = decide(finding(severity="medium"), mode, RULES, canary=True, only_alert=only_alert)  # type: ignore[arg-type]
    by_name = decide(finding(detection="canary_used"), mode, RULES, only_alert=only_alert)  # type: ignore[arg-type]
    assert by_key == by_name == expected


def test_a_detection_may_ask_for_something_else() -> None:
    assert decide(finding(severity="critical", response="alert"), "enforce", RULES) == Decision("alert", alert=True)
    assert decide(finding(severity="high", response="quarantine"), "enforce", RULES).action == "quarantine"


def test_the_settings_may_want_less_or_more() -> None:
    rules = ResponseSettings(medium="throttle", high="alert", critical="note")
    assert decide(finding(severity="medium"), "enforce", rules).action == "throttle"
    assert decide(finding(severity="high"), "enforce", rules) == Decision("alert", alert=True)
    assert decide(finding(severity="critical"), "enforce", rules) == Decision("note")


def test_a_credential_waits_for_approval_whatever_the_mode() -> None:
    for mode in ("observe", "enforce"):
        found = decide(finding("credential:main", "critical"), mode, RULES)  # type: ignore[arg-type]
        assert found == Decision("contain", "awaiting", alert=True)


@given(
    st.sampled_from(("org", "team:a", "owner:a@b", "credential:c", "key:k")),
    st.sampled_from(SEVERITIES),
    st.sampled_from(("observe", "enforce")),
    st.sampled_from(("", "note", "alert", "throttle", "quarantine")),
    st.booleans(),
)
def test_only_keys_are_acted_on_by_themselves(
    entity: str, severity: str, mode: str, response: str, only_alert: bool
) -> None:
    found = decide(finding(entity, severity, response=response), mode, RULES, only_alert=only_alert)  # type: ignore[arg-type]
    if found.state == "applied":
        assert entity.startswith("key:")
        assert mode == "enforce"
        assert not only_alert
    if found.state:
        assert found.alert
    assert found.ask == (found.state == "applied" and found.action == "throttle")


@pytest.mark.parametrize("wrong", [{"throttle_rate": "slow"}, {"throttle_rate": "0req/min"}, {"throttle_for": "soon"}])
def test_settings_that_cannot_be_followed_are_refused_at_the_start(wrong: dict[str, str]) -> None:
    check(RULES)
    with pytest.raises(UserError, match=r"responses\.throttle"):
        check(ResponseSettings(**wrong))  # type: ignore[arg-type]
