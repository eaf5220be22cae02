"""The worker's epoch, the inventory that its detections read, and the ramp allowances that it sets."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from jackstop.control.commands import worker
from jackstop.errors import UserError
from jackstop.events.analytics import TABLES
from jackstop.keys.policy import LimitRow
from jackstop.store import tables
from jackstop.store.feed import Feed
from tests.control.command_bench import Bench

USD = 1_000_000_000


def ramps(bench: Bench) -> dict[str, int]:
    with bench.store.begin() as conn:
        found = Feed(bench.vault, bench.settings).rows_since(conn, 0, 10_000)[1]
    return {
        row.scope.removeprefix("key:"): row.amount
        for row in found
        if isinstance(row, LimitRow)
        and row.unit == "nusd"
        and not row.deleted
        and (row.kind, row.per_s) == ("rate", 600)
    }


def seq(bench: Bench) -> int:
    with bench.store.begin() as conn:
        return int(conn.execute(select(tables.meta.c.value).where(tables.meta.c.key == "seq")).scalar_one())


def send(bench: Bench, *wanted: tuple[str, int], epoch: int = 1, **span: str) -> Any:
    return bench.run("worker baselines", epoch=epoch, day=0, ramps=[list(each) for each in wanted], **span)


def test_each_worker_has_the_next_epoch(bench: Bench) -> None:
    assert [bench.run("worker begin")["epoch"] for _ in range(3)] == [1, 2, 3]


def test_an_older_worker_sets_no_ramps(bench: Bench) -> None:
    bench.run("worker begin")
    bench.run("worker begin")
    with pytest.raises(UserError, match="newer worker"):
        send(bench, epoch=1)
    send(bench, epoch=2)


def test_detections_that_cannot_run_are_the_doctor_s_business_and_stop_the_heartbeat(bench: Bench) -> None:
    bench.run("worker begin")
    bench.run("worker begin")
    for epoch, names, said in ((2, ["ramp"], 1), (1, [], 1), (2, [], 0)):
        bench.run("worker failing", epoch=epoch, detections=names)
        found = [row for row in bench.run("doctor examine")["results"] if row["check"] == "detections"]
        assert len(found) == said
    assert not any(row["problem"] for row in found)


def test_the_inventory_has_keys_credentials_and_shared_budgets(bench: Bench) -> None:
    plain = bench.issue(team="red", budget=["5usd/day", "1usd/hour"])
    canary = bench.issue(name="bait", canary=True)
    bench.run("budget set", scope="org", amount="100usd/day")
    page = bench.run("worker inventory")
    assert page["after"] is None
    rows = {(row["kind"], row["id"]): row for row in page["rows"]}
    row = rows["key", plain["id"]]
    assert (row["owner"], row["team"], row["state"], row["canary"]) == ("app@example.com", "red", "live", 0)
    assert row["budget_day_nusd"] == 5 * USD
    assert rows["key", canary["id"]]["canary"] == 1
    (limit,) = [row for row in page["rows"] if row["kind"] == "limit"]
    assert (limit["name"], limit["budget_day_nusd"]) == ("org", 100 * USD)
    assert set().union(*page["rows"]) <= set(TABLES["inventory"])


def test_the_inventory_comes_in_pages(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PAGE_KEYS", 2)
    issued = sorted(bench.issue(name=f"k{number}")["id"] for number in range(5))
    found, after = [], ""
    while after is not None:
        page = bench.run("worker inventory", after=after)
        found += [row["id"] for row in page["rows"] if row["kind"] == "key"]
        after = page["after"]
    assert found == issued


def test_ramps_follow_the_baselines(bench: Bench) -> None:
    one, two, three = sorted(bench.issue(name=f"k{number}")["id"] for number in range(3))
    assert send(bench, (one, USD), (two, 2 * USD), ("gone", USD))["changed"] == 2
    assert ramps(bench) == {one: USD, two: 2 * USD}
    before = seq(bench)
    assert send(bench, (one, USD), (two, 2 * USD))["changed"] == 0
    assert seq(bench) == before
    send(bench, (one, 3 * USD), (three, USD))
    assert ramps(bench) == {one: 3 * USD, three: USD}
    send(bench, (two, USD), after=one, through=two)
    assert ramps(bench) == {one: 3 * USD, two: USD, three: USD}
    send(bench, after=one)
    assert ramps(bench) == {one: 3 * USD}


def test_other_limits_of_a_key_stay(bench: Bench) -> None:
    made = bench.issue(rate=["60req/min"], budget=["5usd/day"])
    send(bench, (made["id"], USD))
    send(bench)
    with bench.store.begin() as conn:
        limits = tables.limits
        kinds = conn.execute(select(limits.c.kind).where(limits.c.scope == f"key:{made['id']}", ~limits.c.deleted))
        assert sorted(kinds.scalars()) == ["rate", "usd"]


def test_an_allowance_that_a_person_raised_stays_until_it_ends(bench: Bench) -> None:
    made = bench.issue()
    send(bench, (made["id"], USD))
    target = f"key:{made['id']}"
    with bench.store.begin() as conn:
        case = {"state": "open", "severity": "high", "title": "", "entity": target, "first_seen_us": 1}
        case |= {"last_seen_us": 1, "opened_us": 1, "updated_us": 1}
        case_id = conn.execute(insert(tables.cases).values(case).returning(tables.cases.c.id)).scalar_one()
        response = {"uid": "u", "case_id": case_id, "action": "allowance", "target": target, "state": "applied"}
        conn.execute(insert(tables.responses).values(**response, intended_us=1, before={}))
    assert send(bench, (made["id"], 5 * USD))["changed"] == 0
    assert ramps(bench) == {made["id"]: USD}


def test_too_many_ramps_at_once_are_refused(bench: Bench) -> None:
    with pytest.raises(UserError, match="too many"):
        send(bench, *((f"k{number}", USD) for number in range(worker.MOST_RAMPS + 1)))
