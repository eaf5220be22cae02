"""Reconciling on a virtual clock: false alarms in a month, the smallest theft a day shows, and how soon a theft acts.

An organisation's requests are drawn once: a day's and a week's shape, lengths out of a real trace, clients that leave,
retries, a clock that wanders. The gate's books and the provider's buckets are two views of the same requests; the code
that compares them is the worker's.
"""

import csv
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.record import Table
from jackstop.ledger.prices import price_list
from jackstop.money import format_usd
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import SKEW_US, UNSEEN_US, Cell
from jackstop.reconcile.judge import judge
from jackstop.reconcile.material import DAY_US, MINUTE_US, Stored, Watched
from jackstop.reconcile.rates import Tokens

TRACE = Path(__file__).parents[2] / "shared/data/azure_llm_2023/AzureLLMInferenceTrace_conv.csv"
START_US = 1_793_491_200_000_000  # a Sunday, 2026-11-01
S_US = 1_000_000
HOUR_US = 60 * MINUTE_US
PLACE = '{"project": "proj_one"}'
MODELS = {"gpt-4.1-mini-2025-04-14": 0.6, "gpt-4o-2024-08-06": 0.3, "gpt-6-astra": 0.1}
LEFT = 0.01
"""Of all clients, those that leave before the end. The gate reads the answer to its end for them..."""
CUT = 0.1
"""...except in this part, where it cannot, and only the hold is known."""
FAILED = 0.005
"""Requests that the provider answers with an error, charges nothing for, and gets again."""
CAP = 2_048
"""Output that a request allows, and that is held."""
THEFT_NUSD_A_MINUTE = 32 * 10**9
SIZES = {"small": 1_000, "middle": 20_000, "large": 200_000}
EVERY_MIN = {"small": 60, "middle": 240, "large": 720}
"""How often a month is looked at as a poll does; a poll in between sees no more than the later ones."""
LATE_MIN = (1, 5, 15)


@dataclass
class Load:
    """Requests as arrays: when they began and how long they took, when the provider counted them, how much it was."""

    ts: np.ndarray
    latency: np.ndarray
    counted: np.ndarray
    model: np.ndarray
    into: np.ndarray
    out: np.ndarray
    seen: np.ndarray
    failed: np.ndarray

    def worth(self, into, out):
        rates = [price_list("openai", model, START_US).tiers[0][1] for model in MODELS]
        per_input = np.array([each.input for each in rates])[self.model]
        per_output = np.array([each.output for each in rates])[self.model]
        return np.where(self.failed, 0, -(-(into * per_input + out * per_output) // 1_000_000))


def lengths():
    """Input and output tokens of real requests, or without the trace of invented ones."""
    if not TRACE.exists():
        drawn = np.random.default_rng(1)
        return drawn.lognormal(6.5, 1, 10_000).astype(int) + 1, drawn.lognormal(5, 1, 10_000).astype(int) + 1
    with TRACE.open() as file:
        rows = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def load(days, a_day, seed):
    """An office's requests: ten times as many in the afternoon as at night, a third at weekends."""
    drawn = np.random.default_rng(seed)
    minutes = np.arange(days * 1_440)
    shape = 0.1 + np.clip(np.sin((minutes % 1_440 - 420) / 1_440 * 2 * np.pi), 0, None)
    shape *= np.where(minutes // 1_440 % 7 < 2, 0.33, 1.0) * drawn.gamma(4, 0.25, minutes.size)
    counts = drawn.poisson(shape / shape.sum() * a_day * days)
    ts = np.repeat(minutes, counts) * MINUTE_US + drawn.integers(0, MINUTE_US, counts.sum()) + START_US
    all_into, all_out = lengths()
    chosen = drawn.integers(0, all_into.size, ts.size)
    into, out = all_into[chosen], np.minimum(all_out[chosen], CAP)
    latency = S_US // 2 + out * drawn.integers(10_000, 40_000, ts.size)
    # Both clocks drift apart and back, within what is allowed for.
    walk = np.cumsum(drawn.normal(0, 2.5, days * 1_440))
    skew = ((np.abs((walk + 90) % 360 - 180) - 90) * S_US).astype(int)
    counted = ts + (latency * drawn.random(ts.size)).astype(int) + skew[(ts - START_US) // MINUTE_US]
    cut = drawn.random(ts.size) < LEFT * CUT
    out = np.where(cut, (out * drawn.random(ts.size)).astype(int), out)
    model = drawn.choice(len(MODELS), ts.size, p=list(MODELS.values()))
    return Load(ts, latency, counted, model, into, out, ~cut, drawn.random(ts.size) < FAILED)


def cells(requests):
    """The gate's books, summed as they are out of the lake."""
    first = (requests.ts - SKEW_US) // MINUTE_US
    last = (requests.ts + requests.latency + np.where(requests.seen, 0, UNSEEN_US) + SKEW_US) // MINUTE_US
    # A hold is reckoned by bytes: a token is four of them, and each might be one.
    nusd = np.where(requests.seen, requests.worth(requests.into, requests.out), requests.worth(4 * requests.into, CAP))
    sums = defaultdict(lambda: [0, 0, 0, 0])
    rows = zip(
        requests.model, requests.seen, first, last, requests.into, requests.out, nusd, requests.failed, strict=True
    )
    for model, seen, begin, end, into, out, cost, failed in rows:
        entry = sums[int(model), bool(seen), int(begin), int(end)]
        for place, amount in enumerate((1, 0 if failed else into, 0 if failed else out, cost)):
            entry[place] += int(amount)
    names = list(MODELS)
    return [
        Cell(
            "main",
            "key_main",
            names[model] if seen else "",
            names[model],
            seen,
            begin,
            end,
            count,
            Tokens(into, 0, 0, out) if seen else Tokens(),
            cost,
        )
        for (model, seen, begin, end), (count, into, out, cost) in sums.items()
    ]


def buckets(requests):
    """The provider's minutes."""
    sums = defaultdict(lambda: [0, 0, 0])
    rows = zip(requests.counted, requests.model, requests.into, requests.out, requests.failed, strict=True)
    for counted, model, into, out, failed in rows:
        if not failed:
            entry = sums[int(counted) // MINUTE_US, int(model)]
            for place, amount in enumerate((1, into, out)):
                entry[place] += int(amount)
    names = list(MODELS)
    return [
        Bucket(minute * MINUTE_US, MINUTE_US, "key_main", names[model], "", count, into, 0, 0, out)
        for (minute, model), (count, into, out) in sorted(sums.items())
    ]


def worth(bucket):
    """At list price, in nano-dollars."""
    rates = price_list("openai", bucket.model, START_US).tiers[0][1]
    return (bucket.input_tokens * rates.input + bucket.output_tokens * rates.output) // 1_000_000


def shown(found, now_us, late_min):
    """What is published by now: half of a bucket at first, and all of it a minute later."""
    rows = []
    for bucket in found:
        age_us = now_us - bucket.start_us - bucket.width_us - late_min * MINUTE_US
        if age_us >= MINUTE_US:
            rows.append(Stored("usage", PLACE, bucket))
        elif age_us >= 0:
            half = (bucket.requests // 2, bucket.input_tokens // 2, 0, 0, bucket.output_tokens // 2)
            key = bucket.provider_key_id, bucket.model, ""
            rows.append(Stored("usage", PLACE, Bucket(bucket.start_us, bucket.width_us, *key, *half)))
    return rows


def watched():
    return Watched(
        "main", "openai", True, "key_main", ["key_main"], "office", "openai", "usage", PLACE, START_US - DAY_US, 300
    )


def stolen(begin_us, nusd_a_minute, minutes, model="gpt-4o-2024-08-06"):
    """What a thief's use adds, as buckets."""
    rates = price_list("openai", model, START_US).tiers[0][1]
    out = nusd_a_minute * 1_000_000 // rates.output
    start = begin_us // MINUTE_US
    # The first minute is the rest of it.
    rest = 1 - begin_us % MINUTE_US / MINUTE_US
    return [
        Bucket((start + n) * MINUTE_US, MINUTE_US, "key_main", model, "", 60, 0, 0, 0, int(out * (1 if n else rest)))
        for n in range(minutes)
    ]


class Both:
    """The two sides of the same requests, in the order of time."""

    def __init__(self, requests):
        self.cells = sorted(cells(requests), key=lambda cell: cell.last)
        self.buckets = buckets(requests)
        self._last = [cell.last for cell in self.cells]
        self._start = [bucket.start_us for bucket in self.buckets]

    def spent(self, begin_us, end_us):
        """What was used between two moments."""
        return self.buckets[bisect_left(self._start, begin_us) : bisect_left(self._start, end_us)]

    def judge(self, now_us, late_min=0, extra=()):
        """The comparison as a poll at this moment makes it."""
        known = self.spent(now_us - DAY_US, now_us)
        begin = bisect_left(self._last, (now_us - DAY_US) // MINUTE_US)
        end = bisect_left(self._last, (now_us + UNSEEN_US) // MINUTE_US + 60)
        own = [cell for cell in self.cells[begin:end] if cell.first * MINUTE_US <= now_us]
        return judge(watched(), shown([*known, *extra], now_us, late_min), own, now_us)


def benign_month(_folder, quick):
    """(a) A month without theft: polls of buckets that come late, and in the end every window of the month."""
    days, rows, alarms = (3 if quick else 30), [], 0
    for size, a_day in list(SIZES.items())[: 2 if quick else 3]:
        requests = load(days, a_day, seed=len(size))
        both, every_min = Both(requests), EVERY_MIN[size]
        for late_min in LATE_MIN:
            moments = range(START_US + 60 * MINUTE_US, START_US + days * DAY_US, every_min * MINUTE_US)
            found = [both.judge(now_us, late_min) for now_us in moments]
            wrong = sum(each.verdict != "fine" for each in found)
            nearest = max(each.reported_nusd - each.upper_nusd for each in found)
            rows.append([size, f"{late_min} min", len(requests.ts), len(found), wrong, format_usd(nearest)])
            alarms += wrong
        end_us = START_US + days * DAY_US + 30 * MINUTE_US
        whole = judge(watched(), shown(both.buckets, end_us, 0), both.cells, end_us, START_US)
        nearest = whole.reported_nusd - whole.upper_nusd
        windows = len({bucket.start_us for bucket in both.buckets})
        rows.append(
            [size, "every window", len(requests.ts), windows, int(whole.verdict != "fine"), format_usd(nearest)]
        )
        alarms += whole.verdict != "fine"
    note = (
        f"{LEFT:.0%} of the clients leave ({CUT:.0%} of these are cut off: only the hold is known), {FAILED:.1%} of "
        "the requests fail and are retried, the clocks wander within ±90 s, a bucket shows half at first. "
        "Every window: those of 1, 5, 15, 60 minutes and a day that end in the month, with all that was reported."
    )
    yield Table(
        f"{days} days without theft",
        ["organisation", "buckets late by", "requests", "looked at", "false alarms", "reported − upper, at most"],
        rows,
        note,
        [("false alarms", f"{alarms}", "0", alarms == 0)],
    )


def shadowed(spent, part):
    """A theft in the shape of what is spent, which hides it best: this part of each bucket once more."""
    return [
        Bucket(each.start_us, MINUTE_US, "key_main", each.model, "", 1, 0, 0, 0, round(part * dearness(each)))
        for each in spent
    ]


def dearness(bucket):
    """The bucket's worth in tokens of output."""
    rates = price_list("openai", bucket.model, START_US).tiers[0][1]
    return bucket.output_tokens + bucket.input_tokens * rates.input / rates.output


def least(both, begin_us, now_us, wanted):
    """The smallest part of what is spent that, stolen beside it, brings such a verdict; by halving."""
    low, high, spent = 0.0, 1.0, both.spent(begin_us, now_us)
    while high - low > 0.0001:
        middle = (low + high) / 2
        if both.judge(now_us, 0, shadowed(spent, middle)).verdict in wanted:
            high = middle
        else:
            low = middle
    return high


def smallest_theft(_folder, quick):
    """(b) What share of a day's spend can be taken before the day shows it."""
    rows, worst = [], 0.0
    for size, a_day in list(SIZES.items())[: 2 if quick else 3]:
        both, now_us = Both(load(3, a_day, seed=7)), START_US + 3 * DAY_US
        known = both.judge(now_us)
        spend = known.reported_nusd
        shares = [least(both, now_us - DAY_US, now_us, wanted) for wanted in ({"over", "act"}, {"act"})]
        hour = least(both, now_us - 8 * HOUR_US, now_us - 7 * HOUR_US, {"over", "act"})
        of_hour = sum(map(worth, both.spent(now_us - 8 * HOUR_US, now_us - 7 * HOUR_US)))
        rows.append(
            [size, format_usd(spend), format_usd(known.could_hide_nusd)]
            + [f"{share:.2%} ({_cents(share * spend)})" for share in shares]
            + [f"{hour * of_hour / spend:.2%} ({_cents(hour * of_hour)})"]
        )
        worst = max(worst, shares[0] if size != "small" else 0)
    yield Table(
        "The smallest theft that is noticed within a day",
        [
            "organisation",
            "spends a day",
            "could hide",
            "noticed, over a day",
            "acts, over a day",
            "noticed, in one hour",
        ],
        rows,
        "Shares of a day's spend. The thief uses the same models at the same times as the organisation, which hides "
        "best. Five cents and a dollar a day are the floors of an alert and of an act, whatever is spent.",
        [("noticed within a day", f"{worst:.2%}", "about 1 %", worst <= 0.011)],
    )


def until_it_acts(_folder, quick):
    """(c) From the first stolen call to the poll that acts, for buckets that come late."""
    both = Both(load(2, SIZES["middle"], seed=3))
    drawn, rows, longest = np.random.default_rng(5), [], {}
    for late_min in LATE_MIN:
        took = []
        for _ in range(3 if quick else 10):
            begin_us = int(
                START_US + DAY_US + drawn.integers(2 * 60, 20 * 60) * MINUTE_US + drawn.integers(0, MINUTE_US)
            )
            poll_us, offset_us = begin_us, int(drawn.integers(0, MINUTE_US))
            taken = stolen(begin_us, THEFT_NUSD_A_MINUTE, late_min + 20)
            while both.judge(poll_us + offset_us, late_min, taken).verdict != "act":
                poll_us += MINUTE_US
            took.append((poll_us + offset_us - begin_us) / S_US)
        middle, longest[late_min] = sorted(took)[len(took) // 2], max(took)
        rows.append(
            [f"{late_min} min", *(f"{s:.0f} s" for s in (middle, max(took))), *map(_dollars, (middle, max(took)))]
        )
    rows.append(["a cost alert, 24 h later", "86400 s", "86400 s", *[_dollars(86_400)] * 2])
    yield Table(
        "A thief who takes $32 a minute",
        ["buckets published after", "median until the poll that acts", "longest", "taken, median", "taken, most"],
        rows,
        "On a virtual clock: a poll each 60 s, no faster than the vendors advise; the credential is contained within "
        "seconds of that poll. The organisation makes 20,000 requests a day beside it.",
        [
            (
                f"acts, {late} min late",
                f"{longest[late]:.0f} s",
                f"< {(late + 4) * 60} s",
                longest[late] < (late + 4) * 60,
            )
            for late in LATE_MIN
        ],
    )


def _cents(nusd):
    return f"${nusd / 10**9:,.2f}"


def _dollars(seconds):
    return f"${THEFT_NUSD_A_MINUTE * seconds / 60 / 10**9:,.0f}"


SECTIONS = {
    "reconcile-time": ("reconciling: time to act", until_it_acts),
    "reconcile-theft": ("reconciling: the smallest theft", smallest_theft),
    "reconcile-alarms": ("reconciling: false alarms", benign_month),
}
