"""The tables of AWS's acts: every name is one of AWS's, and each gives the columns that its table says."""

from __future__ import annotations

import pytest

from jackstop.events.sources.cloudtrail_words import ACTS, TARGETS, Act
from tests.events.sources.trail_samples import call, event_of

# Classes of DESIGN.md's event schema.
CLASSES = {
    "", "inference", "list_models", "read_config", "change_logging", "change_guardrail", "model_access", "key_admin",
    "people_admin", "limit_admin", "commit_spend", "data_read", "identity",
}  # fmt: skip
CHANGES = {"", "created", "updated", "deleted", "disabled", "enabled", "stopped", "read", "attached"}

_BEDROCK = (
    "bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock-data-automation",
    "bedrock-data-automation-runtime",
)  # fmt: skip
MODELS = {
    "bedrock": _BEDROCK,
    "iam": ("iam",),
    "sts": ("sts",),
    "sso": ("sso", "sso-admin", "sso-oidc"),
    "identitystore": ("identitystore",),
    "rolesanywhere": ("rolesanywhere",),
    "cloudtrail": ("cloudtrail",),
    "logs": ("logs",),
    "aws-marketplace": ("marketplace-agreement",),
    "servicequotas": ("service-quotas",),
    "budgets": ("budgets",),
    "ce": ("ce",),
    "organizations": ("organizations",),
    "s3": ("s3",),
    "secretsmanager": ("secretsmanager",),
    "ssm": ("ssm",),
    "ses": ("ses", "sesv2"),
}
"""The services of botocore that write each event source."""
OF_NO_SDK = {
    "bedrock": {"PutFoundationModelEntitlement"},
    "sso": {"Authenticate", "Federate"},
    "aws-marketplace": {"Subscribe", "Unsubscribe", "ViewSubscriptions", "GetListingView"},
    "budgets": {"ViewBudget"},
}
"""Names of the console and of permissions, which stand in CloudTrail and in no service model."""


@pytest.mark.parametrize("source", sorted(MODELS))
def test_every_name_is_an_operation_of_the_service(source: str) -> None:
    session = pytest.importorskip("botocore.session").get_session()
    known = {name for model in MODELS[source] for name in session.get_service_model(model).operation_names}
    assert set(ACTS[source]) - known == OF_NO_SDK.get(source, set())


@pytest.mark.parametrize("source", sorted(ACTS))
def test_each_act_gives_its_columns(source: str) -> None:
    for name, act in ACTS[source].items():
        event = event_of(call(source, name, requestParameters={}))
        assert Act(event.action_class, event.target_kind, event.change) == act
        assert event.action == name
        assert act.action_class in CLASSES
        assert act.change in CHANGES


@pytest.mark.parametrize("kind", [kind for kind, names in TARGETS.items() if names])
def test_each_kind_of_target_has_a_name(kind: str) -> None:
    source, name = next(
        (source, name) for source, acts in ACTS.items() for name, act in acts.items() if act.target_kind == kind
    )
    for field in TARGETS[kind]:
        first, *rest = field.split("_")
        told = {"saml_provider_arn": "sAMLProviderArn", "project_id": "project_id"}.get(
            field, first + "".join(part.capitalize() for part in rest)
        )
        event = event_of(call(source, name, requestParameters={told: "the-name"}))
        assert event.target_id == "the-name", field


def test_an_act_that_is_not_known_has_no_class() -> None:
    event = event_of(call("ec2", "DescribeInstances"))
    assert (event.service, event.action, event.action_class, event.target_kind) == ("ec2", "DescribeInstances", "", "")
