"""What the doctor says of how owners are asked."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.settings import Settings
from tests.control.command_bench import Bench


def said(bench: Bench) -> list[dict[str, Any]]:
    return [row for row in bench.run("doctor examine")["results"] if row["check"] == "questions"]


@pytest.mark.parametrize("option", ["yes", "no"])
def test_a_link_that_leads_to_this_machine_is_a_warning_where_owners_are_asked(bench: Bench, option: str) -> None:
    assert said(bench) == []
    options = {"host": "mail.example.com", "from": "a@example.com", "to": "b@example.com", "questions": option}
    bench.run("notify add", name="mail", kind="email", options=options, secret="")
    assert [row["state"] for row in said(bench)] == (["warning"] if option == "yes" else [])
    bench.settings = Settings(console_url="https://jackstop.example.com")
    assert said(bench) == []
