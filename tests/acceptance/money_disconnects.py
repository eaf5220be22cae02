"""Clients that go away in the middle of their streams: is anything billed that the ledger does not have?"""

import json
import random
from collections import Counter

import uvloop

from tests.acceptance import books
from tests.acceptance.asks import ANTHROPIC, DEEPSEEK, DEEPSEEK_MESSAGES, OPENAI, RESPONSES, directive, text
from tests.acceptance.books import Row, usd
from tests.acceptance.load import Ask, Load
from tests.acceptance.system import System
from tests.acceptance.timeline import Timeline

SEGMENT_BYTES = 16 << 20
FULL, SMALL = 1_000, 90
"""Streams in all, half of them under each policy."""
_WORKERS = 24
_BYTES_PER_CHUNK = 330


def _stream(chance):
    """A stream of a random dialect, whose client leaves at a random byte: before the first, on the way, at the end."""
    chunk = chance.choice((2, 8))
    chunks = chance.randint(4, 60)
    cap = 8_000
    fields = {"out": chunk * chunks, "chunk": chunk, "pace_ms": chance.randint(1, 12)}
    if chance.random() < 0.5:
        fields["latency_ms"] = chance.randint(1, 60)
    if chance.random() < 0.2:
        fields["linger"] = chance.randint(1, 200)
    said = text(chance, chance.choice((100, 3_000))) + directive(fields)
    messages = [{"role": "user", "content": said}]
    kind, path, dialect, body = chance.choice(
        (
            ("chat", OPENAI, "openai", {"model": "gpt-4o", "messages": messages, "max_tokens": cap}),
            ("responses", RESPONSES, "openai", {"model": "gpt-5", "input": said, "max_output_tokens": cap}),
            (
                "messages",
                ANTHROPIC,
                "anthropic",
                {"model": "claude-sonnet-4-5", "messages": messages, "max_tokens": cap},
            ),
            ("deepseek", DEEPSEEK, "openai", {"model": "deepseek-v4-pro", "messages": messages, "max_tokens": cap}),
            (
                "deepseek messages",
                DEEPSEEK_MESSAGES,
                "anthropic",
                {"model": "deepseek-v4-flash", "messages": messages, "max_tokens": cap},
            ),
        )
    )
    if path == OPENAI and chance.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    raw = json.dumps(body | {"stream": True}).encode()
    early = chance.random() < 0.15
    leave_after = 0 if early else chance.randint(1, int(chunks * _BYTES_PER_CHUNK * 1.3))
    return Ask(kind, path, raw, (), dialect, True, leave_after, chance.randint(0, 70), chance.random() < 0.3)


class Disconnects:
    """One installation with one policy for clients that leave."""

    def __init__(self, folder, policy, seed):
        self.policy = policy
        self.chance = random.Random(seed)
        environment = {
            "JACKSTOP_JOURNAL_SEGMENT_BYTES": str(SEGMENT_BYTES),
            "JACKSTOP_GATE_ON_DISCONNECT": policy,
        }
        folder.mkdir()
        self.system = System(folder, workers=2, environment=environment).set_up().up()
        self.rows = []

    def drive(self, amount):
        books.ask_control(self.system, "budget set", scope="org", amount="100000usd/day")
        keys = [books.issue(self.system, f"k{number}") for number in range(6)]
        books.wait_fresh(self.system)
        load = Load(self.system.port, self.chance)
        jobs = ((self.chance.choice(keys).secret, _stream(self.chance)) for _ in range(amount))

        async def drive():
            await load.run(jobs, _WORKERS, pause_ms=5)
            load.close()

        with books.Watch(self.system, interval_s=0.1) as watch:
            uvloop.run(drive())
            books.quiet(self.system)
        watch.look()
        self.met, self.watch = load.met, watch

    def check(self):
        events = Timeline(self.system.home / "journal").events
        kept, _ = books.kept_holds(self.system)
        seen = books.sandbox_rows(self.system)
        (org,) = [row for row in books.budgets(self.system) if row["scope"] == "org"]
        billed = self.system.sandbox.cost()
        met = Counter(each.decision for each in self.met)
        early = sum(each.ask.leave_after == 0 for each in self.met)
        unmatched = Counter(each.agent for each in self.met)
        unmatched.subtract(event["user_agent"] for event in events)
        # A client that leaves before its request has been read leaves nothing behind.
        unmatched = {agent: count for agent, count in unmatched.items() if count}
        row_of = {event["event_id"]: seen.get(event.get("request_id", "")[-32:]) for event in events}
        low = inexact = unlisted = 0
        estimated, named = set(), set()
        for event in events:
            row, cost = row_of[event["event_id"]], event.get("cost_nusd") or 0
            if row is not None:
                named.add(row["id"])
            units = row["units"] if row is not None else 0
            low += cost * 1_000_000 < units
            if event.get("estimated"):
                estimated.add(event["hold_id"])
                unlisted += event["hold_id"] not in kept
            else:
                inexact += not 0 <= cost * 1_000_000 - units < 1_000_000
        nameless = sum(
            row is None and bool(event.get("estimated"))
            for event, row in ((event, row_of[event["event_id"]]) for event in events)
        )
        lost = sum(row["units"] > 0 and row["id"] not in named for row in seen.values())
        kinds = Counter(each.ask.kind for each in self.met)
        add = self._add
        add("streams", f"{len(self.met):,}: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
        add(
            "their clients",
            ", ".join(f"{name} {count:,}" for name, count in sorted(met.items()))
            + f"; {early} left before the first byte",
        )
        add("requests without exactly one event", len(unmatched), "0")
        add(
            "looks with settled + held below the bill",
            f"{len(self.watch.below_bill)} of {self.watch.looks}",
            "0",
            held=not self.watch.below_bill,
        )
        add("requests booked below what the sandbox billed", low, "0")
        add("requests settled, but not to the sandbox's figure", inexact, "0")
        add("billed streams that no event explains", max(0, lost - nameless), "0")
        add("estimated requests that are not listed as holds", unlisted, "0")
        add("listed holds that no event explains", len(set(kept) - estimated), "0")
        add(
            "ledger and bill",
            f"{usd(org['settled'])} and {usd(billed)}",
            "ledger ≥ bill",
            held=org["settled"] >= billed,
        )
        add(
            "streams kept charged as estimated",
            len(estimated),
            "0" if self.policy == "drain" else "",
            held=self.policy != "drain" or not estimated,
        )

    def _add(self, what, figure, bound="", *, held=None):
        good = figure == 0 if held is None and bound == "0" else held is not False
        self.rows.append(
            Row(f"{self.policy}: {what}", f"{figure:,}" if isinstance(figure, int) else figure, bound, good)
        )


def run(folder, amount, seed):
    """Half of the streams under each policy; the rows of both."""
    rows = []
    for policy in ("drain", "close"):
        disconnects = Disconnects(folder / policy, policy, seed)
        try:
            disconnects.drive(amount // 2)
            disconnects.check()
        finally:
            disconnects.system.close()
        rows += disconnects.rows
    return rows
