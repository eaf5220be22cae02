from __future__ import annotations

import socket
import sqlite3
from typing import Any

import pytest

from jackstop.cli import doctor
from jackstop.clock import SystemClock
from jackstop.events.schema import Event
from tests.cli.test_lake import put


@pytest.fixture(autouse=True)
def _free_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_GATE_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("JACKSTOP_CONSOLE", "127.0.0.1:1")


def states(shell: Any) -> dict[str, str]:
    return {result["check"]: result["state"] for result in shell("doctor", "--json").json["results"]}


def test_a_fresh_home_lacks_a_credential_only(shell: Any) -> None:
    ran = shell.ok("doctor", "--json")
    found = {result["check"]: result["state"] for result in ran.json["results"]}
    assert found.pop("credentials") == "warning"
    assert set(found.values()) == {"ok"}
    shell.ok("credential", "add", "main", "--provider", "openai", stdin="sk-x")
    assert set(states(shell).values()) == {"ok"}
    assert "main" not in shell.ok("doctor").err


def test_every_problem_comes_with_what_to_do(shell: Any) -> None:
    shell.home.kek.chmod(0o644)
    shell.home.database.chmod(0o644)
    ran = shell("doctor", "--json")
    assert ran.status == 1
    bad = [result for result in ran.json["results"] if result["state"] == "failed"]
    assert {"home", "key-encryption key"} <= {result["check"] for result in bad}
    assert all(result["problem"] and result["remedy"] for result in bad)
    assert "-> run: chmod" in shell("doctor").out


def test_a_wrong_setting_is_named(shell: Any) -> None:
    shell.home.config.write_text("nonsense = 1\n")
    ran = shell("doctor")
    assert ran.status == 1
    assert "nonsense" in ran.out


def test_a_taken_address_is_named(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("JACKSTOP_GATE_LISTEN", f"127.0.0.1:{listener.getsockname()[1]}")
        assert states(shell)["gate address"] == "failed"


def test_keys_in_clear_on_the_network_are_refused(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_GATE_LISTEN", "0.0.0.0:8080")
    assert states(shell)["listening"] == "failed"


def test_where_the_gate_listens_is_said_to_be_the_setting(shell: Any) -> None:
    notes = {result["check"]: result["note"] for result in shell("doctor", "--json").json["results"]}
    assert notes["listening"].startswith("gate.listen is 127.0.0.1:1; ")


def test_a_database_of_another_program_is_no_crash(shell: Any) -> None:
    with sqlite3.connect(shell.home.database) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    assert states(shell)["control"] == "failed"


def test_a_damaged_database_is_no_crash(shell: Any) -> None:
    shell.home.database.write_bytes(b"this is no database" * 100)
    assert states(shell)["control"] == "failed"


def test_a_full_disk_is_named(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_FREE_BYTES", 1 << 62)
    assert states(shell)["disk"] == "failed"


@pytest.mark.parametrize(
    ("addresses", "state"),
    [
        (["10.0.0.9"] * 30 + ["9.9.9.9"] * 5, "warning"),
        (["10.0.0.9"] * 5, "ok"),
        (["9.9.9.9"] * 30, "ok"),
        (["127.0.0.1"] * 30, "ok"),
        ([f"10.0.0.{number}" for number in range(30)], "ok"),
    ],
    ids=["a proxy", "too few", "public", "this machine", "many"],
)
def test_calls_that_all_come_from_one_private_address(shell: Any, addresses: list[str], state: str) -> None:
    now_us = SystemClock().now_us()
    put(shell.home.lake, "one", [Event(ts=now_us, src_ip=address) for address in addresses])
    assert states(shell)["client addresses"] == state
