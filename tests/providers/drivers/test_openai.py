"""The OpenAI driver against the practice administration, and that behind OpenAI's own OpenAPI document."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import openai
import pytest

from jackstop.clock import US_PER_S
from jackstop.providers.drivers import driver
from jackstop.providers.drivers.driver import Administration, CallFailed
from jackstop.secret import Secret
from tests.prism import judge
from tests.waiting import wait_for

DRIVER: Any = driver("openai")
PLACE = {"project": "proj_one", "service_account": "sa_one"}
MINUTE_US = 60 * US_PER_S


@pytest.fixture
def admin(practice):
    return practice.admin("openai")


@pytest.fixture
def key(practice):
    """One that has lived in a service account for a while."""
    return practice.seed("openai", name="gate", **PLACE)


def ids(admin, place=PLACE, state="active"):
    return {found.id for found in DRIVER.list(admin, place) if found.state == state}


def verdict(practice, secret):
    return DRIVER.verify("openai", practice.base_url("openai"), PLACE, secret)


def test_a_new_key_works_beside_the_old_one_which_is_then_refused(practice, admin, key):
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside=key["id"], expires_s=None)
    assert made.expires_us is None
    assert ids(admin) == {key["id"], made.id}
    assert verdict(practice, made.secret) == verdict(practice, Secret(key["secret"])) == "works"
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    practice.clock.advance(5)
    assert verdict(practice, Secret(key["secret"])) == "refused"
    assert verdict(practice, made.secret) == "works"
    assert ids(admin) == {made.id}
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)


def test_the_service_account_is_that_of_the_key_beside(admin, key):
    project = {"project": "proj_one"}
    made = DRIVER.create(admin, project, "jackstop-2", beside=key["id"], expires_s=3_600)
    assert made.expires_us is not None
    assert made.id in ids(admin)
    found = {one.id: one for one in DRIVER.list(admin, project)}
    assert found[made.id].name == "jackstop-2"
    assert found[made.id].expires_us == made.expires_us


def test_a_person_s_key_gets_no_other_beside_it(practice, admin):
    personal = practice.seed("openai", project="proj_one")
    with pytest.raises(CallFailed, match="service_account") as caught:
        DRIVER.create(admin, {"project": "proj_one"}, "jackstop-3", beside=personal["id"], expires_s=None)
    assert caught.value.why == "invalid"
    DRIVER.delete(admin, {"project": "proj_one"}, personal["id"], keep="")
    assert ids(admin, {"project": "proj_one"}) == set()


def test_an_older_server_lets_a_key_expire_that_it_does_not_delete(practice, admin, key):
    practice.mode(service_account_key_delete=0)
    made = DRIVER.create(admin, PLACE, "jackstop-4", beside=key["id"], expires_s=None)
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    practice.clock.advance(5)
    assert verdict(practice, Secret(key["secret"])) == "refused"
    assert verdict(practice, made.secret) == "works"
    wait_for(lambda: key["id"] not in ids(admin))
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    assert made.id in ids(admin)


def test_all_pages_are_read(admin, key):
    made = {DRIVER.create(admin, PLACE, f"jackstop-{n}", beside="", expires_s=None).id for n in range(130)}
    assert ids(admin) == made | {key["id"]}


def test_the_sdk_sees_the_same_keys(practice, admin, key):
    DRIVER.create(admin, PLACE, "jackstop-5", beside=key["id"], expires_s=600)
    verdict(practice, Secret(key["secret"]))
    with openai.OpenAI(api_key="", admin_api_key=admin.secret.reveal().decode(), base_url=admin.base_url) as client:
        seen = {one.id: one for one in client.admin.organization.projects.api_keys.list("proj_one")}
    listed = {one.id: one for one in DRIVER.list(admin, PLACE)}
    assert listed.keys() == seen.keys()
    for one in listed.values():
        other = seen[one.id]
        assert (one.name, one.created_us) == (other.name, other.created_at * US_PER_S)
        assert [one.last_used_us, one.expires_us] == [
            at and at * US_PER_S for at in (other.last_used_at, other.expires_at)
        ]


def test_a_wrong_administration_key_is_denied_and_not_repeated(practice, key):
    with pytest.raises(CallFailed) as caught:
        DRIVER.list(practice.admin("openai", secret="sk-wrong-0123456789"), PLACE)
    assert caught.value.why == "denied"
    assert "sk-wrong" not in caught.value.problem


def test_usage_by_minute_and_key_without_what_came_from_the_cache(practice, admin, key):
    since_us = practice.clock.now_us() // MINUTE_US * MINUTE_US
    client = practice.openai(key=key["secret"])
    said = [
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "[[sandbox: out=20 cached=3]] Hello there"}]
        ).usage
        for _ in range(2)
    ]
    embedded = client.embeddings.create(model="text-embedding-3-small", input="some words")
    practice.clock.advance(180)
    found = DRIVER.usage(admin, PLACE, since_us, practice.clock.now_us())
    chat, embeddings = sorted(found, key=lambda bucket: bucket.model)
    assert {chat.provider_key_id, embeddings.provider_key_id} == {key["id"]}
    assert (chat.start_us, chat.width_us, chat.requests) == (since_us, MINUTE_US, 2)
    cached = sum(one.prompt_tokens_details.cached_tokens for one in said)
    assert chat.cache_read_tokens == cached > 0
    assert chat.input_tokens == sum(one.prompt_tokens for one in said) - cached
    assert chat.output_tokens == sum(one.completion_tokens for one in said)
    assert chat.model.startswith("gpt-4o-mini")
    assert chat.cost_nusd is None
    assert embeddings.input_tokens == embedded.usage.prompt_tokens
    assert DRIVER.usage(admin, {"project": "proj_other"}, since_us, practice.clock.now_us()) == []
    assert DRIVER.usage(admin, PLACE, since_us + MINUTE_US, practice.clock.now_us()) == []


def test_costs_by_day_are_what_the_provider_bills(practice, admin, key):
    day_us = 86_400 * US_PER_S
    practice.openai(key=key["secret"]).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "[[sandbox: out=500]] Hello"}]
    )
    since_us = practice.clock.now_us() // day_us * day_us
    practice.clock.advance(180)
    found = DRIVER.costs(admin, PLACE, since_us, practice.clock.now_us())
    assert {bucket.provider_key_id for bucket in found} == {key["id"]}
    billed = sum(line["cost_nusd"] for line in practice.bill())
    # The API tells dollars as a number with fewer digits than the bill has.
    assert sum(bucket.cost_nusd for bucket in found) == pytest.approx(billed, abs=1_000)


def test_limits_are_read_and_set_in_whole_cents(admin):
    none = DRIVER.limits(admin, PLACE)
    assert [(limit.scope, limit.amount_nusd) for limit in none] == [("project:proj_one", None), ("organization", None)]
    made = DRIVER.set_limit(admin, PLACE, 12_345_678_901)
    assert (made.amount_nusd, made.window) == (12_340_000_000, "month")
    assert DRIVER.limits(admin, PLACE)[0] == made
    with pytest.raises(CallFailed, match="cent"):
        DRIVER.set_limit(admin, PLACE, 9_999_999)


def test_the_audit_log_goes_forward_and_repeats_nothing(practice, admin, key):
    since_us = practice.clock.now_us() - US_PER_S
    made = DRIVER.create(admin, PLACE, "jackstop-6", beside=key["id"], expires_s=None)
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    first = DRIVER.audit(admin, since_us, "")
    assert [entry["type"] for entry in first.entries] == ["api_key.created", "api_key.deleted"]
    again = DRIVER.audit(admin, since_us, first.cursor)
    assert again.entries == []
    practice.clock.advance(1)
    for _ in range(120):
        practice.post("/_sandbox/audit", {"provider": "openai", "kind": "rate_limit.updated"})
    more = DRIVER.audit(admin, since_us, again.cursor)
    assert [entry["type"] for entry in more.entries] == ["rate_limit.updated"] * 120
    practice.clock.advance(300)
    assert DRIVER.audit(admin, since_us, more.cursor).entries == []
    practice.mode(audit=0)
    with pytest.raises(CallFailed) as caught:
        DRIVER.audit(admin, since_us, more.cursor)
    assert caught.value.why == "denied"


class _August(BaseHTTPRequestHandler):
    """The administration as the document of August 2026 has it: an account's key can neither be changed nor deleted."""

    def do_GET(self):
        self._answer(200, {"object": "list", "data": self.server.keys, "has_more": False, "last_id": None})

    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(404, {"error": {"message": "Invalid URL"}})

    def do_DELETE(self):
        self.server.deleted.append(self.path)
        account = "/service_accounts/" in self.path
        self._answer(200 if account else 400, {"deleted": account})

    def _answer(self, status, body):
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def august():
    """No practice provider is so old. Its keys are what the test puts there."""
    with HTTPServer(("127.0.0.1", 0), _August) as serving:
        serving.keys, serving.deleted, serving.bodies = [], [], []
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield serving
        finally:
            serving.shutdown()
            thread.join()


def aged(key_id, account):
    owner = {"type": "service_account", "service_account": {"id": account}} if account else {"type": "user"}
    return {"id": key_id, "name": key_id, "created_at": 1_700_000_000, "owner": owner}


@pytest.mark.parametrize(("kept_in", "ends"), [("sa_two", True), ("sa_one", False)])
def test_the_account_is_deleted_last_and_never_with_the_key_that_is_kept(august, kept_in, ends):
    admin = Administration("openai", f"http://127.0.0.1:{august.server_port}", {}, Secret("sk-admin-x"))
    august.keys = [aged("key_old", "sa_one"), aged("key_new", kept_in)]
    if ends:
        DRIVER.delete(admin, PLACE, "key_old", keep="key_new")
    else:
        with pytest.raises(CallFailed, match="other keys"):
            DRIVER.delete(admin, PLACE, "key_old", keep="key_new")
    accounts = [path for path in august.deleted if "/service_accounts/" in path]
    assert accounts == (["/organization/projects/proj_one/service_accounts/sa_one"] if ends else [])
    # An empty list of scopes would mean all of them.
    assert all(b"scopes" not in body for body in august.bodies)


def test_a_person_s_key_that_cannot_be_ended_is_said(august):
    admin = Administration("openai", f"http://127.0.0.1:{august.server_port}", {}, Secret("sk-admin-x"))
    august.keys = [aged("key_old", "")]
    with pytest.raises(CallFailed, match="person"):
        DRIVER.delete(admin, PLACE, "key_old", keep="")


@pytest.fixture(scope="module")
def judged(_served, tmp_path_factory):
    log = tmp_path_factory.mktemp("prism") / "log"
    with judge("openai.admin.subset.json", f"{_served.url}/openai/v1", log) as url:
        yield url


@pytest.mark.slow
def test_openai_s_own_document_finds_no_violation(practice, judged, key):
    """In what is asked and in what the practice answers. Changing a key is not in the document, only in the SDK."""
    admin = practice.admin("openai", judged)
    made = DRIVER.create(admin, PLACE, "jackstop-7", beside=key["id"], expires_s=3_600)
    assert ids(admin) == {key["id"], made.id}
    practice.openai(key=key["secret"]).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello"}]
    )
    since_us = practice.clock.now_us() - 86_400 * US_PER_S
    practice.clock.advance(180)
    assert DRIVER.usage(admin, PLACE, since_us, practice.clock.now_us())
    assert DRIVER.costs(admin, PLACE, since_us - 86_400 * US_PER_S, practice.clock.now_us())
    assert DRIVER.set_limit(admin, PLACE, 5_000_000_000) in DRIVER.limits(admin, PLACE)
    assert DRIVER.audit(admin, since_us, "").entries
    DRIVER.delete(admin, PLACE, key["id"], keep=made.id)
    assert ids(admin) == {made.id}


@pytest.mark.slow
def test_a_server_that_is_as_the_document_has_its_account_deleted_last(practice, judged, key):
    """The judge answers the call to change a key with 405, and the deletion, which the document has, is refused."""
    practice.mode(service_account_key_delete=0)
    admin = practice.admin("openai", judged)
    beside = DRIVER.create(admin, PLACE, "jackstop-8", beside=key["id"], expires_s=None)
    with pytest.raises(CallFailed, match="other keys"):
        DRIVER.delete(admin, PLACE, key["id"], keep=beside.id)
    DRIVER.delete(practice.admin("openai"), PLACE, beside.id, keep=key["id"])
    wait_for(lambda: ids(admin) == {key["id"]})
    DRIVER.delete(admin, PLACE, key["id"], keep="")
    assert ids(admin) == set()
