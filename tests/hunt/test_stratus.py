"""Detonations of stratus-red-team in a lab's account, whose CloudTrail records nobody of this project wrote."""

from __future__ import annotations

from tests.hunt.conftest import Hunter
from tests.shared import shared

# Each file is of another account, as it was made anonymous; none has a history, so newcomers' findings are a step less.
LAB = "arn:aws:iam::{}:user/christophe"
ROLE = "principal:arn:aws:iam::494659789341:role/test-role"


def told(hunt: Hunter, *parts: str) -> dict[tuple[str, str, str], dict[str, object]]:
    path = shared("data/stratus").joinpath(*parts)
    findings = hunt.json(path).json["findings"]
    return {(each["severity"], each["detection"], each["entity"]): each["evidence"] for each in findings}


def test_the_detonation_of_bedrock_is_found(hunt: Hunter) -> None:
    found = told(hunt, "aws.impact.bedrock-invoke-model.json")
    assert set(found) == {
        # Use case, agreement and entitlement by a role that had called no model, and a call ninety seconds later: high,
        # if anything were known of the account before that minute.
        ("medium", "bedrock_access_by_newcomer", ROLE),
        # Ten looks at the model's availability, then the call: medium for a role, a step less for want of a history.
        ("low", "bedrock_recon_then_invoke", ROLE),
    }
    access = found["medium", "bedrock_access_by_newcomer", ROLE]
    assert (access["used_within_the_hour"], access["acts"], access["history"]) == (3, 3, "unproven")
    recon = found["low", "bedrock_recon_then_invoke", ROLE]
    assert (recon["act"], recon["models"], recon["history"]) == ("InvokeModel", 1, "unproven")


def test_of_the_other_detonations_those_are_found_that_blind_somebody(hunt: Hunter) -> None:
    found = told(hunt)
    assert {each: evidence["act"] for each, evidence in found.items() if each[0] in {"high", "critical"}} == {
        # aws.defense-evasion.cloudtrail-delete: right, a trail is deleted.
        ("high", "aws_logging_tampering", "principal:" + LAB.format("847129010505")): "DeleteTrail",
        # aws.defense-evasion.cloudtrail-event-selectors: right, management events are left out.
        ("high", "aws_logging_tampering", "principal:" + LAB.format("958312252124")): "PutEventSelectors",
        # aws.defense-evasion.cloudtrail-stop: right, a trail is stopped.
        ("high", "aws_logging_tampering", "principal:" + LAB.format("143434273843")): "StopLogging",
    }
    # The rest (secrets read, users made, snapshots shared…) is no abuse of models, and by nobody with another finding.
    # LeaveOrganization was refused.
    assert len(found) == 5
