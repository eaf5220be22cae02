"""Latency at 1,000 requests a second, with nothing else that runs on the gateway's core: Jackstop beside bare proxies.

Section `speed` has every gateway alive and Jackstop twice; here the others are few and stopped while one is measured,
and Jackstop's control and worker stand back behind the generator and the provider, whose core they share.
"""

from contextlib import suppress
from pathlib import Path
from statistics import median

from bench.bodies import KIB, chat
from bench.record import Table
from bench.stage import DIRECT, Stage

PEERS = ("jackstop", "nginx", "envoy", "tensorzero")
RPS = 1000
CONNECTIONS = 32
ROUNDS, SECONDS, QUICK_SECONDS = 5, 5, 1
LEASES_S = 6
"""Until the keys have leases for the load to come."""
NOTE = f"""\
{RPS:,} requests/s of 1 KB at equal distances over {CONNECTIONS} connections, 1,000 keys, everything on. A request's
time counts from when it was due. {ROUNDS} rounds of {SECONDS} s, the gateways in turn; rounds' medians, and the range
of p99. The gateway has core 0 for itself. Generator, provider, and Jackstop's control and worker are on core 1, where
these two have the lowest weight (`/proc/PID/autogroup`)."""


def latency(folder, quick):
    seconds, rounds = (QUICK_SECONDS, 1) if quick else (SECONDS, ROUNDS)
    with Stage(folder, PEERS, keys=50 if quick else 1000) as stage:
        own = stage.ways["http", "jackstop"]
        _stand_back(own.everything())
        bodies = {name: chat(stage.ways["http", name].model, KIB) for name in stage.names("http")}
        load = {"connections": CONNECTIONS, "warmup": 1}
        stage.measure("http", "jackstop", bodies["jackstop"], rps=0, seconds=LEASES_S, **load)
        found = {name: [] for name in bodies}
        for turn in range(rounds):
            names = [*bodies][turn % len(bodies) :] + [*bodies][: turn % len(bodies)]
            for name in names:
                found[name].append(stage.measure("http", name, bodies[name], rps=RPS, seconds=seconds, **load))
    yield _table(found)


def _stand_back(pids):
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("19")


def _table(found):
    bare = {figure: _mid(found[DIRECT], figure) for figure in ("p50", "p99", "p999")}
    rows = []
    for name, rounds in found.items():
        own = {figure: _mid(rounds, figure) for figure in bare}
        p99 = [each.p99 for each in rounds]
        added = ["" if name == DIRECT else own[figure] - bare[figure] for figure in bare]
        failed = f"{sum(each.failed for each in rounds):,} of {sum(each.sent for each in rounds):,}"
        rows.append([name, *own.values(), f"{min(p99):,.0f} to {max(p99):,.0f}", *added, failed])
    columns = ["gateway", "p50 µs", "p99 µs", "p99.9 µs", "range of p99", "added p50", "added p99", "added p99.9"]
    beyond = (_mid(found["jackstop"], "p99") - _mid(found["nginx"], "p99")) / 1000
    what = f"p99 at {RPS:,} requests/s of 1 KB beyond nginx's"
    targets = [(what, f"{beyond:.2f} ms", "<= 1 ms", beyond <= 1)]
    return Table(f"At {RPS:,} requests a second", [*columns, "not 200"], rows, NOTE, targets)


def _mid(rounds, figure):
    return round(median(getattr(each, figure) for each in rounds))


SECTIONS = {"latency": ("latency at 1,000 requests a second", latency)}
