"""A Bedrock key whose requests CloudTrail names, in a trail in moto's S3 about the practice mantle."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import insert, select, update

from jackstop.clock import to_datetime
from jackstop.providers.drivers import bedrock
from jackstop.reconcile.poll import Poller
from jackstop.store.tables import cases, credentials, findings, open_holds, responses, usage
from tests.control.command_bench import Bench
from tests.reconcile import trail
from tests.reconcile.world import Call, write

HOUR_US = 3_600_000_000
MINUTE = 60
SHARED = Path(__file__).parents[3] / "shared"
MARKER = "these words are content"


@pytest.fixture(scope="module")
def moto() -> Any:
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


class Cloud:
    """A credential at the practice mantle, the trail about it, and a worker that reads it."""

    def __init__(self, bench: Bench, practice: Any, moto: str, *, exclusive: bool) -> None:
        self.bench, self.practice = bench, practice
        self._one_at_a_time = threading.Lock()
        self.s3 = boto3.session.Session("setup", "setup").client("s3", endpoint_url=moto, region_name=trail.REGION)
        self.s3.create_bucket(Bucket=trail.BUCKET)
        self.key = practice.seed("bedrock", user="gate")
        self.bench.clock.jump((practice.clock.now_us() - self.bench.clock.now_us()) / 1_000_000)
        base_url = f"{practice.url}/bedrock-mantle"
        bench.credential(
            "main", base_url=base_url, secret=self.key["secret"], provider_key_id=self.key["id"], exclusive=exclusive
        )
        bench.run(
            "administration add",
            name="aws",
            driver="bedrock",
            base_url=f"{practice.url}/aws/iam",
            secret="AKIAPRACTICE00000000:practice-secret",
            options={"s3_url": moto},
        )
        place = {"user": "gate", "trail": f"s3://{trail.BUCKET}/{trail.PREFIX}"}
        bench.run("administration link", name="main", administration="aws", place=place)
        with bench.store.begin() as conn:
            conn.execute(update(credentials).values(created_us=bench.clock.now_us() - HOUR_US))
        self.poller = self.worker()
        self.written = 0

    def worker(self) -> Poller:
        return Poller(self.ask, self.bench.home.lake, self.bench.clock)

    def ask(self, name: str, args: dict[str, Any]) -> Any:
        with self._one_at_a_time:
            return self.bench.run(name, **args)

    def pass_time(self, seconds: float) -> None:
        self.practice.clock.advance(seconds)
        self.bench.clock.advance(seconds)

    def call(self, *, through_gate: bool, named: bool = True) -> dict[str, Any]:
        """One call; what the provider has of it. `named` says whether the gate got its id."""
        client = self.practice.openai("bedrock-mantle/v1", key=self.key["secret"])
        messages = [{"role": "user", "content": "hello"}]
        answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=messages, max_tokens=20)
        found = answer.headers["x-amzn-requestid"]
        row: dict[str, Any] = self.practice.row(lambda row: row["id"] == found)
        if through_gate:
            self.written += 1
            request_id = found if named else ""
            made = Call(row["ts"], 0, key=self.key["id"], credential="main", request_id=request_id)
            write(self.bench.home.lake, [made], f"gate-1-{self.written}")
        return row

    def log(self, *rows: dict[str, Any], user: str = "gate", **fields: Any) -> None:
        trail.put(self.s3, [trail.inference(row, user, **fields) for row in rows], self.bench.clock.now_us())

    def poll(self) -> None:
        self.poller.step()
        self.poller.wait()

    def rows(self, table: Any) -> list[Any]:
        with self.bench.store.begin() as conn:
            return list(conn.execute(select(table)).mappings())

    def state(self) -> dict[str, Any]:
        (row,) = self.bench.run("reconcile list")["rows"]
        found: dict[str, Any] = row["log"]
        return found

    def sums(self) -> tuple[int, int]:
        hours = self.state()["hours"]
        return sum(hour["through"] for hour in hours), sum(hour["outside"] for hour in hours)


@pytest.fixture
def cloud(bench: Bench, practice: Any, moto: str) -> Cloud:
    made = Cloud(bench, practice, moto, exclusive=True)
    yield made
    empty(made)


@pytest.fixture
def shared_cloud(bench: Bench, practice: Any, moto: str) -> Cloud:
    made = Cloud(bench, practice, moto, exclusive=False)
    yield made
    empty(made)


def empty(cloud: Cloud) -> None:
    for entry in cloud.s3.list_objects_v2(Bucket=trail.BUCKET).get("Contents", []):
        cloud.s3.delete_object(Bucket=trail.BUCKET, Key=entry["Key"])


def test_one_request_that_the_gate_did_not_send_alerts_and_a_second_contains(cloud):
    ours = [cloud.call(through_gate=True) for _ in range(3)]
    theirs = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(*ours, theirs)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["detection"], finding["severity"], finding["count"]) == ("shadow_usage", "high", 1)
    evidence = finding["evidence"]
    assert evidence["request"] == theirs["id"]
    assert (evidence["address"], evidence["agent"]) == ("198.51.100.7", "OpenAI/Python 3.54.0")
    assert (evidence["region"], evidence["service"]) == (trail.REGION, "bedrock-mantle")
    assert cloud.sums() == (3, 1)
    assert cloud.rows(responses) == []

    again = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(again)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["severity"], finding["count"]) == ("critical", 2)
    assert [(each["action"], each["target"]) for each in cloud.rows(responses)] == [("contain", "credential:main")]
    assert len(cloud.rows(cases)) == 1


def test_what_passed_the_gate_is_nobody_elses_however_often_it_is_logged(cloud):
    ours = [cloud.call(through_gate=True) for _ in range(4)]
    cloud.pass_time(5 * MINUTE)
    cloud.log(*ours)
    cloud.log(*ours)  # a second trail
    cloud.poll()
    cloud.pass_time(MINUTE)
    cloud.log(*ours[:2])
    cloud.poller = cloud.worker()
    cloud.poll()
    assert cloud.rows(findings) == []
    assert cloud.state()["verdict"] == "fine"
    assert cloud.state()["shadow"] == []


def test_a_worker_that_begins_anew_counts_no_file_twice(cloud):
    ours, theirs = cloud.call(through_gate=True), cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(ours, theirs)
    cloud.poll()
    for _ in range(2):
        cloud.poller = cloud.worker()
        cloud.pass_time(2 * MINUTE)
        cloud.poll()
    assert cloud.sums() == (1, 1)
    (finding,) = cloud.rows(findings)
    assert finding["count"] == 1


def test_a_request_whose_id_nobody_knows_stands_for_one_logged_one_and_no_more(cloud):
    named = cloud.call(through_gate=True)
    lost = cloud.call(through_gate=True, named=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(named, lost)
    cloud.poll()
    assert cloud.rows(findings) == []
    assert [each["request_id"] for each in cloud.state()["waiting"]] == [lost["id"]]
    cloud.log(cloud.call(through_gate=False) | {"ts": lost["ts"]})
    cloud.pass_time(5 * MINUTE)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["count"] == 1


def test_a_hold_under_way_covers_a_request_until_it_turns_out_to_be_another(cloud):
    common = cloud.call(through_gate=True)
    theirs = cloud.call(through_gate=False)
    with cloud.bench.store.begin() as conn:
        row = {"id": "dead-1-64", "instance": "dead", "key_id": "k", "charges": [], "state": "open"}
        row |= {"provider": "openai", "model": "gpt-4o", "credential": "main", "nusd": 10**9, "ts_us": theirs["ts"]}
        conn.execute(insert(open_holds).values(**row))
    cloud.pass_time(5 * MINUTE)
    cloud.log(common, theirs)
    cloud.poll()
    assert cloud.rows(findings) == []
    with cloud.bench.store.begin() as conn:
        conn.execute(open_holds.delete())
    cloud.pass_time(MINUTE)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["evidence"]["request"] == theirs["id"]


def test_the_users_of_other_keys_are_no_surplus_of_this_one(cloud):
    row = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(row, user="another")
    cloud.poll()
    assert cloud.rows(findings) == []
    assert cloud.sums() == (0, 0)


def test_what_aws_refused_or_what_costs_nothing_is_none(cloud):
    row = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(row, errorCode="AccessDenied", errorMessage="no")
    cloud.log(row, eventName="CountTokens")
    cloud.log(row, eventName="ListModels", managementEvent=True)
    cloud.poll()
    assert cloud.rows(findings) == []


def test_another_endpoint_than_the_gates_is_told_without_an_id_in_common(cloud, monkeypatch):
    """The gate's traffic is not in the trail, as where no data events are selected; a thief's InvokeModel is."""
    monkeypatch.setattr(bedrock.BedrockDriver, "log_service", lambda _self, _url: "bedrock-mantle")
    for _ in range(3):
        cloud.call(through_gate=True)
    theirs = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(theirs, eventSource="bedrock.amazonaws.com", eventName="InvokeModel", requestParameters={"modelId": "m"})
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["evidence"]["service"] == "bedrock"


def test_without_an_id_in_common_requests_are_counted(cloud):
    ours = [cloud.call(through_gate=True) for _ in range(3)]
    theirs = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(*(row | {"id": f"other-{number}"} for number, row in enumerate(ours)))
    cloud.poll()
    assert cloud.rows(findings) == []
    assert cloud.state()["common"] is False
    cloud.log(theirs | {"id": "other-4"})
    cloud.pass_time(MINUTE)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["count"] == 1


def test_requests_of_the_gate_that_are_never_logged_make_the_log_incomplete_and_no_theft(cloud):
    cloud.poll()
    cloud.pass_time(MINUTE)
    for _ in range(3):
        cloud.call(through_gate=True)
    logged = cloud.call(through_gate=True)
    cloud.pass_time(30 * MINUTE)
    cloud.log(logged)
    cloud.poll()
    cloud.pass_time(60 * MINUTE)
    cloud.poll()
    hours = cloud.state()["hours"]
    assert (sum(each["requests"] for each in hours), sum(each["unlogged"] for each in hours)) == (4, 3)
    assert cloud.rows(findings) == []


def test_a_shared_credential_shows_who_else_uses_it(shared_cloud):
    ours, theirs = shared_cloud.call(through_gate=True), shared_cloud.call(through_gate=False)
    other = shared_cloud.call(through_gate=False)
    shared_cloud.pass_time(5 * MINUTE)
    shared_cloud.log(ours, theirs)
    shared_cloud.log(other, user="batch", userAgent="Boto3/1.44.5")
    shared_cloud.poll()
    assert shared_cloud.rows(findings) == []
    assert shared_cloud.sums() == (1, 1)
    found = {
        (each["principal"].rpartition("/")[2], each["agent"], each["own"]) for each in shared_cloud.state()["consumers"]
    }
    assert found == {("gate", "OpenAI/Python 3.54.0", True), ("batch", "Boto3/1.44.5", False)}


def test_a_trail_that_cannot_be_read_is_told_and_read_later(cloud):
    with cloud.bench.store.begin() as conn:
        place = {"user": "gate", "trail": "s3://elsewhere"}
        conn.execute(update(credentials).values(place=place))
    cloud.poll()
    problems = {row["kind"]: row["problem"] for row in cloud.bench.run("reconcile ask")["rows"]}
    assert "NoSuchBucket" in problems["requests"]
    for _ in range(3):
        cloud.pass_time(30 * MINUTE)
        cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["detection"], finding["evidence"]["kind"]) == ("reconcile_blind", "requests")


def test_files_that_make_no_sense_are_counted(cloud):
    name = trail.put(
        cloud.s3,
        [trail.inference({"ts": cloud.bench.clock.now_us(), "id": "r", "model": "m"}, eventTime="x")],
        cloud.bench.clock.now_us(),
    )
    cloud.s3.put_object(Bucket=trail.BUCKET, Key=name.replace(".json.gz", "0.json.gz"), Body=b"\x1f\x8bhalf")
    cloud.s3.put_object(Bucket=trail.BUCKET, Key=name.replace(".json.gz", "1.json.gz"), Body=b"[]")
    cloud.pass_time(MINUTE)
    cloud.poll()
    assert cloud.state()["unreadable"] == 3
    assert cloud.rows(findings) == []


def test_usage_is_asked_for_the_same_place_as_without_a_log(cloud):
    cloud.poll()
    assert cloud.rows(usage) == []
    (row,) = cloud.bench.run("reconcile watched")["rows"]
    assert row["place"] == "{}"
    assert row["user"] == "gate"


def published(name: str) -> list[dict[str, Any]]:
    """A file of CloudTrail records that nobody here wrote."""
    path = SHARED / "data" / "stratus" / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data/stratus")
    records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return records


def test_records_that_nobody_here_wrote_are_read_as_what_they_are(shared_cloud):
    """Stratus' detonation of Bedrock, with its times of today: one InvokeModel by a role, among acts that are none."""
    at = to_datetime(shared_cloud.bench.clock.now_us()).strftime("%Y-%m-%dT%H:%M:%SZ")
    records = [record | {"eventTime": at} for record in published("aws.impact.bedrock-invoke-model.json")]
    trail.put(shared_cloud.s3, records, shared_cloud.bench.clock.now_us(), "megov-northeast-1r")
    others = [record | {"eventTime": at} for record in published("aws.persistence.iam-create-admin-user.json")]
    trail.put(shared_cloud.s3, others, shared_cloud.bench.clock.now_us())
    shared_cloud.pass_time(MINUTE)
    shared_cloud.poll()
    state = shared_cloud.state()
    (consumer,) = state["consumers"]
    assert consumer["principal"].endswith(":role/test-role")
    assert (consumer["requests"], consumer["own"]) == (1, False)
    assert consumer["agent"].startswith("stratus-red-team")
    assert state["unreadable"] == 0


def invoked(row: dict[str, Any], at_us: int) -> dict[str, Any]:
    """An invocation log's record of a request (Bedrock User Guide, "Monitor model invocation")."""
    return {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": to_datetime(at_us).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "accountId": trail.ACCOUNT,
        "identity": {"arn": f"arn:aws:iam::{trail.ACCOUNT}:user/gate"},
        "region": trail.REGION,
        "requestId": row["id"],
        "operation": "InvokeModel",
        "modelId": "anthropic.claude-3-sonnet-20240229-v1:0",
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": {"prompt": MARKER},
            "inputTokenCount": 900_000,
        },
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": {"text": MARKER},
            "outputTokenCount": 500_000,
        },
    }


def test_an_invocation_log_tells_what_a_request_cost_and_nothing_that_was_said(cloud):
    """One request, which the trail has too: counted once, and acting by its dollars alone."""
    theirs = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(theirs)
    record = json.dumps(invoked(theirs, theirs["ts"]))
    at = to_datetime(theirs["ts"])
    folder = f"{trail.PREFIX}/AWSLogs/{trail.ACCOUNT}/BedrockModelInvocationLogs/{trail.REGION}/{at:%Y/%m/%d/%H}"
    body = gzip.compress(f"{record}\n".encode())
    cloud.s3.put_object(Bucket=trail.BUCKET, Key=f"{folder}/20261123T1200Z_1.json.gz", Body=body)
    cloud.s3.put_object(Bucket=trail.BUCKET, Key=f"{folder}/data/1_input.json.gz", Body=gzip.compress(MARKER.encode()))
    with cloud.bench.store.begin() as conn:
        where = f"s3://{trail.BUCKET}/{trail.PREFIX}"
        conn.execute(update(credentials).values(place={"user": "gate", "trail": where, "invocation_log": where}))
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["severity"], finding["count"]) == ("critical", 1)
    assert finding["evidence"]["shadow_nusd"] > 10**9
    assert MARKER not in str(cloud.rows(findings)) + str(cloud.bench.run("reconcile list"))


# -- what may be the gate's own, though its books do not name it ----------------------------------------------------


def unanswered(cloud: Cloud, row: dict[str, Any]) -> None:
    """The gate's own entry of a call that it gave up waiting for."""
    cloud.written += 1
    made = Call(row["ts"], MINUTE * 1_000_000, key=cloud.key["id"], credential="main", seen=False, status=504)
    write(cloud.bench.home.lake, [made], f"gate-1-{cloud.written}")


def test_what_the_provider_did_not_answer_in_time_may_have_been_served_all_the_same(cloud):
    common = cloud.call(through_gate=True)
    slow = [cloud.call(through_gate=False) for _ in range(2)]
    for row in slow:
        unanswered(cloud, row)
    cloud.pass_time(5 * MINUTE)
    cloud.log(common, *slow)
    cloud.poll()
    assert cloud.rows(findings) == []
    cloud.log(cloud.call(through_gate=False) | {"ts": slow[0]["ts"]})
    cloud.pass_time(MINUTE)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["count"] == 1


def hold(cloud: Cloud, name: str, ts_us: int, credential: str) -> None:
    with cloud.bench.store.begin() as conn:
        row = {"id": name, "instance": "dead", "key_id": "k", "charges": [], "provider": "openai", "model": "gpt-4o"}
        row |= {"state": "estimated" if "-tail-" in name else "open", "credential": credential}
        conn.execute(insert(open_holds).values(**row, nusd=10**9, ts_us=ts_us))


def test_a_journals_lost_end_may_have_told_of_any_number_of_requests(cloud):
    common = cloud.call(through_gate=True)
    lost = [cloud.call(through_gate=False) for _ in range(5)]
    hold(cloud, "dead-tail-7", cloud.bench.clock.now_us(), "")
    cloud.pass_time(5 * MINUTE)
    after = cloud.call(through_gate=False)
    cloud.pass_time(5 * MINUTE)
    cloud.log(common, *lost, after)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["count"], finding["evidence"]["request"]) == (1, after["id"])


def test_a_gate_that_died_had_its_requests_for_as_long_as_one_may_take(cloud):
    begun_us = cloud.bench.clock.now_us()
    cloud.pass_time(40 * MINUTE)
    common, long_ = cloud.call(through_gate=True), cloud.call(through_gate=False)
    hold(cloud, "dead-1-64", begun_us, "main")
    cloud.pass_time(5 * MINUTE)
    cloud.log(common, long_)
    cloud.poll()
    assert cloud.rows(findings) == []


# -- whose a request is ---------------------------------------------------------------------------------------------


def test_a_token_for_a_federated_user_is_its_makers(cloud):
    common, theirs = cloud.call(through_gate=True), cloud.call(through_gate=False)
    issuer = {"type": "IAMUser", "arn": f"arn:aws:iam::{trail.ACCOUNT}:user/gate", "userName": "gate"}
    identity = {
        "type": "FederatedUser",
        "arn": f"arn:aws:sts::{trail.ACCOUNT}:federated-user/somebody",
        "accountId": trail.ACCOUNT,
        "accessKeyId": "ASIAPRACTICE00000001",
        "sessionContext": {"sessionIssuer": issuer},
    }
    cloud.pass_time(5 * MINUTE)
    cloud.log(common)
    cloud.log(theirs, userIdentity=identity)
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert finding["evidence"]["request"] == theirs["id"]


def test_users_of_one_name_in_several_accounts_contain_nothing(cloud):
    ours = cloud.call(through_gate=True)
    others = [cloud.call(through_gate=False) for _ in range(3)]
    cloud.pass_time(5 * MINUTE)
    cloud.log(ours)
    cloud.log(*others, recipientAccountId="111122223333")
    cloud.poll()
    (finding,) = cloud.rows(findings)
    assert (finding["severity"], finding["evidence"]["account"]) == ("high", "111122223333")
    assert cloud.rows(responses) == []


def test_of_two_credentials_of_one_user_nobody_knows_which_to_contain(cloud):
    fields = {"base_url": f"{cloud.practice.url}/bedrock-mantle", "secret": "second", "exclusive": True}
    cloud.bench.credential("second", provider_key_id="ACCAPRACTICE00000002", **fields)
    place = {"user": "gate", "trail": f"s3://{trail.BUCKET}/{trail.PREFIX}"}
    cloud.bench.run("administration link", name="second", administration="aws", place=place)
    theirs = [cloud.call(through_gate=False) for _ in range(3)]
    cloud.pass_time(5 * MINUTE)
    cloud.log(*theirs)
    cloud.poll()
    assert {row["severity"] for row in cloud.rows(findings)} == {"high"}
    assert cloud.rows(responses) == []


def test_the_runtime_is_one_service_under_both_of_its_names(cloud, monkeypatch):
    monkeypatch.setattr(bedrock.BedrockDriver, "log_service", lambda _self, _url: "bedrock")
    row = cloud.call(through_gate=True, named=False)
    cloud.pass_time(5 * MINUTE)
    fields = {"eventSource": "bedrock-runtime.amazonaws.com", "eventName": "InvokeModel"}
    cloud.log(row, **fields, requestParameters={"modelId": "m"})
    cloud.poll()
    assert cloud.rows(findings) == []
