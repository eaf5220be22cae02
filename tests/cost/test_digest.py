from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update

from jackstop.cost.digest import DAY_US, State, render
from jackstop.cost.spend import send_if_due, spend_of
from jackstop.events.lake import _write_file, day_of
from jackstop.events.schema import Event
from jackstop.settings import AlertSettings, Settings
from jackstop.store.tables import cases, meta, outbox
from tests.control.command_bench import NOON_US, Bench
from tests.cost.spending import HOUR, USD, Spending

TODAY = NOON_US - NOON_US % DAY_US
YESTERDAY = TODAY - DAY_US
_EMPTY = State(budgets=(), alerts=0, open_cases=0, cases=(), health=())
_DIGEST = """\
Spent on 2026-11-22 (UTC, at list price): 6.00 USD, +100 % against the day before
Requests: 4, the day before 2
Refused: 2, the day before 0

By team
  (no team): 4.00 USD, nothing the day before
  red: 2.00 USD, −33 % against the day before

By key
  k2: 4.00 USD, +300 % against the day before
  k1: 1.00 USD, −50 % against the day before
  k3: 1.00 USD, nothing the day before

By model
  o9: 4.00 USD, nothing the day before
  gpt-5: 2.00 USD, −33 % against the day before

Grew most
  key k2: 4.00 USD, +300 % against the day before
  key k3: 1.00 USD, nothing the day before

Models that the day before did not have
  o9

Cost alerts given: 0
Open cases: 0

Health
  as it should be"""


def write(bench: Bench, name: str, *events: Event) -> None:
    """Events of one day as a file of the lake."""
    _write_file(bench.home.lake / f"date={day_of(events[0].ts)}", name, list(events))


def event(day_us: int, nusd: int | None, key: str = "k1", **fields: Any) -> Event:
    values = {"team": "red", "model": "gpt-5", "decision": "admitted", **fields}
    return Event(ts=day_us + 1, key_id=key, cost_nusd=nusd, **values)


@pytest.fixture
def lake(bench: Bench) -> Bench:
    write(bench, "a", event(YESTERDAY - DAY_US, 2 * USD), event(YESTERDAY - DAY_US, 1 * USD, "k2"))
    write(
        bench,
        "b",
        event(YESTERDAY, 1 * USD),
        event(YESTERDAY, 4 * USD, "k2", team="", model="", model_asked="o9"),
        event(YESTERDAY, None, "k2"),
        event(YESTERDAY, None, decision="refused"),
        event(YESTERDAY, None, "", decision="refused"),
    )
    write(bench, "c", event(YESTERDAY, 1 * USD, "k3", decision="would_refuse"))
    write(bench, "d", event(TODAY, 500 * USD))
    return bench


def test_a_day_s_spending_by_team_key_and_model(lake: Bench) -> None:
    spend = spend_of(lake.home.lake, YESTERDAY)
    assert (spend.nusd, spend.before_nusd) == (6 * USD, 3 * USD)
    assert (spend.requests, spend.before_requests, spend.refused, spend.before_refused) == (4, 2, 2, 0)
    assert [(line.name, line.nusd // USD, line.before_nusd // USD) for line in spend.teams] == [
        ("(no team)", 4, 0),
        ("red", 2, 3),
    ]
    assert [(line.name, line.nusd // USD) for line in spend.keys] == [("k2", 4), ("k1", 1), ("k3", 1)]
    assert [(line.name, line.nusd // USD) for line in spend.models] == [("o9", 4), ("gpt-5", 2)]
    assert [line.name for line in spend.grown] == ["k2", "k3"]
    assert spend.new_models == ("o9",)


def test_a_digest_reads_like_this(lake: Bench) -> None:
    assert render(spend_of(lake.home.lake, YESTERDAY), _EMPTY) == _DIGEST


def test_an_empty_day_has_a_digest_too(bench: Bench) -> None:
    assert "0.00 USD, as the day before" in render(spend_of(bench.home.lake, YESTERDAY), _EMPTY)


def test_control_adds_budgets_cases_alerts_and_health(spending: Spending) -> None:
    full = spending.budget("team:red", "10usd/day")
    spending.spend(full, "day", 9 * USD)
    spending.spend(spending.budget("owner:ann@example.com", "100usd/month"), "month", 50 * USD)
    spending.spend(spending.budget("team:blue", "100usd/day"), "day", 49 * USD)
    spending.spend(spending.budget("org", "1usd/hour"), "hour", USD)
    spending.look()
    case = {"state": "open", "severity": "high", "title": "a case", "entity": "key:k", "cause": ""}
    times = dict.fromkeys(("first_seen_us", "last_seen_us", "opened_us", "updated_us"), NOON_US)
    with spending.store.begin() as conn:
        conn.execute(insert(cases).values(**case, **times))
        conn.execute(insert(cases).values(**{**case, "state": "closed"}, **times))
        conn.execute(update(outbox).where(outbox.c.id == 1).values(state="dead"))
    state = spending.bench.run("cost digest", day_us=TODAY)
    assert [(line["subject"], line["settled"] // USD) for line in state["budgets"]] == [
        ("team:red", 9),
        ("person:2", 50),
    ]
    assert state["alerts"] == 6
    assert (state["open_cases"], [line["title"] for line in state["cases"]]) == (1, ["a case"])
    assert "notifications: 1 could not be delivered" in state["health"]
    assert any(line.startswith("credentials: ") for line in state["health"])
    text = render(spend_of(spending.bench.home.lake, TODAY), msgspec.convert(state, State))
    assert "  team:red: 90 % of 10.00 usd per day, 9.00 usd\n" in text
    assert "  1 high: a case\n" in text


def test_the_fullest_budgets_come_first_whatever_their_number(spending: Spending, monkeypatch: Any) -> None:
    monkeypatch.setattr("jackstop.control.commands.cost.PAGE_ROWS", 3)
    for number in range(13):
        spending.spend(spending.budget(f"team:t{number}", "100usd/day"), "day", (50 + number) * USD)
    lines = spending.bench.run("cost digest", day_us=TODAY)["budgets"]
    assert [line["settled"] // USD for line in lines] == list(range(62, 52, -1))


# -- once a day -------------------------------------------------------------------------------------------------------


def ask(bench: Bench, name: str, args: dict[str, Any]) -> Any:
    return bench.run(name, **args)


def sent(spending: Spending) -> int:
    return sum(news["kind"] == "digest" for news in spending.news())


def test_a_digest_is_sent_once_for_each_day(spending: Spending) -> None:
    send = partial(send_if_due, partial(ask, spending.bench), spending.bench.home.lake)
    assert not send()  # a new installation has no day before
    spending.pass_time(18 * HOUR)  # 06:00
    assert not send()
    spending.pass_time(HOUR)
    assert send()
    assert not send()
    assert sent(spending) == 1
    assert spending.news()[0]["title"] == "2026-11-23: 0.00 USD, as the day before"
    spending.pass_time(3 * 24 * HOUR)  # nobody asked for three days
    assert send()
    assert not send()
    assert [news["title"][:10] for news in spending.news()] == ["2026-11-23", "2026-11-26"]


def test_a_worker_that_is_killed_before_or_after_it_queued_sends_it_once(spending: Spending) -> None:
    bench = spending.bench
    bench.run("cost digest due")
    spending.pass_time(24 * HOUR)
    day_us = bench.run("cost digest due")["day_us"]
    assert bench.run("cost digest due")["day_us"] == day_us == TODAY
    spend = msgspec.to_builtins(spend_of(bench.home.lake, day_us))
    assert bench.run("cost digest queue", spend=spend) == {"queued": 1}
    assert bench.run("cost digest queue", spend=spend) == {"queued": 0}
    assert sent(spending) == 1


def test_without_a_time_there_is_no_digest(bench: Bench) -> None:
    bench.settings = Settings(alerts=AlertSettings(digest_at=""))
    bench.run("cost digest due")
    bench.clock.advance(48 * HOUR)
    assert bench.run("cost digest due") == {"day_us": None}


def test_a_digest_asked_for_by_hand_before_the_first_is_not_sent_again(spending: Spending) -> None:
    with spending.store.begin() as conn:
        conn.execute(delete(meta).where(meta.c.key == "cost_digest"))
    spend = msgspec.to_builtins(spend_of(spending.bench.home.lake, YESTERDAY))
    assert spending.bench.run("cost digest queue", spend=spend) == {"queued": 1}
    with spending.store.begin() as conn:
        assert conn.execute(select(meta.c.value).where(meta.c.key == "cost_digest")).scalar_one() == str(YESTERDAY)


# -- the list of alerts -----------------------------------------------------------------------------------------------


def test_alerts_are_listed_the_newest_first(spending: Spending) -> None:
    budget = spending.budget("team:red", "10usd/day")
    spending.spend(budget, "day", 5 * USD)
    spending.look()
    spending.pass_time(HOUR)
    spending.spend(budget, "day", 3 * USD)
    spending.look()
    page = spending.bench.run("cost alerts")
    assert [(row["scope"], row["alert"]) for row in page["rows"]] == [
        ("team:red", "80% of 10.00 usd"),
        ("team:red", "50% of 10.00 usd"),
    ]
    assert page["after"] is None
