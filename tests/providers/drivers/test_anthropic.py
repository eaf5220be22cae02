"""The Anthropic driver against the practice administration."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from jackstop.clock import US_PER_S, from_datetime
from jackstop.providers.drivers import driver
from jackstop.providers.drivers.driver import CallFailed
from jackstop.secret import Secret

DRIVER: Any = driver("anthropic")
PLACE = {"workspace": "wrkspc_one"}
MINUTE_US = 60 * US_PER_S
DAY_US = 86_400 * US_PER_S


@pytest.fixture
def admin(practice):
    return practice.admin("anthropic")


@pytest.fixture
def key(practice):
    return practice.seed("anthropic", name="gate", **PLACE)


def state(admin, key_id):
    return next((found.state for found in DRIVER.list(admin, PLACE) if found.id == key_id), "gone")


def verdict(practice, key):
    return DRIVER.verify("anthropic", practice.base_url("anthropic"), PLACE, Secret(key["secret"]))


def test_a_key_is_switched_off_and_on_and_ended(practice, admin, key):
    assert (state(admin, key["id"]), verdict(practice, key)) == ("active", "works")
    DRIVER.disable(admin, PLACE, key["id"])
    DRIVER.disable(admin, PLACE, key["id"])
    practice.clock.advance(5)
    assert (state(admin, key["id"]), verdict(practice, key)) == ("disabled", "refused")
    DRIVER.enable(admin, PLACE, key["id"])
    assert (state(admin, key["id"]), verdict(practice, key)) == ("active", "works")
    DRIVER.delete(admin, PLACE, key["id"], keep="")
    practice.clock.advance(5)
    assert (state(admin, key["id"]), verdict(practice, key)) == ("gone", "refused")


def test_a_key_that_is_at_its_end_is_left_so(admin, key, practice):
    DRIVER.delete(admin, PLACE, key["id"], keep="")
    DRIVER.delete(admin, PLACE, key["id"], keep="")
    DRIVER.disable(admin, PLACE, key["id"])
    DRIVER.delete(admin, PLACE, "apikey_never", keep="")
    with pytest.raises(CallFailed):
        DRIVER.enable(admin, PLACE, key["id"])


def test_no_call_makes_a_key(admin):
    assert "create" not in DRIVER.verbs
    assert DRIVER.kind == "assisted"
    with pytest.raises(CallFailed, match="no API"):
        DRIVER.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)


def test_the_sdk_sees_the_same_keys(practice, admin, key):
    practice.seed("anthropic", name="timed", expires_in_s=3_600, **PLACE)
    practice.seed("anthropic", name="elsewhere", workspace="wrkspc_two")
    secret = admin.secret.reveal().decode()
    with anthropic.Anthropic(api_key=secret, base_url=admin.base_url) as client:
        seen = {one.id: one for one in client.organization.api_keys.list()}
    assert len(seen) == 3
    listed = {one.id: one for one in DRIVER.list(admin, {})}
    assert listed.keys() == seen.keys()
    for one in listed.values():
        other = seen[one.id]
        assert (one.name, one.created_us) == (other.name, from_datetime(other.created_at))
        assert one.expires_us == (other.expires_at and from_datetime(other.expires_at))
        assert one.last_used_us is None
    assert {one.name for one in DRIVER.list(admin, PLACE)} == {"gate", "timed"}


def test_usage_by_minute_and_key(practice, admin, key):
    since_us = practice.clock.now_us() // MINUTE_US * MINUTE_US
    with anthropic.Anthropic(api_key=key["secret"], base_url=practice.base_url("anthropic"), max_retries=0) as client:
        said = client.messages.create(
            model="claude-haiku-4-5",
            max_tokens=100,
            messages=[{"role": "user", "content": "[[sandbox: out=20 cached=3 cache_write=2]] Hello there"}],
        ).usage
    practice.clock.advance(180)
    (found,) = DRIVER.usage(admin, PLACE, since_us, practice.clock.now_us())
    assert (found.start_us, found.width_us, found.provider_key_id) == (since_us, MINUTE_US, key["id"])
    assert (found.input_tokens, found.output_tokens) == (said.input_tokens, said.output_tokens)
    assert found.cache_read_tokens == (said.cache_read_input_tokens or 0)
    assert found.cache_write_tokens == (said.cache_creation_input_tokens or 0)
    assert found.model.startswith("claude-haiku-4-5")
    assert DRIVER.usage(admin, {"workspace": "wrkspc_two"}, since_us, practice.clock.now_us()) == []


def test_costs_by_day_and_workspace(practice, admin, key):
    with anthropic.Anthropic(api_key=key["secret"], base_url=practice.base_url("anthropic"), max_retries=0) as client:
        client.messages.create(
            model="claude-haiku-4-5",
            max_tokens=1_000,
            messages=[{"role": "user", "content": "[[sandbox: out=900]] Hello"}],
        )
    since_us = practice.clock.now_us() // DAY_US * DAY_US
    practice.clock.advance(180)
    found = DRIVER.costs(admin, PLACE, since_us, practice.clock.now_us())
    billed = sum(line["cost_nusd"] for line in practice.bill())
    assert sum(bucket.cost_nusd for bucket in found) == pytest.approx(billed, abs=100_000)
    assert {bucket.start_us for bucket in found} == {since_us}
    assert DRIVER.costs(admin, {"workspace": "wrkspc_two"}, since_us, practice.clock.now_us()) == []


def test_limits_are_read_and_set(practice, admin):
    assert DRIVER.limits(admin, PLACE) == []
    made = DRIVER.set_limit(admin, PLACE, 12_345_678_901)
    assert (made.scope, made.window, made.amount_nusd) == ("workspace:wrkspc_one", "month", 12_340_000_000)
    assert DRIVER.set_limit(admin, {}, 90_000_000_000).scope == "organization"
    assert made in DRIVER.limits(admin, PLACE)
    assert [limit.scope for limit in DRIVER.limits(admin, {"workspace": "wrkspc_two"})] == ["organization"]
    practice.mode(spend_limit_writes=0)
    with pytest.raises(CallFailed) as caught:
        DRIVER.set_limit(admin, PLACE, 1_000_000_000)
    assert caught.value.why == "denied"


def test_the_activity_feed_goes_forward_and_repeats_nothing(practice, admin, key):
    since_us = practice.clock.now_us() - US_PER_S
    DRIVER.disable(admin, PLACE, key["id"])
    first = DRIVER.audit(admin, since_us, "")
    assert len(first.entries) == 1
    for kind in ("admin_api_key_created", "platform_api_key_created"):
        practice.clock.advance(1)
        practice.post("/_sandbox/audit", {"provider": "anthropic", "kind": kind})
    more = DRIVER.audit(admin, since_us, first.cursor)
    assert [entry["type"] for entry in more.entries] == ["admin_api_key_created", "platform_api_key_created"]
    assert DRIVER.audit(admin, since_us, more.cursor).entries == []
    practice.mode(audit=0)
    with pytest.raises(CallFailed) as caught:
        DRIVER.audit(admin, since_us, more.cursor)
    assert caught.value.why == "denied"
