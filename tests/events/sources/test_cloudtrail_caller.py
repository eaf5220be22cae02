"""Who made a call that CloudTrail recorded, by what program and from where: each kind of identity that AWS has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.events.sources.trail_samples import call, event_of


@pytest.mark.parametrize("agent", [("present", "axios/1.7.4"), ("empty", ""), ("empty", "-"), ("absent", None)])
def test_no_user_agent_and_an_empty_one_are_two_things(agent: tuple[str, str | None]) -> None:
    state, text = agent
    event = event_of(call(userAgent=text))
    assert (event.ua_state, event.client) == (state, "axios" if text == "axios/1.7.4" else "none")
    left_out = call()
    del left_out["userAgent"]
    assert event_of(left_out).ua_state == "absent"


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        ("Boto3/1.29.7 md/Botocore#1.32.7 ua/2.0 os/windows#10", "boto3"),
        ("Python/3.11 aiohttp/3.9.5", "aiohttp"),
        ("python-urllib3/2.0.7", "urllib3"),
        ("python-requests/2.34.2", "requests"),
        ("aws-cli/2.31.3 md/awscrt#0.27.6 md/Botocore#2", "aws-cli"),
        ("APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) aws-sdk-go-v2/1.32.3", "terraform"),
        ("aws-sdk-go-v2/1.32.3 os/linux lang/go#1.23.1", "go"),
        ("aws-sdk-js/3.890.0 ua/2.1", "aws-sdk-js"),
        ("[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.488]", "console"),
        ("signin.amazonaws.com", "console"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0)", "browser"),
        ("OpenAI/Python 1.50.0", "openai"),
        ("AnthropicBedrock/Python 0.40", "anthropic"),
        ("curl/8.5.0", "curl"),
        ("AWS Internal", "service"),
        ("bedrock-direct-test/1.0", "other"),
    ],
)
def test_which_client_a_user_agent_tells(agent: str, client: str) -> None:
    assert event_of(call(userAgent=agent)).client == client


IDENTITIES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "root": (
        {"type": "Root", "accountId": "111122223333", "arn": "arn:aws:iam::111122223333:root"},
        ("arn:aws:iam::111122223333:root", "root", ""),
    ),
    "root without an ARN": (
        {"type": "Root", "accountId": "111122223333"},
        ("arn:aws:iam::111122223333:root", "root", ""),
    ),
    "user without an ARN": (
        {"type": "IAMUser", "accountId": "111122223333", "userName": "ann"},
        ("arn:aws:iam::111122223333:user/ann", "user", ""),
    ),
    "role without its issuer": (
        {"type": "AssumedRole", "arn": "arn:aws-cn:sts::111122223333:assumed-role/app/i-1", "principalId": "AROA:i-1"},
        ("arn:aws-cn:iam::111122223333:role/app", "role", "i-1"),
    ),
    "role without an ARN": ({"type": "AssumedRole", "principalId": "AROAEXAMPLE:i-1"}, ("AROAEXAMPLE", "role", "i-1")),
    "service": (
        {"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"},
        ("autoscaling.amazonaws.com", "service", ""),
    ),
    "service of old": (
        {"accountId": "111122223333", "invokedBy": "ec2.amazonaws.com"},
        ("ec2.amazonaws.com", "service", ""),
    ),
    "another account": (
        {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": "444455556666"},
        ("444455556666", "account", ""),
    ),
    "web identity": (
        {"type": "WebIdentityUser", "principalId": "accounts.google.com:1:2", "userName": "2"},
        ("2", "federated", ""),
    ),
    "identity center": (
        {"type": "IdentityCenterUser", "accountId": "111122223333", "onBehalfOf": {"userId": "544894e8-80c1"}},
        ("544894e8-80c1", "user", ""),
    ),
    "unknown": ({"type": "Unknown", "principalId": "AIDAEXAMPLE"}, ("AIDAEXAMPLE", "", "")),
    "nobody": ({}, ("", "", "")),
}


@pytest.mark.parametrize("name", list(IDENTITIES))
def test_who_called(name: str) -> None:
    identity, told = IDENTITIES[name]
    event = event_of(call(userIdentity=identity))
    assert (event.principal, event.principal_kind, event.session) == told


def test_a_call_from_another_account_is_the_receivers() -> None:
    identity = {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": "444455556666"}
    event = event_of(call(userIdentity=identity, sharedEventID="12"))
    assert event.account == "111122223333"
    assert "cross_account" in event.markers


def test_a_call_of_a_service_is_internal() -> None:
    event = event_of(call(sourceIPAddress="AWS Internal", userAgent="AWS Internal"))
    assert (event.src_ip, event.src_raw, event.network_kind) == ("", "AWS Internal", "service")
    assert "internal" in event.markers
    event = event_of(call(sourceIPAddress="secretsmanager.amazonaws.com"))
    assert (event.src_raw, event.network_kind) == ("secretsmanager.amazonaws.com", "service")


def test_without_an_identity_nothing_is_made_up() -> None:
    event = event_of(call(userIdentity=None, recipientAccountId=None, sourceIPAddress=None, awsRegion=None))
    assert (event.principal, event.account, event.src_ip, event.region, event.auth_method) == ("", "", "", "", "")
