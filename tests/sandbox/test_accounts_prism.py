"""The vendors' own documents judge the practised administration: Prism stands between a client and the sandbox."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import openai
import pytest

from tests.prism import judge
from tests.sandbox.practice import HELLO, NOON_US

pytestmark = pytest.mark.slow

NOON = NOON_US // 1_000_000
ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/acct"
VERSION = "?api-version=2024-10-01"


@pytest.fixture(scope="module")
def openais(_clocked, tmp_path_factory):
    log = tmp_path_factory.mktemp("prism") / "log"
    with judge("openai.admin.subset.json", f"{_clocked.url}/openai/v1", log) as url:
        yield url


@pytest.fixture(scope="module")
def azures(_clocked, tmp_path_factory):
    log = tmp_path_factory.mktemp("prism") / "log"
    name = "azure.cognitiveservices.keys.trimmed.swagger.json"
    with judge(name, f"{_clocked.url}/arm", log) as url:
        yield url


@pytest.fixture
def organisation(practice, openais):
    return practice.openai_admin(url=openais)


def test_the_judge_sees_what_the_document_does_not_allow(organisation):
    with pytest.raises(openai.UnprocessableEntityError):
        organisation.projects.service_accounts.create("proj_a", name=5)


def test_a_key_from_making_to_deleting(practice, organisation):
    accounts = organisation.projects.service_accounts
    account = accounts.create("proj_a", name="app")
    bare = accounts.create("proj_a", name="bare", create_service_account_only=True)
    key = accounts.api_keys.create(account.id, project_id="proj_a", name="jackstop-1")
    practice.openai(key.value).chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    practice.seed("openai", "sk-persons", project="proj_a")
    assert len(list(organisation.projects.api_keys.list("proj_a", limit=2))) == 3
    assert organisation.projects.api_keys.retrieve(key.id, project_id="proj_a").last_used_at == NOON
    assert {found.id for found in accounts.list("proj_a")} == {account.id, bare.id}
    assert accounts.retrieve(bare.id, project_id="proj_a").role == "none"
    assert organisation.projects.api_keys.delete(key.id, project_id="proj_a").deleted
    practice.mode(service_account_key_delete=0)
    with pytest.raises(openai.BadRequestError):
        organisation.projects.api_keys.delete(account.api_key.id, project_id="proj_a")
    assert accounts.delete(account.id, project_id="proj_a").deleted


def test_usage_and_costs(practice, organisation):
    practice.mode(publish_after_s=0)
    client = practice.openai("sk-used")
    client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    client.embeddings.create(model="text-embedding-3-small", input="four")
    practice.clock.advance(60)
    usage, since = organisation.usage, {"start_time": NOON}
    groups = ["api_key_id", "model", "project_id", "user_id", "batch", "service_tier"]
    assert usage.completions(**since, bucket_width="1m").data[0].results
    # The SDK sends `group_by[]`; the document knows `group_by` alone, so that this is asked as the document has it.
    assert usage.completions(**since, extra_query={"group_by": groups[0]}).data[0].results[0].api_key_id
    assert usage.embeddings(**since, bucket_width="1h").data[0].results
    assert usage.costs(**since).data[0].results
    assert usage.completions(**since, bucket_width="1m", limit=1).data


def test_the_audit_log_and_spend_limits(practice, organisation):
    organisation.projects.service_accounts.create("proj_a", name="app")
    sign_in = {"provider": "openai", "kind": "login.failed", "actor": "eve@example.com", "ip": "203.0.113.7"}
    practice.call("POST", "/_sandbox/audit", sign_in)
    assert len(list(organisation.audit_logs.list(limit=2))) == 3
    limits = organisation.projects.spend_limit
    assert limits.update("proj_a", threshold_amount=100, currency="USD", interval="month").threshold_amount == 100
    assert limits.retrieve("proj_a").enforcement.status == "inactive"
    assert limits.delete("proj_a").deleted
    organisation.spend_limit.update(threshold_amount=100, currency="USD", interval="month")
    assert organisation.spend_limit.retrieve().currency == "USD"
    assert organisation.spend_limit.delete().deleted


def _post(url, body, headers):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_azures_slots(practice, azures):
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b", "scope": "c"}
    token = practice.call("POST", "/entra/t/oauth2/v2.0/token", form=form)[1]["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    status, before = _post(f"{azures}{ACCOUNT}/listKeys{VERSION}", None, headers)
    assert (status, set(before)) == (200, {"key1", "key2"})
    status, after = _post(f"{azures}{ACCOUNT}/regenerateKey{VERSION}", {"keyName": "Key1"}, headers)
    assert (status, after["key2"]) == (200, before["key2"])
    assert _post(f"{azures}{ACCOUNT}/regenerateKey{VERSION}", {"keyName": "Key3"}, headers)[0] == 422
    assert _post(f"{azures}{ACCOUNT}/listKeys{VERSION}", None, {})[0] == 401
