"""Rotations by schedule, and where their secrets are."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from jackstop.errors import UserError
from jackstop.rotation import schedule
from jackstop.rotation.task import Outcome, Task
from jackstop.settings import Home, RotationSettings
from jackstop.store import tables
from jackstop.store.engine import Store
from jackstop.vault.credentials import unseal_administration, unseal_credential
from jackstop.vault.kek import open_vault
from tests.control.rotation_bench import ADMIN, FRESH, OLD, SECRETS, STANDBY, RotationDesk

DAY_S = 86_400
QUICK = {"watch_s": 0, "wait_s": 0}


@pytest.fixture
def desk(store: Store, home: Home) -> RotationDesk:
    made = RotationDesk(store, home)
    made.rules(**QUICK)
    return made


@pytest.fixture
def kept(desk: RotationDesk) -> RotationDesk:
    desk.kept()
    return desk


# -- by schedule ------------------------------------------------------------------------------------------------


def test_by_schedule_every_credential_has_its_own_day(desk: RotationDesk) -> None:
    for number in range(20):
        desk.kept(f"c{number}")
    begun: dict[str, int] = {}
    for day in range(32):
        for task in desk.take(*begun):
            begun[task["credential"]] = day
        desk.clock.advance(DAY_S)
    assert len(begun) == 20
    assert 27 <= min(begun.values()) <= max(begun.values()) <= 30
    assert len(set(begun.values())) > 1
    assert {row["cause"] for row in desk.rows(tables.rotations)} == {"schedule"}


def test_a_schedule_of_its_own_or_never(desk: RotationDesk) -> None:
    for name in ("never", "weekly"):
        desk.kept(name)
    desk.kept("assisted", "anthropic", provider="anthropic")
    desk.run("administration link", name="never", every="never")
    desk.run("administration link", name="weekly", every="7d")
    desk.clock.advance(7 * DAY_S)
    assert [task["credential"] for task in desk.take()] == ["weekly"]
    desk.finish()
    assert desk.take() == []
    desk.clock.advance(300 * DAY_S)
    assert [task["credential"] for task in desk.take()] == ["weekly"]


def test_a_rotation_by_hand_counts_for_the_schedule(kept: RotationDesk) -> None:
    kept.clock.advance(20 * DAY_S)
    kept.run("credential rotate", name="main")
    kept.finish()
    kept.clock.advance(20 * DAY_S)
    assert kept.take() == []


@pytest.mark.parametrize("wrong", [{"every": "soon"}, {"expires": "1x"}, {"every": "30d", "expires": "20d"}], ids=str)
def test_settings_that_could_not_be_followed_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError):
        schedule.check(RotationSettings(**wrong))
    schedule.check(RotationSettings(expires="45d"))
    schedule.check(RotationSettings(every="never", expires="20d"))


def test_keys_are_asked_to_end_by_themselves_where_that_is_set(kept: RotationDesk) -> None:
    kept.rules(**QUICK, expires="45d")
    kept.run("credential rotate", name="main")
    assert kept.until("create")["expires_s"] == 45 * DAY_S


@pytest.mark.parametrize("every", ["never", "45d", "90d"])
def test_a_key_that_is_not_rotated_in_time_does_not_end_by_itself(kept: RotationDesk, every: str) -> None:
    kept.rules(**QUICK, expires="45d")
    kept.run("administration link", name="main", every=every)
    kept.run("credential rotate", name="main")
    assert kept.until("create")["expires_s"] is None


# -- secrets ----------------------------------------------------------------------------------------------------


def test_no_secret_is_anywhere_that_people_or_files_keep(kept: RotationDesk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    kept.kept("other", "anthropic", provider="anthropic")
    kept.run("administration standby", name="other", secret=STANDBY)
    for name in ("main", "other"):
        kept.run("credential contain", name=name)
    seen, failed = [], set()
    for round_ in range(60):
        if not round_ % 6:
            seen.append(kept.everything())
        for task in kept.take():
            more = {"fresh": FRESH, "detail": {"new_id": "key_new"}} if task["step"] == "create" else {}
            which = (task["credential"], task["step"])
            kept.record(task, **(more if which in failed else {"ending": "failed", "problem": "it takes too long"}))
            failed.add(which)
        kept.clock.advance(2)
    assert {row["state"] for row in kept.rows(tables.rotations)} == {"done"}
    files = b"".join(path.read_bytes() for path in kept.home.root.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret not in "".join(seen)
        assert secret not in caplog.text
        assert secret.encode() not in files


def test_a_task_and_an_outcome_are_shown_without_their_secrets(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    task = msgspec.convert(kept.one(), Task)
    assert OLD not in repr(task) + str(task)
    assert FRESH not in repr(Outcome("done", fresh=FRESH))


def test_everything_is_sealed_anew_with_the_vault(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.until("verify")
    kept.kept("other")
    kept.run("credential rotate", name="other")
    kept.until("watch", "other")
    kept.run("administration standby", name="main", secret=STANDBY)
    done = kept.run("vault rotate-kek")
    assert (
        done["rewrapped"] == 7
    )  # the pepper, two credentials, an administration, a standby, a fresh and an old secret
    vault = open_vault(kept.settings, kept.home)
    with kept.store.begin() as conn:
        rows = {row.name: row for row in conn.execute(select(tables.credentials))}
        (admin,) = conn.execute(select(tables.administrations)).all()
        (standby,) = conn.execute(select(tables.standbys)).all()
        rotations = {row.credential: row for row in conn.execute(select(tables.rotations))}
    assert unseal_administration(vault, admin).reveal() == ADMIN.encode()

    def opened(name: str, blob: Any) -> bytes:
        return unseal_credential(vault, name, rows[name].provider, rows[name].base_url, blob).reveal()

    assert opened("main", standby.secret) == STANDBY.encode()
    assert opened("main", rotations["main"].fresh) == FRESH.encode()
    assert opened("other", rotations["other"].old) == OLD.encode()
    kept.vault = vault
    kept.clock.advance(91)
    assert {task["credential"] for task in kept.take()} == {"main", "other"}
