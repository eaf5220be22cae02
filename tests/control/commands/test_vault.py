from __future__ import annotations

from typing import Any

import pytest

from jackstop.keys.policy import CredentialRow
from jackstop.store.feed import Feed
from jackstop.vault.credentials import load_pepper
from jackstop.vault.envelope import Vault
from jackstop.vault.kek import FileKek, open_vault
from tests.control.command_bench import Bench

COUNT = 3


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def secrets(bench: Bench) -> list[bytes]:
    """What a control that starts now would give the gates."""
    vault = open_vault(bench.settings, bench.home)
    with bench.store.begin() as conn:
        rows = Feed(vault, bench.settings).rows_since(conn, 0)[1]
        load_pepper(conn, vault)
    return sorted(row.secret for row in rows if isinstance(row, CredentialRow))


@pytest.fixture
def filled(bench: Bench) -> Bench:
    for number in range(COUNT):
        bench.credential(f"c{number}", secret=f"sk-{number}")
    bench.credential("old", secret="sk-old")
    bench.run("credential retire", name="old")
    return bench


def expected() -> list[bytes]:
    return sorted([b"", *(f"sk-{number}".encode() for number in range(COUNT))])


def test_everything_opens_under_the_new_key_alone(filled: Bench) -> None:
    before = FileKek(filled.home.kek).load()
    done = filled.run("vault rotate-kek")
    after = FileKek(filled.home.kek).load()
    assert len(after) == 1
    assert after != before
    assert done["rewrapped"] == COUNT + 1
    assert secrets(filled) == expected()
    assert filled.vault.current_kek_id == done["kek"]


def test_what_is_sealed_after_a_rotation_opens_later(filled: Bench) -> None:
    filled.run("vault rotate-kek")
    filled.credential("late", secret="sk-late")
    assert b"sk-late" in secrets(filled)


@pytest.mark.parametrize("call", range(COUNT + 3))
def test_killed_anywhere_both_keys_are_usable_and_the_next_run_ends_it(
    filled: Bench, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = FileKek(filled.home.kek).load()
    calls = 0

    def counted(original: Any) -> Any:
        def act(*args: Any) -> Any:
            nonlocal calls
            if calls == call:
                raise Killed
            calls += 1
            return original(*args)

        return act

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "rewrap", counted(Vault.rewrap))
        patch.setattr(FileKek, "keep_current", counted(FileKek.keep_current))
        patch.setattr(FileKek, "add", counted(FileKek.add))
        with pytest.raises(Killed):
            filled.run("vault rotate-kek")
    assert secrets(filled) == expected()
    assert old[0] in FileKek(filled.home.kek).load()
    filled.vault = open_vault(filled.settings, filled.home)
    filled.run("vault rotate-kek")
    assert secrets(filled) == expected()
    assert len(FileKek(filled.home.kek).load()) == 1
    assert old[0] not in FileKek(filled.home.kek).load()
