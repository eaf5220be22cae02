"""The daily digest: a day's spending out of the lake, and what control knows of budgets, cases and health, as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from jackstop.clock import iso
from jackstop.keys.amounts import format_amount
from jackstop.money import NUSD_PER_USD

TOP = 5
DAY_US = 86_400_000_000


class Line(msgspec.Struct, frozen=True):
    """What one team, key or model cost on the day, and on the day before."""

    name: str
    nusd: int
    before_nusd: int


class Spend(msgspec.Struct, frozen=True):
    """A day's spending at list price. `requests` are those that the gate let through; lists have the dearest first."""

    day_us: int
    nusd: int
    before_nusd: int
    requests: int
    before_requests: int
    refused: int
    before_refused: int
    teams: tuple[Line, ...]
    keys: tuple[Line, ...]
    models: tuple[Line, ...]
    grown: tuple[Line, ...]
    """The keys whose cost grew most."""
    new_models: tuple[str, ...]


class BudgetLine(msgspec.Struct, frozen=True):
    """A budget of which much was used in the window that the digest is about."""

    subject: str
    kind: str
    amount: int
    window: str
    settled: int


class CaseLine(msgspec.Struct, frozen=True):
    """An open case."""

    id: int
    severity: str
    title: str


class State(msgspec.Struct, frozen=True):
    """What control knows: the fullest budgets, alerts given that day, open cases, and what is not as it should be."""

    budgets: tuple[BudgetLine, ...]
    alerts: int
    open_cases: int
    cases: tuple[CaseLine, ...]
    health: tuple[str, ...]


def title(spend: Spend) -> str:
    """The digest in one line."""
    return f"{_day(spend.day_us)}: {_usd(spend.nusd)} USD, {_change(spend.nusd, spend.before_nusd)}"


def render(spend: Spend, state: State) -> str:
    """The digest as plain text."""
    return "\n".join(_lines(spend, state))


def _lines(spend: Spend, state: State) -> Iterator[str]:
    yield f"Spent on {_day(spend.day_us)} (UTC, at list price): {_usd(spend.nusd)} USD, " + _change(
        spend.nusd, spend.before_nusd
    )
    yield f"Requests: {spend.requests:,}, the day before {spend.before_requests:,}"
    yield f"Refused: {spend.refused:,}, the day before {spend.before_refused:,}"
    for name, lines in (("team", spend.teams), ("key", spend.keys), ("model", spend.models)):
        yield from _section(f"By {name}", map(_line, lines))
    yield from _section("Grew most", (f"key {_line(line)}" for line in spend.grown))
    yield from _section("Models that the day before did not have", spend.new_models)
    yield from _section("Budgets half used or more", map(_budget, state.budgets))
    yield ""
    yield f"Cost alerts given: {state.alerts}"
    yield f"Open cases: {state.open_cases}"
    yield from (f"  {case.id} {case.severity}: {case.title}" for case in state.cases)
    yield from _section("Health", state.health or ("as it should be",))


def _section(name: str, lines: Any) -> Iterator[str]:
    shown = [f"  {line}" for line in lines]
    if shown:
        yield from ("", name, *shown)


def _line(line: Line) -> str:
    return f"{line.name}: {_usd(line.nusd)} USD, {_change(line.nusd, line.before_nusd)}"


def _budget(line: BudgetLine) -> str:
    share = f"{line.settled * 100 // line.amount} %" if line.amount else "all"
    used = format_amount(line.kind, line.settled)
    return f"{line.subject}: {share} of {format_amount(line.kind, line.amount)} per {line.window}, {used}"


def _change(now: int, before: int) -> str:
    """Against the day before, in percent where that says something."""
    if not before:
        return "nothing the day before" if now else "as the day before"
    percent = abs(now - before) * 100 // before
    return f"{'+' if now >= before else '−'}{percent} % against the day before"


def _usd(nusd: int) -> str:
    """Dollars and cents, rounded half up: a digest is read by people."""
    cents = (nusd * 100 + NUSD_PER_USD // 2) // NUSD_PER_USD
    return f"{cents // 100:,}.{cents % 100:02d}"


def _day(day_us: int) -> str:
    return iso(day_us)[:10]


def day_before(now_us: int) -> int:
    """The start of the UTC day before this one."""
    return now_us - now_us % DAY_US - DAY_US
