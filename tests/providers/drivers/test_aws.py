"""AWS access keys against moto, which checks signatures and policies as IAM does, and CloudWatch's counts in it."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from jackstop.clock import US_PER_S, from_datetime
from jackstop.errors import UserError
from jackstop.providers.drivers.aws import DRIVER
from jackstop.providers.drivers.driver import Administration, CallFailed
from jackstop.secret import Secret

REGION = "us-east-1"


def told(moto: str, path: str, body: str = "") -> None:
    parts = urlsplit(moto)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", path, body)
    assert connection.getresponse().read() is not None
    connection.close()


@pytest.fixture
def moto(moto: str) -> Iterator[str]:
    """An empty account, in which policies are not checked until a test says so."""
    yield moto
    # The switch is the whole process's, so that the next test would meet it.
    told(moto, "/moto-api/reset-auth", "inf")


def checked(moto: str) -> None:
    """From now on every call needs a signature by a key that exists, and a policy that allows it."""
    told(moto, "/moto-api/reset-auth", "0")


def service(name: str, url: str) -> Any:
    return boto3.session.Session("setup", "setup").client(name, endpoint_url=url, region_name=REGION)


def administration(moto: str, policy: dict[str, Any]) -> Administration:
    """An administrator's key with this policy, beside the user whose keys are looked after."""
    iam = service("iam", moto)
    iam.create_user(UserName="app")
    iam.create_user(UserName="jackstop")
    iam.put_user_policy(UserName="jackstop", PolicyName="least", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="jackstop")["AccessKey"]
    secret = Secret(f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    return Administration("aws", moto, {"cloudwatch_url": moto}, secret)


def documented() -> dict[str, Any]:
    """The policy that Jackstop asks for, with its actions on any resource: moto looks at no resource but `*`."""
    text = DRIVER.permission
    policy: dict[str, Any] = json.loads(text[text.index("{") :])
    assert policy["Statement"][0]["Resource"] == "arn:aws:iam::ACCOUNT:user/USER"
    policy["Statement"][0]["Resource"] = "*"
    return policy


def place(moto: str) -> dict[str, str]:
    return {"user": "app", "sts_url": moto, "region": REGION}


def test_a_key_lives_its_whole_life_with_the_permission_that_is_asked_for(moto: str) -> None:
    admin, where = administration(moto, documented()), place(moto)
    checked(moto)
    old = DRIVER.create(admin, where, "jackstop-1", beside="", expires_s=None)
    assert DRIVER.verify("openai", "https://unused.example", where, old.secret) == "works"
    new = DRIVER.create(admin, where, "jackstop-2", beside=old.id, expires_s=None)
    assert {key.id for key in DRIVER.list(admin, where)} == {old.id, new.id}

    DRIVER.disable(admin, where, old.id)
    DRIVER.disable(admin, where, old.id)
    states = {key.id: key.state for key in DRIVER.list(admin, where)}
    assert states == {old.id: "disabled", new.id: "active"}
    DRIVER.enable(admin, where, old.id)
    assert {key.state for key in DRIVER.list(admin, where)} == {"active"}

    DRIVER.delete(admin, where, old.id, keep=new.id)
    DRIVER.delete(admin, where, old.id, keep=new.id)
    DRIVER.disable(admin, where, old.id)
    (left,) = DRIVER.list(admin, where)
    assert left.id == new.id
    assert left.created_us is not None
    assert DRIVER.verify("openai", "https://unused.example", where, old.secret) == "refused"
    assert DRIVER.verify("openai", "https://unused.example", where, new.secret) == "works"


def test_it_tells_when_a_key_was_used_last(moto: str) -> None:
    admin, where = administration(moto, documented()), place(moto)
    made = DRIVER.create(admin, where, "jackstop-1", beside="", expires_s=None)
    assert [key.last_used_us for key in DRIVER.list(admin, where)] == [None]
    assert DRIVER.verify("openai", "https://unused.example", where, made.secret) == "works"
    (key,) = DRIVER.list(admin, where)
    assert key.created_us is not None
    assert key.last_used_us is not None
    assert key.last_used_us >= key.created_us


def test_a_third_key_finds_no_room(moto: str) -> None:
    admin, where = administration(moto, documented()), place(moto)
    for number in range(DRIVER.most_keys):
        DRIVER.create(admin, where, f"jackstop-{number}", beside="", expires_s=None)
    with pytest.raises(CallFailed) as caught:
        DRIVER.create(admin, where, "jackstop-x", beside="", expires_s=None)
    assert caught.value.why == "quota"


def test_a_policy_without_the_act_is_denied_and_says_nothing_of_the_key(moto: str) -> None:
    policy = documented()
    policy["Statement"][0]["Action"].remove("iam:CreateAccessKey")
    admin, where = administration(moto, policy), place(moto)
    checked(moto)
    with pytest.raises(CallFailed) as caught:
        DRIVER.create(admin, where, "jackstop-1", beside="", expires_s=None)
    assert caught.value.why == "denied"
    key_id, _, secret = admin.secret.reveal().decode().partition(":")
    assert key_id not in caught.value.problem
    assert secret not in caught.value.problem


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"secret": Secret("no-pair")}, "invalid"),
        ({"base_url": "http://example.com"}, "invalid"),
        ({"base_url": "http://127.0.0.1:1"}, "unreachable"),
    ],
)
def test_what_cannot_be_called_says_why(moto: str, change: dict[str, Any], why: str) -> None:
    admin = Administration("aws", moto, {}, Secret("id:key"))._replace(**change)
    with pytest.raises(CallFailed) as caught:
        DRIVER.list(admin, {"user": "app"})
    assert caught.value.why == why
    assert "no-pair" not in caught.value.problem


def test_a_user_who_is_not_there_is_missing(moto: str) -> None:
    with pytest.raises(CallFailed) as caught:
        DRIVER.list(Administration("aws", moto, {}, Secret("id:key")), {"user": "nobody"})
    assert caught.value.why == "missing"


def test_a_place_without_a_user_says_so(moto: str) -> None:
    with pytest.raises(CallFailed, match="user"):
        DRIVER.list(Administration("aws", moto, {}, Secret("id:key")), {})


def test_a_secret_that_sts_cannot_be_asked_about_is_unsure() -> None:
    where = {"user": "app", "sts_url": "http://127.0.0.1:1"}
    assert DRIVER.verify("openai", "https://unused.example", where, Secret("id:key")) == "unsure"
    assert DRIVER.verify("openai", "https://unused.example", where, Secret("no-pair")) == "unsure"


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(UserError) as caught:
        DRIVER.list(Administration("aws", "https://iam.amazonaws.com", {}, Secret("id:key")), {"user": "app"})
    assert "jackstop[aws]" in caught.value.remedy


def put(watch: Any, namespace: str, dimensions: dict[str, str], at: datetime, **counts: int) -> None:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [
        {"MetricName": name, "Dimensions": named, "Timestamp": at, "Value": value} for name, value in counts.items()
    ]
    watch.put_metric_data(Namespace=namespace, MetricData=data)


def test_usage_is_read_by_model_and_minute(moto: str) -> None:
    admin, watch = administration(moto, documented()), service("cloudwatch", moto)
    at = datetime.now(tz=UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    sonnet, haiku = {"ModelId": "anthropic.claude-sonnet"}, {"ModelId": "anthropic.claude-haiku"}
    put(watch, "AWS/Bedrock", sonnet, at, Invocations=2, InputTokenCount=700, OutputTokenCount=90)
    put(
        watch,
        "AWS/Bedrock",
        sonnet,
        at + timedelta(seconds=30),
        Invocations=1,
        InputTokenCount=300,
        CacheReadInputTokens=44,
    )
    put(watch, "AWS/Bedrock", haiku, at + timedelta(minutes=1), Invocations=1, InputTokenCount=5, OutputTokenCount=6)
    put(watch, "AWS/Bedrock", {**haiku, "ImageSize": "big"}, at, Invocations=7)
    put(watch, "AWS/BedrockMantle", {"Model": "openai.gpt-oss-120b"}, at, Inferences=9)
    since_us = from_datetime(at) + 20 * US_PER_S
    buckets = DRIVER.usage(admin, place(moto), since_us, from_datetime(at + timedelta(minutes=5)))
    assert [(each.start_us, each.model) for each in buckets] == [
        (from_datetime(at), "anthropic.claude-sonnet"),
        (from_datetime(at + timedelta(minutes=1)), "anthropic.claude-haiku"),
    ]
    assert (buckets[0].requests, buckets[0].input_tokens, buckets[0].output_tokens) == (3, 1_000, 90)
    assert (buckets[0].cache_read_tokens, buckets[0].cache_write_tokens) == (44, 0)
    assert buckets[0].width_us == DRIVER.usage_width_us
    assert buckets[0].provider_key_id == ""


def test_a_place_without_a_region_has_no_usage(moto: str) -> None:
    admin = Administration("aws", moto, {"cloudwatch_url": moto}, Secret("id:key"))
    assert DRIVER.usage(admin, {"user": "app"}, 0, US_PER_S) == []
    assert DRIVER.costs(admin, {"user": "app"}, 0, US_PER_S) == []
