"""The Mistral driver against the practice administration."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.providers.drivers import driver
from jackstop.providers.drivers.driver import CallFailed
from jackstop.secret import Secret

DRIVER: Any = driver("mistral")
PLACE = {"workspace": "wsp_one"}


@pytest.fixture
def admin(practice):
    return practice.admin("mistral")


def test_a_key_is_made_beside_another_and_expires(practice, admin):
    old = practice.seed("mistral", name="gate", **PLACE)
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside=old["id"], expires_s=3_600)
    lasting = DRIVER.create(admin, PLACE, "jackstop-2", beside=old["id"], expires_s=None)
    assert lasting.expires_us is None
    assert {found.id: found.name for found in DRIVER.list(admin, PLACE)} == {
        old["id"]: "gate",
        made.id: "jackstop-1",
        lasting.id: "jackstop-2",
    }
    base_url = practice.base_url("mistral")
    for secret in (made.secret, Secret(old["secret"])):
        assert DRIVER.verify("openai", base_url, PLACE, secret) == "works"
    practice.clock.advance(2 * 86_400)
    assert DRIVER.verify("openai", base_url, PLACE, made.secret) == "refused"
    assert DRIVER.verify("openai", base_url, PLACE, lasting.secret) == "works"


def test_a_person_deletes(admin):
    assert {"delete", "disable"}.isdisjoint(DRIVER.verbs)
    with pytest.raises(CallFailed, match="no API"):
        DRIVER.delete(admin, PLACE, "key", keep="")
