from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from jackstop.errors import UserError
from jackstop.keys.policy import CredentialRow
from jackstop.store import tables
from jackstop.store.feed import Feed
from tests.control.command_bench import Bench

SECRET = "sk-upstream-secret-0123456789"


def fed(bench: Bench, name: str = "main") -> CredentialRow:
    with bench.store.begin() as conn:
        rows = Feed(bench.vault, bench.settings).rows_since(conn, 0)[1]
    return next(row for row in rows if isinstance(row, CredentialRow) and row.name == name)


def test_a_credential_is_sealed_and_reaches_the_gates(bench: Bench) -> None:
    made = bench.credential(base_url="http://127.0.0.1:9/v1/", exclusive=True, provider_key_id="key_1")
    assert made["base_url"] == "http://127.0.0.1:9"
    assert made["kind"] == "exclusive"
    row = fed(bench)
    assert (row.secret, row.base_url, row.exclusive, row.provider_key_id) == (
        SECRET.encode(),
        "http://127.0.0.1:9",
        True,
        "key_1",
    )
    with bench.store.begin() as conn:
        blob = conn.execute(select(tables.credentials.c.secret)).scalar_one()
    assert SECRET.encode() not in blob
    assert SECRET not in repr(row) + str(made) + str(bench.run("credential list"))


@pytest.mark.parametrize(
    "options",
    [
        {"secret": ""},
        {"secret": " \n"},
        {"secret": "two words"},
        {"secret": "a\nb"},
        {"secret": "ünicode"},
        {"secret": "x" * 9_000},
        {"provider": "nobody"},
        {"base_url": "http://api.example.com"},
        {"base_url": "ftp://api.example.com"},
        {"base_url": "https://user:pass@api.example.com"},
        {"name": "a b"},
        {"name": "../x"},
    ],
    ids=str,
)
def test_wrong_use_is_refused_without_repeating_the_secret(bench: Bench, options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        bench.credential(**options)
    assert caught.value.status == 2
    assert SECRET not in caught.value.problem + caught.value.remedy
    assert bench.run("credential list")["rows"] == []


def test_the_line_break_of_a_pipe_is_not_part_of_the_secret(bench: Bench) -> None:
    bench.credential(secret=SECRET + "\n")
    assert fed(bench).secret == SECRET.encode()


def test_a_name_is_taken_once(bench: Bench) -> None:
    bench.credential()
    with pytest.raises(UserError, match="already") as caught:
        bench.credential()
    assert "credential rotate main" in caught.value.remedy


def test_rotating_replaces_the_secret(bench: Bench) -> None:
    bench.credential()
    with pytest.raises(UserError, match="there already"):
        bench.run("credential rotate", name="main", secret=SECRET)
    done = bench.run("credential rotate", name="main", secret="sk-fresh", base_url="https://eu.api.openai.com/v1")
    assert (fed(bench).secret, fed(bench).base_url) == (b"sk-fresh", "https://eu.api.openai.com")
    assert "platform.openai.com" in done["next"]


def test_containing_takes_the_secret_from_the_gates_and_says_what_is_left_to_do(bench: Bench) -> None:
    bench.credential(provider_key_id="key_7")
    bench.issue(credential="main")
    bench.issue()
    done = bench.run("credential contain", name="main", reason="stolen")
    assert (fed(bench).state, fed(bench).secret) == ("contained", b"")
    assert done["keys_without_credential"] == 1
    assert "key_7" in done["next"]
    bench.run("credential rotate", name="main", secret="sk-fresh")
    assert (fed(bench).state, fed(bench).secret) == ("active", b"sk-fresh")


def test_retiring_forgets_the_secret(bench: Bench) -> None:
    bench.credential()
    bench.run("credential retire", name="main")
    assert fed(bench).state == "retired"
    with bench.store.begin() as conn:
        assert conn.execute(select(tables.credentials.c.secret)).scalar_one() == b""
    for command in ("credential rotate", "credential contain", "credential retire"):
        with pytest.raises(UserError, match="retired"):
            bench.run(command, name="main", secret="sk-fresh")


def test_a_secret_does_not_follow_a_changed_address(bench: Bench) -> None:
    """Whoever can write the database still cannot have the gate send a secret elsewhere."""
    bench.credential()
    with bench.store.begin() as conn:
        conn.execute(update(tables.credentials).values(base_url="https://collector.example.net"))
    with pytest.raises(UserError, match="changed, or moved"):
        fed(bench)
    (row,) = bench.run("credential check")["rows"]
    assert not row["ok"]
    assert row["remedy"]


def test_checking_names_what_does_not_open(bench: Bench) -> None:
    bench.credential("one")
    bench.credential("two", secret="sk-two")
    with bench.store.begin() as conn:
        blob = conn.execute(select(tables.credentials.c.secret).where(tables.credentials.c.name == "one")).scalar_one()
        conn.execute(update(tables.credentials).where(tables.credentials.c.name == "two").values(secret=blob))
    checked = {row["name"]: row["ok"] for row in bench.run("credential check")["rows"]}
    assert checked == {"one": True, "two": False}
    assert [row["name"] for row in bench.run("credential check", name="one")["rows"]] == ["one"]
    with pytest.raises(UserError):
        bench.run("credential check", name="three")
