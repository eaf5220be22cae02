"""A Bedrock key whose requests CloudTrail names: what of them the gate did not send."""

from __future__ import annotations

import gzip
import json
from typing import Any

from sqlalchemy import insert, update

from jackstop.clock import to_datetime
from jackstop.providers.drivers import bedrock
from jackstop.store.tables import cases, credentials, findings, open_holds, responses, usage
from tests.reconcile import trail
from tests.shared import shared

MINUTE = 60
MARKER = "these words are content"


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
    records: list[dict[str, Any]] = json.loads(shared(f"data/stratus/{name}").read_text(encoding="utf-8"))
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
