"""What Jackstop says of benign load: pages and throttles for each day of each key.

Whole days at once: findings are monotone and tumbling, so they are the same as those of a cycle every five seconds.
Whatever is found, somebody looks at it and closes it as benign by the end of the day, and nothing is held back from the
keys, so that each day is as if no alert had been given before.
"""

import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field

from bench.containment import benign, replay, traces, world
from bench.containment.gatekeeper import Gatekeeper
from bench.containment.parameters import parameters
from bench.containment.world import DAY, START, US
from jackstop.cases.policy import decide
from jackstop.detections.catalogue import load
from jackstop.detections.engine import Engine
from jackstop.events.warehouse import Warehouse
from jackstop.events.watch import ramps_of
from jackstop.settings import ResponseSettings

_MEMORY_MB = 3_072
_FREE = 10**18
_LEAST_BUDGET_NUSD = 20 * 10**9
_log = logging.getLogger(__name__)


@dataclass
class KeyDay:
    """One key on one day with requests. `found` are (detection, severity, action) of what began on that day."""

    key: str
    kind: str
    day: int
    mature: bool
    requests: int
    nusd: int
    ramp_refusals: int = 0
    found: list = field(default_factory=list)

    @property
    def paged(self):
        return any(severity in {"high", "critical"} for _, severity, _ in self.found)

    @property
    def throttled(self):
        return self.ramp_refusals > 0 or any(action in {"throttle", "quarantine"} for *_, action in self.found)


def run(half, per_trace, days=None, detections=None):
    """Every day with requests of the keys with the rates of one half of the traces."""
    lives = benign.lives(traces.halves()[half], per_trace, f"b{half}-")
    engine, rules = Engine(detections or load()), ResponseSettings()
    digests, inventory, found, before = {}, {}, [], []
    for day in range(days or parameters()["benign"]["days"]):
        began = time.monotonic()
        at = START + day * DAY
        today = {life.key: life.day(day) for life in lives}
        today = {key: events for key, events in today.items() if events}
        warehouse = Warehouse(_MEMORY_MB, forget=False)
        allowances = dict(ramps_of(warehouse.learn(at, digests))) if digests else {}
        kinds = {life.key.id: life.kind for life in lives}
        rows = {}
        for key, events in today.items():
            row = rows[key.id] = _key_day(key, kinds[key.id], day, events, allowances.get(key.id))
            inventory.setdefault(key.id, _inventory(key, events, row.nusd))
            found.append(row)
        events = sorted((event for each in today.values() for event in each), key=lambda event: event.ts)
        warehouse.set_table("inventory", inventory.values())
        # The day before as well: some detections look back.
        warehouse.feed(before)
        warehouse.feed(events)
        warehouse.settle()
        # Twice: some put together what others found.
        engine.once(warehouse.connection)
        _sort_out(engine.once(warehouse.connection), rows, at, rules, {key.owner: key.id for key in today})
        replay.insist(engine)
        digests[at] = warehouse.digest(at)
        warehouse.close()
        before = events
        _log.info(
            "half %s, day %s: %s keys, %s events, %.0f s", half, day, len(rows), len(events), time.monotonic() - began
        )
    return found


def _key_day(key, kind, day, events, allowance):
    """A day of a key through its ramp allowance, which may refuse some of it; a key that still learns has none."""
    row = KeyDay(key.id, kind, day, allowance is not None, len(events), 0)
    gate = Gatekeeper(_FREE, allowance)
    for event in events:
        reason = gate.ask(event.ts, event.hold_nusd or 0, event.cost_nusd or 0, event.latency_us or 0)
        if reason:
            row.ramp_refusals += reason == "ramp"
            world.refuse(event, "rate", "throttled", 429)
            event.markers = "ramp" if reason == "ramp" else ""
        row.nusd += event.cost_nusd or 0
    return row


def _inventory(key, events, nusd):
    """A key with a budget as somebody sets it after the first day: a multiple of it, not below the default."""
    budget = max(_LEAST_BUDGET_NUSD, parameters()["benign"]["budget_times"] * nusd)
    about = {"kind": "key", "id": key.id, "owner": key.owner, "team": key.team, "name": key.id}
    now = {"state": "live", "canary": 0, "created_ts": events[0].ts - 60 * US, "budget_day_nusd": budget}
    return about | now


def _sort_out(findings, rows, day_us, rules, keys_of_owners):
    """Write what began on this day to its key; what is about an owner counts for one of the owner's keys."""
    for finding in findings:
        if not day_us <= finding.first_seen < day_us + DAY:
            continue
        kind, _, name = finding.entity.partition(":")
        row = rows.get(keys_of_owners.get(name) if kind == "owner" else name)
        if row is None:
            _log.warning("a finding about %s is of no key", finding.entity)
            continue
        action = decide(finding, "enforce", rules).action
        row.found.append((finding.detection, finding.severity, action))


def by_detection(rows):
    """Days with a page or a throttle, by the detections that asked for them."""
    counts = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        for name, severity, action in set(row.found):
            counts[name][0] += 1
            counts[name][1] += severity in {"high", "critical"}
            counts[name][2] += action in {"throttle", "quarantine"}
        if row.ramp_refusals:
            counts["(ramp allowance)"][0] += 1
            counts["(ramp allowance)"][2] += 1
    return dict(sorted(counts.items(), key=lambda item: -item[1][2]))
