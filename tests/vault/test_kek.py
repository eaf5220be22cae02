from __future__ import annotations

import base64
import os

import pytest

from jackstop.errors import UserError
from jackstop.secret import Secret
from jackstop.settings import Home, Settings, VaultSettings
from jackstop.vault.envelope import kek_id
from jackstop.vault.kek import EnvironmentKek, FileKek, backend, open_vault

FIRST = base64.b64encode(bytes(range(32))).decode()
SECOND = base64.b64encode(bytes(range(32, 64))).decode()


def test_a_file_is_made_once_and_for_its_owner_alone(home: Home) -> None:
    kek = FileKek(home.kek)
    kek.create()
    first = kek.load()
    kek.create()
    assert kek.load() == first
    assert len(first) == 1
    assert home.kek.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o610])
def test_a_file_that_others_can_reach_is_refused_with_the_remedy(home: Home, mode: int) -> None:
    kek = FileKek(home.kek)
    kek.create()
    home.kek.chmod(mode)
    with pytest.raises(UserError, match="can be read by others") as caught:
        kek.load()
    assert caught.value.remedy == f"run: chmod 600 {home.kek}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(home: Home) -> None:
    kek = FileKek(home.kek)
    kek.create()
    os.chown(home.kek, 12345, -1)
    with pytest.raises(UserError, match="another user"):
        kek.load()


def test_a_missing_file_is_named(home: Home) -> None:
    with pytest.raises(UserError, match=str(home.kek)):
        FileKek(home.kek).load()


@pytest.mark.parametrize("content", ["", "not base64!", base64.b64encode(b"short").decode(), f"{FIRST}\nx"])
def test_a_file_without_keys_is_refused_and_not_quoted(home: Home, content: str) -> None:
    home.kek.write_text(content)
    home.kek.chmod(0o600)
    with pytest.raises(UserError) as caught:
        FileKek(home.kek).load()
    assert FIRST not in caught.value.problem + caught.value.remedy


def test_a_rotation_keeps_the_old_key_until_it_is_over(home: Home) -> None:
    kek = FileKek(home.kek)
    kek.create()
    old = kek.load()
    both = kek.add()
    assert kek.load() == both
    assert both[:1] == old
    assert kek.keep_current() == ""
    assert kek.load() == both[1:]
    assert home.kek.stat().st_mode & 0o777 == 0o600


def test_a_half_written_new_file_of_a_killed_process_is_no_obstacle(home: Home) -> None:
    kek = FileKek(home.kek)
    kek.create()
    home.kek.with_name("kek.new").write_bytes(b"half")
    assert len(kek.add()) == 2


def test_the_environment_holds_keys_the_last_of_them_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_KEK", f"{FIRST}, {SECOND}")
    assert EnvironmentKek().load() == [Secret(bytes(range(32))), Secret(bytes(range(32, 64)))]


def test_the_environment_without_a_key_says_how_to_make_one() -> None:
    with pytest.raises(UserError, match="JACKSTOP_KEK") as caught:
        EnvironmentKek().load()
    assert "base64" in caught.value.remedy


def test_a_rotation_in_the_environment_needs_both_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKSTOP_KEK", FIRST)
    with pytest.raises(UserError, match="old and the new"):
        EnvironmentKek().add()
    monkeypatch.setenv("JACKSTOP_KEK", f"{FIRST},{SECOND}")
    assert len(EnvironmentKek().add()) == 2
    assert "JACKSTOP_KEK" in EnvironmentKek().keep_current()


def test_the_settings_choose(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home.root / "elsewhere"
    FileKek(elsewhere).create()
    by_path = Settings(vault=VaultSettings(key_file=str(elsewhere)))
    assert backend(by_path, home).load() == FileKek(elsewhere).load()
    monkeypatch.setenv("JACKSTOP_KEK", FIRST)
    by_environment = Settings(vault=VaultSettings(backend="env"))
    assert open_vault(by_environment, home).current_kek_id == kek_id(Secret(bytes(range(32)))).hex()
