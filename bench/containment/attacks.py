"""The attack shapes of parameters.toml as streams of attempts on a victim's key, a thief for each seed."""

import math
import random
from functools import cached_property
from typing import NamedTuple

from bench.containment import world
from bench.containment.parameters import choose, draw, draw_count, draw_log, generator, parameters
from bench.containment.world import DAY, HOUR, MINUTE, START, US, Made, Size

_DEAREST_NUSD = 60 * 10**9
"""A million tokens in and as many out; beyond it nobody's buyers go."""


class Attempt(NamedTuple):
    """One call of a thief. `kind` is inference, list_models or probe; `takes_us` how long its answer takes."""

    ts: int
    kind: str
    made: Made
    net: world.Net
    host: int
    takes_us: int


class Attack:
    """One shape with the numbers of one seed. `phases` are the times at which something new begins."""

    def __init__(self, shape, seed, victim, networks, begins_us):
        self.shape, self.seed = shape, seed
        self._told = {**parameters()["thief"], **parameters()["shapes"][shape]}
        self._run = parameters()["run"]
        self._rng = rng = generator("attack", shape, seed)
        self._fast = random.Random(int(rng.integers(2**60)))
        self._victim, self._networks = victim, networks
        self.provider = victim.app.provider
        self._rate = draw_log(rng, self._told["requests_per_h"]) if "requests_per_h" in self._told else 0.0
        self._client = world.client(choose(rng, self._told["client_weights"]))
        self._streams = float(rng.random()) < self._told["streams"]
        self._cap = draw_count(rng, self._told["output_cap"])
        self._models = self._some_models()
        self._nets = self._some_nets()
        self._tells_itself = shape != "adaptive" and float(rng.random()) < self._told["tells_itself"]
        self._made = 0
        self._buyers = self._some_buyers()
        if "start_utc_h" in self._told:
            day = begins_us - begins_us % DAY
            begins_us = day + int(draw(rng, self._told["start_utc_h"]) * HOUR)
        self.phases = [begins_us]
        if "probe_before_h" in self._told:
            self.phases = [begins_us, begins_us + int(draw(rng, self._told["probe_before_h"]) * HOUR)]
        self.ends_us = self.phases[-1] + int(self._told.get("hours", 0) * HOUR)

    @property
    def calls_per_h(self):
        """How often it calls, once it is at it."""
        return self._victim.busy_10m * self._told["of_p99"] * 6 if self.shape == "adaptive" else self._rate

    # -- what the thief has ----------------------------------------------------------------------------------------

    def _some_models(self):
        rng = self._rng
        # From the cheapest to the dearest that a thief would take.
        priced = sorted(world.MODELS[self.provider], key=lambda model: world.price_of(self.provider, model))
        priced = [model for model in priced if world.price_of(self.provider, model) <= _DEAREST_NUSD]
        unused = [model for model in priced if model not in self._victim.app.models] or priced
        wanted = self._told["models"]
        if wanted == "cheapest":
            return priced[:1]
        if wanted.startswith("four"):
            return unused[-4:]
        if wanted.startswith("never"):
            large = [model for model in unused if world.context_of(self.provider, model) >= 400_000]
            return [(large or unused)[-1]]
        return [priced[-1 - int(rng.integers(min(2, len(priced))))]]

    def _some_nets(self):
        if self.shape in {"adaptive", "nothing"} or self._told["networks"] == "each":
            return []
        rng = self._rng
        spread = self._countries()
        count = draw_count(rng, self._told["networks"])
        return [self._foreign_net(spread) for _ in range(count)]

    def _countries(self):
        count = draw_count(self._rng, self._told["countries"]) if "countries" in self._told else 3
        places = self._rng.choice(len(world.COUNTRIES), size=min(count, len(world.COUNTRIES)), replace=False)
        return [world.COUNTRIES[int(place)] for place in places]

    def _foreign_net(self, countries):
        kind = choose(self._rng, self._told["network_weights"])
        kind = "" if kind == "residential" else kind
        return self._networks.of(kind, self._fast.choice(countries), self._fast.randrange(40))

    def _some_buyers(self):
        """Conversations side by side: (name, turns so far, tokens so far)."""
        if "buyers" not in self._told:
            return []
        count = draw_count(self._rng, self._told["buyers"])
        self._marked = draw(self._rng, self._told["marked_share"]) if "marker" in self._told else 0.0
        return [[f"b{self.shape}{self.seed}-{index}", 0, 600] for index in range(count)]

    # -- what the thief does ---------------------------------------------------------------------------------------

    def attempts(self):
        """Every call in the order of time, if nothing stops them."""
        at = self.phases[0]
        if self.shape == "nothing":
            return
        if len(self.phases) > 1:
            yield self._attempt(at, "inference", self._tiny())
            at = self.phases[1]
        if self._tells_itself:
            yield self._attempt(at, "list_models", self._some(at))
            at += int(self._fast.uniform(0.2, 2) * US)
            if self._fast.random() < 0.5:
                yield self._attempt(at, "probe", self._some(at)._replace(size=Size(1, 0, -1)))
                at += int(self._fast.uniform(0.2, 30) * US)
        yield from (self._adaptive(at) if self.shape == "adaptive" else self._steady(at))

    def _steady(self, at):
        gap_us = HOUR / self._rate
        for _ in range(self._run["most_calls"]):
            if at >= self.ends_us:
                return
            yield self._attempt(at, "inference", self._some(at))
            at += max(1, int(self._fast.expovariate(1) * gap_us))

    def _adaptive(self, at):
        """The victim's own requests, at its own hours, so many more that a busy ten minutes are 1.5 times its p99."""
        busy, twin = self._victim.busy_10m * self._told["of_p99"], self._victim.twin()
        self._nets = [self._networks.beside(self._victim.net)]
        while at < self.ends_us:
            for offset in sorted(self._fast.random() for _ in range(max(1, round(busy)))):
                ts = at + int(offset * 10 * MINUTE)
                if ts < self.ends_us:
                    made = twin.request()
                    yield self._attempt(ts, "inference", made)
            at += 10 * MINUTE

    def _attempt(self, ts, kind, made):
        net = self._nets[0] if len(self._nets) == 1 else self._next_net()
        first = draw(self._rng, self._run["first_token_s"])
        per_s = self._fast.uniform(*self._run["tokens_per_s"])
        takes = int((first + made.size.output / per_s) * US) if kind == "inference" else 150_000
        host = self.seed % 254 if self._nets else self._fast.randrange(254)
        return Attempt(ts, kind, made, net, host, takes)

    def _next_net(self):
        if self._nets:
            return self._fast.choice(self._nets)
        self._spread = getattr(self, "_spread", None) or self._countries()
        return self._foreign_net(self._spread)

    def _tiny(self):
        told, rng = self._told, self._rng
        into = draw_count(rng, told["probe_input_tokens"])
        size = Size(into, draw_count(rng, told["probe_output_tokens"]), self._cap)
        return self._of(size, self._models[0])

    def _some(self, ts_us):
        if self._buyers:
            return self._turn()
        model = self._fast.choice(self._models)
        return self._of(self._size(model, ts_us), model)

    def _size(self, model, ts_us):
        told, fast = self._told, self._fast
        low, high = told["output_tokens"]
        cap = max(self._cap, high) if "tokens_in_all" in told or "nusd_per_h" in told else self._cap
        out = min(fast.randint(low, high), cap)
        most = world.context_of(self.provider, model) - 2_000 - cap
        if "tokens_in_all" in told:
            into = int(told["tokens_in_all"] / (self._rate * told["hours"]) * fast.uniform(0.8, 1.2))
        elif "nusd_per_h" in told:
            into = self._input_for(model, told["nusd_per_h"] / self._rate, out, ts_us)
        else:
            shares = [math.log(bound) for bound in told["input_tokens"]]
            into = int(math.exp(fast.uniform(*shares)))
        return Size(max(1, min(into, most)), out, cap)

    def _input_for(self, model, nusd, out, ts_us):
        """The input tokens that make a request cost so much."""
        probe = self._of(Size(1_000_000, 0, None), model)
        per_token = world.cost_of(probe, ts_us) / 1_000_000
        spent = world.cost_of(self._of(Size(0, out, None), model), ts_us)
        return int(max(200.0, (nusd - spent) / per_token) * self._fast.uniform(0.8, 1.2))

    def _of(self, size, model, **more):
        self._made += 1
        name = f"x{self.shape}{self.seed}"
        # Many people's prompts: a new conversation each time, one of a few dozen characters.
        return Made(
            **{
                "provider": self.provider,
                "model": model,
                "size": size,
                "client": self._client,
                "system": f"{name}s{self._fast.randrange(40)}",
                "conversation": f"{name}c{self._made}",
                "messages": self._fast.choice([1, 2, 3, 5, 9, 15]),
                "stream": self._streams,
                **more,
            }
        )

    def _turn(self):
        buyer = self._fast.choice(self._buyers)
        name, turns, tokens = buyer
        if turns > 30:
            buyer[0], buyer[1], buyer[2] = f"{name}'", 0, 600
            name, turns, tokens = buyer
        buyer[1], buyer[2] = turns + 1, min(16_000, tokens + self._fast.randint(80, 400))
        marker = ""
        if self._fast.random() < self._marked:
            marker = self._told["marker"][hash_of(name) % len(self._told["marker"])]
            if marker == "just_say_test" and turns:
                marker = ""
        size = Size(tokens, self._fast.randint(60, self._cap), self._cap)
        return self._of(
            size,
            self._models[0],
            conversation=f"{name}{turns // 31}",
            system=f"{name}s",
            messages=2 * turns + 2,
            stream=True,
            markers=marker,
        )

    # -- what it would cost without anybody ------------------------------------------------------------------------

    def spend_within(self, hours, budget_nusd=None):
        """Nano-dollars that it spends within so many hours after its last phase began, by the mean of its calls."""
        if self.shape == "nothing":
            return 0
        span = min(hours, (self.ends_us - self.phases[-1]) / HOUR)
        days = max(1, math.ceil(span / 24))
        whole = int(self.calls_per_h * span * self.mean_nusd)
        return whole if budget_nusd is None else min(whole, days * budget_nusd)

    def spend_until_midnight(self, times):
        """Nano-dollars until the midnight that first sees `times` the victim's usual day; all of it without one."""
        hour, spent, rate = self.phases[-1], 0, self.calls_per_h * self.mean_nusd
        while hour < self.ends_us:
            midnight = hour - hour % DAY + DAY
            today = rate * (min(midnight, self.ends_us) - hour) / HOUR
            spent += today
            if today >= (times - 1) * self._victim.usual_day_nusd:
                return int(spent)
            hour = midnight
        return int(spent)

    @cached_property
    def mean_nusd(self):
        """Of one call, over a hundred."""
        twin = Attack(self.shape, self.seed, self._victim, world.Networks(), START)
        costs = []
        for attempt in twin.attempts():
            if attempt.kind == "inference":
                costs.append(world.cost_of(attempt.made, attempt.ts))
            if len(costs) == 100:
                break
        costs = costs[len(twin.phases) - 1 :] or costs
        return sum(costs) // max(1, len(costs))


def hash_of(name):
    """A number of a name that is the same in every process."""
    return sum(name.encode())
