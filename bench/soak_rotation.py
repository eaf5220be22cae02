"""Worker and control killed between every two steps of a rotation and of a containment, at each kind of provider."""

import random
from collections import Counter

from tests.acceptance.rotations import DRIVERS, Callers, found_in_files, gaps, kill_in, rotating
from tests.postgres import serving

KILLS_PER_GAP = 1
RANDOM_ROTATIONS = 40
ACTS = ("rotate", "contain")
PRACTICE_SECRETS = ("sk-svcacct-", "sk-ant-api03-", "sk-admin-", "sk-ant-admin01-", "JQQJ99")


def in_gaps(folder, seed):
    """Every gap `KILLS_PER_GAP` times, each in a rotation or containment of its own, in a new order each time round."""
    yield from _in_gaps(folder, seed, KILLS_PER_GAP)


def in_gaps_on_postgres(folder, seed):
    """The same with the store on PostgreSQL."""
    with serving() as server:
        yield from _in_gaps(folder, seed, KILLS_PER_GAP, JACKSTOP_STORE_URL=server.url)


def _in_gaps(folder, seed, kills, **environment):
    chance, killed = random.Random(seed), Counter()
    places = [(driver, act, gap) for driver in DRIVERS for act in ACTS for gap in gaps(driver, act)]
    with rotating(folder, **environment) as system:
        kept = {driver: system.keep(driver) for driver in DRIVERS}
        with Callers(system, *kept.values()) as callers:
            for _ in range(kills):
                for driver, act, gap in chance.sample(places, len(places)):
                    kill_in(system, kept[driver], act, [gap])
                    killed[driver, act] += 1
        found = found_in_files(system, [*PRACTICE_SECRETS, *(each.secret for each in kept.values())])
    for (driver, act), count in sorted(killed.items()):
        wanted = kills * len(gaps(driver, act))
        what = f"{driver}, {act}: kills, afterwards one active key, which works, and no orphan at the provider"
        yield what, count, f">= {wanted}", count >= wanted
    yield "requests answered meanwhile", callers.good, "> 0", callers.good > 0
    yield "requests that failed", len(callers.failures), "0", not callers.failures
    yield "secrets in the installation's files", len(found), "0", not found


def at_random(folder, seed):
    """Rotations and containments one after the other at all providers, with two or three kills at random in each."""
    chance, kills = random.Random(seed), 0
    with rotating(folder) as system:
        kept = {driver: system.keep(driver) for driver in DRIVERS}
        with Callers(system, *kept.values()) as callers:
            for number in range(RANDOM_ROTATIONS):
                driver, act = DRIVERS[number % len(DRIVERS)], chance.choice(ACTS)
                chosen = chance.sample(gaps(driver, act), chance.randint(2, 3))
                kill_in(system, kept[driver], act, chosen)
                kills += len(chosen)
    yield "rotations and containments that came to their end", RANDOM_ROTATIONS, "", True
    yield "kills", kills, "> 0", kills > 0
    yield "requests that failed", len(callers.failures), "0", not callers.failures


SECTIONS = {
    "rotation-gaps": ("kill -9 between every two steps of a rotation", in_gaps),
    "rotation-gaps-postgres": ("the same, the store on PostgreSQL", in_gaps_on_postgres),
    "rotation-random": ("rotations with several kills at random in each", at_random),
}
