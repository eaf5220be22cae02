"""Control and worker killed between what is found and what is done and told about it."""

import random
from collections import Counter

from tests import postgres
from tests.acceptance import alarms
from tests.acceptance.breaking import in_turns

KILLS_PER_GAP = 20
KILLS_PER_GAP_ON_POSTGRES = 3
RANDOM_KEYS = 150


def in_gaps(folder, seed):
    """Every gap `KILLS_PER_GAP` times, in a new order each time round."""
    yield from _in_gaps(folder, seed, KILLS_PER_GAP)


def in_gaps_on_postgres(folder, seed):
    """The same with the store on PostgreSQL."""
    with postgres.serving() as server:
        yield from _in_gaps(folder, seed, KILLS_PER_GAP_ON_POSTGRES, JACKSTOP_STORE_URL=server.url)


def _in_gaps(folder, seed, kills, **environment):
    order = in_turns(alarms.GAPS, kills, random.Random(seed))
    killed, repeated = Counter(), Counter()
    with alarms.alarmed(folder, **environment) as (system, receiver):
        for gap in order:
            messages = alarms.kill_in(system, receiver, gap)
            killed[gap] += 1
            repeated[gap] += messages - 1
    for gap in alarms.GAPS:
        what = f"kills in the gap {gap}: one finding, one case, one response, told"
        yield what, killed[gap], f">= {kills}", killed[gap] >= kills
    yield "messages that receivers got again, with the same id", sum(repeated.values()), "", True


def at_random(folder, seed):
    """Keys quarantined one after the other, while control and worker are killed about once a second."""
    with alarms.alarmed(folder) as (system, receiver):
        figures = alarms.kill_at_random(system, receiver, random.Random(seed), RANDOM_KEYS)
    for kind, count in sorted(figures["kills"].items()):
        yield f"kills of the {kind}", count, "> 0", count > 0
    yield "keys quarantined once, with one case and its news", figures["keys"], f">= {RANDOM_KEYS}", True
    yield "messages that receivers got again, with the same id", figures["messages"] - figures["keys"], "", True


SECTIONS = {
    "case-gaps": ("kill -9 between a finding and its news", in_gaps),
    "case-gaps-postgres": ("the same, the store on PostgreSQL", in_gaps_on_postgres),
    "case-random": ("control and worker killed at random while keys are quarantined", at_random),
}
