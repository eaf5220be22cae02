"""Agents that share a daily budget: how many requests are refused although what they truly cost would have fitted?

Four agents at a time carry conversations that grow turn by turn to 200,000 tokens, with prompt caching, an output cap
of 32,000 and answers of a few hundred to a few thousand tokens. An agent that is refused gives its conversation up and
begins another. An answer takes a 250th of the time that a model takes to write it.
"""

import asyncio
import json
import random
from typing import NamedTuple

import uvloop

from tests.acceptance import books, pricing
from tests.acceptance.asks import ANTHROPIC, OPENAI, directive
from tests.acceptance.books import Row
from tests.acceptance.load import Ask, Load
from tests.acceptance.pricing import USD
from tests.acceptance.system import System
from tests.acceptance.timeline import Timeline

AGENTS = 4
CAP = 32_000
_BYTES_PER_TOKEN = 4
SEGMENT_BYTES = 64 << 20
SPEED = 250
_TOKENS_PER_S = 60 * SPEED
_STOP_SHARE = 0.96
_STOP_REFUSALS = 60
SHARES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.96)
# Two letters and four letters, each with its blank a token of OpenAI's: 3.8 bytes a token, as English and code have.
_TWO = b"an to of it is in on at by we go do so no up us my me he or as if be am".split()
_FOUR = b"that with from they have this will your when make like time just know take into year good some them".split()


class Model(NamedTuple):
    """One model, its price row, and where requests for it go."""

    name: str
    priced: tuple[str, str]
    path: str
    most_tokens: int = 200_000


# Sonnet's context is 200,000 tokens, the answer among them.
SONNET = Model("claude-sonnet-4-5", ("claude-sonnet-4-5-20250929", "standard"), ANTHROPIC, 192_000)
GPT5 = Model("gpt-5", ("gpt-5-2025-08-07", "default"), OPENAI)
GPT5_MINI = Model("gpt-5-mini", ("gpt-5-mini-2025-08-07", "default"), OPENAI)

BUDGETS = (5, 20, 50)
FULL = [(model, budget) for model in (SONNET, GPT5, GPT5_MINI) for budget in BUDGETS]
FULL_CLAMPED = [(model, budget) for model in (SONNET, GPT5) for budget in BUDGETS]
SMALL = [(GPT5_MINI, 1)]


def _words(chance, tokens):
    size = tokens * _BYTES_PER_TOKEN
    words = chance.choices(_TWO, k=int(size / 6)) + chance.choices(_FOUR, k=int(size / 12))
    chance.shuffle(words)
    return b" ".join(words)[:size].decode().ljust(size, ".")


class Conversation:
    """One agent's conversation; `turn` is its next request with what it truly costs."""

    def __init__(self, chance, model):
        self._chance, self._model = chance, model
        self.messages = []
        self._before = 0
        self._said = ""
        self._add("user", chance.randint(8_000, 25_000))

    def _add(self, role, tokens):
        self.messages.append((role, _words(self._chance, tokens)))

    def tokens(self, last=""):
        """By the sandbox's rule."""
        size = sum(len(said) for _, said in self.messages) + len(last)
        return -(-size // _BYTES_PER_TOKEN) + 3 * len(self.messages)

    def turn(self):
        chance, anthropic = self._chance, self._model.path == ANTHROPIC
        self.out = min(6_000, int(chance.lognormvariate(6.8, 0.8)) + 150)
        latency = self.out * 1_000 // _TOKENS_PER_S + 20
        fields = {"out": self.out, "cached": self._before, "cache_write": 0, "latency_ms": latency}
        # The directive's own length is part of what is counted, so that it is written with a fixed width.
        for _ in range(2):
            end = directive(fields | ({"cache_write": f"{fields['cache_write']:06d}"}))
            total = self.tokens(end)
            fields["cache_write"] = total - self._before if anthropic else 0
        end = directive(fields | ({"cache_write": f"{fields['cache_write']:06d}"}))
        written = fields["cache_write"]
        rates = USD[self._model.priced]
        amounts = (total - self._before - written, self._before, written, 0, self.out)
        cost = sum(amount * round(rate * 1_000) for amount, rate in zip(amounts, rates, strict=True))
        self._before = total
        return Ask("agent", self._model.path, self._body(end), (), "anthropic" if anthropic else "openai", False), cost

    def _body(self, end):
        *earlier, (role, said) = self.messages
        messages = [{"role": who, "content": text} for who, text in earlier]
        last = {"role": role, "content": said + end}
        body = {"model": self._model.name, "messages": [*messages, last]}
        if self._model.path == ANTHROPIC:
            block = {"type": "text", "text": said + end, "cache_control": {"type": "ephemeral"}}
            last["content"] = [block]
            body["max_tokens"] = CAP
        else:
            body["max_completion_tokens"] = CAP
        return json.dumps(body).encode()

    def answered(self):
        """Whether it goes on, with the answer and a tool's result in it."""
        self._add("assistant", self.out)
        self._add("user", int(min(12_000, self._chance.lognormvariate(7.6, 1.0))) + 100)
        return self.tokens() < self._model.most_tokens


class Shift:
    """Agents at work on one budget, until it is spent or nothing is admitted any more. Money is nano-dollars.

    `retries` after refusals, 10 s of the simulated time apart, as an SDK makes them where an answer allows it.
    """

    def __init__(self, system, key, model, budget_nusd, seed, retries=0):
        self._chance = random.Random(seed)
        self._load = Load(system.port, self._chance, keep_bodies=True)
        self._retries = retries
        self.cut_short = 0
        self._key, self._model, self._budget = key, model, budget_nusd
        self._spent = self._running = 0
        self._in_a_row = 0
        self.asked = []

    async def _agent(self):
        talk = Conversation(self._chance, self._model)
        while self._spent < _STOP_SHARE * self._budget and self._in_a_row < _STOP_REFUSALS:
            ask, cost = talk.turn()
            share = self._spent / self._budget
            self._running += cost
            met = await self._load.send(self._key.secret, ask)
            for _ in range(self._retries):
                if met.decision == "refused":
                    await asyncio.sleep(10 / SPEED)
                    met = await self._load.send(self._key.secret, ask)
            self._running -= cost
            if met.decision == "refused":
                fits = self._spent + self._running + cost <= self._budget
                share = self._spent / self._budget
                self._in_a_row += 1
                self.asked.append((share, met.reason, fits))
                await asyncio.sleep(25 / SPEED)
                talk = Conversation(self._chance, self._model)
                continue
            assert met.status == 200, (met.status, met.reason)
            self._in_a_row = 0
            due = pricing.cost(met.body, "anthropic" if ask.dialect == "anthropic" else "openai", met.started_us)
            self.cut_short += due < cost
            assert due <= cost
            met.body = b""
            self._spent += due
            self.asked.append((share, "", True))
            if not talk.answered():
                talk = Conversation(self._chance, self._model)

    async def run(self):
        await asyncio.gather(*(self._agent() for _ in range(AGENTS)))
        self._load.close()
        self.spent = self._spent
        return self

    def by_share(self):
        """[(from, to, requests, refused although it would have fitted)], by the share of the budget that was spent."""
        rows = []
        for low, high in zip(SHARES, (*SHARES[1:], 1.01), strict=True):
            here = [(reason, fits) for share, reason, fits in self.asked if low <= share < high]
            rows.append((low, high, len(here), sum(bool(reason) and fits for reason, fits in here)))
        return rows

    def until(self, share):
        """Requests, and those refused although they would have fitted, until so much was spent."""
        before = [row for row in self.by_share() if row[1] <= share + 1e-9]
        return sum(row[2] for row in before), sum(row[3] for row in before)

    def first_refusal(self):
        return min((share for share, reason, _ in self.asked if reason), default=None)


def run(folder, plan, seed, *, clamp, retries=0):
    """Each (model, budget in USD) of a plan in turn; the rows, and the shifts."""
    environment = {"JACKSTOP_LEDGER_CLAMP": "true" if clamp else "false"}
    environment["JACKSTOP_JOURNAL_SEGMENT_BYTES"] = str(SEGMENT_BYTES)
    folder.mkdir(parents=True)
    system = System(folder, workers=2, environment=environment).set_up().up()
    rows, shifts = [], []
    try:
        for model, budget in plan:
            key = books.issue(system, f"{model.name} {budget}", "", (f"{budget}usd/day",))
            books.wait_fresh(system)
            shift = uvloop.run(Shift(system, key, model, budget * 10**9, seed, retries).run())
            books.quiet(system)
            (book,) = [row for row in books.budgets(system) if row["scope"] == f"key:{key.id}"]
            events = Timeline(system.home / "journal").events
            holds = [event["hold_nusd"] for event in events if event["key_id"] == key.id and "hold_id" in event]
            rows += _rows(model, budget, shift, book, holds, clamp=clamp)
            shifts.append(shift)
        return rows, shifts
    finally:
        system.close()


def _rows(model, budget, shift, book, holds, *, clamp):
    name = f"{model.name}, {budget} USD a day{', clamp' if clamp else ''}"
    asked, undue = shift.until(0.9)
    first = shift.first_refusal()
    shares = "; ".join(
        f"{100 * low:.0f} to {100 * min(high, 1):.0f} %: {refused} of {count}"
        for low, high, count, refused in shift.by_share()
        if count
    )
    return [
        Row(
            f"{name}: refused though the true cost fitted, until 90 % was spent",
            f"{undue} of {asked} ({books.percent(undue, asked)})",
            "< 1 %",
            undue < 0.01 * asked,
        ),
        Row(f"{name}: the same by the share spent", shares),
        Row(
            f"{name}: mean hold, and as many as there are agents as a share of the budget",
            f"{books.usd(sum(holds) // len(holds))}, {books.percent(AGENTS * sum(holds) // len(holds), book['limit'])}",
        ),
        Row(f"{name}: first refusal of any kind", "none" if first is None else f"at {100 * first:.1f} % spent"),
        Row(
            f"{name}: books against true cost",
            f"{books.usd(book['settled'])} and {books.usd(shift.spent)}",
            "the same, below the budget",
            book["settled"] == shift.spent <= book["limit"],
        ),
        *([Row(f"{name}: answers cut short by a lowered cap", f"{shift.cut_short} of {asked}")] if clamp else []),
    ]
