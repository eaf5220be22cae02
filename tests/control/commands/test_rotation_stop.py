"""A containment that cannot wait: for a rotation that is nearly done, or for a key that does not come."""

from __future__ import annotations

import pytest

from jackstop.errors import UserError
from jackstop.settings import Home
from jackstop.store import tables
from jackstop.store.engine import Store
from tests.control.rotation_bench import RotationDesk


@pytest.fixture
def kept(store: Store, home: Home) -> RotationDesk:
    made = RotationDesk(store, home)
    made.rules(watch_s=0, wait_s=0)
    made.kept()
    return made


def test_a_rotation_that_only_waits_for_the_old_keys_end_gives_way_to_a_containment(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.until("refused")
    done = kept.run("credential contain", name="main", reason="seen on a forum")
    assert (done["rotation"]["act"], done["rotation"]["step"]) == ("contain", "note")
    first, then = kept.rows(tables.rotations)
    assert first["state"] == "cancelled"
    assert then["detail"]["old_id"] == "key_new"
    kept.finish()
    assert kept.rows(tables.rotations)[-1]["state"] == "done"


def test_what_must_stop_now_is_stopped_in_the_command_itself(kept: RotationDesk) -> None:
    kept.run("credential contain", name="main", now=True)
    assert kept.fed().state == "contained"
    assert kept.latest()["step"] == "note"


def test_a_containment_that_gets_no_new_key_can_be_made_an_outage(kept: RotationDesk) -> None:
    kept.run("credential contain", name="main")
    kept.record(kept.until("create"), "failed", problem="no room for another key")
    assert kept.fed().state == "active"
    kept.run("credential contain", name="main", now=True)
    assert kept.fed().state == "contained"
    assert "ask" in kept.latest()["steps"]
    with pytest.raises(UserError, match="worked on already"):
        kept.run("credential contain", name="main")
