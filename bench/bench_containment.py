"""How soon, and after how many dollars, a stolen key is stopped; and how often benign use is taken for theft.

The attack shapes and the churn of bench/containment/parameters.toml, on a virtual clock, against the project's own
warehouse, detections, policy, buckets, prices and admission; docs/containment.md says what is simulated and what is
not. The load of the benign keys is other people's: without it the section says so and measures nothing. What each
process found is kept in .cache/bench/containment before any table is made of it; a quick run keeps nothing.
"""

import logging
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from bench.containment import figures, inline, nuisance, replay, traces, victims, world
from bench.containment.attacks import Attack
from bench.containment.parameters import parameters
from bench.record import Table, plain

RAW = Path(__file__).parents[1] / ".cache/bench/containment"
_HALVES = ("choosing", "reporting")
_QUICK_SEEDS, _QUICK_KEYS = 6, 6
_VICTIMS_HALF = 1
_WORKERS = 2


def measure(folder, quick):
    """The tables of this section."""
    if not traces.there():
        yield Table("Not measured", ["why"], [[traces.NOT_THERE]])
        return
    told, raw = parameters()["run"], folder if quick else RAW
    seeds = _QUICK_SEEDS if quick else told["seeds"]
    yield _inline(seeds)
    keys = _QUICK_KEYS if quick else parameters()["benign"]["keys_per_trace"]
    groups = [
        (hour, tuple(range(seeds))[place :: len(told["start_hours"])]) for place, hour in enumerate(told["start_hours"])
    ]
    # A process for each: none shares anything, and each gives its memory back.
    with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = [pool.submit(_attacks, raw, seeds, hour, group) for hour, group in groups]
        days = [pool.submit(_benign, raw, half, keys) for half in (0, 1)]
        courses = [course for each in waiting for course in each.result()]
        yield from _of_attacks(courses, seeds)
        yield from _of_days([each.result() for each in days])


def _attacks(raw, count, hour, seeds):
    """The courses of some of the seeds; in a process of its own."""
    stolen = victims.victims(count, _VICTIMS_HALF)
    stolen = {seed: stolen[seed] for seed in seeds}
    return kept(raw / f"attacks-{hour}.json", replay.run(stolen, replay.Learned(stolen.values()), seeds, hour))


def _benign(raw, half, keys):
    logging.basicConfig(level=logging.INFO)
    return kept(raw / f"days-{_HALVES[half]}.json", nuisance.run(half, keys))


def kept(path, found):
    """What a process found, after it was written down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(found, enc_hook=plain))
    return found


# -- tables -----------------------------------------------------------------------------------------------------------


def _inline(seeds):
    rows, targets = [], []
    for mode in ("enforce", "observe"):
        judged = defaultdict(list)
        for each in inline.run(range(seeds), mode):
            judged[each.shape].append(each)
        for shape, found in judged.items():
            title = parameters()["shapes"][shape]["title"]
            forwarded = sum(not each.refused for each in found)
            noticed = sum(bool(each.noticed) for each in found)
            rows.append([title, mode, len(found), forwarded, _share(noticed, len(found))])
            if mode == "enforce":
                aim = parameters()["aims"]["inline_forwarded"]
                targets.append((f"{title}: forwarded", forwarded, f"{aim}", forwarded <= aim))
    note = (
        "Judged by the gate's admission. What a person set on a key, and canaries, enforce in either mode; the "
        "signatures of key checkers are a default, and observe until `mode` says enforce."
    )
    columns = ["what one request shows", "mode", "requests", "forwarded", "recognised, with its 95 % bounds"]
    return Table("Nothing is forwarded", columns, rows, note, targets)


def _share(hits, count):
    low, high = figures.interval(hits, count)
    return f"{hits} of {count} ({100 * low:.0f} to {100 * high:.0f} %)"


def _three(values, form="{:.3g}"):
    return " / ".join("-" if value is None else form.format(value) for value in values)


def _of_attacks(courses, seeds):
    by_shape = defaultdict(list)
    for course in courses:
        by_shape[course.shape, course.learned, course.known].append(course)
    rows, targets = [], []
    for (shape, learned, known), found in by_shape.items():
        told = parameters()["shapes"][shape]
        of = figures.of_shape(found)
        rows.append(
            [
                *(told["title"], "learned" if learned else "learning", "yes" if known else "no"),
                *(_share(of["alerted"][0], seeds), _share(of["braked"][0], seeds)),
                *(_three(of["alert_s"]), _three(of["brake_s"])),
                *(_three(of["requests"], "{:,.0f}"), _three(of["usd"], "{:.2f}")),
            ]
        )
        name = f"{told['title']}, {'learned' if learned else 'learning'}, address data {'yes' if known else 'no'}"
        targets += _aims(told, found, of, name)
    note = (
        f"{seeds} seeds of each shape against victims with two weeks of their own use and 500 USD a day, mode enforce, "
        "nobody answers. Seconds from the first forwarded call (of the burst, where a probe came a day before) to the "
        "alert and to the brake, the last byte before a throttle, a quarantine, the ramp allowance or the budget. "
        "Requests and dollars are the thief's, settled and held, until then; where nothing braked, all of the replay."
    )
    columns = [
        *("shape", "key", "address data", "alerted", "braked", "s to the alert: median / p95 / most"),
        *("s to the last byte", "requests before", "USD before"),
    ]
    yield Table("Attacks", columns, rows, note, targets)
    yield _what_braked(by_shape)
    yield _beside(courses, seeds)


def _aims(told, found, of, name):
    aims, targets = parameters()["aims"], []
    if told["aim"] == "burst":
        p95 = of["brake_s"][1]
        all_braked = of["braked"][0] == len(found)
        held = all_braked and p95 is not None and p95 <= aims["burst_p95_s"]
        figure = f"p95 {_three(of['brake_s'][1:2])} s, {of['braked'][0]} of {len(found)} braked"
        targets.append((f"{name}: last byte", figure, f"p95 ≤ {aims['burst_p95_s']} s", held))
        within = [figures.within_allowance(course) for course in found]
        if None not in within:
            targets.append(
                (
                    f"{name}: within the ramp allowance and one hold",
                    f"{sum(within)} of {len(within)}",
                    "all",
                    all(within),
                )
            )
    if told["aim"] == "resale":
        times = [figures.since_phase(course, course.alert_us) for course in found if course.alert_us is not None]
        in_time = sum(each <= aims["resale_within_s"] for each in times)
        targets.append((f"{name}: alert within an hour", f"{in_time} of {len(found)}", "all", in_time == len(found)))
    return targets


def _what_braked(by_shape):
    rows = []
    for (shape, learned, known), found in by_shape.items():
        counts = defaultdict(int)
        for course in found:
            counts[f"{course.braked_by} {course.action}".strip() or "nothing"] += 1
        most = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
        noticed = sum(course.noticed_before for course in found)
        most += f"; the probe the day before alerted {noticed}" if noticed else ""
        after = figures.spread([course.after_brake_nusd / 10**9 for course in found])
        default = figures.spread([_with_default_budget(course) / 10**9 for course in found])
        rows.append(
            [
                *(
                    parameters()["shapes"][shape]["title"],
                    "learned" if learned else "learning",
                    "yes" if known else "no",
                ),
                *(most, _three(after, "{:.2f}"), _three(default, "{:.2f}")),
            ]
        )
    note = (
        "What took hold first, and what it came to be within the hour after; in brackets what is no finding: the ramp "
        "allowance, the budget. A throttle lets six calls a minute through: what they cost in an hour. With 20 USD a "
        "day, as a key has it without a word, the dollars before the brake are those of the last column."
    )
    columns = [
        "shape",
        "key",
        "address data",
        "first brake and last act",
        "USD in the hour after",
        "USD before, budget of 20",
    ]
    return Table("What braked", columns, rows, note)


def _with_default_budget(course):
    spent = figures.lost(course)[1]
    return min(spent, parameters()["run"]["budgets_usd"][0] * 10**9)


def _beside(courses, seeds):
    stolen = victims.victims(seeds, _VICTIMS_HALF)
    ours = defaultdict(list)
    for course in courses:
        if course.learned and not course.known:
            ours[course.shape].append(course)
    rows = []
    for shape in replay.shapes():
        if shape == "nothing":
            continue
        at = world.START + parameters()["run"]["history_days"] * world.DAY + 9 * world.HOUR
        attacks = [Attack(shape, seed, stolen[seed], world.Networks(beyond=True), at) for seed in range(seeds)]
        spent = figures.beside(attacks)
        row = [parameters()["shapes"][shape]["title"], _three(figures.of_shape(ours[shape])["usd"], "{:.2f}")]
        rows.append(row + [_three(each, "{:,.2f}") for each in spent.values()])
        names = list(spent)
    note = (
        "The same thieves' dollars, median / p95 / most: until Jackstop brakes a learned key without address data, and "
        "until others would. These act on what was billed, after the hours that their documentation gives; what they "
        "have no power to stop is taken as stopped when they speak."
    )
    return Table("Beside other controls", ["shape", "Jackstop", *names], rows, note)


def _of_days(halves):
    rows, targets, aims = [], [], parameters()["aims"]
    for name, days in zip(_HALVES, halves, strict=True):
        for what, some in (
            ("all", days),
            ("learned", [day for day in days if day.mature]),
            ("learning", [day for day in days if not day.mature]),
        ):
            of = figures.of_days(some)
            row = [f"{name}, {what}", of["keys"], of["key_days"]]
            for place, kind in enumerate(("pages", "throttles")):
                count, share, (low, high) = of[kind]
                row += [count, f"{share:.4f} ({low:.4f} to {high:.4f})", of["worst_key"][place]]
                if what == "all":
                    aim = aims[f"{kind}_per_key_day_upper"]
                    targets.append(
                        (f"{kind} per key-day, half for {name}: upper bound", f"{high:.4f}", f"≤ {aim}", high <= aim)
                    )
            rows.append(row)
    note = (
        "Days of keys with at least one request, under the rates of recorded clients and the churn of parameters.toml. "
        "A page is a finding of severity high or critical; a throttle one that throttles or quarantines (enforce) "
        "or a request above the ramp allowance. Several of a key on a day are one. Thresholds were chosen on one half."
    )
    columns = [
        "half of the traces",
        "keys",
        "key-days",
        "pages",
        "per key-day (95 %)",
        "most of one key",
        "throttles",
        "per key-day (95 %)",
        "most of one key",
    ]
    yield Table("Benign use", columns, rows, note, targets)
    detections = [nuisance.by_detection(days) for days in halves]
    names = sorted({name for found in detections for name in found})
    rows = [
        [name, *(found.get(name, (0, 0, 0))[place] for found in detections for place in range(3))] for name in names
    ]
    columns = ["detection", *(f"{half}: {what}" for half in _HALVES for what in ("days found", "pages", "throttles"))]
    yield Table("Benign use, by detection", columns, rows)


SECTIONS = {"containment": ("How soon a stolen key is stopped, and how often benign use is taken for theft", measure)}
