"""The outbox: who gets what, in which order, how often, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from jackstop.errors import UserError
from jackstop.notify import delivery
from jackstop.notify.outbox import message_uid, queue
from jackstop.settings import Settings
from jackstop.store.tables import channels, outbox
from tests.control.command_bench import Bench
from tests.notify.pieces import ACTIONS, ROUTING_KEY, news
from tests.notify.queueing import MAIL, NOTIFY, SECOND_US, failed, hook, sent, states, take, tell, uids


@pytest.fixture(autouse=True)
def _settings(bench: Bench) -> None:
    bench.settings = Settings(notify=NOTIFY)


# -- who is told ---------------------------------------------------------------------------------------------------


def test_a_channel_gets_what_is_severe_enough_and_each_of_it_once(bench: Bench) -> None:
    hook(bench, "all", min_severity="info")
    hook(bench, "some", min_severity="high")
    assert tell(bench, news(1, severity="medium"), news(2, severity="high")) == 3
    assert tell(bench, news(1, severity="medium"), news(2, severity="high")) == 0
    (some,) = [each for each in take(bench) if each["channel"]["name"] == "some"]
    assert uids(some) == ["case-12-2"]
    assert some["uid"] == message_uid("case-12-2", "some")


def test_what_is_queued_in_a_transaction_that_fails_was_never_there(bench: Bench) -> None:
    hook(bench)

    def fail() -> None:
        with bench.store.begin() as conn:
            queue(conn, bench.clock.now_us(), news())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert take(bench) == []


def test_each_kind_gets_its_sort_of_news(bench: Bench, tmp_path: Any) -> None:
    run = bench.run
    run("notify add", name="file", kind="ocsf-file", options={"path": str(tmp_path / "f")}, min_severity="info")
    run("notify add", name="pager", kind="pagerduty", secret=ROUTING_KEY, min_severity="info")
    run("notify add", name="dead-man", kind="heartbeat", secret="https://a.example/x")
    run("notify add", name="mail-a", kind="email", options={**MAIL, "to": "a@example.com", "questions": "no"})
    run("notify add", name="mail-b", kind="email", options={**MAIL, "to": "b@example.com"})
    run("notify add", name="mail-c", kind="email", options={**MAIL, "to": "c@example.com"})

    def who(**changed: Any) -> list[str]:
        tell(bench, news(**{"uid": str(changed), "group_key": str(changed), **changed}))
        taken = take(bench)
        for each in taken:
            sent(bench, each)
        return [each["channel"]["name"] for each in taken]

    mails = ["mail-a", "mail-b", "mail-c"]
    assert sorted(who(kind="case.opened")) == ["file", *mails, "pager"]
    assert sorted(who(kind="cost.alert", case_id=None)) == [*mails, "pager"]
    assert sorted(who(kind="digest", case_id=None, severity="info")) == mails
    assert who(kind="question", to="owner@example.com") == ["mail-b"]
    assert who(kind="question", to="") == []


def test_a_question_s_link_and_address_are_forgotten_when_it_is_sent(bench: Bench) -> None:
    bench.run("notify add", name="mail", kind="email", options={**MAIL, "to": "a@example.com"})
    link = "https://jackstop.example.com/was-this-you/t0ken"
    tell(bench, news(kind="question", to="owner@example.com", text=f"Open {link}", actions=(("Answer", link),)))
    (taken,) = take(bench)
    assert "t0ken" in str(taken["payload"])
    assert "t0ken" not in str(bench.run("notify outbox"))
    sent(bench, taken)
    with bench.store.begin() as conn:
        kept = str(conn.execute(select(outbox.c.payload)).scalar_one())
    assert "t0ken" not in kept
    assert "owner@example.com" not in kept


# -- leases, order, gathering ----------------------------------------------------------------------------------------


def test_a_message_is_with_one_sender_for_a_minute(bench: Bench) -> None:
    hook(bench)
    tell(bench, news())
    (first,) = take(bench)
    bench.clock.advance(59)
    assert take(bench) == []
    bench.clock.advance(1)
    (second,) = take(bench)
    assert (second["uid"], second["attempt"]) == (first["uid"], first["attempt"] + 1)
    assert failed(bench, first) == ""
    assert failed(bench, second) == "queued"
    sent(bench, first)
    assert states(bench) == [("case-12-1", "sent")]


def test_a_sender_that_starts_takes_over_what_the_one_before_it_had(bench: Bench) -> None:
    hook(bench)
    tell(bench, news())
    (first,) = take(bench)
    tell(bench, news(2))
    assert bench.run("outbox begin") == 1
    (second,) = take(bench)
    assert (second["uid"], uids(second)) == (first["uid"], ["case-12-1"])
    assert failed(bench, first) == ""


def test_a_busy_channel_is_left_alone_and_delays_no_other(bench: Bench) -> None:
    hook(bench, "slow")
    hook(bench, "fast")
    tell(bench, *(news(n, group_key=f"case-{n}") for n in range(40)))
    assert [each["channel"]["name"] for each in take(bench)] == ["fast", "slow"]
    assert [each["channel"]["name"] for each in take(bench, "slow")] == ["fast"]
    assert take(bench, "slow", "fast") == []


def test_severe_news_overtake_those_of_other_cases(bench: Bench) -> None:
    hook(bench)
    tell(bench, *(news(n, group_key=f"case-{n}", severity="medium") for n in range(100)))
    tell(bench, news(1_000, group_key="case-1000", severity="critical"))
    assert uids(take(bench)[0]) == ["case-12-1000"]


def test_news_of_one_case_never_overtake_each_other(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    (first,) = take(bench)
    tell(bench, news(2), news(3, group_key="case-13", case_id=13))
    (other,) = take(bench)
    assert uids(other) == ["case-12-3"]
    failed(bench, first)
    assert take(bench) == []
    bench.clock.advance(5)
    (again,) = take(bench)
    assert (again["uid"], uids(again)) == (first["uid"], ["case-12-1"])
    sent(bench, again)
    bench.clock.advance(60)
    assert uids(take(bench)[0]) == ["case-12-2"]


def test_news_of_one_case_soon_after_each_other_become_one_message(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    sent(bench, take(bench)[0])
    bench.clock.advance(10)
    tell(bench, news(2))
    assert take(bench) == []
    bench.clock.advance(20)
    tell(bench, news(3, kind="case.closed"))
    assert take(bench) == []
    bench.clock.advance(30)
    (taken,) = take(bench)
    assert uids(taken) == ["case-12-2", "case-12-3"]
    assert taken["payload"]["at_us"][1] - taken["payload"]["at_us"][0] == 20 * SECOND_US
    assert states(bench) == [("case-12-1", "sent"), ("case-12-3", "queued"), ("", "grouped")]


def test_what_is_more_severe_than_the_last_does_not_wait(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1, severity="high"))
    sent(bench, take(bench)[0])
    tell(bench, news(2, severity="high"), news(3, severity="critical"))
    assert uids(take(bench)[0]) == ["case-12-2", "case-12-3"]


def test_what_was_tried_is_never_added_to(bench: Bench) -> None:
    """A receiver may have it, and then knows its uid for this content."""
    hook(bench)
    tell(bench, news(1))
    failed(bench, take(bench)[0])
    tell(bench, news(2))
    bench.clock.advance(60)
    assert uids(take(bench)[0]) == ["case-12-1"]


# -- quiet hours ---------------------------------------------------------------------------------------------------


def test_a_channel_keeps_still_in_its_quiet_hours(bench: Bench) -> None:
    """It is Monday noon."""
    hook(bench, options={"quiet": "mon-fri 11:30-12:05; sun 00:00-24:00"})
    tell(bench, news(1, severity="medium"), news(2, severity="medium", group_key="case-13"))
    assert take(bench) == []
    bench.clock.advance(4 * 60)
    assert take(bench) == []
    tell(bench, news(3, severity="high"))
    (taken,) = take(bench)
    assert uids(taken) == ["case-12-1", "case-12-3"]
    sent(bench, taken)
    assert take(bench) == []
    bench.clock.advance(60)
    assert uids(take(bench)[0]) == ["case-12-2"]


def test_a_channel_can_be_told_to_keep_still_whatever_happens_and_still_asks(bench: Bench) -> None:
    hook(bench, options={"quiet": "11:00-13:00", "quiet_all": "yes"})
    tell(bench, news(1, severity="critical"))
    assert take(bench) == []
    tell(bench, news(2, kind="approval", group_key="case-13"))
    assert uids(take(bench)[0]) == ["case-12-2"]


# -- failures --------------------------------------------------------------------------------------------------------


def test_attempts_get_further_apart_and_end(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    waits = []
    for attempt in range(1, NOTIFY.attempts + 1):
        (taken,) = take(bench)
        assert taken["attempt"] == attempt
        state = failed(bench, taken)
        if state == "dead":
            break
        waited = 0
        while not take(bench, "hook") and not _is_due(bench):
            bench.clock.advance(1)
            waited += 1
        waits.append(waited)
    assert states(bench) == [("case-12-1", "dead")]
    assert len(waits) == NOTIFY.attempts - 1
    assert all(2.5 * 2**n <= wait + 1 and wait <= 5 * 2**n + 1 for n, wait in enumerate(waits))


def _is_due(bench: Bench) -> bool:
    with bench.store.begin() as conn:
        return bool(conn.execute(select(outbox.c.next_us)).scalar_one() <= bench.clock.now_us())


@given(attempt=st.integers(1, 10_000))
def test_no_wait_is_longer_than_a_quarter_of_an_hour(attempt: int) -> None:
    assert 0 < delivery.backoff_us(attempt) <= 900 * SECOND_US


def test_a_receiver_that_asks_for_time_gets_it(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    failed(bench, take(bench)[0], after_s=100)
    bench.clock.advance(99)
    assert take(bench) == []
    bench.clock.advance(1)
    assert take(bench)


def test_a_message_that_is_itself_refused_is_dead_soon_and_lets_the_next_go(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1), news(2, kind="question"))
    tell(bench, news(3, uid="later"))
    for attempt in (1, 2, 3):
        (taken,) = take(bench)
        assert failed(bench, taken, rejected=True) == ("dead" if attempt == 3 else "queued")
        tell(bench, news(4))
        bench.clock.advance(60)
    assert uids(take(bench)[0]) == ["case-12-4"]


def test_a_sender_that_is_always_gone_ends_a_message_too(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    for _ in range(NOTIFY.attempts):
        assert len(take(bench)) == 1
        bench.clock.advance(60)
    assert take(bench) == []
    assert states(bench) == [("case-12-1", "dead")]


def test_the_dead_can_be_replayed_with_the_uid_that_they_had(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    uid = ""
    for _ in range(3):
        (taken,) = take(bench)
        uid = taken["uid"]
        failed(bench, taken, rejected=True)
        bench.clock.advance(60)
    (row,) = bench.run("notify outbox", state="dead")["rows"]
    assert (row["uid"], row["error"], row["channel"]) == (uid, "HTTP 503", "hook")
    with pytest.raises(UserError, match="no dead message"):
        bench.run("notify replay", id=row["id"] + 1)
    tell(bench, news(2))
    assert bench.run("notify replay", id=row["id"]) == {"replayed": 1, "dropped": 0}
    (taken,) = take(bench)
    assert (taken["uid"], uids(taken)) == (uid, ["case-12-1"])
    sent(bench, taken)
    assert bench.run("notify replay") == {"replayed": 0, "dropped": 0}
    bench.clock.advance(60)
    assert uids(take(bench)[0]) == ["case-12-2"]


def ask(bench: Bench, number: int, hours: int) -> None:
    """Queue a question whose link is good for so long."""
    until_us = bench.clock.now_us() + hours * 3_600 * SECOND_US
    link = f"https://jackstop.example.com/was-this-you/t0ken{number}"
    tell(
        bench,
        news(number, kind="question", to="owner@example.com", actions=(("Answer", link),), until_us=until_us),
    )


def test_a_question_is_not_sent_once_its_link_has_ended(bench: Bench) -> None:
    bench.run("notify add", name="mail", kind="email", options={**MAIL, "to": "a@example.com"})
    ask(bench, 1, hours=1)
    ask(bench, 2, hours=2)
    (first,) = take(bench)
    assert uids(first) == ["case-12-1"]
    bench.clock.advance(3_600)
    (second,) = take(bench)
    assert uids(second) == ["case-12-2"]
    assert take(bench) == []
    (row,) = bench.run("notify outbox", state="dropped")["rows"]
    assert row["error"] == "too late to send it: the link in it was good until 2026-11-23T13:00Z"
    with bench.store.begin() as conn:
        kept = str(conn.execute(select(outbox.c.payload).where(outbox.c.id == row["id"])).scalar_one())
    assert "t0ken" not in kept
    assert "owner@example.com" not in kept
    assert failed(bench, first) == ""


def test_a_dead_question_is_replayed_only_while_its_link_is_good(bench: Bench) -> None:
    bench.run("notify add", name="mail", kind="email", options={**MAIL, "to": "a@example.com"})
    for number, hours in ((1, 1), (2, 24)):
        ask(bench, number, hours)
        for _ in range(3):
            failed(bench, take(bench)[0], rejected=True)
            bench.clock.advance(60)
    bench.clock.advance(3_600)
    assert len(bench.run("notify outbox", state="dead")["rows"]) == 2
    assert bench.run("notify replay") == {"replayed": 1, "dropped": 1}
    (taken,) = take(bench)
    assert uids(taken) == ["case-12-2"]
    assert states(bench) == [("case-12-1", "dropped"), ("case-12-2", "queued")]


def test_what_ended_long_ago_is_forgotten(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    sent(bench, take(bench)[0])
    tell(bench, news(2, group_key="case-13"))
    bench.clock.advance(86_400)
    assert bench.run("outbox tidy") == 0
    bench.clock.advance(1)
    assert bench.run("outbox tidy") == 1
    assert states(bench) == [("case-12-2", "queued")]


def test_a_channel_whose_secret_does_not_open_fails_and_the_others_go_on(bench: Bench) -> None:
    hook(bench, "one")
    hook(bench, "two")
    with bench.store.begin() as conn:
        options = {"url": "https://collector.example.net"}
        conn.execute(update(channels).where(channels.c.name == "one").values(options=options))
    tell(bench, news(1))
    (taken,) = take(bench)
    assert taken["channel"]["name"] == "two"
    (row,) = [row for row in bench.run("notify outbox")["rows"] if row["channel"] == "one"]
    assert "changed, or moved" in row["error"]


def test_removing_a_channel_drops_what_waits_for_it(bench: Bench) -> None:
    hook(bench)
    tell(bench, news(1))
    assert bench.run("notify remove", name="hook") == {"name": "hook", "dropped": 1}
    assert take(bench) == []
    assert states(bench) == [("case-12-1", "dropped")]


def test_actions_of_a_message_are_the_newest_of_each_label() -> None:
    from tests.notify.pieces import message

    made = message(news(1), news(2, actions=(("Show", "jackstop cases show 13"),)))
    assert made.actions == (("Show", "jackstop cases show 13"), ACTIONS[1])
