"""Invitations to bring a new key: who gets the link, what it opens, and when it opens nothing any more."""

from __future__ import annotations

from typing import Any

import pytest

from jackstop.errors import UserError
from jackstop.settings import Home
from jackstop.store import tables
from jackstop.store.engine import Store
from tests.cli.conftest import Shell
from tests.control.rotation_bench import FRESH, OLD, STANDBY, RotationDesk

DAY_S = 86_400
WHO = "holder@example.com"


@pytest.fixture
def desk(store: Store, home: Home) -> RotationDesk:
    """One credential whose provider makes no keys by API; nothing is under way."""
    made = RotationDesk(store, home)
    made.rules(watch_s=0, wait_s=0)
    made.kept(driver="anthropic", provider="anthropic")
    return made


def asks(desk: RotationDesk) -> None:
    """A rotation that waits for a person."""
    desk.run("credential rotate", name="main")
    desk.record(desk.one(), detail={"old_id": "key_old", "known": ["key_old"]})
    assert desk.take() == []


def invited(desk: RotationDesk) -> str:
    """The token of an invitation that was printed."""
    return str(desk.run("invitation make", name="main", to=WHO)["link"]).rpartition("/")[2]


def questions(desk: RotationDesk) -> list[dict[str, Any]]:
    """What is sent to single persons, once all that waits was sent."""
    sent: list[dict[str, Any]] = []
    while messages := desk.run("outbox take", busy=[])["messages"]:
        sent += messages
        for each in messages:
            desk.run("outbox done", id=each["id"])
    return [each for each in sent if each["payload"]["news"][0]["kind"] == "question"]


def test_the_link_is_printed_once_and_is_not_in_the_store(desk: RotationDesk) -> None:
    asks(desk)
    made = desk.run("invitation make", name="main", to=WHO)
    assert made["link"].startswith("http://localhost:8081/new-key/")
    assert made["until_us"] == desk.clock.now_us() + DAY_S * 1_000_000
    token = made["link"].rpartition("/")[2]
    assert len(token) > 43
    assert token not in desk.everything()
    assert token.rpartition("-")[2] not in desk.everything()
    assert desk.tags()[-1] == "admin:rotation:invite"
    shown = desk.run("invitation show", token=token)
    assert (shown["credential"], shown["provider"], shown["old_id"]) == ("main", "anthropic", "key_old")
    assert (shown["act"], shown["outage"], shown["by_person"]) == ("rotate", False, False)


def test_a_mailed_link_goes_to_that_person_alone_and_is_made_as_it_leaves(desk: RotationDesk) -> None:
    asks(desk)
    made = desk.run("invitation make", name="main", to=WHO, mail=True)
    assert (made["link"], made["mailed"]) == ("", True)
    assert "question" not in desk.kinds()
    (sent,) = questions(desk)
    (news,) = sent["payload"]["news"]
    assert (sent["channel"]["name"], news["to"]) == ("mail", WHO)
    token = news["actions"][0][1].rpartition("/")[2]
    assert f"/new-key/{token} " in news["text"]
    assert token not in desk.everything()
    assert desk.run("invitation show", token=token)["credential"] == "main"
    (row,) = [row for row in desk.rows(tables.outbox) if row["kind"] == "question"]
    assert WHO not in str(row)


def test_a_mail_that_could_not_leave_in_time_is_dropped(desk: RotationDesk) -> None:
    asks(desk)
    desk.run("invitation make", name="main", to=WHO, mail=True)
    desk.clock.advance(DAY_S)
    assert questions(desk) == []
    assert [row["state"] for row in desk.rows(tables.outbox) if row["kind"] == "question"] == ["dropped"]


def test_without_an_e_mail_channel_nothing_is_mailed_and_nobody_invited(desk: RotationDesk) -> None:
    asks(desk)
    desk.run("notify remove", name="mail")
    with pytest.raises(UserError, match="no e-mail channel"):
        desk.run("invitation make", name="main", to=WHO, mail=True)
    assert "admin:rotation:invite" not in desk.tags()


def test_what_is_brought_is_tested_and_switched_in_and_on_record_as_that_person_s(desk: RotationDesk) -> None:
    asks(desk)
    desk.run("invitation bring", token=invited(desk), secret=f" {FRESH}\n", provider_key_id="key_new")
    (row,) = [row for row in desk.rows(tables.audit) if row["tag"] == "admin:rotation:answer"]
    (person,) = [each["id"] for each in desk.rows(tables.people) if each["email"] == WHO]
    assert row["actor"] == f"person:{person}"
    assert FRESH not in desk.everything()
    verify = desk.one()
    assert (verify["step"], verify["fresh"], verify["detail"]["new_id"]) == ("verify", FRESH, "key_new")
    assert desk.fed().secret == OLD.encode()
    desk.record(verify)
    desk.finish()
    assert (desk.fed().secret, desk.fed().provider_key_id) == (FRESH.encode(), "key_new")


def test_a_link_is_good_once_and_a_refused_key_needs_another(desk: RotationDesk) -> None:
    asks(desk)
    first = invited(desk)
    desk.run("invitation bring", token=first, secret=FRESH)
    for command, given in (("invitation bring", {"secret": STANDBY}), ("invitation show", {})):
        with pytest.raises(UserError, match="the link was used") as refused:
            desk.run(command, token=first, **given)
        assert "ask whoever invited you" in refused.value.remedy
    with pytest.raises(UserError, match="waits for nobody"):
        invited(desk)
    desk.record(desk.one(), "refused", problem="the provider refuses the new secret")
    assert desk.take() == []
    with pytest.raises(UserError, match="the link was used"):
        desk.run("invitation bring", token=first, secret=STANDBY)
    second = invited(desk)
    with pytest.raises(UserError, match="newer link"):
        desk.run("invitation show", token=first)
    desk.run("invitation bring", token=second, secret=STANDBY)
    desk.finish()
    assert desk.fed().secret == STANDBY.encode()


def test_a_newer_link_takes_the_place_of_the_one_before(desk: RotationDesk) -> None:
    asks(desk)
    first, second = invited(desk), invited(desk)
    with pytest.raises(UserError, match="newer link"):
        desk.run("invitation bring", token=first, secret=FRESH)
    assert desk.run("invitation show", token=second)["credential"] == "main"


def test_a_link_is_good_for_a_day(desk: RotationDesk) -> None:
    asks(desk)
    token = invited(desk)
    desk.clock.advance(DAY_S - 1)
    desk.run("invitation show", token=token)
    desk.clock.advance(1)
    with pytest.raises(UserError, match="too old"):
        desk.run("invitation bring", token=token, secret=FRESH)
    assert desk.latest()["step"] == "ask"


def test_a_link_ends_with_its_rotation_and_never_opens_the_next(desk: RotationDesk) -> None:
    asks(desk)
    token = invited(desk)
    desk.run("rotation cancel", name="main")
    with pytest.raises(UserError, match="no longer needed"):
        desk.run("invitation show", token=token)
    asks(desk)
    assert invited(desk) != token
    with pytest.raises(UserError, match="no longer needed"):
        desk.run("invitation bring", token=token, secret=FRESH)
    assert desk.latest()["step"] == "ask"


def test_a_link_is_not_needed_once_somebody_else_brought_a_key(desk: RotationDesk) -> None:
    asks(desk)
    token = invited(desk)
    desk.run("credential rotate", name="main", secret=FRESH)
    with pytest.raises(UserError, match="no longer needed") as refused:
        desk.run("invitation bring", token=token, secret=STANDBY)
    assert "delete it at the provider" in refused.value.remedy
    desk.finish()
    with pytest.raises(UserError, match="no longer needed"):
        desk.run("invitation bring", token=token, secret=STANDBY)
    assert desk.fed().secret == FRESH.encode()


def test_where_no_api_ends_the_old_key_the_page_knows_that_a_person_has_to(desk: RotationDesk) -> None:
    desk.kept("other", driver="groq")
    desk.run("credential rotate", name="other")
    token = str(desk.run("invitation make", name="other", to=WHO)["link"]).rpartition("/")[2]
    shown = desk.run("invitation show", token=token)
    assert (shown["provider"], shown["by_person"], shown["outage"]) == ("groq", True, False)


def test_after_a_containment_the_page_says_that_applications_fail(desk: RotationDesk) -> None:
    desk.run("credential contain", name="main")
    disable = desk.until("disable")
    token = invited(desk)
    assert desk.run("invitation show", token=token)["outage"]
    desk.record(disable)
    desk.run("invitation bring", token=token, secret=FRESH)
    for _ in range(3):  # delete, refused, verify
        desk.record(desk.one())
    assert desk.take() == []
    assert (desk.fed().state, desk.fed().secret) == ("active", FRESH.encode())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"secret": ""}, "nothing was given"),
        ({"secret": "two words"}, "what was given is no key"),
        ({"secret": "sk-ümlaut"}, "what was given is no key"),
        ({"secret": "x" * 8_193}, "what was given is no key"),
        ({"secret": OLD}, "there already"),
        ({"secret": FRESH, "provider_key_id": FRESH}, "the key's id is none"),
        ({"secret": FRESH, "provider_key_id": f"my {FRESH}"}, "the key's id is none"),
        ({"secret": FRESH, "provider_key_id": "a b"}, "the key's id is none"),
        ({"secret": FRESH, "provider_key_id": "i" * 201}, "the key's id is none"),
        ({"secret": FRESH, "provider_key_id": "key_old"}, "the id of the old key"),
    ],
)
def test_what_cannot_be_a_new_key_is_refused_and_the_link_stays_good(
    desk: RotationDesk, given: dict[str, str], problem: str
) -> None:
    asks(desk)
    token = invited(desk)
    with pytest.raises(UserError, match=problem) as refused:
        desk.run("invitation bring", token=token, **given)
    text = refused.value.problem + refused.value.remedy
    assert not given["secret"] or given["secret"] not in text
    assert desk.latest()["new_id"] is None
    desk.run("invitation bring", token=token, secret=FRESH)
    assert FRESH not in desk.everything()


def test_nobody_is_invited_where_nothing_waits(desk: RotationDesk) -> None:
    with pytest.raises(UserError, match="nothing is under way"):
        invited(desk)
    desk.run("administration standby", name="main", secret=STANDBY)
    desk.run("credential rotate", name="main")
    with pytest.raises(UserError, match="waits for nobody"):
        invited(desk)
    with pytest.raises(UserError, match="no such credential"):
        desk.run("invitation make", name="other", to=WHO)
    with pytest.raises(UserError, match="is not an e-mail address"):
        desk.run("invitation make", name="main", to="holder")
    assert WHO not in desk.everything()


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "-", "--", "x" * 43, "{uid}", "{uid}-1", "{uid}-1-", "{uid}-2-{mac}", "{uid}-01-{mac}", "{uid}-1-{mac}x"),
        *("{uid}-\u0661-{mac}", "{uid}-" + "9" * 30 + "-{mac}", "0000000000000000-1-{mac}"),
    ],
)
def test_a_token_cannot_be_made_from_another(desk: RotationDesk, wrong: str) -> None:
    asks(desk)
    uid, number, mac = invited(desk).split("-", 2)
    assert number == "1"
    with pytest.raises(UserError, match="no such invitation"):
        desk.run("invitation show", token=wrong.format(uid=uid, mac=mac))


def test_links_of_the_two_kinds_do_not_open_each_other(desk: RotationDesk) -> None:
    asks(desk)
    desk.find(f"key:{desk.key()}", "high")
    with pytest.raises(UserError, match="no such invitation"):
        desk.run("invitation show", token=desk.tokens()[-1])
    with pytest.raises(UserError, match="no such question"):
        desk.run("cases question", token=invited(desk))


def test_the_command_prints_the_link_alone_where_it_is_read(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fresh = Home(home.root / "fresh")
    monkeypatch.setenv("JACKSTOP_HOME", str(fresh.root))
    shell = Shell(fresh, monkeypatch, capfd)
    shell.ok("init", "--admin", "admin@example.com")
    shell.ok("credential", "add", "main", "--provider", "anthropic", stdin=OLD)
    shell.ok("administration", "add", "anthropic", "--driver", "anthropic", stdin="sk-ant-admin01-x")
    shell.ok("credential", "link", "main", "--administration", "anthropic")
    ran = shell("credential", "invite", "main", "--to", WHO)
    assert (ran.status, "nothing is under way" in ran.err) == (2, True)
    shell.ok("credential", "rotate", "main")
    ran = shell.ok("credential", "invite", "main", "--to", WHO)
    assert ran.out.startswith("http://localhost:8081/new-key/")
    assert len(ran.out.splitlines()) == 1
    assert f"for {WHO} alone" in ran.err
    assert shell.ok("credential", "invite", "main", "--to", WHO, "--json").json["credential"] == "main"
    assert shell("credential", "invite", "main", "--to", WHO, "--mail").status == 2
