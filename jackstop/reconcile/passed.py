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
    folder: Path, names: Collection[str], ids: Collection[str], since_us: int, until_us: int, settled: Span
) -> Passed:
    """The requests from an hour before `since_us` on, of the credentials `names`.

    Of those that began within `settled` the `requests` are counted, and how many of them are `unlogged`: have an id
    that is not among `ids`. What the provider refused is left out, since a log tells of it in another way.
    """
    wanted = pa.array(sorted(ids), pa.string())
    credentials = pa.array(sorted(names), pa.string())
    hits: set[str] = set()
    nameless: list[Span] = []
    others: list[Span] = []
    requests = unlogged = 0
    for path in lake.files(folder, since_us - LONGEST_US, until_us):
        table = _read(path, since_us - LONGEST_US - SKEW_US)
        if table is None:
            continue
        found = pc.is_in(table["request_id"], value_set=wanted)
        hits.update(table.filter(found)["request_id"].to_pylist())
        own = pc.is_in(table["credential_id"], value_set=credentials)
        through = pc.less(pc.fill_null(table["status"], 0), _FAILED)
        rest = table.filter(pc.and_(pc.and_(own, through), pc.invert(found)))
        named = pc.not_equal(rest["request_id"], "")
        nameless += _spans(rest.filter(pc.invert(named)))
        others += _spans(rest.filter(named))
        mine = pc.and_(pc.and_(own, through), pc.not_equal(table["request_id"], ""))
        requests += _within(table.filter(mine), settled)
        unlogged += _within(rest.filter(named), settled)
    return Passed(frozenset(hits), nameless, others, requests, unlogged)


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
    """The requests of credentials which nobody has seen the end of: their ids are not known either."""
    found = []
    for hold in holds:
        if hold.credential and hold.credential not in names:
            continue
        first_us = hold.ts_us - (DAY_US if hold.state == "tail" else SKEW_US)
        ends = {"under way": now_us, "open": hold.ts_us + UNSEEN_US, "tail": hold.ts_us}
        found.append(Span(first_us, ends[hold.state] + SKEW_US))
    return found
