"""The question to a key's owner: who is asked, what the answers do, and that a link is good once."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from jackstop.errors import UserError
from jackstop.settings import ResponseSettings
from jackstop.store import tables
from tests.cases.desk import DAY_US, HOUR_US, Desk


def throttled(desk: Desk) -> tuple[str, int, str]:
    """A throttled key, its case, and the token that its owner got."""
    key = desk.key()
    case = desk.find(f"key:{key}", "high")
    return key, case, desk.tokens()[-1]


def ramp(desk: Desk, key: str, nusd: int) -> None:
    with desk.store.begin() as conn:
        conn.execute(
            insert(tables.limits).values(
                scope=f"key:{key}",
                kind="rate",
                unit="nusd",
                amount=nusd,
                window="life",
                per_s=600,
                is_default=True,
                seq=desk.store.next_seq(conn),
            )
        )


def ramp_of(desk: Desk, key: str) -> int:
    (amount,) = [row["amount"] for row in desk.rows(tables.limits) if row["unit"] == "nusd"]
    return int(amount)


def test_the_owner_is_asked_by_a_link_that_the_store_does_not_have(desk: Desk) -> None:
    key, case, token = throttled(desk)
    (question,) = [each for each in desk.news("mail") if each["kind"] == "question"]
    assert question["to"] == "app@example.com"
    assert len(token) >= 43
    asked = desk.run("cases question", token=token)
    assert (asked["key_id"], asked["case"], asked["state"]) == (key, case, "slowed down to 6 requests a minute")
    everywhere = [desk.rows(table) for table in tables.metadata.tables.values()]
    assert token not in str(everywhere)


def test_yes_releases_the_throttle_and_leaves_the_case_open(desk: Desk) -> None:
    key, case, token = throttled(desk)
    assert desk.run("cases answer", token=token, answer="yes")["state"] == "live"
    assert desk.state(key) == ("live", None, True)
    assert desk.case(case)["state"] == "open"
    assert desk.run("cases spans", since_us=0)[0][0] == key
    assert desk.tags()[-1] == "admin:key:release"
    desk.find(f"key:{key}", "high", "odd_client")
    assert desk.state(key)[1] is None
    assert len(desk.tokens()) == 1


def test_yes_doubles_the_ramp_for_a_day(desk: Desk) -> None:
    key = desk.key()
    ramp(desk, key, 5_000)
    case = desk.find(f"key:{key}", "high")
    desk.run("cases answer", token=desk.tokens()[-1], answer="yes")
    assert ramp_of(desk, key) == 10_000
    desk.pass_time(DAY_US - 1)
    assert ramp_of(desk, key) == 10_000
    desk.pass_time(1)
    assert ramp_of(desk, key) == 5_000
    assert ("allowance", "expired") in desk.responses(case)
    assert desk.tags()[-1] == "system:allowance:end"


def test_yes_never_lifts_a_quarantine(desk: Desk) -> None:
    key, case, token = throttled(desk)
    desk.find(f"key:{key}", "critical", "resale_shape")
    assert desk.run("cases answer", token=token, answer="yes")["state"] == "quarantined"
    assert desk.case(case)["severity"] == "critical"
    desk.pass_time(2 * DAY_US)
    assert desk.state(key)[0] == "quarantined"


def test_no_quarantines_and_raises_the_case(desk: Desk) -> None:
    key, case, token = throttled(desk)
    assert desk.run("cases answer", token=token, answer="no")["state"] == "quarantined"
    assert desk.case(case)["severity"] == "critical"
    assert desk.kinds() == ["case.opened", "case.updated"]
    assert desk.news()[-1]["severity"] == "critical"
    desk.pass_time(2 * HOUR_US)
    assert desk.state(key)[:2] == ("quarantined", None)


def test_nobody_is_said_to_be_asked_where_no_mail_can_be_sent(desk: Desk) -> None:
    desk.run("notify remove", name="mail")
    case = desk.find(f"key:{desk.key()}", "high")
    assert "question" not in desk.entries(case)
    assert "system:case:ask" not in desk.tags()
    assert "is asked" not in desk.news()[-1]["text"]


@pytest.mark.parametrize("given", ["yes", "no"])
def test_an_owner_s_answer_silences_no_pager(desk: Desk, given: str) -> None:
    _, _, token = throttled(desk)
    desk.run("cases answer", token=token, answer=given)
    assert [each["facts"]["acknowledged"] for each in desk.news()] == [0, 0]


def test_no_opens_a_closed_case_again(desk: Desk) -> None:
    key, case, token = throttled(desk)
    desk.run("cases close", id=case, verdict="benign")
    desk.run("cases answer", token=token, answer="no")
    assert desk.case(case)["state"] == "open"
    assert desk.state(key) == ("quarantined", None, True)


def test_a_link_is_good_once_and_for_a_day(desk: Desk) -> None:
    desk.settings = type(desk.settings)(mode="enforce", responses=ResponseSettings(contact="security@example.com"))
    _, _, first = throttled(desk)
    _, _, second = throttled(desk)
    desk.run("cases answer", token=first, answer="yes")
    for command, given in (("cases answer", {"answer": "no"}), ("cases question", {})):
        with pytest.raises(UserError, match="was answered") as refused:
            desk.run(command, token=first, **given)
        assert "security@example.com" in refused.value.remedy
    desk.pass_time(DAY_US)
    with pytest.raises(UserError, match="too old"):
        desk.run("cases answer", token=second, answer="no")
    with pytest.raises(UserError, match="no such question"):
        desk.run("cases question", token="x" * 43)


@pytest.mark.parametrize(
    "wrong", ["", "-", "1", "1-", "9" * 30 + "-x", "\u0661-x", "2-{rest}", "01-{rest}", "1-{rest}x"]
)
def test_a_token_cannot_be_made_from_another(desk: Desk, wrong: str) -> None:
    _, _, token = throttled(desk)
    assert token.startswith("1-")
    with pytest.raises(UserError, match="no such question"):
        desk.run("cases question", token=wrong.replace("{rest}", token.partition("-")[2]))


def test_an_answer_is_yes_or_no(desk: Desk) -> None:
    _, _, token = throttled(desk)
    with pytest.raises(UserError, match="no answer"):
        desk.run("cases answer", token=token, answer="maybe")
    assert desk.run("cases answer", token=token, answer="yes")["state"] == "live"


@pytest.mark.parametrize("verdict", ["hijack", "misuse"])
def test_yes_changes_nothing_once_somebody_has_said_that_it_was_no_owner_s_doing(desk: Desk, verdict: str) -> None:
    key = desk.key()
    ramp(desk, key, 5_000)
    case = desk.find(f"key:{key}", "high")
    desk.run("cases close", id=case, verdict=verdict)
    assert "slowed down" in desk.run("cases answer", token=desk.tokens()[-1], answer="yes")["state"]
    assert desk.responses(case) == [("throttle", "applied")]
    assert ramp_of(desk, key) == 5_000


def test_a_question_that_could_not_be_delivered_by_its_end_is_dropped(desk: Desk) -> None:
    throttled(desk)
    desk.pass_time(2 * DAY_US)
    kinds = [message["payload"]["news"][0]["kind"] for message in desk.run("outbox take", busy=[])["messages"]]
    assert "question" not in kinds
    (question,) = [row for row in desk.rows(tables.outbox) if row["kind"] == "question"]
    assert question["state"] == "dropped"
    assert "too late" in question["error"]
