"""Providers' audit logs, read from the practice providers, on their way into the lake and to the detections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from jackstop.clock import US_PER_S, SystemClock
from jackstop.control.commands import run
from jackstop.errors import UserError
from jackstop.events.feeds import Feeds, Reading
from jackstop.events.follow import Follow
from jackstop.events.inbox import Inbox
from jackstop.events.lake import files, positions_of
from jackstop.events.positions import LAKE_COMMANDS
from jackstop.events.upkeep import tidy
from jackstop.events.watch import Round
from jackstop.events.worker import catch_up
from jackstop.providers import drivers
from jackstop.reconcile.brakes import Brakes
from jackstop.rotation.rotator import Rotator
from jackstop.settings import Home, RotationSettings, Settings
from jackstop.store.engine import Store
from jackstop.store.tables import findings, readings
from tests.control.command_bench import Bench
from tests.sandbox.practice import Practice, running
from tests.waiting import wait_for

SECRET = "sk-admin-0123456789abcdefghij"
MINUTE_S, DAY_S = 60, 86_400
PLACE = {"project": "proj_one", "service_account": "sa_one"}
HOME_IP, ELSEWHERE_IP = "198.51.100.7", "203.0.113.9"


class Killed(Exception):
    """The worker is no more."""


class World(Bench):
    """Control's commands, the worker's readings, and the practice providers behind them, on one clock."""

    def __init__(self, store: Store, home: Home, practice: Practice) -> None:
        super().__init__(store, home, Settings(rotation=RotationSettings(watch_s=0, wait_s=0, drain_max_s=0)))
        self.clock = practice.clock
        self.practice = practice
        self.dies_at = ""
        self.inbox, self.writing = Inbox(), threading.Lock()
        self.follow = Follow(home.journal)
        self.rounds: list[Round] = []
        self.feeds = self.worker()

    def worker(self) -> Feeds:
        """A worker that knows nothing yet."""
        self.feeds = Feeds(self.home, self.ask, self.inbox, self.writing, self.clock)
        return self.feeds

    def ask(self, command: str, args: dict[str, Any]) -> Any:
        if command == self.dies_at:
            raise Killed
        if command in LAKE_COMMANDS:
            with self.store.begin() as conn:
                return LAKE_COMMANDS[command](conn, args)
        reply = run(self.context, command, args)
        if reply.problem:
            raise UserError(reply.problem, reply.remedy, reply.status)
        return reply.result

    def administer(self, name: str = "main", driver: str = "openai") -> None:
        url = {"openai": "/openai/v1", "anthropic": "/anthropic"}[driver]
        secret = SECRET if driver == "openai" else "sk-ant-admin01-0123456789abcdef"
        self.run("administration add", name=name, driver=driver, base_url=self.practice.url + url, secret=secret)

    def plant(self, kind: str, provider: str = "openai", ip: str = HOME_IP, **fields: Any) -> None:
        body = {"provider": provider, "kind": kind, "actor": "alice@example.com", "actor_id": "user-1", "ip": ip}
        status, answer = self.practice.call("POST", "/_sandbox/audit", {**body, **fields})
        assert status == 200, answer

    def step(self, later_s: float = MINUTE_S + 1) -> int:
        self.clock.advance(later_s)
        return self.feeds.step()

    def laked(self) -> list[dict[str, Any]]:
        tables = [pq.read_table(file) for file in files(self.home.lake)]
        return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["ts"])

    def actions(self) -> list[str]:
        return [row["action"] for row in self.laked()]

    def round(self) -> Round:
        made = Round(self.home, self.settings, self.ask, self.follow, self.clock, self.inbox)
        self.rounds.append(made)
        made.begin(self.writing)
        return made

    def seen(self) -> list[str]:
        """What the detections of the latest round have before them."""
        connection = self.rounds[-1].warehouse.connection
        return [action for (action,) in connection.execute("SELECT action FROM events ORDER BY ts, action").fetchall()]

    def found(self) -> dict[str, tuple[str, str]]:
        """What was found so far: entity and severity by detection."""
        with self.store.begin() as conn:
            rows = conn.execute(select(findings)).all()
        return {row.detection: (row.entity, row.severity) for row in rows}

    def reading(self) -> dict[str, Any]:
        with self.store.begin() as conn:
            return dict(conn.execute(select(readings).where(readings.c.kind == "audit")).mappings().one())


@pytest.fixture(scope="module")
def served() -> Iterator[Practice]:
    with running() as practice:
        yield practice


@pytest.fixture
def world(served: Practice, store: Store, home: Home) -> Iterator[World]:
    served.begin()
    home.create()
    made = World(store, home, served)
    yield made
    for each in made.rounds:
        each.close()


@pytest.fixture
def main(world: World) -> World:
    world.administer()
    return world


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


# -- to the detections ------------------------------------------------------------------------------------------


def test_the_detections_see_each_event_once_whenever_they_begin(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    first = main.round()
    first.run()
    assert main.seen() == ["login.succeeded"]
    main.plant("logout.succeeded")
    main.step()
    first.run()
    assert main.seen() == ["login.succeeded", "logout.succeeded"]
    main.plant("invite.sent")
    main.step()
    main.inbox.end()
    main.round().run()
    assert main.seen() == ["login.succeeded", "logout.succeeded", "invite.sent"]


def test_what_is_written_and_not_recorded_reaches_them_once(main: World) -> None:
    main.plant("login.succeeded")
    main.dies_at = "feeds record"
    with pytest.raises(Killed):
        main.step()
    main.dies_at = ""
    begun = main.round()
    main.worker()
    main.step()
    begun.run()
    assert main.seen() == ["login.succeeded"]


def test_a_takeover_of_the_console_is_one_case_with_what_was_done(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    main.clock.advance(2 * DAY_S)
    begun = main.round()
    begun.run()
    main.plant("login.succeeded", ip=ELSEWHERE_IP)
    main.plant("api_key.created", ip=ELSEWHERE_IP, resource="key_evil", detail={"data": {"scopes": ["all"]}})
    main.plant("ip_allowlist.config.deactivated", ip=ELSEWHERE_IP, detail={"configs": []})
    main.plant("invite.sent", ip=ELSEWHERE_IP, detail={"data": {"email": "eve@example.com", "role": "member"}})
    assert main.step() == 4
    main.clock.advance(31)
    begun.run()
    account = "account:main"
    assert main.found() == {
        "admin_from_new_network": (account, "medium"),
        "brake_removed": (account, "high"),
        "console_persistence": (account, "high"),
        "key_made_elsewhere": (account, "high"),
        "person_added": (account, "medium"),
    }
    cases = main.run("cases list")["rows"]
    assert [(case["entity"], case["severity"]) for case in cases] == [(account, "high")]
    (whole, leaving) = (
        main.run(command, id=cases[0]["id"], format="json") for command in ("cases show", "cases export")
    )
    assert "alice@example.com" in str(whole["findings"])
    assert whole["scopes"] == [account]
    assert "alice" not in str(leaving)


def test_an_administrator_on_a_known_network_makes_a_key_and_nobody_is_woken(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    main.clock.advance(2 * DAY_S)
    begun = main.round()
    begun.run()
    main.plant("api_key.created", resource="key_2", detail={"data": {"scopes": ["api.model.request"]}})
    main.step()
    main.clock.advance(31)
    begun.run()
    assert main.found() == {"key_made_elsewhere": ("account:main", "low")}


def test_a_restart_remembers_who_was_seen_where(main: World) -> None:
    main.plant("login.succeeded")
    main.step()
    main.clock.advance(2 * DAY_S)
    main.worker()
    main.plant("login.succeeded", ip=ELSEWHERE_IP)
    main.step()
    assert [row["markers"] for row in main.laked()] == ["", "new_network"]


# -- Jackstop's own acts ----------------------------------------------------------------------------------------


def rotated(world: World) -> str:
    """The credential has been given a new key; its id."""
    key = world.practice.seed("openai", name="gate", **PLACE)
    world.credential(
        base_url=world.practice.url + "/openai", secret=key["secret"], provider_key_id=key["id"], provider="openai"
    )
    world.run("administration link", name="main", administration="main", place=PLACE)
    return rotate(world)


def rotate(world: World) -> str:
    world.run("credential rotate", name="main")
    rotator = Rotator(world.ask, world.clock)
    rotator.start()

    def done() -> str:
        world.clock.advance(1)
        (latest, *_) = world.run("rotation list", name="main")["rows"]
        return str(latest["new_id"]) if latest["state"] == "done" else ""

    found = wait_for(done)
    rotator.stop()
    return found


def test_a_rotation_of_jackstop_s_own_alarms_nobody(main: World) -> None:
    begun = main.round()
    begun.run()
    new_id = rotated(main)
    main.step()
    made = next(row for row in main.laked() if row["action"] == "api_key.created")
    assert (made["target_id"], made["markers"]) == (new_id, "own")
    main.clock.advance(31)
    begun.run()
    assert main.found() == {}


def test_the_same_key_used_for_something_else_is_noted_also_after_a_restart(main: World) -> None:
    rotated(main)
    main.step()
    begun = main.round()
    main.worker()
    client = main.practice.openai_admin(SECRET)
    client.projects.service_accounts.create("proj_one", name="helper")
    main.step()
    main.clock.advance(31)
    begun.run()
    strange = [row["markers"] for row in main.laked() if row["action"] == "service_account.created"]
    assert strange == ["own_key"]
    assert main.found() == {"key_made_elsewhere": ("account:main", "low")}


def test_another_administration_key_is_another_program(main: World) -> None:
    rotated(main)
    main.step()
    begun = main.round()
    main.practice.openai_admin("sk-admin-stolen-0123456789").projects.service_accounts.create("proj_one", name="x")
    main.step()
    main.clock.advance(31)
    begun.run()
    assert main.found() == {"key_made_elsewhere": ("account:main", "medium")}


def test_nothing_is_read_while_a_key_is_being_made(main: World) -> None:
    key = main.practice.seed("openai", name="gate", **PLACE)
    main.credential(base_url=main.practice.url + "/openai", secret=key["secret"], provider_key_id=key["id"])
    main.run("administration link", name="main", administration="main", place=PLACE)
    main.run("credential rotate", name="main")
    main.ask("rotation take", {"worker": "w", "busy": []})
    main.plant("login.succeeded")
    assert main.step(1) == 0
    assert main.step(200) == 1


def test_a_key_that_a_person_was_asked_for_is_expected(world: World) -> None:
    world.administer(driver="anthropic")
    key = world.practice.seed("anthropic", name="gate")
    world.credential(
        provider="anthropic",
        base_url=world.practice.url + "/anthropic",
        secret=key["secret"],
        provider_key_id=key["id"],
    )
    world.run("administration link", name="main", administration="main", place={})
    world.run("credential contain", name="main", reason="test")
    rotator = Rotator(world.ask, world.clock)
    rotator.start()

    def asked() -> bool:
        world.clock.advance(1)
        (latest,) = world.run("rotation list", name="main")["rows"]
        return bool(latest["step"] == "ask")

    wait_for(asked)
    rotator.stop()
    world.plant("platform_api_key_created", "anthropic", detail={"api_key_id": "apikey_2"})
    world.step(200)
    assert [row["markers"] for row in world.laked() if row["target_id"] == "apikey_2"] == ["expected"]


def test_the_thread_reads_by_itself(main: World) -> None:
    main.plant("login.succeeded")
    main.feeds.start()
    try:
        wait_for(lambda: main.actions() == ["login.succeeded"])
    finally:
        assert main.feeds.stop()
    assert main.reading()["read_us"] <= SystemClock().now_us() + DAY_S * US_PER_S


def test_limits_are_looked_at_soon_after_the_log_shows_that_one_was_changed(main: World) -> None:
    main.credential(base_url=main.practice.url + "/openai")
    main.run("administration link", name="main", administration="main", place={"project": "proj_one"})
    brakes = Brakes(main.ask)
    assert brakes.step() == 1
    main.plant("tenant.billing.overage_limit.updated")
    main.step()
    main.clock.advance(300)
    assert brakes.step() == 0
    main.clock.advance(301)
    assert brakes.step() == 1
