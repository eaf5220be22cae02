"""What is taken away from a running system, and what must hold meanwhile and afterwards; the sizes are the callers'."""

import asyncio
import os
import random
import signal
import threading
import time
from pathlib import Path

import openai

from tests.acceptance.breaking import at_rest
from tests.acceptance.crashes import drawer
from tests.acceptance.load import Load, now_us
from tests.acceptance.reckoning import Reckoning
from tests.acceptance.system import answers, until
from tests.acceptance.traffic import Traffic, chat, failed, reasons, whole

HEADROOM = 10
_WARM_UP_S = 6
_ROOM_NUSD = {"openai": 10_000_000, "anthropic": 60_000_000, "deepseek": 10_000_000}
"""What a key of each provider is given for each second of an outage: more than ten times what it spends."""
_PROVIDERS = ("openai", "openai", "anthropic", "deepseek")


# -- control is away ------------------------------------------------------------------------------------------------


def take_control_away(system, chance, seconds, *, how):
    """Control is stopped or killed for a while, and the parent with it, so that nobody starts it again.

    Half of the keys have ten times what they spend meanwhile, the others less than that.
    """
    room = {provider: each * (seconds + _WARM_UP_S) for provider, each in _ROOM_NUSD.items()}
    rich = [system.holder(provider, budget=[f"{room[provider] / 1e9:.3f}usd/life"]) for provider in _PROVIDERS]
    poor = [system.holder(provider, budget=["0.006usd/life"]) for provider in _PROVIDERS]
    with (
        Traffic(system.port, drawer(rich), workers=6, pause_ms=80, seed=chance.randint(1, 1 << 30)) as traffic,
        Traffic(system.port, drawer(poor), workers=6, pause_ms=80, seed=chance.randint(1, 1 << 30)) as without,
    ):
        warm = time.monotonic() + _WARM_UP_S
        until(lambda: time.monotonic() > warm and traffic.good() > 200, "leases are sized to the use of the keys", 60)
        before = system.billed()
        (control,) = system.children()["control"]
        os.kill(system.process.pid, signal.SIGSTOP)
        os.kill(control, how)
        began_us, end = now_us(), time.monotonic() + seconds
        try:
            until(lambda: time.monotonic() > end, "the outage is over", seconds + 5)
        finally:
            ended_us = now_us()
            if how == signal.SIGSTOP:
                os.kill(control, signal.SIGCONT)
            os.kill(system.process.pid, signal.SIGCONT)
        spent = {name: cost - before.get(name, 0) for name, cost in system.billed().items()}
        system.wait_whole()
        good = traffic.good()
        until(lambda: traffic.good() > good + 20, "requests are answered after the outage")
    at_rest(system)
    reckoning = Reckoning(system, traffic.met + without.met).check()
    rooms = [(room[each.provider] - before.get(each.on_bill, 0)) / max(1, spent.get(each.on_bill, 0)) for each in rich]
    meanwhile, poorly = (
        [met for met in each.met if began_us <= met.started_us and met.ended_us <= ended_us]
        for each in (traffic, without)
    )
    return {
        **reckoning.figures(),
        "headroom": [round(each) for each in rooms],
        "share with headroom": share(meanwhile),
        "share without": share(poorly),
        "requests with headroom": len(meanwhile),
        "why not, with headroom": reasons(meanwhile),
        "why not, without": reasons(poorly),
    }


def share(mets):
    """The part of the requests that were answered."""
    return sum(map(whole, mets)) / max(1, len(mets))


# -- the disk is full -----------------------------------------------------------------------------------------------


def fill_disk(system, chance, fill, free):
    """No room for the journals for a while: `journal` is refused, what runs ends in the books, then it goes on."""
    holders = [system.holder(provider, budget=["5usd/life"]) for provider in _PROVIDERS]
    with Traffic(system.port, drawer(holders), workers=8, seed=chance.randint(1, 1 << 30)) as traffic:
        until(lambda: traffic.good() > 20, "requests are answered")
        fill()
        full = lambda: [met for met in list(traffic.met) if met.reason == "journal"]  # noqa: E731
        until(lambda: len(full()) > 50 and all(met.status in {503, 529} for met in full()), "the disk is full", 60)
        until(lambda: not answers(f"{system.url}/readyz"), "a gate that is full says that it is not ready")
        since = len(traffic.met)
        until(lambda: len(traffic.met) > since + 100, "the full gates answer at once")
        free()
        good = traffic.good()
        until(lambda: traffic.good() > good + 50, "requests are answered again", 60)
        system.wait_whole()
    at_rest(system)
    return {**Reckoning(system, traffic.met, noisy=True).check().figures(), "refused journal": len(full())}


# -- everything is replaced -----------------------------------------------------------------------------------------


class Sdk:
    """The provider's own client with a kept connection and no retries, in a thread."""

    def __init__(self, system, key, *, stream):
        self._client = openai.OpenAI(base_url=f"{system.url}/openai/v1", api_key=key, max_retries=0)
        self._stream = stream
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sdk")
        self.answered = 0
        self.failures = []

    def _run(self):
        while not self._stop.is_set():
            try:
                self._call()
                self.answered += 1
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _call(self):
        answer = self._client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "user", "content": "[[sandbox: out=20 pace_ms=10]] Hello"}],
            max_tokens=20,
            stream=self._stream,
        )
        if self._stream:
            assert list(answer)[-1].choices[0].finish_reason

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join(60)
        self._client.close()


def replace_all(system, chance, times):
    """Everything is replaced by `reload`, and single gates by SIGTERM, while clients hold their connections."""
    holders = [system.holder(provider, budget=["20usd/life"]) for provider in _PROVIDERS]
    gone = set()
    draw = drawer(holders)
    descriptors = lambda: len(list(Path(f"/proc/{system.process.pid}/fd").iterdir()))  # noqa: E731
    at_first = descriptors()
    with (
        Traffic(system.port, draw, workers=8, pause_ms=200, seed=chance.randint(1, 1 << 30)) as traffic,
        Sdk(system, holders[0].key, stream=True) as streaming,
        Sdk(system, holders[1].key, stream=False) as plain,
    ):
        for turn in range(times):
            before = everyone(system)
            if turn % 2:
                victim = chance.choice(system.gates())
                os.kill(victim, signal.SIGTERM)
                until(lambda victim=victim: victim not in system.gates(), "the gate ends", 60)
            else:
                system.command("reload")
                until(lambda before=before: not before & everyone(system), "everything is replaced", 120)
            system.wait_whole()
            gone |= before - everyone(system)
            good = traffic.good()
            until(lambda good=good: traffic.good() > good + 20, "requests are answered")
    at_rest(system)
    figures = Reckoning(system, traffic.met).check().figures()
    return {
        **figures,
        "replaced processes": len(gone),
        "descriptors gained": descriptors() - at_first,
        "failed": reasons(failed(traffic.met)),
        "unreachable": traffic.unreachable,
        "sdk requests": streaming.answered + plain.answered,
        "sdk failures": streaming.failures + plain.failures,
    }


def everyone(system):
    return {pid for pids in system.children().values() for pid in pids}


# -- a key is stopped -----------------------------------------------------------------------------------------------


class Streams:
    """Long streams of one key over both gates, in a thread; `met` fills as they end."""

    def __init__(self, system, holder, count, *, seconds=6):
        self._system, self._holder, self._count = system, holder, count
        self._ask = chat(holder.provider, 4_000, stream=True, out=seconds * 100, pace_ms=10, chunk=1)
        self.load = Load(system.port, random.Random(1))
        self._running = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="streams")

    @property
    def met(self):
        return self.load.met

    async def _run(self):
        sends = [self.load.send(self._holder.key, self._ask) for _ in range(self._count)]
        await asyncio.gather(*sends)
        self.load.close()

    def __enter__(self):
        self._thread.start()
        running = lambda: len(self._system.under_way(self._holder)) == self._count  # noqa: E731
        until(running, "the streams run")
        return self

    def __exit__(self, *error):
        self._thread.join(60)


def stop_a_key(system, act, *, streams=6):
    """Streams of one key run, `act` is done; seconds from its start to the last byte of the last of them."""
    holder = system.holder("openai", budget=["20usd/life"])
    gates = set()
    with Streams(system, holder, streams) as running:
        gates |= {hold["id"].rpartition("-")[0].rpartition("-")[0] for hold in system.under_way(holder)}
        began_us = now_us()
        act(holder)
        done_us = now_us()
    assert all(met.decision == "broken" for met in running.met), [met.decision for met in running.met]
    last_us = max(met.ended_us for met in running.met)
    with Traffic(system.port, lambda _: (holder.key, chat("openai", 5, stream=False, out=1)), workers=2) as after:
        until(lambda: len(after.met) > 4, "requests after it are answered")
    assert not after.good()
    return (last_us - began_us) / 1e6, (done_us - began_us) / 1e6, len(gates)


def quarantine(system):
    """By the command line, as a person would."""
    return lambda holder: system.command("key", "quarantine", holder.id)


def revoke(system):
    return lambda holder: system.command("key", "revoke", holder.id)


def contain(system):
    return lambda holder: system.command("credential", "contain", holder.credential)


def stop_keys(system, trials):
    """The three ways to stop what runs, by turns; the longest times of each."""
    longest = {}
    for trial in range(trials):
        act = (quarantine, revoke, contain)[trial % 3]
        seconds, command_s, gates = stop_a_key(system, act(system))
        known = longest.get(act.__name__, (0.0, 0.0, 0))
        longest[act.__name__] = (max(known[0], seconds), max(known[1], command_s), max(known[2], gates))
    return longest


def stop_a_key_while_a_gate_stands(system, chance):
    """A key is quarantined while one gate is stopped: what waits at that gate is not served when it goes on."""
    holder = system.holder("openai", budget=["20usd/life"])
    ask = chat("openai", 5, stream=False, out=1)
    with Traffic(system.port, lambda _: (holder.key, ask), workers=24, seed=chance.randint(1, 1 << 30)) as traffic:
        until(lambda: traffic.good() > 100, "requests are answered")
        gate = chance.choice(system.gates())
        os.kill(gate, signal.SIGSTOP)
        try:
            system.tell("key quarantine", id=holder.id)
            stopped_us = now_us()
            held_up = time.monotonic() + 3
            until(lambda: time.monotonic() > held_up, "requests wait at the stopped gate")
        finally:
            os.kill(gate, signal.SIGCONT)
        resumed_us = now_us()
        refused = lambda: [met for met in list(traffic.met) if met.ended_us > resumed_us]  # noqa: E731
        until(lambda: len(refused()) > 100, "requests are refused after the stop")
    served = [met for met in traffic.met if whole(met) and met.started_us > stopped_us]
    waited = [met for met in traffic.met if met.started_us < resumed_us < met.ended_us]
    return {"served": len(served), "waited": len(waited), "of them": reasons(waited)}
