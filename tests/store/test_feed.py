from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from jackstop.keys.policy import GapRow, KeyRow, LimitRow
from jackstop.settings import Home, Settings
from jackstop.store import tables
from jackstop.store.engine import Store
from jackstop.store.feed import Feed, follow_settings, limit_mode
from tests.control.command_bench import Bench


@pytest.fixture
def bench(store: Store, home: Home) -> Bench:
    return Bench(store, home, Settings())


def feed(bench: Bench) -> Feed:
    return Feed(bench.vault, bench.settings)


def name_of(row: Any) -> Any:
    return getattr(row, "id", None) or getattr(row, "name", None) or row.model


def read(bench: Bench, since: int = 0, at_most: int = 2_000) -> tuple[int, list[Any]]:
    """All changes, in batches of a size, each in a transaction of its own."""
    found: list[Any] = []
    while True:
        with bench.store.begin() as conn:
            since, rows = feed(bench).rows_since(conn, since, at_most)
        assert len(rows) <= at_most
        if not rows:
            return since, found
        found += rows


def test_nothing_comes_from_an_empty_store(bench: Bench) -> None:
    assert read(bench) == (0, [])


def test_a_key_comes_after_its_limits(bench: Bench) -> None:
    bench.issue(budget=["5usd/day", "1usd/hour"])
    _, rows = read(bench)
    assert [type(row) for row in rows] == [LimitRow, LimitRow, KeyRow]


@pytest.mark.parametrize("at_most", [1, 2, 3, 100])
def test_any_batch_size_gives_the_same(bench: Bench, at_most: int) -> None:
    for number in range(4):
        bench.credential(f"c{number}")
        bench.issue()
    with bench.store.begin() as conn:
        conn.execute(
            insert(tables.gaps).values(
                provider="openai", model="m", feature="f", mended=False, seq=bench.store.next_seq(conn)
            )
        )
        last = bench.store.seq(conn)
    assert read(bench, at_most=at_most) == (last, read(bench)[1])
    assert read(bench)[1][-1] == GapRow("openai", "m", "f")


def test_batches_are_full_however_far_apart_the_numbers_are(bench: Bench) -> None:
    keys = [bench.issue()["id"] for _ in range(3)]
    for key_id in keys:
        for _ in range(10):
            bench.run("key rotate", id=key_id)
    sizes: list[int] = []
    since = 0
    while not sizes or sizes[-1]:
        with bench.store.begin() as conn:
            since, rows = feed(bench).rows_since(conn, since, 4)
        sizes.append(len(rows))
    assert sizes == [4, 2, 0]


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 4))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whoever_follows_ends_at_the_state_that_is_there(bench: Bench, acts: list[int], at_most: int) -> None:
    keys = [bench.issue()["id"] for _ in range(2)]
    seq, rows = read(bench)
    known = {name_of(row): row for row in rows}
    for act in acts:
        if act == 0:
            keys.append(bench.issue()["id"])
        else:
            command = ("", "key quarantine", "key release", "key throttle", "key rotate")[act]
            bench.run(command, id=keys[act % len(keys)], rate="6req/min")
        with bench.store.begin() as conn:
            seq, rows = feed(bench).rows_since(conn, seq, at_most)
        known |= {name_of(row): row for row in rows}
    _, rows = read(bench, seq)
    known |= {name_of(row): row for row in rows}
    assert known == {name_of(row): row for row in read(bench)[1]}


@pytest.mark.parametrize(
    ("own", "is_default", "team", "installation", "mode"),
    [
        (None, False, None, "observe", "enforce"),
        (None, True, None, "observe", "observe"),
        (None, True, None, "enforce", "enforce"),
        (None, True, "enforce", "observe", "enforce"),
        (None, True, "observe", "enforce", "observe"),
        ("observe", False, None, "enforce", "observe"),
        ("enforce", True, "observe", "observe", "enforce"),
        (None, False, "observe", "observe", "enforce"),
    ],
)
def test_whose_word_on_the_mode_counts(own: Any, is_default: bool, team: Any, installation: Any, mode: str) -> None:
    assert limit_mode(own, is_default, team, installation) == mode


def modes(bench: Bench, since: int = 0) -> list[str]:
    return [row.mode for row in read(bench, since)[1] if isinstance(row, LimitRow)]


def test_a_team_decides_for_the_defaults_of_its_keys(bench: Bench) -> None:
    bench.issue(team="red")
    bench.issue(team="blue")
    seq, _ = read(bench)
    bench.run("team add", name="red", mode="enforce")
    assert modes(bench, seq) == ["enforce"]
    assert modes(bench) == ["observe", "enforce"]


def test_another_setting_reaches_gates_that_know_the_limits_already(bench: Bench) -> None:
    follow_settings(bench.store, bench.settings)
    bench.issue()
    bench.issue(budget=["1usd/day"])
    seq, _ = read(bench)
    follow_settings(bench.store, bench.settings)
    assert modes(bench, seq) == []
    bench.settings = Settings(mode="enforce")
    follow_settings(bench.store, bench.settings)
    assert modes(bench, seq) == ["enforce"]


def test_a_removed_limit_comes_as_deleted(bench: Bench) -> None:
    bench.run("budget set", scope="org", amount="5usd/day")
    seq, _ = read(bench)
    bench.run("budget set", scope="org", amount="none")
    _, (row,) = read(bench, seq)
    assert row.deleted


def test_a_credential_that_cannot_be_opened_is_named_and_nothing_else(bench: Bench) -> None:
    bench.credential("main", secret="sk-distinctive")
    with bench.store.begin() as conn:
        conn.execute(update(tables.credentials).values(secret=b"\x01" + b"x" * 120))
    reply = bench.reply("credential check")
    assert "credential main" in reply.result["rows"][0]["problem"]
    assert "distinctive" not in str(reply.result)
