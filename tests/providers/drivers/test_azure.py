"""The Azure driver against the practice account, judged by Microsoft's own document, and its reading of metrics."""

from __future__ import annotations

import http.server
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from jackstop.clock import US_PER_S, from_datetime
from jackstop.providers.drivers.azure import DRIVER
from jackstop.providers.drivers.driver import Administration, CallFailed, ProviderKey
from jackstop.secret import Secret
from tests.prism import judge

PLACE = {"subscription": "11111111-2222-3333-4444-555555555555", "resource_group": "llm", "account": "gate-one"}
TENANT = "99999999-8888-7777-6666-555555555555"


def administration(login: str, arm: str, secret: str = "client-secret-0123456789") -> Administration:
    options = {"tenant": TENANT, "client_id": "jackstop-app", "login_url": login}
    return Administration("azure", arm, options, Secret(secret))


@pytest.fixture
def admin(practice):
    return administration(f"{practice.url}/entra", f"{practice.url}/arm")


@pytest.fixture
def key(practice):
    return practice.seed("azure", account=PLACE["account"], slot="Key1")


def verdict(practice, secret):
    return DRIVER.verify("openai", f"{practice.url}/azure/{PLACE['account']}/openai", PLACE, secret)


def test_both_slots_are_turned(practice, admin, key):
    old = Secret(key["secret"])
    assert DRIVER.list(admin, PLACE) == [ProviderKey(id="Key1"), ProviderKey(id="Key2")]
    assert DRIVER.slot_of(admin, PLACE, old) == "Key1"
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside="Key1", expires_s=None)
    assert made.id == "Key2"
    assert verdict(practice, made.secret) == verdict(practice, old) == "works"

    DRIVER.delete(admin, PLACE, "Key1", keep="Key2")
    practice.clock.advance(5)
    assert verdict(practice, old) == "refused"
    assert verdict(practice, made.secret) == "works"
    assert DRIVER.slot_of(admin, PLACE, old) is None
    assert DRIVER.slot_of(admin, PLACE, made.secret) == "Key2"

    again = DRIVER.create(admin, PLACE, "jackstop-2", beside="Key2", expires_s=None)
    assert again.id == "Key1"
    assert verdict(practice, again.secret) == verdict(practice, made.secret) == "works"


def test_a_slot_made_twice_leaves_the_credential_alone(practice, admin, key):
    first = DRIVER.create(admin, PLACE, "jackstop-1", beside="Key1", expires_s=None)
    second = DRIVER.create(admin, PLACE, "jackstop-1", beside="Key1", expires_s=None)
    practice.clock.advance(5)
    assert (first.id, second.id) == ("Key2", "Key2")
    assert verdict(practice, first.secret) == "refused"
    assert verdict(practice, second.secret) == verdict(practice, Secret(key["secret"])) == "works"


@pytest.mark.parametrize("beside", ["", "Key3", "jackstop-1"])
def test_it_makes_nothing_where_it_does_not_know_the_slot(practice, admin, key, beside):
    with pytest.raises(CallFailed, match="Key1 or Key2"):
        DRIVER.create(admin, PLACE, "jackstop-1", beside=beside, expires_s=None)
    assert verdict(practice, Secret(key["secret"])) == "works"


@pytest.mark.parametrize(("slot", "keep"), [("Key1", "Key1"), ("Key3", "")])
def test_it_does_not_delete_what_is_to_be_kept(practice, admin, key, slot, keep):
    with pytest.raises(CallFailed):
        DRIVER.delete(admin, PLACE, slot, keep=keep)
    assert verdict(practice, Secret(key["secret"])) == "works"


def test_a_key_cannot_be_disabled(admin):
    assert not DRIVER.verbs & {"disable", "enable"}
    with pytest.raises(CallFailed, match="no API"):
        DRIVER.disable(admin, PLACE, "Key1")


@pytest.mark.parametrize(
    ("options", "secret", "why"),
    [({"tenant": ""}, "secret", "invalid"), ({"client_id": ""}, "secret", "invalid"), ({}, "", "denied")],
)
def test_an_administration_that_gets_no_token_says_why(practice, admin, options, secret, why):
    with pytest.raises(CallFailed) as caught:
        DRIVER.list(admin._replace(options={**admin.options, **options}, secret=Secret(secret)), PLACE)
    assert caught.value.why == why


def test_a_place_without_an_account_says_so(admin):
    with pytest.raises(CallFailed, match="account"):
        DRIVER.list(admin, {**PLACE, "account": ""})


def test_an_account_that_cannot_be_reached_leaves_a_secret_unsure():
    assert DRIVER.verify("openai", "http://127.0.0.1:1/openai", PLACE, Secret("x")) == "unsure"


@pytest.fixture(scope="module")
def judged(_served, tmp_path_factory):
    log = tmp_path_factory.mktemp("prism") / "log"
    with judge("azure.cognitiveservices.keys.trimmed.swagger.json", f"{_served.url}/arm", log) as url:
        yield url


@pytest.mark.slow
def test_microsoft_s_own_document_finds_no_violation(practice, judged, key):
    admin = administration(f"{practice.url}/entra", judged)
    assert [slot.id for slot in DRIVER.list(admin, PLACE)] == ["Key1", "Key2"]
    made = DRIVER.create(admin, PLACE, "jackstop-1", beside="Key1", expires_s=None)
    assert verdict(practice, made.secret) == "works"
    DRIVER.delete(admin, PLACE, "Key1", keep=made.id)
    assert DRIVER.slot_of(admin, PLACE, Secret(key["secret"])) is None


@pytest.mark.slow
def test_the_judge_sees_what_the_document_does_not_allow(practice, judged):
    """An account's name of one letter is too short there, and nothing to the practice."""
    admin = administration(f"{practice.url}/entra", judged)
    with pytest.raises(CallFailed):
        DRIVER.list(admin, {**PLACE, "account": "x"})


class Monitor(http.server.BaseHTTPRequestHandler):
    """Azure Monitor as azure-mgmt-monitor 7.0.0 reads it (`models/_models_py3.py`, Response), and Entra."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"token_type": "Bearer", "expires_in": 3_599, "access_token": "token"})

    def do_GET(self):
        parts = urlsplit(self.path)
        self.server.asked = (parts.path, {name: value[0] for name, value in parse_qs(parts.query).items()})
        self.answer({"cost": 0, "interval": "PT1M", "value": self.server.value})

    def answer(self, body):
        said = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args):
        pass


@pytest.fixture
def monitor():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Monitor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def series(deployment, *totals):
    data = [
        {"timeStamp": (AT + timedelta(minutes=number)).isoformat().replace("+00:00", "Z"), "total": total}
        for number, total in enumerate(totals)
    ]
    named = {"name": {"value": "modeldeploymentname", "localizedValue": "modeldeploymentname"}, "value": deployment}
    return {"metadatavalues": [named], "data": data}


def metric(name: str, *timeseries: Any) -> dict[str, Any]:
    return {"name": {"value": name, "localizedValue": name}, "unit": "Count", "timeseries": list(timeseries)}


def test_usage_is_read_by_deployment_and_minute(monitor):
    monitor.value = [
        metric("AzureOpenAIRequests", series("gpt-large", 2.0, 0.0), series("gpt-small", 0.0, 1.0)),
        metric("ProcessedPromptTokens", series("gpt-large", 900.0, 0.0), series("gpt-small", 0.0, 70.0)),
        metric("GeneratedTokens", series("gpt-large", 80.0, None)),
    ]
    url = f"http://127.0.0.1:{monitor.server_port}"
    since_us, until_us = from_datetime(AT) + 30 * US_PER_S, from_datetime(AT + timedelta(hours=1))
    buckets = DRIVER.usage(administration(url, url), PLACE, since_us, until_us)
    shown = [(each.model, each.start_us, each.requests, each.input_tokens, each.output_tokens) for each in buckets]
    assert shown == [
        ("gpt-large", from_datetime(AT), 2, 900, 80),
        ("gpt-small", from_datetime(AT) + 60 * US_PER_S, 1, 70, 0),
    ]
    path, query = monitor.asked
    assert path.endswith("/accounts/gate-one/providers/Microsoft.Insights/metrics")
    assert query["timespan"] == "2026-11-23T10:00:00Z/2026-11-23T11:00:00Z"
    assert query["interval"] == "PT1M"
    assert query["$filter"] == "ModelDeploymentName eq '*'"
    assert DRIVER.costs(administration(url, url), PLACE, since_us, until_us) == []


def test_an_answer_of_another_shape_is_no_usage(monitor):
    monitor.value = [{"name": "AzureOpenAIRequests"}]
    url = f"http://127.0.0.1:{monitor.server_port}"
    with pytest.raises(CallFailed, match="shape"):
        DRIVER.usage(administration(url, url), PLACE, 0, US_PER_S)


def test_what_is_asked_for_as_permission_is_a_role():
    text = DRIVER.permission
    role = json.loads(text[text.index("{") :])
    assert role["Actions"] == [
        "Microsoft.CognitiveServices/accounts/listKeys/action",
        "Microsoft.CognitiveServices/accounts/regenerateKey/action",
        "Microsoft.Insights/metrics/read",
    ]
