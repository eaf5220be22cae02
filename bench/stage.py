"""A stage for measurements side by side: one upstream, plain and behind TLS, and every gateway in front of it.

The gateways' processes have core 0 to themselves; the load generator, the upstream and all else run on core 1. Only one
gateway is measured at a time, and the others are stopped meanwhile (SIGSTOP), so that what they do when idle does not
count; but for Jackstop, which would refuse until control has been heard after a stop.
"""

import os
import signal
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from bench import generator, peers
from bench.peers import nginx
from bench.peers.base import Running
from tests.certificates import Authority

CACHE = generator.CACHE
GATE_CORES = {0}
LOAD_CORE = 1 if (os.cpu_count() or 1) > 1 else 0
DIRECT = "no gate"


@dataclass
class Measured:
    """One run of the generator against one gateway."""

    rps: float
    p50: float
    p99: float
    p999: float
    sent: int
    failed: int
    serving_us: float
    """Processor time for each answer, in µs, of the processes that serve."""
    other_us: float
    """The same, of the gateway's other processes."""
    busy: float
    """How much of a core the serving processes used."""
    why: dict = field(default_factory=dict)


class Stage:
    """Holds what runs; a context manager. `ways` are the gateways by (scheme, name), `missing` says why one is not."""

    def __init__(self, folder, names, tls_names=(), keys=1000):
        self.folder, self.keys = folder, keys
        self.wanted = [("http", name) for name in names] + [("https", name) for name in tls_names]
        self.ways, self.missing, self.before_mib = {}, {}, {}
        self.answers = Counter()
        self._last, self._stack = None, ExitStack()

    def __enter__(self):
        with ExitStack() as stack:
            self._own_cores = os.sched_getaffinity(0)
            stack.callback(os.sched_setaffinity, 0, self._own_cores)
            os.sched_setaffinity(0, {LOAD_CORE})
            self.upstream = stack.enter_context(generator.serve(core=LOAD_CORE))
            self.ways["http", DIRECT] = Running(
                self.upstream.host, self.upstream.port, self.upstream.path, self.upstream.headers, "gpt-4o-mini"
            )
            authority = Authority(self.folder / "tls")
            front = self._tls_front(stack, authority)
            urls = {"http": self.upstream.url, "https": f"https://localhost:{front.port}" if front else None}
            with ThreadPoolExecutor() as together:
                for scheme, name in self.wanted:
                    together.submit(self._start, stack, scheme, name, urls[scheme], authority.ca)
            own = {key: why for key, why in self.missing.items() if key[1] == "jackstop"}
            if own:
                raise RuntimeError(f"Jackstop itself did not start: {own}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        for _, way in self._gateways():
            _signal(way, signal.SIGCONT)
        self._stack.close()

    def _tls_front(self, stack, authority):
        """nginx ends TLS before the upstream, on the generator's core, once some gateway is to be measured so."""
        if not any(scheme == "https" for scheme, _ in self.wanted):
            return None
        certificate, key, _ = authority.issue("localhost")
        nginx.install(CACHE)
        front = nginx.start_tls(
            CACHE, self.folder / "tls-front", self.upstream.url, certificate, key, cores={LOAD_CORE}
        )
        stack.callback(front.stop)
        return front

    def _start(self, stack, scheme, name, url, ca):
        try:
            module = peers.peer(name)
            module.install(CACHE)
            trust = {"ca": ca} if scheme == "https" else {}
            way = module.start(CACHE, self.folder / f"{name}-{scheme}", url, cores=GATE_CORES, keys=self.keys, **trust)
        except Exception as error:
            # The others are measured without it, and the page says why.
            traceback.print_exc()
            self.missing[scheme, name] = f"{type(error).__name__}: {error}".strip().splitlines()[-1][:200]
            return
        stack.callback(way.stop)
        self.ways[scheme, name] = way
        self.before_mib[scheme, name] = way.memory_mib()

    def _gateways(self):
        return [(key, self.ways[key]) for key in self.wanted if key in self.ways]

    def names(self, scheme):
        """What can be measured over this scheme; `no gate` first."""
        wanted = [("http", DIRECT), *self.wanted]
        return [name for each, name in wanted if each == scheme and (each, name) in self.ways]

    def measure(self, scheme, name, body, *, rps, connections, seconds, warmup):
        """One run; the warm-up is a run of its own, so that processor time is only that of what is counted."""
        way = self.ways[scheme, name]
        self.let_run(scheme, name)
        load = {"rps": rps, "connections": connections, "core": LOAD_CORE}
        if warmup:
            self.answers[scheme, name] += generator.rate(way, body, seconds=warmup, **load)["ok"]
        serving = way.processes() if name != DIRECT else []
        others = [pid for pid in way.everything() if pid not in serving]
        cpu = way.cpu_s(serving), way.cpu_s(others)
        start = time.monotonic()
        found = generator.rate(way, body, seconds=seconds, **load)
        took = time.monotonic() - start
        used, beside = way.cpu_s(serving) - cpu[0], way.cpu_s(others) - cpu[1]
        answers = max(1, sum(found["statuses"].values()))
        self.answers[scheme, name] += found["ok"]
        took_us = found["latency_us"]
        return Measured(
            rps=found["rps"],
            p50=took_us["p50"],
            p99=took_us["p99"],
            p999=took_us["p999"],
            sent=found["sent"],
            failed=found["sent"] - found["ok"],
            serving_us=used / answers * 1e6,
            other_us=beside / answers * 1e6,
            busy=used / took,
            why={status: n for status, n in found["statuses"].items() if status != "200"}
            | {why: n for why, n in found["why"].items() if n},
        )

    def let_run(self, scheme, name):
        """Let this gateway go on, and stop the others."""
        if self._last == (scheme, name):
            return
        for key, way in self._gateways():
            if key == (scheme, name):
                _signal(way, signal.SIGCONT)
            elif key[1] != "jackstop":
                _signal(way, signal.SIGSTOP)
        self._last = (scheme, name)

    def memory(self):
        """Of every gateway: MiB of the serving processes at the start and now, and of all its processes now."""
        for (scheme, name), way in self._gateways():
            serving = way.memory_mib()
            yield scheme, name, self.before_mib[scheme, name], serving, way.memory_mib(way.everything())


def _signal(way, number):
    for pid in way.everything():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
