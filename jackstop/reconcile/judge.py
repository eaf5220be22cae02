"""One credential's buckets against its books: which of them belong together, what is beyond, and what is said of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from jackstop.cases.finding import Finding, uid_of
from jackstop.ledger.prices import Rates
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import SKEW_US, Cell
from jackstop.reconcile.bounds import Bounds, Charge
from jackstop.reconcile.compare import Reported, Surplus, Verdict, compare
from jackstop.reconcile.material import DAY_US, MINUTE_US, Stored, Watched
from jackstop.reconcile.rates import Tokens, at_least, at_most, family, rates_of
from jackstop.reconcile.sources import CACHELESS, KEYLESS

DETECTION = "shadow_usage"
_US_PER_S = 1_000_000


class Judgement(msgspec.Struct, frozen=True):
    """The two sides of a credential from `since_us` on, in nano-dollars, up to the end of the last bucket.

    `progress` is the gate's share in per cent, `models` the shadow by model, `outside` what other keys of the same
    place are reported to have used, by id. `linked` is whether it is known which of the keys there are its own.
    """

    credential: str
    exclusive: bool
    verdict: Verdict
    since_us: int
    through_us: int
    linked: bool = True
    reported_nusd: int = 0
    lower_nusd: int = 0
    upper_nusd: int = 0
    could_hide_nusd: int = 0
    shadow_nusd: int = 0
    row: int = 0
    requests: int = 0
    progress: int | None = None
    surplus_us: int | None = None
    models: dict[str, int] = {}
    outside: dict[str, int] = {}
    finding: Finding | None = None


class _Unit(NamedTuple):
    """What is compared: of one key, one family of models or (empty) all, both sides. Charges stand by their cell."""

    key: str
    models: str
    reported: Counter[tuple[int, int]]
    charges: dict[int, Charge]

    def bounds(self, begin: int, end: int) -> Bounds:
        return Bounds(self.charges.values(), begin, end)

    def buckets(self) -> list[Reported]:
        return [Reported(begin, end, nusd) for (begin, end), nusd in sorted(self.reported.items())]

    def end(self) -> int:
        return max(end for _, end in self.reported)


def judge(
    watched: Watched, stored: Iterable[Stored], cells: Sequence[Cell], now_us: int, since_us: int | None = None
) -> Judgement:
    """Compare what is `stored` of the credential's administration with the `cells` of all that may have caused it.

    `since_us` is the beginning, a day ago without one; never before the first whole minute after the credential was
    added, nor before its use by others until then is over.
    """
    since_us = now_us - DAY_US if since_us is None else since_us
    stored = list(stored)
    since_us = max(begin_us(watched, since_us), _own_since_us(watched, stored))
    mine, outside = _split(watched, stored, since_us)
    linked = bool(watched.keys) or watched.driver in KEYLESS
    units = _units(watched, mine, cells, now_us)
    if not units:
        return Judgement(
            watched.name, watched.exclusive, "fine", since_us, since_us, linked, outside=dict(outside.most_common())
        )
    by_key = [_together(key, [unit for unit in units if unit.key == key]) for key in sorted({u.key for u in units})]
    whole = _together("", units)
    begin, end = -(-since_us // MINUTE_US), whole.end()
    found = [
        (unit, _capped(watched, unit, compare(unit.buckets(), unit.bounds(begin, end), begin)))
        for unit in (*units, *by_key)
    ]
    fine = {unit.key for unit, each in found[len(units) :] if each.verdict == "fine"}
    found = [(unit, _alerting(each) if unit.key in fine else each) for unit, each in found]
    surplus = max((each for _, each in found), key=lambda each: (_RANK[each.verdict], each.shadow))
    nusd = sum(bucket.nusd for bucket in whole.buckets() if bucket.begin >= begin)
    bounds = whole.bounds(begin, end)
    lower, upper = bounds.lower(begin, end), bounds.upper(begin, end)
    surplus_us = None if surplus.verdict == "fine" else watched.surplus_us or surplus.first * MINUTE_US
    return Judgement(
        credential=watched.name,
        exclusive=watched.exclusive,
        verdict=surplus.verdict,
        since_us=since_us,
        through_us=end * MINUTE_US,
        linked=linked,
        reported_nusd=nusd,
        lower_nusd=lower,
        upper_nusd=upper,
        could_hide_nusd=upper - lower,
        shadow_nusd=surplus.shadow,
        row=surplus.row,
        requests=sum(bucket.requests for bucket in mine),
        progress=min(100, 100 * _likely(whole, begin, end) // nusd) if nusd else None,
        surplus_us=surplus_us,
        models={unit.models: each.shadow for unit, each in found if unit.models and each.verdict != "fine"},
        outside=dict(outside.most_common()),
        finding=_finding(watched, surplus, surplus_us),
    )


def begin_us(watched: Watched, since_us: int) -> int:
    """Where to begin: with whole days of a day's buckets, so that what was added to yesterday's is seen today."""
    return since_us - since_us % DAY_US if watched.kind == "costs" else since_us


def _own_since_us(watched: Watched, stored: Iterable[Stored]) -> int:
    """From when on nothing is reported that was used before Jackstop had the credential.

    Where the key was in use, the provider's clock may be ahead, and a while of that use is dated later than it was.
    """
    keyless = watched.driver in KEYLESS
    own = [each.bucket for each in stored if keyless or each.bucket.provider_key_id in watched.keys]
    ends = [bucket.start_us + bucket.width_us for bucket in own if bucket.requests or bucket.cost_nusd]
    in_use = any(watched.since_us - DAY_US < end_us <= watched.since_us for end_us in ends)
    return watched.since_us + (SKEW_US if in_use else 0)


_RANK: dict[Verdict, int] = {"fine": 0, "over": 1, "act": 2}


def _split(watched: Watched, stored: Iterable[Stored], since_us: int) -> tuple[list[Bucket], Counter[str]]:
    """The buckets of the credential's own keys, and what all other keys of its place used, at the listed price."""
    mine: list[Bucket] = []
    others: Counter[str] = Counter()
    for each in stored:
        bucket = each.bucket
        if (each.kind, each.place) != (watched.kind, watched.place) or bucket.start_us < since_us:
            continue
        if watched.driver in KEYLESS or bucket.provider_key_id in watched.keys:
            if not _was_anothers(watched, bucket):
                mine.append(bucket)
        else:
            rates = rates_of(watched.provider, [bucket.model], (), bucket.start_us)
            others[bucket.provider_key_id or "(no key)"] += _worth(bucket, rates)
    return mine, others


def _was_anothers(watched: Watched, bucket: Bucket) -> bool:
    """Whether it may hold what a person did with a key before they brought it."""
    if watched.key_since_us is None or bucket.provider_key_id != watched.key:
        return False
    return bucket.start_us < watched.key_since_us + SKEW_US


def _worth(bucket: Bucket, rates: Rates) -> int:
    if bucket.cost_nusd is not None:
        return bucket.cost_nusd
    read, written = bucket.cache_read_tokens, bucket.cache_write_tokens
    return at_least(Tokens(bucket.input_tokens, read, written, bucket.output_tokens), rates)


# -- which cells may be in which buckets ------------------------------------------------------------------------


def _units(watched: Watched, mine: Sequence[Bucket], cells: Sequence[Cell], now_us: int) -> list[_Unit]:
    """One for each key and family of models that is reported."""
    grouped: dict[tuple[str, str], list[Bucket]] = defaultdict(list)
    for bucket in mine:
        grouped[bucket.provider_key_id, family(bucket.model)].append(bucket)
    families: dict[str, set[str]] = defaultdict(set)
    for key, models in grouped:
        families[key].add(models)
    found = []
    for (key, models), buckets in sorted(grouped.items()):
        own = {
            number: cell
            for number, cell in enumerate(cells)
            if (not key or cell.key == key or cell.key not in watched.keys) and _may_be(cell, models, families[key])
        }
        answered = {cell.model for cell in own.values() if cell.model and family(cell.asked) == models}
        rates = rates_of(watched.provider, {bucket.model for bucket in buckets}, answered, now_us)
        found.append(_unit(watched, (key, models), buckets, own, rates))
    return found


def _may_be(cell: Cell, models: str, known: set[str]) -> bool:
    """Whether the provider may count these requests under a family's name; `known` are all that it uses for the key.

    It is the model's that answered, else the one that was asked for (a deployment). What has neither may be anything.
    """
    for name in (family(cell.model), family(cell.asked)):
        if name and name in known:
            return name == models
    return True


def _unit(
    watched: Watched, of: tuple[str, str], buckets: Sequence[Bucket], own: dict[int, Cell], rates: Rates
) -> _Unit:
    reported: Counter[tuple[int, int]] = Counter()
    for bucket in buckets:
        span = bucket.start_us // MINUTE_US, -(-(bucket.start_us + bucket.width_us) // MINUTE_US)
        reported[span] += _worth(bucket, rates)
    in_money = any(bucket.cost_nusd is not None for bucket in buckets)
    lag = -(-watched.lag_s * _US_PER_S // MINUTE_US)
    charges = {}
    for number, cell in own.items():
        nusd = cell.nusd
        if cell.exact and not in_money:
            nusd = at_most(cell.tokens.fresh() if watched.driver in CACHELESS else cell.tokens, rates)
        if nusd:
            charges[number] = Charge(cell.first, cell.last + lag, nusd if cell.exact else 0, nusd)
    return _Unit(*of, reported, charges)


def _together(key: str, units: Sequence[_Unit]) -> _Unit:
    """Several units as one, in which each cell counts once, at its dearest."""
    reported: Counter[tuple[int, int]] = Counter()
    charges: dict[int, Charge] = {}
    for unit in units:
        reported.update(unit.reported)
        for number, charge in unit.charges.items():
            other = charges.get(number, charge)
            lower, upper = min(charge.lower, other.lower), max(charge.upper, other.upper)
            charges[number] = charge._replace(lower=lower, upper=upper)
    return _Unit(key, "", reported, charges)


def _likely(unit: _Unit, begin: int, end: int) -> int:
    """What the gate's requests cost, each in the middle of its span."""
    return sum(charge.lower for charge in unit.charges.values() if begin <= (charge.first + charge.last) // 2 < end)


def _capped(watched: Watched, unit: _Unit, surplus: Surplus) -> Surplus:
    """A key that was replaced is ended already, and where keys are not told apart it may be another's: no more than
    an alert.
    """
    mine = watched.driver not in KEYLESS and unit.key == watched.key
    return surplus if mine else _alerting(surplus)


def _alerting(surplus: Surplus) -> Surplus:
    """No more than an alert: of one model while the whole key is within its bounds, the provider may mean another."""
    return surplus._replace(verdict="over") if surplus.verdict == "act" else surplus


# -- what is said -----------------------------------------------------------------------------------------------


def _finding(watched: Watched, surplus: Surplus, surplus_us: int | None) -> Finding | None:
    if not watched.exclusive or surplus_us is None or surplus.worst is None:
        return None
    entity, worst, acts = f"credential:{watched.name}", surplus.worst, surplus.verdict == "act"
    return Finding(
        uid_of(DETECTION, entity, surplus_us),
        DETECTION,
        "critical" if acts else "high",
        entity,
        surplus.first * MINUTE_US,
        surplus.last * MINUTE_US,
        surplus.buckets,
        {
            "shadow_nusd": surplus.shadow,
            "reported_nusd": worst.reported,
            "upper_nusd": worst.upper,
            "could_hide_nusd": worst.upper - worst.lower,
            "window_min": worst.end - worst.begin,
            "in_a_row": surplus.row,
        },
        sources=("reconcile",),
        response="contain" if acts else "alert",
    )
