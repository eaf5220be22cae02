"""What `jackstop events export` prints, read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from jackstop.events.schema import Event
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.events.sources.gate import claims, read

NOON_US = 1_772_712_000_000_000
ORIGIN = Origin("", "events.ndjson", 0, NOON_US)
EVENT = Event(
    event_id="g1-0-64", ts=NOON_US, seen_ts=NOON_US + 5, gate_id="g1", key_id="k1", decision="admitted", cost_nusd=7,
    stream=True, estimated=True, input_tokens=0, extra='{"a": 1}',
)  # fmt: skip


def row(**told: Any) -> dict[str, Any]:
    exported: dict[str, Any] = json.loads(json.dumps(structs.asdict(EVENT)))
    return {**exported, **told}


def test_an_exported_event_is_the_same_event() -> None:
    assert claims(row())
    assert read(row(), ORIGIN) == EVENT
    assert read(row(unheard_of="a text"), ORIGIN) == EVENT


@pytest.mark.parametrize(
    "told",
    [{"source": "openai_audit"}, {"event_id": ""}, {"ts": 0}, {"ts": "soon"}, {"ts": NOON_US + 2 * 86_400_000_000},
     {"cost_nusd": 1.5}, {"cost_nusd": 1 << 63}, {"user_agent": "x" * 5_000}, {"stream": "yes"}],
)  # fmt: skip
def test_what_is_none(told: dict[str, Any]) -> None:
    with pytest.raises(UnreadableEntry):
        read(row(**told), ORIGIN)


@pytest.mark.parametrize("record", [None, [], "x", {}, {"event_id": "a", "ts": 1}])
def test_what_is_not_claimed(record: Any) -> None:
    assert not claims(record)
