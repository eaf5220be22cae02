"""OCSF, as a stranger's models read it, and as the published classes ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from py_ocsf_models.objects.evidence_artifacts import EvidenceArtifacts
from py_ocsf_models.objects.mitre_attack import MITREAttack

from jackstop.events.schema import COLUMNS, Event
from jackstop.notify.ocsf import activity, finding
from tests.control.command_bench import NOON_US
from tests.notify.pieces import FACTS, message, news

KINDS = st.sampled_from(["case.opened", "case.updated", "case.closed", "approval"])
SEVERITIES = st.sampled_from(["info", "low", "medium", "high", "critical"])


def known(value: Any, model: Any) -> None:
    """Every attribute that we write is one that the model has."""
    assert set(value) <= set(model.model_fields), set(value) - set(model.model_fields)


def test_a_case_is_a_detection_finding() -> None:
    made = finding(message(news(1, kind="case.opened"), news(2)))
    read = DetectionFinding.model_validate(made)
    assert (read.class_uid, read.category_uid, read.activity_id, read.type_uid) == (2004, 2, 1, 200401)
    assert read.metadata.version == "1.5.0"
    assert (read.severity_id, read.severity, read.status) == (4, "High", "New")
    assert read.finding_info.uid == "jackstop-0a1b2c3d-case-12"
    assert read.finding_info.first_seen_time == (NOON_US - 60_000_000) // 1000
    assert read.finding_info.analytic is not None
    assert (read.finding_info.analytic.uid, read.finding_info.analytic.type_id) == ("spend_velocity", 1)
    assert read.remediation is not None
    assert read.remediation.desc.startswith("Ask the owner.")
    assert read.remediation.references == ["https://jackstop.example.com/cases/12"]
    assert read.resources is not None
    assert (read.resources[0].uid, read.resources[0].type) == ("abc123", "key")
    assert read.evidences is not None
    assert read.evidences[0].data == FACTS
    known(made["evidences"][0], EvidenceArtifacts)
    known({name: made[name] for name in made if name != "is_alert"}, DetectionFinding)


def test_techniques_are_told_with_their_sub_techniques() -> None:
    attacks = finding(message())["finding_info"]["attacks"]
    for attack in attacks:
        known(attack, MITREAttack)
    assert attacks == [
        {
            "technique": {"uid": "T1078", "name": "Valid Accounts"},
            "sub_technique": {"uid": "T1078.004", "name": "Cloud Accounts"},
        },
        {
            "technique": {"uid": "T1496", "name": "Resource Hijacking"},
            "sub_technique": {"uid": "T1496.004", "name": "Cloud Service Hijacking"},
        },
        {"technique": {"uid": "AML.T0034", "name": "Cost Harvesting"}},
    ]


@pytest.mark.parametrize(
    ("verdict", "status", "verdict_id"),
    [("hijack", "Resolved", 2), ("misuse", "Resolved", 2), ("benign", "Suppressed", 5)],
)
def test_a_closed_case_has_its_verdict(verdict: str, status: str, verdict_id: int) -> None:
    made = finding(message(news(kind="case.closed", facts={**FACTS, "verdict": verdict})))
    assert (made["activity_name"], made["status"], made["is_alert"]) == ("Close", status, False)
    assert made["evidences"][0]["verdict_id"] == verdict_id


@given(
    kind=KINDS,
    severity=SEVERITIES,
    facts=st.dictionaries(
        st.sampled_from([*FACTS, "verdict", "other"]), st.text() | st.integers(0, 10**18), max_size=9
    ),
)
def test_whatever_is_known_of_a_case_the_model_takes_it(kind: Any, severity: str, facts: dict[str, str | int]) -> None:
    DetectionFinding.model_validate(finding(message(news(kind=kind, severity=severity, facts=facts))))


# -- events: py-ocsf-models has no API Activity; what schema.ocsf.io/1.5.0/classes/api_activity requires -------------

REQUIRED = {
    "activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "actor", "api",
    "src_endpoint",
}  # fmt: skip


def require_activity(made: dict[str, Any]) -> None:
    assert set(made) >= REQUIRED
    assert made["type_uid"] == 600300 + made["activity_id"]
    assert made["api"]["operation"]
    assert made["metadata"]["product"]["vendor_name"]
    assert made["metadata"]["version"] == "1.5.0"
    assert made["src_endpoint"].get("ip") or made["src_endpoint"].get("name")
    assert made["actor"]["user"]["uid"]
    assert isinstance(made["http_response"]["code"], int)

    def filled(value: Any) -> bool:
        if isinstance(value, dict):
            return all(each not in (None, "") and filled(each) for each in value.values())
        return all(map(filled, value)) if isinstance(value, list) else True

    assert filled(made)


def test_an_event_is_an_api_activity() -> None:
    event = Event(
        ts=NOON_US, key_id="abc", action="chat.completions", action_class="inference", src_ip="192.0.2.1", asn=64500,
        as_org="Example", country="DE", model="gpt-5", outcome="ok", status=200, cost_nusd=5, user_agent="curl",
        event_id="i-1-2", provider="openai",
    )  # fmt: skip
    made = activity({column: getattr(event, column) for column in COLUMNS})
    require_activity(made)
    assert made["src_endpoint"] == {
        "ip": "192.0.2.1",
        "autonomous_system": {"number": 64500, "name": "Example"},
        "location": {"country": "DE"},
    }
    assert (made["status"], made["unmapped"]["cost_nusd"], made["time"]) == ("Success", 5, NOON_US // 1000)
    assert made["metadata"]["uid"] == "i-1-2"


@given(
    action_class=st.sampled_from(["", "inference", "list_models", "data_read"]),
    outcome=st.sampled_from(["", "ok", "denied"]),
    text=st.text(max_size=5),
)
def test_an_event_of_which_little_is_known_is_one_too(action_class: str, outcome: str, text: str) -> None:
    event = Event(ts=NOON_US, action_class=action_class, outcome=outcome, reason=text, user_agent=text, owner=text)
    require_activity(activity({column: getattr(event, column) for column in COLUMNS}))
