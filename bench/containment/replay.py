"""Runs attacks against the project's own code on a virtual clock: warehouse, engine, policy, buckets, prices.

Every shape and seed is a key of its own in one warehouse, with its victim's use beside it; four variants of each: a
key with a baseline or still learning, with or without address data. An event is there when its answer ends, a cycle
sees it, and what the cycle finds takes hold `control.latency_s` later.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import replace

from bench.containment import world
from bench.containment.attacks import Attack
from bench.containment.gatekeeper import Gatekeeper
from bench.containment.parameters import draw, generator, parameters
from bench.containment.world import DAY, HOUR, MINUTE, START, US, Key
from jackstop.cases.policy import decide
from jackstop.detections.catalogue import load
from jackstop.detections.engine import Engine
from jackstop.events.warehouse import Warehouse
from jackstop.events.watch import ramps_of
from jackstop.settings import ResponseSettings

_FINE_US = 3 * MINUTE
_YOUNG_US = 30 * MINUTE
"""For so long after something new began, and as long as nothing brakes it, cycles run at their own cadence."""
_TAIL_US = 10 * MINUTE
"""So long after an attack it may still be noticed."""
_FAST_PER_H = 30
_HORIZON_US = 24 * HOUR
_ADDRESS_TRAITS = frozenset({"asn", "country", "network_kind"})
_LIMITS = frozenset({"ramp", "budget"})
"""What brakes by itself, without a finding."""


@dataclass
class Course:
    """How one attack went. What nothing set off or stopped has no time."""

    shape: str
    seed: int
    learned: bool
    known: bool
    phases_us: tuple = ()
    first_us: int | None = None
    alert_us: int | None = None
    page_us: int | None = None
    noticed_before: bool = False
    brake_us: int | None = None
    braked_by: str = ""
    action: str = ""
    alerted_by: str = ""
    forwarded: int = 0
    spent_nusd: int = 0
    requests_before: int = 0
    nusd_before: int = 0
    refused: Counter = field(default_factory=Counter)
    detections: dict = field(default_factory=dict)
    largest_hold: int = 0
    allowance_nusd: int | None = None
    after_brake_nusd: int = 0


class Stolen:
    """One key under attack: the thief's calls and the victim's, through one gatekeeper with its ramp allowance."""

    def __init__(self, attack, victim, *, learned, known, allowance):
        told = parameters()["run"]
        self.attack = attack
        name = f"{attack.shape}-{attack.seed}-{'l' if learned else 'n'}{'a' if known else '-'}"
        self.key = Key(name, f"{name}@example.com", f"team-{name}")
        self.course = Course(attack.shape, attack.seed, learned, known, allowance_nusd=allowance)
        self.course.phases_us = tuple(attack.phases)
        self.gate = Gatekeeper(told["main_budget_usd"] * 10**9, allowance)
        self._gives_up, self._after = told["gives_up_after"], int(told["after_brake_h"] * HOUR)
        self._latency = int(parameters()["control"]["latency_s"] * US)
        self.begins = attack.phases[0] - int(told["lead_in_h"] * HOUR)
        self.ends = min(attack.ends_us, attack.phases[-1] + _HORIZON_US)
        self._thief = attack.attempts()
        self._next = next(self._thief, None)
        own = (event for day in victim.days for event in day if self.begins <= event.ts <= self.ends)
        self._own = iter(own)
        self._next_own = next(self._own, None)
        self._running = []  # (ends, number, event, of the thief)
        self._effects = []  # (when, action, detection)
        self._number = self._refused_in_row = 0
        self.done = self._at_last = False
        self._now = 0

    # -- time goes on ----------------------------------------------------------------------------------------------

    @property
    def fine(self):
        """Whether cycles have to run at their own cadence for it."""
        return self._within(_FINE_US) and self.attack.calls_per_h >= _FAST_PER_H

    @property
    def young(self):
        """Whether what it does now has begun within half an hour."""
        return self._within(_YOUNG_US)

    def _within(self, span_us):
        if self.done or self.course.brake_us is not None:
            return False
        return any(phase <= self._now < phase + span_us for phase in self.attack.phases)

    def advance(self, now_us):
        """Everything until `now_us`; the events that are there by then."""
        self._now = now_us
        while self._next is not None and self._next.ts <= now_us:
            self._own_until(self._next.ts)
            self._try(self._next)
            self._next = next(self._thief, None)
        self._own_until(now_us)
        self._take_effect(now_us)
        events = []
        while self._running and self._running[0][0] <= now_us:
            events.append(heapq.heappop(self._running)[2])
        over = self.ends + _TAIL_US
        if self.course.brake_us is not None and self.course.brake_us >= self.attack.phases[-1]:
            over = min(over, self.course.brake_us + self._after)
        self.done = self.done or now_us >= over or (self.gate.state != "live" and not self._running)
        if self.done:
            self._reckon()
        return events

    def _reckon(self):
        """What nothing stopped, and the replay did not follow to its end, goes on as it was until its budget ends."""
        course, told = self.course, parameters()["run"]
        if course.brake_us is None and course.forwarded >= told["most_calls"]:
            budget = told["main_budget_usd"] * 10**9
            course.spent_nusd = max(course.spent_nusd, self.attack.spend_within(_HORIZON_US / HOUR, budget))
            course.forwarded = max(course.forwarded, course.spent_nusd // max(1, self.attack.mean_nusd))

    def _own_until(self, ts_us):
        while self._next_own is not None and self._next_own.ts <= ts_us:
            event, self._next_own = self._next_own, next(self._own, None)
            self._take_effect(event.ts)
            if self.gate.state == "live":
                self._pass(event, event.latency_us or 0, thief=False)

    def _try(self, attempt):
        course = self.course
        self._take_effect(attempt.ts)
        if attempt.ts >= self.attack.phases[-1] and not self._at_last:
            self._begin_last()
        if self._refused_in_row >= self._gives_up:
            return
        self._number += 1
        event = world.event(
            self.key, attempt.made, attempt.net, attempt.host, attempt.ts, self._number, known=course.known
        )
        if attempt.kind == "list_models":
            _lists_models(event)
        elif attempt.kind == "probe":
            self._refuse(event, "probe", "denied", 403)
            event.markers = "probe:token_limit"
            return
        event.latency_us = attempt.takes_us
        self._apart(event)
        self._pass(event, attempt.takes_us, thief=True)

    def _begin_last(self):
        """What was found of a probe the day before stands by itself: its throttle is long over."""
        course, self._at_last = self.course, True
        if len(self.attack.phases) > 1 and self.gate.state == "live":
            course.noticed_before = course.alert_us is not None
            course.alert_us = course.page_us = course.brake_us = None
            course.alerted_by = course.braked_by = course.action = ""
            self._refused_in_row = 0

    def _pass(self, event, takes_us, *, thief):
        """Let the gate judge a call."""
        course = self.course
        if not thief:
            self._number += 1
            event = self._as_mine(event)
        reason = self.gate.ask(event.ts, event.hold_nusd or 0, event.cost_nusd or 0, takes_us)
        if reason:
            if thief:
                self._refused_in_row += 1
                course.refused[reason] += 1
                if reason in _LIMITS and course.brake_us is None:
                    self._brake(event.ts, reason, f"({reason})")
            if reason != "quarantined":
                self._refuse(event, "budget" if reason == "budget" else "rate", "throttled", 429)
                event.markers = ",".join(filter(None, [event.markers, reason if reason == "ramp" else ""]))
            return
        ends = event.ts + takes_us
        event.seen_ts = ends
        heapq.heappush(self._running, (ends, self._number, event, thief))
        if thief:
            self._refused_in_row = 0
            self._forwarded(event)

    def _forwarded(self, event):
        course = self.course
        if course.first_us is None:
            course.first_us = event.ts
        course.forwarded += 1
        course.spent_nusd += event.cost_nusd or 0
        course.largest_hold = max(course.largest_hold, event.hold_nusd or 0)
        if course.brake_us is not None:
            course.after_brake_nusd += event.cost_nusd or 0

    def _thief_dollars(self, now_us):
        """Settled, and held for what is under way."""
        return self.course.spent_nusd + sum(
            (event.hold_nusd or 0) - (event.cost_nusd or 0)
            for ends, _, event, thief in self._running
            if thief and ends > now_us
        )

    def _refuse(self, event, reason, outcome, status):
        world.refuse(event, reason, outcome, status)
        event.latency_us = 100
        heapq.heappush(self._running, (event.ts, self._number, event, False))

    def _as_mine(self, event):
        mine = replace(
            event,
            key_id=self.key.id,
            owner=self.key.owner,
            team=self.key.team,
            event_id=f"{self.key.id}-{self._number}",
        )
        self._apart(mine)
        if not self.course.known:
            mine.asn, mine.as_org, mine.country, mine.network_kind = None, "", "", ""
        return mine

    def _apart(self, event):
        """The same seed runs several times beside itself: nobody is to see one prompt under several keys."""
        event.request_fp = f"{self.key.id}|{event.request_fp}"
        event.conversation_fp = event.conversation_fp and f"{self.key.id}|{event.conversation_fp}"

    # -- what is done about it -------------------------------------------------------------------------------------

    def found(self, finding, decision, now_us):
        """What a cycle found of this key, and what is decided."""
        course = self.course
        if course.first_us is None and self.attack.shape != "nothing":
            return
        course.detections.setdefault(finding.detection, now_us)
        if decision.alert and course.alert_us is None:
            course.alert_us, course.alerted_by = now_us, finding.detection
        if finding.severity in {"high", "critical"} and course.page_us is None:
            course.page_us = now_us
        if decision.state == "applied" and decision.action in {"throttle", "quarantine"}:
            heapq.heappush(self._effects, (now_us + self._latency, decision.action, finding.detection))

    def _take_effect(self, now_us):
        while self._effects and self._effects[0][0] <= now_us:
            at, action, detection = heapq.heappop(self._effects)
            if self.course.brake_us is None or self.course.action in _LIMITS:
                self._brake(at, action, detection)
            if action == "quarantine":
                self.gate.quarantine()
                # What runs is cut off and stays charged as held; nobody sees its event in time.
                self._running = [each for each in self._running if each[0] <= at]
            else:
                self.gate.throttle(at)

    def _brake(self, at_us, action, by):
        course = self.course
        if course.brake_us is not None:
            course.action = action
            return
        course.brake_us, course.action, course.braked_by = at_us, action, by
        course.requests_before = course.forwarded
        course.nusd_before = self._thief_dollars(at_us)


def _lists_models(event):
    event.action_class, event.endpoint = "list_models", "models"
    event.action = f"GET /{event.provider}/v1/models"
    event.model_asked = event.model = event.stop_reason = event.system_fp = event.conversation_fp = ""
    event.request_fp = event.tools_fp = event.markers = ""
    event.input_tokens = event.output_tokens = event.max_output_asked = event.max_output_sent = None
    event.hold_nusd = event.cost_nusd = 0
    event.messages_n = event.stream = None


# -- baselines --------------------------------------------------------------------------------------------------------


class Learned:
    """What the warehouse learned of the victims in two weeks, as rows that any key may be given."""

    def __init__(self, victims):
        days = parameters()["run"]["history_days"]
        by_day = {day: [] for day in range(days)}
        for victim in victims:
            for event in victim.history:
                by_day[(event.ts - START) // DAY].append(event)
        digests = {}
        for day, events in by_day.items():
            warehouse = Warehouse(forget=False)
            warehouse.feed(sorted(events, key=lambda event: event.ts))
            digests[START + day * DAY] = warehouse.digest(START + day * DAY)
            warehouse.close()
        warehouse = Warehouse()
        usual = warehouse.learn(START + days * DAY, digests)
        self.baselines, self.known = _grouped(usual.baselines), _grouped(usual.known)
        self._allowances = dict(ramps_of(usual))
        warehouse.close()

    def allowance(self, victim):
        """The ramp allowance of a victim's key, None for one that is still learning."""
        return self._allowances.get(victim.key.id)

    def rows(self, stolen, victim):
        """Rows of `baselines` and `known` for a stolen key: a learning one has those of its owner and team alone."""
        course, own = stolen.course, victim.key
        scopes = [("owner", own.owner, stolen.key.owner), ("team", own.team, stolen.key.team)]
        if course.learned:
            scopes.append(("key", own.id, stolen.key.id))
        baselines, known = [], []
        for scope, old, new in scopes:
            baselines += [{**row, "entity": new} for row in self.baselines.get((scope, old), ())]
            known += [
                {**row, "entity": new}
                for row in self.known.get((scope, old), ())
                if course.known or row["trait"] not in _ADDRESS_TRAITS
            ]
        return baselines, known

    def org(self):
        return self.baselines.get(("org", "org"), []), self.known.get(("org", "org"), [])


def _grouped(table):
    found = {}
    for row in table.to_pylist():
        found.setdefault((row["scope"], row["entity"]), []).append(row)
    return found


# -- the run ----------------------------------------------------------------------------------------------------------


def shapes():
    """The names of the shapes that need cycles."""
    return [name for name, shape in parameters()["shapes"].items() if not shape.get("inline")]


def run(victims, learned, seeds, start_hour, wanted=None):
    """The courses of these seeds of the shapes, which begin soon after `start_hour`."""
    networks = world.Networks(beyond=True)
    stolen = []
    for seed in seeds:
        victim = victims[seed]
        for shape in wanted or shapes():
            at = START + parameters()["run"]["history_days"] * DAY + int(start_hour * HOUR)
            at += int(draw(generator("start", shape, seed), [0, HOUR * parameters()["run"]["start_spread_h"]]))
            for has_baseline in (True, False):
                for known in (True, False):
                    attack = Attack(shape, seed, victim, networks, at)
                    ramp = learned.allowance(victim) if has_baseline else None
                    stolen.append((Stolen(attack, victim, learned=has_baseline, known=known, allowance=ramp), victim))
    return _Replay(stolen, learned).run()


def insist(engine):
    """A detection that failed has found nothing, which must not pass for silence."""
    failed = [name for name, spent in engine.spent.items() if spent.failures]
    if failed:
        raise RuntimeError(f"these detections failed: {', '.join(failed)}")


class _Replay:
    def __init__(self, stolen, learned):
        self._stolen = {each.key.id: each for each, _ in stolen}
        self.warehouse = Warehouse()
        self.engine = Engine(load())
        self._rules = ResponseSettings()
        self._begin(stolen, learned)
        told = parameters()["run"]
        self._fine, self._coarse, self._coarsest = (
            seconds * US for seconds in (told["cadence_s"], *told["coarse_cadence_s"])
        )

    def _begin(self, stolen, learned):
        baselines, known = learned.org()
        baselines, known = list(baselines), list(known)
        inventory = []
        budget = parameters()["run"]["main_budget_usd"] * 10**9
        for each, victim in stolen:
            rows = learned.rows(each, victim)
            baselines += rows[0]
            known += rows[1]
            days = parameters()["run"]["history_days"] if each.course.learned else 2
            about = {"kind": "key", "id": each.key.id, "owner": each.key.owner, "team": each.key.team}
            now = {"state": "live", "canary": 0, "created_ts": each.begins - days * DAY, "budget_day_nusd": budget}
            inventory.append({**about, "name": each.key.id, **now})
        first = START + parameters()["run"]["history_days"] * DAY
        self.warehouse.begin_day(first, baselines, known)
        self.warehouse.set_table("inventory", inventory)

    def run(self):
        waiting = sorted(self._stolen.values(), key=lambda each: -each.begins)
        active = []
        now = waiting[-1].begins if waiting else 0
        while waiting or active:
            if not active and waiting[-1].begins > now:
                now = waiting[-1].begins
            now = self._next(now, active)
            while waiting and waiting[-1].begins <= now:
                active.append(waiting.pop())
            events = [event for each in active for event in each.advance(now)]
            if events:
                self._cycle(events, now)
            active = [each for each in active if not each.done]
        insist(self.engine)
        return [each.course for each in self._stolen.values()]

    def _next(self, now, active):
        """When the next cycle is: none jumps over the beginning of something."""
        if any(each.fine for each in active):
            step = self._fine
        else:
            step = self._coarse if any(each.young for each in active) else self._coarsest
        begins = min((phase for each in active for phase in each.attack.phases if phase > now), default=now + step)
        return min(now - now % step + step, begins - begins % self._fine + self._fine)

    def _cycle(self, events, now):
        events.sort(key=lambda event: event.seen_ts)
        self.warehouse.feed(events)
        self.warehouse.tend(now)
        for finding in self.engine.cycle(self.warehouse.connection, now, self.warehouse.take_oldest()):
            name = finding.entity.partition(":")[2].removesuffix("@example.com")
            each = self._stolen.get(name)
            if each is not None and not each.done:
                each.found(finding, decide(finding, "enforce", self._rules), now)
