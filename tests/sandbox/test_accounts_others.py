"""The administration of OpenRouter, xAI, Mistral, Azure and AWS as practice, with official SDKs where there are."""

from __future__ import annotations

import openai
import pytest

from tests.sandbox.practice import HELLO

MANAGER = {"Authorization": "Bearer management-key"}
ACCOUNT = "/arm/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{}"
VERSION = "?api-version=2024-10-01"


def ask(practice, key, root):
    return practice.openai(key, root).chat.completions.create(model="gpt-4o-mini", messages=HELLO)


REFUSALS = {"xai": openai.BadRequestError, "bedrock-mantle": openai.PermissionDeniedError}
"""Others answer 401. See `jackstop.providers.drivers.trial`."""


def refused(practice, key, root):
    with pytest.raises(REFUSALS.get(root, openai.AuthenticationError)):
        ask(practice, key, root)
    return True


@pytest.mark.parametrize("root", ["openrouter/api", "xai", "mistral", "groq/openai", "together", "bedrock-mantle"])
def test_inference_in_openais_shape_stands_where_the_provider_has_it(practice, root):
    assert ask(practice, "sk-any", root).usage.completion_tokens == 10
    assert practice.openai("sk-any", root).models.list().data
    with pytest.raises(openai.NotFoundError):
        practice.openai("sk-any", root).get("/organization/projects/proj_a/api_keys", cast_to=object)


def test_each_provider_knows_its_own_keys_only(practice):
    for provider, root in (("groq", "groq/openai"), ("together", "together"), ("deepseek", "deepseek")):
        practice.seed(provider, f"sk-of-{provider}")
        if provider != "deepseek":
            ask(practice, f"sk-of-{provider}", root)
    assert {key["provider"] for key in practice.get("/_sandbox/keys")} == {"groq", "together", "deepseek"}
    assert [row["provider"] for row in practice.get("/_sandbox/requests")] == ["groq", "together"]


def test_a_person_deletes_a_key_in_the_console(practice):
    """What is left to do where a provider has no API for its keys."""
    seeded = practice.seed("deepseek", "sk-of-deepseek")
    client = practice.openai("sk-of-deepseek", "deepseek")
    assert client.models.list().data
    path = f"/_sandbox/keys/deepseek/{seeded['id']}"
    assert practice.call("DELETE", path)[1]["state"] == "deleted"
    practice.clock.advance(1)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert practice.call("DELETE", f"{path}x")[0] == 404


@pytest.fixture
def openrouter(practice):
    sdk = pytest.importorskip("openrouter")
    with sdk.OpenRouter(api_key="sk-or-v1-management", server_url=f"{practice.url}/openrouter/api/v1") as made:
        yield made


def test_openrouters_keys_are_made_disabled_and_deleted(practice, openrouter):
    made = openrouter.api_keys.create(name="jackstop-1")
    hashed = made.data.hash
    ask(practice, made.key, "openrouter/api")
    assert openrouter.api_keys.update(hash=hashed, disabled=True).data.disabled
    practice.clock.advance(1)
    assert refused(practice, made.key, "openrouter/api")
    assert not openrouter.api_keys.list().data
    assert [key.hash for key in openrouter.api_keys.list(include_disabled=True).data] == [hashed]
    openrouter.api_keys.update(hash=hashed, disabled=False)
    ask(practice, made.key, "openrouter/api")
    openrouter.api_keys.delete(hash=hashed)
    practice.clock.advance(1)
    assert refused(practice, made.key, "openrouter/api")
    assert not openrouter.api_keys.list(include_disabled=True).data


def test_openrouters_limit_is_on_the_key(practice, openrouter):
    made = openrouter.api_keys.create(name="jackstop-1", limit=0.000001, limit_reset="daily")
    ask(practice, made.key, "openrouter/api")
    practice.clock.advance(60)
    shown = openrouter.api_keys.get(hash=made.data.hash).data
    assert shown.usage > shown.limit
    assert shown.limit_remaining == 0
    with pytest.raises(openai.PermissionDeniedError, match="limit"):
        ask(practice, made.key, "openrouter/api")
    practice.clock.advance(86_400)
    ask(practice, made.key, "openrouter/api")


def test_openrouters_activity_knows_completed_days(practice, openrouter):
    made = openrouter.api_keys.create(name="jackstop-1")
    used = ask(practice, made.key, "openrouter/api").usage
    ask(practice, "sk-or-v1-stranger", "openrouter/api")
    assert not openrouter.analytics.get_user_activity().data
    practice.clock.advance(86_400)
    (everything,) = openrouter.analytics.get_user_activity().data
    assert (everything.requests, everything.prompt_tokens) == (2, 2 * used.prompt_tokens)
    (mine,) = openrouter.analytics.get_user_activity(request={"api_key_hash": made.data.hash}).data
    assert mine.requests == 1


def test_an_openrouter_key_knows_itself_and_manages_nothing(practice, openrouter):
    _, answer = practice.call("GET", "/openrouter/api/v1/key", headers=MANAGER)
    assert answer["data"]["is_management_key"]
    made = openrouter.api_keys.create(name="jackstop-1")
    mine = {"Authorization": f"Bearer {made.key}"}
    _, answer = practice.call("GET", "/openrouter/api/v1/key", headers=mine)
    assert answer["data"]["is_management_key"] is False
    assert practice.call("GET", "/openrouter/api/v1/keys", headers=mine)[0] == 401


def test_xais_keys(practice):
    body = {"name": "jackstop-1", "acls": ["api-key:endpoint:*", "api-key:model:*"]}
    _, made = practice.call("POST", "/xai/auth/teams/team-1/api-keys", body, headers=MANAGER)
    ask(practice, made["apiKey"], "xai")
    _, page = practice.call("GET", "/xai/auth/teams/team-1/api-keys", headers=MANAGER)
    assert [(key["apiKeyId"], key["disabled"]) for key in page["apiKeys"]] == [(made["apiKeyId"], False)]
    assert made["apiKey"] not in str(page)
    one = f"/xai/auth/api-keys/{made['apiKeyId']}"
    change = {"apiKey": {"disabled": True}, "fieldMask": "disabled"}
    assert practice.call("PUT", one, change, headers=MANAGER)[1]["disabled"]
    practice.clock.advance(1)
    assert refused(practice, made["apiKey"], "xai")
    practice.call("PUT", one, {"apiKey": {"disabled": False}, "fieldMask": "disabled"}, headers=MANAGER)
    ask(practice, made["apiKey"], "xai")
    assert practice.call("DELETE", one, headers=MANAGER) == (200, {})
    assert practice.call("DELETE", one, headers=MANAGER)[0] == 404
    practice.clock.advance(1)
    assert refused(practice, made["apiKey"], "xai")


def test_an_xai_key_without_acls_may_do_nothing(practice):
    _, made = practice.call("POST", "/xai/auth/teams/team-1/api-keys", {"name": "bare"}, headers=MANAGER)
    with pytest.raises(openai.PermissionDeniedError):
        ask(practice, made["apiKey"], "xai")


def test_mistrals_keys_are_made_and_listed_and_expire_by_day(practice):
    body = {"name": "jackstop-1", "workspace_uuid": "workspace-1", "expiration": "2026-11-24"}
    _, made = practice.call("POST", "/mistral/api/admin/api-keys", body, headers={"x-api-key": "admin"})
    ask(practice, made["key"], "mistral")
    _, listed = practice.call("GET", "/mistral/api/admin/api-keys", headers=MANAGER)
    assert [(key["key_id"], key["key"]) for key in listed["keys"]] == [(made["key_id"], None)]
    path = f"/mistral/api/admin/api-keys/{made['key_id']}"
    assert practice.call("DELETE", path, headers=MANAGER)[0] == 404  # nobody documents such a path
    practice.clock.advance(36 * 3_600)
    ask(practice, made["key"], "mistral")
    practice.clock.advance(1)
    assert refused(practice, made["key"], "mistral")


@pytest.fixture
def entra(practice):
    form = {
        "grant_type": "client_credentials",
        "client_id": "jackstop",
        "client_secret": "practised",
        "scope": "https://management.azure.com/.default",
    }
    status, answer = practice.call("POST", "/entra/tenant/oauth2/v2.0/token", form=form)
    assert (status, answer["token_type"]) == (200, "Bearer")
    return {"Authorization": f"Bearer {answer['access_token']}"}


def test_azures_two_slots_turn_one_at_a_time(practice, entra):
    account = ACCOUNT.format("acct")
    _, before = practice.call("POST", f"{account}/listKeys{VERSION}", headers=entra)
    root = "azure/acct/openai"
    for slot in before.values():
        ask(practice, slot, root)
    _, after = practice.call("POST", f"{account}/regenerateKey{VERSION}", {"keyName": "Key2"}, headers=entra)
    assert after["key1"] == before["key1"]
    ask(practice, after["key2"], root)
    ask(practice, before["key2"], root)  # it lingers
    practice.clock.advance(0.31)
    assert refused(practice, before["key2"], root)
    ask(practice, after["key1"], root)
    assert practice.call("POST", f"{account}/listKeys{VERSION}", headers=entra)[1] == after


def test_an_azure_account_takes_its_own_keys_only_in_either_header(practice, entra):
    _, keys = practice.call("POST", f"{ACCOUNT.format('acct')}/listKeys{VERSION}", headers=entra)
    status, _ = practice.call("GET", "/azure/acct/openai/v1/models", headers={"api-key": keys["key1"]})
    assert status == 200
    assert refused(practice, keys["key1"], "azure/other/openai")
    assert refused(practice, "sk-any", "azure/acct/openai")
    seeded = practice.seed("azure", "by-hand-key-1", account="third", slot="Key1")
    assert (seeded["id"], seeded["provider"], seeded["place"]) == ("Key1", "azure", {"account": "third"})
    ask(practice, "by-hand-key-1", "azure/third/openai")
    _, third = practice.call("POST", f"{ACCOUNT.format('third')}/listKeys{VERSION}", headers=entra)
    assert third["key1"] == "by-hand-key-1"


def test_azures_keys_can_be_closed_for_the_whole_account(practice, entra):
    account = ACCOUNT.format("acct")
    _, keys = practice.call("POST", f"{account}/listKeys{VERSION}", headers=entra)
    change = {"properties": {"disableLocalAuth": True}}
    _, shown = practice.call("PATCH", f"{account}{VERSION}", change, headers=entra)
    assert shown["properties"]["disableLocalAuth"]
    with pytest.raises(openai.PermissionDeniedError):
        ask(practice, keys["key1"], "azure/acct/openai")
    practice.call("PATCH", f"{account}{VERSION}", {"properties": {"disableLocalAuth": False}}, headers=entra)
    ask(practice, keys["key1"], "azure/acct/openai")


@pytest.mark.parametrize(
    ("body", "query", "status", "code"),
    [
        ({"keyName": "Key3"}, VERSION, 400, "InvalidKeyName"),
        ({"keyName": "Key1"}, "", 400, "MissingApiVersionParameter"),
    ],
)
def test_azure_refuses_in_its_own_words(practice, entra, body, query, status, code):
    path = f"{ACCOUNT.format('acct')}/regenerateKey{query}"
    found, answer = practice.call("POST", path, body, headers=entra)
    assert (found, answer["error"]["code"]) == (status, code)


def test_entras_tokens_end(practice, entra):
    path = f"{ACCOUNT.format('acct')}/listKeys{VERSION}"
    practice.clock.advance(3_600)
    assert practice.call("POST", path, headers=entra)[1]["error"]["code"] == "InvalidAuthenticationToken"
    assert practice.call("POST", path, headers=MANAGER)[0] == 401
    status, answer = practice.call("POST", "/entra/t/oauth2/v2.0/token", form={"grant_type": "client_credentials"})
    assert (status, answer["error"]) == (401, "invalid_client")


@pytest.fixture
def iam(practice):
    boto3 = pytest.importorskip("boto3")
    made = boto3.client(
        "iam",
        endpoint_url=f"{practice.url}/aws/iam/",
        region_name="us-east-1",
        aws_access_key_id="AKIAPRACTICE00000000",
        aws_secret_access_key="practised",
    )
    yield made
    made.close()


def credential(iam, **more):
    made = iam.create_service_specific_credential(UserName="gate", ServiceName="bedrock.amazonaws.com", **more)
    return made["ServiceSpecificCredential"]


def test_bedrocks_keys_live_in_iam_two_by_user(practice, iam):
    first, second = credential(iam), credential(iam, CredentialAgeDays=30)
    assert "ExpirationDate" not in first
    assert (second["ExpirationDate"] - second["CreateDate"]).days == 30
    ask(practice, first["ServiceCredentialSecret"], "bedrock-mantle")
    with pytest.raises(iam.exceptions.LimitExceededException):
        credential(iam)
    one = {"UserName": "gate", "ServiceSpecificCredentialId": first["ServiceSpecificCredentialId"]}
    iam.update_service_specific_credential(**one, Status="Inactive")
    practice.clock.advance(1)
    assert refused(practice, first["ServiceCredentialSecret"], "bedrock-mantle")
    listed = iam.list_service_specific_credentials(UserName="gate", ServiceName="bedrock.amazonaws.com")
    assert [key["Status"] for key in listed["ServiceSpecificCredentials"]] == ["Inactive", "Active"]
    with pytest.raises(iam.exceptions.LimitExceededException):
        credential(iam)  # an inactive one counts
    iam.update_service_specific_credential(**one, Status="Active")
    ask(practice, first["ServiceCredentialSecret"], "bedrock-mantle")
    iam.delete_service_specific_credential(**one)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.delete_service_specific_credential(**one)
    credential(iam)


def test_bedrocks_keys_expire_and_are_reset_in_place(practice, iam):
    made = credential(iam, CredentialAgeDays=1)
    one = {"UserName": "gate", "ServiceSpecificCredentialId": made["ServiceSpecificCredentialId"]}
    again = iam.reset_service_specific_credential(**one)["ServiceSpecificCredential"]
    assert again["ServiceSpecificCredentialId"] == made["ServiceSpecificCredentialId"]
    ask(practice, again["ServiceCredentialSecret"], "bedrock-mantle")
    practice.clock.advance(1)
    assert refused(practice, made["ServiceCredentialSecret"], "bedrock-mantle")
    practice.clock.advance(86_400)
    assert refused(practice, again["ServiceCredentialSecret"], "bedrock-mantle")
    (listed,) = iam.list_service_specific_credentials(UserName="gate")["ServiceSpecificCredentials"]
    assert listed["Status"] == "Expired"


def test_iam_knows_no_unsigned_caller_and_no_other_service(practice, iam):
    with pytest.raises(iam.exceptions.ServiceNotSupportedException):
        iam.create_service_specific_credential(UserName="gate", ServiceName="codecommit.amazonaws.com")
    with pytest.raises(iam.exceptions.ClientError, match="InvalidAction"):
        iam.list_users()
