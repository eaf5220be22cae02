"""Rotations in a row while applications work: failed requests and latency, beside the same load without rotations.

The practice providers with their administration APIs are the upstream, so that each rotation is whole: a key is made,
tested, given to the gate, waited for and ended, and the provider asked whether it refuses the old one.
"""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench import generator
from bench.peers.base import pin
from bench.record import Table
from tests.acceptance.rotations import Rotating, request

KINDS = {"overlap": "openai", "two-slot": "azure", "assisted, with a standby": "anthropic"}
RPS = 200
CONNECTIONS = 16
ROTATIONS, QUICK_ROTATIONS = 100, 2
BLOCK = 10
"""So many rotations in a row, then as long without any: what else the machine does falls on both."""
SLICE_S, QUICK_SLICE_S = 10, 4
LONGEST_S = 120
POLL_S = 0.25
WITHIN_MS = 5
NOTE = f"""\
{RPS} requests/s at equal distances over {CONNECTIONS} connections through one gate, all with the one credential that is
rotated; a request's time counts from when it was due. {BLOCK} rotations in a row, then the same load for as long
without, and so on; in pieces of {SLICE_S} s, the pieces' medians. Assisted: a standby is deposited anew before each.
The gate has core 0 for itself; generator, provider, control and worker are on core 1, where these two have the lowest
weight. Refused: the secret that was used before is none of those that the provider accepts."""


def rotation(folder, quick):
    count, seconds = (QUICK_ROTATIONS, QUICK_SLICE_S) if quick else (ROTATIONS, SLICE_S)
    rows, targets = [], []
    system = Rotating(folder)
    try:
        system.begin()
        _arrange(system)
        for kind, driver in KINDS.items():
            found = Kind(system, driver).measure(count, seconds)
            rows.append([kind, driver, *found.row()])
            targets += found.targets(kind)
    finally:
        system.close()
    columns = ["kind", "provider", "rotations", "refused", "s each", "requests", "failed", "p99 ms", "p50 ms"]
    columns += ["requests without", "failed without", "p99 ms without", "p50 ms without"]
    yield Table(f"Rotations in a row at {RPS} requests a second", columns, rows, NOTE, targets)


def _arrange(system):
    """The gate alone on its core."""
    gates = system.gates()
    others = [pid for pids in system.children().values() for pid in pids if pid not in gates]
    for pid in (*gates, *others, system.process.pid, system.sandbox.process.pid):
        pin(pid, {0} if pid in gates else {1})
    for pid in others:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("19")


class Kind:
    """One kind of driver: a credential, a load, and what was found with and without rotations."""

    def __init__(self, system, driver):
        self.system = system
        self.kept = system.keep(driver)
        path, headers, self.body = request(self.kept)
        lines = [f"{name}: {value}" for name, value in headers.items() if name != "content-type"]
        self.target = generator.Target(system.port, path=path, headers=["\r\n".join(lines)])
        self.refused, self.took = 0, []
        self.pieces = {"with": [], "without": []}

    def measure(self, count, seconds):
        self._piece("without", seconds)  # until the key has leases for the load to come
        self.pieces["without"].clear()
        for begun in range(0, count, BLOCK):
            with ThreadPoolExecutor(1) as pool:
                rotating = pool.submit(self._rotate, min(BLOCK, count - begun))
                pieces = 0
                while not rotating.done():
                    self._piece("with", seconds)
                    pieces += 1
                rotating.result()
            for _ in range(pieces):
                self._piece("without", seconds)
        return self

    def _piece(self, which, seconds):
        options = {"rps": RPS, "connections": CONNECTIONS, "seconds": seconds}
        self.pieces[which].append(generator.rate(self.target, self.body, **options))

    def _rotate(self, count):
        for _ in range(count):
            old, start = self.system.in_use(self.kept), time.monotonic()
            self.system.begin_act(self.kept, "rotate")
            while self.system.latest(self.kept)["state"] == "running":
                if time.monotonic() - start > LONGEST_S:
                    raise RuntimeError(f"a rotation does not end: {json.dumps(self.system.latest(self.kept))}")
                time.sleep(POLL_S)
            self.took.append(time.monotonic() - start)
            self.refused += old not in self.system.working(self.kept)

    # -- what was found -----------------------------------------------------------------------------------------

    def sent(self, which):
        return sum(piece["sent"] for piece in self.pieces[which])

    def failed(self, which):
        return sum(piece["sent"] - piece["statuses"].get("200", 0) for piece in self.pieces[which])

    def why(self, which):
        """How many failed, and of what."""
        statuses, errors = Counter(), Counter()
        for piece in self.pieces[which]:
            statuses.update({status: n for status, n in piece["statuses"].items() if status != "200"})
            errors.update({why: n for why, n in piece["why"].items() if n})
        said = ", ".join(f"{why}: {n}" for why, n in (statuses + errors).items())
        return f"{self.failed(which)} ({said})" if said else self.failed(which)

    def ms(self, which, figure):
        return median(piece["latency_us"][figure] for piece in self.pieces[which]) / 1000

    def row(self):
        figures = [len(self.took), self.refused, f"{median(self.took):.1f}"]
        for which in ("with", "without"):
            figures += [self.sent(which), self.why(which), *(f"{self.ms(which, p):.2f}" for p in ("p99", "p50"))]
        return figures

    def targets(self, kind):
        beyond = self.ms("with", "p99") - self.ms("without", "p99")
        done, failed = len(self.took), self.failed("with")
        return [
            (f"failed requests during {done} rotations, {kind}", failed, "0", failed == 0),
            (
                f"p99 beyond the same load without rotations, {kind}",
                f"{beyond:.2f} ms",
                f"<= {WITHIN_MS} ms",
                beyond <= 5,
            ),
            (f"old keys refused after each rotation, {kind}", f"{self.refused} of {done}", "all", self.refused == done),
        ]


SECTIONS = {"rotation": ("rotations in a row while applications work", rotation)}
