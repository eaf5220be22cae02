"""An organisation's everyday CloudTrail, for practice: who works there, with what, in which regions and hours.

Its shares follow what a small company's trail looks like: reads by services and tools most of all, deployments, people
in the console by day, and two applications and a team that have used Bedrock all along.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from jackstop.sandbox.trail_records import Call, Caller, role, service, user

ACCOUNTS = ("111122223333", "444455556666", "123456789012", "999999999999")
"""Production, data, development and audit: account ids of AWS's documentation."""
HOME = "us-east-1"
REGIONS = (HOME, "us-west-2", "eu-west-1")

OFFICE = "192.0.2"
CLOUD = "198.51.100"

_ALL_DAY = (0, 86_400)
_BY_DAY = (7 * 3_600, 19 * 3_600)
_NIGHTLY = (2 * 3_600, 4 * 3_600)

SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"

_BOTO = "Boto3/1.40.21 md/Botocore#1.40.21 ua/2.1 os/linux lang/python#3.12.7"
_CLI = "aws-cli/2.31.3 md/awscrt#0.27.6 ua/2.1 os/macos#24.6 lang/python#3.13.7"
_TERRAFORM = "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) aws-sdk-go-v2/1.32.3 os/linux"
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_CONSOLE = "console.ec2.amazonaws.com"
_JAVASCRIPT = "aws-sdk-js/3.890.0 ua/2.1 os/linux lang/js md/nodejs#22.9.0 api/bedrock-runtime#3.890.0"


class Worker(NamedTuple):
    """Somebody or something that calls, where, between which seconds of the day, and how much of the whole."""

    caller: Caller
    region: str
    hours: tuple[int, int]
    share: int
    calls: tuple[Call, ...]


def _reads(source: str, names: str) -> tuple[Call, ...]:
    return tuple(Call(source, name) for name in names.split())


def _invokes(name: str, model: str, error: tuple[str, str] | None = None) -> Call:
    return Call("bedrock", name, {"modelId": model}, error=error)


_BUSY = ("ThrottlingException", "Too many requests, please wait before trying again.")
_DENIED = ("AccessDenied", "User is not authorized to perform: rds:DescribeDBClusters")


_EC2 = _reads(
    "ec2",
    "DescribeInstances DescribeSubnets DescribeVpcs DescribeSecurityGroups DescribeVolumes DescribeRouteTables"
    " DescribeInstanceStatus DescribeTags DescribeNetworkInterfaces",
)
_OPERATIONS = (
    *_EC2,
    *_reads("monitoring", "DescribeAlarms"),
    *_reads("elasticloadbalancing", "DescribeLoadBalancers DescribeTargetHealth"),
    *_reads("rds", "DescribeDBInstances DescribeDBSnapshots"),
    *_reads("autoscaling", "DescribeAutoScalingGroups"),
    Call("rds", "DescribeDBClusters", error=_DENIED),
)
_DEPLOYMENT = (
    *_EC2[:4],
    *_reads("iam", "GetRole GetPolicy GetPolicyVersion ListRolePolicies ListAttachedRolePolicies"),
    *_reads("s3", "GetBucketPolicy GetBucketTagging GetBucketVersioning"),
    *_reads("lambda", "GetFunction20150331v2 ListVersionsByFunction20150331"),
    Call("lambda", "UpdateFunctionCode20150331v2", {"functionName": "orders"}, reads=False),
    Call("ecs", "UpdateService", {"service": "shop"}, reads=False),
    Call("iam", "PutRolePolicy", {"roleName": "orders", "policyName": "orders"}, reads=False),
    Call("iam", "UpdateAssumeRolePolicy", {"roleName": "orders"}, reads=False),
)
_AUDIT = (
    *_reads("iam", "GetAccountSummary ListUsers GetCredentialReport ListAccessKeys ListVirtualMFADevices"),
    *_reads("cloudtrail", "DescribeTrails GetTrailStatus GetEventSelectors"),
    *_reads("s3", "ListBuckets GetBucketAcl GetBucketPublicAccessBlock"),
    *_reads("kms", "ListKeys GetKeyRotationStatus"),
    *_reads("guardduty", "ListDetectors"),
    Call("bedrock", "GetModelInvocationLoggingConfiguration"),
)
_PERSON = (*_EC2, *_reads("monitoring", "DescribeAlarms GetMetricData"), *_reads("logs", "DescribeLogGroups"))
_RESEARCH = (
    *(_invokes("Converse", HAIKU) for _ in range(12)),
    *(_invokes("InvokeModel", SONNET) for _ in range(6)),
    Call("bedrock", "ListFoundationModels"),
    *_reads("s3", "GetBucketLocation"),
)
_LOGIN = Call(
    "signin",
    "ConsoleLogin",
    None,
    {"ConsoleLogin": "Success"},
    more={"MFAUsed": "Yes"},
    reads=False,
    kind="AwsConsoleSignIn",
)


def workers() -> list[Worker]:
    """Everybody, applications first."""
    production, data, development, audit = ACCOUNTS
    shop = role(production, "shop-assistant", "i-0abc", _BOTO, f"{CLOUD}.10")
    summaries = role(production, "search-summaries", "i-0def", _JAVASCRIPT, f"{CLOUD}.24")
    inference = {"inferenceRegion": "eu-central-1"}
    found = [
        Worker(
            shop,
            HOME,
            _ALL_DAY,
            60,
            (
                *(_invokes("InvokeModel", SONNET) for _ in range(20)),
                *(_invokes("Converse", HAIKU) for _ in range(20)),
                _invokes("InvokeModel", SONNET, _BUSY),
            ),
        ),
        Worker(
            summaries,
            "eu-west-1",
            _ALL_DAY,
            60,
            (Call("bedrock", "ConverseStream", {"modelId": f"eu.{HAIKU}"}, more=inference),),
        ),
        Worker(_bearer(development), HOME, _ALL_DAY, 20, (_bearer_call("Converse", HAIKU),)),
        Worker(role(audit, "posture-scanner", "scan", _BOTO, f"{CLOUD}.40"), HOME, _NIGHTLY, 25, _AUDIT),
        Worker(
            user(data, "nightly-backup", "AKIAIOSFODNN7BACKUP1", _CLI, f"{CLOUD}.60"),
            HOME,
            _NIGHTLY,
            30,
            (
                Call("s3", "GetObject", {"bucketName": "orders-export", "key": "daily.parquet"}, data=True),
                *_reads("s3", "ListBuckets"),
            ),
        ),
    ]
    for number in range(4):
        person = role(development, "research", f"person{number}@example.com", _CLI, f"{OFFICE}.{20 + number}")
        found.append(Worker(person, HOME, _BY_DAY, 8, _RESEARCH))
    for account in ACCOUNTS:
        found += _everywhere(account)
    return found


def _bearer(account: str) -> Caller:
    return user(account, "BedrockAPIKey-n0ta", "AKIAIOSFODNN7BEARER1", "python-httpx/0.28.1", f"{CLOUD}.80")


def _bearer_call(name: str, model: str) -> Call:
    return Call("bedrock", name, {"modelId": model}, more={"callWithBearerToken": True})


def bearer() -> Caller:
    """The user behind a Bedrock API key that an application has used all along."""
    return _bearer(ACCOUNTS[2])


def _everywhere(account: str) -> list[Worker]:
    found = []
    for region in REGIONS:
        monitor = role(account, "monitoring", "agent", "Go-http-client/1.1", f"{CLOUD}.90")
        scaling = service(account, "autoscaling")
        assume = Call("sts", "AssumeRole", {"roleArn": f"arn:aws:iam::{account}:role/aws-service-role/scaling"})
        found += [
            Worker(monitor, region, _ALL_DAY, 120, _OPERATIONS),
            Worker(scaling, region, _ALL_DAY, 30, (assume,)),
            Worker(
                role(account, "ci-deploy", "pipeline", _TERRAFORM, f"{CLOUD}.100"), region, _BY_DAY, 40, _DEPLOYMENT
            ),
        ]
    for number in range(3):
        address = f"{OFFICE}.{40 + number}"
        person = role(account, "AWSReservedSSO_Operator", f"operator{number}@example.com", _CONSOLE, address)
        found.append(Worker(person, HOME, _BY_DAY, 15, _PERSON))
        found.append(Worker(person.elsewhere(address, _BROWSER), HOME, _BY_DAY, 1, (_LOGIN,)))
    return found


class Victim(NamedTuple):
    """An application with a long-lived key that will be stolen, and its place."""

    caller: Caller
    worker: Worker


def victims(count: int, chance: random.Random) -> list[Victim]:
    """Users whose keys do one modest thing every day, each another user."""
    found = []
    for number in range(count):
        account = ACCOUNTS[number % len(ACCOUNTS)]
        key = "AKIA" + "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16))
        caller = user(account, f"mailer-{number:02}", key, _BOTO, f"{CLOUD}.{120 + number % 100}")
        calls: Sequence[Call] = _reads("sqs", "GetQueueUrl GetQueueAttributes")
        found.append(Victim(caller, Worker(caller, HOME, _ALL_DAY, 6, tuple(calls))))
    return found
