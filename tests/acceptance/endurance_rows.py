"""What a long run comes to, as rows: what, its figure, its bound, whether it held."""

from tests.acceptance import endurance_samples
from tests.acceptance.endurance import PATIENCE_S, PER_MINUTE, SYSTEM_ROLES
from tests.acceptance.endurance_faults import WHOLE_S

JUDGED_S = 600
"""Growth is judged in lives that are as long as this; before it a process still fills its caches."""
_BOOKS = "SELECT count(*) FROM book WHERE kind = ?"


def rows(run):
    """(what, figure, bound, held) of a run that ended."""
    yield from _load_rows(run)
    yield from _fault_rows(run)
    yield from _event_rows(run)
    yield from _money_rows(run)
    yield from _latency_rows(run)
    yield from _growth_rows(run)


def _zero(what, figure, why=""):
    return what, f"{figure}: {why}" if figure and why else figure, "0", not figure


def _listed(counts):
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _load_rows(run):
    records = run.records
    whole_run = run.lasted_s >= run.seconds
    yield "seconds under load", round(run.lasted_s), f">= {run.seconds:.0f}", whole_run
    requests = records.one("SELECT count(*) FROM met")
    yield "requests that came to an end", f"{requests}, {requests / run.lasted_s:.1f}/s", "> 0", requests > 0
    yield "by what they asked", _listed(records.counted("kind")), "", True
    yield "by their end", _listed(records.counted("decision")), "", True
    yield "statuses passed on", _listed(records.counted("status", "decision = 'admitted'")), "", True
    yield "refused for", _listed(records.counted("reason", "reason != ''")), "", True
    yield f"given up after {PATIENCE_S:.0f} s by their clients", run.traffic.given_up, "", True
    yield "connections that could not be made", *_is_zero(run.traffic.unreachable)
    good = records.one("SELECT avg(decision = 'admitted' AND status = 200) FROM met WHERE kind LIKE 'steady%'")
    yield "share of steady requests, with plenty of budget, answered 200 to the end, faults included", good, "", True
    yield "share of one core: the system", f"{run.cpu(SYSTEM_ROLES):.3f}", "", True
    everything = run.cpu((*SYSTEM_ROLES, "provider", "checker"))
    yield "share of one core: with provider and clients", f"{everything:.3f}", "", True


def _is_zero(figure):
    return figure, "0", not figure


def _fault_rows(run):
    faults = run.faults
    yield "what went wrong", _listed(faults.done), "", True
    yield "processes ended", _listed(faults.ended), "", True
    back_s = max(faults.back_s, default=0)
    yield "longest until everything ran again", f"{back_s:.1f} s", f"< {WHOLE_S} s", back_s < WHOLE_S
    yield "looks at the bill and the books while it ran", faults.looks, "> 0", faults.looks > 0
    yield _zero("looks and faults that found something else than what must be", len(faults.wrong), faults.wrong[:3])
    yield _zero("failures of the measurement itself", len(run.recorder.failures), run.recorder.failures[:3])
    yield _zero("spared processes that ended", len(run.died_unasked))
    tracebacks = sum(count for line, count in run.log_errors.items() if line.startswith("Traceback"))
    yield _zero("tracebacks in the logs", tracebacks)
    others = {line: count for line, count in run.log_errors.items() if not line.startswith("Traceback")}
    yield "errors in the logs", _listed(dict(list(others.items())[:5])), "", True


def _event_rows(run):
    records = run.records
    whole, bad = records.seen_whole()
    yield "answers seen to their end, refusals among them", whole, "> 0", whole > 0
    yield _zero("of them without exactly one event", len(bad), bad[:3])
    events, requests = records.doubled()
    yield _zero("events that are in the lake twice", events)
    yield _zero("requests with two events", requests)
    missing, invented = records.lost()
    yield "events in the journals", records.one("SELECT count(*) FROM journal"), "", True
    yield _zero("of them not in the lake", missing)
    yield _zero("in the lake, but in no journal", invented)
    seen = dict(records.violations)
    yield "journals read", seen.pop("journals", 0), "", True
    for what in (
        "journals without their beginning",
        "journals that do not replay",
        "records after which more is held than leased",
        "overruns",
    ):
        yield _zero(what, seen.get(what, 0))
    yield _zero("holds open in journals that are not listed", seen.get("open holds that are not listed", 0))


def _money_rows(run):
    records = run.records
    windows, keys = records.passed_limits()
    yield _zero("windows of limits in which more was settled and leased than allowed", windows)
    yield _zero("keys billed beyond their budget", keys)
    for kind in ("usd", "tokens", "requests"):
        full = records.one("SELECT count(*) FROM book WHERE kind = ? AND settled >= 0.9 * amount", kind)
        yield f"windows of {kind} used to 90 %", f"{full} of {records.one(_BOOKS, kind)}", "", True
    gauged = run.system.gauged
    fast = max(records.most_in_a_minute(key) for key, gauge in gauged.items() if gauge == "rate")
    most = 2 * PER_MINUTE
    what = f"most requests let through in any minute, keys with {PER_MINUTE} a minute and a bucket of as many"
    yield what, fast, f"<= {most}", fast <= most
    at_once = max(records.most_at_once(key) for key, gauge in gauged.items() if gauge == "concurrency")
    yield "most requests at once, keys with one at a time", at_once, "<= 1", at_once <= 1
    units = {row[0]: row[1] for row in records.ask("SELECT credential, sum(units) FROM provider GROUP BY 1")}
    apart = sum(-(-units.get(name, 0) // 1_000_000) != cost for name, cost in run.billed.items())
    yield _zero("credentials whose rows are not their bill (rows of the provider lost here)", apart)
    sums = records.money()
    for name in ("settled", "billed", "held open"):
        yield f"{name}, nano-dollars", sums[name], "", True
    yield "open holds", sums["open holds"], "", True
    yield _zero("settled, but in no event and no open hold, nano-dollars", sums["unexplained"])
    yield _zero("settled in events less billed for the same requests, nano-dollars", sums["events and bill apart"])
    yield "billed requests behind open holds", sums["billed in open holds"], "", True
    yield _zero("billed requests without event or open hold", sums["beyond open holds"])
    yield _zero("the organisation's books less the sum of the keys', nano-dollars", sums["org"] - sums["settled"])


def _latency_rows(run):
    found = run.latencies()
    minutes = run.checkpoint_s / 60
    for name, at in (("answered whole", 0), ("streams, to their first byte", 3)):
        for quantile, which in (("p50", 1), ("p99", 2)):
            times = [each[at + which] for each in found]
            what = f"steady requests, 20 ms at the provider, {name}: {quantile} by {minutes:.0f} min, ms"
            yield what, ", ".join(map(str, times)), "", True


def _growth_rows(run):
    for role in SYSTEM_ROLES:
        for each in endurance_samples.growths(run.records, role):
            judged = each.life_s >= JUDGED_S
            bound = f"+ {each.allowed:.3g}" if judged else ""
            what = f"{each.measure} of the longest-lived {role}: medians of the second and the last quarter of its life"
            yield what, str(each), bound, not judged or each.grown <= each.allowed
    before, after, most, files = endurance_samples.disk_growth(run.records, "journal")
    figure = f"{before / 2**20:.1f}, then {after / 2**20:.1f}, at most {most / 2**20:.1f} MB; {files:.0f} files"
    judged = run.lasted_s >= JUDGED_S
    yield "journals on disk", figure, "+ 4 MB" if judged else "", not judged or after - before <= 4 * 2**20
    lake = endurance_samples.disk_growth(run.records, "lake")
    events = max(1, run.records.one("SELECT count(*) FROM lake"))
    yield (
        "the lake on disk",
        f"{lake[2] / 2**20:.1f} MB, {lake[2] / events:.0f} bytes an event, {lake[3]:.0f} files",
        "",
        True,
    )
    logs = endurance_samples.disk_growth(run.records, "logs")
    yield "logs on disk", f"{logs[2] / 2**20:.2f} MB", "< 20 MB", logs[2] < 20 * 2**20
