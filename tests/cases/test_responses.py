"""What is done, for how long, and how it is undone."""

from __future__ import annotations

import msgspec
import pytest

from jackstop.errors import UserError
from jackstop.keys.policy import KeyRow
from jackstop.store import tables
from jackstop.store.feed import Feed
from tests.cases.desk import HOUR_US, MINUTE_US, Desk


def fed(desk: Desk, key_id: str) -> KeyRow:
    """The key as the gates hear of it."""
    with desk.store.begin() as conn:
        rows = Feed(desk.vault, desk.settings).rows_since(conn, 0)[1]
    return next(row for row in rows if isinstance(row, KeyRow) and row.id == key_id)


def test_high_throttles_for_an_hour_and_asks_the_owner(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    assert desk.state(key) == ("live", 6, True)
    assert fed(desk, key).throttle_per_min == 6
    assert desk.responses(case) == [("throttle", "applied")]
    assert desk.kinds() == ["case.opened"]
    assert "throttled to 6" in desk.news()[0]["text"]
    assert len(desk.tokens()) == 1
    desk.pass_time(HOUR_US - 1)
    assert desk.state(key)[1] == 6
    desk.pass_time(1)
    assert desk.state(key)[1] is None
    assert desk.responses(case) == [("throttle", "expired")]
    assert desk.tags()[-2:] == ["system:case:ask", "system:key:release"]


def test_critical_quarantines_until_somebody_releases(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "critical")
    desk.pass_time(30 * 24 * HOUR_US)
    assert desk.state(key)[0] == "quarantined"
    done = desk.run("cases respond", id=case, action="release", reason="it was us")
    assert [row["changed"] for row in done["done"]] == [True]
    assert desk.state(key)[0] == "live"
    assert desk.responses(case) == [("quarantine", "reversed")]
    assert desk.tags()[-1] == "admin:key:release"


def test_a_key_whose_rules_observe_is_left_alone_but_for_a_canary(desk: Desk) -> None:
    key, canary = desk.key(mode="observe"), str(desk.issue(canary=True, mode="observe")["id"])
    case = desk.find(f"key:{key}", "critical")
    desk.find(f"key:{key}", "critical", "resale_shape")
    assert desk.state(key)[:2] == ("live", None)
    assert desk.responses(case) == [("quarantine", "observed")]
    assert "would have been quarantined" in desk.news()[0]["text"]
    desk.find(f"key:{canary}", "critical", "canary_used")
    assert desk.state(canary)[0] == "quarantined"


def test_the_team_s_mode_decides_where_the_key_has_none(desk: Desk) -> None:
    key = desk.key(team="red")
    desk.run("team add", name="red", mode="observe")
    desk.find(f"key:{key}", "critical")
    assert desk.state(key)[0] == "live"


def test_nothing_is_done_twice_and_a_throttle_gives_way_to_a_quarantine(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    desk.find(f"key:{key}", "high", "odd_client")
    desk.find(f"key:{key}", "critical", "resale_shape")
    desk.find(f"key:{key}", "high", "prompt_explosion")
    assert desk.responses(case) == [("throttle", "applied"), ("quarantine", "applied")]
    assert len(desk.tokens()) == 1
    desk.pass_time(2 * HOUR_US)
    assert desk.state(key)[:2] == ("quarantined", None)
    desk.run("cases respond", id=case, action="release")
    assert desk.state(key)[:2] == ("live", None)


def test_a_throttle_comes_again_when_it_goes_on_after_its_end(desk: Desk) -> None:
    key = desk.key()
    found = desk.finding(f"key:{key}", "high")
    (case,) = desk.report(found)["cases"]
    desk.pass_time(HOUR_US)
    desk.report(msgspec.structs.replace(found, count=2, last_seen=desk.clock.now_us() - MINUTE_US))
    assert desk.responses(case) == [("throttle", "expired")]
    desk.report(msgspec.structs.replace(found, count=3, last_seen=desk.clock.now_us() + 1))
    assert desk.responses(case) == [("throttle", "expired"), ("throttle", "applied")]
    assert len(desk.tokens()) == 1


def test_what_a_person_takes_back_does_not_come_again_by_itself(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    desk.run("cases respond", id=case, action="release")
    desk.find(f"key:{key}", "high", "odd_client")
    assert desk.state(key)[1] is None
    desk.find(f"key:{key}", "critical", "resale_shape")
    assert desk.state(key)[0] == "quarantined"


@pytest.mark.parametrize("act", ["key quarantine", "key throttle"])
def test_what_a_person_did_before_is_there_again_afterwards(desk: Desk, act: str) -> None:
    key = desk.key()
    desk.run(act, id=key, rate="2req/min")
    before = desk.state(key)[:2]
    case = desk.find(f"key:{key}", "high")
    desk.find(f"key:{key}", "critical", "resale_shape")
    if act == "key throttle":
        assert desk.state(key)[:2] == ("quarantined", 2)
        desk.run("cases respond", id=case, action="release")
    else:
        assert desk.responses(case) == []
    assert desk.state(key)[:2] == before


def test_a_looser_throttle_of_a_person_comes_back_when_the_case_s_ends(desk: Desk) -> None:
    key = desk.key()
    desk.run("key throttle", id=key, rate="60req/min")
    desk.find(f"key:{key}", "high")
    assert desk.state(key)[1] == 6
    desk.pass_time(HOUR_US)
    assert desk.state(key)[1] == 60


@pytest.mark.parametrize(
    ("act", "after"),
    [("key quarantine", "quarantined"), ("key release", "live"), ("key revoke", "revoked")],
)
def test_what_a_person_does_to_the_key_itself_is_no_case_s_to_undo(desk: Desk, act: str, after: str) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "critical")
    desk.run(act, id=key)
    with pytest.raises(UserError, match="nothing that could be released"):
        desk.run("cases respond", id=case, action="release")
    assert desk.state(key)[0] == after
    desk.run("cases close", id=case, verdict="benign")
    assert desk.state(key)[0] == after


def test_a_person_acts_also_where_rules_observe(desk: Desk) -> None:
    key = desk.key(mode="observe")
    case = desk.find(f"key:{key}", "high")
    desk.run("cases respond", id=case, action="throttle", **{"for": "2h"})
    assert desk.state(key)[1] == 6
    desk.pass_time(2 * HOUR_US)
    assert desk.state(key)[1] is None
    desk.run("cases respond", id=case, action="quarantine", **{"for": "30m"})
    assert desk.state(key)[0] == "quarantined"
    desk.pass_time(HOUR_US)
    assert desk.state(key)[0] == "live"


def test_a_key_may_be_kept_to_alerts(desk: Desk) -> None:
    key = desk.key(respond="alert")
    case = desk.find(f"key:{key}", "critical")
    assert desk.state(key)[:2] == ("live", None)
    assert (desk.responses(case), desk.kinds()) == ([], ["case.opened"])


def test_rotating_gives_the_key_once_and_leaves_the_quarantine(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "critical")
    made = desk.run("cases respond", id=case, action="rotate")
    assert made["key"].startswith(f"jsk_1{key}")
    assert made["key"] not in str(desk.case(case)) + str(desk.rows(tables.audit))
    assert desk.state(key)[0] == "quarantined"
    desk.run("cases respond", id=case, action="release")
    assert desk.run("cases close", id=case, verdict="hijack")["still_working"] == []


def test_a_credential_waits_and_is_contained_when_somebody_approves(desk: Desk) -> None:
    desk.credential("main")
    case = desk.find("credential:main", "critical", "odd_client")
    assert desk.run("credential list")["rows"][0]["state"] == "active"
    assert desk.kinds() == ["approval", "case.opened"]
    desk.find("credential:main", "critical", "model_spray")
    assert desk.responses(case) == [("contain", "awaiting")]
    desk.run("cases respond", id=case, action="approve")
    assert desk.run("credential list")["rows"][0]["state"] == "contained"
    desk.run("cases respond", id=case, action="release")
    assert desk.run("credential list")["rows"][0]["state"] == "active"
    assert [tag for tag in desk.tags() if "credential" in tag][1:] == [
        "admin:credential:contain",
        "admin:credential:restore",
    ]


def test_nobody_answers_and_it_goes_on_waiting(desk: Desk) -> None:
    desk.credential("main")
    case = desk.find("credential:main", "critical")
    desk.pass_time(15 * MINUTE_US)
    desk.pass_time(HOUR_US)
    assert desk.responses(case) == [("contain", "awaiting")]
    assert desk.kinds() == ["approval", "case.opened", "approval"]
    desk.run("cases respond", id=case, action="decline", reason="a test of ours")
    assert desk.responses(case) == [("contain", "declined")]
    desk.find("credential:main", "critical", "odd_client")
    assert desk.responses(case) == [("contain", "declined")]


def test_nobody_answers_and_the_settings_say_act(desk: Desk) -> None:
    desk.respond_with(unanswered="act", approval_s=60)
    desk.credential("main")
    case = desk.find("credential:main", "critical")
    desk.pass_time(MINUTE_US - 1)
    assert desk.responses(case) == [("contain", "awaiting")]
    desk.pass_time(1)
    assert desk.responses(case) == [("contain", "applied")]
    assert desk.run("credential list")["rows"][0]["state"] == "contained"
    desk.run("cases respond", id=case, action="release")
    assert desk.run("credential list")["rows"][0]["state"] == "active"


def test_a_credential_that_a_person_rotated_is_not_put_back(desk: Desk) -> None:
    desk.credential("main")
    case = desk.find("credential:main", "critical")
    desk.run("cases respond", id=case, action="approve")
    desk.run("credential retire", name="main")
    with pytest.raises(UserError, match="nothing that could be released"):
        desk.run("cases respond", id=case, action="release")
    assert desk.run("credential list")["rows"][0]["state"] == "retired"


def test_closing_as_benign_takes_back_and_as_hijack_does_not(desk: Desk) -> None:
    one, two = desk.key(), desk.key()
    benign, hijack = desk.find(f"key:{one}", "critical"), desk.find(f"key:{two}", "critical")
    desk.run("cases close", id=benign, verdict="benign")
    closed = desk.run("cases close", id=hijack, verdict="hijack")
    assert desk.state(one) == ("live", None, False)
    assert desk.state(two) == ("quarantined", None, False)
    assert closed["still_working"] == []
    desk.run("cases respond", id=hijack, action="release")
    assert desk.state(two)[0] == "live"


def test_what_cannot_be_done_says_what_to_do(desk: Desk) -> None:
    case = desk.find("org", "medium", "clock_jump")
    for action, problem in (
        ("throttle", "is about no key"),
        ("contain", "is about no credential"),
        ("approve", "waits for approval"),
        ("release", "could be released"),
        ("dance", "there is no action"),
        ("note", "is empty"),
    ):
        with pytest.raises(UserError, match=problem):
            desk.run("cases respond", id=case, action=action)
    with pytest.raises(UserError, match="there is no case 99"):
        desk.run("cases show", id=99)
    with pytest.raises(UserError, match="with a verdict"):
        desk.run("cases close", id=case)
    desk.run("cases close", id=case, verdict="misuse")
    with pytest.raises(UserError, match="is closed"):
        desk.run("cases respond", id=case, action="alert")


def test_another_key_can_be_named(desk: Desk) -> None:
    key = desk.key()
    case = desk.find("owner:app@example.com", "high", "end_user_fanout")
    assert desk.responses(case) == []
    desk.run("cases respond", id=case, action="quarantine", on=f"key:{key}")
    assert desk.state(key)[0] == "quarantined"
    with pytest.raises(UserError, match="is not what this can be done to"):
        desk.run("cases respond", id=case, action="quarantine", on="key:nobody")


def test_what_an_action_would_not_heed_is_wrong_use(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    for action in ("rotate", "release", "note", "alert", "approve", "decline", "unlawful"):
        with pytest.raises(UserError, match=f"{action} takes no --for") as wrong:
            desk.run("cases respond", id=case, action=action, reason="x", **{"for": "2h"})
        assert wrong.value.status == 2
    for action in ("note", "alert", "unlawful"):
        with pytest.raises(UserError, match=f"{action} takes no --on"):
            desk.run("cases respond", id=case, action=action, reason="x", on=f"key:{key}")
    assert desk.responses(case) == [("throttle", "applied")]


def test_one_of_several_that_wait_can_be_approved(desk: Desk) -> None:
    desk.credential("one")
    desk.credential("two")
    case = desk.find("credential:one", "critical", cause="leak")
    assert desk.find("credential:two", "critical", cause="leak") == case
    with pytest.raises(UserError, match="nothing in case 1 about credential:three waits"):
        desk.run("cases respond", id=case, action="approve", on="credential:three")
    desk.run("cases respond", id=case, action="approve", on="credential:two")
    states = {row["name"]: row["state"] for row in desk.run("credential list")["rows"]}
    assert states == {"one": "active", "two": "contained"}
    desk.run("cases respond", id=case, action="decline", on="credential:one")
    assert desk.responses(case) == [("contain", "declined"), ("contain", "applied")]


def test_a_person_s_reason_is_in_the_case_and_in_the_audit_log(desk: Desk) -> None:
    key = desk.key()
    case = desk.find(f"key:{key}", "critical")
    desk.run("cases respond", id=case, action="rotate", reason="why it was rotated")
    desk.run("cases respond", id=case, action="release", reason="why it was released")
    desk.run("cases close", id=case, verdict="hijack", reason="why it was closed")
    desk.run("cases reopen", id=case, reason="why it was opened")
    for reason in ("why it was rotated", "why it was released", "why it was closed", "why it was opened"):
        assert reason in str(desk.case(case)["entries"])
        assert reason in str([row["detail"] for row in desk.rows(tables.audit)])


def test_what_a_person_contained_meanwhile_is_not_said_to_wait(desk: Desk) -> None:
    desk.respond_with(unanswered="act", approval_s=60)
    desk.credential("main")
    case = desk.find("credential:main", "critical")
    desk.run("credential contain", name="main")
    desk.pass_time(MINUTE_US)
    assert desk.responses(case) == [("contain", "failed")]
    assert desk.kinds() == ["approval", "case.opened"]


def test_what_is_there_already_is_said_with_its_end(desk: Desk) -> None:
    case = desk.find(f"key:{desk.key()}", "high")
    (done,) = desk.run("cases respond", id=case, action="throttle", **{"for": "24h"})["done"]
    assert not done["changed"]
    assert done["text"].startswith("unchanged: ")
    assert done["text"].endswith("until 2026-11-23T13:00Z")
