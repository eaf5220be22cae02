"""Providers' audit logs, read from the practice providers, on their way into the lake and to the detections."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jackstop.errors import UserError
from jackstop.events.feeds import Reading
from jackstop.events.lake import files, positions_of
from jackstop.events.upkeep import tidy
from jackstop.events.worker import catch_up
from jackstop.providers import drivers
from tests.events.feed_world import DAY_S, MINUTE_S, SECRET, Killed, World

# -- into the lake, once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "kind"), [("openai", "invite.sent"), ("anthropic", "org_user_invite_sent")])
def test_entries_are_read_into_the_lake_in_order_and_once(world: World, driver: str, kind: str) -> None:
    world.administer(driver=driver)
    world.plant(kind, driver)
    world.clock.advance(1)
    world.plant("login.succeeded", driver)
    assert world.step() == 2
    assert world.actions() == [kind, "login.succeeded"]
    assert world.step() == 0
    world.plant("logout.succeeded", driver)
    assert world.step() == 1
    assert world.actions() == [kind, "login.succeeded", "logout.succeeded"]
    assert {row["account"] for row in world.laked()} == {"main"}


def test_it_asks_no_faster_than_the_vendor_advises(main: World) -> None:
    assert main.step() == 0
    main.plant("login.succeeded")
    assert main.step(MINUTE_S / 2) == 0
    assert main.step(MINUTE_S / 2 + 1) == 1


def test_what_happened_on_the_day_before_is_read_too_and_lies_in_its_day(main: World) -> None:
    main.practice.clock.advance(-DAY_S + 3600)
    main.plant("login.succeeded")
    main.practice.clock.advance(DAY_S - 3600)
    main.plant("logout.succeeded")
    assert main.step() == 2
    assert [file.parent.name for file in files(main.home.lake)] == ["date=2026-11-22", "date=2026-11-23"]


@pytest.mark.parametrize("later", [False, True])
def test_a_worker_that_was_killed_between_writing_and_recording_makes_no_second_event(main: World, later: bool) -> None:
    main.plant("login.succeeded")
    main.dies_at = "feeds record"
    with pytest.raises(Killed):
        main.step()
    assert main.actions() == ["login.succeeded"]
    main.dies_at = ""
    main.worker()
    if later:
        main.plant("logout.succeeded")
    assert main.step() == 1 + later
    assert main.actions() == ["login.succeeded", "logout.succeeded"][: 1 + later]
    assert main.step() == 0


def test_a_day_that_is_put_together_while_a_reading_is_not_recorded_loses_and_repeats_nothing(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    main.plant("login.failed")
    main.step()
    main.plant("invite.sent")
    main.dies_at = "feeds record"
    with pytest.raises(Killed):
        main.step()
    main.dies_at = ""
    main.clock.advance(DAY_S + 7200)
    now_us = main.clock.now_us()
    tidy(main.home.lake, now_us, positions_of(main.ask("lake positions", {})), 90)
    assert sorted(main.actions()) == ["invite.sent", "login.failed", "login.succeeded"]
    main.worker()
    assert main.step() == 1
    tidy(main.home.lake, main.clock.now_us(), positions_of(main.ask("lake positions", {})), 90)
    assert sorted(main.actions()) == ["invite.sent", "login.failed", "login.succeeded"]
    assert len(files(main.home.lake)) == 1


def test_two_administrations_of_one_organization_make_one_event_of_an_entry(main: World) -> None:
    main.plant("login.succeeded")
    assert main.step() == 1
    main.administer("again")
    main.worker()
    assert main.step() == 0
    assert main.actions() == ["login.succeeded"]


def test_an_administration_that_comes_back_begins_anew_and_repeats_nothing(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    main.run("administration remove", name="main")
    assert main.step() == 0
    main.administer()
    main.plant("logout.succeeded")
    assert main.step() == 1
    assert main.actions() == ["login.succeeded", "logout.succeeded"]


def test_gates_journals_are_written_beside(main: World) -> None:
    main.step()
    assert catch_up(main.home, main.ask) == 0


# -- what cannot be read ----------------------------------------------------------------------------------------


def test_an_entry_that_cannot_be_read_is_set_aside_and_said(main: World, caplog: pytest.LogCaptureFixture) -> None:
    main.plant("login.failed", detail={"error_code": "bad"})
    main.plant("login.failed", detail={"error_code": "bad"}, project="p")
    main.plant("type")
    main.round().run()
    assert main.step() == 3
    assert sorted(main.actions()) == ["login.failed", "login.failed", "unreadable"]
    assert "1 entries of the audit log of main cannot be read" in caplog.text
    main.clock.advance(31)
    main.rounds[-1].run()
    assert main.found() == {"audit_entry_unreadable": ("account:main", "low")}


def test_a_log_that_is_switched_off_is_told_after_an_hour_once(main: World) -> None:
    main.practice.mode(audit=0)
    main.step()
    assert "HTTP 403" in main.reading()["problem"]
    assert main.found() == {}
    main.step(3_600)
    main.step()
    assert main.found() == {"audit_log_unread": ("account:main", "medium")}
    main.practice.mode(audit=1)
    main.plant("login.succeeded")
    assert main.step() == 1
    assert main.reading()["problem"] == ""


def test_a_log_that_nobody_thought_of_keeps_nobody_from_the_others_and_is_not_asked_again_at_once(
    main: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.administer("other", "anthropic")
    main.plant("sso_login_succeeded", provider="anthropic")

    def broken(*_: Any) -> Any:
        raise KeyError(SECRET)

    monkeypatch.setattr(type(drivers.driver("openai")), "audit", broken)
    assert main.step() >= 1
    due = [each["administration"] for each in main.ask("feeds take", {})]
    assert due == []
    assert "the audit log of main failed inside: KeyError" in caplog.text
    assert SECRET not in caplog.text


def test_a_secret_is_in_no_log_and_no_problem(main: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    (due,) = main.ask("feeds take", {})
    assert due["secret"] == SECRET
    assert SECRET not in repr(msgspec.convert(due, Reading))
    main.practice.mode(audit=0)
    main.step()
    assert SECRET not in caplog.text
    assert SECRET not in str(main.reading())


def test_a_worker_that_another_has_followed_records_nothing(main: World) -> None:
    main.plant("login.succeeded")
    main.clock.advance(1)
    (due,) = main.ask("feeds take", {})
    main.step()
    with pytest.raises(UserError, match="another worker"):
        main.ask("feeds record", {"administration": "main", "from_us": due["from_us"], "cursor": ""})
