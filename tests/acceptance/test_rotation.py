"""Credentials are rotated and contained at their providers while applications use them, and whatever dies meanwhile."""

import http.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from jackstop.errors import UserError
from tests.acceptance.rotations import (
    DRIVERS,
    OWN,
    STEPS,
    TURNS,
    Callers,
    chat,
    found_in_files,
    kill_in,
    request,
    rotating,
)
from tests.acceptance.system import until

pytestmark = pytest.mark.slow

FORMS = ("sk-svcacct-", "sk-ant-api03-", "sk-admin-", "sk-ant-admin01-", "JQQJ99")
"""What the secrets of the practice providers have in common, and no other text."""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with rotating(tmp_path_factory.mktemp("rotating")) as running:
        yield running


@pytest.mark.parametrize("act", ["rotate", "contain"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_applications_notice_nothing_and_the_old_key_is_dead(system, driver, act):
    kept = system.keep(driver)
    assert system.accepts(kept, kept.secret)
    with Callers(system, kept) as callers:
        system.begin_act(kept, act)
        system.wait_done(kept)
        good = callers.good
        until(lambda: callers.good > good + 5 or callers.failures, "requests with the new key")
    assert callers.failures == []
    assert not system.accepts(kept, kept.secret)
    system.check(kept)


def test_a_person_brings_the_key_that_no_api_makes(system):
    kept = system.keep("anthropic")
    system.tell("credential rotate", name=kept.name)

    def cases():
        return [row for row in system.tell("cases list")["rows"] if row["entity"] == f"credential:{kept.name}"]

    until(cases, "a person is asked")
    assert system.latest(kept)["step"] == "ask"
    assert len(cases()) == 1
    brought = system.seed("anthropic", workspace=f"wrkspc_{kept.name}")
    words = ("credential", "rotate", kept.name, "--provider-key-id", brought["id"])
    assert "rotate begun, step" in system.command(*words, stdin=brought["secret"] + "\n")
    system.wait_done(kept)
    assert not system.accepts(kept, kept.secret)
    assert system.accepts(kept, brought["secret"])
    system.check(kept)


def test_the_old_key_lives_as_long_as_a_request_that_began_with_it(system):
    kept = system.keep("openai")
    old = system.keys(kept)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(chat, system, kept, stream=True, latency_ms=6_000)
        until(lambda: system.tell("budget holds")["rows"], "the request is under way")
        system.tell("credential rotate", name=kept.name)
        until(lambda: system.latest(kept)["step"] == "drain", "the old key is waited for")
        until(lambda: system.latest(kept)["step"] != "drain", "it is no longer")
        assert asked.done()
        assert asked.result() == (200, None)
    system.wait_done(kept)
    assert not {name for name, state in system.keys(kept).items() if state == "active"} & old.keys()


def test_a_request_whose_body_comes_late_gets_the_new_key(system):
    kept = system.keep("openai")
    path, headers, body = request(kept)
    with closing(http.client.HTTPConnection("127.0.0.1", system.port, timeout=60)) as link:
        link.putrequest("POST", path)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            link.putheader(name, value)
        link.endheaders(body[:10])
        # The gate has read the head once it has begun to count the body's time; another request comes after it.
        assert chat(system, kept) == (200, None)
        system.tell("credential contain", name=kept.name)
        system.wait_done(kept)
        assert not system.accepts(kept, kept.secret)
        link.send(body[10:])
        assert link.getresponse().status == 200


def test_a_rotation_is_taken_back_while_nothing_uses_its_key(system):
    kept = system.keep("openai")
    before = system.keys(kept)
    system.arm("rotation-verify-begins")
    system.tell("credential rotate", name=kept.name)
    until(lambda: system.killed("rotation-verify-begins"), "a key was made and not yet tested")
    system.command("credential", "cancel", kept.name, "--reason", "not today")
    until(lambda: system.latest(kept)["state"] == "cancelled", "it is taken back")
    assert {name for name, state in system.keys(kept).items() if state == "active"} == before.keys()
    assert chat(system, kept) == (200, None)
    system.wait_whole()


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_is_begun_twice_at_once_is_done_once(system, driver):
    kept = system.keep(driver)
    if driver == "anthropic":
        system.deposit(kept)
    with ThreadPoolExecutor(4) as pool:
        words = ("credential contain", "credential rotate") * 2
        problems = [pool.submit(_problem, system, command, kept) for command in words]
        assert sum(problem.result() == "" for problem in problems) in {1, 2}
    system.wait_done(kept)
    assert len(system.tell("rotation list", name=kept.name)["rows"]) == 1
    system.check(kept)


def _problem(system, command, kept):
    try:
        system.tell(command, name=kept.name)
    except UserError as error:
        return error.problem
    return ""


@pytest.mark.parametrize("turn", TURNS)
def test_killed_between_every_two_steps_nothing_is_left_over(system, turn):
    """Worker and control in turn, at each step of one rotation; applications notice nothing of that either."""
    kept = system.keep("openai")
    gaps = [f"rotation-{step}-{turn}" for step in STEPS["openai"]] + [OWN[TURNS.index(turn)]]
    with Callers(system, kept) as callers:
        kill_in(system, kept, "rotate", gaps)
    assert callers.failures == []


@pytest.mark.parametrize(
    ("driver", "gaps"),
    [
        ("openai", ["create-done", "switching", "delete-done"]),
        ("azure", ["create-done", "switched", "delete-begins"]),
        ("anthropic", ["taking-standby", "verify-recorded", "disable-done", "delete-done"]),
    ],
)
def test_a_containment_is_not_stopped_by_kills(system, driver, gaps):
    kept = system.keep(driver)
    kill_in(system, kept, "contain", [f"rotation-{gap}" for gap in gaps])
    assert not system.accepts(kept, kept.secret)


def test_no_secret_is_in_any_file(system):
    """Of all that the tests above have done."""
    kept = system.keep("openai")
    assert found_in_files(system, [*FORMS, kept.secret, kept.key]) == []
