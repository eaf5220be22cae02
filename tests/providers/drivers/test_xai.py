"""The xAI driver against the practice administration."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.providers.drivers import driver
from jackstop.providers.drivers.calls import call
from jackstop.providers.drivers.driver import CallFailed
from jackstop.secret import Secret

DRIVER: Any = driver("xai")
PLACE = {"team": "team_one"}


@pytest.fixture
def admin(practice):
    return practice.admin("xai")


@pytest.fixture
def key(practice):
    return practice.seed("xai", name="gate", **PLACE)


def states(admin):
    return {found.id: found.state for found in DRIVER.list(admin, PLACE)}


def verdict(practice, secret):
    return DRIVER.verify("openai", practice.base_url("xai"), PLACE, secret)


def test_a_key_s_whole_life(practice, admin, key):
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside=key["id"], expires_s=None)
    assert states(admin) == {key["id"]: "active", made.id: "active"}
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


def test_the_new_key_may_do_what_the_one_beside_it_may(admin):
    keys = f"{admin.base_url}/auth/teams/team_one/api-keys"
    bearer = {"Authorization": f"Bearer {admin.secret.reveal().decode()}"}
    acls = ["api-key:endpoint:chat", "api-key:model:grok-4"]
    old = call("POST", keys, bearer, {"name": "gate", "acls": acls})["apiKeyId"]
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside=old, expires_s=None)
    found = {key["apiKeyId"]: key["aclStrings"] for key in call("GET", keys, bearer)["apiKeys"]}
    assert found == {old: acls, made.id: acls}


def test_all_pages_are_read(admin, key):
    made = {DRIVER.create(admin, PLACE, f"jackstop-{n}", beside="", expires_s=None).id for n in range(130)}
    assert set(states(admin)) == made | {key["id"]}


def test_the_place_says_which_team(admin):
    with pytest.raises(CallFailed, match="which team"):
        DRIVER.list(admin, {})
