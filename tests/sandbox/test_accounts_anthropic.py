"""Anthropic's administration as practice, with its own SDK as the client."""

from __future__ import annotations

import anthropic
import pytest

from tests.sandbox.practice import HELLO

SECRET = "sk-ant-api03-practised"
BETA = "spend-limit-reads-2026-09-26"


@pytest.fixture
def organisation(practice):
    return practice.anthropic("sk-ant-admin01-practice").organization


@pytest.fixture
def limits(practice):
    return practice.anthropic("sk-ant-admin01-practice").beta.organization.spend_limits


@pytest.fixture
def key(practice):
    return practice.seed("anthropic", SECRET, workspace="wrkspc_1", name="production")


def ask(practice, key=SECRET):
    return practice.anthropic(key).messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)


def test_keys_are_listed_and_looked_up(practice, organisation, key):
    practice.seed("anthropic", "sk-ant-api03-other", workspace="wrkspc_2")
    assert [found.id for found in organisation.api_keys.list(workspace_id="wrkspc_1")] == [key["id"]]
    assert len(list(organisation.api_keys.list(limit=1))) == 2
    found = organisation.api_keys.retrieve(key["id"])
    assert (found.name, found.status, found.scope.workspace_id) == ("production", "active", "wrkspc_1")
    assert SECRET not in found.model_dump_json()


def test_containing_is_inactive_and_can_be_undone(practice, organisation, key):
    ask(practice)
    assert organisation.api_keys.update(key["id"], status="inactive").status == "inactive"
    ask(practice)  # it lingers
    practice.clock.advance(0.31)
    with pytest.raises(anthropic.AuthenticationError):
        ask(practice)
    assert [found.id for found in organisation.api_keys.list(status="inactive")] == [key["id"]]
    organisation.api_keys.update(key["id"], status="active")
    ask(practice)


def test_archived_is_for_good(practice, organisation, key):
    assert organisation.api_keys.update(key["id"], status="archived").status == "archived"
    practice.clock.advance(1)
    with pytest.raises(anthropic.AuthenticationError):
        ask(practice)
    with pytest.raises(anthropic.BadRequestError):
        organisation.api_keys.update(key["id"], status="active")


def test_no_key_can_be_made_or_deleted(practice, key):
    headers = {"x-api-key": "sk-ant-admin01-practice"}
    for method, path in (("POST", ""), ("DELETE", f"/{key['id']}")):
        status, answer = practice.call(method, f"/anthropic/v1/organizations/api_keys{path}", {}, headers=headers)
        assert (status, answer["error"]["type"]) == (404, "not_found_error")


def test_an_inference_key_administers_nothing(practice, key):
    with pytest.raises(anthropic.AuthenticationError):
        practice.anthropic(SECRET).organization.api_keys.list()
    with pytest.raises(anthropic.NotFoundError):
        practice.anthropic("sk-ant-admin01-x").organization.api_keys.retrieve("apikey_none")


def test_a_workspace_limit_is_set_watched_and_felt(practice, limits, key):
    made = limits.set(amount="1", scope={"type": "workspace", "workspace_id": "wrkspc_1"})
    assert [found.id for found in limits.list(workspace_id="wrkspc_1", betas=[BETA])] == [made.id]
    headers = {"x-api-key": "sk-ant-admin01-practice"}
    assert practice.call("GET", "/anthropic/v1/organizations/spend_limits", headers=headers)[0] == 400
    client = practice.anthropic(SECRET)
    dear = [{"role": "user", "content": "Good morning [[sandbox: out=4000]]"}]
    client.messages.create(model="claude-haiku-4-5", max_tokens=4_000, messages=dear)
    practice.clock.advance(1)
    with pytest.raises(anthropic.BadRequestError, match="usage limits"):
        ask(practice)
    assert limits.set(amount="5000", scope={"type": "workspace", "workspace_id": "wrkspc_1"}).id == made.id
    practice.clock.advance(1)
    ask(practice)
    assert limits.delete(made.id).type == "spend_limit_deleted"
    assert not list(limits.list(betas=[BETA]))


def test_an_organisation_may_not_be_let_write_limits(practice, limits):
    practice.mode(spend_limit_writes=0)
    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        limits.set(amount="100", scope={"type": "organization"})
    assert caught.value.error_code == "spend_limits_admin_api_writes_not_enabled"


def test_the_activity_feed_says_who_and_whence_newest_first(practice, organisation, key):
    organisation.api_keys.update(key["id"], status="inactive")
    practice.clock.advance(60)
    sign_in = {
        "provider": "anthropic",
        "kind": "sso_login_initiated",
        "actor": "eve@example.com",
        "ip": "203.0.113.7",
        "user_agent": "curl/8",
    }
    practice.call("POST", "/_sandbox/audit", sign_in)
    headers = {"x-api-key": "sk-ant-api01-compliance"}
    path = "/anthropic/v1/compliance/activities"
    _, page = practice.call("GET", f"{path}?limit=1", headers=headers)
    (newest,) = page["data"]
    assert page["has_more"]
    assert newest["actor"]["ip_address"] == "203.0.113.7"
    assert newest["actor"]["type"] == "unauthenticated_user_actor"
    _, rest = practice.call("GET", f"{path}?after_id={page['last_id']}", headers=headers)
    assert [(entry["type"], entry["api_key_id"]) for entry in rest["data"]] == [("platform_api_key_updated", key["id"])]
    assert rest["data"][0]["actor"]["type"] == "admin_api_key_actor"
    _, newer = practice.call("GET", f"{path}?before_id={rest['first_id']}", headers=headers)
    assert newer["data"] == page["data"]
    _, recent = practice.call("GET", f"{path}?created_at.gt={rest['data'][0]['created_at']}", headers=headers)
    assert recent["data"] == page["data"]
    practice.mode(audit=0)
    assert practice.call("GET", path, headers=headers)[0] == 403
