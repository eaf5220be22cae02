"""The detections' cycle at a thousand events a second: how long it takes, its memory, and what the gate feels.

The events are made up, but with what makes cycles dear: ten thousand keys of which some are much busier than others,
each with networks, clients, prompts and conversations of its own. Time is virtual; a cycle is as the worker runs it.
"""

import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.bodies import KIB, chat
from bench.record import Table
from bench.stage import LOAD_CORE, Stage
from jackstop.clock import to_datetime
from jackstop.detections.catalogue import shipped
from jackstop.detections.engine import Engine
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US
from jackstop.events.baselines import Digest
from jackstop.events.hot import batches_of
from jackstop.events.lake import SCHEMA
from jackstop.events.schema import Event
from jackstop.events.warehouse import Warehouse

PEERS = ("jackstop",)
CADENCE_US = 5_000_000
START = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
TODAY = START - START % DAY_US
KEYS, RATE, HOURS, MINUTES = 10_000, 1_000, 3, 10
QUICK_KEYS, QUICK_RATE, QUICK_HOURS, QUICK_MINUTES = 300, 30, 1, 2
BLOCK_US = 5 * MINUTE_US
BLOCKS = 4
"""Blocks of five minutes that are made; the three hours before are these again and again."""
MEMORY_MIB = 2_048
ROUNDS, SECONDS = 3, 10

NOTE = f"""\
{KEYS:,} keys, {RATE:,} events a second, of which one key in a hundred has a fifth. Before the first cycle the
warehouse is rebuilt from a lake of {HOURS} hours ("restart"), with baselines of a week for each key; then {MINUTES}
virtual minutes of cycles every {CADENCE_US // 1_000_000} s, each of which takes in its events, merges and drops what is
due, and runs every detection that is. All on one core. Memory is the process's resident memory after the last cycle,
with what makes the events in it."""


class Traffic:
    """Events of keys with habits. The same seed gives the same."""

    def __init__(self, keys, rate, seed=7):
        self._random = random.Random(seed)
        self.keys, self.rate = keys, rate

    def between(self, since_us, until_us):
        count = self.rate * (until_us - since_us) // 1_000_000
        step = max(1, (until_us - since_us) // max(1, count))
        return [self.event(since_us + number * step) for number in range(count)]

    def event(self, ts):
        draw = self._random.random
        number = int(self.keys * draw() ** 3)
        conversation = int(draw() * 40) + ts // (20 * MINUTE_US)
        messages = 1 + int(draw() * 12)
        tokens = 200 + 150 * messages + number % 700
        model = "gpt-4o" if number % 5 == 0 and draw() < 0.3 else "gpt-4o-mini"
        latency = int(400_000 + 4_000_000 * draw() ** 4)
        odd = draw()
        return Event(
            ts=ts,
            seen_ts=ts + latency,
            latency_us=latency,
            provider="openai",
            credential_id="openai-main",
            key_id=f"k{number:011d}",
            owner=f"owner{number // 3}@example.com",
            team=f"team{number % 40}",
            key_kind="virtual",
            auth_method="bearer",
            end_user_fp=f"u{number}x{int(draw() * 30)}" if number % 10 == 0 else "",
            action="chat.completions",
            action_class="inference",
            endpoint="chat.completions",
            model_asked=model,
            model=model,
            outcome="ok" if odd > 0.01 else "throttled",
            status=200 if odd > 0.01 else 429,
            stop_reason="stop",
            decision="admitted" if odd > 0.002 else "refused",
            reason="" if odd > 0.002 else "rate",
            src_ip=f"198.{number % 64}.{number // 64 % 250}.{int(draw() * 3)}",
            src_net=f"198.{number % 64}.{number // 64 % 250}.0/24",
            src_trust="socket",
            country="DE" if number % 3 else "FR",
            asn=3320 + number % 50,
            network_kind="cloud" if number % 2 else "",
            user_agent=f"OpenAI/Python 1.{number % 40}.0",
            client=f"openai-python/1.{number % 40}.0",
            http_fp=f"h{number % 60:015d}",
            input_tokens=tokens,
            output_tokens=150,
            max_output_asked=1024,
            hold_nusd=tokens * 150 + 1024 * 600,
            cost_nusd=tokens * 150 + 150 * 600,
            price_known=True,
            request_bytes=tokens * 4,
            response_bytes=900,
            messages_n=messages,
            tools_n=number % 4,
            stream=number % 2 == 0,
            system_fp=f"s{number % 3000:015d}",
            tools_fp=f"t{number % 90:015d}" if number % 4 else "",
            conversation_fp=f"c{number}x{conversation}",
            request_fp=f"r{self._random.getrandbits(60):015d}",
            event_id=f"g0-{ts // BLOCK_US}-{ts % BLOCK_US}",
            gate_id="g0",
            request_id=f"req_{self._random.getrandbits(60):015d}",
        )


def _shifted(rows, by_us, *columns):
    for name in columns:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pc.add(rows[name], by_us))
    return rows


def _fill(lake, traffic, hours):
    """A lake of the hours before START."""
    blocks = [
        pa.Table.from_batches(list(batches_of(traffic.between(START + n * BLOCK_US, START + (n + 1) * BLOCK_US))))
        .cast(SCHEMA)
        for n in range(BLOCKS)
    ]  # fmt: skip
    count = hours * HOUR_US // BLOCK_US
    for number in range(count):
        begin = START - (count - number) * BLOCK_US
        block = number % BLOCKS
        folder = lake / f"date={to_datetime(begin):%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = _shifted(blocks[block], begin - START - block * BLOCK_US, "ts", "seen_ts")
        pq.write_table(rows, folder / f"g0-{number}-16.parquet", compression="zstd")
    return count * blocks[0].num_rows


def _week(warehouse):
    """Baselines as if each of the last seven days had been as the minutes that are in the hot window."""
    day = warehouse.digest(TODAY)
    shifts = {TODAY - days * DAY_US: -days * DAY_US for days in range(1, 8)}
    return {
        at: Digest(_shifted(day.spans, by_us, "span"), _shifted(day.hours, by_us, "hour"), day.traits)
        for at, by_us in shifts.items()
    }


def _mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def cycle(folder, quick):
    keys, rate, hours, minutes = (
        (QUICK_KEYS, QUICK_RATE, QUICK_HOURS, QUICK_MINUTES) if quick else (KEYS, RATE, HOURS, MINUTES)
    )
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    try:
        yield from _cycles(folder, Traffic(keys, rate), hours, minutes)
    finally:
        os.sched_setaffinity(0, own)


def _cycles(folder, traffic, hours, minutes):
    # In a process of its own, since its memory is not the warehouse's.
    with ProcessPoolExecutor(1, get_context("spawn")) as beside:
        laked = beside.submit(_fill, folder / "lake", traffic, hours).result()
    warehouse, engine = Warehouse(), Engine(shipped())
    began = time.perf_counter()
    warehouse.restore(folder / "lake", START, {})
    restart_s = time.perf_counter() - began
    began = time.perf_counter()
    warehouse.learn(TODAY, _week(warehouse))
    learn_s = time.perf_counter() - began
    began = time.perf_counter()
    engine.cycle(warehouse.connection, START, 0)
    first_s = time.perf_counter() - began
    warmed = {name: spent.us for name, spent in engine.spent.items()}
    parts = {"take in": [], "tend": [], "detect": [], "all": []}
    now = START
    for _ in range(minutes * MINUTE_US // CADENCE_US):
        events = traffic.between(now, now + CADENCE_US)
        now += CADENCE_US
        at = [time.perf_counter()]
        warehouse.feed(events)
        at.append(time.perf_counter())
        warehouse.tend(now)
        at.append(time.perf_counter())
        engine.cycle(warehouse.connection, now, warehouse.take_oldest())
        at.append(time.perf_counter())
        took = [later - earlier for earlier, later in pairwise(at)]
        for name, seconds in zip(parts, [*took, sum(took)], strict=True):
            parts[name].append(seconds)
    mib, longest, budget_s = _mib(), max(parts["all"]), CADENCE_US / 1e6
    p95 = _p95(parts["all"])
    failed = [name for name, spent in engine.spent.items() if spent.failures]
    yield Table(
        "A cycle, seconds",
        ["part", "p50", "p95", "longest"],
        [[name, median(found), _p95(found), max(found)] for name, found in parts.items()],
        NOTE,
        [
            ("p95 of a cycle on one core", f"{p95:.2f} s", f"<= {budget_s:.0f} s", p95 <= budget_s),
            ("longest cycle", f"{longest:.2f} s", f"<= {budget_s:.0f} s", longest <= budget_s),
            ("resident memory", f"{mib:,} MiB", f"<= {MEMORY_MIB:,} MiB", mib <= MEMORY_MIB),
            ("detections that failed", ", ".join(failed) or "none", "none", not failed),
        ],
    )
    yield Table(
        "A restart, seconds",
        ["what", "seconds"],
        [
            [f"rebuilding from {laked:,} events", restart_s],
            ["baselines of a week", learn_s],
            ["the first cycle, which looks at everything", first_s],
        ],
    )
    spent = sorted(engine.spent.items(), key=lambda item: warmed[item[0]] - item[1].us)
    rows = [
        [name, each.runs, (each.us - warmed[name]) / 1e3 / max(1, each.runs - 1), each.longest_us / 1e3]
        for name, each in spent
    ]
    yield Table("Detections by what they cost", ["detection", "runs", "ms a run", "longest ms"], rows)
    warehouse.close()


def _p95(values):
    return quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


# -- once a day or every few seconds ----------------------------------------------------------------------------------

DAY_NOTE = """\
{hours} hours of {keys} keys: background traffic in every hour, and bursts of twenty minutes in which keys show what
detections look for (probes, refusals, new networks, many prompts, many end users, spending). Cycles every {burst} s of
a burst and every {beside} s besides, with everything dropped that is too old, against one look at the whole day."""
DAY_KEYS = 40


def same_findings(_folder, quick):
    # Cycles besides are no rarer than what the hot window bears.
    cycles = {"hours": 24, "between": 6, "step": 30, "burst": 5, "beside": 300}
    if quick:
        cycles = {"hours": 2, "between": 6, "step": 60, "burst": 60, "beside": 600}
    live, whole = _day(cycles, live=True), _day(cycles, live=False)
    only_live, only_whole = sorted(set(live) - set(whole)), sorted(set(whole) - set(live))
    differ = [uid for uid in set(live) & set(whole) if live[uid] != whole[uid]]
    rows = [["found by cycles", len(live)], ["found by one look at the day", len(whole)]]
    rows += [[f"only by cycles: {live[uid]}", 1] for uid in only_live[:20]]
    rows += [[f"only at once: {whole[uid]}", 1] for uid in only_whole[:20]]
    rows += [[f"differs: {live[uid]} {whole[uid]}", 1] for uid in differ[:20]]
    differences = len(only_live) + len(only_whole) + len(differ)
    yield Table(
        "A day's findings",
        ["what", "findings"],
        rows,
        DAY_NOTE.format(keys=DAY_KEYS, **cycles),
        [
            ("findings that differ between cycles and one look at the day", str(differences), "0", not differences),
            ("findings", str(len(whole)), ">= 10", len(whole) >= 10),
        ],
    )


def _day(cycles, *, live):
    """Every finding of the day, by uid."""
    traffic = Traffic(DAY_KEYS, 1, seed=3)
    warehouse, engine = Warehouse(forget=live), Engine(shipped())
    background = [
        traffic.event(TODAY + second * 1_000_000) for second in range(0, cycles["hours"] * 3_600, cycles["step"])
    ]
    usual = Warehouse(forget=False)
    usual.feed(background)
    learned = usual.learn(TODAY + DAY_US, _week_of(usual))
    usual.close()
    warehouse.begin_day(TODAY, *learned)
    events = background + [
        each for hour in range(1, cycles["hours"], cycles["between"]) for each in _burst(traffic, hour)
    ]
    events.sort(key=lambda each: each.seen_ts)
    if not live:
        warehouse.feed(events)
        warehouse.settle()
        engine.once(warehouse.connection)
    else:
        _in_cycles(warehouse, engine, events, cycles)
    found = {each.uid: (each.detection, each.entity, each.severity) for each in engine.found}
    warehouse.close()
    return found


def _week_of(warehouse):
    day = warehouse.digest(TODAY)
    return {
        TODAY - days * DAY_US: Digest(
            _shifted(day.spans, -days * DAY_US, "span"), _shifted(day.hours, -days * DAY_US, "hour"), day.traits
        )
        for days in range(7)
    }


def _in_cycles(warehouse, engine, events, cycles):
    now, place = TODAY, 0
    while now < TODAY + (cycles["hours"] + 1) * HOUR_US:
        burst = HOUR_US // 2 <= now % HOUR_US < HOUR_US // 2 + 21 * MINUTE_US
        now += (cycles["burst"] if burst else cycles["beside"]) * 1_000_000
        end = place
        while end < len(events) and events[end].seen_ts < now:
            end += 1
        warehouse.feed(events[place:end])
        place = end
        warehouse.tend(now)
        engine.cycle(warehouse.connection, now, warehouse.take_oldest())


def _burst(traffic, hour):
    """Twenty minutes, from half past on, in which a few keys do what detections look for."""
    begin = TODAY + hour * HOUR_US + HOUR_US // 2
    for second in range(0, 1_200, 2):
        event = traffic.event(begin + second * 1_000_000)
        event.key_id, event.owner, event.team = (
            f"k{hour % 5:011d}",
            f"owner{hour % 5 // 3}@example.com",
            f"team{hour % 5}",
        )
        event.cost_nusd = 40_000_000
        kind = second // 200
        event.src_net = f"203.0.{second % 90}.0/24" if kind > 1 else event.src_net
        event.src_ip = event.src_net.replace("0/24", "9")
        event.markers = "probe:max_tokens" if kind == 0 and second % 20 == 0 else "sillytavern" if kind == 3 else ""
        event.country = ("DE", "BR", "VN")[second % 3] if kind == 4 else event.country
        event.system_fp = f"burst{second}" if kind > 2 else event.system_fp
        event.end_user_fp = f"burst{second}"
        if kind == 5:
            event.decision, event.outcome, event.reason = "refused", "denied", "model"
        yield event


# -- what the gate feels ----------------------------------------------------------------------------------------------


def gate(folder, quick):
    """Requests per second of one gate on a core of its own, with the detections on and off."""
    seconds, rounds = (1, 1) if quick else (SECONDS, ROUNDS)
    found = {"on": [], "off": []}
    body = chat("gpt-4o-mini", KIB)
    for turn in range(rounds):
        for how in ("on", "off") if turn % 2 == 0 else ("off", "on"):
            os.environ["JACKSTOP_DETECTIONS_OFF"] = "" if how == "on" else ",".join(shipped())
            try:
                with Stage(folder / f"{how}-{turn}", ["jackstop"], keys=50 if quick else 1000) as stage:
                    load = {"rps": 0, "connections": 32, "seconds": seconds, "warmup": seconds}
                    found[how].append(stage.measure("http", "jackstop", body, **load))
            finally:
                del os.environ["JACKSTOP_DETECTIONS_OFF"]
    rows = [
        [
            how,
            *(round(median(getattr(each, name) for each in runs)) for name in ("rps", "serving_us", "other_us", "p99")),
        ]
        for how, runs in found.items()
    ]
    ratio = median(on.rps / off.rps for on, off in zip(found["on"], found["off"], strict=True))
    yield Table(
        "One gate with the detections on and off",
        ["detections", "requests/s", "µs/request", "µs beside", "p99 µs"],
        rows,
        f"""{rounds} rounds of {seconds} s each way at saturation, 1 KB, 32 connections. The gate is alone on its core;
the worker, niced, shares the other with control, the generator and the upstream.""",
        [("requests/s with the detections on, beside off", f"{ratio:.2f}×", ">= 0.95×", ratio >= 0.95)],
    )


SECTIONS = {
    "cycle-time": ("a cycle of all detections at 1,000 events/s over 10,000 keys", cycle),
    "cycle-day": ("cycles and one look at the whole day find the same", same_findings),
    "cycle-gate": ("the gate with the detections on and off", gate),
}
