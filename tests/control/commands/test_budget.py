from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from jackstop.errors import UserError
from jackstop.ledger.windows import bounds
from jackstop.store import tables
from tests.control.command_bench import NOON_US, Bench

USD = 10**9


class Running:
    """What control would say of gates with one request under way."""

    def __init__(self, holds: list[dict[str, Any]]) -> None:
        self._holds = holds
        self.flushed = 0

    def holds(self) -> list[dict[str, Any]]:
        return self._holds

    def flush(self) -> None:
        self.flushed += 1

    def status(self) -> dict[str, Any]:
        return {"gates": [], "seq": 0}


def shown(bench: Bench, **args: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = bench.run("budget show", **args)["rows"]
    return rows


def open_window(bench: Bench, limit_id: int, **values: int) -> int:
    start_us, _ = bounds("day", NOON_US)
    with bench.store.begin() as conn:
        conn.execute(insert(tables.windows).values(limit_id=limit_id, window_us=start_us, **values))
    return start_us


def hold(name: str, limit_id: int, window_us: int, amount: int, state: str = "open") -> dict[str, Any]:
    return {
        "id": name,
        "instance": "i",
        "ts_us": NOON_US,
        "key_id": "7sQw3ZkP0aVd",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "credential": "main",
        "nusd": amount,
        "tokens": 10,
        "charges": [{"lease": 1, "limit": limit_id, "window": window_us, "amount": amount}],
        "state": state,
        "reason": "",
    }


def test_the_books_of_the_current_window(bench: Bench) -> None:
    limit_id = bench.run("budget set", scope="org", amount="5usd/day")["limit"]
    window_us = open_window(bench, limit_id, amount=5 * USD, settled=USD, leased=2 * USD)
    running = Running([hold("i-1-8", limit_id, window_us, 300)])
    bench.live = running
    (row,) = shown(bench)
    assert running.flushed == 1
    assert row["scope"] == "org"
    assert row["window"] == "day"
    assert (row["limit_nusd"], row["settled_nusd"], row["held_nusd"], row["leased_nusd"]) == (
        5 * USD,
        USD,
        300,
        2 * USD,
    )
    bench.clock.advance(86_400)
    assert (shown(bench)[0]["settled_nusd"], shown(bench)[0]["held_nusd"]) == (0, 0)


def test_budgets_on_every_scope(bench: Bench) -> None:
    bench.credential()
    made = bench.issue(team="red", budget=["none"])
    scopes = ["org", "team:red", "owner:app@example.com", f"key:{made['id']}", "credential:main"]
    for scope in scopes:
        bench.run("budget set", scope=scope, amount="5usd/day")
    assert [row["scope"] for row in shown(bench)] == scopes
    assert [row["scope"] for row in shown(bench, scope="team:red")] == ["team:red"]


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "x",
        "org:1",
        "team:",
        "team:a b",
        "owner:",
        "owner:x",
        "key:7sQw3ZkP0aVd",
        "credential:x",
        "person:1",
    ],
)
def test_a_scope_that_does_not_exist_is_refused(bench: Bench, scope: str) -> None:
    with pytest.raises(UserError) as caught:
        bench.run("budget set", scope=scope, amount="5usd/day")
    assert caught.value.remedy


def test_a_budget_may_stand_before_the_first_key(bench: Bench) -> None:
    assert bench.run("budget set", scope="team:blue", amount="5usd/day")["new_scope"]
    assert bench.run("budget set", scope="owner:New@Example.com", amount="5usd/day")["new_scope"]
    assert not bench.run("budget set", scope="owner:new@example.com", amount="6usd/day")["new_scope"]
    assert [row["scope"] for row in shown(bench)] == ["team:blue", "owner:new@example.com"]
    with pytest.raises(UserError):
        bench.run("budget show", scope="team:green")


def test_an_owner_stands_in_the_audit_log_by_number(bench: Bench) -> None:
    bench.issue()
    bench.run("budget set", scope="owner:app@example.com", amount="5usd/day")
    with bench.store.begin() as conn:
        row = conn.execute(select(tables.audit).order_by(tables.audit.c.seq.desc()).limit(1)).one()
    assert row.subject == "person:2"


def test_setting_a_budget_takes_the_place_of_the_default(bench: Bench) -> None:
    scope = f"key:{bench.issue()['id']}"
    bench.run("budget set", scope=scope, amount="50usd/month")
    (row,) = shown(bench)
    assert (row["window"], row["limit_nusd"], row["default"], row["mode"]) == ("month", 50 * USD, False, "enforce")
    bench.run("budget set", scope=scope, amount="60usd/month", mode="observe")
    (row,) = shown(bench)
    assert (row["limit_nusd"], row["mode"]) == (60 * USD, "observe")


def test_the_default_of_the_same_window_becomes_the_budget(bench: Bench) -> None:
    scope = f"key:{bench.issue()['id']}"
    before = shown(bench)[0]["id"]
    bench.run("budget set", scope=scope, amount="1usd/day")
    (row,) = shown(bench)
    assert (row["id"], row["default"], row["mode"]) == (before, False, "enforce")


def test_none_takes_all_budgets_of_a_scope_away(bench: Bench) -> None:
    for amount in ("5usd/day", "50usd/month", "100req/hour"):
        bench.run("budget set", scope="org", amount=amount)
    assert bench.run("budget set", scope="org", amount="none")["removed"] == 3
    assert shown(bench) == []
    with pytest.raises(UserError):
        bench.run("budget set", scope="org", amount="none")


@given(
    st.integers(0, 10),
    st.integers(0, 10),
    st.integers(0, 10),
    st.integers(0, 25).map(lambda dollars: f"{dollars}usd/day"),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lowering_never_breaks_the_books(bench: Bench, settled: int, leased: int, over: int, amount: str) -> None:
    limit_id = bench.run("budget set", scope="org", amount="20usd/day")["limit"]
    start_us, _ = bounds("day", NOON_US)
    values = {"amount": 20 * USD, "settled": settled * USD, "leased": leased * USD, "over": over * USD}
    with bench.store.begin() as conn:
        here = (tables.windows.c.limit_id == limit_id, tables.windows.c.window_us == start_us)
        if conn.execute(update(tables.windows).where(*here).values(**values)).rowcount == 0:
            conn.execute(insert(tables.windows).values(limit_id=limit_id, window_us=start_us, **values))
    bench.run("budget set", scope="org", amount=amount)
    with bench.store.begin() as conn:
        book = conn.execute(select(tables.windows).where(*here)).one()
        limit = conn.execute(select(tables.limits.c.amount).where(tables.limits.c.id == limit_id)).scalar_one()
    assert limit == int(amount.partition("usd")[0]) * USD
    assert book.amount == max(limit, (settled + leased) * USD)


def test_a_past_window_keeps_its_amount(bench: Bench) -> None:
    limit_id = bench.run("budget set", scope="org", amount="20usd/day")["limit"]
    with bench.store.begin() as conn:
        conn.execute(insert(tables.windows).values(limit_id=limit_id, window_us=1, amount=20 * USD))
    bench.run("budget set", scope="org", amount="30usd/day")
    with bench.store.begin() as conn:
        assert conn.execute(select(tables.windows.c.amount)).scalar_one() == 20 * USD


@pytest.mark.parametrize("state", ["open", "estimated"])
def test_releasing_a_hold_frees_what_it_was_charged(bench: Bench, state: str) -> None:
    limit_id = bench.run("budget set", scope="org", amount="5usd/day")["limit"]
    window_us = open_window(bench, limit_id, amount=5 * USD, settled=3 * USD)
    with bench.store.begin() as conn:
        conn.execute(insert(tables.open_holds).values(**hold("i-1-8", limit_id, window_us, 2 * USD, state)))
    assert [(row["id"], row["state"], row["nusd"]) for row in bench.run("budget holds")["rows"]] == [
        ("i-1-8", state, 2 * USD)
    ]
    bench.run("budget release", hold="i-1-8", reason="the provider did not bill it")
    assert shown(bench)[0]["settled_nusd"] == USD
    assert bench.run("budget holds")["rows"] == []
    with pytest.raises(UserError, match="released before"):
        bench.run("budget release", hold="i-1-8", reason="again")
    assert shown(bench)[0]["settled_nusd"] == USD


def test_a_release_has_a_reason_and_leaves_running_requests_alone(bench: Bench) -> None:
    bench.live = Running([hold("i-1-9", 1, 1, 5)])
    assert [row["state"] for row in bench.run("budget holds")["rows"]] == ["under way"]
    with pytest.raises(UserError, match="under way"):
        bench.run("budget release", hold="i-1-9", reason="x")
    with pytest.raises(UserError, match="no hold"):
        bench.run("budget release", hold="i-1-10", reason="x")
    with pytest.raises(UserError, match="reason"):
        bench.run("budget release", hold="i-1-9", reason=" ")
