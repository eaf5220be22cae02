"""The drivers of Google's API keys and service account keys against the practice, judged by Google's documents."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jackstop.providers.drivers.calls import call
from jackstop.providers.drivers.driver import Administration, CallFailed, ProviderLimit
from jackstop.providers.drivers.google import DRIVER as KEYS
from jackstop.providers.drivers.google_sa import DRIVER as ACCOUNTS
from jackstop.providers.drivers.google_token import bearer
from jackstop.secret import Secret
from tests.providers.drivers.google_document import judge
from tests.shared import shared

ADMIN = {"project": "sandbox", "service_account": "jackstop@sandbox.iam.gserviceaccount.com"}
PLACE = {"project": "sandbox"}
APP = {"project": "sandbox", "service_account": "app@sandbox.iam.gserviceaccount.com"}


@pytest.fixture
def file(practice):
    """The key file of Jackstop's own service account."""
    return practice.seed("google_sa", **ADMIN)["secret"]


@pytest.fixture
def admin(practice, file):
    # The practice's clock stands still: an operation is over when it is looked at for the first time.
    practice.mode(operation_ms=0)
    return Administration("google", f"{practice.url}/google", {}, Secret(file))


def serving(handler, **state):
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        vars(server).update(state)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def opens(practice, secret):
    return KEYS.verify("openai", f"{practice.url}/gemini/v1beta/openai", PLACE, secret)


def test_an_api_key_lives_its_whole_life(practice, admin):
    old = KEYS.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)
    new = KEYS.create(admin, PLACE, "jackstop-2", beside=old.id, expires_s=None)
    listed = {key.id: key.name for key in KEYS.list(admin, PLACE)}
    assert listed == {old.id: "jackstop-1", new.id: "jackstop-2"}
    assert all(key.created_us for key in KEYS.list(admin, PLACE))
    assert opens(practice, old.secret) == opens(practice, new.secret) == "works"
    KEYS.delete(admin, PLACE, old.id, keep=new.id)
    KEYS.delete(admin, PLACE, old.id, keep=new.id)
    practice.clock.advance(5)
    assert [key.id for key in KEYS.list(admin, PLACE)] == [new.id]
    assert opens(practice, old.secret) == "refused"
    assert opens(practice, new.secret) == "works"


def raw(practice, admin, path):
    """What the practice itself says of a key."""
    return call("GET", f"{practice.url}/google/v2/{path}", bearer(admin))


def test_a_new_api_key_has_the_restrictions_of_the_one_beside_it(practice, admin):
    keys = "projects/sandbox/locations/global/keys"
    limits = {"apiTargets": [{"service": "x.googleapis.com"}], "serverKeyRestrictions": {"allowedIps": ["192.0.2.1"]}}
    body = {"displayName": "by hand", "restrictions": limits}
    call("POST", f"{practice.url}/google/v2/{keys}", bearer(admin), body)
    (old,) = KEYS.list(admin, PLACE)
    made = KEYS.create(admin, PLACE, "jackstop-1", beside=old.id, expires_s=None)
    assert raw(practice, admin, f"{keys}/{made.id}")["restrictions"] == limits


def test_an_api_key_beside_none_is_for_gemini_alone(practice, admin):
    made = KEYS.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)
    shown = raw(practice, admin, f"projects/sandbox/locations/global/keys/{made.id}")
    assert shown["restrictions"] == {"apiTargets": [{"service": "generativelanguage.googleapis.com"}]}


def test_all_pages_of_api_keys_are_listed(practice, admin):
    for number in range(310):
        practice.seed("google", name=f"key-{number}", **PLACE)
    assert len(KEYS.list(admin, PLACE)) == 310


def test_an_operation_that_does_not_end_is_said(practice, admin, monkeypatch):
    monkeypatch.setattr("jackstop.providers.drivers.google._POLLS_S", (0.0, 0.0))
    practice.mode(operation_ms=1_000_000)
    with pytest.raises(CallFailed, match="not over"):
        KEYS.create(admin, PLACE, "jackstop-1", beside="", expires_s=None)
    # It was made all the same, and is found by its name.
    assert [key.name for key in KEYS.list(admin, PLACE)] == ["jackstop-1"]


def test_an_api_key_beside_one_that_is_gone_is_not_made(practice, admin):
    with pytest.raises(CallFailed) as caught:
        KEYS.create(admin, PLACE, "jackstop-1", beside="no-such-key", expires_s=None)
    assert caught.value.why == "missing"
    assert KEYS.list(admin, PLACE) == []


def test_a_service_account_s_key_lives_its_whole_life(practice, admin):
    old = ACCOUNTS.create(admin, APP, "jackstop-1", beside="", expires_s=None)
    new = ACCOUNTS.create(admin, APP, "jackstop-2", beside=old.id, expires_s=None)

    def states():
        return {key.id: key.state for key in ACCOUNTS.list(admin, APP)}

    def works(made):
        return ACCOUNTS.verify("openai", "https://unused.example", APP, made.secret)

    assert states() == {old.id: "active", new.id: "active"}
    assert works(old) == works(new) == "works"
    assert json.loads(base64.b64decode(new.secret.reveal()))["private_key_id"] == new.id
    ACCOUNTS.disable(admin, APP, old.id)
    ACCOUNTS.disable(admin, APP, old.id)
    practice.clock.advance(5)
    assert states()[old.id] == "disabled"
    assert works(old) == "refused"
    ACCOUNTS.enable(admin, APP, old.id)
    assert works(old) == "works"
    ACCOUNTS.delete(admin, APP, old.id, keep=new.id)
    ACCOUNTS.delete(admin, APP, old.id, keep=new.id)
    ACCOUNTS.disable(admin, APP, old.id)
    practice.clock.advance(5)
    assert states() == {new.id: "active"}
    assert works(old) == "refused"
    assert works(new) == "works"
    (left,) = ACCOUNTS.list(admin, APP)
    assert left.created_us is not None
    assert left.expires_us is None


def test_an_eleventh_key_finds_no_room(admin):
    for number in range(ACCOUNTS.most_keys):
        ACCOUNTS.create(admin, APP, f"jackstop-{number}", beside="", expires_s=None)
    with pytest.raises(CallFailed) as caught:
        ACCOUNTS.create(admin, APP, "jackstop-x", beside="", expires_s=None)
    assert caught.value.why == "quota"


def test_the_administration_s_secret_may_be_in_base64(admin, file):
    encoded = Secret(base64.b64encode(file.encode()))
    assert ACCOUNTS.list(admin._replace(secret=encoded), ADMIN)


def test_an_administration_whose_key_was_deleted_is_denied(practice, admin):
    (own,) = ACCOUNTS.list(admin, ADMIN)
    ACCOUNTS.delete(admin, ADMIN, own.id, keep="")
    practice.clock.advance(5)
    for driver, place in ((KEYS, PLACE), (ACCOUNTS, APP)):
        with pytest.raises(CallFailed) as caught:
            driver.list(admin, place)
        assert caught.value.why == "denied"


def of_another_kind(file):
    """The same file with a private key that no service account has."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps({**json.loads(file), "private_key": pem.decode()})


@pytest.mark.parametrize(
    "broken",
    [
        lambda _: "AIzaNoKeyFile",
        lambda _: "{}",
        lambda file: json.dumps({**json.loads(file), "private_key": "no PEM"}),
        of_another_kind,
    ],
)
def test_a_secret_that_is_no_key_file_is_invalid_and_not_quoted(admin, file, broken):
    secret = Secret(broken(file))
    with pytest.raises(CallFailed) as caught:
        ACCOUNTS.list(admin._replace(secret=secret), APP)
    assert caught.value.why == "invalid"
    assert "AIza" not in caught.value.problem
    assert "PEM" not in caught.value.problem
    assert ACCOUNTS.verify("openai", "https://unused.example", APP, secret) == "unsure"


def test_what_cannot_be_reached_leaves_a_secret_unsure(file):
    nowhere = json.dumps({**json.loads(file), "token_uri": "http://127.0.0.1:1/token"})
    assert ACCOUNTS.verify("openai", "https://unused.example", APP, Secret(nowhere)) == "unsure"
    assert KEYS.verify("openai", "http://127.0.0.1:1", PLACE, Secret("AIza")) == "unsure"


class Gemini(BaseHTTPRequestHandler):
    """Google's answer to a key that is not valid, which is no 401."""

    def do_GET(self):
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.server.reason}
        said = json.dumps([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": [reason]}}]).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def gemini():
    yield from serving(Gemini)


@pytest.mark.parametrize(
    ("reason", "verdict"), [("API_KEY_INVALID", "refused"), ("RESOURCE_PROJECT_INVALID", "unsure")]
)
def test_google_refuses_a_key_with_400_and_a_reason(gemini, reason, verdict):
    gemini.reason = reason
    url = f"http://127.0.0.1:{gemini.server_port}/v1beta/openai"
    assert KEYS.verify("openai", url, PLACE, Secret("AIza")) == verdict


@pytest.mark.parametrize(("driver", "verb"), [(KEYS, "disable"), (KEYS, "enable")])
def test_what_there_is_no_api_for_is_said(admin, driver, verb):
    assert verb not in driver.verbs
    with pytest.raises(CallFailed, match="no API"):
        getattr(driver, verb)(admin, PLACE, "x")


@pytest.fixture(params=["google.apikeys.v2.json", "google.iam.v1.json"])
def judged(request, practice):
    with judge(shared(f"specs/{request.param}"), f"{practice.url}/google") as (url, violations):
        yield (KEYS, PLACE) if "apikeys" in request.param else (ACCOUNTS, APP), url, violations


def test_google_s_own_document_finds_no_violation(judged, admin):
    (driver, place), url, violations = judged
    behind = admin._replace(base_url=url)
    old = driver.create(behind, place, "jackstop-1", beside="", expires_s=None)
    new = driver.create(behind, place, "jackstop-2", beside=old.id, expires_s=None)
    if "disable" in driver.verbs:
        driver.disable(behind, place, old.id)
        driver.enable(behind, place, old.id)
    driver.delete(behind, place, old.id, keep=new.id)
    assert [key.id for key in driver.list(behind, place)] == [new.id]
    assert violations == []


def test_the_judge_sees_what_the_document_does_not_have(judged, admin):
    (driver, place), url, violations = judged
    with pytest.raises(CallFailed):
        driver.list(admin._replace(base_url=f"{url}/v9"), place)
    assert violations == ["no such method"]


class Budgets(BaseHTTPRequestHandler):
    """Spend caps as the discovery document of billingbudgets v1 (revision 20261011) rules them."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer(200, {"budgets": self.server.budgets})

    def do_POST(self):
        body = self.body()
        fine = (
            [rule["thresholdPercent"] for rule in body["thresholdRules"]] == [0.5, 0.8, 1.0]
            and body["notificationsRule"] == {"enableProjectLevelRecipients": True}
            and body["budgetFilter"]["creditTypesTreatment"] == "EXCLUDE_ALL_CREDITS"
            and len(body["budgetFilter"]["projects"]) == len(body["budgetFilter"]["services"]) == 1
            and body["spendCap"] == {"inputState": "CONFIGURED"}
        )
        if not fine:
            self.answer(400, {"error": {"code": 400, "status": "INVALID_ARGUMENT"}})
            return
        cap = {"inputState": "CONFIGURED", "outputState": "CONFIGURED"}
        made = {**body, "name": "billingAccounts/A-B-C/budgets/b1", "etag": "e1", "spendCap": cap}
        self.server.budgets.append(made)
        self.answer(200, made)

    def do_PATCH(self):
        body, (budget,) = self.body(), [each for each in self.server.budgets if each["name"] in self.path]
        if budget["spendCap"]["outputState"] == "ENFORCED" or "spendCap.inputState" not in self.path:
            self.answer(400, {"error": {"code": 400, "status": "FAILED_PRECONDITION"}})
            return
        budget["amount"] = body["amount"]
        self.answer(200, budget)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status, body):
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


@pytest.fixture
def budgets():
    yield from serving(Budgets, budgets=[], asked=[])


BILLED = {**PLACE, "billing_account": "A-B-C", "billing_service": "AEFD-7695-64FA"}


def with_budgets(admin, budgets):
    return admin._replace(options={"budgets_url": f"http://127.0.0.1:{budgets.server_port}"})


def test_a_spend_cap_is_made_read_and_raised(admin, budgets):
    billed = with_budgets(admin, budgets)
    assert KEYS.limits(billed, BILLED) == []
    made = KEYS.set_limit(billed, BILLED, 250_500_000_000)
    assert made == ProviderLimit("service AEFD-7695-64FA", "month", 250_500_000_000)
    assert KEYS.limits(billed, BILLED) == [made]
    assert KEYS.set_limit(billed, BILLED, 300_000_000_000).amount_nusd == 300_000_000_000
    assert len(budgets.budgets) == 1
    assert "scope=projects%2Fsandbox" in budgets.asked[0]


def test_a_cap_that_was_lifted_is_not_enforced_and_one_that_is_reached_cannot_be_changed(admin, budgets):
    billed = with_budgets(admin, budgets)
    KEYS.set_limit(billed, BILLED, 1_000_000_000)
    budgets.budgets[0]["spendCap"]["outputState"] = "AWAITING_NEXT_PERIOD"
    assert [limit.enforced for limit in KEYS.limits(billed, BILLED)] == [False]
    budgets.budgets[0]["spendCap"]["outputState"] = "ENFORCED"
    assert [limit.enforced for limit in KEYS.limits(billed, BILLED)] == [True]
    with pytest.raises(CallFailed) as caught:
        KEYS.set_limit(billed, BILLED, 2_000_000_000)
    assert caught.value.why == "invalid"


def test_a_budget_that_only_alerts_is_no_limit_and_another_currency_no_dollars(admin, budgets):
    billed = with_budgets(admin, budgets)
    alert = {"name": "billingAccounts/A-B-C/budgets/b0", "amount": {"specifiedAmount": {"units": "5"}}}
    budgets.budgets.append(alert)
    assert KEYS.limits(billed, BILLED) == []
    euros = {"specifiedAmount": {"currencyCode": "EUR", "units": "5"}}
    budgets.budgets.append({**alert, "amount": euros, "spendCap": {"outputState": "CONFIGURED"}})
    with pytest.raises(CallFailed, match="dollars"):
        KEYS.limits(billed, BILLED)


def test_a_place_without_a_billing_account_has_no_limits(admin):
    assert KEYS.limits(admin, PLACE) == []
    with pytest.raises(CallFailed, match="billing_service"):
        KEYS.set_limit(admin, PLACE, 1)
