"""Thefts of AWS keys for their models, as published cases show them in CloudTrail: for practice and measurement.

Each campaign takes another user's key and does what one documented case did, with its event names, errors and user
agents; of what was asked or answered there is nothing. What each follows stands with it: [Sysdig 2024] "LLMjacking:
Stolen Cloud Credentials Used in New AI Attack", 2024-05-06; [Permiso] "When AI Gets Hijacked", 2024-10-03;
[Sysdig 2026] "AI-assisted cloud intrusion achieves admin access in 8 minutes", 2026-02-03; [Wiz] wiz.io/blog/
jinx-2401-llm-hijacking-aws; [AWS] docs.aws.amazon.com/bedrock/latest/userguide/logging-cloudtrail-mantle.html, read on
2026-11-23.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jackstop.clock import US_PER_S
from jackstop.sandbox.trail_organisation import HAIKU, HOME, SONNET, Victim, bearer
from jackstop.sandbox.trail_records import Call, Caller, user

MINUTE_US = 60 * US_PER_S
HOUR_US = 60 * MINUTE_US


class Theft(NamedTuple):
    """Whose key was taken, when its use begins, and the chance that varies the details."""

    victim: Victim
    begins_us: int
    chance: random.Random

    @property
    def caller(self) -> Caller:
        """The identity that was stolen."""
        return self.victim.caller

    def at(self, address: str, agent: str | None) -> Caller:
        """The stolen identity, used from elsewhere."""
        return self.caller.elsewhere(address, agent)


class Step(NamedTuple):
    """One call of a campaign."""

    at_us: int
    caller: Caller
    call: Call
    region: str = HOME


Steps = Iterator[Step]

_OPUS = "anthropic.claude-opus-4-5-20251101-v1:0"
_OLD = "anthropic.claude-v2"
_MODELS = (
    _OPUS,
    SONNET,
    HAIKU,
    _OLD,
    "anthropic.claude-3-opus-20240229-v1:0",
    "deepseek.r1-v1:0",
    "meta.llama3-1-405b-instruct-v1:0",
    "amazon.nova-premier-v1:0",
)
_REGIONS = (
    "us-east-1",
    "us-east-2",
    "us-west-2",
    "eu-central-1",
    "eu-west-3",
    "ap-northeast-1",
    "ap-southeast-2",
    "sa-east-1",
)
_WINDOWS_BOTO = (
    "Boto3/1.29.7 md/Botocore#1.32.7 ua/2.0 os/windows#10 md/arch#amd64 lang/python#3.12.1 md/pyimpl#CPython"
    " cfg/retry-mode#legacy Botocore/1.32.7"
)
_AIOHTTP = "Python/3.11 aiohttp/3.9.5"
_AXIOS = "axios/1.7.4"
_SCRIPT = "Boto3/1.40.4 md/Botocore#1.40.4 ua/2.1 os/linux lang/python#3.11.2 iam_masscek/2.0"
_LIMIT = ("ValidationException", "max_tokens_to_sample: range: 1..1,000,000")
_NEWER_LIMIT = ("ValidationException", "max_tokens: must be greater than or equal to 1")
_NO_ACCESS = ("AccessDeniedException", "You don't have access to the model with the specified model ID.")
_NO_MODEL = ("ResourceNotFoundException", "Could not resolve the foundation model from the provided model identifier.")
_LOGGING = Call("bedrock", "GetModelInvocationLoggingConfiguration")
_WHO_AM_I = Call("sts", "GetCallerIdentity")


def _model(name: str, model: str, error: tuple[str, str] | None = None) -> Call:
    return Call("bedrock", name, {"modelId": model}, error=error)


def _spaced(theft: Theft, caller: Caller, calls: list[Call], step_s: float, begins_us: int = 0) -> Steps:
    """Calls one after another, each about `step_s` seconds behind the last."""
    at = begins_us or theft.begins_us
    for call in calls:
        yield Step(at, caller, call)
        at += int(step_s * US_PER_S * theft.chance.uniform(0.6, 1.4)) + US_PER_S


def _uses(theft: Theft, caller: Caller, count: int, begins_us: int, model: str = _OPUS) -> Steps:
    """Many streamed invocations, as a reseller's customers make them."""
    calls = [_model("InvokeModelWithResponseStream", model)] * count
    return _spaced(theft, caller, calls, 4, begins_us)


def token_probe(theft: Theft) -> Steps:
    """[Sysdig 2024] A checker asks each model for fewer than one token, and whether calls are logged."""
    caller = theft.at("203.0.113.17", _WINDOWS_BOTO)
    errors = (_LIMIT, _NEWER_LIMIT, _NO_ACCESS, _NO_MODEL)
    probes = [_model("InvokeModel", model, errors[i % len(errors)]) for i, model in enumerate(_MODELS)]
    yield from _spaced(theft, caller, [_WHO_AM_I, *probes, _LOGGING], 2)


def console_calls(theft: Theft) -> Steps:
    """[Permiso] Calls that only the console makes, with a programmatic key; access is asked for, the model used."""
    caller = theft.at("203.0.113.48", _AIOHTTP)
    asked = {"modelId": _OPUS}
    calls = [
        _WHO_AM_I,
        Call("bedrock", "GetUseCaseForModelAccess"),
        Call("bedrock", "ListFoundationModelAgreementOffers", asked),
        Call("bedrock", "GetFoundationModelAvailability", asked),
        Call("bedrock", "PutUseCaseForModelAccess", reads=False),
        Call("bedrock", "CreateFoundationModelAgreement", asked, {"modelId": _OPUS}, reads=False),
        Call("bedrock", "GetFoundationModelAvailability", asked),
        _LOGGING,
    ]
    yield from _spaced(theft, caller, calls, 8)
    yield from _uses(theft, theft.at("203.0.113.48", ""), 240, theft.begins_us + 10 * MINUTE_US)


def proxy_split(theft: Theft) -> Steps:
    """An OAI reverse proxy: its checker calls with axios, every 90 minutes anew; its customers' calls have no agent.

    Read from the checker's source (the cadence and its jitter of a quarter, the models); [Permiso] for the agents.
    """
    address = "203.0.113.90"
    checker, proxy = theft.at(address, _AXIOS), theft.at(address, None)
    at = theft.begins_us
    for _ in range(8):
        probes = [_model("InvokeModel", model, _NEWER_LIMIT) for model in _MODELS[:2]]
        yield from _spaced(theft, checker, [_LOGGING, *probes, _model("InvokeModel", _OLD, _NO_ACCESS)], 1, at)
        yield from _uses(theft, proxy, 25, at + 6 * MINUTE_US)
        at += int(90 * MINUTE_US * theft.chance.uniform(0.88, 1.12))


def made_a_user(theft: Theft) -> Steps:
    """[Wiz] JINX-2401: a user, a policy, a password and a key of its own, and then access to models."""
    name = theft.chance.choice("ABCDEFGH") + "".join(theft.chance.choices("abcdefghij", k=5)) + "482"
    caller = theft.at("203.0.113.121", "python-urllib3/2.0.7")
    own = {"userName": name}
    attached = {**own, "policyArn": f"arn:aws:iam::{caller.account}:policy/New_Policy"}
    calls = [
        _WHO_AM_I,
        Call("iam", "CreateUser", own, reads=False),
        Call("iam", "CreatePolicy", {"policyName": "New_Policy"}, reads=False),
        Call("iam", "AttachUserPolicy", attached, reads=False),
        Call("iam", "CreateLoginProfile", own, reads=False),
        Call("iam", "CreateAccessKey", own, reads=False),
    ]
    yield from _spaced(theft, caller, calls, 15)
    made = user(caller.account, name, "AKIAIOSFODNN7" + name[-3:].zfill(7), _AIOHTTP, "203.0.113.122")
    offers = Call("bedrock", "ListFoundationModelAgreementOffers", {"modelId": _OPUS})
    access = Call("bedrock", "CreateFoundationModelAgreement", {"modelId": _OPUS}, reads=False)
    yield from _spaced(theft, made, [offers, access], 9, theft.begins_us + 5 * MINUTE_US)
    yield from _uses(theft, made, 60, theft.begins_us + 8 * MINUTE_US)


def bedrock_key(theft: Theft) -> Steps:
    """A Bedrock API key is made, with the user that stands behind it; that user then gets a key for everything."""
    caller = theft.at("203.0.113.140", _SCRIPT)
    name = "BedrockAPIKey-" + "".join(theft.chance.choices("abcdefghij0123456789", k=4))
    own = {"userName": name}
    limited = "arn:aws:iam::aws:policy/AmazonBedrockLimitedAccess"
    calls = [
        Call("iam", "CreateUser", own, reads=False),
        Call("iam", "AttachUserPolicy", {**own, "policyArn": limited}, reads=False),
        Call("iam", "CreateServiceSpecificCredential", {**own, "serviceName": "bedrock.amazonaws.com"}, reads=False),
        Call("iam", "CreateAccessKey", own, reads=False),
    ]
    yield from _spaced(theft, caller, calls, 6)
    made = user(caller.account, name, "AKIAIOSFODNN7" + name[-4:].upper() + "XYZ", _SCRIPT, "203.0.113.141")
    steps = [Call("iam", "ListAttachedUserPolicies", own), Call("s3", "ListBuckets"), Call("ec2", "DescribeInstances")]
    yield from _spaced(theft, made, steps, 5, theft.begins_us + 3 * MINUTE_US)


def mantle(theft: Theft) -> Steps:
    """[AWS] The other endpoint of Bedrock, with a bearer key: models are listed, then used as data events."""
    caller = theft.at("2001:db8:4a7:1::9", "OpenAI/Python 1.109.1")
    token = {"callWithBearerToken": True, "bearerTokenType": "ABSK"}
    yield from _spaced(theft, caller, [Call("bedrock-mantle", "ListModels", token)], 1)
    asked = {"model": "anthropic.claude-opus-4-7", "stream": True, "service_tier": "default", **token}
    calls = [Call("bedrock-mantle", "CreateInference", asked, reads=False, data=True)] * 120
    yield from _spaced(theft, caller, calls, 5, theft.begins_us + MINUTE_US)


def region_spray(theft: Theft) -> Steps:
    """[Sysdig 2024] The same questions in every region within seconds."""
    caller = theft.at("203.0.113.165", _AIOHTTP)
    at = theft.begins_us
    for region in _REGIONS:
        yield Step(at, caller, Call("bedrock", "ListFoundationModels"), region)
        yield Step(at + US_PER_S, caller, _model("InvokeModel", SONNET, _NEWER_LIMIT), region)
        yield Step(at + US_PER_S, caller, _model("InvokeModel", _OLD, _NO_ACCESS), region)
        at += 4 * US_PER_S


def blinded(theft: Theft) -> Steps:
    """Logging is looked at and ended, a guardrail goes, and the trail stops; then the model is used."""
    caller = theft.at("203.0.113.180", "aws-cli/2.13.5 Python/3.11.4 Windows/10 exe/AMD64 prompt/off")
    calls = [
        _LOGGING,
        Call("bedrock", "DeleteModelInvocationLoggingConfiguration", reads=False),
        Call("bedrock", "ListGuardrails"),
        Call("bedrock", "DeleteGuardrail", {"guardrailIdentifier": "ab12cd34ef56"}, reads=False),
        Call("cloudtrail", "StopLogging", {"name": "organisation"}, reads=False),
    ]
    yield from _spaced(theft, caller, calls, 20)
    yield from _uses(theft, caller, 40, theft.begins_us + 10 * MINUTE_US)


def committed(theft: Theft) -> Steps:
    """Spend that goes on without calls: provisioned throughput, a batch, a quota raised, an offer accepted."""
    caller = theft.at("203.0.113.201", "python-requests/2.34.2")
    throughput = {"modelId": SONNET, "modelUnits": 8, "provisionedModelName": "fast", "commitmentDuration": "SixMonths"}
    batch = {"modelId": _OPUS, "jobName": "nightly"}
    quota = {"serviceCode": "bedrock", "quotaCode": "L-254CACF4"}
    calls = [
        Call("bedrock", "ListProvisionedModelThroughputs"),
        Call("servicequotas", "RequestServiceQuotaIncrease", quota, reads=False),
        Call("aws-marketplace", "AcceptAgreementRequest", {"agreementRequestId": "ar-1a2b3c"}, reads=False),
        Call("bedrock", "CreateProvisionedModelThroughput", throughput, reads=False),
        Call("bedrock", "CreateModelInvocationJob", batch, reads=False),
    ]
    yield from _spaced(theft, caller, calls, 30)


def data_reached(theft: Theft) -> Steps:
    """[Sysdig 2026] Models are looked at, and then what else the key can read."""
    caller = theft.at("203.0.113.222", "DeepAWSAnalyzer/Pro")
    secrets = [f"prod/{name}" for name in ("orders", "mail", "payments")]
    reads = [Call("secretsmanager", "GetSecretValue", {"secretId": secret}) for secret in secrets]
    days = [{"bucketName": "orders-export", "key": f"{day:02}.parquet"} for day in range(12)]
    objects = [Call("s3", "GetObject", day, data=True) for day in days]
    parameters = Call("ssm", "GetParametersByPath", {"path": "/prod", "recursive": True, "withDecryption": True})
    first = [_WHO_AM_I, Call("bedrock", "ListFoundationModels"), Call("bedrock", "ListKnowledgeBases")]
    look = [Call("s3", "ListBuckets"), Call("secretsmanager", "ListSecrets")]
    yield from _spaced(theft, caller, [*first, *look, *reads, parameters, *objects], 6)


def many_addresses(theft: Theft) -> Steps:
    """[Sysdig 2026] and canary keys of 2026: another address for every call, one and the same client."""
    at = theft.begins_us
    for _ in range(55):
        address = f"2001:db8:{theft.chance.randrange(0x1000, 0xFFFF):x}::{theft.chance.randrange(1, 0xFFFF):x}"
        model = theft.chance.choice(_MODELS)
        yield Step(at, theft.at(address, _SCRIPT), _model("Converse", model))
        at += int(12 * HOUR_US / 55 * theft.chance.uniform(0.5, 1.5))


def bearer_elsewhere(theft: Theft) -> Steps:
    """An application's Bedrock API key, used from a network and by a client that it was never used by."""
    caller = bearer().elsewhere("2001:db8:77:2::51", "OpenAI/JS 5.12.0")
    call = Call("bedrock", "ConverseStream", {"modelId": _OPUS}, more={"callWithBearerToken": True})
    yield from _spaced(theft, caller, [call] * 80, 7)


CAMPAIGNS: dict[str, Callable[[Theft], Steps]] = {
    each.__name__: each
    for each in (
        token_probe,
        console_calls,
        proxy_split,
        made_a_user,
        bedrock_key,
        mantle,
        region_spray,
        blinded,
        committed,
        data_reached,
        many_addresses,
        bearer_elsewhere,
    )
}
"""Every campaign by its name."""
