"""Where the requests of a key come from: instances in a cloud, hosted runners, or a laptop that moves."""

import random

from bench.containment import world
from bench.containment.parameters import draw_count, parameters

_OFFICE_HOURS = (9, 17)


class Ground:
    """What all keys share: networks, and those of hosted runners."""

    def __init__(self, rng):
        self.networks = world.Networks()
        count = draw_count(rng, parameters()["churn"]["ci_nets"])
        self.runners = [self.networks.cloud(world.CLOUDS, "US") for _ in range(count)]


class Person:
    """An owner: where they live and work."""

    def __init__(self, ground, rng):
        self.country = world.COUNTRIES[int(rng.choice(16))]
        operator = int(rng.integers(6))
        self.home = ground.networks.of("", self.country, operator), int(rng.integers(254))
        self.office = ground.networks.of("", self.country, 10 + operator), int(rng.integers(254))
        self.hotspot = [ground.networks.of("mobile", self.country, 20 + operator) for _ in range(4)]
        self.cafes = [(ground.networks.of("", self.country, int(rng.integers(6))), 7)]


class Cloud:
    """Instances behind one application: more of them under load, replaced, moved."""

    def __init__(self, ground, person, rng):
        self._ground, self._rng = ground, rng
        self._operator, self._country = rng.randrange(world.CLOUDS), rng.choice([person.country, "US", "IE"])
        self._nets = [self._net()]
        self._instances = [self._instance()]

    def _net(self):
        return self._ground.networks.cloud(self._operator, self._country)

    def _instance(self):
        return self._rng.choice(self._nets), self._rng.randrange(254)

    def begin_day(self):
        told, rng = parameters()["churn"], self._rng
        self._instances = [
            each if rng.random() >= told["new_address"] else self._instance() for each in self._instances
        ]
        del self._instances[2:]
        if rng.random() < told["new_region"]:
            self._country = rng.choice(world.COUNTRIES[:20])
            self._nets.append(self._net())
            self._instances.append(self._instance())
        elif rng.random() < told["new_net"]:
            self._nets.append(self._net())
            self._instances.append((self._nets[-1], rng.randrange(254)))

    def another(self):
        """A second place in the same cloud, for what runs beside."""
        self._nets.append(self._net())
        return self._nets[-1], self._rng.randrange(254)

    def at(self, ts_us, count, index):  # noqa: ARG002 -- as the others
        """Where request `index` of `count` in these ten minutes comes from."""
        wanted = 1 + count // parameters()["churn"]["scale_out_per_requests_10m"]
        while len(self._instances) < wanted:
            self._instances.append(self._instance())
        return self._instances[self._rng.randrange(wanted)]


class Runners:
    """Hosted runners: each job somewhere else."""

    def __init__(self, ground, rng):
        self._ground, self._rng = ground, rng
        self._left, self._here = 0, None

    def begin_day(self):
        self._left = 0

    def at(self, ts_us, count, index):  # noqa: ARG002 -- as the others
        if self._left <= 0:
            self._left = self._rng.randint(*parameters()["churn"]["ci_jobs"])
            self._here = self._rng.choice(self._ground.runners), self._rng.randrange(254)
        self._left -= 1
        return self._here


class Laptop:
    """One laptop: home, office, hotspot, cafés, a VPN, journeys."""

    def __init__(self, ground, person, rng):
        self._ground, self._person, self._rng = ground, person, rng
        self._away_days = 0
        self._plan = [person.home] * 24

    def begin_day(self):
        told, rng, person = parameters()["churn"], self._rng, self._person
        networks = self._ground.networks
        self._away_days -= 1
        if self._away_days <= 0 and rng.random() < told["laptop_new_country"]:
            self._away_days = rng.randint(1, 5)
            country = rng.choice([each for each in world.COUNTRIES[:30] if each != person.country])
            hotel = networks.of("", country, rng.randrange(6)), rng.randrange(254)
            roaming = networks.of("mobile", country, 20), rng.randrange(254)
            self._plan = [rng.choice([hotel, hotel, roaming]) for _ in range(24)]
        if self._away_days > 0:
            return
        if rng.random() < told["vpn"]:
            tunnel = networks.of("vpn", person.country, rng.randrange(3)), rng.randrange(254)
            self._plan = [tunnel] * 24
            return
        first, last = _OFFICE_HOURS
        self._plan = [person.office if first <= hour < last else person.home for hour in range(24)]
        if rng.random() < told["laptop_moves"]:
            if rng.random() < told["laptop_new_place"]:
                person.cafes.append((networks.of("", person.country, rng.randrange(6)), rng.randrange(254)))
            self._move(rng.choice(person.cafes))
        if rng.random() < told["laptop_moves"]:
            for start in range(0, 24, told["hotspot_readdress_h"]):
                if rng.random() < 0.25:
                    self._plan[start] = rng.choice(person.hotspot), rng.randrange(254)

    def _move(self, place):
        start = self._rng.randrange(8, 20)
        for hour in range(start, min(24, start + 3)):
            self._plan[hour] = place

    def at(self, ts_us, count, index):  # noqa: ARG002 -- as the others
        return self._plan[ts_us // world.HOUR % 24]


class Devices:
    """Several laptops of one person, in use side by side."""

    def __init__(self, laptops, rng):
        self._laptops, self._rng = laptops, rng

    def begin_day(self):
        for laptop in self._laptops:
            laptop.begin_day()

    def at(self, ts_us, count, index):
        place = 0 if self._rng.random() < 0.7 else self._rng.randrange(len(self._laptops))
        net, host = self._laptops[place].at(ts_us, count, index)
        return net, host + place


def places_of(kind, ground, person, rng):
    """Where a key of this kind is used from."""
    if kind in {"service", "batch"}:
        return Cloud(ground, person, rng)
    if kind == "ci":
        return Runners(ground, rng)
    told = parameters()["churn"]
    count = 1 + (rng.random() < told["second_device"]) + (rng.random() < told["third_device"])
    if count == 1:
        return Laptop(ground, person, rng)
    return Devices([Laptop(ground, person, random.Random(rng.random())) for _ in range(count)], rng)
