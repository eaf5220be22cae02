"""What the tests of money share: keys in numbers, a watch over the books while load runs, the needs of a request."""

import json
import sqlite3
import threading
from typing import NamedTuple

from jackstop import providers
from jackstop.control import client
from jackstop.ledger import bounds
from jackstop.ledger.tokenizer import exact_input
from jackstop.settings import Home, LedgerSettings
from tests.acceptance.system import get, until

DEFAULT_OUTPUT = LedgerSettings().default_max_output


class Row(NamedTuple):
    """One figure of a section: what was measured, what came out, what it has to be, and whether it is."""

    what: str
    figure: str
    bound: str = ""
    held: bool = True


class Key(NamedTuple):
    """One issued key with the budgets on its path: {scope: …} and what limits its running requests."""

    secret: str
    id: str
    team: str
    scopes: tuple[str, ...]
    rate: tuple[int, int] | None
    concurrency: int | None


def ask_control(system, name, /, **args):
    """A command to the running control without a process of its own."""
    return client.ask(Home(system.home), name, args)


def issue(system, name, team="", budget=("1000000usd/day",), rate=None, concurrency=None, **options):
    args = {"owner": "app@example.com", "name": name, "budget": list(budget), **options}
    if team:
        args["team"] = team
    if rate:
        args["rate"] = [f"{rate[0]}req/{'s' if rate[1] == 1 else 'min'}"]
    if concurrency:
        args["concurrency"] = concurrency
    made = ask_control(system, "key issue", **args)
    scopes = ("org", *((f"team:{team}",) if team else ()), "owner:app@example.com", f"key:{made['id']}")
    return Key(made["key"], made["id"], team, scopes, rate, concurrency)


def wait_fresh(system):
    """Every gate has heard of everything that was commanded."""
    until(lambda: all(gate["fresh"] for gate in system.status()["gates"]), "fresh gates", 60)


def budgets(system):
    """The books of every budget: [{id, scope, kind, window, limit, settled, held, leased, …}]."""
    rows, after = [], None
    while True:
        page = ask_control(system, "budget show", **({"after": after} if after else {}))
        rows += page["rows"]
        after = page["after"]
        if not after:
            return rows


def kept_holds(system):
    """Holds that no provider accounted for, by id; and how many requests are under way."""
    rows, after = {}, None
    under_way = 0
    while True:
        page = ask_control(system, "budget holds", **({"after": after} if after else {}))
        for row in page["rows"]:
            if row["state"] == "under way":
                under_way += 1
            else:
                rows[row["id"]] = row
        after = page["after"]
        if not after:
            return rows, under_way


def quiet(system, seconds=60):
    """Wait until no request is under way and everything is booked."""
    until(lambda: kept_holds(system)[1] == 0, "no request under way", seconds)


class Watch:
    """Looks at the books again and again while load runs.

    The sandbox's bill is read first: what is settled and held a moment later on the organisation's budget has to
    cover it, since neither loses money that was billed.
    """

    def __init__(self, system, interval_s=0.5):
        self.system = system
        self.looks = 0
        self.over_limit = []
        self.below_bill = []
        self.failed = None
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()
        if self.failed is not None:
            raise self.failed

    def _run(self):
        try:
            while not self._stop.wait(self._interval_s):
                self.look()
        except Exception as error:
            self.failed = error

    def look(self):
        billed = self.system.sandbox.cost()
        rows = budgets(self.system)
        self.looks += 1
        for row in rows:
            if row["settled"] + row["leased"] > row["limit"]:
                self.over_limit.append(row)
            if row["scope"] == "org" and row["kind"] == "usd" and row["settled"] + row["held"] < billed:
                self.below_bill.append((billed, row))


def sandbox_rows(system):
    """Every request that the sandbox saw, by the 32 digits that its ids end in."""
    rows = get(f"{system.sandbox.url}/_sandbox/requests", timeout=60)
    return {row["id"][-32:]: row for row in rows}


def database(system):
    """The store of a stopped installation, for raw SQL."""
    connection = sqlite3.connect(system.home / "jackstop.db")
    connection.row_factory = sqlite3.Row
    return connection


def route_of(ask):
    return providers.route("POST", ask.path)


def needs(ask, ts_us, *, exact=True):
    """What a request needs of each kind of budget, as the gate would hold it at its second look."""
    route = route_of(ask)
    document = json.loads(ask.body)
    asked = route.meter.ask(document, len(ask.body))
    cap = (asked.output_cap or DEFAULT_OUTPUT) if asked.has_output else 0
    first = bounds.bound(route.provider, asked, cap, ts_us)
    nusd, tokens = first.nusd, first.tokens
    if exact:
        counted = exact_input(route.meter.texts(document), route.provider, asked.model)
        if counted is not None:
            second = bounds.bound(route.provider, asked, cap, ts_us, exact_input=counted)
            nusd, tokens = min(nusd, second.nusd), min(tokens, second.tokens)
    return {"usd": nusd, "tokens": tokens, "requests": 1}


def usd(nusd):
    return f"{nusd / 1e9:.4f} USD"


def percent(part, whole):
    return f"{100 * part / whole:.3f} %" if whole else "none"
