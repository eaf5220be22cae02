"""Channels as a person adds, lists, tests and removes them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from jackstop.errors import UserError
from jackstop.store.tables import audit, channels
from jackstop.vault.kek import open_vault
from tests.control.command_bench import Bench
from tests.notify.pieces import ROUTING_KEY, WHSEC

SLACK = "https://hooks.slack.com/services/T000/B000/s3cret"


def secret_of(bench: Bench, name: str) -> bytes:
    """What the sender would get."""
    bench.run("notify test", name=name)
    (taken,) = bench.run("outbox take", busy=[])["messages"]
    bench.run("outbox done", id=taken["id"])
    found: bytes = taken["channel"]["secret"]
    return found


def test_a_secret_is_sealed_and_shown_nowhere(bench: Bench) -> None:
    made = bench.run("notify add", name="team", kind="slack", secret=SLACK + "\n")
    assert (made["min_severity"], made["kind"]) == ("medium", "slack")
    with bench.store.begin() as conn:
        row = conn.execute(select(channels)).one()
        said = str(conn.execute(select(audit)).all())
    assert b"s3cret" not in row.secret
    assert "s3cret" not in str(made) + str(bench.run("notify list")) + said + str(row.options)
    assert secret_of(bench, "team") == SLACK.encode()


def test_a_secret_opens_after_the_key_encryption_key_was_replaced(bench: Bench) -> None:
    bench.run("notify add", name="pager", kind="pagerduty", secret=ROUTING_KEY)
    bench.run("vault rotate-kek")
    bench.vault = open_vault(bench.settings, bench.home)
    assert secret_of(bench, "pager") == ROUTING_KEY.encode()


@pytest.mark.parametrize(
    "args",
    [
        {"name": "a b"},
        {"kind": "pigeon"},
        {"min_severity": "loud"},
        {"options": {"colour": "red"}},
        {"options": {"quiet": "some time"}},
        {"options": {"quiet": "mon-fri 22:00-06:00;;tue 99:00-1:00"}},
        {"options": {"quiet_all": "perhaps"}},
        {"options": {"quiet": "00:00-24:00\n"}, "kind": "webhook"},
        {"secret": ""},
        {"secret": "x" * 9_000},
    ],
    ids=str,
)
def test_wrong_use_adds_nothing(bench: Bench, args: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        bench.run("notify add", **{"name": "team", "kind": "slack", "secret": SLACK, **args})
    assert caught.value.status == 2
    assert caught.value.remedy
    assert bench.run("notify list")["rows"] == []


def test_a_name_is_taken_once_and_free_again_after_removal(bench: Bench) -> None:
    bench.run("notify add", name="team", kind="slack", secret=SLACK)
    with pytest.raises(UserError, match="already"):
        bench.run("notify add", name="team", kind="slack", secret=SLACK)
    bench.run("notify remove", name="team")
    for command in ("notify remove", "notify test"):
        with pytest.raises(UserError, match="no such channel"):
            bench.run(command, name="team")
    bench.run("notify add", name="team", kind="webhook", options={"url": "https://a.example"}, secret=WHSEC)
    assert secret_of(bench, "team") == WHSEC.encode()


def test_messages_are_listed_by_state_and_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackstop.control.commands.notify._PAGE_ROWS", 2)
    bench.run("notify add", name="team", kind="slack", secret=SLACK)
    ids = [bench.run("notify test", name="team")["id"] for _ in range(3)]
    first = bench.run("notify outbox")
    assert [row["id"] for row in first["rows"]] == [ids[2], ids[1]]
    assert [row["id"] for row in bench.run("notify outbox", after=first["after"])["rows"]] == [ids[0]]
    assert bench.run("notify outbox", state="dead")["rows"] == []
    with pytest.raises(UserError, match="no state"):
        bench.run("notify outbox", state="lost")
    (row,) = bench.run("notify list")["rows"]
    assert (row["waiting"], row["dead"]) == (3, 0)


class Gates:
    """The running system, as far as a heartbeat looks at it."""

    def __init__(self, **status: Any) -> None:
        self._status = {"gates": [{"slot": 0, "fresh": True}], "clock_frozen": False, **status}

    def holds(self) -> list[dict[str, Any]]:
        return []

    def flush(self) -> None:
        pass

    def status(self) -> dict[str, Any]:
        return self._status


@pytest.mark.parametrize(
    "status", [{"gates": []}, {"gates": [{"slot": 0, "fresh": False}]}, {"clock_frozen": True}], ids=str
)
def test_no_heartbeat_is_due_while_something_is_not_well(bench: Bench, status: dict[str, Any]) -> None:
    bench.run("notify add", name="dead-man", kind="heartbeat", secret="https://a.example/s3cret")
    assert bench.run("outbox beats") == {"due": []}
    bench.live = Gates(**status)
    assert bench.run("outbox beats") == {"due": []}
    bench.live = Gates()
    assert len(bench.run("outbox beats")["due"]) == 1


def test_a_heartbeat_is_due_at_its_time_and_sooner_after_a_failure(bench: Bench) -> None:
    bench.run("notify add", name="dead-man", kind="heartbeat", options={"every_s": "60"}, secret="https://a.example/x")
    bench.live = Gates()

    def due_after(seconds: int) -> bool:
        bench.clock.advance(seconds)
        return bool(bench.run("outbox beats")["due"])

    bench.run("outbox beat", name="dead-man")
    assert [due_after(59), due_after(1)] == [False, True]
    bench.run("outbox beat", name="dead-man", problem="HTTP 503")
    assert [due_after(9), due_after(1)] == [False, True]
    doctor = {line["check"]: line for line in bench.run("doctor examine")["results"]}
    assert doctor["heartbeat dead-man"]["state"] == "ok"
    assert not due_after(-50)
    bench.clock.advance(300)
    doctor = {line["check"]: line for line in bench.run("doctor examine")["results"]}
    assert doctor["heartbeat dead-man"]["state"] == "failed"
    assert "HTTP 503" in doctor["heartbeat dead-man"]["problem"]


def test_the_doctor_speaks_of_dead_messages(bench: Bench) -> None:
    def said() -> dict[str, Any]:
        found: dict[str, Any] = {line["check"]: line for line in bench.run("doctor examine")["results"]}["notify"]
        return found

    assert "nobody is told" in said()["note"]
    bench.run("notify add", name="team", kind="slack", secret=SLACK)
    assert said()["state"] == "ok"
    bench.run("notify test", name="team")
    for _ in range(3):
        (taken,) = bench.run("outbox take")["messages"]
        bench.run("outbox failed", id=taken["id"], attempt=taken["attempt"], problem="HTTP 400", rejected=True)
        bench.clock.advance(60)
    assert said()["state"] == "failed"
    assert "replay" in said()["remedy"]
