"""Bedrock's API keys against the practice of IAM, which moto does not have; botocore is the client of both."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from jackstop.clock import US_PER_S, from_datetime
from jackstop.providers.drivers.bedrock import DRIVER
from jackstop.providers.drivers.driver import Administration, CallFailed
from jackstop.secret import Secret
from tests.providers.drivers.test_aws import put, service

PLACE = {"user": "gate", "region": "us-east-1"}
DAY_US = 86_400 * US_PER_S


@pytest.fixture
def admin(practice):
    return Administration("bedrock", f"{practice.url}/aws/iam", {}, Secret("AKIAPRACTICE:secret-0123456789"))


def states(admin):
    return {key.id: key.state for key in DRIVER.list(admin, PLACE)}


@pytest.mark.parametrize("shape", ["", "/openai", "/anthropic"])
def test_a_key_lives_its_whole_life(practice, admin, shape):
    def verdict(made):
        return DRIVER.verify("openai", f"{practice.url}/bedrock-mantle{shape}", PLACE, made.secret)

    old = DRIVER.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)
    new = DRIVER.create(admin, PLACE, "jackstop-2", beside=old.id, expires_s=None)
    practice.clock.advance(5)
    assert old.expires_us is None
    assert old.secret.reveal().startswith(b"ABSK")
    assert states(admin) == {old.id: "active", new.id: "active"}
    assert verdict(old) == verdict(new) == "works"
    DRIVER.disable(admin, PLACE, old.id)
    DRIVER.disable(admin, PLACE, old.id)
    practice.clock.advance(5)
    assert states(admin)[old.id] == "disabled"
    assert verdict(old) == "refused"
    DRIVER.enable(admin, PLACE, old.id)
    assert verdict(old) == "works"
    DRIVER.delete(admin, PLACE, old.id, keep=new.id)
    DRIVER.delete(admin, PLACE, old.id, keep=new.id)
    DRIVER.disable(admin, PLACE, old.id)
    practice.clock.advance(5)
    assert states(admin) == {new.id: "active"}
    assert verdict(old) == "refused"
    assert verdict(new) == "works"


def test_a_third_key_finds_no_room(admin):
    for number in range(DRIVER.most_keys):
        DRIVER.create(admin, PLACE, f"jackstop-{number}", beside="", expires_s=None)
    with pytest.raises(CallFailed) as caught:
        DRIVER.create(admin, PLACE, "jackstop-x", beside="", expires_s=None)
    assert caught.value.why == "quota"


@pytest.mark.parametrize(("asked_s", "days"), [(1, 1), (86_400, 1), (86_401, 2), (10**12, 36_600)])
def test_a_key_expires_after_whole_days(practice, admin, asked_s, days):
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside="", expires_s=asked_s)
    assert made.expires_us is not None
    # IAM tells whole seconds.
    assert abs(made.expires_us - practice.clock.now_us() - days * DAY_US) <= US_PER_S
    assert [key.expires_us for key in DRIVER.list(admin, PLACE)] == [made.expires_us]


def test_an_expired_key_is_shown_as_disabled(practice, admin):
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside="", expires_s=86_400)
    practice.clock.advance(2 * 86_400)
    assert states(admin) == {made.id: "disabled"}


def test_its_keys_have_no_names(admin):
    """A rotation finds what it made by name, or as not noted where there are no names."""
    DRIVER.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)
    assert [key.name for key in DRIVER.list(admin, PLACE)] == [""]


def test_a_key_that_is_not_there_cannot_be_enabled(admin):
    with pytest.raises(CallFailed) as caught:
        DRIVER.enable(admin, PLACE, "ACCANOSUCHCREDENTIAL")
    assert caught.value.why == "missing"


def test_the_permission_makes_keys_for_bedrock_alone():
    text = DRIVER.permission
    made, turned, *_ = json.loads(text[text.index("{") :])["Statement"]
    assert made["Condition"] == {"StringEquals": {"iam:ServiceSpecificCredentialServiceName": "bedrock.amazonaws.com"}}
    named = {made["Action"], *turned["Action"]}
    assert named == {
        f"iam:{verb}ServiceSpecificCredential{plural}"
        for verb, plural in (("Create", ""), ("List", "s"), ("Update", ""), ("Delete", ""))
    }


def test_usage_is_mantle_s_and_counts_each_inference_once(moto):
    watch = service("cloudwatch", moto)
    at = datetime.now(tz=UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
    model = {"Model": "openai.gpt-oss-120b"}
    counted = {"Inferences": 4, "TotalInputTokens": 400, "TotalOutputTokens": 40}
    # It publishes the same inference on four levels; only the model's is read.
    for dimensions in (model, {**model, "Project": "p"}, {"Project": "p"}, {}):
        put(watch, "AWS/BedrockMantle", dimensions, at, **counted)
    admin = Administration("bedrock", moto, {"cloudwatch_url": moto}, Secret("id:key"))
    (bucket,) = DRIVER.usage(admin, PLACE, from_datetime(at), from_datetime(at + timedelta(minutes=5)))
    assert (bucket.model, bucket.requests, bucket.input_tokens, bucket.output_tokens) == (model["Model"], 4, 400, 40)
    assert DRIVER.costs(admin, PLACE, from_datetime(at), from_datetime(at + timedelta(minutes=5))) == []
