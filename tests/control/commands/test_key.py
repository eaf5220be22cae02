from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from jackstop.clock import US_PER_S
from jackstop.errors import UserError
from jackstop.keys import format as key_format
from jackstop.keys.issue import LimitSpec, add_limit
from jackstop.keys.policy import KeyRow, LimitRow, Policy
from jackstop.settings import LedgerSettings, Settings
from jackstop.store import tables
from jackstop.store.feed import Feed
from jackstop.vault.credentials import load_pepper
from tests.control.command_bench import NOON_US, Bench

DAY_US = 86_400 * US_PER_S


def rows(bench: Bench, since: int = 0) -> list[Any]:
    with bench.store.begin() as conn:
        return Feed(bench.vault, bench.settings).rows_since(conn, since)[1]


def key_row(bench: Bench, key_id: str) -> KeyRow:
    return next(row for row in rows(bench) if isinstance(row, KeyRow) and row.id == key_id)


def limit_rows(bench: Bench, scope: str) -> list[LimitRow]:
    return [row for row in rows(bench) if isinstance(row, LimitRow) and row.scope == scope and not row.deleted]


def digest(bench: Bench, key: str) -> bytes:
    with bench.store.begin() as conn:
        pepper = load_pepper(conn, bench.vault)
    return key_format.digest(pepper.reveal(), key.encode())


def audited(bench: Bench) -> list[Any]:
    with bench.store.begin() as conn:
        return list(conn.execute(select(tables.audit).order_by(tables.audit.c.seq)).all())


def test_a_key_is_given_once_and_found_by_its_digest(bench: Bench) -> None:
    made = bench.issue(team="red", provider=["openai"], model=["gpt-4o*"], network=["10.0.0.0/8"], max_output=100)
    parsed = key_format.parse(made["key"])
    assert parsed is not None
    assert parsed.id == made["id"]
    row = key_row(bench, made["id"])
    assert row.digest == digest(bench, made["key"])
    assert (row.owner, row.team, row.name, row.state) == ("app@example.com", "red", "app", "live")
    assert row.policy == Policy(providers=("openai",), models=("gpt-4o*",), networks=("10.0.0.0/8",), max_output=100)


def test_every_rule_of_a_policy_can_be_set(bench: Bench) -> None:
    made = bench.issue(
        endpoint=["chat.completions"],
        hours=["Mon-Fri 08:00-18:00"],
        clamp=True,
        allow_unbounded=True,
        on_disconnect="close",
    )
    assert key_row(bench, made["id"]).policy == Policy(
        endpoints=("chat.completions",),
        hours=("mon-fri 08:00-18:00",),
        clamp=True,
        allow_unbounded=True,
        on_disconnect="close",
    )


def test_without_a_budget_the_default_applies_and_observes(bench: Bench) -> None:
    made = bench.issue()
    (limit,) = limit_rows(bench, f"key:{made['id']}")
    assert (limit.kind, limit.amount, limit.window, limit.mode) == ("usd", 20 * 10**9, "day", "observe")
    assert key_row(bench, made["id"]).policy.max_output is None


def test_the_default_is_a_setting(bench: Bench) -> None:
    bench.settings = Settings(mode="enforce", ledger=LedgerSettings(default_budget="3usd/month"))
    made = bench.issue()
    (limit,) = limit_rows(bench, f"key:{made['id']}")
    assert (limit.amount, limit.window, limit.mode) == (3 * 10**9, "month", "enforce")


def test_what_a_person_sets_enforces_unless_the_key_observes(bench: Bench) -> None:
    firm = bench.issue(budget=["5usd/day", "100usd/month", "1000tokens/hour"], rate=["60req/min"], concurrency=3)
    soft = bench.issue(budget=["5usd/day"], mode="observe")
    strict = bench.issue(mode="enforce")
    found = {(limit.kind, limit.window): limit for limit in limit_rows(bench, f"key:{firm['id']}")}
    assert {limit.mode for limit in found.values()} == {"enforce"}
    assert found["rate", "life"].amount == 60
    assert found["rate", "life"].per_s == 60
    assert found["concurrency", "life"].amount == 3
    assert len(found) == 5
    assert [limit.mode for limit in limit_rows(bench, f"key:{soft['id']}")] == ["observe"]
    assert [limit.mode for limit in limit_rows(bench, f"key:{strict['id']}")] == ["enforce"]


def test_a_key_may_be_left_to_people(bench: Bench) -> None:
    assert key_row(bench, bench.issue(respond="alert")["id"]).policy.respond == "alert"
    assert key_row(bench, bench.issue()["id"]).policy.respond is None


def test_a_ramp_allowance_is_shown_and_fed_as_money(bench: Bench) -> None:
    key_id = bench.issue(budget=["none"])["id"]
    with bench.store.begin() as conn:
        spec = LimitSpec("rate", 3 * 10**9, per_s=600, is_default=True, unit="nusd")
        add_limit(conn, bench.store, f"key:{key_id}", spec)
    (shown,) = bench.run("key show", id=key_id)["limits"]
    assert (shown["text"], shown["unit"]) == ("ramp of 3.00 usd per 600 s", "nusd")
    (limit,) = limit_rows(bench, f"key:{key_id}")
    assert (limit.kind, limit.unit, limit.amount, limit.per_s, limit.mode) == (
        "rate",
        "nusd",
        3 * 10**9,
        600,
        "observe",
    )


def test_no_budget_is_explicit_and_on_record(bench: Bench) -> None:
    made = bench.issue(budget=["none"])
    assert limit_rows(bench, f"key:{made['id']}") == []
    assert audited(bench)[-1].tag == "admin:key:issue_unbudgeted"


def test_the_audit_log_knows_the_owner_by_number_and_nothing_of_the_key(bench: Bench) -> None:
    made = bench.issue(owner="Jane.Doe@example.com", name="secret-project")
    text = "".join(str(row) for row in audited(bench))
    assert "jane" not in text.lower()
    assert made["key"] not in text
    assert audited(bench)[-1].actor == "os:1000"
    assert audited(bench)[-1].subject == f"key:{made['id']}"


def test_an_owner_is_one_person_however_written(bench: Bench) -> None:
    bench.issue(owner="App@Example.com")
    bench.issue(owner="app@example.com")
    assert [row["email"] for row in bench.run("people list")["rows"]] == ["admin@example.com", "app@example.com"]


def test_a_key_expires(bench: Bench) -> None:
    made = bench.issue(expires="30d")
    assert made["expires_us"] == NOON_US + 30 * DAY_US
    assert key_row(bench, made["id"]).expires_us == NOON_US + 30 * DAY_US
    bench.clock.advance(31 * 86_400)
    assert bench.run("key list")["rows"][0]["state"] == "expired"


def test_a_canary_looks_like_any_key(bench: Bench) -> None:
    made = bench.issue(canary=True)
    assert key_format.parse(made["key"]) is not None
    assert key_row(bench, made["id"]).canary


@pytest.mark.parametrize(
    "options",
    [
        {"owner": "not an address"},
        {"owner": ""},
        {"name": " "},
        {"name": "a\x1b[2J"},
        {"name": "x" * 101},
        {"team": "a b"},
        {"provider": ["nobody"]},
        {"model": [""]},
        {"network": ["10.9.8.7/24"]},
        {"network": ["example.com"]},
        {"hours": ["office hours"]},
        {"budget": ["5usd"]},
        {"budget": ["none", "5usd/day"]},
        {"budget": ["5usd/day", "6usd/day"]},
        {"rate": ["60req"]},
        {"concurrency": 0},
        {"max_output": 0},
        {"expires": "soon"},
        {"credential": "nowhere"},
    ],
    ids=str,
)
def test_wrong_options_say_what_to_do_and_leave_nothing(bench: Bench, options: dict[str, Any]) -> None:
    before = len(audited(bench))
    with pytest.raises(UserError) as caught:
        bench.issue(**options)
    assert caught.value.remedy
    assert caught.value.status == 2
    assert bench.run("key list")["rows"] == []
    assert len(audited(bench)) == before


def test_a_key_may_be_bound_to_one_credential_of_a_provider_that_it_may_use(bench: Bench) -> None:
    bench.credential("main")
    assert key_row(bench, bench.issue(credential="main")["id"]).policy.credential == "main"
    with pytest.raises(UserError, match="which the key may not use"):
        bench.issue(credential="main", provider=["anthropic"])


def test_rotating_ends_the_old_secret_at_once(bench: Bench) -> None:
    made = bench.issue()
    fresh = bench.run("key rotate", id=made["id"])
    row = key_row(bench, made["id"])
    assert fresh["id"] == made["id"]
    assert row.digest == digest(bench, fresh["key"])
    assert row.retiring == ()


def test_rotating_with_grace_accepts_the_old_secret_for_a_while(bench: Bench) -> None:
    made = bench.issue()
    bench.run("key rotate", id=made["id"], grace="24h")
    bench.clock.advance(60)
    fresh = bench.run("key rotate", id=made["id"], grace="1h")
    row = key_row(bench, made["id"])
    until = bench.clock.now_us() + 3_600 * US_PER_S
    assert row.digest == digest(bench, fresh["key"])
    assert len(row.retiring) == 2
    assert row.retiring[0] == (digest(bench, made["key"]), until)
    bench.run("key rotate", id=made["id"])
    assert key_row(bench, made["id"]).retiring == ()


def test_the_states_of_a_key(bench: Bench) -> None:
    key_id = bench.issue()["id"]
    bench.run("key throttle", id=key_id, rate="6req/min")
    assert key_row(bench, key_id).throttle_per_min == 6
    bench.run("key quarantine", id=key_id, reason="looks stolen")
    assert key_row(bench, key_id).state == "quarantined"
    assert audited(bench)[-1].detail == {"reason": "looks stolen"}
    bench.run("key release", id=key_id)
    assert (key_row(bench, key_id).state, key_row(bench, key_id).throttle_per_min) == ("live", None)
    bench.run("key revoke", id=key_id)
    assert key_row(bench, key_id).state == "revoked"
    for command in ("key release", "key quarantine", "key rotate"):
        with pytest.raises(UserError, match="revoked"):
            bench.run(command, id=key_id)


@pytest.mark.parametrize("rate", ["1req/hour", "7req/hour", "x"])
def test_a_throttle_is_a_whole_number_per_minute(bench: Bench, rate: str) -> None:
    key_id = bench.issue()["id"]
    with pytest.raises(UserError):
        bench.run("key throttle", id=key_id, rate=rate)
    assert bench.run("key throttle", id=key_id, rate="2req/s")["throttle_per_min"] == 120


def test_a_change_comes_as_the_next_row_of_the_feed(bench: Bench) -> None:
    first, second = bench.issue()["id"], bench.issue()["id"]
    with bench.store.begin() as conn:
        seq = bench.store.seq(conn)
    bench.run("key quarantine", id=first)
    changed = rows(bench, seq)
    assert [row.id for row in changed] == [first]
    assert second not in msgspec.json.encode([row.id for row in changed]).decode()


def test_a_whole_key_in_place_of_an_id_is_not_repeated(bench: Bench) -> None:
    made = bench.issue()
    for given in (made["key"], "sk-" + made["key"], "sk-upstream-secret-0123456789", "AKIAIOSFODNN7EXAMPLE"):
        reply = bench.reply("key show", id=given)
        assert given not in reply.problem + reply.remedy
        assert reply.status == 2


def test_show_tells_everything_but_the_key(bench: Bench) -> None:
    made = bench.issue(budget=["5usd/day"], network=["10.0.0.0/8"])
    shown = bench.run("key show", id=made["id"])
    assert shown["owner"] == "app@example.com"
    assert shown["policy"]["networks"] == ("10.0.0.0/8",)
    assert shown["limits"][0]["text"] == "5.00 usd per day"
    assert made["key"].rpartition("_")[2] not in str(shown)


def test_a_failing_database_is_named_without_what_was_written(bench: Bench) -> None:
    with bench.store.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE teams RENAME TO elsewhere")
    reply = bench.reply("team add", name="distinctive")
    with bench.store.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE elsewhere RENAME TO teams")
    assert reply.status == 3
    assert "database failed" in reply.problem
    assert "distinctive" not in reply.problem + reply.remedy
    assert "Traceback" not in reply.problem


def test_an_unknown_command_and_a_failure_inside_become_replies(bench: Bench) -> None:
    assert bench.reply("key frobnicate").status == 2
    assert bench.reply("nothing").status == 2
    broken = bench.reply("key issue")
    assert broken.status == 3
    assert "Traceback" not in broken.problem
