"""`jackstop reconcile` with control stopped: what was read before, compared with the books now."""

from __future__ import annotations

import json

import pytest

from jackstop.cli import reconcile
from jackstop.cli.main import main
from jackstop.clock import ManualClock

MINUTE = 60


@pytest.fixture
def shown(request, monkeypatch, capsys):
    """Runs the command in an office's home, at its time: status, and what it printed."""

    def run(office, *words):
        if office.store.engine.dialect.name != "sqlite":
            pytest.skip("the command line finds its database by the home")
        monkeypatch.setenv("JACKSTOP_HOME", str(office.bench.home.root))
        monkeypatch.setattr(reconcile, "SystemClock", lambda: ManualClock(office.bench.clock.now_us()))
        status = main(["reconcile", *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_theft_is_shown_and_can_fail_a_check(office, shown):
    office.call(through_gate=True, count=10)
    office.pass_time(10 * MINUTE)
    office.call(through_gate=False, count=20)
    office.pass_time(5 * MINUTE)
    office.poll()
    status, out, _ = shown(office)
    assert status == 0
    assert out.splitlines()[1].split()[:2] == ["main", "exclusive"]
    assert "of gpt-4o beyond the gate" in out
    assert shown(office, "--fail-on", "over")[0] == 1
    assert shown(office, "--fail-on", "over", "--provider", "anthropic")[0] == 0


def test_json_has_both_sides_of_each_credential(shared, shown):
    shared.call(through_gate=True, count=3)
    shared.call(through_gate=False)
    shared.pass_time(10 * MINUTE)
    shared.poll()
    found = json.loads(shown(shared, "--json")[1])
    (row,) = found["credentials"]
    assert (row["credential"], row["provider"], row["progress"]) == ("main", "openai", 75)
    assert row["could_hide_nusd"] == row["upper_nusd"] - row["lower_nusd"]
    assert {(each["administration"], each["kind"]) for each in found["readings"]} == {
        ("office", "usage"),
        ("office", "costs"),
    }
    earlier = json.loads(shown(shared, "--json", "--since", "2020-01-01")[1])
    assert earlier["credentials"][0]["reported_nusd"] == row["reported_nusd"]


def test_what_could_not_be_read_and_whose_key_is_unknown_is_said(office, shown):
    office.bench.run("reconcile read", administration="office", kind="usage", problem="it may not")
    with office.store.begin() as conn:
        conn.exec_driver_sql("UPDATE credentials SET provider_key_id = ''")
    office.pass_time(2 * MINUTE)
    _, out, err = shown(office)
    assert "usage of office: it may not" in out
    assert "jackstop credential link main --provider-key-id ID" in out
    assert "the worker has not read it" in err
