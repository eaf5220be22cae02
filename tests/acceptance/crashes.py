"""What is done to a system that crashes, and what must hold afterwards; the sizes are the callers'."""

import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress

from tests.acceptance.breaking import BURIAL_GAPS, CONTROL_GAPS, GATE_GAPS, at_rest
from tests.acceptance.reckoning import Reckoning, check_now
from tests.acceptance.system import until
from tests.acceptance.traffic import Traffic, short_chat

PROVIDERS = ("openai", "openai", "anthropic", "deepseek")
BUDGETS = ("0.001usd/life", "0.03usd/life", "0.02usd/life", "0.002usd/life")
OFTEN = frozenset({*GATE_GAPS, *CONTROL_GAPS} - {"return-journaled", "return-committed"})
FRESH_AT = frozenset(
    {"hold-written", "grant-journaled", "grant-committed", "grant-sent", "return-committed", "return-journaled"}
)
"""Gaps before which new keys are issued, so that somebody asks for leases, and soon for those of the other gate."""
FRESH_EVERY = 4


def issue_small(system):
    """Four keys; two of them have a budget that is used up in seconds, one has enough for a minute or more."""
    return [system.holder(provider, budget=[budget]) for provider, budget in zip(PROVIDERS, BUDGETS, strict=True)]


def drawer(holders):
    """Draws a short chat of one of the keys that `holders` has at the time."""

    def draw(chance):
        holder = chance.choice(holders)
        return holder.key, short_chat(chance, holder.provider)

    return draw


def _used_up(traffic):
    return len({met.key for met in traffic.met if met.reason == "budget"})


def kill_in(system, gap, chance, seconds=30):
    """Kill whoever comes to this gap next, wait until everything runs again, and look at the books."""
    before = len(system.killed(gap))
    system.arm(gap, chance.randint(1, 4) if gap in OFTEN else 1)
    if gap in BURIAL_GAPS:
        os.kill(chance.choice(system.gates()), signal.SIGKILL)
    until(lambda: len(system.killed(gap)) > before, f"a process dies in {gap}", seconds)
    system.wait_whole()
    check_now(system)


def kill_in_gaps(system, gaps, chance, *, done=lambda gap: None):
    """Kill once in each of the gaps, under load over keys with small budgets."""
    holders = issue_small(system)
    with Traffic(system.port, drawer(holders), workers=10, seed=chance.randint(1, 1 << 30)) as traffic:
        until(lambda: traffic.good() > 20, "requests are answered")
        for turn, gap in enumerate(gaps):
            if gap in FRESH_AT or turn % FRESH_EVERY == 0:
                holders[:] = issue_small(system)
            kill_in(system, gap, chance)
            done(gap)
    at_rest(system)
    figures = Reckoning(system, traffic.met).check().figures()
    return {**figures, "kills": Counter(gaps), "budgets used up": _used_up(traffic)}


def kill_at_random(system, chance, seconds):
    """Any of the children, up to three at once, killed or stopped for a moment, also before the last ones are back."""
    holders = issue_small(system)
    struck = Counter()
    with Traffic(system.port, drawer(holders), workers=12, patience_s=5.0, seed=chance.randint(1, 1 << 30)) as traffic:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(chance.random() * chance.choice((0.3, 3.0)))  # blows come at any time, that is what they are
            running = [(kind, pid) for kind, pids in system.children().items() for pid in pids]
            for kind, pid in chance.sample(running, min(len(running), chance.choice((1, 1, 1, 2, 3)))):
                struck[kind] += strike(pid, chance)
            if chance.random() < 0.15:
                system.wait_whole()
                check_now(system)
                holders[:] = issue_small(system)
        system.wait_whole()
    at_rest(system)
    return {**Reckoning(system, traffic.met).check().figures(), "struck": struck, "budgets used up": _used_up(traffic)}


def strike(pid, chance):
    """Kill a process, or stop it for up to three seconds; whether it was there."""
    try:
        if chance.random() < 0.8:
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGSTOP)
            threading.Timer(chance.random() * 3, _go_on, [pid]).start()
    except ProcessLookupError:
        return False
    return True


def _go_on(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def stop_a_gate(system, chance, seconds):
    """One of two gates is stopped (SIGSTOP) for a while under load, and goes on."""
    spare = system.holder("openai", budget=["1usd/life"])
    holders, seed = [*issue_small(system), spare], chance.randint(1, 1 << 30)
    with Traffic(system.port, drawer(holders), workers=24, patience_s=1.0, seed=seed) as traffic:
        until(lambda: traffic.good() > 50, "requests are answered")
        stopped = chance.choice(system.tell("status")["gates"])
        os.kill(stopped["pid"], signal.SIGSTOP)
        before = traffic.good()
        try:
            time.sleep(seconds)  # what is looked at is what happens in that time
        finally:
            meanwhile = traffic.good() - before
            os.kill(stopped["pid"], signal.SIGCONT)
        resumed_us = time.time_ns() // 1000
        system.wait_whole()
        holders[:] = [*issue_small(system), spare]
        before = traffic.good()
        until(lambda: traffic.good() > before + 100, "requests are answered after the stop")
    at_rest(system)
    reckoning = Reckoning(system, traffic.met).check()
    by_it = [e for e in reckoning.events if e["gate_id"] == stopped["instance"] and e["ts"] > resumed_us]
    stale = sum(met.reason == "stale" for met in traffic.met)
    return {
        **reckoning.figures(),
        "answered meanwhile": meanwhile,
        "answered by it afterwards": sum(event["status"] == 200 for event in by_it),
        "refused stale": stale,
        "given up": traffic.given_up,
    }


def _exhaust_most(system, traffic, seconds=8):
    """Go on for a while, so that much of the small budgets is spent and the leases move."""
    end = time.monotonic() + seconds
    until(lambda: traffic.good() > 150 or time.monotonic() > end, "requests are answered", seconds + 5)


def cut_a_journal(system, chance):
    """A gate is killed and what its journal got after its last sync is lost; control had booked some of it."""
    holders = issue_small(system)
    with Traffic(system.port, drawer(holders), workers=10, seed=chance.randint(1, 1 << 30)) as traffic:
        _exhaust_most(system, traffic)
        (control,) = system.children()["control"]
        gate = chance.choice(system.tell("status")["gates"])
        os.kill(control, signal.SIGSTOP)
        try:
            os.kill(gate["pid"], signal.SIGKILL)
            until(lambda: gate["pid"] not in system.gates(), "the gate is gone")
            lost = system.cut_back(system.home / "journal" / gate["instance"])
        finally:
            os.kill(control, signal.SIGCONT)
        system.wait_whole()
        check_now(system)
        _exhaust_most(system, traffic)
    return {**_after_loss(system, traffic), "bytes lost": lost}


def lose_power(system, chance, *, position_too):
    """Everything dies at once, and every journal loses what it got after its last sync."""
    holders = issue_small(system)
    with Traffic(system.port, drawer(holders), workers=10, seed=chance.randint(1, 1 << 30)) as traffic:
        _exhaust_most(system, traffic)
        system.kill_all()
        lost = system.lose_power(position_too=position_too)
        system.up()
        check_now(system)
        before = traffic.good()
        holders[:] = issue_small(system)
        until(lambda: traffic.good() > before + 20, "requests are answered again")
    return {**_after_loss(system, traffic), "bytes lost": lost}


def _after_loss(system, traffic):
    at_rest(system)
    figures = Reckoning(system, traffic.met, lost_tail=True).check().figures()
    alive = {gate["instance"] for gate in system.tell("status")["gates"]}
    left = lambda: {folder.name for folder in (system.home / "journal").iterdir()} - alive  # noqa: E731
    until(lambda: not left(), "the journals of the dead are removed")
    tails = [hold for hold in system.open_holds() if "-tail-" in hold["id"]]
    assert tails, "no lease was charged whole"
    return {**figures, "leases charged whole": len(tails)}


def kill_parent_and_all(system, chance, times):
    """The parent alone is killed, in peace and while it replaces everything, then all at once; `up` follows at once."""

    def kill_in_reload():
        os.kill(system.process.pid, signal.SIGHUP)
        time.sleep(chance.random() * 2)  # any moment of the reload will do
        system.kill_parent()

    holders = issue_small(system)
    with Traffic(system.port, drawer(holders), workers=10, seed=chance.randint(1, 1 << 30)) as traffic:
        for _ in range(times):
            for kill in (system.kill_parent, kill_in_reload, system.kill_all):
                holders[:] = issue_small(system)
                before = traffic.good()
                until(lambda before=before: traffic.good() > before + 50, "requests are answered")
                kill()
                system.up()
                check_now(system)
    at_rest(system)
    return {**Reckoning(system, traffic.met).check().figures(), "unreachable": traffic.unreachable}
