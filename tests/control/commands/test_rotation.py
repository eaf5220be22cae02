from __future__ import annotations

import pytest

from jackstop.errors import UserError
from jackstop.settings import Home
from jackstop.store import tables
from jackstop.store.engine import Store
from tests.control.rotation_bench import ADMIN, FRESH, OLD, STANDBY, RotationDesk, Running, S

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


@pytest.fixture
def assisted(desk: RotationDesk) -> RotationDesk:
    desk.kept(driver="anthropic", provider="anthropic")
    return desk


def secrets_of(desk: RotationDesk) -> tuple[str, str, str]:
    """What the only rotation keeps: state, and whether it has a fresh and an old secret."""
    (row,) = desk.rows(tables.rotations)
    return row["state"], bool(row["fresh"]), bool(row["old"])


# -- a rotation from begin to end -------------------------------------------------------------------------------


def test_a_rotation_is_written_down_and_done_step_by_step(kept: RotationDesk) -> None:
    begun = kept.run("credential rotate", name="main", reason="new year")
    assert " ".join(begun["rotation"]["steps"]) == "note create verify switch drain watch delete refused"
    assert begun["rotation"]["step"] == "note"
    task = kept.one()
    assert (task["step"], task["old"], task["admin"], task["again"]) == ("note", OLD, ADMIN, False)
    assert (task["driver"], task["place"]) == ("openai", {"project": "proj_1"})
    kept.record(task, detail={"old_id": "key_old", "known": ["key_old"]})
    create = kept.one()
    assert create["step"] == "create"
    kept.record(create, fresh=FRESH, detail={"new_id": "key_new"})
    verify = kept.one()
    assert (verify["step"], verify["fresh"], verify["old"]) == ("verify", FRESH, OLD)
    assert kept.fed().secret == OLD.encode()
    kept.record(verify)
    watch = kept.until("watch")
    assert (watch["step"], watch["old"]) == ("watch", OLD)
    assert (kept.fed().secret, kept.fed().provider_key_id) == (FRESH.encode(), "key_new")
    kept.record(watch)
    delete = kept.one()
    assert (delete["detail"]["old_id"], delete["detail"]["new_id"]) == ("key_old", "key_new")
    kept.record(delete)
    kept.record(kept.one())
    assert kept.latest()["state"] == "done"
    assert secrets_of(kept) == ("done", False, False)
    assert kept.take() == []
    begun_and_done = ["admin:rotation:begin", "admin:credential:rotate", "system:rotation:end"]
    assert [tag for tag in kept.tags() if "rotat" in tag] == begun_and_done
    assert kept.run("credential list")["rows"][0]["rotated_us"] is not None


def test_a_plan_is_shown_without_being_done(kept: RotationDesk) -> None:
    shown = kept.run("rotation plan", name="main", act="contain")
    assert (shown["driver"], shown["outage"], shown["by_person"]) == ("openai", False, False)
    assert "make a new key" in shown["words"][1]
    assert kept.rows(tables.rotations) == []
    with pytest.raises(UserError, match="no act"):
        kept.run("rotation plan", name="main", act="destroy")


def test_without_an_administration_the_plan_says_what_the_commands_do(desk: RotationDesk) -> None:
    desk.credential(secret=OLD)
    assert desk.run("rotation plan", name="main", act="contain")["steps"] == ["stop"]
    assert desk.run("rotation plan", name="main", act="rotate")["steps"] == ["switch"]
    desk.run("administration standby", name="main", secret=STANDBY)
    assert desk.run("rotation plan", name="main", act="contain")["steps"][0] == "standby"
    done = desk.run("credential contain", name="main")
    assert done["rotation"]["step"] == "standby"
    desk.finish()
    assert (desk.fed().secret, desk.fed().state) == (STANDBY.encode(), "active")


def test_one_at_a_time_for_each_credential_and_different_ones_beside_each_other(kept: RotationDesk) -> None:
    kept.kept("other")
    kept.run("credential rotate", name="main")
    with pytest.raises(UserError, match="worked on already: rotate, step note"):
        kept.run("credential rotate", name="main")
    kept.run("credential rotate", name="other")
    assert sorted(task["credential"] for task in kept.take()) == ["main", "other"]
    for command in ("credential retire", "credential rotate"):
        with pytest.raises(UserError, match="worked on"):
            kept.run(command, name="main", secret=FRESH, base_url="https://eu.api.openai.com")


# -- workers ----------------------------------------------------------------------------------------------------


def test_a_step_is_given_to_one_worker_until_its_time_is_over(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    task = kept.one()
    assert kept.take("main") == []
    assert kept.take(worker="w2") == []
    kept.clock.advance(91)
    (again,) = kept.take(worker="w2")
    assert again["again"]
    assert not task["again"]
    kept.record(task, detail={"old_id": "key_wrong"})
    assert kept.latest()["step"] == "note"
    kept.record(again, detail={"old_id": "key_old"})
    assert (kept.latest()["step"], kept.latest()["old_id"]) == ("create", "key_old")


def test_what_a_worker_never_got_it_is_given_again(kept: RotationDesk) -> None:
    """Control was killed before it had answered."""
    kept.run("credential rotate", name="main")
    lost = kept.one()
    found = kept.one()
    assert (found["step"], found["again"]) == (lost["step"], True)


def test_a_new_worker_begins_with_what_the_one_before_had(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.one()
    kept.run("rotation start")
    (task,) = kept.take(worker="w2")
    assert task["again"]


def test_an_outcome_counts_once(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    create = kept.until("create")
    kept.record(create, fresh=FRESH, detail={"new_id": "key_new"})
    kept.record(create, fresh="sk-of-a-repeat", detail={"new_id": "key_repeat"})
    assert (kept.latest()["step"], kept.latest()["new_id"]) == ("verify", "key_new")
    assert kept.one()["fresh"] == FRESH
    kept.run("rotation record", id=99, step="note", number=1, outcome={"ending": "done"})
    with pytest.raises(UserError, match="no outcome"):
        kept.run("rotation record", id=1, step="verify", number=1, outcome={"ending": "perhaps"})


# -- the new secret ---------------------------------------------------------------------------------------------


def test_a_made_secret_that_is_refused_is_made_again_and_people_hear_of_it(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.record(kept.until("verify"), "refused", problem="the provider refuses the new secret")
    create = kept.one()
    assert (create["step"], create["again"], create["fresh"]) == ("create", True, "")
    assert kept.latest()["new_id"] is None
    assert kept.detections() == ["rotation_failing"]
    assert kept.fed().secret == OLD.encode()


def test_a_person_is_asked_once_and_brings_the_secret(assisted: RotationDesk) -> None:
    assisted.run("credential rotate", name="main")
    assisted.record(assisted.one(), detail={"old_id": "key_old", "known": ["key_old"]})
    for _ in range(3):
        assert assisted.take() == []
        assisted.clock.advance(6)
    assert assisted.detections() == ["key_needed"]
    assert assisted.latest()["problem"] == "a person has to bring a new key"
    with pytest.raises(UserError, match="there already"):
        assisted.run("credential rotate", name="main", secret=OLD)
    done = assisted.run("credential rotate", name="main", secret=FRESH, provider_key_id="key_new")
    assert done["rotation"]["new_id"] == "key_new"
    verify = assisted.one()
    assert (verify["step"], verify["fresh"]) == ("verify", FRESH)
    assisted.record(verify, "refused", problem="the provider refuses the new secret")
    assert assisted.take() == []
    assisted.run("credential rotate", name="main", secret=FRESH + "2")
    assisted.finish()
    assert assisted.fed().secret == FRESH.encode() + b"2"
    assert "admin:rotation:answer" in assisted.tags()


def test_a_secret_that_a_person_brings_at_once_is_tested_first(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main", secret=FRESH, provider_key_id="key_mine")
    assert " ".join(kept.latest()["steps"]) == "note verify switch drain watch delete refused"
    kept.finish()
    assert (kept.fed().secret, kept.fed().provider_key_id) == (FRESH.encode(), "key_mine")


def test_a_standby_takes_over_and_is_used_up(assisted: RotationDesk) -> None:
    assisted.run("administration standby", name="main", secret=STANDBY, provider_key_id="key_standby")
    assert not assisted.run("rotation plan", name="main", act="contain")["outage"]
    assisted.run("credential contain", name="main")
    assisted.finish()
    assert (assisted.fed().secret, assisted.fed().state) == (STANDBY.encode(), "active")
    assert assisted.fed().provider_key_id == "key_standby"
    assert assisted.rows(tables.standbys) == []
    assert assisted.run("rotation plan", name="main", act="contain")["outage"]


def test_a_standby_that_does_not_work_is_no_dead_end(assisted: RotationDesk) -> None:
    assisted.run("administration standby", name="main", secret=STANDBY)
    assisted.run("credential contain", name="main")
    assisted.record(assisted.until("verify"), "refused", problem="the provider refuses the new secret")
    assert assisted.take() == []
    assert assisted.latest()["step"] == "ask"
    assisted.run("credential rotate", name="main", secret=FRESH)
    assisted.finish()
    assert assisted.fed().secret == FRESH.encode()


def test_containing_without_a_second_key_stops_first_and_goes_on_with_the_key_that_a_person_brings(
    assisted: RotationDesk,
) -> None:
    assisted.run("credential contain", name="main", reason="stolen")
    disable = assisted.until("disable")
    assert (assisted.fed().state, assisted.fed().secret) == ("contained", b"")
    assert disable["old"] == OLD
    for _ in range(3):  # disable, delete, refused
        assisted.record(disable)
        disable = (assisted.take() or [disable])[0]
    assert assisted.latest()["step"] == "ask"
    assert assisted.detections() == ["key_needed"]
    assisted.run("credential rotate", name="main", secret=FRESH)
    assisted.record(assisted.one())
    assert assisted.take() == []
    assert assisted.latest()["state"] == "done"
    assert (assisted.fed().state, assisted.fed().secret) == ("active", FRESH.encode())


# -- taken back, and made haste ---------------------------------------------------------------------------------


def test_cancelled_before_anything_was_made_it_ends(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    task = kept.one()
    assert kept.run("rotation cancel", name="main", reason="not today")["state"] == "cancelled"
    kept.record(task, detail={"old_id": "key_old"})
    assert kept.take() == []
    assert kept.latest()["problem"] == "not today"
    with pytest.raises(UserError, match="nothing is under way"):
        kept.run("rotation cancel", name="main")
    kept.run("credential rotate", name="main")


def test_cancelled_after_a_key_was_made_that_key_is_deleted_first(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    verify = kept.until("verify")
    assert kept.run("rotation cancel", name="main")["step"] == "discard"
    assert kept.take("main") == []
    kept.record(verify)
    discard = kept.one()
    assert (discard["step"], discard["fresh"], discard["detail"]["old_id"]) == ("discard", "", "key_old")
    kept.record(discard)
    assert secrets_of(kept) == ("cancelled", False, False)
    assert kept.fed().secret == OLD.encode()


def test_cancelled_a_standby_is_deposited_again(assisted: RotationDesk) -> None:
    assisted.run("administration standby", name="main", secret=STANDBY, provider_key_id="key_standby")
    assisted.run("credential rotate", name="main")
    assisted.until("verify")
    assert assisted.rows(tables.standbys) == []
    assisted.run("rotation cancel", name="main")
    assisted.run("credential contain", name="main")
    assert assisted.until("verify")["fresh"] == STANDBY


def test_what_has_switched_is_not_cancelled(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.until("watch")
    with pytest.raises(UserError, match="uses its new key already"):
        kept.run("rotation cancel", name="main")


@pytest.mark.parametrize("at", ["note", "create", "verify", "watch", "delete"])
def test_a_rotation_becomes_a_containment_wherever_it_stands(kept: RotationDesk, at: str) -> None:
    kept.run("credential rotate", name="main")
    task = kept.until(at)
    done = kept.run("credential contain", name="main", reason="seen on a forum")
    assert (done["rotation"]["act"], done["rotation"]["reason"]) == ("contain", "seen on a forum")
    kept.record(task, detail={"old_id": "key_old", "new_id": "key_new"}, fresh=FRESH if at == "create" else "")
    kept.finish()
    (first, *following) = kept.rows(tables.rotations)
    assert first["state"] == "done"
    assert kept.fed().secret == FRESH.encode()
    # The key that is said to be stolen is the one in use: where that is the new one already, it is its turn next.
    assert len(following) == (at in {"watch", "delete"})
    assert kept.tags().count("admin:rotation:begin") == 2
    for then in following:
        assert (then["act"], then["reason"], then["state"]) == ("contain", "seen on a forum", "running")
        assert then["detail"]["old_id"] == "key_new"
        kept.finish()
    assert kept.run("credential contain", name="main")["rotation"]["step"] == "note"
    with pytest.raises(UserError, match="worked on already"):
        kept.run("credential contain", name="main")


@pytest.mark.parametrize("standby", [True, False])
def test_a_rotation_that_waits_for_a_person_becomes_a_containment(assisted: RotationDesk, *, standby: bool) -> None:
    assisted.run("credential rotate", name="main")
    assisted.record(assisted.one(), detail={"old_id": "key_old", "known": ["key_old"]})
    assert assisted.take() == []
    if standby:
        assisted.run("administration standby", name="main", secret=STANDBY)
    assisted.run("credential contain", name="main")
    if standby:
        assert assisted.finish()["state"] == "done"
        assert assisted.fed().secret == STANDBY.encode()
    else:
        assert assisted.one()["step"] == "disable"
        assert assisted.fed().state == "contained"


def test_an_answer_that_was_not_tested_yet_serves_a_containment_too(assisted: RotationDesk) -> None:
    assisted.run("credential rotate", name="main")
    assisted.record(assisted.one(), detail={"old_id": "key_old", "known": ["key_old"]})
    assert assisted.take() == []
    assisted.run("credential rotate", name="main", secret=FRESH)
    assisted.run("credential contain", name="main")
    assert assisted.one()["step"] == "verify"
    assert assisted.finish()["state"] == "done"


# -- what is waited for -----------------------------------------------------------------------------------------


def test_an_old_key_is_kept_while_a_request_may_still_need_it(kept: RotationDesk) -> None:
    live = kept.live = Running()
    kept.run("credential rotate", name="main")
    kept.record(kept.until("verify"))
    begun_us = kept.clock.now_us()
    live.gates = [{"seq": 0}, {"seq": 10**9}]
    for _ in range(5):  # one of the gates has not been told
        assert kept.take() == []
        kept.clock.advance(1)
    assert kept.latest()["step"] == "drain"
    live.gates = [{"seq": 10**9}]
    live.under_way = [{"credential": "main", "ts_us": begun_us}, {"credential": "other", "ts_us": begun_us}]
    for _ in range(10):
        assert kept.take() == []
        kept.clock.advance(1)
    live.under_way = [{"credential": "main", "ts_us": kept.clock.now_us()}, live.under_way[1]]
    assert kept.one()["step"] == "watch"
    assert live.flushed > 10


def test_a_gate_is_given_a_moment_with_what_it_was_told(kept: RotationDesk) -> None:
    live = kept.live = Running()
    kept.run("credential rotate", name="main")
    kept.record(kept.until("verify"))
    live.gates = [{"seq": 10**9}]
    for _ in range(2):  # it is switched, and the gates have been told
        assert kept.take() == []
    live.under_way = [{"credential": "main", "ts_us": kept.clock.now_us() + S}]
    kept.clock.advance(2)
    assert kept.take() == []  # a request that began before the gate can be relied on
    live.under_way = []
    kept.clock.advance(1)
    assert kept.one()["step"] == "watch"


def test_a_request_without_end_does_not_keep_an_old_key_alive(kept: RotationDesk) -> None:
    kept.rules(**QUICK, drain_max_s=60)
    live = kept.live = Running()
    kept.run("credential rotate", name="main")
    kept.record(kept.until("verify"))
    live.gates, live.under_way = [{"seq": 10**9}], [{"credential": "main", "ts_us": kept.clock.now_us()}]
    assert kept.take() == []
    kept.clock.advance(57)
    assert kept.take() == []
    kept.clock.advance(3)
    assert kept.one()["step"] == "watch"


def test_nothing_is_looked_at_while_nothing_is_to_be_done(kept: RotationDesk) -> None:
    live = kept.live = Running()
    assert kept.take() == []
    kept.run("credential rotate", name="main")
    kept.until("verify")
    assert live.flushed == 0


def test_a_disabled_key_is_left_for_a_while(desk: RotationDesk) -> None:
    desk.rules(watch_s=0, wait_s=3_600)
    desk.kept(driver="openrouter")
    desk.run("credential rotate", name="main")
    desk.record(desk.until("disable"))
    assert desk.take() == []
    desk.clock.advance(3_599)
    assert desk.take() == []
    desk.clock.advance(1)
    assert desk.one()["step"] == "delete"


# -- what does not work -----------------------------------------------------------------------------------------


def test_a_step_that_keeps_failing_becomes_one_case_and_goes_on_once_it_is_mended(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    for attempt in range(1, 9):
        kept.record(kept.until("note"), "failed", problem="GET … was answered with HTTP 403")
        assert kept.latest()["attempts"] == attempt
        assert kept.detections() == (["rotation_failing"] if attempt >= 5 else [])
        assert kept.take() == []
        kept.clock.advance(300)
    (case,) = kept.run("cases list")["rows"]
    evidence = kept.case(case["id"])["findings"][0]["evidence"]
    assert (evidence["step"], evidence["problem"]) == ("note", "GET … was answered with HTTP 403")
    assert kept.finish()["state"] == "done"


def test_a_containment_that_fails_is_told_sooner(kept: RotationDesk) -> None:
    kept.run("credential contain", name="main")
    for _ in range(2):
        kept.record(kept.until("note"), "failed", problem="it takes too long")
    assert kept.detections() == ["rotation_failing"]


def test_a_provider_that_says_how_long_to_wait_is_obeyed(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    kept.record(kept.one(), "failed", problem="HTTP 429", after_s=120)
    kept.clock.advance(119)
    assert kept.take() == []
    kept.clock.advance(1)
    assert kept.one()["again"]


def test_a_step_that_waits_for_too_long_is_told_once(kept: RotationDesk) -> None:
    kept.run("credential rotate", name="main")
    for _ in range(40):
        kept.record(kept.until("watch"), "later", problem="somebody else still uses the old key")
        kept.clock.advance(60)
    assert kept.detections() == ["rotation_failing"]


def test_who_has_to_end_an_old_key_is_told_when(desk: RotationDesk) -> None:
    desk.kept(driver="deepseek", provider="deepseek")
    desk.run("administration standby", name="main", secret=STANDBY)
    assert desk.run("rotation plan", name="main", act="rotate")["by_person"]
    desk.run("credential rotate", name="main")
    assert desk.detections() == []
    for _ in range(3):
        desk.record(desk.until("refused"), "later", problem="the old key still works")
        assert desk.detections() == ["old_key_works"]
    assert desk.finish()["state"] == "done"


def test_which_key_is_the_old_one_can_be_said_while_it_is_asked_for(kept: RotationDesk) -> None:
    kept.kept("nameless", provider_key_id="")
    kept.run("credential rotate", name="nameless")
    kept.record(kept.one(), "failed", problem="it is not known which of the provider's keys this is")
    kept.run("administration link", name="nameless", provider_key_id="key_7")
    assert kept.one()["detail"]["old_id"] == "key_7"
    with pytest.raises(UserError, match="worked on"):
        kept.run("administration link", name="nameless", administration="")


def test_it_can_be_said_after_a_containment_has_switched(assisted: RotationDesk) -> None:
    assisted.kept("nameless", "anthropic", provider="anthropic", provider_key_id="")
    assisted.run("administration standby", name="nameless", secret=STANDBY, provider_key_id="key_standby")
    assisted.run("credential contain", name="nameless")
    disable = assisted.until("disable", note={"detail": {"old_id": "", "known": ["key_1", "key_2"]}})
    assisted.record(disable, "failed", problem="it is not known which of the provider's keys this is")
    assisted.run("administration link", name="nameless", provider_key_id="key_2")
    assert assisted.one()["detail"]["old_id"] == "key_2"
    assert assisted.fed("nameless").provider_key_id == "key_standby"
