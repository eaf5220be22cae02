"""Pages of an audit log that go forward, whatever is in it."""

from __future__ import annotations

import pytest

from jackstop.providers.drivers.driver import CallFailed
from jackstop.providers.drivers.feed import Entry, forward

S = 1_000_000


def moment(entry: Entry) -> int:
    if not isinstance(entry.get("at"), int):
        raise CallFailed("failed", "an entry has no time")
    return int(entry["at"])


def log_of(*entries: Entry):
    """A log that is read by whole seconds, the newest first."""

    def read(from_us: int) -> list[Entry]:
        floor = from_us // S * S
        return [each for each in reversed(entries) if not isinstance(each.get("at"), int) or each["at"] >= floor]

    return read


def test_nothing_is_given_twice_also_in_the_part_of_a_second_that_is_read_again() -> None:
    entries = [{"id": "a", "at": 1_000 * S + 100_000}, {"id": "b", "at": 1_060 * S + 500_000}]
    first = forward("", 0, log_of(*entries), moment)
    assert [each["id"] for each in first.entries] == ["a", "b"]
    for _ in range(3):
        first = forward(first.cursor, 0, log_of(*entries), moment)
        assert first.entries == []


def test_an_entry_that_shows_minutes_later_than_a_newer_one_is_not_lost() -> None:
    late, newer = {"id": "late", "at": 1_000 * S}, {"id": "newer", "at": 1_500 * S}
    first = forward("", 0, log_of(newer), moment)
    assert [each["id"] for each in forward(first.cursor, 0, log_of(late, newer), moment).entries] == ["late"]


def test_an_entry_without_id_or_time_is_handed_on_once_and_blinds_nothing() -> None:
    odd = {"what": "no id"}
    entries = [{"id": "a", "at": 1_000 * S}, odd, {"id": "b", "at": 1_001 * S}]
    first = forward("", 0, log_of(*entries), moment)
    assert odd in first.entries
    assert {"a", "b"} <= {each.get("id") for each in first.entries}


def test_an_entry_of_the_far_future_is_given_once_and_hides_nothing_after_it() -> None:
    far, now_us = {"id": "far", "at": 10**9 * S}, 2_000 * S
    entries = [{"id": "a", "at": 1_990 * S}, far]
    first = forward("", 0, log_of(*entries), moment, now_us)
    assert [each["id"] for each in first.entries] == ["a", "far"]
    entries.insert(0, {"id": "b", "at": 2_060 * S})
    second = forward(first.cursor, 0, log_of(*entries), moment, now_us + 100 * S)
    assert [each["id"] for each in second.entries] == ["b"]
    assert forward(second.cursor, 0, log_of(*entries), moment, now_us + 200 * S).entries == []


def test_a_place_in_the_far_future_is_come_back_from() -> None:
    far, now_us = {"id": "far", "at": 10**9 * S}, 2_000 * S
    blinded = forward("", 0, log_of(far), moment, 10**10 * S).cursor
    entries = [{"id": "b", "at": 1_999 * S}, far]
    assert [each["id"] for each in forward(blinded, 0, log_of(*entries), moment, now_us).entries] == ["b"]


def test_a_cursor_of_somebody_else_is_refused() -> None:
    with pytest.raises(CallFailed, match="begin it anew"):
        forward("nonsense", 0, log_of(), moment)
