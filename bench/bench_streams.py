"""A thousand streams at once: what comes late or in lumps, and what a stream costs; then beside large requests.

The upstream writes each stream's chunks on a schedule of its own and puts into each chunk when it was due, on the
monotonic clock that all processes of the machine share. The client subtracts that from the time of the read in which
the chunk became complete.
"""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

from bench import generator, peers
from bench.record import Table

PEERS = ("jackstop", "nginx")
PEER_CORE, LOAD_CORE = 0, 1
RATE_PER_S = 20
KEYS = 100
LARGE_BYTES = 20_000_000
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Tell me a long story. " * 25}], "stream": True}
WITH_USAGE = {"stream_options": {"include_usage": True}}
CASES = (
    ("no proxy", None, True),
    ("nginx", "nginx", True),
    ("Jackstop", "jackstop", True),
    ("Jackstop, client did not ask for usage", "jackstop", False),
)
LATE_SHARE = 0.001
"""Target: so many of the chunks, at most, are merged or late through Jackstop."""


@dataclass
class Size:
    streams: int
    seconds: int
    ramp: int
    chunks: int


FULL, QUICK = Size(1000, 30, 5, 200), Size(100, 3, 1, 20)


class Alone:
    """The upstream with nothing in front of it: there is no process to weigh."""

    def memory_mib(self):
        return 0.0

    def cpu_s(self):
        return 0.0


@contextmanager
def before(name, folder, upstream):
    """A peer in front of the upstream, for as long as the block; (target for the generator, what to weigh)."""
    if name is None:
        yield upstream, Alone()
        return
    peer = peers.peer(name)
    peer.install(generator.CACHE)
    running = peer.start(generator.CACHE, folder, upstream.url, cores={PEER_CORE}, keys=KEYS)
    try:
        yield running, running
    finally:
        running.stop()


class Aside(threading.Thread):
    """A run of the generator beside another; `result()` waits for it."""

    def __init__(self, run, *args, **options):
        super().__init__(daemon=True)
        self._run, self._args, self._options = run, args, options
        self._found = None
        self.start()

    def run(self):
        self._found = self._run(*self._args, **self._options)

    def result(self):
        self.join()
        if self._found is None:
            raise RuntimeError("the load generator failed")
        return self._found


def large_body():
    """A chat request, not streamed, with so much text."""
    words = "All work and no play makes Jack a dull boy.\n"
    text = words * (LARGE_BYTES // len(words))
    return {"model": ASK["model"], "messages": [{"role": "user", "content": text}]}


def measure(target, weighed, body, size, large):
    """One peer's figures: (of the streams, of the large requests or None, KiB per stream, MiB at most, core share)."""
    generator.streams(target, body, connections=10, seconds=1, core=LOAD_CORE)  # everything has been used once
    empty = weighed.memory_mib()
    held = {"connections": size.streams, "seconds": size.seconds, "ramp": size.ramp, "core": LOAD_CORE}
    streams = Aside(generator.streams, target, body, **held)
    time.sleep(size.ramp)
    beside = None
    if large:
        options = {"rps": 1, "connections": 4, "seconds": size.seconds, "core": LOAD_CORE}
        beside = Aside(generator.rate, target, large, **options)
    begin, used, memory = time.monotonic(), weighed.cpu_s(), []
    while (left := begin + size.seconds - time.monotonic()) > 0:
        memory.append(weighed.memory_mib())
        time.sleep(min(left, 0.5))
    share = (weighed.cpu_s() - used) / (time.monotonic() - begin)
    alone = weighed.memory_mib() == 0
    per_stream = None if large or alone else (memory[len(memory) // 2] - empty) * 1024 / size.streams
    return streams.result(), beside and beside.result(), per_stream, max(memory), share


def row(label, found, sent, per_stream, most, share, alone):
    """A line of the table."""
    lag = found["lag_us"]
    chunks = max(found["chunks"], 1)
    return [
        label,
        found["streams"],
        found["chunks"],
        f"{100 * found['late_or_merged'] / chunks:.3f} %",
        found["merged"],
        found["late"],
        *(f"{lag[each] / 1000:.1f}" for each in ("p50", "p99", "p999", "max")),
        found["broken"] + found["gaps"] + sum(n for status, n in found["statuses"].items() if status != "200"),
        f"{sent} / {found['usages']} of {found['finished']}",
        "" if per_stream is None else f"{per_stream:.0f} KiB",
        "" if alone else f"{most:.0f} MiB",
        "" if alone else f"{100 * share:.0f} %",
    ]


COLUMNS = [
    "through",
    "streams",
    "chunks",
    "merged or late",
    "merged",
    "late",
    "lag p50 ms",
    "p99",
    "p99.9",
    "max",
    "failed",
    "usage sent / passed",
    "memory per stream",
    "memory at most",
    "of its core",
]
LARGE_COLUMNS = ["through", "asked", "answered 200", "other", "p50 ms", "max ms"]


def run(folder, quick, large):
    """The cases, each with a fresh peer: the rows of the streams, of the large requests, and the targets."""
    size = QUICK if quick else FULL
    rows, large_rows, targets = [], [], []
    for number, (label, name, usage) in enumerate(CASES):
        body = ASK | (WITH_USAGE if usage else {})
        place = folder / f"{number}-{'large' if large else 'alone'}"
        with (
            generator.serve(core=LOAD_CORE, chunks=size.chunks, chunk_rate=RATE_PER_S) as upstream,
            before(name, place, upstream) as (target, weighed),
        ):
            found, beside, *weights = measure(target, weighed, body, size, large)
            sent = upstream.count()["usages"]
        rows.append(row(label, found, sent, *weights, name is None))
        if beside:
            other = beside["sent"] - beside["ok"]
            times = beside["latency_us"]
            large_rows.append([label, beside["sent"], beside["ok"], other, times["p50"] // 1000, times["max"] // 1000])
        if name == "jackstop":
            bad = found["late_or_merged"] / max(found["chunks"], 1)
            what = f"chunks merged or late, {label}{', beside large requests' if large else ''}"
            held = found["chunks"] > 0 and bad <= LATE_SHARE
            targets.append((what, f"{100 * bad:.3f} %", f"at most {100 * LATE_SHARE:g} %", held))
    return rows, large_rows, targets


def streams(folder, quick):
    size = QUICK if quick else FULL
    how = (
        f"{size.streams:,} streams for {size.seconds} s after a ramp of {size.ramp} s, {RATE_PER_S} chunks a second"
        f" each, begun anew after {size.chunks} chunks; {KEYS} keys. The peer, started anew for each line, has core"
        f" {PEER_CORE} for itself; upstream and client share core {LOAD_CORE}. Merged: became complete in the same"
        " read as the chunk before it. Late: more than 50 ms after it was due. Failed: streams that broke off, chunks"
        " that are missing, and answers other than 200. Usage: chunks with the usage that the upstream sent, and"
        " streams that had one at the client, of those that came to their end. Memory per stream: growth of the"
        " serving process's resident memory, streams alone."
    )
    rows, _, targets = run(folder, quick, None)
    yield Table("Streams alone", COLUMNS, rows, how, targets)
    rows, large_rows, targets = run(folder, quick, large_body())
    note = (
        f"The same while a chat request with {LARGE_BYTES // 1_000_000} MB of text, not streamed, comes every second."
    )
    yield Table("Streams beside large requests", COLUMNS, rows, note, targets)
    yield Table("The large requests", LARGE_COLUMNS, large_rows, "From the scheduled moment to the end of the answer.")


SECTIONS = {"streams": ("A thousand streams, alone and beside large requests", streams)}
