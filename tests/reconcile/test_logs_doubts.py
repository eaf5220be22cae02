"""Logged requests that may be the gate's own though its books do not name them, or whose maker is in doubt."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from jackstop.providers.drivers import bedrock
from jackstop.store.tables import findings, open_holds, responses
from tests.reconcile import trail
from tests.reconcile.cloud import Cloud
from tests.reconcile.world import Call, write

MINUTE = 60


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
