"""Hard limits at the providers: set, read again, and told about when somebody changes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from jackstop.cli.main import main as program
from jackstop.control.commands import run
from jackstop.errors import UserError
from jackstop.money import NUSD_PER_USD as USD
from jackstop.providers import drivers
from jackstop.providers.drivers.driver import CallFailed, ProviderLimit
from jackstop.reconcile.brakes import Brakes, Known, Task, changes
from jackstop.settings import Home, Settings
from jackstop.store.engine import Store
from jackstop.store.tables import audit, findings
from tests.control.command_bench import Bench
from tests.sandbox.practice import Practice, running
from tests.waiting import wait_for

SECRET = "sk-admin-0123456789abcdefghij"
SECRETS = {"anthropic": "sk-ant-admin01-0123456789abcdefghij"}
HOUR_S = 3_600
PROJECT = "project:proj_one"
URLS = {"openai": "/openai/v1", "anthropic": "/anthropic", "openrouter": "/openrouter/api/v1"}
PLACES = {"openai": {"project": "proj_one"}, "anthropic": {"workspace": "wrkspc_one"}, "openrouter": {}}


class World(Bench):
    """Control's commands, the worker that sets and reads limits, and the practice providers behind them."""

    def __init__(self, store: Store, home: Home, practice: Practice) -> None:
        super().__init__(store, home, Settings())
        self.clock = practice.clock
        self.practice = practice
        self.dies_at = ""
        self.brakes = Brakes(self.ask)

    def ask(self, command: str, args: dict[str, Any]) -> Any:
        if command == self.dies_at:
            raise KeyboardInterrupt
        reply = run(self.context, command, args)
        if reply.problem:
            raise UserError(reply.problem, reply.remedy, reply.status)
        return reply.result

    def keep(self, name: str = "main", driver: str = "openai", **place: str) -> None:
        """A credential at an administration."""
        if driver not in {row["name"] for row in self.run("administration list")["rows"]}:
            url = self.practice.url + URLS[driver]
            secret = SECRETS.get(driver, SECRET)
            self.run("administration add", name=driver, driver=driver, base_url=url, secret=secret)
        key = self.practice.seed(driver, name=name)
        self.credential(name, secret=key["secret"], provider_key_id=key["id"])
        self.run("administration link", name=name, administration=driver, place=place or PLACES[driver])

    def want(self, amount: str, name: str = "main") -> Any:
        return self.run("brakes want", name=name, amount=amount)

    def step(self, later_s: float = HOUR_S + 1) -> int:
        self.clock.advance(later_s)
        return self.brakes.step()

    def rows(self, name: str = "main") -> dict[str, tuple[int | None, int | None]]:
        """Amount and wish by scope."""
        rows = self.run("brakes show", name=name)["rows"]
        return {row["scope"]: (row["amount_nusd"], row["wanted_nusd"]) for row in rows}

    def found(self) -> list[tuple[str, str, str]]:
        """Severity, entity and what was done, of every finding."""
        with self.store.begin() as conn:
            rows = conn.execute(select(findings).order_by(findings.c.id)).all()
        return [(row.severity, row.entity, row.evidence["how"]) for row in rows]

    def findings(self) -> list[tuple[str, str, str]]:
        with self.store.begin() as conn:
            rows = conn.execute(select(findings).order_by(findings.c.entity)).all()
        return [(row.detection, row.entity, row.severity) for row in rows]

    def at_openai(self, usd: int | None, project: str = "proj_one") -> None:
        """Somebody changes the limit in the console."""
        limit = self.practice.openai_admin().projects.spend_limit
        if usd is None:
            limit.delete(project)
        else:
            limit.update(project, threshold_amount=usd * 100, currency="USD", interval="month")


@pytest.fixture(scope="module")
def served() -> Iterator[Practice]:
    with running() as practice:
        yield practice


@pytest.fixture
def world(served: Practice, store: Store, home: Home) -> World:
    served.begin()
    return World(store, home, served)


@pytest.fixture
def main(world: World) -> World:
    world.keep()
    return world


# -- set and shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "scope"),
    [("openai", PROJECT), ("anthropic", "workspace:wrkspc_one"), ("openrouter", "key:")],
)
def test_a_limit_is_written_down_then_set_then_seen(world: World, driver: str, scope: str) -> None:
    world.keep(driver=driver)
    shown = world.want("50usd/month")
    assert (shown["waiting_nusd"], shown["rows"]) == (50 * USD, [])
    assert world.step(0) == 1
    ((seen, amounts), *_) = [item for item in world.rows().items() if item[0].startswith(scope)]
    assert seen.startswith(scope)
    assert amounts == (50 * USD, 50 * USD)
    assert world.run("brakes show", name="main")["waiting_nusd"] is None
    assert world.step(0) == 0
    assert world.found() == []


def test_a_worker_that_was_killed_after_the_call_sets_the_same_again(main: World) -> None:
    main.want("50usd/month")
    main.dies_at = "brakes record"
    with pytest.raises(KeyboardInterrupt):
        main.step(0)
    assert main.run("brakes show", name="main")["waiting_nusd"] == 50 * USD
    main.dies_at = ""
    main.brakes = Brakes(main.ask)
    assert main.step() == 1
    assert main.rows()[PROJECT] == (50 * USD, 50 * USD)
    assert main.found() == []


def test_what_was_said_last_counts(main: World) -> None:
    main.want("50usd/month")
    main.want("20usd/month")
    main.step(0)
    main.want("70usd/month")
    main.step(0)
    assert main.rows()[PROJECT] == (70 * USD, 70 * USD)
    assert main.found() == []


def test_a_provider_that_refuses_is_said_and_asked_again(world: World) -> None:
    world.keep(driver="anthropic")
    world.practice.mode(spend_limit_writes=0)
    world.want("50usd/month")
    world.step(0)
    shown = world.run("brakes show", name="main")
    assert "HTTP 403" in shown["problem"]
    assert SECRETS["anthropic"] not in str(shown)
    assert world.step(10) == 0
    world.practice.mode(spend_limit_writes=1)
    assert world.step(301) == 1
    assert world.run("brakes show", name="main")["problem"] == ""
    assert world.rows()["workspace:wrkspc_one"] == (50 * USD, 50 * USD)


@pytest.mark.parametrize("amount", ["50usd/day", "50req/month", "0usd/month", "a lot"])
def test_an_amount_that_no_provider_keeps_is_refused(main: World, amount: str) -> None:
    with pytest.raises(UserError):
        main.want(amount)


def test_a_credential_without_an_api_for_limits_is_told_so(world: World) -> None:
    world.credential("alone")
    with pytest.raises(UserError, match="kept at no administration"):
        world.want("50usd/month", "alone")
    world.credential("fast")
    world.run("administration add", name="groq", driver="groq", base_url=world.practice.url, secret=SECRET)
    world.run("administration link", name="fast", administration="groq")
    with pytest.raises(UserError, match="no API for hard limits"):
        world.want("50usd/month", "fast")
    assert world.step() == 0


def test_the_audit_log_says_who_wanted_what(main: World) -> None:
    main.want("50usd/month")
    with main.store.begin() as conn:
        rows = conn.execute(select(audit).where(audit.c.tag == "admin:credential:limit")).all()
    assert [(row.actor, row.subject, row.detail) for row in rows] == [
        ("os:1000", "credential:main", {"wanted_nusd": 50 * USD})
    ]


# -- watched ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "severity", "how"), [(500, "high", "raised"), (None, "high", "removed"), (10, "medium", "lowered")]
)
def test_somebody_who_changes_a_wanted_limit_is_told_of_once(
    main: World, now: int | None, severity: str, how: str
) -> None:
    main.want("50usd/month")
    main.step(0)
    main.at_openai(now)
    assert main.step(HOUR_S / 2) == 0
    for _ in range(3):
        main.step()
    assert main.found() == [(severity, "credential:main", how)]
    assert main.rows()[PROJECT] == (None if now is None else now * USD, 50 * USD)


def test_jackstop_does_not_fight_and_says_when_it_happens_again(main: World) -> None:
    main.want("50usd/month")
    main.step(0)
    for usd in (500, 50, 600):
        main.at_openai(usd)
        main.step()
    assert main.found() == [("high", "credential:main", "raised")] * 2
    (case,) = main.run("cases list")["rows"]
    assert case["title"] == "A hard limit at the provider was changed: credential main"
    assert main.run("credential list")["rows"][0]["state"] == "active"


def test_a_limit_that_nobody_set_here_is_watched_less_loudly(main: World) -> None:
    main.at_openai(100)
    main.step()
    main.at_openai(900)
    main.step()
    main.at_openai(20)
    main.step()
    main.at_openai(None)
    main.step()
    assert [(severity, how) for severity, _, how in main.found()] == [
        ("medium", "raised"),
        ("low", "lowered"),
        ("medium", "removed"),
    ]


def test_credentials_of_one_project_share_its_limit_and_its_case(main: World) -> None:
    main.keep("second")
    main.step()
    main.want("50usd/month")
    main.step(0)
    assert main.rows("second")[PROJECT] == (50 * USD, 50 * USD)
    main.at_openai(500)
    main.step()
    assert {entity for _, entity, _ in main.found()} == {"credential:main", "credential:second"}
    assert len(main.run("cases list")["rows"]) == 1


def test_a_limit_on_a_key_goes_over_to_the_key_after_it(world: World) -> None:
    world.keep(driver="openrouter")
    world.want("50usd/month")
    world.step(0)
    fresh = world.practice.seed("openrouter", name="fresh")
    status, _ = world.practice.call(
        "PATCH",
        f"/openrouter/api/v1/keys/{fresh['id']}",
        {"limit": 50, "limit_reset": "monthly"},
        headers={"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"},
    )
    assert status == 200
    world.run("administration link", name="main", provider_key_id=fresh["id"])
    world.step()
    assert world.found() == []
    assert world.rows() == {f"key:{fresh['id']}": (50 * USD, 50 * USD)}


def test_one_provider_that_is_away_keeps_nobody_from_the_others(main: World) -> None:
    main.run("administration add", name="gone", driver="anthropic", base_url="http://127.0.0.1:1", secret=SECRET)
    main.credential("far", provider="anthropic")
    main.run("administration link", name="far", administration="gone")
    main.want("50usd/month")
    main.want("50usd/month", "far")
    assert main.step(0) == 2
    assert main.rows()[PROJECT] == (50 * USD, 50 * USD)
    assert "no answer" in main.run("brakes show", name="far")["problem"]
    assert main.run("brakes show", name="main")["problem"] == ""


def test_what_goes_well_for_one_credential_hides_no_problem_of_another(
    main: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.keep("second", project="proj_two")
    main.step()
    whole = drivers.driver("openai").limits  # type: ignore[attr-defined]  # this one has limits

    def denied(_self: Any, admin: Any, place: Any) -> Any:
        if place["project"] == "proj_one":
            raise CallFailed("denied", "this project is not ours")
        return whole(admin, place)

    monkeypatch.setattr(type(drivers.driver("openai")), "limits", denied)
    main.step()
    assert main.run("brakes show", name="main")["problem"] == "this project is not ours"
    assert main.run("brakes show", name="second")["problem"] == ""
    # The other one is read again in an hour, this one sooner.
    assert main.step(301) == 1
    assert main.run("brakes show", name="main")["problem"] == "this project is not ours"


def test_limits_that_stay_unread_are_told_of(main: World, monkeypatch: pytest.MonkeyPatch) -> None:
    main.want("50usd/month")
    main.keep("second", project="proj_two")
    main.step(0)

    def away(*_: Any) -> Any:
        raise CallFailed("unreachable", "no answer")

    monkeypatch.setattr(type(drivers.driver("openai")), "limits", away)
    for _ in range(2):
        main.step()
    assert main.findings() == []
    for _ in range(2):
        main.step()
    told = [
        ("provider_limit_unread", "credential:main", "medium"),
        ("provider_limit_unread", "credential:second", "low"),
    ]
    assert main.findings() == told
    main.step()
    assert main.findings() == told
    assert len(main.run("cases list")["rows"]) == 1


def test_a_provider_that_never_had_the_api_is_not_told_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise CallFailed("missing", "spend limits are in early access")

    monkeypatch.setattr(type(drivers.driver("anthropic")), "limits", missing)
    world.keep(driver="anthropic")
    for _ in range(6):
        world.step()
    assert world.findings() == []


def test_a_failure_that_nobody_thought_of_keeps_nobody_from_the_others(
    main: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.run("administration add", name="gone", driver="anthropic", base_url="http://127.0.0.1:1", secret=SECRET)
    main.credential("far", provider="anthropic")
    main.run("administration link", name="far", administration="gone")

    def broken(*_: Any) -> Any:
        raise KeyError(SECRET)

    monkeypatch.setattr(type(drivers.driver("anthropic")), "set_limit", broken)
    main.want("50usd/month", "far")
    main.want("50usd/month")
    assert main.step(0) == 2
    assert main.rows()[PROJECT] == (50 * USD, 50 * USD)
    assert main.run("brakes show", name="far")["problem"] == "it failed inside (KeyError)"


def test_the_thread_works_by_itself(main: World) -> None:
    main.want("50usd/month")
    main.brakes.start()
    try:
        wait_for(lambda: main.rows().get(PROJECT) == (50 * USD, 50 * USD))
    finally:
        main.brakes.stop()


# -- compared ---------------------------------------------------------------------------------------------------


def known(amount: int | None, wanted: int | None = None, *, enforced: bool = True) -> Known:
    return Known("s", "month", amount, enforced, wanted)


def seen(amount: int | None, *, enforced: bool = True) -> list[ProviderLimit]:
    return [ProviderLimit("s", "month", amount, enforced)]


def seen_of(scope: str, amount: int) -> list[ProviderLimit]:
    return [ProviderLimit(scope, "month", amount)]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (known(5 * USD, 5 * USD), seen(6 * USD), [("raised", "high")]),
        (known(5 * USD, 5 * USD), seen(4 * USD), [("lowered", "medium")]),
        (known(5 * USD, 5 * USD), seen(None), [("removed", "high")]),
        (known(5 * USD, 5 * USD), [], [("removed", "high")]),
        (known(5 * USD, 5 * USD), seen(5 * USD, enforced=False), [("removed", "high")]),
        (known(5 * USD), seen(6 * USD), [("raised", "medium")]),
        (known(5 * USD), seen(4 * USD), [("lowered", "low")]),
        (known(5 * USD), [], [("removed", "medium")]),
        (Known("organization", "month", 5 * USD, True, None), [], [("removed", "high")]),
        (Known("organization", "month", 5 * USD, True, None), seen_of("organization", 6 * USD), [("raised", "medium")]),
        # As it was told already, as it should be again, or less than a cent apart.
        (known(6 * USD, 5 * USD), seen(6 * USD), []),
        (known(6 * USD, 5 * USD), seen(5 * USD), []),
        (known(5 * USD, 5 * USD), seen(5 * USD - 9_999_999), []),
        # One more where there was none.
        (known(None), seen(5 * USD), []),
        (known(5 * USD, enforced=False), seen(5 * USD), []),
        # From one deviation to the next.
        (known(6 * USD, 5 * USD), seen(None), [("removed", "high")]),
        (known(None, 5 * USD), seen(4 * USD), [("lowered", "medium")]),
    ],
)
def test_what_counts_as_a_change(before: Known, now: list[ProviderLimit], expected: list[tuple[str, str]]) -> None:
    assert [(each.how, each.severity) for each in changes([before], now)] == expected


def test_a_task_says_nothing_of_its_secret() -> None:
    assert SECRET not in repr(Task("main", "openai", "", {}, {}, SECRET))


def test_the_command_sets_and_shows(main: World, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def call(_self: Any, name: str, /, **args: Any) -> Any:
        return main.ask(name, args)

    monkeypatch.setattr("jackstop.cli.session.Session.call", call)
    assert program(["credential", "limit", "main", "50usd/month"]) == 0
    assert "50.00 USD a month is to be set" in capsys.readouterr().out
    main.step(0)
    assert program(["credential", "limit", "main"]) == 0
    assert f"{PROJECT}  month   50.00  50.00" in capsys.readouterr().out
    assert program(["credential", "limit", "main", "--json"]) == 0
    assert '"waiting_nusd": null' in capsys.readouterr().out
