"""CloudTrail's records as events: real records, the forms they come in, and what they may not bring along."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.events.schema import COLUMNS, Event
from jackstop.events.sources import cloudtrail, events_of
from jackstop.events.sources.entry import UnreadableEntry
from tests.events.sources.trail_samples import ORIGIN, call, event_of, needs_shared, records

MARK = "FORBIDDEN-CONTENT"


def by_bearer(event: Event) -> bool:
    return event.key_kind == "bearer" and event.auth_method == "bearer"


# -- real records ---------------------------------------------------------------------------------------------------


@needs_shared()
@pytest.mark.parametrize(("folder", "count"), [("stratus", 310), ("invictus_aws", 2_900), ("otrf_aws", 103)])
def test_every_real_record_is_read(folder: str, count: int) -> None:
    held = records(folder)
    assert len(held) == count
    assert all(cloudtrail.claims(each) for each in held)
    events = [event_of(each) for each in held]
    assert len({event.event_id for event in events}) == len({each["eventID"] for each in held})


@needs_shared()
@pytest.mark.parametrize("folder", ["stratus", "invictus_aws", "otrf_aws"])
def test_columns_say_what_the_record_says(folder: str) -> None:
    for record in records(folder):
        event = event_of(record)
        identity = record["userIdentity"]
        assert event.action == record["eventName"]
        assert f"{event.service}.amazonaws.com" == record["eventSource"]
        assert (event.region, event.account) == (record["awsRegion"], record["recipientAccountId"])
        at = datetime.fromisoformat(record.get("eventTime") or record["@timestamp"])
        assert event.ts == int(at.timestamp()) * 1_000_000
        assert event.request_id == record.get("requestID", "")[:120]
        assert event.provider_key_id == identity.get("accessKeyId", "")
        assert (event.outcome == "ok") == (not record.get("errorCode"))
        assert event.error_code == record.get("errorCode", "")
        assert event.user_agent == record["userAgent"]
        assert (event.src_ip or event.src_raw) == record["sourceIPAddress"]
        assert ("read_only" in event.markers) == (record.get("readOnly") is True)
        if identity.get("type") == "IAMUser":
            assert event.principal == f"arn:aws:iam::{identity['accountId']}:user/{identity['userName']}"
        if identity.get("type") == "AssumedRole":
            assert event.principal == identity["sessionContext"]["sessionIssuer"]["arn"]
            assert event.session == identity["arn"].rpartition("/")[2]


@needs_shared()
def test_the_detonation_of_bedrock() -> None:
    events = [event_of(each) for each in records("stratus") if each["eventSource"] == "bedrock.amazonaws.com"]
    told = Counter((event.action, event.action_class, event.target_kind, event.change) for event in events)
    assert told == {
        ("GetFoundationModelAvailability", "list_models", "", ""): 10,
        ("ListFoundationModelAgreementOffers", "list_models", "", ""): 1,
        ("PutUseCaseForModelAccess", "model_access", "use_case", "created"): 1,
        ("PutFoundationModelEntitlement", "model_access", "entitlement", "created"): 1,
        ("CreateFoundationModelAgreement", "model_access", "agreement", "created"): 1,
        ("InvokeModel", "inference", "", ""): 1,
    }
    for event in events:
        assert (event.principal_kind, event.session, event.key_kind) == ("role", "cli", "temporary")
        assert event.region == "megov-northeast-1r"
        # The laboratory's addresses were made anonymous with leading zeros, which is no address.
        assert (event.src_ip, event.src_net, event.src_raw) == ("", "", "035.249.253.232")
        if event.action != "PutUseCaseForModelAccess":
            assert event.model == "anthropic.claude-3-sonnet-20240229-v1:0"


@needs_shared()
def test_what_the_laboratories_did_to_keys_people_and_trails() -> None:
    events = [event_of(each) for each in (*records("stratus"), *records("invictus_aws"))]
    told = {(event.action, event.target_kind, event.target_id, event.change, event.owner) for event in events}
    made = "malicious-iam-user"
    assert ("CreateUser", "user", made, "created", made) in told
    assert ("CreateAccessKey", "access_key", made, "created", made) in told
    assert ("AttachUserPolicy", "policy", "AdministratorAccess", "attached", made) in told
    assert ("StopLogging", "trail", "stratus-red-team-ct-stop-trail-buykxbqejv", "stopped", "") in told
    assert ("DeleteTrail", "trail", "stratus-red-team-cloudtraild-trail-kvrwohmiai", "deleted", "") in told
    narrowed = [event for event in events if "narrowed" in event.markers]
    assert {event.action for event in narrowed} == {"PutEventSelectors"}
    logins = [event for event in events if event.action == "ConsoleLogin"]
    assert {(event.outcome, event.auth_method, event.action_class) for event in logins} == {
        ("ok", "console", "identity")
    }
    federated = [event for event in events if event.principal_kind == "federated"]
    assert {(event.principal, event.session) for event in federated} == {
        ("arn:aws:iam::742491224508:user/stratus-red-team-user-federation-user", "stratus_red_team")
    }


# -- what published cases look like ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens_to_sample: range: 1..1,000,000",
        "#/max_tokens: -1 is not greater or equal to 1",
        "max_tokens: Input should be greater than or equal to 1",
    ],
)
def test_a_token_limit_below_one(message: str) -> None:
    event = event_of(call(errorCode="ValidationException", errorMessage=message))
    assert (event.outcome, event.error_code) == ("invalid", "ValidationException")
    assert event.markers == "read_only,probe:token_limit"
    assert all(word in event.error_message.split() for word in re.findall(r"max_tokens\w*", message))


def test_a_token_limit_below_one_among_other_errors() -> None:
    message = "2 violations: #: extraneous key [system] is not permitted#/max_tokens: -1 is not greater or equal to 1"
    event = event_of(call(errorCode="ValidationException", errorMessage=message))
    assert event.markers == "read_only,probe:token_limit"


@pytest.mark.parametrize(
    "message",
    [
        "input length and `max_tokens` exceed context limit: 188240 + 20000 > 200000",
        "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for claude-opus-4-1-20250805",
        "#/textGenerationConfig/maxTokenCount: 9000 is not less or equal to 8192",
        "`max_tokens` must be greater than `thinking.budget_tokens`",
        "#: extraneous key [max_tokens] is not permitted",
        "max_tokens: Field required",
    ],
)
def test_an_applications_error_with_a_token_limit_is_no_probe(message: str) -> None:
    event = event_of(call(errorCode="ValidationException", errorMessage=message))
    assert (event.outcome, event.markers) == ("invalid", "read_only")


def test_a_long_lived_key_is_no_consoles_whatever_its_agent_says() -> None:
    event = event_of(call(userAgent="console.amazonaws.com"))
    assert (event.key_kind, event.client, event.auth_method) == ("long_lived", "console", "sigv4")


def test_mantle_as_its_documentation_shows_it() -> None:
    asked = {
        "model": "anthropic.claude-opus-4-7",
        "stream": True,
        "service_tier": "default",
        "metadata": {"team": MARK},
        "callWithBearerToken": True,
        "bearerTokenType": "ABSK",
    }
    event = event_of(
        call("bedrock-mantle", "CreateInference", requestParameters=asked, managementEvent=False, eventCategory="Data")
    )
    assert (event.service, event.action_class, event.model) == (
        "bedrock-mantle",
        "inference",
        "anthropic.claude-opus-4-7",
    )
    assert by_bearer(event)
    assert (event.stream, event.service_tier, event.markers) == (True, "default", "data_event,read_only")
    assert event.extra == '{"content_dropped": 1}'
    assert MARK not in repr(event)


@pytest.mark.parametrize(
    ("act", "acts_class"),
    [
        ("CreateInference", "inference"),
        ("CountTokens", "inference"),
        ("ListModels", "list_models"),
        ("CreateBatchInference", "commit_spend"),
        ("GetBatchInference", "data_read"),
        ("GetWorkspace", "read_config"),
    ],
)
def test_claude_platform_by_its_actions_in_iam(act: str, acts_class: str) -> None:
    asked = {"callWithBearerToken": True, "bearerTokenType": "AEAA"}
    event = event_of(call("aws-external-anthropic", act, requestParameters=asked, eventCategory="Data"))
    assert (event.service, event.action_class) == ("aws-external-anthropic", acts_class)
    assert by_bearer(event)


def test_mantle_names_a_limit_below_one_itself() -> None:
    asked = {"model": "anthropic.claude-opus-4-7", "max_tokens": -1}
    event = event_of(call("bedrock-mantle", "CreateInference", requestParameters=asked))
    assert event.max_output_asked == -1
    assert "probe:token_limit" in event.markers


def test_what_stands_beside_the_parameters_of_the_runtime() -> None:
    more = {"callWithBearerToken": True, "inferenceRegion": "eu-west-3"}
    asked = {
        "modelId": "arn:aws:bedrock:eu-central-1:111122223333:inference-profile/eu.anthropic.claude-sonnet-4-5-v1:0"
    }
    event = event_of(call(name="ConverseStream", requestParameters=asked, additionalEventData=more))
    assert by_bearer(event)
    assert event.inference_region == "eu-west-3"
    assert event.model_asked == "eu.anthropic.claude-sonnet-4-5-v1:0"
    assert event.model == "anthropic.claude-sonnet-4-5-v1:0"
    assert event.stream is True


# -- what came of it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("AccessDeniedException", "denied"),
        ("Client.UnauthorizedOperation", "denied"),
        ("UnrecognizedClientException", "denied"),
        ("ExpiredTokenException", "denied"),
        ("VpceAccessDenied", "denied"),
        ("ValidationException", "invalid"),
        ("EntityAlreadyExistsException", "invalid"),
        ("ResourceNotFoundException", "not_found"),
        ("NoSuchBucket", "not_found"),
        ("Client.InvalidVpcID.NotFound", "not_found"),
        ("ThrottlingException", "throttled"),
        ("ServiceQuotaExceededException", "throttled"),
        ("ModelTimeoutException", "error"),
        ("InternalServerException", "error"),
    ],
)
def test_outcomes(code: str, outcome: str) -> None:
    assert event_of(call(errorCode=code)).outcome == outcome


def test_an_error_message_keeps_no_names_and_nothing_quoted() -> None:
    message = f'User: arn:aws:iam::1:user/{MARK} gave "{MARK}" and model {MARK} is not supported'
    event = event_of(call(errorCode="ValidationException", errorMessage=message))
    assert MARK not in event.error_message
    assert event.error_message.endswith("is not supported")


def test_a_login_that_failed() -> None:
    event = event_of(
        call(
            "signin",
            "ConsoleLogin",
            errorMessage="Failed authentication",
            responseElements={"ConsoleLogin": "Failure"},
            additionalEventData={"MFAUsed": "No"},
            eventType="AwsConsoleSignIn",
            requestParameters=None,
        )
    )
    assert (event.outcome, event.auth_method) == ("denied", "console")
    assert event.markers == "read_only,failed_console,no_mfa"


@pytest.mark.parametrize(
    ("service", "name", "asked", "narrowed"),
    [
        ("cloudtrail", "UpdateTrail", {"name": "t", "isMultiRegionTrail": False}, True),
        ("cloudtrail", "UpdateTrail", {"name": "t", "isMultiRegionTrail": True}, False),
        ("cloudtrail", "PutEventSelectors", {"eventSelectors": [{"readWriteType": "WriteOnly"}]}, True),
        ("cloudtrail", "PutEventSelectors", {"eventSelectors": [{"readWriteType": "All"}]}, False),
        ("cloudtrail", "PutEventSelectors", {"advancedEventSelectors": [{"name": "all"}]}, False),
        ("bedrock", "PutModelInvocationLoggingConfiguration", {"loggingConfig": {}}, True),
        (
            "bedrock",
            "PutModelInvocationLoggingConfiguration",
            {"loggingConfig": {"s3Config": {"bucketName": "b"}, "textDataDeliveryEnabled": False}},
            True,
        ),
        (
            "bedrock",
            "PutModelInvocationLoggingConfiguration",
            {"loggingConfig": {"s3Config": {"bucketName": "b"}, "textDataDeliveryEnabled": True}},
            False,
        ),
    ],
)
def test_logging_that_is_narrowed(service: str, name: str, asked: dict[str, Any], narrowed: bool) -> None:
    event = event_of(call(service, name, requestParameters=asked, readOnly=False))
    assert event.action_class == "change_logging"
    assert ("narrowed" in event.markers) is narrowed


def test_keys_that_are_switched() -> None:
    asked = {"userName": "ann", "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "status": "Inactive"}
    event = event_of(call("iam", "UpdateAccessKey", requestParameters=asked))
    assert (event.target_kind, event.target_id, event.change) == ("access_key", "ann", "disabled")
    asked["status"] = "Active"
    assert event_of(call("iam", "UpdateAccessKey", requestParameters=asked)).change == "enabled"


def test_a_key_that_is_made_for_oneself() -> None:
    event = event_of(call("iam", "CreateAccessKey", requestParameters=None))
    assert (event.target_id, event.owner) == ("ann", "ann")


def test_a_key_for_bedrock_is_marked() -> None:
    asked = {"userName": "BedrockAPIKey-1", "serviceName": "bedrock.amazonaws.com"}
    event = event_of(call("iam", "CreateServiceSpecificCredential", requestParameters=asked))
    assert "bedrock_key" in event.markers
    asked["serviceName"] = "codecommit.amazonaws.com"
    event = event_of(call("iam", "CreateServiceSpecificCredential", requestParameters=asked))
    assert "bedrock_key" not in event.markers


INSIGHT = {
    "eventVersion": "1.07",
    "eventTime": "2026-11-20T09:30:00Z",
    "awsRegion": "us-east-1",
    "eventID": "5",
    "eventType": "AwsCloudTrailInsight",
    "recipientAccountId": "111122223333",
    "sharedEventID": "6",
    "eventCategory": "Insight",
}


@pytest.mark.parametrize(
    "told",
    [
        {
            "insightDetails": {
                "state": "Start",
                "eventSource": "bedrock.amazonaws.com",
                "eventName": "InvokeModel",
                "insightType": "ApiCallRateInsight",
                "insightContext": {"statistics": {"baseline": {"average": 0.1}}},
            }
        },
        {
            "insightSource": "arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/source",
            "insightState": "Start",
            "insightEventSource": "bedrock.amazonaws.com",
            "insightEventName": "InvokeModel",
            "insightType": "ApiCallRateInsight",
            "insightContext": {"baselineAverage": 0.1},
        },
    ],
    ids=["trail", "lake"],
)
def test_an_insight_is_about_calls_and_is_none(told: dict[str, Any]) -> None:
    event = event_of(INSIGHT | told)
    assert (event.action, event.service, event.action_class) == ("ApiCallRateInsight", "bedrock", "")
    assert (event.target_kind, event.target_id, event.change) == ("api", "InvokeModel", "start")
    assert event.markers == "insight"


# -- the forms records come in --------------------------------------------------------------------------------------


def envelopes(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    text = json.dumps(record)
    return {
        "eventbridge": {"version": "0", "detail-type": "AWS API Call via CloudTrail", "detail": record},
        "lookup-events": {"EventId": record["eventID"], "CloudTrailEvent": text},
        "cloudwatch": {"id": "3", "timestamp": 1, "message": text},
        "lake": {"metadata": {}, "eventData": record},
    }


@pytest.mark.parametrize("name", list(envelopes(call())))
def test_envelopes(name: str) -> None:
    held = envelopes(call())[name]
    assert cloudtrail.claims(held)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(held), type=cloudtrail.SHAPE)
    assert cloudtrail.read(cloudtrail.unwrapped(held), ORIGIN) == event_of(call())


@pytest.mark.parametrize(
    "held",
    [
        {"detail-type": "AWS API Call via CloudTrail", "detail": "text"},
        {"CloudTrailEvent": "{"},
        {"message": '{"eventVersion": 1, "eventID": 2}'},
        {"eventData": {"eventID": None}},
        {},
    ],
)
def test_envelopes_of_nothing(held: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        cloudtrail.unwrapped(held)


@pytest.mark.parametrize(
    "record",
    [
        None,
        "eventVersion eventID",
        [],
        {},
        {"eventVersion": "1.11"},
        {"detail-type": "EC2 Instance State-change Notification", "detail": {}},
        {"message": "a line"},
        {"schemaType": "ModelInvocationLog"},
        {"eventData": "text"},
    ],
)
def test_what_is_not_claimed(record: Any) -> None:
    assert not cloudtrail.claims(record)


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("2026-11-20T09:30:00Z", 0),
        ("2026-11-20T09:30:00.250Z", 0.25),
        ("2026-11-20 09:30:00.000", 0),
        ("2026-11-20T11:30:01+02:00", 1),
        ("2026-11-20T00:30:02-09:00", 2),
    ],
)
def test_times(at: str, seconds: float) -> None:
    whole = datetime.fromisoformat("2026-11-20T09:30:00+00:00").timestamp()
    assert event_of(call(eventTime=at)).ts == round((whole + seconds) * 1_000_000)


@pytest.mark.parametrize(
    "at",
    [
        "",
        "yesterday",
        "2026-11-20T09:60:00Z",
        "2026-11-20T09:30:61Z",
        "2026-11-20T09:",
        "1969-12-31T23:59:59Z",
        "2126-01-01T00:00:00Z",
        None,
    ],
)
def test_a_time_that_is_none(at: str | None) -> None:
    with pytest.raises(UnreadableEntry):
        event_of(call(eventTime=at))


def test_read_by_the_registry() -> None:
    (event,) = events_of("cloudtrail", [call()], ORIGIN)
    assert (event.source, event.provider, event.action) == ("cloudtrail", "aws", "InvokeModel")


# -- what may not come along ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", cloudtrail.CONTENT)
@pytest.mark.parametrize("form", [MARK, [MARK], {"text": MARK}, [{"content": {"text": MARK}}]])
def test_content_is_counted_and_dropped(path: str, form: Any) -> None:
    head, _, field = path.partition(".")
    record = call(**{head: {field: form} if field else form})
    event = event_of(record)
    assert MARK not in repr(event)
    assert json.loads(event.extra)["content_dropped"] == 1


SEEDS = [
    call(),
    call("iam", "AttachUserPolicy", requestParameters={"userName": "ann", "policyArn": "arn:aws:iam::aws:policy/A"}),
    call("signin", "ConsoleLogin", responseElements={"ConsoleLogin": "Failure"}),
    call("cloudtrail", "PutEventSelectors", requestParameters={"eventSelectors": [{"readWriteType": "All"}]}),
    call("ssm", "GetParameters", requestParameters={"names": ["/a", "/b"]}),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_damage_gives_an_event_or_says_why(seed: dict[str, Any], data: st.DataObject) -> None:
    record = json.loads(json.dumps(seed))
    for _ in range(data.draw(st.integers(1, 3))):
        held = data.draw(st.sampled_from([record, *(each for each in record.values() if isinstance(each, dict))]))
        if held:
            held[data.draw(st.sampled_from(sorted(held)))] = data.draw(JSON)
    cloudtrail.claims(record)
    try:
        event = event_of(record)
    except (UnreadableEntry, msgspec.ValidationError):
        return
    assert event.event_id
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert {type(getattr(event, name)) for name in COLUMNS} <= {str, int, bool, type(None)}


@given(raw=st.binary(max_size=60))
def test_parameters_of_any_form_are_looked_at_without_harm(raw: bytes) -> None:
    record = msgspec.json.decode(json.dumps(call()), type=cloudtrail.SHAPE)
    record.request_parameters = record.additional_event_data = record.response_elements = msgspec.Raw(raw)
    assert cloudtrail.read(record, ORIGIN).action == "InvokeModel"
