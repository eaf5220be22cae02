"""What audit logs say, as the detections see it, and what of it Jackstop did itself."""

from __future__ import annotations

import pytest

from jackstop.clock import US_PER_S, SystemClock
from jackstop.reconcile.brakes import Brakes
from jackstop.rotation.rotator import Rotator
from tests.events.feed_world import DAY_S, ELSEWHERE_IP, PLACE, SECRET, Killed, World
from tests.waiting import wait_for

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
    assert main.found() == {"key_made_elsewhere": ("account:main", "medium")}


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
