from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Shell

ADMIN = "sk-admin-4f0c1d9b"
SECRET = "sk-upstream-77aa01"
STANDBY = "sk-standby-5b1e22"


@pytest.fixture
def kept(shell: Shell) -> Shell:
    """An installation with a credential that is kept at an administration."""
    shell.ok("credential", "add", "main", "--provider", "openai", "--provider-key-id", "key_1", stdin=SECRET)
    shell.ok("administration", "add", "openai", "--driver", "openai", stdin=ADMIN)
    shell.ok("credential", "link", "main", "--administration", "openai", "--place", "project=proj_1")
    return shell


def test_administrations_are_added_listed_and_removed(kept: Shell) -> None:
    out = kept.ok("administration", "list").out
    assert "openai" in out
    assert ADMIN not in out
    (row,) = kept.ok("administration", "list", "--json").json
    assert (row["name"], row["driver"], row["base_url"]) == ("openai", "openai", "https://api.openai.com/v1")
    said = kept("administration", "remove", "openai")
    assert (said.status, "is used by main" in said.err) == (2, True)
    kept.ok("credential", "retire", "main")
    assert "end its key at the provider" in kept.ok("administration", "remove", "openai").out
    assert "no administrations" in kept.ok("administration", "list").out


def test_what_is_missing_is_asked_for_by_name(kept: Shell) -> None:
    said = kept("administration", "add", "azure", "--driver", "azure", stdin=ADMIN)
    assert said.status == 2
    assert "needs tenant" in said.err
    said = kept("administration", "add", "other", "--driver", "openai", "--option", "colour=red", stdin=ADMIN)
    assert "has no option 'colour'" in said.err
    said = kept("credential", "link", "main", "--administration", "openai", "--place", "town=x")
    assert "has no option 'town'" in said.err
    said = kept("administration", "add", "nobody", "--driver", "nobody", stdin=ADMIN)
    assert "use one of" in said.err


def test_every_driver_says_what_it_needs(kept: Shell) -> None:
    rows = kept.ok("administration", "drivers", "--json").json
    assert {row["driver"]: row["kind"] for row in rows}["azure"] == "two_slot"
    assert all(row["permission"] for row in rows if row["verbs"])
    assert "create delete list" in " ".join(kept.ok("administration", "drivers").out.split())


def test_a_plan_is_printed_and_nothing_done(kept: Shell) -> None:
    out = kept.ok("credential", "rotate", "main", "--plan").out
    assert out.startswith("to rotate main:\n  1. write down which keys are there\n  2. make a new key\n")
    out = kept.ok("credential", "rotate", "main", "--by-hand", "--plan").out
    assert "2. test the new key" in out
    made = kept.ok("credential", "contain", "main", "--plan", "--json").json
    assert (made["act"], made["outage"]) == ("contain", False)
    assert "no rotations" in kept.ok("credential", "rotations", "main").out


def test_a_rotation_is_begun_shown_and_cancelled(kept: Shell) -> None:
    out = kept.ok("credential", "rotate", "main", "--reason", "new year").out
    assert "credential main: rotate begun, step note" in out
    (row,) = kept.ok("credential", "rotations", "--json").json
    assert (row["state"], row["step"], row["cause"], row["reason"]) == ("running", "note", "hand", "new year")
    listed = kept.ok("credential", "rotations", "main").out
    assert "hand new year" in listed
    said = kept("credential", "retire", "main")
    assert "credential cancel main" in said.err
    assert "is cancelled" in kept.ok("credential", "cancel", "main").out


def test_a_secret_of_ones_own_and_a_standby_come_on_standard_input(kept: Shell) -> None:
    kept.ok("credential", "standby", "main", "--provider-key-id", "key_2", stdin=STANDBY)
    kept.ok("credential", "rotate", "main", "--by-hand", stdin="sk-brought-11")
    (row,) = kept.ok("credential", "rotations", "--json").json
    assert "create" not in row["steps"]
    assert "contain begun" in kept.ok("credential", "contain", "main").out


def test_no_secret_is_in_a_file(kept: Shell) -> None:
    kept.ok("credential", "standby", "main", stdin=STANDBY)
    kept.ok("credential", "rotate", "main")
    contents = b"".join(path.read_bytes() for path in kept.home.root.rglob("*") if path.is_file())
    for secret in (ADMIN, SECRET, STANDBY):
        assert secret.encode() not in contents


def test_a_google_key_file_is_taken_as_it_is(kept: Shell) -> None:
    file = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMII\n"}, indent=2)
    kept.ok("administration", "add", "google", "--driver", "google", stdin=file)
    said = kept("administration", "add", "google2", "--driver", "google", stdin='{"type": "service_account", "pri')
    assert (said.status, "not JSON" in said.err) == (2, True)
    assert "service_account" not in said.err
