"""What a gateway lets a key spend: at once, after a crash, after it was revoked, without its store, near its cap.

The same script for every gateway that starts. The provider is `jackstop sandbox`, whose bill counts every request that
it answered; it takes 200 ms for an answer where requests are to overlap. All use gpt-4o-mini at its list price and ask
for at most 500 output tokens; answers have all of these, or 50 where it says short.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import aiohttp

from bench import guarded
from bench.guarded import CAPS, FULL, MOST, SHORT
from bench.record import Table
from tests.acceptance.system import Sandbox

CACHE = Path(__file__).parent.parent / ".cache/bench"
PEERS = ("jackstop", "litellm", "tensorzero", "portkey", "envoy", "nginx")
PROMPT = "Hello"
OVERLAP_MS = 200
QUIET_S = 5
"""Without an answer for so long, a revoked key counts as dead."""
BEYOND = 45
"""So many requests more than fit are sent one after the other."""
ANSWERED = 8
"""So many are answered before a gateway is killed."""
REQUEST_S = 15
SETTLED_S = 3
"""Everything that a gateway does after an answer is done; what it writes in batches is not waited for."""


class Size(NamedTuple):
    repetitions: int
    burst: int
    revoked_s: float
    outage_s: float


WHOLE = Size(repetitions=2, burst=200, revoked_s=75, outage_s=10)
QUICK = Size(repetitions=1, burst=100, revoked_s=15, outage_s=5)


class Met(NamedTuple):
    """One request: its status (0: the connection failed), and when it began and ended."""

    status: int
    began: float
    ended: float


class Provider:
    """The practice provider, and what it has charged."""

    def __init__(self, folder):
        self._sandbox = Sandbox(folder)
        self.url = f"{self._sandbox.url}/openai"
        self.close = self._sandbox.stop
        self.set()

    def set(self, out=FULL, latency_ms=0):
        self._sandbox.set_mode(out=out, latency_ms=latency_ms)

    def charged(self):
        return self._sandbox.cost()


class Trial:
    """One gateway with a number of workers, its provider and a client that keeps no connection."""

    def __init__(self, gateway, provider):
        self.gateway, self.provider = gateway, provider
        self._asked = 0

    async def one(self, client, key):
        urls = self.gateway.urls()
        self._asked += 1
        messages = [{"role": "user", "content": PROMPT}]
        body = {"model": self.gateway.model(), "max_tokens": MOST, "messages": messages, **key.extra}
        began = time.monotonic()
        status = 0
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with client.post(urls[self._asked % len(urls)], json=body, headers=key.headers) as answer:
                await answer.read()
                status = answer.status
        return Met(status, began, time.monotonic())

    def send(self, key, count, at_once, **more):
        """So many requests, or for so many seconds; what each of them met."""
        return asyncio.run(self.sending(key, count, at_once, **more))

    async def sending(self, key, count, at_once, *, seconds=None, pace_s=0.0, refused_s=0.0):
        """`at_once` senders, each with a pause after every request, and with another one after every refusal."""
        mets, end = [], time.monotonic() + (seconds or 3600)
        left = iter(range(count))
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=REQUEST_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:

            async def sender():
                for _ in left:
                    if time.monotonic() > end:
                        return
                    met = await self.one(client, key)
                    mets.append(met)
                    await asyncio.sleep(pace_s + (0 if met.status == 200 else refused_s))

            await asyncio.gather(*(sender() for _ in range(at_once)))
        return mets

    def spend(self, key, count, at_once, **more):
        """The same, and what the provider charged for it."""
        before = self.provider.charged()
        mets = self.send(key, count, at_once, **more)
        time.sleep(0.3)
        return mets, self.provider.charged() - before


# -- the five measures ------------------------------------------------------------------------------------------


def contended(trial, size):
    """a) Many requests at once with one key: what was spent, in percent of the cap, each time."""
    trial.provider.set(FULL, OVERLAP_MS)
    spent, refused = [], Counter()
    for _ in range(size.repetitions):
        mets, cost = trial.spend(trial.gateway.key("tight"), size.burst, 64)
        spent.append(percent(cost, trial.gateway.cap("tight")))
        refused.update(met.status for met in mets if met.status != 200)
    return spent, refused


def near(trial):
    """e) One request after the other beyond the cap, with full answers, with short ones; then at once all that fit."""
    found = {}
    for name, kind, out, at_once, latency in (
        ("full answers", "tight", FULL, 1, 0),
        ("short answers", "short", SHORT, 1, 0),
        ("short answers, 16 at once", "short", SHORT, 16, OVERLAP_MS),
    ):
        trial.provider.set(out, latency)
        count = CAPS[kind][0] + (BEYOND if at_once == 1 else 0)
        _, cost = trial.spend(trial.gateway.key(kind), count, at_once, refused_s=latency / 1000)
        found[name] = percent(cost, trial.gateway.cap(kind))
    return found


def revoked(trial, size):
    """c) How long after the key was revoked a request that was sent then was still answered, in seconds."""
    gateway = trial.gateway
    trial.provider.set(SHORT)
    key = gateway.key("wide")
    trial.send(key, 40, 8)  # every worker knows the key
    at = time.monotonic()
    gateway.revoke(key)
    answered, refused, last = 0, 0, 0.0
    while time.monotonic() - at < size.revoked_s:
        mets = trial.send(key, 40, 4)
        good = [met.began - at for met in mets if met.status == 200]
        answered, refused = answered + len(good), refused + len(mets) - len(good)
        last = max([last, *good])
        if time.monotonic() - at > last + QUIET_S:
            return last, answered, refused, True
    return last, answered, refused, False


def killed(trial):
    """b) SIGKILL a second after eight answers, while eight more are under way: what is known of them afterwards."""
    gateway, provider = trial.gateway, trial.provider
    provider.set(FULL)
    key, open_key = gateway.key("tight"), gateway.key("tight")
    before = provider.charged()
    trial.send(key, ANSWERED, 1)
    spent = provider.charged() - before
    provider.set(FULL, 3_000)

    async def cut():
        sending = asyncio.create_task(trial.sending(open_key, ANSWERED, ANSWERED))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(gateway.kill)
        await sending

    before = provider.charged()
    asyncio.run(cut())
    time.sleep(3)
    open_spent = provider.charged() - before
    gateway.restart()
    time.sleep(SETTLED_S)
    known = {"answered": (gateway.books(key), spent), "under way": (gateway.books(open_key), open_spent)}
    provider.set(FULL)
    count = CAPS["tight"][0] + BEYOND - ANSWERED
    _, more = trial.spend(key, count, 1)
    _, open_more = trial.spend(open_key, count, 1)
    cap = gateway.cap("tight")
    return known, percent(spent + more, cap), percent(open_spent + open_more, cap)


def storeless(trial, size):
    """d) The store is gone: does a key with room go on, and does one near its cap go over it?"""
    gateway, provider = trial.gateway, trial.provider
    provider.set(FULL)
    wide, tight = gateway.key("wide"), gateway.key("tight")
    _, before = trial.spend(tight, 5, 1)
    end = time.monotonic() + SETTLED_S  # what its use is, a gateway may want to learn
    while time.monotonic() < end:
        trial.send(wide, 20, 2)
    gateway.cut_store()
    at = time.monotonic()
    mets = trial.send(wide, 100_000, 2, seconds=size.outage_s, pace_s=0.05)
    provider.set(FULL, OVERLAP_MS)
    _, cost = trial.spend(tight, 32, 16)
    good = [met.began - at for met in mets if met.status == 200]
    return percent(len(good), len(mets)), max(good, default=0.0), percent(before + cost, gateway.cap("tight"))


# -- one gateway in one mode ------------------------------------------------------------------------------------


class Found:
    """What came out, and as the cells of a row."""

    def __init__(self, name, gateway):
        self.name, self.gateway = name, gateway
        self.spent, self.refused, self.near = {}, Counter(), {}
        self.revoked = self.killed = self.storeless = None
        self.failed = ""

    def title(self):
        return f"{self.name} {self.gateway.version()}, {self.gateway.mode}"

    def row(self):
        spent = ", ".join(f"{max(0, max(each) - 100):.0f} %" for _, each in sorted(self.spent.items()))
        if not self.gateway.guards:
            return [self.title(), f"no cap: {spent}", *["no such thing"] * 4]
        return [self.title(), spent or self.failed, self._lost(), self._delay(), self._without(), self._unused()]

    def _lost(self):
        if not self.killed:
            return "not measured"
        known, after, _ = self.killed
        books, spent = known["answered"]
        again = max(0.0, after - self.near["full answers"])
        lost = "" if books is None else f"{percent(max(0, spent - books), spent):.0f} %, "
        return f"{lost}{again:.0f} % of the cap spent again"

    def _delay(self):
        if not self.revoked:
            return "no such thing"
        last, answered, _, ended = self.revoked
        return f"{'' if ended else 'more than '}{last:.1f} s, {answered} answered" if answered else "none answered"

    def _without(self):
        if not self.storeless:
            return "no store" if self.gateway.guards else "not measured"
        share, last, spent = self.storeless
        on = "all served" if share > 99 else f"served {last:.0f} s" if share else "none served"
        return f"{self.gateway.store}: {on}, {max(0, spent - 100):.0f} % over"

    def _unused(self):
        return ", ".join(f"{max(0, 100 - each):.0f} %" for each in self.near.values())

    def details(self):
        title = self.title()
        for workers, spent in sorted(self.spent.items()):
            each = ", ".join(f"{value:.1f}" for value in spent)
            yield [title, f"spent, % of the cap, {workers} worker{'s' * (workers > 1)}", each]
        if self.refused:
            met = ", ".join(f"{status or 'connection failed'} × {n}" for status, n in sorted(self.refused.items()))
            yield [title, "what the others met then", met]
        if self.killed:
            known, after, open_after = self.killed
            for what, (books, spent) in known.items():
                shown = "shows none" if books is None else f"{books / 1e9:.7f}"
                yield [title, f"books after SIGKILL, {what}, USD of what was spent", f"{shown} of {spent / 1e9:.7f}"]
            yield [title, "spent in the end, % of the cap: answered, under way", f"{after:.1f}, {open_after:.1f}"]
        if self.revoked:
            last, answered, refused, _ = self.revoked
            yield [
                title,
                "after the key was revoked",
                f"{answered} answered, the last {last:.2f} s after; {refused} not",
            ]
        if self.storeless:
            share, last, spent = self.storeless
            text = f"{share:.1f} % answered, the last after {last:.1f} s; tight key {spent:.1f} % of its cap"
            yield [title, f"{self.gateway.store} gone", text]
        for what, spent in self.near.items():
            yield [title, f"spent, % of the cap, {what}", f"{spent:.1f}"]
        if self.failed:
            yield [title, "did not come to its end", self.failed]


def measure(name, kind, folder, size):
    """All measures of one gateway in one mode; what was found until something failed."""
    provider = None
    gateway = kind(CACHE, folder, "", {})
    found = Found(name, gateway)
    try:
        for workers in gateway.workers:
            own = folder / f"workers{workers}"
            own.mkdir(parents=True)
            provider = Provider(own)
            gateway = found.gateway = kind(CACHE, own / "gateway", provider.url, costs(provider))
            trial = Trial(gateway, provider)
            try:
                gateway.start(workers)
                found.spent[workers], refused = contended(trial, size)
                found.refused.update(refused)
                if gateway.guards and workers == gateway.workers[-1]:
                    found.near = near(trial)
                    found.revoked = revoked(trial, size) if gateway.revokes else None
                    found.killed = killed(trial)
                    found.storeless = storeless(trial, size) if gateway.store else None
            finally:
                gateway.close()
                provider.close()
    except (Exception, AssertionError) as error:
        # The other gateways go on.
        found.failed = f"{type(error).__name__}: {error}"[:300]
    return found


def costs(provider):
    """What one request costs, by the tokens of its answer, as the provider itself charges it."""
    found = {}
    for tokens in (FULL, SHORT):
        provider.set(tokens)
        before = provider.charged()
        asyncio.run(_straight(provider.url))
        found[tokens] = provider.charged() - before
    return found


async def _straight(url):
    body = {"model": "gpt-4o-mini", "max_tokens": MOST, "messages": [{"role": "user", "content": PROMPT}]}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-mock"}) as answer,
    ):
        await answer.read()


def percent(part, whole):
    return 100 * part / whole if whole else 0.0


# -- the section ------------------------------------------------------------------------------------------------


NOTE = """\
The same script for every gateway that starts, with two workers unless it says otherwise (TensorZero: two gateways on
one Valkey). The provider is `jackstop sandbox`: it charges every request that it answers, at the list price of
gpt-4o-mini, and its bill is what counts as spent. Requests ask for at most 500 output tokens and get all of them, or 50
where it says short. *At once*: {burst} requests, 64 at a time, with a key whose cap is 20 requests' cost; the worst of
{repetitions}. *SIGKILL* of every process of the gateway, a second after the last of eight answers: what of their cost
its books have lost after a restart, and how much more than without the crash the key can then spend. *Revoked*: until
the last answer to a request that was sent after the revocation. *Store gone*: a key with room for thousands of
requests, and one at a quarter of its cap. *Unused*: of the cap, after more requests than fit were sent one after the
other, with full and with short answers (100 fit); then of 100 that fit, 16 at a time, those that were refused.
LiteLLM's database engine is a stand-in, see bench/peers/litellm_database.py; Bifrost, Kong, Helicone and Envoy AI
Gateway cannot be had from a package registry."""
COLUMNS = [
    "gateway, mode",
    "over the cap at once, 1 and 2 workers",
    "spend lost by SIGKILL",
    "revoked key still works",
    "store gone",
    "unused at the cap: full, short, short at once",
]


def section(folder, quick):
    size = QUICK if quick else WHOLE
    found = []
    for name, kinds in guarded.ALL.items():
        for kind in kinds:
            found.append(measure(name, kind, folder / kind.__name__, size))
            print(*found[-1].row(), sep=" | ", flush=True)
    note = NOTE.format(burst=size.burst, repetitions=size.repetitions)
    yield Table("What a key can spend", COLUMNS, [each.row() for each in found], note)
    rows = [row for each in found for row in each.details()]
    yield Table("The same in figures", ["gateway, mode", "what", "figure"], rows)


SECTIONS = {"safety": ("what a key can spend, beside LiteLLM, TensorZero and Portkey", section)}
