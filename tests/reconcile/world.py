"""Requests as the gate books them and as a provider counts them, for whoever compares the two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from jackstop.events.lake import SCHEMA, _write_file, day_of
from jackstop.events.schema import COLUMNS, Event
from jackstop.ledger.prices import price_list
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import Cell, summed
from jackstop.reconcile.material import MINUTE_US, Stored, Watched

DAY_US = 1_440 * MINUTE_US
NOON_US = 1_795_435_200_000_000
S_US = 1_000_000
PLACE = '{"project": "proj_one"}'
MODEL = "gpt-4o-2024-08-06"


@dataclass
class Call:
    """One request. `counted` says where between its beginning and its end the provider counted it, `used` which part of
    its output was made: the gate saw that unless the client had left (`seen`).
    """

    ts: int
    latency_us: int = 2 * S_US
    model: str = MODEL
    asked: str = "gpt-4o"
    tokens: tuple[int, int, int, int] = (1_000, 0, 0, 500)
    key: str = "key_main"
    seen: bool = True
    counted: float = 1.0
    used: float = 1.0
    skew_us: int = 0
    credential: str = "main"
    cost_nusd: int | None = None
    request_id: str = ""
    status: int = 200

    @property
    def billed(self) -> tuple[int, int, int, int]:
        into, read, written, out = self.tokens
        return (into, read, written, out if self.seen else int(out * self.used))

    @property
    def nusd(self) -> int:
        rates = price_list("openai", self.model, self.ts).tiers[0][1]
        into, read, written, out = self.tokens
        units = into * rates.input + read * rates.cache_read + written * rates.cache_write + out * rates.output
        return -(-units // 1_000_000)

    @property
    def moment_us(self) -> int:
        return self.ts + int(self.latency_us * self.counted) + self.skew_us

    def event(self, number: int) -> Event:
        into, read, written, out = self.tokens
        known = {"model": self.model, "input_tokens": into, "cache_read_tokens": read}
        known |= {"cache_write_tokens": written, "output_tokens": out}
        return Event(
            ts=self.ts,
            event_id=f"gate-1-{number}",
            provider="openai",
            credential_id=self.credential,
            provider_key_id=self.key,
            key_id="aaaaaaaaaaaa",
            decision="admitted",
            model_asked=self.asked,
            latency_us=self.latency_us,
            hold_nusd=self.nusd * 3,
            cost_nusd=self.nusd if self.seen else self.nusd * 3,
            estimated=not self.seen,
            action_class="inference",
            status=self.status,
            request_id=self.request_id,
            **(known if self.seen else {}),
        )


@dataclass
class Provider:
    """Counts calls in buckets of `width` minutes; `dated` is the part of its model's name that requests leave out."""

    width: int = 1
    sums: dict[tuple[int, str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 5))

    def count(self, calls: Iterable[Call]) -> Provider:
        for call in calls:
            span = self.width * MINUTE_US
            entry = self.sums[call.moment_us // span * span, call.key, call.model]
            for place, amount in enumerate((1, *call.billed)):
                entry[place] += amount
        return self

    def report(self, until_us: int = 1 << 62, shown: float = 1.0) -> list[Stored]:
        """The buckets that ended before `until_us`, each with a part of its counts."""
        span = self.width * MINUTE_US
        return [
            Stored("usage", PLACE, Bucket(start, span, key, model, "default", *(int(each * shown) for each in counts)))
            for (start, key, model), counts in sorted(self.sums.items())
            if start + span <= until_us
        ]


def watched(**fields: object) -> Watched:
    known: dict[str, object] = {
        "name": "main",
        "provider": "openai",
        "exclusive": True,
        "key": "key_main",
        "keys": ["key_main"],
        "administration": "office",
        "driver": "openai",
        "kind": "usage",
        "place": PLACE,
        "since_us": NOON_US - 30 * DAY_US,
        "delay_s": 300,
    }
    return Watched(**{**known, **fields})  # type: ignore[arg-type]  # any of its fields


def write(lake: Path, calls: Iterable[Call], name: str = "gate-1-0") -> None:
    """The calls as files of the lake, one for each day."""
    days: dict[str, list[Event]] = defaultdict(list)
    for number, call in enumerate(calls):
        days[day_of(call.ts)].append(call.event(number))
    for day, events in days.items():
        _write_file(lake / f"date={day}", name, events)


def cells_of(calls: Iterable[Call]) -> list[Cell]:
    """What the books hold of the calls."""
    events = [call.event(number) for number, call in enumerate(calls)]
    columns = {column: [getattr(event, column) for event in events] for column in COLUMNS}
    return list(summed(pa.record_batch(columns, schema=SCHEMA)))
