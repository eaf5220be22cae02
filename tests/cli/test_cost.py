from __future__ import annotations

from tests.cli.conftest import Shell


def test_a_digest_is_printed_for_any_day(shell: Shell) -> None:
    ran = shell.ok("cost", "digest", "--day", "2026-11-22")
    assert ran.out.startswith("Spent on 2026-11-22 (UTC, at list price): 0.00 USD, as the day before\n")
    made = shell.ok("cost", "digest", "--json").json
    assert made["spend"]["nusd"] == 0
    assert made["state"]["open_cases"] == 0


def test_a_day_is_written_as_one(shell: Shell) -> None:
    for text in ("7d", "yesterday", "2026-11-22T10:00:00Z", "2026-13-01"):
        ran = shell("cost", "digest", "--day", text)
        assert (ran.status, "2026-11-2" in ran.err) == (2, True)


def test_without_alerts_the_list_is_empty(shell: Shell) -> None:
    assert shell.ok("cost", "alerts", "--json").json == []
    assert "no cost alert" in shell.ok("cost", "alerts").out
