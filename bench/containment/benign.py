"""Benign load: keys with the rates of recorded clients, with releases, autoscaling, runners, journeys, trials."""

import random

import msgspec
import numpy as np

from bench.containment import traces, world
from bench.containment.application import some_application
from bench.containment.parameters import draw_count, draw_log, generator, parameters
from bench.containment.places import Cloud, Ground, Person, places_of
from bench.containment.world import DAY, MINUTE, START, Key

_WINDOW = 10 * MINUTE


class Life:
    """One key over the days, `day` after `day`."""

    def __init__(self, key, person, ground, rates, rng):
        told = parameters()
        self._told, self._churn = told["benign"], told["churn"]
        self.key, self._person, self._ground = key, person, ground
        self._numbers = rng
        self._rng = random.Random(int(rng.integers(2**60)))
        self.app = some_application(key.id, rng)
        self.kind = self.app.kind
        self.places = places_of(self.kind, ground, person, self._rng)
        self._second = None
        self._rates = _scaled(rates, rng)
        self._volume = 1.0
        self._made = 0
        days = self._told["days"]
        self.begins = self._rng.randrange(days) if self._rng.random() < self._told["new_key_share"] else 0
        self._idle = range(2, 12) if self._rng.random() < self._churn["idle_then_back"] else range(0)
        self._checks = self.kind == "service" and self._rng.random() < self._churn["health_check"]

    def day(self, day, *, known=True):
        """The events of a day, in the order of their times."""
        if day < self.begins:
            return []
        self.places.begin_day()
        if self._rng.random() < self._churn["deploy"][self.kind]:
            self._volume = min(4.0, max(0.25, self._volume * self.app.deploy()))
        if self._second is None and self._rng.random() < self._churn["new_app_on_key"]:
            self._second = self._another_application()
        if day in self._idle:
            return []
        events = [each for window in self._windows(day) for each in self._window(*window, known=known)]
        events += self._extras(day, bool(events), known=known)
        events.sort(key=lambda each: each.ts)
        return self._with_failures(events)

    def _another_application(self):
        app = some_application(f"{self.key.id}x", self._numbers)
        app.provider, app.models = self.app.provider, list(self.app.models)
        app.deploy()
        return app, places_of(app.kind, self._ground, self._person, self._rng)

    def _windows(self, day):
        """(start, requests) of each ten minutes with any."""
        churn, rng = self._churn, self._rng
        factor = self._volume
        if day % 7 >= 5:
            factor *= self._told["weekend"][self.kind]
        if rng.random() < churn["launch"]:
            factor *= rng.uniform(*churn["launch_factor"])
        start = day % self._told["days"] * traces.DAY_WINDOWS
        rates = self._rates[start : start + traces.DAY_WINDOWS] * factor
        if self.kind in {"person", "agent"}:
            hours = np.arange(traces.DAY_WINDOWS) // 6
            first, last = self._told["hours"]["working"]
            rates = rates * np.where((hours >= first) & (hours < last), 1.0, self._told["hours"]["elsewhen"])
        if rng.random() < churn["backfill"].get(self.kind, 0) and rates.any():
            where = rng.randrange(traces.DAY_WINDOWS - 24)
            rates[where : where + rng.randint(6, 24)] += rates[rates > 0].mean() * rng.uniform(5, 20)
        counts = self._numbers.poisson(rates)
        at = START + day * DAY
        return [(at + int(index) * _WINDOW, int(counts[index])) for index in np.flatnonzero(counts)]

    def _window(self, start, count, *, known):
        times = sorted(self._rng.random() for _ in range(count))
        for index, share in enumerate(times):
            app, places = self.app, self.places
            if self._second is not None and self._rng.random() < 0.3:
                app, places = self._second
            ts = start + int(share * _WINDOW)
            yield self.event(app.request(), places.at(ts, count, index), ts, known=known)

    def event(self, made, place, ts_us, *, known):
        self._made += 1
        net, host = place
        return world.event(self.key, made, net, host, ts_us, self._made, known=known)

    def _extras(self, day, active, *, known):
        """What people do beside: a developer tries a service's key, somebody tries models, a monitor asks."""
        rng, churn = self._rng, self._churn
        found = []
        start = START + day * DAY
        if active and isinstance(self.places, Cloud) and rng.random() < churn["developer_tries"]:
            client = world.client(rng.choice(["curl", "requests", "httpx"]))
            at = start + rng.randrange(9, 18) * world.HOUR
            place = rng.choice([self._person.home, self._person.office, *self._person.cafes])
            for index in range(rng.randint(3, 30)):
                made = self.app.request()._replace(client=client)
                found.append(self.event(made, place, at + index * 40 * world.US, known=known))
        if active and rng.random() < churn["model_trial"]:
            at = start + rng.randrange(9, 18) * world.HOUR
            for index in range(rng.randint(3, 6)):
                made, has = self.app.trial()
                event = self.event(made, self.places.at(at, 1, 0), at + index * 2 * MINUTE, known=known)
                found.append(event if has else _failed(event, "not_found", 404))
        if self._checks:
            for index in range(288):
                ts = start + index * 5 * MINUTE
                found.append(self.event(self.app.health_check(), self.places.at(ts, 1, 0), ts, known=known))
        return found

    def _with_failures(self, events):
        rng, churn = self._rng, self._churn
        refusals = churn["refusal_share"] * (100 if rng.random() < churn["refusal_burst"] else 1)
        storm, share = range(0), 0.0
        if events and rng.random() < churn["retry_storm"]:
            at = rng.choice(events).ts
            storm, share = range(at, at + 15 * MINUTE), rng.uniform(0.3, 0.9)
        found = []
        for event in events:
            if event.ts in storm:
                for attempt in range(3):
                    if rng.random() >= share:
                        found.append(event)
                        break
                    again = msgspec.structs.replace(
                        event, ts=event.ts + attempt * world.US, event_id=f"{event.event_id}-{attempt}"
                    )
                    found.append(_failed(again, "throttled", 429))
            elif rng.random() < churn["error_share"] and event.status == 200:
                found.append(_failed(event, *rng.choice([("invalid", 400), ("not_found", 404), ("throttled", 429)])))
            elif rng.random() < refusals and event.status == 200:
                event.stop_reason = "refusal" if event.provider == "anthropic" else "content_filter"
                found.append(event)
            else:
                found.append(event)
        return found


def _failed(event, outcome, status):
    event.outcome, event.status = outcome, status
    event.cost_nusd = 0
    event.model = event.stop_reason = ""
    event.input_tokens = event.output_tokens = None
    return event


def _scaled(rates, rng):
    """A trace at the rate of a key, begun on another of its days."""
    told = parameters()["benign"]
    days = rates.reshape(-1, traces.DAY_WINDOWS)
    rolled = np.roll(days, int(rng.integers(len(days))), axis=0)
    active = rolled.sum(axis=1) > 0
    low, high = told["requests_per_day"]
    heavy = rng.random() < told["heavy_share"]
    wanted = draw_log(rng, (1000, high) if heavy else (low, 1000))
    return rolled.reshape(-1) * (wanted / rolled[active].sum(axis=1).mean())


def lives(numbers, per_trace, word):
    """Keys with the rates of these traces, so many for each, among owners with a few keys each."""
    ground = Ground(generator(word, "ground"))
    rng = generator(word, "owners")
    found, left, person, owner = [], 0, None, ""
    for index in range(len(numbers) * per_trace):
        if left <= 0:
            left = draw_count(rng, parameters()["benign"]["keys_per_owner"])
            person, owner = Person(ground, rng), f"o{word}{index}@example.com"
        left -= 1
        number = numbers[index % len(numbers)]
        key = Key(f"{word}{index}", owner, f"team{index % 12}")
        found.append(Life(key, person, ground, traces.rates()[number], generator(word, "key", index)))
    return found
