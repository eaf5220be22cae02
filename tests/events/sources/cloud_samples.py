"""Records as Azure's and Google's logs write them, damage to them, and texts that must not be kept."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from jackstop.clock import US_PER_S
from jackstop.events.sources.entry import Origin

NOON_S = 1_795_435_200
NOON = "2026-11-23T12:00:00.1234567Z"
NOON_US = NOON_S * US_PER_S + 123_456
ORIGIN = Origin("", "log.json", 0, (NOON_S + 3600) * US_PER_S)
MARKER = "PLANTED-CONTENT"
"""Stands in every field of a record that may hold what somebody wrote."""
SUBSCRIPTION = "12cabcb4-86e8-404f-a3d2-1dc9982f45ca"
ACCOUNT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/Bot"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside another."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [at, *(path for key, each in inner for path in paths(each, (*at, key)))]


@st.composite
def damaged(draw: st.DrawFn, records: list[dict[str, Any]]) -> dict[str, Any]:
    """One of the records, with up to three of its values taken out or replaced by anything."""
    record: dict[str, Any] = json.loads(json.dumps(draw(st.sampled_from(records))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(record)))
        if not path:
            continue
        holder: Any = record
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw(VALUES)
    return record
