"""Each channel against a receiver that nobody here wrote, or one that checks what it is sent."""

from __future__ import annotations

import json
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.models.blocks import Block
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from jackstop.clock import SystemClock
from jackstop.errors import UserError
from jackstop.notify import channels, deadline
from jackstop.notify import http as notify_http
from jackstop.notify.channel import Undelivered
from jackstop.notify.channels import KINDS, ocsf_s3, pagerduty, slack, webhook
from jackstop.notify.channels import email as email_channel
from jackstop.notify.message import Message
from jackstop.notify.ocsf import finding
from tests.control.command_bench import NOON_US
from tests.notify.pieces import ROUTING_KEY, WHSEC, channel, message, news
from tests.notify.receivers import Answer, HttpReceiver, http_receiver
from tests.notify.sending import BARE, MESSAGES, send

# -- Slack ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", MESSAGES)
def test_slack_s_own_models_take_the_message(sent: Message, receiver: HttpReceiver) -> None:
    send("slack", sent, f"{receiver.url}/services/T/B/x")
    (got,) = receiver.got
    assert (got.path, got.headers["Content-Type"]) == ("/services/T/B/x", "application/json")
    blocks = got.json["blocks"]
    for block in blocks:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.validate_json()
        for field in block.get("fields", ()):
            assert 0 < len(field["text"]) <= 2_000
        for button in block.get("elements", ()):
            assert 0 < len(button["text"]["text"]) <= 75
    assert blocks[0]["type"] == "header"
    assert 0 < len(got.json["text"]) <= 3_000


def test_nothing_that_came_from_outside_is_mark_up_in_slack() -> None:
    said = json.dumps(slack.content(message(news(title="<!channel> *b* `c`", text="<https://evil.example|here>"))))
    assert "<!channel>" not in said.replace('"plain_text", "text": "\\ud83d\\udfe0 <!channel>', "")
    assert "<https://evil.example" not in said
    assert "&lt;https://evil.example|here&gt;" in said


def test_slack_gets_a_button_for_a_page_and_the_words_of_a_command() -> None:
    blocks = slack.content(message())["blocks"]
    (button,) = next(block for block in blocks if block["type"] == "actions")["elements"]
    assert button["url"] == "https://jackstop.example.com/cases/12"
    assert "`jackstop cases show 12`" in json.dumps(blocks)


def test_slack_says_that_a_case_is_closed() -> None:
    assert slack.content(message(news(kind="case.closed")))["text"].startswith("✅")


def test_what_gathered_news_said_is_not_lost() -> None:
    sent = message(news(text="The key is throttled."), news(2, text="Something smaller came after it."))
    told = (
        json.dumps(slack.content(sent)),
        str(email_channel.content(sent, "a@example.com", "b@example.com", SystemClock().now_us()).get_body(("plain",))),
        json.dumps(pagerduty.events(sent, "here")),
    )
    for text in told:
        assert "The key is throttled." in text


def test_the_opening_of_a_case_is_told_as_such_whatever_followed_at_once() -> None:
    opened, later, closed = news(kind="case.opened"), news(2), news(3, kind="case.closed")
    assert webhook.content(message(opened, later))["type"] == "case.opened"
    assert finding(message(opened, later))["activity_name"] == "Create"
    assert webhook.content(message(opened, later, closed))["type"] == "case.closed"
    assert webhook.content(message(later))["type"] == "case.updated"


# -- PagerDuty -----------------------------------------------------------------------------------------------------


def require_pagerduty(event: dict[str, Any]) -> None:
    """What the published schema of the Events API v2 asks for."""
    assert set(event) <= {"payload", "routing_key", "event_action", "dedup_key", "client", "client_url", "links"}
    assert event["routing_key"] == ROUTING_KEY
    assert event["event_action"] in {"trigger", "acknowledge", "resolve"}
    assert 0 < len(event["dedup_key"]) <= 255
    if event["event_action"] == "trigger":
        payload = event["payload"]
        assert {"summary", "source", "severity"} <= set(payload)
        assert set(payload) <= {
            "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
        }  # fmt: skip
        assert payload["severity"] in {"critical", "error", "warning", "info"}
        assert 0 < len(payload["summary"]) <= 1_024
        assert all(set(link) <= {"href", "text"} and link["href"] for link in event["links"])
        assert isinstance(payload["custom_details"], dict)


@pytest.mark.parametrize("sent", MESSAGES)
def test_pagerduty_s_schema_holds(sent: Message, receiver: HttpReceiver) -> None:
    receiver.answer = lambda _got: Answer(202)
    send("pagerduty", sent, ROUTING_KEY, url=f"{receiver.url}/v2/enqueue")
    assert receiver.got
    for got in receiver.got:
        require_pagerduty(got.json)


def test_an_incident_follows_its_case() -> None:
    def actions(*told: Any) -> list[tuple[str, str]]:
        made = pagerduty.events(message(*told), "here")
        return [(event["event_action"], event["dedup_key"]) for event in made]

    case, approval = "jackstop-0a1b2c3d-case-12", "jackstop-0a1b2c3d-case-12-approval"
    assert actions(news(kind="case.opened")) == [("trigger", case)]
    seen_to = news(facts={"acknowledged": 1})
    assert actions(seen_to) == [("acknowledge", case)]
    assert actions(news(kind="case.opened"), seen_to) == [("trigger", case), ("acknowledge", case)]
    assert actions(seen_to, news()) == [("trigger", case)]
    assert actions(news(kind="approval")) == [("trigger", approval)]
    assert actions(news(kind="approval"), news()) == [("trigger", case), ("trigger", approval)]
    assert actions(news(kind="case.opened"), news(kind="case.closed")) == [("resolve", case), ("resolve", approval)]


# -- webhooks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", MESSAGES)
def test_a_standard_webhooks_library_verifies_the_signature(sent: Message, receiver: HttpReceiver) -> None:
    send("webhook", sent, WHSEC, SystemClock().now_us(), url=f"{receiver.url}/hook")
    (got,) = receiver.got
    read = Webhook(WHSEC).verify(got.body, got.headers)
    assert read["type"] == sent.kind
    assert len(read["data"]["earlier"]) == len(sent.news) - 1
    assert got.headers["webhook-id"] == sent.uid
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(got.body + b" ", got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(got.body, got.headers)


def test_both_secrets_sign_while_they_change(receiver: HttpReceiver) -> None:
    other = "whsec_" + "B" * 40
    send("webhook", message(), f"{WHSEC} {other}", SystemClock().now_us(), url=receiver.url)
    for secret in (WHSEC, other):
        Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)


def test_a_certificate_is_verified(authority: Any, certificate: Any) -> None:
    with http_receiver(certificate) as receiver:
        send("webhook", message(), WHSEC, url=receiver.url, ca=str(authority.ca))
        assert len(receiver.got) == 1
        with pytest.raises(Undelivered, match="not to be trusted"):
            send("webhook", message(), WHSEC, url=receiver.url)
        with pytest.raises(Undelivered, match="cannot be read"):
            send("webhook", message(), WHSEC, url=receiver.url, ca="/nowhere")
        assert len(receiver.got) == 1


def test_a_redirect_is_not_followed(receiver: HttpReceiver) -> None:
    with http_receiver() as elsewhere:
        receiver.answer = lambda _got: Answer(307, headers={"Location": elsewhere.url})
        with pytest.raises(Undelivered, match="HTTP 307"):
            send("webhook", message(), WHSEC, url=receiver.url)
        assert not elsewhere.got


@pytest.mark.parametrize(
    ("status", "rejected"),
    [(400, True), (413, True), (422, True), (401, False), (404, False), (429, False), (503, False)],
)
def test_what_the_receiver_answers_is_told(status: int, rejected: bool, receiver: HttpReceiver) -> None:
    receiver.answer = lambda _got: Answer(status, b"no_service", {"Retry-After": "7"})
    with pytest.raises(Undelivered) as caught:
        send("slack", message(), f"{receiver.url}/services/secret")
    assert (caught.value.problem, caught.value.rejected, caught.value.after_s) == (
        f"HTTP {status} no_service",
        rejected,
        7,
    )


def test_an_answer_that_repeats_the_address_is_not_kept(receiver: HttpReceiver) -> None:
    receiver.answer = lambda got: Answer(404, f"nothing at {got.path}".encode())
    with pytest.raises(Undelivered) as caught:
        send("slack", message(), f"{receiver.url}/services/secret")
    assert caught.value.problem == "HTTP 404"


def test_a_receiver_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_http, "DELIVER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(Undelivered, match="no answer"):
            send("webhook", message(), WHSEC, url=f"http://127.0.0.1:{server.getsockname()[1]}")
        stop.set()
        thread.join()


def test_nobody_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Undelivered, match="refused"):
        send("webhook", message(), WHSEC, url=f"http://127.0.0.1:{port}")


def test_plain_http_goes_to_no_other_machine_whatever_the_name_says(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        def getpeername(self) -> tuple[str, int]:
            return ("192.0.2.1", 80)

        def close(self) -> None:
            pass

    monkeypatch.setattr("http.client.HTTPConnection.connect", lambda self: setattr(self, "sock", Elsewhere()))
    with pytest.raises(Undelivered, match="not on this machine"):
        send("webhook", message(), WHSEC, url="http://localhost/hook")


# -- files, buckets, heartbeats ------------------------------------------------------------------------------------


def test_findings_are_appended_to_a_file_that_may_be_renamed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "findings.ndjson"
    send("ocsf-file", message(uid="msg_1"), path=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "old")
    send("ocsf-file", message(uid="msg_2"), path=str(path))
    with path.open("ab") as file:
        file.write(b'{"torn')
    send("ocsf-file", message(uid="msg_3"), path=str(path))
    lines = path.read_bytes().splitlines()
    assert [json.loads(lines[place])["metadata"]["uid"] for place in (0, 2)] == ["msg_2", "msg_3"]
    assert json.loads((tmp_path / "old").read_bytes())["metadata"]["uid"] == "msg_1"


def test_a_link_is_not_followed_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "findings").symlink_to(tmp_path / "precious")
    with pytest.raises(Undelivered, match="cannot be written"):
        send("ocsf-file", message(), path=str(tmp_path / "findings"))
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_full_disk_is_told() -> None:
    with pytest.raises(Undelivered, match="No space left"):
        send("ocsf-file", message(), path="/dev/full")


def test_findings_are_posted_with_the_header_that_authorises(receiver: HttpReceiver) -> None:
    send("ocsf-http", message(), "Splunk t0ken", url=f"{receiver.url}/services/collector")
    send("ocsf-http", message(), "t0ken", url=receiver.url, header="X-Token")
    send("ocsf-http", message(), url=receiver.url)
    first, second, third = receiver.got
    assert first.headers["Authorization"] == "Splunk t0ken"
    assert second.headers["X-Token"] == "t0ken"
    assert "Authorization" not in third.headers
    assert first.json["class_uid"] == 2004


def test_a_bucket_has_one_object_for_a_message_however_often_it_is_put(moto: str, monkeypatch: Any) -> None:
    import boto3

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client(
        "s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="key"
    )
    client.create_bucket(Bucket="findings")
    options = {"bucket": "findings", "prefix": "jackstop/", "region": "us-east-1", "endpoint": moto}
    for sent in (message(uid="msg_1"), message(uid="msg_1"), message(uid="msg_2")):
        send("ocsf-s3", sent, "id:key", **options)
    listed = [each["Key"] for each in client.list_objects_v2(Bucket="findings")["Contents"]]
    assert listed == ["jackstop/2026/11/23/msg_1.ndjson", "jackstop/2026/11/23/msg_2.ndjson"]
    body = client.get_object(Bucket="findings", Key=listed[0])["Body"].read()
    assert json.loads(body)["metadata"]["uid"] == "msg_1"
    with pytest.raises(Undelivered, match="404 NoSuchBucket"):
        send("ocsf-s3", message(), "id:key", **{**options, "bucket": "elsewhere"})


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(UserError) as caught:
        ocsf_s3.check({"bucket": "findings"}, "")
    assert "jackstop[s3]" in caught.value.remedy
    with pytest.raises(Undelivered, match="boto3"):
        ocsf_s3.send(channel("ocsf-s3", bucket="findings"), message(), NOON_US)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_heartbeat_calls_its_url(method: str, receiver: HttpReceiver) -> None:
    send("heartbeat", BARE, f"{receiver.url}/ping/secret?token=1", method=method)
    (got,) = receiver.got
    assert (got.method, got.path, got.body) == (method, "/ping/secret?token=1", b"")


# -- wrong use -----------------------------------------------------------------------------------------------------

MAIL = {"host": "mail.example.com", "from": "a@example.com", "to": "b@example.com"}


@pytest.mark.parametrize(
    ("kind", "options", "secret"),
    [
        ("slack", {}, ""),
        ("slack", {}, "hooks.slack.com/services/s3cret"),
        ("slack", {}, "http://hooks.slack.com/services/s3cret"),
        ("slack", {}, "https://user:s3cret@hooks.slack.com/"),
        ("slack", {}, "https://hooks.slack.com/s3 cret"),
        ("slack", {}, "https://hooks.slack.com:99999/s3cret"),
        ("slack", {}, "ftp://hooks.slack.com/s3cret"),
        ("slack", {}, "https://[::1/s3cret"),
        ("slack", {}, "https://hooks.slack.com/s3cret\nhttps://elsewhere"),
        ("pagerduty", {}, "s3cret"),
        ("pagerduty", {"url": "http://events.pagerduty.com"}, ROUTING_KEY),
        ("webhook", {}, WHSEC),
        ("webhook", {"url": "https://a.example/?token=s3cret"}, WHSEC),
        ("webhook", {"url": "https://a.example"}, "whsec_s3cret"),
        ("webhook", {"url": "https://a.example"}, "s3cret" * 8),
        ("webhook", {"url": "https://a.example"}, ""),
        ("email", {**MAIL, "to": "nobody"}, ""),
        ("email", {**MAIL, "to": "a@example.com, b@example.com"}, ""),
        ("email", {**MAIL, "from": "a@example.com\nBcc: c@example.com"}, ""),
        ("email", {**MAIL, "tls": "none"}, ""),
        ("email", {**MAIL, "tls": "maybe"}, ""),
        ("email", {**MAIL, "port": "0"}, ""),
        ("email", {**MAIL, "user": "u"}, ""),
        ("email", MAIL, "s3cret"),
        ("email", {**MAIL, "questions": "perhaps"}, ""),
        ("email", {"to": "b@example.com"}, ""),
        ("ocsf-file", {"path": "findings"}, ""),
        ("ocsf-file", {"path": "/nowhere/at/all"}, ""),
        ("ocsf-http", {"url": "https://a.example", "header": "A: b"}, ""),
        ("ocsf-http", {"url": "https://a.example"}, "s3cret\nX: y"),
        ("ocsf-s3", {"bucket": "No"}, ""),
        ("ocsf-s3", {"bucket": "findings"}, "s3cret"),
        ("ocsf-s3", {"bucket": "findings", "prefix": "a b"}, ""),
        ("heartbeat", {}, ""),
        ("heartbeat", {"every_s": "1"}, "https://a.example/s3cret"),
        ("heartbeat", {"method": "PUT"}, "https://a.example/s3cret"),
    ],
)
def test_wrong_use_says_what_to_do_and_never_repeats_a_secret(kind: str, options: dict[str, str], secret: str) -> None:
    with pytest.raises(UserError) as caught:
        channels.find(kind).check(dict(options), secret)
    assert caught.value.remedy
    assert "s3cret" not in caught.value.problem + caught.value.remedy


def test_every_kind_says_what_it_needs() -> None:
    for kind in KINDS:
        module = channels.find(kind)
        assert isinstance(module.OPTIONS, frozenset)
        assert not module.OPTIONS & channels.COMMON_OPTIONS
    with pytest.raises(UserError, match="no kind"):
        channels.find("pigeon")


def test_a_delivery_fits_into_a_lease() -> None:
    from jackstop.notify.delivery import LEASE_US

    # Connecting may try two addresses; an incident of PagerDuty may be two events.
    assert 2 * (2 * deadline.CONNECT_S + deadline.DELIVER_S) * 1_000_000 <= LEASE_US
