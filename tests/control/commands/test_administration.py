"""Administrations: what they need, what they show, and what goes with them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, select

from jackstop.errors import UserError
from jackstop.store import tables
from tests.control.command_bench import Bench

SECRET = "sk-admin-4c1e9b"


def add(bench: Bench, name: str = "a", **options: Any) -> Any:
    return bench.run("administration add", **{"name": name, "driver": "openai", "secret": SECRET, **options})


def test_its_key_is_sealed_and_never_shown(bench: Bench) -> None:
    made = add(bench)
    assert "admin key" in made["permission"]
    (row,) = bench.run("administration list")["rows"]
    assert (row["name"], row["driver"], row["base_url"]) == ("a", "openai", "https://api.openai.com/v1")
    assert SECRET not in str(made) + str(row)
    with bench.store.begin() as conn:
        assert SECRET.encode() not in conn.execute(select(tables.administrations.c.secret)).scalar_one()


def test_one_whose_provider_has_no_administration_needs_no_key(bench: Bench) -> None:
    assert add(bench, driver="groq", secret="")["driver"] == "groq"
    with pytest.raises(UserError, match="no secret came"):
        add(bench, "b", secret="")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"driver": "nobody"}, "there is no driver 'nobody'"),
        ({"options": {"colour": "red"}}, "has no option 'colour'"),
        ({"driver": "azure"}, "needs tenant"),
        ({"base_url": "http://example.com"}, "plain http"),
    ],
)
def test_what_is_wrong_is_said(bench: Bench, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        add(bench, **options)
    assert bench.run("administration list")["rows"] == []


def test_one_in_use_stays_and_what_was_read_of_it_goes_with_it(bench: Bench) -> None:
    add(bench)
    bench.credential("main")
    bench.run("administration link", name="main", administration="a", place={"project": "p"})
    with pytest.raises(UserError, match="is used by main"):
        bench.run("administration remove", name="a")
    with bench.store.begin() as conn:
        conn.execute(insert(tables.readings).values(administration="a", kind="usage", next_us=0))
    bench.run("administration link", name="main", administration="")
    bench.run("administration remove", name="a")
    with bench.store.begin() as conn:
        assert conn.execute(select(tables.readings)).all() == []


def test_every_driver_says_what_it_needs(bench: Bench) -> None:
    rows = {row["driver"]: row for row in bench.run("administration drivers")["rows"]}
    assert rows["azure"]["kind"] == "two_slot"
    assert rows["groq"]["verbs"] == []
    assert all(row["permission"] for row in rows.values())
