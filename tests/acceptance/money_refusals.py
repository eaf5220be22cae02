"""Refusals that were not due: the request would have fitted on every limit of its path when it was refused.

The method: from the journals of all gates every hold, end of a hold and refusal is put into the order of time. At each
refusal the room on a budget is its limit, less what is settled, less all open holds of all gates; the need is what the
gate would hold for the request at its second look. Of a concurrency the room is its permits less the requests that
run; a rate is one token bucket over all gates, filled by the clock. Refusals for a rate are listed, but not counted,
since each gate has a part of the bucket, so that up to one token for each gate lies about in fractions.
"""

from collections import Counter, defaultdict

from jackstop.ledger import windows
from tests.acceptance.books import Row, needs, percent

CAPACITY = ("budget", "lease", "rate", "concurrency")


class Bucket:
    """A rate as one bucket for everyone."""

    def __init__(self, amount, per_s):
        self.amount, self.per_us = amount, amount / (per_s * 1_000_000)
        self.level, self.seen = float(amount), 0

    def at(self, ts):
        if self.seen:
            self.level = min(self.amount, self.level + (ts - self.seen) * self.per_us)
        self.seen = max(self.seen, ts)
        return self.level


class Refusals:
    """What was found: refusals by reason, and those that were not due."""

    def __init__(self):
        self.all = Counter()
        self.undue = Counter()
        self.undue_throughout = Counter()
        self.examples = []

    def total(self):
        """Refusals that were not due, but for those by a rate."""
        return sum(count for reason, count in self.undue.items() if reason != "rate")

    def rows(self, requests):
        rows = [
            Row(
                f"refused for {reason} with room on the whole path",
                f"{self.undue[reason]:,} of {self.all[reason]:,} refusals; "
                f"room all the while: {self.undue_throughout[reason]:,}",
            )
            for reason in CAPACITY
            if self.all[reason]
        ]
        undue = self.total()
        share = percent(undue, requests)
        rows.append(Row("undue refusals of all requests, but for rates", share, "< 0.5 %", undue < 0.005 * requests))
        return rows


def false_refusals(timeline, budgets, keys, met):
    """Judge every refusal for want of room."""
    paths = _paths(budgets, keys)
    key_of = {key.id: key for key in keys}
    ask_of = {each.agent: each.ask for each in met if each.decision == "refused"}
    buckets = {key.id: Bucket(*key.rate) for key in keys if key.rate}
    running = Counter()
    found = Refusals()
    waiting = _Waits()
    for moment, settled, held, _ in timeline.walk():
        waiting.pass_by(moment, settled, held)
        event = moment.event
        if moment.kind == "hold":
            if moment.key in buckets:
                buckets[moment.key].at(moment.ts)
                buckets[moment.key].level -= 1
            running[moment.key] += 1
        elif moment.kind == "end":
            running[moment.key] -= 1
        elif event["reason"] in CAPACITY:
            reason = event["reason"]
            found.all[reason] += 1
            key = key_of[event["key_id"]]
            need = needs(ask_of[event["user_agent"]], event["ts"])
            room = _room(paths[key.id], settled, held, need, moment.ts)
            if key.concurrency and reason == "concurrency":
                room = room and running[key.id] < key.concurrency
            if key.rate and reason == "rate":
                room = room and buckets[key.id].at(moment.ts) >= 1
            if room:
                found.undue[reason] += 1
                found.examples.append((moment.ts, event))
                found.undue_throughout[reason] += waiting.throughout(event, paths[key.id], need)
    return found


class _Waits:
    """How much of each limit was used up to now, to tell whether a refused request had room all the while it waited."""

    def __init__(self):
        self._history = defaultdict(list)

    def pass_by(self, moment, settled, held):
        for limit, amount in moment.charges:
            used = settled[limit] + held[limit]
            after = used + amount if moment.kind == "hold" else used - amount + dict(moment.settled).get(limit, 0)
            self._history[limit].append((moment.ts, after))

    def throughout(self, event, path, need):
        for limit_id, row in path:
            limit = (limit_id, windows.bounds(row["window"], event["ts"])[0])
            history = self._history[limit]
            at = len(history)
            while at and history[at - 1][0] > event["ts"]:
                at -= 1
                if row["limit"] - history[at][1] < need[row["kind"]]:
                    return False
            if at and row["limit"] - history[at - 1][1] < need[row["kind"]]:
                return False
        return True


def _paths(budgets, keys):
    by_scope = defaultdict(list)
    for row in budgets:
        by_scope[row["scope"]].append((row["id"], row))
    return {key.id: [row for scope in key.scopes for row in by_scope[scope]] for key in keys}


def _room(path, settled, held, need, ts):
    for limit_id, row in path:
        limit = (limit_id, windows.bounds(row["window"], ts)[0])
        if row["limit"] - settled[limit] - held[limit] < need[row["kind"]]:
            return False
    return True
