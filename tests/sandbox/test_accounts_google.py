"""Google's API keys and service-account keys as practice, with Google's own client as the judge."""

from __future__ import annotations

import base64
import json

import openai
import pytest

from tests.sandbox.practice import HELLO

PLACE = "projects/sandbox/locations/global"
ACCOUNT = "projects/sandbox/serviceAccounts/gate@sandbox.iam.gserviceaccount.com"


@pytest.fixture
def identity(practice):
    """What holds a service account's key, which is exchanged for a token at the practice."""
    service_account = pytest.importorskip("google.oauth2.service_account")
    seeded = practice.seed("google_sa", service_account="jackstop@sandbox.iam.gserviceaccount.com")
    info = json.loads(seeded["secret"])
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    return service_account.Credentials.from_service_account_info(info, scopes=scopes)


@pytest.fixture
def api(practice, identity):
    discovery = pytest.importorskip("googleapiclient.discovery")
    open_clients = []

    def build(name, version):
        options = {"api_endpoint": f"{practice.url}/google/"}
        made = discovery.build(name, version, credentials=identity, client_options=options, cache_discovery=False)
        open_clients.append(made)
        return made

    yield build
    for made in open_clients:
        made.close()


@pytest.fixture
def keys(api):
    return api("apikeys", "v2").projects().locations().keys()


@pytest.fixture
def done(practice, api):
    """Wait for an operation by the practice's clock: the response of it."""

    def wait(operation):
        operations = api("apikeys", "v2").operations()
        assert "done" not in operations.get(name=operation["name"]).execute()
        practice.clock.advance(0.05)
        return operations.get(name=operation["name"]).execute()["response"]

    return wait


def ask(practice, key):
    client = practice.openai(key)
    client.base_url = f"{practice.url}/gemini/v1beta/openai/"
    return client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)


def test_an_api_keys_life(practice, keys, done):
    made = done(keys.create(parent=PLACE, keyId="jackstop-1", body={"displayName": "jackstop-1"}).execute())
    assert made["name"] == f"{PLACE}/keys/jackstop-1"
    secret = keys.getKeyString(name=made["name"]).execute()["keyString"]
    assert secret.startswith("AIza")
    ask(practice, secret)
    listed = keys.list(parent=PLACE).execute()["keys"]
    assert [key["displayName"] for key in listed] == ["jackstop-1"]
    assert secret not in str(listed)
    limits = {"restrictions": {"serverKeyRestrictions": {"allowedIps": ["192.0.2.1"]}}}
    assert done(keys.patch(name=made["name"], updateMask="restrictions", body=limits).execute())["restrictions"]
    gone = done(keys.delete(name=made["name"]).execute())
    assert "deleteTime" in gone
    practice.clock.advance(1)
    with pytest.raises(openai.BadRequestError) as caught:
        ask(practice, secret)
    assert "API_KEY_INVALID" in caught.value.response.text
    assert "keys" not in keys.list(parent=PLACE).execute() or not keys.list(parent=PLACE).execute()["keys"]
    assert len(keys.list(parent=PLACE, showDeleted=True).execute()["keys"]) == 1
    done(keys.undelete(name=made["name"], body={}).execute())
    ask(practice, secret)


def test_what_google_refuses(keys):
    errors = pytest.importorskip("googleapiclient.errors")
    keys.create(parent=PLACE, keyId="twice", body={}).execute()
    with pytest.raises(errors.HttpError, match="already exists"):
        keys.create(parent=PLACE, keyId="twice", body={}).execute()
    with pytest.raises(errors.HttpError, match="not found"):
        keys.get(name=f"{PLACE}/keys/none").execute()
    with pytest.raises(errors.HttpError, match="etag"):
        keys.delete(name=f"{PLACE}/keys/twice", etag="other").execute()


def test_no_token_no_keys(practice):
    path = f"/google/v2/{PLACE}/keys"
    for headers in ({}, {"Authorization": "Bearer ya29.made-up"}):
        status, answer = practice.call("GET", path, headers=headers)
        assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_a_service_accounts_keys_are_made_switched_and_deleted(practice, api):
    auth = pytest.importorskip("google.oauth2.service_account")
    transport = pytest.importorskip("google_auth_httplib2")
    exceptions = pytest.importorskip("google.auth.exceptions")
    httplib2 = pytest.importorskip("httplib2")
    resource = api("iam", "v1").projects().serviceAccounts().keys()
    made = resource.create(name=ACCOUNT, body={}).execute()
    info = json.loads(base64.b64decode(made["privateKeyData"]))
    signer = auth.Credentials.from_service_account_info(info, scopes=["https://www.googleapis.com/auth/cloud-platform"])
    connection = httplib2.Http()
    request = transport.Request(connection)
    signer.refresh(request)
    assert signer.token.startswith("ya29.")
    resource.disable(name=made["name"], body={}).execute()
    (listed,) = resource.list(name=ACCOUNT, keyTypes=["USER_MANAGED"]).execute()["keys"]
    assert listed["disabled"]
    assert "privateKeyData" not in listed
    practice.clock.advance(1)
    with pytest.raises(exceptions.RefreshError):
        signer.refresh(request)
    resource.enable(name=made["name"], body={}).execute()
    signer.refresh(request)
    resource.delete(name=made["name"]).execute()
    practice.clock.advance(1)
    with pytest.raises(exceptions.RefreshError):
        signer.refresh(request)
    assert not resource.list(name=ACCOUNT).execute()["keys"]
    connection.close()


def test_a_service_account_has_at_most_ten_keys(api):
    errors = pytest.importorskip("googleapiclient.errors")
    resource = api("iam", "v1").projects().serviceAccounts().keys()
    for _ in range(10):
        resource.create(name=ACCOUNT, body={}).execute()
    with pytest.raises(errors.HttpError, match="Precondition"):
        resource.create(name=ACCOUNT, body={}).execute()
