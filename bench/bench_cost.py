"""What control's look at the budgets costs: how long it takes, and for how long it keeps the store from others."""

import time

from sqlalchemy import insert, update

from bench.record import Table
from jackstop.clock import ManualClock
from jackstop.cost.watch import CostWatch
from jackstop.ledger.windows import bounds
from jackstop.settings import AlertSettings, Home, Settings
from jackstop.store import tables
from jackstop.store.engine import open_store

NOON_US = 1_795_435_200_000_000
BUDGET = 20 * 10**9
KEYS = 10_000


def fill(store, keys):
    """That many keys, each with a budget a day of which a twentieth is used."""
    start_us = bounds("day", NOON_US)[0]
    numbers = range(1, keys + 1)
    with store.begin() as conn:
        limit = {"kind": "usd", "amount": BUDGET, "window": "day", "is_default": True}
        conn.execute(insert(tables.limits), [{"id": n, "scope": f"key:{n}", "seq": n, **limit} for n in numbers])
        window = {"window_us": start_us, "amount": BUDGET, "settled": BUDGET // 20}
        conn.execute(insert(tables.windows), [{"limit_id": n, **window} for n in numbers])
        lease = {"window_us": start_us, "instance": "gate"}
        conn.execute(insert(tables.leases), [{"id": n, "limit_id": n, **lease} for n in numbers])


def look(watch):
    """Look until all is looked at: seconds in all, and the longest transaction in milliseconds."""
    began, longest, more = time.perf_counter(), 0.0, True
    while more:
        here = time.perf_counter()
        more = watch.look()
        longest = max(longest, time.perf_counter() - here)
    return round(time.perf_counter() - began, 3), round(longest * 1_000, 1)


def measure(folder, quick):
    keys = KEYS // 10 if quick else KEYS
    home, clock = Home(folder / "home"), ManualClock(NOON_US)
    home.create()
    store = open_store(Settings(), home)
    store.migrate()
    fill(store, keys)
    watch = CostWatch(store, AlertSettings(), clock)
    rows = [["all budgets, when control starts and every hour", *look(watch)]]
    clock.advance(30)
    rows.append(["nothing was spent", *look(watch)])
    clock.advance(30)
    watch.note(range(1, keys + 1))
    rows.append(["every key spent something", *look(watch)])
    with store.begin() as conn:
        conn.execute(update(tables.windows).values(settled=BUDGET * 11 // 20))
    clock.advance(30)
    watch.note(range(1, keys + 1))
    rows.append(["every key gives its first alerts at once", *look(watch)])
    store.close()
    longest = max(row[2] for row in rows)
    targets = [("the store is kept from a grant", f"{longest} ms", "< 250 ms", longest < 250)]
    yield Table(f"{keys:,} keys with a budget each", ["what", "s", "longest transaction, ms"], rows, "SQLite.", targets)


SECTIONS = {"cost": ("looking at budgets for cost alerts", measure)}
