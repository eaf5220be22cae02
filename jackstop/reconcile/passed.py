"""Which requests went through the gate: by their ids, and those whose id nobody has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from jackstop.events import lake
from jackstop.reconcile.books import LONGEST_US, SKEW_US, UNSEEN_US
from jackstop.reconcile.material import DAY_US, Hold

_COLUMNS = ["ts", "latency_us", "estimated", "status", "decision", "action_class", "credential_id", "request_id"]
_FAILED = 400


class Span(NamedTuple):
    """When a request may have reached its provider, in microseconds, both included."""

    first_us: int
    last_us: int


class Passed(NamedTuple):
    """What the lake says. `hits` are the ids that were looked for and are there, whichever credential it was.

    `nameless` are the credentials' requests that have no id, `others` those that have one which was not looked for.
    """

    hits: frozenset[str]
    nameless: list[Span]
    others: list[Span]
    requests: int
    unlogged: int


def passed(
    folder: Path,
    names: Collection[str],
    ids: Collection[str],
    since_us: int,
    until_us: int,
    settled: Span,
    *,
    others: bool = True,
) -> Passed:
    """The requests from an hour before `since_us` on, of the credentials `names`.

    Of those that began within `settled` the `requests` are counted, and how many of them are `unlogged`: have an id
    that is not among `ids`. What the provider refused is left out, since a log tells of it in another way; what it did
    not answer in time is not: it may have been served. Without `others` these are not listed.
    """
    wanted = pa.array(sorted(ids), pa.string())
    credentials = pa.array(sorted(names), pa.string())
    hits: set[str] = set()
    nameless: list[Span] = []
    named_others: list[Span] = []
    requests = unlogged = 0
    for path in lake.files(folder, since_us - LONGEST_US, until_us):
        table = _read(path, since_us - LONGEST_US - SKEW_US)
        if table is None:
            continue
        found = pc.is_in(table["request_id"], value_set=wanted)
        hits.update(table.filter(found)["request_id"].to_pylist())
        own = pc.is_in(table["credential_id"], value_set=credentials)
        # The status of a request that was not answered in time is the gate's own, and its hold stays charged.
        refused = pc.greater_equal(pc.fill_null(table["status"], 0), _FAILED)
        through = pc.invert(pc.and_(refused, pc.invert(pc.fill_null(table["estimated"], False))))
        rest = table.filter(pc.and_(pc.and_(own, through), pc.invert(found)))
        named = pc.not_equal(rest["request_id"], "")
        nameless += _spans(rest.filter(pc.invert(named)))
        if others:
            named_others += _spans(rest.filter(named))
        mine = pc.and_(pc.and_(own, through), pc.not_equal(table["request_id"], ""))
        requests += _within(table.filter(mine), settled)
        unlogged += _within(rest.filter(named), settled)
    return Passed(frozenset(hits), nameless, named_others, requests, unlogged)


def _read(path: Path, since_us: int) -> pa.Table | None:
    try:
        with lake.open_file(path) as parquet:
            if not parquet.metadata.num_rows or lake.newest_in(parquet.metadata, "ts") < since_us:
                return None
            table = parquet.read(columns=_COLUMNS)
    except FileNotFoundError:
        return None  # the day was forgotten
    through = pc.is_in(table["decision"], value_set=pa.array(["admitted", "would_refuse"]))
    inference = pc.is_in(table["action_class"], value_set=pa.array(["inference", ""]))
    return table.filter(pc.and_(pc.and_(through, inference), pc.greater_equal(table["ts"], since_us)))


def _spans(table: pa.Table) -> Iterable[Span]:
    rows = zip(*(table[name].to_pylist() for name in ("ts", "latency_us", "estimated")), strict=True)
    for ts, latency_us, estimated in rows:
        yield Span(ts - SKEW_US, ts + (latency_us or 0) + (UNSEEN_US if estimated else 0) + SKEW_US)


def _within(table: pa.Table, span: Span) -> int:
    ts = table["ts"]
    inside = pc.and_(pc.greater_equal(ts, span.first_us), pc.less(ts, span.last_us))
    return int(pc.sum(inside).as_py() or 0)


def of_holds(holds: Iterable[Hold], names: Collection[str], now_us: int) -> list[Span]:
    """The requests of credentials which nobody has seen the end of: their ids are not known either.

    How long a dead gate's had been under way nobody knows.
    """
    found = []
    for hold in holds:
        if hold.state == "tail" or (hold.credential and hold.credential not in names):
            continue
        last_us = now_us if hold.state == "under way" else hold.ts_us + LONGEST_US
        found.append(Span(hold.ts_us - SKEW_US, last_us + SKEW_US))
    return found


def of_lost(holds: Iterable[Hold]) -> list[Span]:
    """When requests may have been made that a journal's lost end told of: nobody knows how many."""
    return [Span(hold.ts_us - DAY_US, hold.ts_us + SKEW_US) for hold in holds if hold.state == "tail"]
