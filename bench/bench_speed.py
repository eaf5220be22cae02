"""Requests per second, added latency, processor time and memory of one gate on one core, beside other gateways."""

from collections import defaultdict
from statistics import median

from bench import peers, wrk
from bench.bodies import KIB, chat
from bench.peers.base import Unavailable
from bench.record import Table
from bench.stage import CACHE, DIRECT, LOAD_CORE, Stage
from jackstop.control import client
from jackstop.settings import Home

PEERS = peers.NAMES
TLS_PEERS = ("jackstop", "nginx", "envoy", "tensorzero")
SIZES = {"1 KB": KIB, "32 KB": 32 * KIB, "512 KB": 512 * KIB}
RATES = {"1 KB": 1000, "32 KB": 500, "512 KB": 100}
LOWER = (500, 200, 100, 50, 20, 10, 5, 2, 1)
BEARS = 0.6
"""A gateway bears a rate that is at most this share of what it did at saturation in the same run."""
CONNECTIONS = 32
ROUNDS = 3
SATURATED_S, LATENCY_S, SHORT_S, WARMUP_S, LEASES_S, WRK_S = 2, 6, 3, 0.7, 5, 3
QUICK_S = 0.3
ANSWER_NUSD = 20 * 150 + 20 * 600
"""What one of the upstream's answers costs: 20 tokens in and 20 out of gpt-4o-mini, in nano-dollars."""

SATURATION_NOTE = f"""\
{CONNECTIONS} connections, each with its next request as soon as the last is answered; {ROUNDS} rounds of all gateways
one after the other, {SATURATED_S} s each after a warm-up; the rounds' median and range. Jackstop has everything on:
1,000 keys used in turn, each in a team and with an owner; budgets on the organisation, the team, the owner and the key,
and a rate on the key, all so large that they refuse nothing; admission, holds, journal, booking, lake. nginx and Envoy
are bare proxies without keys or limits; the others run with what they need to pass a request on, without budgets.

The processes that serve are alone on core 0 ("busy": how much of it they used). Generator, upstream and Jackstop's
control and worker are on core {LOAD_CORE}; "no gate" is what generator and upstream do there by themselves, which
bounds every gateway: one that is not busy all the time could do more. "µs/request" is the serving processes' time on
their core for each answer, "µs beside" that of the gateway's other processes. "Jackstop is" so many times as fast, by
requests/s and by µs/request; a target is held when both are."""
TLS_NOTE = """\
As above. nginx on the generator's core ends TLS before the upstream; every gateway verifies its certificate. There is
no row without a gate, since the generator speaks no TLS; Portkey and LiteLLM are left out."""
LATENCY_NOTE = f"""\
{CONNECTIONS} connections; requests are due at equal distances, and a request's time counts from when it was due. A
gateway that does not bear the rate (it is more than {BEARS:.0%} of what it did at saturation) is measured at one that
it bears with 1 KB, and left out with larger bodies. "Added" is beside no gate at the same rate. Rounds' medians."""
WRK_NOTE = """\
One round. wrk needs more processor time for a request than our generator does, and shares a core with the upstream, so
that it comes to its bound earlier; where the gateway is the bound, both have to agree."""


class Figures:
    """What was measured, round by round."""

    def __init__(self):
        self._found = defaultdict(list)

    def add(self, measured, *key):
        self._found[key].append(measured)

    def of(self, name, *key):
        """One figure of every round."""
        return [getattr(each, name) for each in self._found[key]]

    def mid(self, name, *key):
        return median(self.of(name, *key))

    def ratio(self, name, one, other):
        """Median over the rounds, each compared within itself."""
        return median(a / max(b, 1e-9) for a, b in zip(self.of(name, *one), self.of(name, *other), strict=True))

    def failed(self, *key):
        """Requests without an answer of 200, of how many, and why."""
        failed, sent = sum(self.of("failed", *key)), sum(self.of("sent", *key))
        why = sorted({reason for each in self.of("why", *key) for reason in each})
        return f"{failed:,} of {sent:,}" + (f" ({', '.join(why)})" if why else "")

    def keys(self, kind):
        return [key for key in self._found if key[0] == kind]

    def has(self, *key):
        return key in self._found


def speed(folder, quick):
    names = list(PEERS)
    with Stage(folder, names, ("jackstop",) if quick else TLS_PEERS, keys=50 if quick else 1000) as stage:
        bodies = {(way.model, size): chat(way.model, size) for way in stage.ways.values() for size in SIZES.values()}
        figures = Figures()
        run = Run(stage, bodies, figures, quick)
        run.begin()
        for turn in range(1 if quick else ROUNDS):
            run.saturate(turn)
            run.at_rates(turn)
        booked = _booked(folder, stage)
        yield _saturation(figures, "http", stage)
        yield _latency(figures, "http")
        yield _saturation(figures, "https", stage)
        yield _latency(figures, "https")
        yield _first(figures)
        yield _memory(stage)
        yield booked
        yield from _by_wrk(stage, run, figures)


class Run:
    """The order in which everything is measured: all gateways one after the other, round after round."""

    def __init__(self, stage, bodies, figures, quick):
        self.stage, self.bodies, self.figures, self.quick = stage, bodies, figures, quick
        self.bears = {}

    def body(self, scheme, name, label):
        return self.bodies[self.stage.ways[scheme, name].model, SIZES[label]]

    def begin(self):
        """The first requests of Jackstop's keys, for which it takes up leases; then each size until it has them."""
        for scheme in ("http", "https"):
            self._once("first", scheme, "1 KB", "jackstop", RATES["1 KB"], SHORT_S, warmup=0)
            for label in SIZES:
                self._once("leases", scheme, label, "jackstop", 0, LEASES_S, warmup=0)

    def _once(self, kind, scheme, label, name, rps, seconds, warmup=WARMUP_S):
        measured = self.stage.measure(
            scheme,
            name,
            self.body(scheme, name, label),
            rps=rps,
            connections=CONNECTIONS,
            seconds=QUICK_S if self.quick else seconds,
            warmup=min(QUICK_S, warmup) if self.quick else warmup,
        )
        self.figures.add(measured, kind, scheme, label, name, rps)
        return measured

    def _turned(self, scheme, turn):
        """The gateways in another order each round, so that none always follows the same one."""
        names = self.stage.names(scheme)
        return names[turn % len(names) :] + names[: turn % len(names)]

    def saturate(self, turn):
        for scheme in ("http", "https"):
            for label in SIZES:
                for name in self._turned(scheme, turn):
                    measured = self._once("saturated", scheme, label, name, 0, SATURATED_S)
                    if turn == 0:
                        self.bears[scheme, label, name] = self._bearable(label, measured.rps)

    def _bearable(self, label, saturated):
        wanted = RATES[label]
        return next((rate for rate in (wanted, *LOWER) if rate <= wanted and rate <= BEARS * saturated), None)

    def at_rates(self, turn):
        """At 1,000 requests a second, or as many as a gateway bears; no gate at each of these rates."""
        for scheme, label in (("http", "1 KB"), ("http", "32 KB"), ("http", "512 KB"), ("https", "1 KB")):
            names = [name for name in self._turned(scheme, turn) if name != DIRECT]
            rates = {name: self.bears[scheme, label, name] for name in names}
            rates = {name: rate for name, rate in rates.items() if rate}
            if label != "1 KB":
                rates = {name: rate for name, rate in rates.items() if rate == RATES[label]}
            seconds = LATENCY_S if (scheme, label) == ("http", "1 KB") else SHORT_S
            if scheme == "http":
                for rate in sorted({*rates.values()}):
                    self._once("rate", scheme, label, DIRECT, rate, seconds)
            for name, rate in rates.items():
                self._once("rate", scheme, label, name, rate, seconds)


# -- tables -----------------------------------------------------------------------------------------------------


def _over(scheme):
    return "over TLS to the provider" if scheme == "https" else "plain to the provider"


def _spread(values):
    return f"{min(values):,.0f} to {max(values):,.0f}"


def _saturation(figures, scheme, stage):
    rows = []
    for label in SIZES:
        for name in stage.names(scheme):
            key, own = ("saturated", scheme, label, name, 0), ("saturated", scheme, label, "jackstop", 0)
            is_gate = name != DIRECT
            rows.append(
                [
                    label,
                    name,
                    round(figures.mid("rps", *key)),
                    _spread(figures.of("rps", *key)),
                    f"{figures.ratio('rps', own, key):.2f}×",
                    f"{figures.ratio('serving_us', key, own):.2f}×" if is_gate else "",
                    f"{figures.mid('busy', *key):.0%}" if is_gate else "",
                    round(figures.mid("serving_us", *key)) if is_gate else "",
                    round(figures.mid("other_us", *key)) if is_gate else "",
                    figures.failed(*key),
                ]
            )
    return Table(
        f"Requests per second at saturation, {_over(scheme)}",
        [
            "body",
            "gateway",
            "requests/s",
            "range",
            "Jackstop is",
            "by µs",
            "busy",
            "µs/request",
            "µs beside",
            "not 200",
        ],
        rows,
        _saturation_note(stage, scheme),
        _throughput_targets(figures) if scheme == "http" else [],
    )


def _saturation_note(stage, scheme):
    missing = [f"{name}: {why}" for (each, name), why in stage.missing.items() if each == scheme]
    return (TLS_NOTE if scheme == "https" else SATURATION_NOTE) + (
        f"\n\nNot measured: {'; '.join(missing)}." if missing else ""
    )


def _throughput_targets(figures):
    wanted = {"envoy": 0.5, "tensorzero": 1.5, "litellm": 100}
    rows = []
    own = ("saturated", "http", "1 KB", "jackstop", 0)
    for name, least in wanted.items():
        key = ("saturated", "http", "1 KB", name, 0)
        what, target = f"requests/s at 1 KB beside {name}", f">= {least}×"
        if figures.has(*key):
            ratios = figures.ratio("rps", own, key), figures.ratio("serving_us", key, own)
            figure = f"{ratios[0]:.2f}×, by processor time {ratios[1]:.2f}×"
            rows.append((what, figure, target, min(ratios) >= least))
        else:
            rows.append((what, "not measured", target, False))
    return rows


def _latency(figures, scheme):
    rows = []
    for key in sorted(figures.keys("rate"), key=_order):
        _, each, label, name, rate = key
        if each != scheme:
            continue
        bare = ("rate", scheme, label, DIRECT, rate)
        row = [label, name, rate, *(round(figures.mid(figure, *key)) for figure in ("p50", "p99", "p999"))]
        row.append(_spread(figures.of("p99", *key)))
        if scheme == "http":
            added = [figures.mid(figure, *key) - figures.mid(figure, *bare) for figure in ("p50", "p99", "p999")]
            row += [round(each) if name != DIRECT else "" for each in added]
        rows.append([*row, figures.failed(*key)])
    columns = ["body", "gateway", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "range of p99"]
    columns += ["added p50", "added p99", "added p99.9"] if scheme == "http" else []
    return Table(
        f"Latency at a fixed rate, {_over(scheme)}",
        [*columns, "not 200"],
        rows,
        LATENCY_NOTE,
        _latency_targets(figures, scheme),
    )


def _order(key):
    _, scheme, label, name, rate = key
    return scheme, [*SIZES].index(label), -rate, [DIRECT, *PEERS].index(name)


def _latency_targets(figures, scheme):
    own, other = (("rate", scheme, "1 KB", name, RATES["1 KB"]) for name in ("jackstop", "nginx"))
    what, target = f"p99 at 1,000 requests/s of 1 KB, {_over(scheme)}, beyond nginx's", "<= 1 ms"
    if not (figures.has(*own) and figures.has(*other)):
        return [(what, "not measured", target, False)]
    beyond = (figures.mid("p99", *own) - figures.mid("p99", *other)) / 1000
    return [(what, f"{beyond:.2f} ms", target, beyond <= 1)]


def _first(figures):
    rows = []
    for scheme in ("http", "https"):
        key = ("first", scheme, "1 KB", "jackstop", RATES["1 KB"])
        took = [round(figures.mid(name, *key)) for name in ("p50", "p99", "p999")]
        rows.append([_over(scheme), round(figures.mid("rps", *key)), *took, figures.failed(*key)])
    return Table(
        "Jackstop's first seconds",
        ["", "answers/s", "p50 µs", "p99 µs", "p99.9 µs", "not 200"],
        rows,
        f"""{RATES["1 KB"]:,} requests/s of 1 KB for {SHORT_S} s right after its start, when no key has a lease yet.
Everything above was measured after this, and after {LEASES_S} s at saturation with each size, in which leases grow.""",
    )


def _memory(stage):
    rows = [
        [name, "TLS" if scheme == "https" else "plain", *(round(mib) for mib in figures)]
        for scheme, name, *figures in stage.memory()
    ]
    return Table(
        "Memory",
        ["gateway", "to the provider", "MiB when it had started", "MiB after all of this", "MiB of all its processes"],
        rows,
        """Resident memory of the processes that serve, and of all processes that the gateway started (Jackstop: also
parent, control and worker).""",
    )


def _booked(folder, stage):
    rows, targets = [], []
    for scheme in ("http", "https"):
        if (scheme, "jackstop") not in stage.ways:
            continue
        home = Home(folder / f"jackstop-{scheme}" / "home")
        (org,) = client.ask(home, "budget show", {"scope": "org"})["rows"]
        booked, answers = org["settled_nusd"] / ANSWER_NUSD, stage.answers[scheme, "jackstop"]
        rows.append([_over(scheme), answers, booked, org["held_nusd"]])
        targets.append((f"answers booked, {_over(scheme)}", f"{booked:,.0f} of {answers:,}", "all", booked == answers))
    return Table(
        "Jackstop's books after all of this",
        ["", "answers of 200 that the generator had", "answers that the organisation's budget was charged for", "held"],
        rows,
        "Every answer costs the same: 20 tokens in, 20 out. Warm-ups count.",
        targets,
    )


def _by_wrk(stage, run, figures):
    """The same at 1 KB with wrk, so that the figures do not hang on a generator of our own."""
    try:
        wrk.install(CACHE)
    except (Unavailable, OSError) as error:
        yield Table("The same with wrk", ["why not"], [[str(error)]])
        return
    rows = []
    for name in stage.names("http"):
        way = stage.ways["http", name]
        stage.let_run("http", name)
        seconds = 1 if run.quick else WRK_S
        found = wrk.run(
            CACHE,
            stage.folder,
            way,
            run.body("http", name, "1 KB"),
            connections=CONNECTIONS,
            seconds=seconds,
            core=LOAD_CORE,
        )
        ours = figures.mid("rps", "saturated", "http", "1 KB", name, 0)
        rows.append([name, round(found["rps"]), round(ours), f"{found['rps'] / ours:.2f}×", found["failed"]])
    yield Table(
        "The same with wrk, 1 KB, plain to the provider",
        ["gateway", "requests/s by wrk", "by our generator", "wrk is", "not 200"],
        rows,
        WRK_NOTE,
    )


SECTIONS = {"speed": ("requests per second, latency and memory on one core", speed)}
