"""More events never unmake a finding, and how often one looks makes no difference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import Detection, Example, shipped
from jackstop.detections.engine import Engine, findings_of
from jackstop.detections.testing import add_events, events_of, fill, kept, rows_of
from jackstop.events.schema import Event

DETECTIONS = shipped()
EXAMPLES = [
    (each, example)
    for each in DETECTIONS.values()
    for example in each.about.tests
    if example.events and example.findings
]
OUTCOMES = ("ok", "invalid", "denied", "not_found", "throttled", "blocked_content")


@st.composite
def noise(draw: st.DrawFn, among: list[Event]) -> Event:
    """A request about the time of the others, by one of their keys or of its own, like them or not."""
    like = draw(st.sampled_from(among))
    shift = draw(st.sampled_from((0, 1, 1_000_000, 60_000_000, 299_999_999, 300_000_000, 3_600_000_000)))
    return Event(**{
        **{name: getattr(like, name) for name in Event.__struct_fields__},
        "ts": like.ts + shift,
        "outcome": draw(st.sampled_from(OUTCOMES)),
        "decision": draw(st.sampled_from(("admitted", "refused", "would_refuse"))),
        "model_asked": draw(st.sampled_from((like.model_asked, "m1", "m2", "m3", "m4"))),
        "src_net": draw(st.sampled_from((like.src_net, "198.51.100.0/24", "203.0.113.0/24"))),
        "client": draw(st.sampled_from((like.client, "curl", "browser"))),
        "cost_nusd": draw(st.sampled_from((0, like.cost_nusd, 5_000_000_000))),
        "markers": draw(st.sampled_from(("", like.markers, "probe:verbatim", "ramp"))),
    })  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> tuple[Detection, Example, list[Event]]:
    detection, example = draw(st.sampled_from(EXAMPLES))
    events = events_of(example)
    more = draw(st.lists(noise(events), max_size=10))
    return detection, example, sorted([*events, *more], key=lambda event: event.ts)


def tables(number: int, example: Example, events: list[Event], wanted: frozenset[str]) -> duckdb.DuckDBPyConnection:
    connection = kept(number)
    for table, rows in rows_of(example).items():
        fill(connection, table, rows)
    add_events(connection, events, wanted)
    return connection


def later_unmakes_nothing(history: tuple[Detection, Example, list[Event]], data: st.DataObject) -> None:
    detection, example, events = history
    read = detection.tables
    cut = data.draw(st.integers(0, len(events)))
    before = {each.uid: each for each in findings_of(tables(1, example, events[:cut], read), detection)}
    after = {each.uid: each for each in findings_of(tables(1, example, events, read), detection)}
    assert before.keys() <= after.keys()


def comparable(found: list[Finding]) -> dict[str, tuple[Any, ...]]:
    return {each.uid: (each.severity, each.count, each.first_seen, each.last_seen) for each in found}


def batches(events: list[Event], cuts: list[int]) -> Iterator[list[Event]]:
    edges = [0, *sorted(cuts), len(events)]
    for start, end in pairwise(edges):
        yield events[start:end]


def cycles_find_what_one_look_finds(history: tuple[Detection, Example, list[Event]], data: st.DataObject) -> None:
    detection, example, events = history
    chosen = {name: each for name, each in DETECTIONS.items() if each.reads_findings or each is detection}
    read = frozenset().union(*(each.tables for each in chosen.values()))
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=4))
    live, whole = Engine(chosen), Engine(chosen)
    growing = tables(1, example, [], read)
    now_us = events[0].ts
    for batch in batches(events, cuts):
        add_events(growing, batch, read)
        now_us = max([now_us, *(event.ts for event in batch)])
        live.cycle(growing, now_us, min((event.ts for event in batch), default=None))
    # What is due less often comes to its turn.
    live.cycle(growing, now_us + 3_600_000_000, None)
    whole.once(tables(1, example, events, read))
    assert comparable(live.found) == comparable(whole.found)


# bench/soak_mutations.py looks at many more.
PROPERTIES = (later_unmakes_nothing, cycles_find_what_one_look_finds)
test_what_comes_later_unmakes_nothing = settings(max_examples=12)(given(histories(), st.data())(later_unmakes_nothing))
test_many_cycles_find_what_one_look_finds = settings(max_examples=6)(
    given(histories(), st.data())(cycles_find_what_one_look_finds)
)
pytestmark = pytest.mark.slow
