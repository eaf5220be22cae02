"""Readings of the practice provider, compared with the books as soon as they are there."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import insert, select, update

from jackstop.errors import UserError
from jackstop.reconcile import desk, judge
from jackstop.reconcile.desk import Desk
from jackstop.reconcile.material import Reading
from jackstop.reconcile.poll import Poller
from jackstop.store.tables import credentials, findings, open_holds, responses, rotations, usage

MINUTE = 60


def test_a_stolen_key_used_directly_becomes_a_case_that_contains(office):
    office.call(through_gate=True, count=3)
    office.pass_time(10 * MINUTE)
    assert office.poll() == 2  # usage and costs
    assert office.findings() == []
    for _ in range(3):
        office.call(through_gate=False, count=15)
        office.pass_time(MINUTE)
    office.pass_time(2 * MINUTE)
    office.poll()
    (finding,) = office.findings()
    assert (finding["detection"], finding["severity"]) == ("shadow_usage", "critical")
    assert finding["entity"] == "credential:main"
    (case,) = office.cases()
    assert case["severity"] == "critical"
    assert [(each["action"], each["target"]) for each in office.responses()] == [("contain", "credential:main")]
    assert office.last()["verdict"] == "act"


def test_what_goes_through_the_gate_is_no_surplus_however_it_is_published(office):
    office.practice.mode(publish_after_s=300, revise=120)
    for _ in range(12):
        office.call(through_gate=True, count=2)
        office.pass_time(MINUTE)
        office.poll()
    assert office.findings() == []
    found = office.last()
    assert found["verdict"] == "fine"
    assert found["reported_nusd"] > 0
    office.pass_time(10 * MINUTE)
    office.poll()
    found = office.last()
    assert 0 < found["lower_nusd"] < found["reported_nusd"] <= found["upper_nusd"]


def test_a_bucket_that_grows_takes_the_place_of_what_it_was(office):
    office.practice.mode(revise=600)
    office.call(through_gate=True, count=4)
    office.pass_time(3 * MINUTE)
    office.poll()
    (half,) = (row for row in office.usage() if row["kind"] == "usage")
    office.pass_time(20 * MINUTE)
    office.poll()
    (whole,) = (row for row in office.usage() if row["kind"] == "usage")
    assert whole["input_tokens"] == 2 * half["input_tokens"]
    assert whole["requests"] == 4


def test_the_same_theft_seen_again_is_one_finding(office):
    office.call(through_gate=False, count=20)
    office.pass_time(3 * MINUTE)
    office.poll()
    before = office.findings()
    for _ in range(3):
        office.pass_time(MINUTE)
        office.poll()
    assert office.findings() == before
    assert len(office.cases()) == 1


def test_a_worker_that_begins_anew_knows_what_was_found(office):
    office.call(through_gate=False, count=20)
    office.pass_time(3 * MINUTE)
    office.poll()
    office.poller = office.worker()
    office.call(through_gate=False, count=20)
    office.pass_time(3 * MINUTE)
    office.poll()
    (finding,) = office.findings()
    assert finding["count"] >= 1
    assert len(office.cases()) == 1


def test_nothing_is_read_more_often_than_the_provider_lets_one_ask(office):
    assert office.poll() == 2
    assert office.poll() == 0
    office.pass_time(MINUTE - 1)
    assert office.poll() == 0
    office.pass_time(1)
    assert office.poll() == 1
    # By hand neither.
    office.bench.run("reconcile ask", now=True)
    assert office.poll() == 0
    office.pass_time(3_600)
    assert office.poll() == 2


def test_a_shared_credential_shows_how_far_it_has_moved(shared):
    shared.call(through_gate=True, count=6)
    shared.call(through_gate=False, count=2)
    other = shared.practice.seed("openai", project="proj_one")
    shared.call(through_gate=False, secret=other["secret"])
    shared.pass_time(10 * MINUTE)
    shared.poll()
    found = shared.last()
    assert shared.findings() == []
    assert found["progress"] == 75
    assert list(found["outside"]) == [other["id"]]


def test_a_key_that_was_rotated_out_is_still_its_own(office):
    old = office.practice.seed("openai", project="proj_one")
    with office.store.begin() as conn:
        row = {"uid": "u", "credential": "main", "act": "rotate", "cause": "hand", "state": "running"}
        row |= {"steps": ["delete"], "step": "delete", "detail": {"old_id": old["id"]}, "next_us": 0}
        conn.execute(insert(rotations).values(**row, actor="system", started_us=0))
    office.call(through_gate=False, secret=old["secret"], count=20)
    office.pass_time(5 * MINUTE)
    office.poll()
    assert office.last()["outside"] == {}
    (finding,) = office.findings()
    assert finding["severity"] == "high"
    assert office.responses() == []


def test_an_open_hold_covers_what_nobody_reported_and_is_shown(office):
    office.call(through_gate=False, count=10)
    with office.store.begin() as conn:
        row = {"id": "dead-1-64", "instance": "dead", "key_id": "k", "charges": [], "state": "released"}
        row |= {"provider": "openai", "model": "gpt-4o", "credential": "main", "nusd": 10**9}
        conn.execute(insert(open_holds).values(**row, ts_us=office.bench.clock.now_us()))
    office.pass_time(5 * MINUTE)
    office.poll()
    assert office.findings() == []
    found = office.last()
    assert found["could_hide_nusd"] == 10**9
    (drift,) = found["drifts"]
    assert (drift["cause"], drift["ours_nusd"], drift["requests"]) == ("open holds", 10**9, 1)


def test_requests_that_the_provider_never_reports_are_a_drift(office):
    office.call(through_gate=True, count=300, output=1)
    office.practice.post("/_sandbox/reset")
    office.practice.seed("openai", project="proj_one", secret=office.key["secret"], id=office.key["id"])
    office.call(through_gate=True)
    office.pass_time(30 * MINUTE)
    office.poll()
    (drift,) = office.last()["drifts"]
    assert drift["cause"] == "unreported"
    assert drift["requests"] == 301
    assert drift["ours_nusd"] > drift["theirs_nusd"]


@pytest.mark.parametrize("hour", [1, 5, 9, 23])
def test_a_day_that_is_charged_otherwise_than_at_list_price_is_a_drift(office, hour):
    """At whatever hour it is looked for."""
    past_s = office.bench.clock.now_us() // 1_000_000 % 86_400
    office.pass_time(((hour - 32) * 3_600 - past_s) % 86_400)
    office.call(through_gate=True, count=3)
    office.made_at(office.bench.clock.now_us() - 60 * 3_600_000_000)
    office.pass_time(600)
    office.poll()
    office.pass_time(32 * 3_600 - 600)
    office.poll()
    assert office.last()["drifts"] == []
    with office.store.begin() as conn:
        dearer = update(usage).where(usage.c.kind == "costs").values(cost_nusd=usage.c.cost_nusd + 10**9)
        assert conn.execute(dearer).rowcount
    office.poller = office.worker()
    office.practice.mode(publish_after_s=10_000_000)
    office.pass_time(MINUTE)
    office.poll()
    (drift,) = office.last()["drifts"]
    assert (drift["cause"], drift["model"]) == ("price", "gpt-4o")
    assert drift["theirs_nusd"] == drift["ours_nusd"] + 10**9


def test_a_provider_that_cannot_be_read_is_told_after_an_hour(office, monkeypatch):
    office.practice.mode(publish_after_s=60)
    with office.store.begin() as conn:
        conn.execute(update(credentials).values(place={"project": "proj_one"}))
    office.poll()
    monkeypatch.setattr("jackstop.reconcile.poll.usage_of", _refusing)
    office.pass_time(30 * MINUTE)
    office.poll()
    assert office.findings() == []
    office.pass_time(40 * MINUTE)
    office.poll()
    (finding, *_) = office.findings()
    assert finding["detection"] == "reconcile_blind"
    asked = office.bench.run("reconcile ask")["rows"]
    assert {row["problem"] for row in asked} == {"the administration's key may not"}


def _refusing(driver):
    from jackstop.providers.drivers.driver import CallFailed

    class Source:
        def usage(self, *_):
            raise CallFailed("denied", "the administration's key may not")

        costs = usage

    return Source()


def test_an_exclusive_credential_whose_key_nobody_knows_is_told_of_once(office):
    office.poll()
    with office.store.begin() as conn:
        conn.execute(update(credentials).values(provider_key_id="", rotated_us=office.bench.clock.now_us()))
    office.pass_time(30 * MINUTE)
    office.poll()
    assert office.findings() == []
    for _ in range(2):
        office.pass_time(31 * MINUTE)
        office.poll()
    (finding,) = office.findings()
    assert (finding["detection"], finding["entity"]) == ("reconcile_blind", "credential:main")
    assert "unlinked_min" in str(finding["evidence"])


def test_a_driver_that_fails_inside_is_told_of_too(office, monkeypatch):
    def broken(_driver):
        raise KeyError(office.key["secret"])

    monkeypatch.setattr("jackstop.reconcile.poll.usage_of", broken)
    office.pass_time(70 * MINUTE)
    office.poll()
    assert {finding["detection"] for finding in office.findings()} == {"reconcile_blind"}
    asked = office.bench.run("reconcile ask")["rows"]
    assert {row["problem"] for row in asked} == {"it failed inside (KeyError)"}


def test_a_key_that_was_brought_is_watched_from_then_on_and_one_that_jackstop_made_always(office):
    now_us = office.bench.clock.now_us()
    with office.store.begin() as conn:
        conn.execute(update(credentials).values(rotated_us=now_us))
    assert office.poller._desk.watched()[0].key_since_us == now_us
    row = {"uid": "u", "credential": "main", "act": "rotate", "cause": "hand", "state": "running"}
    row |= {"steps": ["create"], "step": "delete", "detail": {"new_id": office.key["id"]}, "next_us": 0}
    with office.store.begin() as conn:
        conn.execute(insert(rotations).values(**row, actor="system", started_us=0))
    assert office.poller._desk.watched()[0].key_since_us is None


def test_no_secret_is_in_what_is_stored_logged_or_shown(office, caplog):
    caplog.set_level(logging.DEBUG)
    office.call(through_gate=False, count=20)
    office.pass_time(3 * MINUTE)
    office.poll()
    admin = office.practice.admin("openai").secret.reveal().decode()
    reading = Reading("office", "usage", "openai", "", {}, [], 0, 0, admin)
    told = [repr(reading), caplog.text, *(str(rows) for rows in (office.findings(), office.usage(), office.last()))]
    for secret in (admin, office.key["secret"]):
        assert not any(secret in text for text in told)


@pytest.mark.parametrize("rows", [201])
def test_a_record_has_a_bound(office, rows):
    row = {"kind": "usage", "place": "{}", "bucket": {"start_us": 0, "width_us": 60_000_000}, "seen_us": 1}
    reply = office.bench.reply("reconcile record", administration="office", rows=[row] * rows)
    assert reply.status == 2


def test_what_was_reported_comes_in_pages(office, monkeypatch):
    for _ in range(5):
        office.call(through_gate=True)
        office.pass_time(MINUTE)
    office.pass_time(5 * MINUTE)
    office.poll()
    whole = office.poller._desk._known("office", 0)
    monkeypatch.setattr("jackstop.control.commands.reconcile.PAGE_ROWS", 2)
    again = office.worker()._desk._known("office", 0)
    assert again.keys() == whole.keys()
    assert len([row for row in again.values() if row.kind == "usage"]) == 5


def test_what_is_old_is_let_go(office):
    office.call(through_gate=True)
    office.pass_time(5 * MINUTE)
    office.poll()
    assert office.usage()
    office.practice.post("/_sandbox/reset")
    office.pass_time(50 * 86_400)
    office.poll()
    assert office.usage() == []


def test_a_balance_that_falls_by_more_than_the_books_is_told(bench, practice):
    bench.clock.jump((practice.clock.now_us() - bench.clock.now_us()) / 1_000_000)
    base_url, secret = f"{practice.url}/deepseek", "sk-deepseek-practice-0123456789"
    bench.credential("china", provider="deepseek", base_url=base_url, secret=secret, exclusive=True)
    with bench.store.begin() as conn:
        conn.execute(update(credentials).values(created_us=bench.clock.now_us() - 3_600_000_000))
    poller = Poller(lambda name, args: bench.run(name, **args), bench.home.lake, bench.clock)
    spent = []
    for calls in (0, 1, 1, 0):
        for _ in range(calls):
            content = "[[sandbox: out=200000]] hello"
            practice.openai("deepseek", secret).chat.completions.create(
                model="deepseek-v4-pro", messages=[{"role": "user", "content": content}], max_tokens=300_000
            )
        assert poller.step() == 1
        poller.wait()
        with bench.store.begin() as conn:
            spent.append([row.cost_nusd for row in conn.execute(select(usage).order_by(usage.c.start_us))])
        practice.clock.advance(600)
        bench.clock.advance(600)
    assert [len(rows) for rows in spent] == [0, 1, 2, 3]
    first, second, third = spent[-1]
    assert first == second > 300_000_000
    assert third == 0
    with bench.store.begin() as conn:
        (finding,) = conn.execute(select(findings))
        assert not conn.execute(select(responses)).all()
    assert (finding.detection, finding.severity, finding.entity) == ("shadow_usage", "high", "credential:china")


def test_a_comparison_that_keeps_failing_is_told_of_though_the_report_can_be_read(office, monkeypatch):
    def behind(*_):
        raise UserError("the lake is behind the journals", "see whether the worker runs")

    office.poll()
    monkeypatch.setattr(Desk, "compare", behind)
    for _ in range(5):
        office.pass_time(10 * MINUTE)
        office.poll()
    assert office.findings() == []
    problems = {row["kind"]: row["problem"] for row in office.bench.run("reconcile ask")["rows"]}
    assert problems["usage"] == "the lake is behind the journals"
    for _ in range(2):
        office.pass_time(10 * MINUTE)
        office.poll()
    (finding,) = office.findings()
    assert (finding["detection"], finding["evidence"]["kind"]) == ("reconcile_blind", "comparing usage")


def test_a_comparison_that_goes_well_again_is_no_longer_failing(office, monkeypatch):
    compare = Desk.compare

    def broken(*_):
        raise KeyError("a failure that nobody thought of")

    office.poll()
    for _ in range(3):
        monkeypatch.setattr(Desk, "compare", broken)
        for _ in range(4):
            office.pass_time(10 * MINUTE)
            office.poll()
        monkeypatch.setattr(Desk, "compare", compare)
        office.pass_time(10 * MINUTE)
        office.poll()
    assert office.findings() == []


def test_what_was_reported_of_a_place_that_is_left_is_forgotten_too(office):
    office.call(through_gate=True)
    office.pass_time(3 * MINUTE)
    office.poll()
    office.bench.run("administration link", name="main", administration="office", place={"project": "proj_two"})
    office.pass_time(39 * 86_400)
    office.poll()
    assert {row["place"] for row in office.usage()} == {'{"project": "proj_one"}'}
    office.pass_time(2 * 86_400)
    office.poll()
    assert office.usage() == []


def test_what_a_retired_credential_caused_is_nobody_elses_where_keys_are_not_told_apart(office, monkeypatch):
    """As at Azure or AWS, whose reports are by model alone."""
    monkeypatch.setattr(desk, "KEYLESS", frozenset({"openai"}))
    monkeypatch.setattr(judge, "KEYLESS", frozenset({"openai"}))
    other = office.practice.seed("openai", project="proj_one")
    office.bench.credential("second", secret=other["secret"], provider_key_id=other["id"], exclusive=True)
    office.bench.run("administration link", name="second", administration="office", place={"project": "proj_one"})
    with office.store.begin() as conn:
        conn.execute(update(credentials).values(created_us=office.bench.clock.now_us() - 3_600_000_000))
    office.call(through_gate=True, secret=other["secret"], count=20, credential="second")
    office.bench.run("credential retire", name="second")
    office.pass_time(5 * MINUTE)
    office.poll()
    assert office.findings() == []
