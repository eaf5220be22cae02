"""A long run: mixed load over two gates while things go wrong at random, then everything held against everything.

The first quarter and the end are rough: any process may be killed or replaced. In between one gate is spared, and from
the middle on control and the worker too, so that growth over a long life of each kind of process can be seen.
"""

import itertools
import json
import random
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress

import msgspec

from tests.acceptance import asks, endurance_samples
from tests.acceptance.breaking import Breakable, at_rest
from tests.acceptance.endurance_faults import WHOLE_S, Faults
from tests.acceptance.endurance_records import Records
from tests.acceptance.load import now_us
from tests.acceptance.traffic import Traffic, chat

SETTINGS = {
    "JACKSTOP_LAKE_FLUSH_INTERVAL_S": "10",
    "JACKSTOP_JOURNAL_SEGMENT_BYTES": "131072",
    "JACKSTOP_GATE_DRAIN_TIMEOUT_S": "10",
}
PROVIDERS = ("openai", "anthropic", "deepseek")
PER_MINUTE = 10
LIMITED = (
    {"budget": ["10000usd/life", "300req/hour"]},
    {"budget": ["10000usd/life", "200000tokens/hour"]},
    {"budget": ["10000usd/life"], "rate": [f"{PER_MINUTE}req/min"]},
    {"budget": ["10000usd/life"], "concurrency": 1},
    {"budget": ["10000usd/life"], "team": "thrifty"},
    {"budget": ["0.4usd/hour"]},
)
SMALL = ("0.02usd/life", "0.1usd/life", "0.5usd/life")
WORKERS = 10
PAUSE_MS = 1_000
PATIENCE_S = 15.0
SAMPLE_S, DISK_S, PROVIDER_S = 10, 30, 60
SYSTEM_ROLES = ("parent", "control", "worker", "gate")


class Enduring(Breakable):
    """A system with keys of many kinds; those with small budgets are replaced now and then."""

    def __init__(self, folder):
        super().__init__(folder, environment=SETTINGS)
        self.every_holder = []
        self.rich, self.small, self.limited = {}, {}, []
        self.gauged = {}

    def issue(self):
        self.tell("budget set", scope="org", amount="1000000usd/life")
        self.tell("team add", name="thrifty")
        self.tell("budget set", scope="team:thrifty", amount="0.5usd/hour")
        for provider in PROVIDERS:
            self.rich[provider] = self.new(provider, budget=["10000usd/life"])
        for options in LIMITED:
            for provider in PROVIDERS:
                holder = self.new(provider, **options)
                self.limited.append(holder)
                self.gauged[holder.id] = next((gauge for gauge in ("rate", "concurrency") if gauge in options), "")
        # Its window rolls over while the bill goes on: not for `check_now`, which compares the two.
        self.holders = [each for each in self.holders if each not in self.limited[-len(PROVIDERS) :]]
        self.renew()
        return self

    def new(self, provider, **options):
        holder = self.holder(provider, **options)
        self.every_holder.append(holder)
        return holder

    def renew(self):
        """New keys with small budgets, in the place of those that are used up."""
        self.small = {provider: [self.new(provider, budget=[each]) for each in SMALL] for provider in PROVIDERS}

    def draw(self, ask, chance):
        """The key for a request, by its provider."""
        provider = ask.path.split("/")[1]
        which = chance.random()
        if which < 0.6:
            return self.rich[provider]
        if which < 0.9:
            return chance.choice([each for each in self.limited if each.provider == provider])
        return chance.choice(self.small[provider])


class Requests:
    """Draws what clients ask: steady requests to time by, all dialects, answers that break off, clients that leave."""

    def __init__(self, system, chance):
        self._system = system
        self._calm = asks.Asks(chance)
        self._torn = asks.Asks(chance, torn=True)

    def __call__(self, chance):
        which = chance.random()
        if which < 0.25:
            return self._steady(chance, stream=False)
        if which < 0.4:
            return self._steady(chance, stream=True)
        if which < 0.42:
            ask = chat("openai", 400, stream=True, out=chance.randint(100, 400), chunk=4, pace_ms=50)
        elif which < 0.421:
            ask = chat("openai", 60, stream=chance.random() < 0.5, hang=1)
        else:
            ask = (self._torn if which < 0.46 else self._calm).draw()
        if chance.random() < 0.07:
            away = chance.choice((0, 0, chance.randint(1, 6_000)))
            ask = msgspec.structs.replace(
                ask, leave_after=away, leave_ms=chance.randint(0, 300), rude=chance.random() < 0.5
            )
        return self._system.draw(ask, chance).key, ask

    def _steady(self, chance, *, stream):
        """Always alike, 20 ms at the provider, of keys that have plenty: what changes in their time is the gate's."""
        provider = chance.choice(PROVIDERS)
        more = {"pace_ms": 10, "chunk": 4} if stream else {}
        ask = chat(provider, 60, stream=stream, out=40, latency_ms=20, **more)
        kind = "steady stream" if stream else "steady"
        return self._system.rich[provider].key, msgspec.structs.replace(ask, kind=kind)


class Recorder(threading.Thread):
    """Moves what clients met into the records, looks at every process, and writes down the figures so far."""

    def __init__(self, run):
        super().__init__(name="recorder", daemon=True)
        self._run = run
        self._ended = threading.Event()
        self._due = dict.fromkeys(("sample", "disk", "provider"), 0.0)
        self._due["checkpoint"] = run.checkpoint_s
        self.failures = []

    def run(self):
        while not self._ended.wait(1.0):
            try:
                self._turn()
            except Exception as error:
                traceback.print_exc()
                self.failures.append(f"{type(error).__name__}: {error}"[:300])

    def _turn(self):
        run = self._run
        at = run.elapsed()
        run.records.take_met(run.traffic.met)
        if self._comes("sample", at, SAMPLE_S):
            run.records.take_samples(endurance_samples.look_at_all(at, run.system))
        if self._comes("disk", at, DISK_S):
            run.records.take_disk(endurance_samples.disk(at, run.system.home))
        if self._comes("provider", at, PROVIDER_S):
            run.records.take_provider(run.system.sandbox.url)
        if self._comes("checkpoint", at, run.checkpoint_s):
            run.write_checkpoint()

    def _comes(self, what, at, every):
        if at < self._due[what]:
            return False
        self._due[what] = at + every
        return True

    def close(self):
        self._ended.set()
        if self.is_alive():
            self.join()
        self._turn()


class Run:
    """One long run. `stop` ends it early; `checkpoint` is a file that gets the figures so far."""

    def __init__(self, folder, seed, seconds, checkpoint=None, stop=None):
        self.seconds = seconds
        self.checkpoint_s = seconds / 12
        self._checkpoint = checkpoint
        self._chance = random.Random(seed)
        self._stop = stop or threading.Event()
        self._began = time.monotonic()
        self._began_us = now_us()
        self.lasted_s = 0.0
        self.died_unasked = []
        self.records = Records(folder / "records.db")
        self.system = Enduring(folder)
        self.traffic = self.faults = self.recorder = None

    def elapsed(self):
        return time.monotonic() - self._began

    def go(self):
        """Run to the end and read everything."""
        system = self.system
        try:
            system.begin()
            system.issue()
            self.faults = Faults(system, self.records, self._chance, self._stop, min(1.0, 0.1 + self.seconds / 600))
            seed = self._chance.randint(1, 1 << 30)
            draw = Requests(system, random.Random(seed))
            self._began, self._began_us = time.monotonic(), now_us()
            self.traffic = Traffic(
                system.port, draw, workers=WORKERS, pause_ms=PAUSE_MS, patience_s=PATIENCE_S, seed=seed
            )
            self.recorder = Recorder(self)
            self.faults.note("the run", self._run_to_its_end)
            self.faults.note("at rest", lambda: at_rest(system, 150))
            self.recorder.close()
            self.faults.note("reading everything", lambda: self.records.read(system))
            self.billed = system.billed()
            self.log_errors = Counter(_template(line) for line in system.errors())
        finally:
            system.close()
        return self

    def _run_to_its_end(self):
        with self.traffic:
            self.recorder.start()
            try:
                self._endure()
            finally:
                self.lasted_s = self.elapsed()
            self.system.wait_whole(WHOLE_S)

    def _endure(self):
        """Something goes wrong every 30 s, on short runs more often; new small keys twelve times."""
        pause_s = min(30.0, self.seconds / 50)
        renew_s = 0.0
        for name, until_share in (("rough", 0.25), ("gate spared", 0.5), ("all spared", 0.95), ("rough again", 1.0)):
            self._spare(name)
            while self.elapsed() < until_share * self.seconds and not self._stop.is_set():
                if self.elapsed() > renew_s:
                    self.faults.note("new keys", self._renew)
                    renew_s = self.elapsed() + self.seconds / 12
                self._stop.wait(pause_s * (0.5 + self._chance.random()))
                self.faults.any(reload=name.startswith("rough"))
            self.died_unasked += self.faults.spared - {pid for pids in self.system.children().values() for pid in pids}

    def _renew(self):
        self.system.wait_whole(WHOLE_S)
        self.system.renew()

    def _spare(self, name):
        with suppress(AssertionError):
            self.system.wait_whole(WHOLE_S)
        children = self.system.children()
        if name == "gate spared":
            self.faults.spared = {children["gate"][0]}
        elif name == "all spared":
            self.faults.spared |= {*children["control"], *children["worker"]}
        else:
            self.faults.spared = set()

    def write_checkpoint(self):
        if self._checkpoint is None:
            return
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        new = self._checkpoint.with_suffix(".new")
        new.write_text(json.dumps(self.so_far(), indent=1, ensure_ascii=False) + "\n")
        new.rename(self._checkpoint)

    def so_far(self):
        """Figures that need nothing to stand still."""
        records, faults = self.records, self.faults
        return {
            "seconds": round(self.elapsed()),
            "of": self.seconds,
            "requests": records.one("SELECT count(*) FROM met"),
            "statuses": records.counted("status", "decision = 'admitted'"),
            "decisions": records.counted("decision"),
            "reasons": records.counted("reason", "reason != ''"),
            "given up": self.traffic.given_up,
            "unreachable": self.traffic.unreachable,
            "faults": dict(faults.done),
            "longest until whole again": round(max(faults.back_s, default=0), 1),
            "looks": faults.looks,
            "wrong": faults.wrong,
            "recorder failures": self.recorder.failures,
            "latencies": self.latencies(),
            "cores": round(self.cpu(SYSTEM_ROLES), 3),
            "cores with provider and checker": round(self.cpu((*SYSTEM_ROLES, "provider", "checker")), 3),
            "growth": {
                role: {each.measure: str(each) for each in endurance_samples.growths(records, role)}
                for role in (*SYSTEM_ROLES, "provider", "checker")
            },
            "disk": {
                what: [round(each) for each in endurance_samples.disk_growth(records, what)]
                for what in ("journal", "lake", "logs", "home")
            },
        }

    def cpu(self, roles):
        return endurance_samples.cpu_share(self.records, roles, self.elapsed() if not self.lasted_s else self.lasted_s)

    def latencies(self):
        """(n, p50, p99 of steady requests; n, p50, p99 to the first byte of steady streams) per twelfth of the run."""
        ends = [self._began_us + int(turn * self.checkpoint_s * 1e6) for turn in range(13)]
        found = [self.records.latencies(*each) for each in itertools.pairwise(ends)]
        return [each for each in found if each[0]]


def _template(line):
    """A log line without its time and numbers."""
    words = line.partition(" ERROR ")[2] or line
    return "".join("#" if letter.isdigit() else letter for letter in words)[:120]
