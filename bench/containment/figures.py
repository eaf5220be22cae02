"""What the courses of attacks and the days of benign keys come to: shares with their bounds, times, dollars."""

import math

import numpy as np

from bench.containment.parameters import parameters
from bench.containment.world import US

_USD = 10**9


def interval(hits, count, confidence=0.95):
    """Clopper and Pearson's bounds of a share."""
    if count == 0:
        return 0.0, 1.0
    rest = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _share_at(lambda share: 1 - _below(hits, count, share), rest)
    high = 1.0 if hits == count else _share_at(lambda share: _below(hits + 1, count, share), rest, falling=True)
    return low, high


def _below(hits, count, share):
    """The probability of fewer than so many hits."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    terms = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(share) + (count - k) * math.log1p(-share)
        for k in range(hits)
    )  # fmt: skip
    return min(1.0, sum(math.exp(term) for term in terms))


def _share_at(probability, wanted, *, falling=False):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if (probability(middle) < wanted) != falling:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def spread(values):
    """(median, p95, maximum); None for each where there is nothing."""
    if not len(values):
        return None, None, None
    found = np.quantile(values, [0.5, 0.95, 1.0], method="inverted_cdf")
    return tuple(float(value) for value in found)


def of_shape(courses):
    """The figures of one shape in one variant."""
    seeds = len(courses)
    alerted = [course for course in courses if course.alert_us is not None]
    braked = [course for course in courses if course.brake_us is not None]
    return {
        "alerted": (len(alerted), interval(len(alerted), seeds)),
        "braked": (len(braked), interval(len(braked), seeds)),
        "alert_s": spread([since_phase(course, course.alert_us) for course in alerted]),
        "brake_s": spread([since_phase(course, course.brake_us) for course in braked]),
        "requests": spread([lost(course)[0] for course in courses]),
        "usd": spread([lost(course)[1] / _USD for course in courses]),
    }


def since_phase(course, at_us):
    """Seconds from the first forwarded call of the phase in which something happened."""
    began = max((each for each in course.phases_us if each <= at_us), default=min(course.phases_us))
    return max(0, at_us - began) / US


def lost(course):
    """(requests, nano-dollars) until the brake; everything that the replay saw where nothing braked."""
    if course.brake_us is None:
        return course.forwarded, course.spent_nusd
    return course.requests_before, course.nusd_before


def within_allowance(course):
    """Whether what was lost is at most the ramp allowance and one hold; None for a key without an allowance."""
    if course.allowance_nusd is None:
        return None
    return lost(course)[1] <= course.allowance_nusd + course.largest_hold


def beside(attacks):
    """Dollars (median, p95, maximum) of the shape under other controls, which see the money and not the calls."""
    told = parameters()["beside"]
    daily = [attack.spend_until_midnight(told["daily_multiple"]) for attack in attacks]
    rows = {
        "no detection, 20 USD a day": [
            attack.spend_within(1e9, parameters()["run"]["budgets_usd"][0] * _USD) for attack in attacks
        ],
        "no detection, 500 USD a day": [
            attack.spend_within(1e9, parameters()["run"]["budgets_usd"][1] * _USD) for attack in attacks
        ],
        "AWS Budgets, 12 h": [attack.spend_within(told["aws_budgets_h"]) for attack in attacks],
        "Cost Anomaly Detection, 24 h": [attack.spend_within(told["cost_anomaly_h"]) for attack in attacks],
        "Azure, 49 h": [attack.spend_within(told["azure_h"]) for attack in attacks],
        "3 times the usual day, at midnight": daily,
    }
    return {name: spread([value / _USD for value in values]) for name, values in rows.items()}


def of_days(rows):
    """Pages and throttles for each key-day of benign load."""
    count = len(rows)
    pages, throttles = sum(row.paged for row in rows), sum(row.throttled for row in rows)
    per_key = {}
    for row in rows:
        had = per_key.setdefault(row.key, [0, 0])
        had[0] += row.paged
        had[1] += row.throttled
    return {
        "key_days": count,
        "pages": (pages, pages / max(1, count), interval(pages, count)),
        "throttles": (throttles, throttles / max(1, count), interval(throttles, count)),
        "worst_key": tuple(max((had[place] for had in per_key.values()), default=0) for place in (0, 1)),
        "keys": len(per_key),
    }
