from __future__ import annotations

import pytest
from sqlalchemy import select

from jackstop.errors import UserError
from jackstop.store.tables import audit
from tests.control.command_bench import Bench


def test_an_allowance_ends(bench: Bench) -> None:
    bench.run("detections allow", detection="odd_client", entity="*", reason="r", until="1h")
    assert len(bench.run("detections allowed")) == 1
    bench.clock.advance(3600)
    assert bench.run("detections allowed") == []


def test_allowances_are_audited_without_names_of_people(bench: Bench) -> None:
    bench.run("budget set", scope="owner:a@example.com", amount="5usd/day")
    bench.run("detections allow", detection="*", entity="owner:a@example.com", reason="r", until="1h")
    bench.run("detections disallow", detection="*", entity="owner:a@example.com")
    with bench.store.begin() as conn:
        rows = conn.execute(select(audit.c.tag, audit.c.subject).where(audit.c.tag.like("%detection%"))).all()
    assert [row.tag for row in rows] == ["admin:detection:allow", "admin:detection:disallow"]
    assert {row.subject for row in rows} == {"detection:* person:2"}


def test_nothing_is_left_alone_without_a_reason(bench: Bench) -> None:
    with pytest.raises(UserError, match="needs a reason"):
        bench.run("detections allow", detection="odd_client", entity="*", reason=" ")
    assert bench.run("detections allowed") == []


def test_the_doctor_says_what_leaves_everything_alone(bench: Bench) -> None:
    def said() -> list[str]:
        results = bench.run("doctor examine")["results"]
        return [row["problem"] for row in results if row["check"] == "detections"]

    bench.run("detections allow", detection="odd_client", entity="org", reason="r")
    assert said() == []
    bench.run("detections allow", detection="*", entity="*", reason="r", until="1h")
    assert said() == ["these leave everything alone: all of them"]
    bench.clock.advance(3_600)
    assert said() == []
