"""An attack lab of 2023 without Bedrock, and an older one on S3: noise in which only what is true may be loud."""

from __future__ import annotations

from tests.hunt.conftest import Hunter
from tests.shared import shared

ATTACKER = "principal:arn:aws:iam::123837392027:user/bert-jan"


def test_every_finding_in_the_lab_is_right(hunt: Hunter) -> None:
    findings = hunt.json(shared("data/invictus_aws")).json["findings"]
    by_name = {each["detection"]: each for each in findings}
    assert {(each["severity"], each["detection"], each["entity"], each["count"]) for each in findings} == {
        # 12:00:08 selectors of a trail are set to leave out management events; 12:08:04 two trails are deleted. Four
        # StopLogging and a third DeleteTrail name a trail that is not there, and what widens again is not counted.
        ("high", "aws_logging_tampering", ATTACKER, 3),
        # The same user, by stratus-red-team, then makes users with keys and passwords, roles, and attaches
        # AdministratorAccess; some of it is Terraform's setting up of these attacks, with the same key.
        ("high", "aws_made_by_suspect", ATTACKER, 37),
        # And reads the secrets and parameters of two of its techniques.
        ("high", "aws_data_reached", ATTACKER, 147),
    }
    made = by_name["aws_made_by_suspect"]["evidence"]
    assert (made["target"], made["for_user"], made["beside"]) == (
        "AdministratorAccess",
        "malicious-iam-user",
        "aws_logging_tampering",
    )
    assert {each["cause"] for each in findings} == {ATTACKER.removeprefix("principal:")}, "one case"


def test_nothing_is_found_in_what_an_older_lab_did_to_a_bucket(hunt: Hunter) -> None:
    ran = hunt.json(shared("data/otrf_aws") / "ec2_proxy_s3_exfiltration_2020-09-14011940.json")
    # Stolen credentials of a machine read a bucket: not what these detections are for, and no model is near.
    assert ran.json["findings"] == []
    assert ran.json["counts"]["events"] == 103
