"""The keys that are stolen: two weeks of their own use, and what they would do on the days of the theft."""

import copy
import random
from collections import Counter
from functools import cached_property

import numpy as np

from bench.containment import benign, traces
from bench.containment.parameters import parameters
from bench.containment.world import DAY, MINUTE, START

_USUAL_DAYS = 7
_ACTIVE_DAYS = 5


class Victim:
    """A benign key with its events: `history` before the day of the theft, `days` from then on."""

    def __init__(self, life):
        self.life, self.app, self.key = life, life.app, life.key
        count = parameters()["run"]["history_days"]
        by_day = [life.day(day) for day in range(count)]
        self.history = [event for day in by_day for event in day]
        self.steady = sum(map(bool, by_day[-_USUAL_DAYS:])) >= _ACTIVE_DAYS
        self.days = [life.day(day) for day in range(count, count + 2)] if self.steady else []

    @cached_property
    def busy_10m(self):
        """p99 of its requests in the ten minutes of the last week with any."""
        since = START + (parameters()["run"]["history_days"] - _USUAL_DAYS) * DAY
        counts = Counter(event.ts // (10 * MINUTE) for event in self.history if event.ts >= since)
        return float(np.quantile(list(counts.values()), 0.99))

    @cached_property
    def usual_day_nusd(self):
        """The mean of its last seven days."""
        since = START + (parameters()["run"]["history_days"] - _USUAL_DAYS) * DAY
        return sum(event.cost_nusd or 0 for event in self.history if event.ts >= since) // _USUAL_DAYS

    @cached_property
    def net(self):
        """One of the networks that it used last."""
        return self.life.places.at(self.history[-1].ts, 1, 0)[0]

    def twin(self):
        """An application just like its own, for a thief who knows it."""
        app = copy.deepcopy(self.app)
        app.name, app._rng = f"{app.name}y", random.Random(len(self.history))  # noqa: SLF001 -- of our own
        app._open = []  # noqa: SLF001 -- as above
        return app


def victims(count, half):
    """So many keys with five active days in the last seven, of the traces that choose (0) or report (1)."""
    numbers = traces.halves()[half]
    # The longest first: a trace with requests on five days of fourteen can be usual, one with three windows cannot.
    busy = sorted(numbers, key=lambda number: -np.count_nonzero(traces.rates()[number]))
    found, per_trace = [], 1
    while len(found) < count:
        lives = benign.lives(busy[: len(busy) // 2], per_trace, f"v{half}-{per_trace}-")
        for life in lives:
            victim = Victim(life)
            if victim.steady and len(found) < count:
                found.append(victim)
        per_trace += 1
    return found
