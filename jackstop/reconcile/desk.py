"""Brings both sides together: what providers reported and what the books hold, out of control and the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from jackstop.control.client import Ask
from jackstop.errors import UserError
from jackstop.providers.drivers.driver import Bucket
from jackstop.reconcile.books import LONGEST_US, Books, of_credentials, of_holds
from jackstop.reconcile.drift import Drift, drifts
from jackstop.reconcile.judge import Judgement, begin_us, judge
from jackstop.reconcile.material import DAY_US, Hold, Stored, Watched
from jackstop.reconcile.sources import KEYLESS
from jackstop.reconcile.spent import Spent, spent

_RECORD_ROWS = 200


class Result(NamedTuple):
    """What was found of one credential."""

    watched: Watched
    judgement: Judgement
    drifts: list[Drift]
    spent: list[Spent]


class Desk:
    """Remembers what providers reported, so that only what is new goes over the socket. Not for two threads at once."""

    def __init__(self, ask: Ask, lake: Path) -> None:
        self._ask = ask
        self._books = Books(lake)
        self._stored: dict[str, dict[tuple[Any, ...], Stored]] = {}

    def take_in(self, administration: str, rows: Iterable[Stored], now_us: int) -> int:
        """Write down what a provider reported, as far as it is new; how many rows are."""
        known = self._known(administration, _whole_days(now_us))
        fresh = [row for row in _summed(rows) if row.name not in known or known[row.name].bucket != row.bucket]
        for start in range(0, len(fresh), _RECORD_ROWS):
            part = fresh[start : start + _RECORD_ROWS]
            self._ask("reconcile record", {"administration": administration, "rows": msgspec.to_builtins(part)})
            known |= {row.name: row for row in part}
        return len(fresh)

    def _known(self, administration: str, since_us: int) -> dict[tuple[Any, ...], Stored]:
        if administration not in self._stored:
            rows = self._pages("reconcile stored", {"administration": administration, "since_us": since_us})
            self._stored[administration] = {row.name: row for row in (msgspec.convert(each, Stored) for each in rows)}
        return self._stored[administration]

    def forget(self, administration: str, before_us: int) -> None:
        """Let go of what is too old to be compared."""
        known = self._stored.get(administration, {})
        self._stored[administration] = {name: row for name, row in known.items() if row.bucket.start_us >= before_us}

    def _pages(self, command: str, args: dict[str, Any]) -> list[Any]:
        rows: list[Any] = []
        after = None
        while True:
            page = self._ask(command, {**args, "after": after})
            rows += page["rows"]
            after = page["after"]
            if after is None:
                return rows

    def watched(self) -> list[Watched]:
        """The credentials that can be compared."""
        return [msgspec.convert(each, Watched) for each in self._ask("reconcile watched", {})["rows"]]

    def holds(self, since_us: int) -> list[Hold]:
        """The holds that may have been charged since a time."""
        rows = self._pages("reconcile holds", {"since_us": since_us - LONGEST_US})
        return [msgspec.convert(each, Hold) for each in rows]

    def flush(self) -> None:
        """Have all that ended until now in the lake. Raises UserError while it is behind."""
        if not self._ask("events flush", {})["written"]:
            raise UserError("the lake is behind the journals", "see whether the worker runs: `jackstop doctor`")

    def compare(self, which: Callable[[Watched], bool], now_us: int, since_us: int | None = None) -> list[Result]:
        """The credentials that `which` chooses, compared since a time, or for the last day.

        Raises UserError while the lake is behind: what is missing there would look like a theft.
        """
        everything = self.watched()
        chosen = [each for each in everything if which(each)]
        if not chosen:
            return []
        since_us = now_us - DAY_US if since_us is None else since_us
        # A day's costs are compared with the whole of it.
        reach_us = min([*(begin_us(each, since_us) for each in chosen), now_us - now_us % DAY_US - DAY_US])
        # A request ends as a hold and begins as an event: whoever looks at the holds first misses none of them.
        holds = self.holds(reach_us)
        self.flush()
        cells = [*self._books.read(reach_us, now_us), *of_holds(holds, now_us)]
        found = []
        for each in chosen:
            names = {other.name for other in everything if _may_share(each, other)}
            if each.driver in KEYLESS:
                names |= set(each.former)
            own = of_credentials(cells, names, reach_us, each.keys)
            stored = list(self._known(each.administration, min(reach_us, _whole_days(now_us))).values())
            judged = judge(each, stored, own, now_us, since_us)
            drifted = drifts(each, stored, own, judged, now_us)
            found.append(Result(each, judged, drifted, spent(each, stored, own, now_us)))
        return found


def _whole_days(now_us: int) -> int:
    """The beginning of the day before yesterday: what a day costs is said of whole days, and settled a day later."""
    return now_us - now_us % DAY_US - 2 * DAY_US


def _may_share(each: Watched, other: Watched) -> bool:
    """Whether a charge reported for one may be the other's."""
    if each.driver not in KEYLESS or each.driver != other.driver:
        return each.name == other.name or not set(each.keys).isdisjoint(other.keys)
    # Nobody knows which keys of DeepSeek belong to one account.
    same = (each.administration, each.place) == (other.administration, other.place)
    return same or each.kind == "balance"


def _summed(rows: Iterable[Stored]) -> list[Stored]:
    """Each bucket once: a provider may tell apart more than is kept."""
    found: dict[tuple[Any, ...], Stored] = {}
    for row in rows:
        other = found.get(row.name)
        found[row.name] = row if other is None else Stored(row.kind, row.place, _sum(other.bucket, row.bucket))
    return list(found.values())


_COUNTS = ("requests", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


def _sum(one: Bucket, other: Bucket) -> Bucket:
    counts = {name: getattr(one, name) + getattr(other, name) for name in _COUNTS}
    costs = [each.cost_nusd for each in (one, other) if each.cost_nusd is not None]
    return msgspec.structs.replace(one, **counts, cost_nusd=sum(costs) if costs else None)
