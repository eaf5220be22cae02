"""The OpenRouter driver against the practice administration, which the official SDK reads too."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.clock import US_PER_S, ManualClock
from jackstop.providers.drivers import driver, openrouter_usage
from jackstop.providers.drivers.driver import CallFailed
from jackstop.secret import Secret

DRIVER: Any = driver("openrouter")
PLACE = {"workspace": "wsp_one"}
DAY_US = 86_400 * US_PER_S


@pytest.fixture
def admin(practice):
    return practice.admin("openrouter")


@pytest.fixture
def key(practice):
    return practice.seed("openrouter", name="gate", **PLACE)


def states(admin):
    return {found.id: found.state for found in DRIVER.list(admin, PLACE)}


def verdict(practice, secret):
    return DRIVER.verify("openai", practice.base_url("openrouter"), PLACE, secret)


def test_a_key_s_whole_life(practice, admin, key):
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside=key["id"], expires_s=3_600)
    assert states(admin) == {key["id"]: "active", made.id: "active"}
    assert made.expires_us is not None
    assert verdict(practice, made.secret) == verdict(practice, Secret(key["secret"])) == "works"
    DRIVER.disable(admin, PLACE, key["id"])
    DRIVER.disable(admin, PLACE, key["id"])
    practice.clock.advance(5)
    assert states(admin)[key["id"]] == "disabled"
    assert verdict(practice, Secret(key["secret"])) == "refused"
    DRIVER.enable(admin, PLACE, key["id"])
    assert verdict(practice, Secret(key["secret"])) == "works"
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    DRIVER.disable(admin, PLACE, key["id"])
    practice.clock.advance(5)
    assert verdict(practice, Secret(key["secret"])) == "refused"
    assert states(admin) == {made.id: "active"}


def test_the_new_key_has_the_limit_of_the_one_beside_it(admin, key):
    limited = {**PLACE, "key": key["id"]}
    set_to = DRIVER.set_limit(admin, limited, 12_500_000_000)
    assert (set_to.scope, set_to.window, set_to.amount_nusd) == (f"key:{key['id']}", "month", 12_500_000_000)
    made = DRIVER.create(admin, PLACE, "jackstop-2", beside=key["id"], expires_s=None)
    found = {limit.scope: limit for limit in DRIVER.limits(admin, PLACE)}
    assert found[f"key:{made.id}"].amount_nusd == 12_500_000_000
    assert found[f"key:{made.id}"].window == "month"
    assert DRIVER.limits(admin, limited) == [set_to]
    with pytest.raises(CallFailed, match="which key"):
        DRIVER.set_limit(admin, PLACE, 1)


def test_all_pages_are_read(admin, key):
    made = {DRIVER.create(admin, PLACE, f"jackstop-{n}", beside="", expires_s=None).id for n in range(130)}
    assert set(states(admin)) == made | {key["id"]}


def test_the_sdk_sees_the_same_keys(admin, key):
    openrouter = pytest.importorskip("openrouter", reason="the official SDK is not installed")
    DRIVER.create(admin, PLACE, "jackstop-3", beside=key["id"], expires_s=600)
    with openrouter.OpenRouter(api_key=admin.secret.reveal().decode(), server_url=admin.base_url) as client:
        seen = {one.hash: one for one in client.api_keys.list(workspace_id=PLACE["workspace"]).data}
    listed = {one.id: one for one in DRIVER.list(admin, PLACE)}
    assert {name: one.name for name, one in listed.items()} == {name: one.name for name, one in seen.items()}


def at(monkeypatch, us):
    monkeypatch.setattr(openrouter_usage, "SystemClock", lambda: ManualClock(us))


def test_a_counter_that_may_still_be_yesterday_s_is_not_today_s(practice, admin, key, monkeypatch):
    practice.openai("openrouter/api/v1", key["secret"]).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello there"}]
    )
    today_us = practice.clock.now_us() // DAY_US * DAY_US
    at(monkeypatch, today_us + 60 * US_PER_S)
    assert DRIVER.costs(admin, PLACE, today_us, today_us + DAY_US) == []
    at(monkeypatch, today_us + 1_000 * US_PER_S)
    assert len(DRIVER.costs(admin, PLACE, today_us, today_us + DAY_US)) == 1


def test_usage_and_costs_by_day_and_key(practice, admin, key, monkeypatch):
    client = practice.openai("openrouter/api/v1", key["secret"])
    said = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "[[sandbox: out=400 cached=3]] Hello there"}]
    ).usage
    today_us = practice.clock.now_us() // DAY_US * DAY_US
    at(monkeypatch, today_us + DAY_US // 2)
    (running,) = DRIVER.costs(admin, PLACE, today_us, today_us + DAY_US)
    billed = sum(line["cost_nusd"] for line in practice.bill())
    assert running.provider_key_id == key["id"]
    assert running.cost_nusd == pytest.approx(billed, abs=1_000)
    practice.clock.advance(86_400 + 180)
    (found,) = DRIVER.usage(admin, PLACE, today_us, today_us + DAY_US)
    assert (found.provider_key_id, found.start_us, found.width_us, found.requests) == (key["id"], today_us, DAY_US, 1)
    assert found.input_tokens + found.cache_read_tokens == said.prompt_tokens
    assert found.output_tokens == said.completion_tokens
    assert found.cost_nusd == pytest.approx(billed, abs=1_000)
