"""Where a request's time goes: the gate's processor time by the phases of a request, and of a chunk of a stream.

How much a request takes is the gate process's own processor time (/proc) by what the upstream has served meanwhile.
The shares are those of samples that py-spy takes of the gate's stacks afterwards, under the same load; a sample
belongs to the phase of its innermost function that is in `TABLE`. What is not there counts for its caller: prices,
registry, slices and the like, which more than one phase uses.

JACKSTOP_BENCH_BEFORE, a folder with another version of the source, puts that version beside this one.
"""

import os
import re
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

from bench import generator
from bench.bench_streams import ASK, WITH_USAGE
from bench.bodies import KIB, chat
from bench.peers import jackstop
from bench.peers.base import Unavailable, python_environment, spawn
from bench.record import Table
from tests.acceptance import system

PEERS = ("jackstop",)
BEFORE = "JACKSTOP_BENCH_BEFORE"
ROOT = Path(__file__).parent.parent
SPY = "py-spy==0.4.3"
SAMPLES_PER_S = 300
GATE_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 32
STREAMS, CHUNKS_PER_S = 2000, 20
"""Nearly as much as a gate passes on; with more, chunks would be read several at a time."""
ENDLESS = 100_000
"""Chunks of a stream: none ends while it is measured, so that what is measured are chunks alone."""
MARGIN_S = 3
"""What a load lasts longer than what is measured of it."""

ACCEPT, IDENTIFY, ADMIT, RESERVE = "accept", "identify", "admit", "reserve"
FORWARD, STREAM, SETTLE, RECORD = "forward", "stream", "settle", "record"
SENT = "sending (the transport's write)"
LOOP = "event loop: waking, reading"
BESIDE = "beside requests: leases, deadlines, control"
THREADS = "other threads"
UNCLEAR = "not told apart"
ROWS = (
    *(ACCEPT, IDENTIFY, ADMIT, RESERVE, FORWARD, STREAM, SETTLE, RECORD),
    *(SENT, LOOP, BESIDE, THREADS, UNCLEAR),
)
ASKING = ("base", "content", "fields", "media", "openai_request", "probes")
"""Modules of the meters that read a request; `media` is one of an earlier version."""
TABLE = {
    "gate/server.py": {"*": ACCEPT, "write": SENT},
    "gate/wire.py": {"*": ACCEPT},
    "gate/chunks.py": {"*": ACCEPT},
    "gate/source.py": {"*": ACCEPT},
    "gate/listener.py": {"*": ACCEPT},
    "gate/identify.py": {"*": IDENTIFY},
    "gate/admission.py": {"*": ADMIT},
    "gate/document.py": {"*": ADMIT},
    "gate/rules.py": {"*": ADMIT},
    "gate/meter/openai_chat.py": {
        "*": ADMIT,
        **dict.fromkeys(("whole", "stream", "_Reading", "_ChatStream"), STREAM),
        "rewrite": FORWARD,
    },
    **{f"gate/meter/{name}.py": {"*": ADMIT} for name in ASKING},
    "gate/reserve.py": {"*": RESERVE},
    "ledger/bounds.py": {"*": RESERVE},
    "ledger/books.py": {
        "*": BESIDE,
        **dict.fromkeys(("reserve", "_reserve", "_take", "_undo", "left"), RESERVE),
        **dict.fromkeys(("settle", "release", "_end"), SETTLE),
        "record": RECORD,
    },
    "gate/forward.py": {"*": FORWARD},
    "gate/meter/rewriting.py": {"*": FORWARD},
    "gate/upstream.py": {"*": FORWARD, "send": SENT, "data_received": STREAM, "done": STREAM, "sweep": BESIDE},
    "gate/reply.py": {"*": STREAM},
    "gate/answer.py": {"*": STREAM},
    "gate/meter/sse.py": {"*": STREAM},
    "gate/meter/openai_usage.py": {"*": STREAM},
    "gate/meter/answers.py": {"*": STREAM},
    "gate/settle.py": {"*": SETTLE},
    "gate/entry.py": {"*": RECORD, "settle": SETTLE, "_due": SETTLE},
    "gate/record.py": {"*": RECORD},
    "gate/traits.py": {"*": RECORD},
    "gate/journal.py": {"*": RECORD},
    "gate/exchange.py": {
        "*": STREAM,
        "__init__": ACCEPT,
        "open": IDENTIFY,
        **dict.fromkeys(("receive", "_judge", "_judge_apart", "_judged"), ADMIT),
        "_wait": RESERVE,
        **dict.fromkeys(("_reserved", "_send", "_connect", "_forward"), FORWARD),
        "_settle": SETTLE,
    },
    "gate/context.py": {"_sweep": BESIDE},
    "gate/link.py": {"*": BESIDE},
    "gate/process.py": {"*": LOOP},
}
"""Module and function or class ("*": all others of the module) to the phase that they belong to."""
FRAME = re.compile(r"(?P<name>\S+) \((?P<path>.+):\d+\)")


@dataclass(frozen=True)
class Size:
    rounds: int
    seconds: int
    keys: int


FULL, QUICK = Size(3, 5, 1000), Size(1, 1, 20)


@dataclass(frozen=True)
class Load:
    """What is asked of a gate: `run(way, seconds=…)` is the generator's, `unit` is what the upstream counts of it."""

    name: str
    unit: str
    ramp: int
    run: partial


@dataclass
class Spent:
    """What one gate took under one load, round by round: all of it, and its loop's thread; that one's samples."""

    rate: list = field(default_factory=list)
    user_us: list = field(default_factory=list)
    system_us: list = field(default_factory=list)
    loop_us: list = field(default_factory=list)
    samples: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    merged: list = field(default_factory=list)

    @property
    def each_us(self):
        return [user + system for user, system in zip(self.user_us, self.system_us, strict=True)]

    def phase_us(self, phase):
        """None where there are no samples."""
        if phase == THREADS:
            return max(0.0, median(self.each_us) - median(self.loop_us))
        total = self.samples.total()
        return median(self.loop_us) * self.samples[phase] / total if total else None


def loads():
    to = {"core": LOAD_CORE}
    bodies = {"1 KB": KIB, "32 KB": 32 * KIB}
    asked = [
        Load(name, "requests", 0, partial(_requests, body=chat("gpt-4o-mini", length), connections=CONNECTIONS, **to))
        for name, length in bodies.items()
    ]
    streams = partial(_streams, body=ASK | WITH_USAGE, connections=STREAMS, ramp=2, **to)
    return [*asked, Load("chunk", "chunks", 3, streams)]


def _requests(way, body, **options):
    """As fast as it goes: what failed, and nothing can be merged."""
    found = generator.rate(way, body, rps=0, **options)
    return {**_refused(found), "no answer": found["errors"]}, 0.0


def _streams(way, body, **options):
    """Streams held open: what failed, and the share of chunks that came together with the one before."""
    found = generator.streams(way, body, **options)
    return {**_refused(found), "broken": found["broken"]}, found["merged"] / max(1, found["chunks"])


def _refused(found):
    return {status: n for status, n in found["statuses"].items() if status != "200"}


def trees():
    """The folders of source that are measured."""
    before = os.environ.get(BEFORE)
    return ({"before": Path(before).resolve()} if before else {}) | {"now": ROOT}


# -- measuring --------------------------------------------------------------------------------------------------


class Run:
    """Every gate under every load, one after the other; `refused` says why there are no samples."""

    def __init__(self, folder, size, upstream):
        self.folder, self.size, self.upstream = folder, size, upstream
        self.ways, self.spent, self.refused = {}, {}, ""
        try:
            self.spy = python_environment(generator.CACHE / "py-spy", SPY) / "py-spy"
        except Unavailable as why:
            self.spy, self.refused = None, str(why)

    def start(self, stack):
        for name, tree in trees().items():
            # A client that leaves is not waited for, so that one measurement's streams are over before the next. A
            # gate imports what is installed, which is one of the trees at most, unless the path says otherwise.
            settings = {"JACKSTOP_GATE_ON_DISCONNECT": "close", "PYTHONPATH": str(tree)}
            options = {"cores": {GATE_CORE}, "keys": self.size.keys, "environment": settings}
            with patch.object(system, "ROOT", tree):
                way = jackstop.start(generator.CACHE, self.folder / name, self.upstream.url, **options)
            stack.callback(way.stop)
            self.ways[name] = way

    def measure(self, name, load):
        """One round: processor time first, then as long again with py-spy beside it."""
        way, seconds = self.ways[name], self.size.seconds
        spent = self.spent.setdefault((load.name, name), Spent())
        with ThreadPoolExecutor(1) as beside:
            lasting = load.ramp + 2 * seconds + MARGIN_S
            run = beside.submit(load.run, way, seconds=lasting)
            time.sleep(load.ramp + MARGIN_S / 4)
            count, took, *used = self._used(way, load.unit, seconds)
            spent.rate.append(count / took)
            for figures, used_s in zip((spent.user_us, spent.system_us, spent.loop_us), used, strict=True):
                figures.append(used_s / count * 1e6)
            if not self.refused:
                spent.samples += self._samples(way, trees()[name])
            failed, merged = run.result()
            spent.failed += Counter(failed)
            spent.merged.append(merged)

    def _used(self, way, unit, seconds):
        """What a gate does in so many seconds: requests or chunks, the seconds, and its `_cpu_s`."""
        count, before, start = self.upstream.count()[unit], _cpu_s(way), time.monotonic()
        time.sleep(seconds)
        more, after, end = self.upstream.count()[unit], _cpu_s(way), time.monotonic()
        if more - count < seconds:
            raise RuntimeError(f"hardly any {unit} reach the upstream")
        return more - count, end - start, *(b - a for a, b in zip(before, after, strict=True))

    def _samples(self, way, tree):
        out, log = self.folder / "stacks", self.folder / "py-spy.log"
        out.unlink(missing_ok=True)
        (gate,) = way.processes()
        command = [self.spy, "record", "--pid", gate, "--duration", self.size.seconds, "--rate", SAMPLES_PER_S]
        command += ["--full-filenames", "--format", "raw", "--output", out]
        process = spawn(command, log, {LOAD_CORE})
        try:
            process.wait(self.size.seconds * 3 + 10)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() or not out.exists():
            # Only root may look into a gate's memory.
            self.refused = (log.read_text().strip().splitlines() or ["py-spy said nothing"])[-1][:200]
            return Counter()
        found = Counter()
        for line in out.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            found[phase_of(stack.split(";"), tree)] += int(count)
        found.pop(None, None)
        return found


def phase_of(stack, tree):
    """The phase of a stack of frames, the outermost first, as py-spy writes them; None for another thread's."""
    if "/threading.py:" in stack[0]:
        return None
    for frame in reversed(stack):
        match = FRAME.fullmatch(frame)
        path = match["path"].removeprefix(f"{tree}/jackstop/") if match else ""
        known = TABLE.get(path, {})
        names = match["name"].partition(".<locals>")[0].split(".") if match else []
        for name in (*reversed(names), "*"):
            if name in known:
                return known[name]
    return UNCLEAR


def _cpu_s(way):
    """Processor time of the gate so far, in seconds: user, system; and of both, what its loop's thread had."""
    (gate,) = way.processes()
    user, system_s = _times(f"/proc/{gate}/stat")
    return user, system_s, sum(_times(f"/proc/{gate}/task/{gate}/stat"))


def _times(stat):
    fields = Path(stat).read_text().rpartition(")")[2].split()
    return [int(each) / os.sysconf("SC_CLK_TCK") for each in fields[11:13]]


def phases(folder, quick):
    size = QUICK if quick else FULL
    with (
        generator.serve(core=LOAD_CORE, chunks=ENDLESS, chunk_rate=CHUNKS_PER_S) as upstream,
        ExitStack() as stack,
    ):
        run = Run(folder, size, upstream)
        run.start(stack)
        names = list(run.ways)
        for turn in range(size.rounds):
            for load in loads():
                for name in names if turn % 2 else reversed(names):
                    run.measure(name, load)
    yield _by_phase(run, names, size)
    yield _together(run, names)


# -- tables -----------------------------------------------------------------------------------------------------


def _column(load, name, names):
    what = "µs per chunk" if load == "chunk" else f"µs, {load}"
    return f"{what}, {name}" if len(names) > 1 else what


def _us(value):
    return "" if value is None else f"{value:.1f}"


def _by_phase(run, names, size):
    cases = [(load.name, name) for load in loads() for name in names]
    rows = [[phase, *(_us(run.spent[case].phase_us(phase)) for case in cases)] for phase in ROWS]
    rows = [row for row in rows if any(cell not in {"", "0.0"} for cell in row[1:])]
    rows.append(["together", *(_us(median(run.spent[case].each_us)) for case in cases)])
    refused = f"\n\nThere are no phases: py-spy was refused ({run.refused})." if run.refused else ""
    return Table(
        "A request by phase",
        ["phase", *(_column(*case, names) for case in cases)],
        rows,
        f"""\
Processor time, user and system, of one gate on core {GATE_CORE}, in µs. 1 KB and 32 KB: whole requests of that size,
not streamed, {CONNECTIONS} connections at saturation, {size.keys:,} keys, budgets on four levels and a rate. Chunk: one
of a stream's, {STREAMS:,} streams with {CHUNKS_PER_S} chunks a second each, which neither begin nor end meanwhile;
the gate sleeps now and then, which shows in the event loop's share.
{size.rounds} rounds, {size.seconds} s each for the processor time (the rounds' median) and as long again for the shares
of the loop's thread, which are those of py-spy's samples: {SAMPLES_PER_S} a second, each of which stops the gate for a
moment. Phases are told apart by `TABLE` in the module.{refused}""",
    )


def _together(run, names):
    rows = []
    for (load, name), spent in run.spent.items():
        each = spent.each_us
        failed = ", ".join(f"{why}: {n}" for why, n in spent.failed.items() if n)
        rows.append(
            [
                load,
                name,
                round(median(spent.rate)),
                f"{median(rate * us for rate, us in zip(spent.rate, each, strict=True)) / 1e6:.0%}",
                _us(median(each)),
                f"{min(each):.1f} to {max(each):.1f}",
                _us(median(spent.user_us)),
                _us(median(spent.system_us)),
                spent.samples.total(),
                f"{median(spent.merged):.0%}" if load == "chunk" else "",
                failed or "none",
            ]
        )
    other = [f"{name}: {_commit(tree)}" for name, tree in trees().items() if name in names]
    return Table(
        "What it is made of",
        ["load", "gate", "each second", "busy", "µs each", "range", "user", "system", "samples", "merged", "failed"],
        rows,
        f"""\
Each second: requests, or chunks. Busy: how much of its core the gate used. Merged: chunks that the client read together
with the one before; several at a time are cheaper. Source: {", ".join(other)}.""",
    )


def _commit(tree):
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "not from a repository"


SECTIONS = {"phases": ("where a request's time goes", phases)}
