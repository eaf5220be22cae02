"""Random concurrent schedules over many keys and three levels of limits: is a limit ever passed, a cent ever lost?"""

import asyncio
import json
import random
import sqlite3
from collections import Counter
from typing import NamedTuple

import uvloop

from tests.acceptance import books, pricing
from tests.acceptance.asks import OPENAI, Asks
from tests.acceptance.books import Row, percent, usd
from tests.acceptance.load import Ask, Load
from tests.acceptance.money_refusals import false_refusals
from tests.acceptance.system import System
from tests.acceptance.timeline import Timeline

SEGMENT_BYTES = 48 << 20
"""Large enough that no gate fills its first segment: the journals stay whole until they are read."""


class Size(NamedTuple):
    """How much: requests in calm and in torn traffic, keys, requests at the same time."""

    calm: int
    torn: int
    keys: int
    workers: int
    expected_nusd: int


FULL = Size(8_000, 2_000, 50, 48, 4_500_000)
SMALL = Size(700, 200, 12, 24, 4_500_000)


class Schedules:
    """One run: an installation, its keys, what every request met, and what the journals say afterwards."""

    def __init__(self, folder, size, seed):
        self.size = size
        self.chance = random.Random(seed)
        environment = {"JACKSTOP_JOURNAL_SEGMENT_BYTES": str(SEGMENT_BYTES)}
        self.system = System(folder, workers=2, environment=environment).set_up().up()
        self.rows = []
        self.met = []
        self.clean_bill = 0

    # -- keys and limits ----------------------------------------------------------------------------------------

    def issue_keys(self):
        """Limits drawn around what the load is expected to cost, so that each level refuses some of it."""
        chance, size, system = self.chance, self.size, self.system
        whole = size.expected_nusd * (size.calm + size.torn)
        teams = [f"t{number}" for number in range(5)]
        for number, team in enumerate(teams):
            share = whole * (0.5, 0.9, 1.2, 2, 4)[number] / len(teams)
            books.ask_control(system, "budget set", scope=f"team:{team}", amount=_usd(share))
        books.ask_control(system, "budget set", scope="org", amount=_usd(whole * 0.93))
        self.keys = []
        for number in range(size.keys):
            share = whole / size.keys * chance.choice((0.3, 0.8, 1.5, 3, 10))
            budget = [_usd(share)]
            if number % 7 == 1:
                budget.append(f"{int(share / 1_000)}tokens/day")
            if number % 7 == 2:
                budget.append(f"{max(5, int(1.2 * (size.calm + size.torn) / size.keys))}req/hour")
            rate = (8, 1) if number % 6 == 3 else None
            concurrency = 3 if number % 6 == 5 else None
            self.keys.append(
                books.issue(system, f"k{number}", teams[number % 5], tuple(budget), rate, concurrency, max_output=4_096)
            )
        books.wait_fresh(system)

    # -- load ---------------------------------------------------------------------------------------------------

    def _jobs(self, amount, *, torn):
        asks = Asks(self.chance, torn=torn)
        for _ in range(amount):
            yield self.chance.choice(self.keys).secret, asks.draw()

    async def _drive(self, load, amount, *, torn):
        # Bursts: a part of the schedule has no pause between requests, another waits.
        for pause_ms, share in ((0, 0.4), (40, 0.4), (5, 0.2)):
            await load.run(self._jobs(int(amount * share), torn=torn), self.size.workers, pause_ms)
        load.close()

    def drive(self):
        """Calm traffic first, whose bill must be exact; then traffic whose answers break off."""
        load = Load(self.system.port, self.chance, keep_bodies=True)
        with books.Watch(self.system, interval_s=1.0) as watch:
            for torn, amount in ((False, self.size.calm), (True, self.size.torn)):
                uvloop.run(self._drive(load, amount, torn=torn))
                books.quiet(self.system)
                if not torn:
                    self.calm_settled, self.calm_billed = self._org(), self.system.sandbox.bill()
                    self.calm_kept = books.kept_holds(self.system)[0]
        watch.look()
        self.watch = watch
        self.met = load.met

    def _org(self):
        (row,) = [row for row in books.budgets(self.system) if row["scope"] == "org"]
        return row["settled"]

    def read(self):
        """Everything that the checks look at, while nothing is under way."""
        self.replays = self.system.replays()
        self.timeline = Timeline(self.system.home / "journal")
        self.budgets = books.budgets(self.system)
        self.kept, _ = books.kept_holds(self.system)
        self.seen = books.sandbox_rows(self.system)
        self.bill = self.system.sandbox.bill()
        self.event_of = {event["user_agent"]: event for event in self.timeline.events}

    # -- checks -------------------------------------------------------------------------------------------------

    def check(self):
        events = self.timeline.events
        decisions = Counter(met.decision for met in self.met)
        reasons = Counter(met.reason for met in self.met if met.reason)
        streams = sum(met.ask.stream for met in self.met)
        add = self._add
        add("requests", f"{len(self.met):,} ({percent(streams, len(self.met))} streams)")
        add("what they met", ", ".join(f"{name} {count:,}" for name, count in sorted(decisions.items())))
        add("refused for", ", ".join(f"{name} {count:,}" for name, count in sorted(reasons.items())) or "nothing")
        unmatched = Counter(met.agent for met in self.met)
        unmatched.subtract(event["user_agent"] for event in events)
        add("requests without exactly one event", sum(map(bool, unmatched.values())), "0", zero=True)
        add("limits passed, in any of the looks at the books", len(self.watch.over_limit), "0", zero=True)
        add("looks at the books", self.watch.looks)
        add("looks with settled + held below the bill", len(self.watch.below_bill), "0", zero=True)
        bad = [violation for replay in self.replays for violation in replay.violations]
        add("records after which more was held than leased", len(bad), "0", zero=True)
        add("overruns", sum(replay.overruns for replay in self.replays), "0", zero=True)
        add("holds still open in the journals", len(self.timeline.open), "0", zero=True)
        self._check_bill()
        self._check_each()
        self._check_sums()
        self._check_prices()
        self._check_refusals()

    def _add(self, what, figure, bound="", *, zero=False, held=None):
        text = f"{figure:,}" if isinstance(figure, int) else str(figure)
        self.rows.append(Row(what, text, bound, (figure == 0) if held is None and zero else held is not False))

    def _check_bill(self):
        """Calm: ledger − bill within [0, 1 nano-dollar × requests). After it: the rest is what kept holds explain."""
        billed = sum(row["cost_nusd"] for row in self.calm_billed)
        requests = sum(row["requests"] for row in self.calm_billed)
        over = self.calm_settled - billed
        self._add(
            "ledger less bill, nothing cut",
            f"{over:,} nUSD of {usd(billed)}, {requests:,} requests billed",
            "0 ≤ d < 1 nUSD × requests",
            held=0 <= over < requests and not self.calm_kept,
        )
        billed, settled = sum(row["cost_nusd"] for row in self.bill), self._org()
        named = {self._row(event)["id"] for event in self.timeline.events if self._row(event)}
        explained = -sum(row["units"] for row in self.seen.values() if row["id"] not in named) / 1e6
        for event in self.timeline.events:
            if event.get("estimated"):
                explained += event["cost_nusd"] - self._units(event) / 1e6
        rest = settled - billed - explained
        self._add(
            "ledger less bill, answers cut",
            f"{usd(settled - billed)}, of which estimated holds explain {usd(explained)}",
            "the rest as above",
            held=-1 < rest < sum(row["requests"] for row in self.bill) + 1,
        )

    def _row(self, event):
        return self.seen.get(event.get("request_id", "")[-32:])

    def _units(self, event):
        row = self._row(event)
        return row["units"] if row else 0

    def _check_each(self):
        """Every single request: its cost against its row on the sandbox's bill."""
        wrong = low = unlisted = 0
        seen = set()
        for event in self.timeline.events:
            row = self._row(event)
            cost = event.get("cost_nusd", 0) or 0
            if row is not None:
                seen.add(row["id"])
            if event.get("estimated"):
                low += row is not None and cost * 1_000_000 < row["units"]
                unlisted += event["hold_id"] not in self.kept
            elif row is not None:
                wrong += not 0 <= cost * 1_000_000 - row["units"] < 1_000_000
            else:
                wrong += cost != 0
        lost = [row for row in self.seen.values() if row["units"] and row["id"] not in seen]
        nameless = sum(bool(event.get("estimated")) and self._row(event) is None for event in self.timeline.events)
        estimated = {event["hold_id"] for event in self.timeline.events if event.get("estimated")}
        self._add("requests whose cost differs from the sandbox's by 1 nUSD or more", wrong, "0", zero=True)
        self._add("estimated requests below what the sandbox billed", low, "0", zero=True)
        self._add("estimated requests that are not listed as holds", unlisted, "0", zero=True)
        self._add("listed holds that no event explains", len(set(self.kept) - estimated), "0", zero=True)
        self._add(
            "billed requests that no event names, but for nameless estimated ones",
            max(0, len(lost) - nameless),
            "0",
            zero=True,
        )
        self._add("holds kept charged as estimated", len(estimated))

    def _check_sums(self):
        """Each budget's books against the sum over its keys' events."""
        team_of = {key.id: key.team for key in self.keys}
        totals = Counter()
        for event in self.timeline.events:
            if "hold_id" not in event:
                continue
            team = team_of.get(event["key_id"], "")
            for scope in ("org", f"team:{team}", f"key:{event['key_id']}"):
                totals[scope, "usd"] += event["cost_nusd"]
        wrong = sum(row["settled"] != totals[row["scope"], "usd"] for row in self.budgets if row["kind"] == "usd")
        used = sum(row["settled"] > 0.98 * row["limit"] for row in self.budgets if row["kind"] == "usd")
        self._add("budgets whose books differ from their events' sum", wrong, "0", zero=True)
        self._add("budgets used to 98 % or more", f"{used} of {len(self.budgets)}")

    def _check_prices(self):
        """Events against a price table of the tests' own, wherever the client saw the usage report."""
        checked, wrong = Counter(), []
        for met in self.met:
            event = self.event_of.get(met.agent)
            if met.decision != "admitted" or met.status != 200 or event is None or event.get("estimated"):
                continue
            due = pricing.cost(met.body, event["provider"], event["ts"])
            if due is None:
                continue
            checked[event["provider"]] += 1
            if due != event["cost_nusd"]:
                wrong.append((met.ask.kind, event["model"], due, event["cost_nusd"]))
        self.wrong_prices = wrong
        counts = ", ".join(f"{provider} {count:,}" for provider, count in sorted(checked.items()))
        self._add("responses priced anew by the tests' own table", counts, held=len(checked) == 3)
        self._add("of them priced otherwise by the gate", len(wrong), "0", zero=True)

    def _check_refusals(self):
        found = false_refusals(self.timeline, self.budgets, self.keys, self.met)
        self.refusals = found
        self.rows += found.rows(len(self.met))

    # -- an overrun, and raw SQL --------------------------------------------------------------------------------

    def force_overrun(self):
        """A provider that writes past its cap: booked whole, found, and the next such request held at the window."""
        key = books.issue(self.system, "overrun", "", ("100usd/day",))
        books.ask_control(self.system, "budget set", scope="org", amount="100000usd/day")
        books.wait_fresh(self.system)
        before = self._org()
        load = Load(self.system.port, self.chance, keep_bodies=True)

        async def two():
            first = await load.send(key.secret, _small_ask("over_cap=50000"))
            await asyncio.to_thread(books.quiet, self.system)
            books.wait_fresh(self.system)
            second = await load.send(key.secret, _small_ask("out=5"))
            load.close()
            return first, second

        first, second = uvloop.run(two())
        books.quiet(self.system)
        events = {event["user_agent"]: event for event in Timeline(self.system.home / "journal").events}
        over, after = events[first.agent], events[second.agent]
        cost = pricing.cost(first.body, "openai", over["ts"])
        booked = self._org() - before
        expected = cost + after["cost_nusd"]
        self._add(
            "a forced overrun is booked whole",
            f"held {usd(over['hold_nusd'])}, cost {usd(cost)}, booked {usd(over['cost_nusd'])}",
            "all of it",
            held=over["hold_nusd"] < cost == over["cost_nusd"] and booked == expected and "overrun" in over["markers"],
        )
        window = 128_000 * 2_500
        self._add(
            "the next like request is held at the context window",
            usd(after["hold_nusd"]),
            f"≥ {usd(window)}",
            held=after["hold_nusd"] >= window > over["hold_nusd"],
        )

    def attack_with_sql(self):
        """Stop, and try to write books beyond a limit straight into the database."""
        self.system.stop()
        found = books.database(self.system)
        findings = found.execute("SELECT count(*) FROM findings WHERE detection = 'overrun'").fetchone()[0]
        self._add("findings of overruns", findings, "1", held=findings == 1)
        windows = found.execute("SELECT * FROM windows").fetchall()
        passed = [row for row in windows if row["settled"] + row["leased"] > row["amount"] + row["over"]]
        self._add("rows of the books beyond their limit, stopped", len(passed), "0", zero=True)
        tries = accepted = 0
        for row in windows:
            room = row["amount"] + row["over"] - row["settled"] - row["leased"]
            where = f"limit_id = {row['limit_id']} AND window_us = {row['window_us']}"
            for change in (
                f"settled = settled + {room + 1}",
                f"leased = leased + {room + 1}",
                f"amount = amount - {room + 1}",
                "settled = -1",
                "leased = -1",
                '"over" = -1',
            ):
                tries += 1
                try:
                    found.execute(f"UPDATE windows SET {change} WHERE {where}")
                    accepted += 1
                except sqlite3.IntegrityError:
                    pass
                found.rollback()
        self._add(
            "writes past a limit in raw SQL that the database took", f"{accepted} of {tries:,}", "0", held=not accepted
        )
        found.close()

    def close(self):
        self.system.close()


def _usd(nusd):
    return f"{int(nusd) / 1_000_000_000:.9f}usd/day"


def _small_ask(behaviour):
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": f"Count the leaves. [[sandbox: {behaviour}]]"}],
        "max_tokens": 50,
    }
    return Ask("overrun", OPENAI, json.dumps(body).encode())


def run(folder, size, seed):
    """The whole section: its rows, those of the refusals among them."""
    schedules = Schedules(folder, size, seed)
    try:
        schedules.issue_keys()
        schedules.drive()
        schedules.read()
        schedules.check()
        schedules.force_overrun()
        schedules.attack_with_sql()
        return schedules
    finally:
        schedules.close()
