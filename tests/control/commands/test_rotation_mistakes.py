"""What people do wrong while a rotation is under way, and what does not open."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from jackstop.errors import UserError
from jackstop.settings import Home
from jackstop.store import tables
from jackstop.store.engine import Store
from tests.control.rotation_bench import ADMIN, FRESH, OLD, STANDBY, RotationDesk


@pytest.fixture
def desk(store: Store, home: Home) -> RotationDesk:
    made = RotationDesk(store, home)
    made.rules(watch_s=0, wait_s=0)
    made.kept()
    made.kept("other", "anthropic", provider="anthropic")
    return made


# -- which key ---------------------------------------------------------------------------------------------------


def test_an_id_that_is_put_right_counts_for_what_is_under_way(desk: RotationDesk) -> None:
    desk.run("credential rotate", name="main")
    note = desk.one()
    desk.run("administration link", name="main", provider_key_id="key_right")
    desk.record(note, detail={"old_id": "key_old", "known": ["key_old", "key_right"]})
    again = desk.one()
    assert (again["step"], again["detail"]["old_id"]) == ("note", "key_right")
    desk.record(again, detail={"old_id": "key_right", "known": ["key_old", "key_right"]})
    assert desk.one()["step"] == "create"
    desk.run("administration link", name="main", provider_key_id="key_old")
    assert desk.until("create", note={})["detail"]["old_id"] == "key_old"


def test_once_the_new_key_is_in_use_the_old_one_cannot_be_renamed(desk: RotationDesk) -> None:
    desk.run("credential rotate", name="main")
    desk.until("watch", "main")
    with pytest.raises(UserError, match="key_old is being ended"):
        desk.run("administration link", name="main", provider_key_id="key_new")
    assert desk.fed().provider_key_id == "key_new"


def test_the_old_key_s_id_is_not_taken_for_the_new_one(desk: RotationDesk) -> None:
    with pytest.raises(UserError, match="id of the old key"):
        desk.run("credential rotate", name="main", secret=FRESH, provider_key_id="key_old")
    desk.run("credential rotate", name="other")
    desk.record(desk.one(), detail={"old_id": "key_old"})
    with pytest.raises(UserError, match="id of the old key"):
        desk.run("credential rotate", name="other", secret=FRESH, provider_key_id="key_old")
    desk.run("credential rotate", name="other", secret=FRESH, provider_key_id="key_new")


def test_a_standby_is_another_key(desk: RotationDesk) -> None:
    with pytest.raises(UserError, match="there already"):
        desk.run("administration standby", name="other", secret=OLD)
    with pytest.raises(UserError, match="id of the old key"):
        desk.run("administration standby", name="other", secret=STANDBY, provider_key_id="key_old")
    assert desk.rows(tables.standbys) == []


def test_a_credential_is_not_moved_while_it_is_worked_on(desk: RotationDesk) -> None:
    """What was written down are ids of keys there: `Key1` of another account is somebody else's."""
    desk.run("credential rotate", name="main")
    for where in ({"place": {"project": "proj_2"}}, {"administration": "anthropic"}, {"administration": ""}):
        with pytest.raises(UserError, match="worked on"):
            desk.run("administration link", name="main", **where)
    desk.run("administration add", name="newer", driver="openai", secret=ADMIN + "2")
    desk.run("administration link", name="main", administration="newer", place={"project": "proj_1"})
    assert desk.one()["admin"] == ADMIN + "2"
    more = {"project": "proj_1", "service_account": "sa_1"}
    assert desk.run("administration link", name="main", place=more)["place"] == more


# -- taken back --------------------------------------------------------------------------------------------------


def test_a_person_ends_the_waiting_for_an_old_key_that_nothing_says_is_dead(desk: RotationDesk) -> None:
    desk.run("credential contain", name="main")
    desk.record(desk.until("refused", "main"), "later", problem="the provider gave no answer about the old key")
    with pytest.raises(UserError, match="worked on"):
        desk.run("credential contain", name="main")
    desk.run("rotation cancel", name="main")
    assert (desk.latest()["state"], desk.latest()["problem"]) == ("cancelled", "cancelled")
    assert all(not row["old"] and not row["fresh"] for row in desk.rows(tables.rotations))
    desk.run("credential contain", name="main")


def test_a_standby_is_deposited_again_after_a_containment_came_between(desk: RotationDesk) -> None:
    desk.run("administration standby", name="other", secret=STANDBY)
    desk.run("credential rotate", name="other")
    desk.until("verify", "other")
    desk.run("credential contain", name="other")
    desk.run("rotation cancel", name="other")
    assert len(desk.rows(tables.standbys)) == 1


# -- what does not open, and what is said ------------------------------------------------------------------------


def test_a_secret_that_does_not_open_holds_up_no_other(desk: RotationDesk) -> None:
    table = tables.credentials
    with desk.store.begin() as conn:
        foreign = conn.execute(select(table.c.secret).where(table.c.name == "main")).scalar_one()
        conn.execute(update(table).where(table.c.name == "other").values(secret=foreign))
    desk.run("credential contain", name="other")
    desk.run("credential contain", name="main")
    assert desk.until("verify", "main")["fresh"] == FRESH
    for _ in range(5):
        desk.clock.advance(30)
        desk.take("main")
    assert desk.latest("other")["attempts"] > 1
    assert desk.latest("other")["problem"]
    assert desk.detections() == ["rotation_failing"]


def test_a_key_that_was_brought_and_refused_is_asked_for_aloud(desk: RotationDesk) -> None:
    desk.run("credential rotate", name="other")
    desk.record(desk.one(), detail={"old_id": "key_old", "known": ["key_old"]})
    assert desk.take() == []
    before = len(desk.news())
    desk.run("credential rotate", name="other", secret=FRESH)
    desk.record(desk.one(), "refused", problem="the provider refuses the new secret")
    assert desk.take() == []
    assert desk.detections() == ["key_needed"] * 2
    assert len(desk.news()) == before + 1
