"""Processes killed and stopped under load, journals that lose their tails: the books against the provider's bill."""

import random
from collections import Counter

from tests import postgres
from tests.acceptance import crashes
from tests.acceptance.breaking import GAPS, broken_in, in_turns

KILLS_PER_GAP = 20
KILLS_PER_GAP_ON_POSTGRES = 3
RANDOM_S = 300
STOP_S = 60
TAILS = 5
RESTARTS = 20


def in_gaps(folder, seed):
    """Every gap `KILLS_PER_GAP` times, in a new order each time round."""
    yield from _in_gaps(folder, seed, KILLS_PER_GAP)


def in_gaps_on_postgres(folder, seed):
    """The same with the store on PostgreSQL."""
    with postgres.serving() as server:
        yield from _in_gaps(folder, seed, KILLS_PER_GAP_ON_POSTGRES, JACKSTOP_STORE_URL=server.url)


def _in_gaps(folder, seed, kills, **environment):
    chance = random.Random(seed)
    order = in_turns(GAPS, kills, chance)
    killed = Counter()
    with broken_in(folder, **environment) as system:
        figures = crashes.kill_in_gaps(system, order, chance, done=lambda gap: killed.update([gap]))
    for gap in GAPS:
        good = killed[gap] >= kills
        yield f"kills in the gap {gap}, books and bill right after each", killed[gap], f">= {kills}", good
    yield from _money(figures)
    yield "keys whose budget was used up", figures["budgets used up"], "", True


def at_random(folder, seed):
    """Children killed or stopped at random, several at once, for minutes; journals of small segments."""
    with broken_in(folder, JACKSTOP_JOURNAL_SEGMENT_BYTES="65536") as system:
        figures = crashes.kill_at_random(system, random.Random(seed), RANDOM_S)
    for kind, count in sorted(figures["struck"].items()):
        yield f"times that a {kind} was killed or stopped", count, "", True
    yield from _money(figures)
    yield "keys whose budget was used up", figures["budgets used up"], "", True


def standing_still(folder, seed):
    """One of two gates is stopped for a minute."""
    with broken_in(folder) as system:
        figures = crashes.stop_a_gate(system, random.Random(seed), STOP_S)
    yield f"answered by the other gate in {STOP_S} s", *_some(figures["answered meanwhile"])
    yield "answered by the stopped gate after it went on", *_some(figures["answered by it afterwards"])
    yield "refused `stale` until control was heard", figures["refused stale"], "", True
    yield "given up by their clients after a second", figures["given up"], "", True
    yield from _money(figures)


def tails(folder, seed):
    """Journals cut back to their last sync: of one killed gate, and of all with everything killed."""
    chance = random.Random(seed)
    acts = {
        "one gate's": crashes.cut_a_journal,
        "all, the end noted": lambda system, chance: crashes.lose_power(system, chance, position_too=False),
        "all, the end's note lost": lambda system, chance: crashes.lose_power(system, chance, position_too=True),
    }
    for name, act in acts.items():
        lost, charged = 0, 0
        for turn in range(TAILS):
            own = folder / f"{len(name)}-{turn}"
            own.mkdir()
            with broken_in(own, JACKSTOP_JOURNAL_SYNC_INTERVAL_MS="2000") as system:
                figures = act(system, chance)
            lost, charged = lost + figures["bytes lost"], charged + figures["leases charged whole"]
        yield f"journals that lost their tail ({name}), no budget exceeded by the bill", TAILS, "", True
        yield "bytes lost", *_some(lost)
        yield "leases charged whole", *_some(charged)


def restarts(folder, seed):
    """The parent killed, in peace and in a reload, everything killed; started again."""
    with broken_in(folder) as system:
        figures = crashes.kill_parent_and_all(system, random.Random(seed), RESTARTS)
    yield "kills of the parent, of the parent in a reload, and of everything at once", f"{RESTARTS} each", "", True
    yield "connections refused meanwhile", figures["unreachable"], "", True
    yield from _money(figures)


def _money(figures):
    yield "requests at the provider", figures["requests"], "", True
    yield "answers that clients saw whole, each with one event in the lake", figures["whole"], "", True
    difference = figures["settled"] - figures["billed"]
    yield "settled less billed, nano-dollars", difference, ">= 0", difference >= 0
    yield "open holds", f"{figures['open holds']} of {figures['held open']} nano-dollars", "", True
    unexplained = figures["unexplained"]
    yield "settled, but in no event and no open hold, nano-dollars", unexplained, "0", not unexplained


def _some(count):
    return count, "> 0", count > 0


SECTIONS = {
    "gaps": ("kill -9 in every gap, under load", in_gaps),
    "gaps-postgres": ("the same, the store on PostgreSQL", in_gaps_on_postgres),
    "random": ("kills and stops at random", at_random),
    "standing-still": ("a gate stopped for a minute", standing_still),
    "tails": ("journals that lost their tails", tails),
    "restarts": ("kill -9 of the parent and of everything", restarts),
}
