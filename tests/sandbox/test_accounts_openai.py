"""OpenAI's administration as practice, with its own SDK as the client."""

from __future__ import annotations

import openai
import pytest

from tests.sandbox.practice import HELLO


@pytest.fixture
def projects(practice):
    return practice.openai_admin().projects


def ask(client):
    return client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)


def test_a_service_account_comes_with_its_first_key(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app")
    assert account.role == "member"
    ask(practice.openai(account.api_key.value))
    (listed,) = projects.api_keys.list("proj_a")
    assert (listed.id, listed.owner.service_account.id) == (account.api_key.id, account.id)
    assert listed.last_used_at == practice.clock.now_us() // 1_000_000
    assert account.api_key.value not in listed.redacted_value
    assert projects.service_accounts.retrieve(account.id, project_id="proj_a").name == "app"
    assert not list(projects.api_keys.list("proj_b"))


def test_one_without_a_key_has_no_role(projects):
    account = projects.service_accounts.create("proj_a", name="app", create_service_account_only=True)
    assert (account.role, account.api_key) == ("none", None)
    assert [found.id for found in projects.service_accounts.list("proj_a")] == [account.id]


def test_a_second_key_lives_beside_the_first_until_that_is_deleted(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app")
    second = projects.service_accounts.api_keys.create(account.id, project_id="proj_a", name="jackstop-1")
    first, new = practice.openai(account.api_key.value), practice.openai(second.value)
    ask(first)
    ask(new)
    assert projects.api_keys.delete(account.api_key.id, project_id="proj_a").deleted
    ask(first)  # it lingers
    practice.clock.advance(0.31)
    with pytest.raises(openai.AuthenticationError):
        ask(first)
    ask(new)
    assert [key.name for key in projects.api_keys.list("proj_a")] == ["jackstop-1"]
    with pytest.raises(openai.NotFoundError):
        projects.api_keys.retrieve(account.api_key.id, project_id="proj_a")


def test_how_long_a_key_lingers_is_set(practice, projects):
    practice.mode(key_linger_ms=0)
    account = projects.service_accounts.create("proj_a", name="app")
    client = practice.openai(account.api_key.value)
    projects.api_keys.delete(account.api_key.id, project_id="proj_a")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_new_key_may_take_a_while(practice, projects):
    practice.mode(key_delay_ms=2_000)
    client = practice.openai(projects.service_accounts.create("proj_a", name="app").api_key.value)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    practice.clock.advance(2)
    assert client.models.list().data


def test_a_key_expires(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app", expires_in_seconds=60)
    client = practice.openai(account.api_key.value)
    practice.clock.advance(60.2)
    ask(client)
    practice.clock.advance(0.2)
    with pytest.raises(openai.AuthenticationError):
        ask(client)
    with pytest.raises(openai.BadRequestError, match="Expired"):
        projects.api_keys.update(account.api_key.id, project_id="proj_a", expires_in_seconds=60)
    assert practice.get("/_sandbox/keys")[0]["state"] == "expired"


def test_containing_is_an_early_expiry_or_narrow_scopes(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app")
    client, key_id = practice.openai(account.api_key.value), account.api_key.id
    projects.api_keys.update(key_id, project_id="proj_a", scopes=["api.files.read"])
    with pytest.raises(openai.PermissionDeniedError, match="scopes"):
        ask(client)
    projects.api_keys.update(key_id, project_id="proj_a", scopes=[])
    ask(client)  # none means all
    projects.api_keys.update(key_id, project_id="proj_a", expires_in_seconds=1)
    practice.clock.advance(1.4)
    with pytest.raises(openai.AuthenticationError):
        ask(client)


def test_the_older_api_deletes_no_key_of_a_service_account(practice, projects):
    practice.mode(service_account_key_delete=0)
    account = projects.service_accounts.create("proj_a", name="app")
    with pytest.raises(openai.BadRequestError, match="service account"):
        projects.api_keys.delete(account.api_key.id, project_id="proj_a")
    persons = practice.seed("openai", "sk-proj-persons", project="proj_a")
    assert projects.api_keys.delete(persons["id"], project_id="proj_a").deleted
    assert projects.service_accounts.delete(account.id, project_id="proj_a").deleted
    practice.clock.advance(1)
    with pytest.raises(openai.AuthenticationError):
        ask(practice.openai(account.api_key.value))
    assert not list(projects.api_keys.list("proj_a"))


def test_pages_end(projects):
    account = projects.service_accounts.create("proj_a", name="app")
    made = [account.api_key.id]
    for number in range(6):
        key = projects.service_accounts.api_keys.create(account.id, project_id="proj_a", name=f"jackstop-{number}")
        made.append(key.id)
    first = projects.api_keys.list("proj_a", limit=2)
    assert first.has_more
    assert [key.id for key in first] == made


def test_only_admin_keys_administer(practice):
    with pytest.raises(openai.PermissionDeniedError):
        practice.openai_admin("sk-proj-123").projects.api_keys.list("proj_a")
    with pytest.raises(openai.AuthenticationError):
        list(practice.openai_admin("").projects.api_keys.list("proj_a", extra_headers={"Authorization": "Basic x"}))


@pytest.mark.parametrize("path", ["projects/proj_a/api_keys/key_none", "projects/proj_a/nothing", "nowhere"])
def test_what_is_not_there_is_not_found(practice, path):
    headers = {"Authorization": "Bearer sk-admin-1"}
    status, answer = practice.call("GET", f"/openai/v1/organization/{path}", headers=headers)
    assert status == 404
    assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_secrets_never_heard_of_are_let_through_as_ever(practice):
    ask(practice.openai("sk-anything"))
    assert practice.get("/_sandbox/keys") == []


def test_a_key_added_by_hand_has_an_id_at_the_provider(practice, projects):
    seeded = practice.seed("openai", "sk-by-hand", id="key_hand", project="proj_a", service_account="user-1")
    assert seeded["id"] == "key_hand"
    listed = projects.api_keys.retrieve("key_hand", project_id="proj_a")
    assert listed.owner.service_account.id == "user-1"
    beside = projects.service_accounts.api_keys.create("user-1", project_id="proj_a", name="jackstop-1")
    assert {key.id for key in projects.api_keys.list("proj_a")} == {"key_hand", beside.id}
    status, _ = practice.call("POST", "/_sandbox/keys", {"provider": "openai", "secret": "sk-by-hand"})
    assert status == 409


def test_no_secret_is_shown_twice(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app")
    ask(practice.openai(account.api_key.value))
    shown = str([practice.get(f"/_sandbox/{name}") for name in ("keys", "requests", "bill", "mode")])
    shown += str(list(projects.api_keys.list("proj_a"))) + str(list(practice.openai_admin().audit_logs.list()))
    assert account.api_key.id in shown
    assert account.api_key.value not in shown


def test_a_spend_limit_refuses_once_it_is_used_up(practice, projects):
    account = projects.service_accounts.create("proj_a", name="app")
    client = practice.openai(account.api_key.value)
    limit = projects.spend_limit.update("proj_a", threshold_amount=1, currency="USD", interval="month")
    assert limit.enforcement.status == "inactive"
    dear = [{"role": "user", "content": "Good morning [[sandbox: out=20000]]"}]
    client.chat.completions.create(model="gpt-5", messages=dear)
    practice.clock.advance(1)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client)
    assert caught.value.code == "project_spend_limit_exceeded"
    assert projects.spend_limit.retrieve("proj_a").enforcement.status == "enforcing"
    practice.mode(enforce_limits=0)
    ask(client)
    practice.mode(enforce_limits=1)
    assert projects.spend_limit.delete("proj_a").deleted
    ask(client)
    with pytest.raises(openai.NotFoundError):
        projects.spend_limit.retrieve("proj_a")


def test_the_audit_log_says_who_and_whence_newest_first(practice, projects):
    organisation = practice.openai_admin()
    account = projects.service_accounts.create("proj_a", name="app")
    practice.clock.advance(10)
    projects.api_keys.delete(account.api_key.id, project_id="proj_a")
    sign_in = {"provider": "openai", "kind": "login.failed", "actor": "eve@example.com", "ip": "203.0.113.7"}
    assert practice.call("POST", "/_sandbox/audit", sign_in)[0] == 200
    entries = list(organisation.audit_logs.list(limit=1))
    kinds = ["login.failed", "api_key.deleted", "api_key.created", "service_account.created"]
    assert [entry.type for entry in entries] == kinds
    assert entries[0].actor.session.ip_address == "203.0.113.7"
    assert entries[0].actor.session.user.email == "eve@example.com"
    assert entries[1].actor.type == "api_key"
    assert (entries[1].api_key_deleted.id, entries[1].project.id) == (account.api_key.id, "proj_a")
    since = practice.clock.now_us() // 1_000_000 - 5
    recent = list(organisation.audit_logs.list(effective_at={"gt": since}))
    assert [entry.type for entry in recent] == kinds[:2]
    made = list(organisation.audit_logs.list(event_types=["api_key.created"]))
    assert [entry.id for entry in made] == [entries[2].id]
    practice.mode(audit=0)
    with pytest.raises(openai.PermissionDeniedError):
        organisation.audit_logs.list()


def test_a_reset_forgets_the_organisation(practice, projects):
    practice.mode(key_linger_ms=5)
    projects.service_accounts.create("proj_a", name="app")
    assert practice.get("/_sandbox/mode")["accounts"] == {"key_linger_ms": 5}
    practice.call("POST", "/_sandbox/reset", {})
    assert practice.get("/_sandbox/keys") == []
    assert practice.get("/_sandbox/mode") == {"all": {}, "credentials": {}}
    assert practice.call("POST", "/_sandbox/mode", {"key_linger_ms": "x"})[0] == 400


def test_a_behaviour_outlives_a_change_of_settings(practice):
    practice.mode(out=7)
    practice.mode(publish_after_s=5)
    assert practice.get("/_sandbox/mode")["all"] == {"out": 7}
    assert ask(practice.openai("sk-x")).usage.completion_tokens == 10
