"""The gateways of the safety measurements behind the same few acts: start, make a key with a cap, look, revoke, kill.

A cap is what so many requests cost; its kind (see `CAPS`) is known when a gateway starts, since not every gateway can
be given a budget while it runs. What a gateway has not got is None.
"""

import hashlib
import json
import os
import signal
import time
import urllib.request
from dataclasses import dataclass, field
from types import SimpleNamespace

from bench.peers import envoy, jackstop, litellm, litellm_database, nginx, portkey, tensorzero, valkey
from bench.peers.base import Unavailable
from jackstop.control import client
from jackstop.settings import Home
from tests.acceptance.system import System

FULL, SHORT, MOST = 500, 50, 500
"""Output tokens of a full and of a short answer, and the cap on the output that every request asks for."""
CAPS = {"tight": (20, FULL), "short": (100, SHORT), "wide": (20_000, FULL)}
"""Kinds of keys: what a key may spend is so many requests with answers of so many tokens."""
PRICE = {"input": 150, "output": 600}
"""Nano-dollars per token of gpt-4o-mini."""


@dataclass
class Key:
    headers: dict
    extra: dict = field(default_factory=dict)
    id: str = ""


class Gateway:
    """What they share: a folder, an upstream, and what one request costs, {output tokens: nano-dollars}."""

    mode = ""
    store = None  # what it keeps its counters in, where that can be stopped
    revokes = False
    guards = True
    workers = (1, 2)  # numbers of workers that the contended key is tried with; the last one for all else

    def __init__(self, cache, folder, upstream, costs):
        self.cache, self.folder, self.upstream, self.costs = cache, folder, upstream, costs
        self.cores = set(range(os.cpu_count()))
        self.running = []
        self.issued = 0

    def cap(self, kind):
        """In nano-dollars."""
        requests, tokens = CAPS[kind]
        return requests * self.costs[tokens]

    def urls(self):
        return [f"http://{each.host}:{each.port}{each.path}" for each in self.running]

    def model(self):
        return self.running[0].model

    def books(self, key):
        """What its own books say that a key has spent, in nano-dollars; None where it has none to look into."""

    def kill(self):
        """SIGKILL for every process of the gateway; its store goes on."""
        for pid in [pid for each in self.running for pid in each.everything()]:
            os.kill(pid, signal.SIGKILL)
        self.stop()

    def stop(self):
        for each in self.running:
            each.stop()
        self.running = []

    def close(self):
        self.stop()


class Jackstop(Gateway):
    mode = "as it comes"
    store = "control"
    revokes = True
    options = {}

    def version(self):
        return jackstop.version(self.cache)

    def start(self, workers):
        sandbox = SimpleNamespace(url=self.upstream.removesuffix("/openai"), stop=lambda: None)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.system = System(self.folder, workers, {"JACKSTOP_LOG_LEVEL": "warning"}, sandbox).set_up().up()

    def urls(self):
        return [f"{self.system.url}/openai/v1/chat/completions"]

    def model(self):
        return "gpt-4o-mini"

    def _ask(self, name, /, **words):
        return client.ask(Home(self.system.home), name, words)

    def key(self, kind):
        self.issued += 1
        budget = f"{self.cap(kind) / 1e9:.9f}usd/life"
        words = {"owner": "app@example.com", "name": f"k{self.issued}", "budget": [budget], **self.options}
        made = self._ask("key issue", **words)
        return Key({"authorization": f"Bearer {made['key']}"}, id=made["id"])

    def books(self, key):
        rows = self._ask("budget show", scope=f"key:{key.id}")["rows"]
        return sum(row["settled"] + row["held"] for row in rows)

    def revoke(self, key):
        self._ask("key revoke", id=key.id)

    def kill(self):
        pids = [self.system.process.pid, *(pid for pids in self.system.children().values() for pid in pids)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.system.process.wait()

    def restart(self):
        self.system.up()

    def cut_store(self):
        """Control is killed, and the parent held, so that it does not start another."""
        os.kill(self.system.process.pid, signal.SIGSTOP)
        for pid in self.system.children()["control"]:
            os.kill(pid, signal.SIGKILL)

    def stop(self):
        if self.system.process:
            os.kill(self.system.process.pid, signal.SIGCONT)
        self.system.stop()


class Clamped(Jackstop):
    mode = "keys issued with --clamp"
    workers = (2,)
    options = {"clamp": True}


class LiteLLM(Gateway):
    """With virtual keys and PostgreSQL where Prisma can be had, else with budgets by custom_auth."""

    redis = False
    fail_closed = False
    database = None
    valkey = None

    def version(self):
        return litellm.version(self.cache)

    def start(self, workers):
        self.count = workers
        try:
            litellm.install_database(self.cache)
            self.database = litellm_database.Database(self.cache)
            self.budgets, self.revokes = None, True
            keys = "virtual keys, PostgreSQL"
        except (Unavailable, OSError):
            litellm.install(self.cache)
            dollars = {kind: self.cap(kind) / 1e9 for kind in CAPS}
            self.budgets = {f"sk-{kind}-{n:03d}": cap for kind, cap in dollars.items() for n in range(100)}
            keys = "custom_auth, whose reservations are not settled to the real cost"
        if self.redis:
            valkey.install(self.cache)
            self.valkey = valkey.Valkey(self.cache, self.folder / "valkey", self.cores)
        with_what = [keys, *(["Redis"] if self.redis else []), *(["fail_closed"] if self.fail_closed else [])]
        self.mode = ", ".join(with_what)
        self.store = "Redis" if self.redis else "PostgreSQL" if self.database else None
        self.restart()

    def restart(self):
        one = litellm.start(
            self.cache,
            self.folder / f"run{time.monotonic_ns()}",
            self.upstream,
            cores=self.cores,
            workers=self.count,
            budgets=self.budgets,
            database=self.database,
            store=self.valkey.url if self.valkey else None,
            fail_closed=self.fail_closed,
        )
        self.running = [one]

    def _post(self, path, **words):
        one = self.running[0]
        name, _, value = one.headers[0].partition(": ")
        headers = {"content-type": "application/json", name: value}
        request = urllib.request.Request(f"http://{one.host}:{one.port}{path}", json.dumps(words).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def key(self, kind):
        self.issued += 1
        if self.database:
            made = self._post("/key/generate", max_budget=self.cap(kind) / 1e9, models=["gpt-4o-mini"])["key"]
        else:
            made = f"sk-{kind}-{self.issued:03d}"
        return Key({"authorization": f"Bearer {made}"}, id=made)

    def books(self, key):
        if not self.database:
            return None
        token = hashlib.sha256(key.id.encode()).hexdigest()
        sql = f"SELECT spend FROM \"LiteLLM_VerificationToken\" WHERE token = '{token}'"
        return round(float(self.database.ask(sql)) * 1e9)

    def revoke(self, key):
        self._post("/key/block", key=key.id)

    def cut_store(self):
        (self.valkey or SimpleNamespace(stop=self.database.pause)).stop()

    def close(self):
        self.stop()
        if self.valkey:
            self.valkey.stop()
        if self.database:
            self.database.close()


class LiteLLMRedis(LiteLLM):
    workers = (2,)
    redis = True


class LiteLLMClosed(LiteLLMRedis):
    fail_closed = True


class TensorZero(Gateway):
    """Two workers are two gateways with one Valkey: it is one process with threads."""

    mode = "cost_per_day by tag, default_cost a third of a request's"
    store = "Valkey"
    share = 1 / 3

    def version(self):
        return tensorzero.version(self.cache)

    def start(self, workers):
        tensorzero.install(self.cache)
        valkey.install(self.cache)
        self.count = workers
        self.valkey = valkey.Valkey(self.cache, self.folder / "valkey", self.cores)
        self.restart()

    def limit(self, kind):
        return f"cost_per_day = {self.cap(kind) / 1e9:.9f}"

    def restart(self):
        self.running = [
            tensorzero.start(
                self.cache,
                self.folder / f"run{time.monotonic_ns()}",
                self.upstream,
                cores=self.cores,
                limits={kind: self.limit(kind) for kind in CAPS},
                default_cost=f"{self.share * self.costs[FULL] / 1e9:.9f}",
                store=self.valkey.url,
            )
            for _ in range(self.count)
        ]

    def key(self, kind):
        self.issued += 1
        return Key({}, {"tensorzero::tags": {kind: f"k{self.issued}"}})

    def cut_store(self):
        self.valkey.stop()

    def close(self):
        self.stop()
        self.valkey.stop()


class TensorZeroHigh(TensorZero):
    mode = "cost_per_day by tag, default_cost three times a request's"
    workers = (2,)
    share = 3


class TensorZeroTokens(TensorZero):
    mode = "tokens_per_day by tag"
    workers = (2,)

    def limit(self, kind):
        requests, tokens = CAPS[kind]
        prompt = (self.costs[tokens] - tokens * PRICE["output"]) // PRICE["input"]
        return f"tokens_per_day = {requests * (prompt + tokens)}"


class Unguarded(Gateway):
    """A proxy without keys and budgets of its own."""

    mode = "no keys, no budgets"
    guards = False
    peer = None

    def version(self):
        return self.peer.version(self.cache)

    def start(self, workers):
        self.peer.install(self.cache)
        self.running = [self.peer.start(self.cache, self.folder, self.upstream, cores=self.cores, workers=workers)]

    def key(self, kind):  # noqa: ARG002 there is nothing to limit
        name, _, value = self.running[0].headers[0].partition(": ")
        return Key({"authorization": "Bearer sk-mock", name: value})


class Portkey(Unguarded):
    peer = portkey


class Bare(Unguarded):
    def urls(self):
        return [f"http://{each.host}:{each.port}/openai{each.path}" for each in self.running]


class Envoy(Bare):
    peer = envoy


class Nginx(Bare):
    peer = nginx


ALL = {
    "Jackstop": (Jackstop, Clamped),
    "LiteLLM": (LiteLLM, LiteLLMRedis, LiteLLMClosed),
    "TensorZero": (TensorZero, TensorZeroHigh, TensorZeroTokens),
    "Portkey": (Portkey,),
    "Envoy": (Envoy,),
    "nginx": (Nginx,),
}
