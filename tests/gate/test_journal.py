"""The journal: what is written is read back, by the program and by its format alone; nothing half-written counts."""

import fcntl
import os
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import ManualClock
from jackstop.events.schema import Event
from jackstop.gate import journal as journal_module
from jackstop.gate.journal import (
    EVENT_ROOM,
    START,
    Held,
    Journal,
    JournalFull,
    Leased,
    Position,
    Reader,
    Recorded,
    claim,
)
from tests.replay import Replay
from tests.waiting import wait_for

NOW = 1_790_000_000_000_000


def journal_in(folder, segment_bytes=1 << 16):
    journal = Journal(folder, "g0-test", segment_bytes, 20, ManualClock(NOW))
    journal.open(0)
    return journal


def held(nusd=5):
    return Held(NOW, "key", nusd, 7, [(1, nusd)], "openai", "gpt-4o-mini", "main")


def event_of(position, nusd=3, **columns):
    return Recorded(Event(ts=NOW, key_id="key", cost_nusd=nusd, **columns), position, [(1, nusd)])


def test_records_come_back_in_order_over_segments(tmp_path):
    journal = journal_in(tmp_path)
    journal.append(Leased(1, 10, NOW, 1_000_000))
    places = []
    for _ in range(500):
        place = wait_for_room(journal, held())
        places.append(journal.event(event_of(place)))
    journal.close()
    read = list(Reader(journal.folder).records(START))
    assert [here for here, _, record in read if isinstance(record, Recorded)] == places
    assert all(
        behind == following
        for (_, behind, _), (following, _, _) in pairwise(read)
        if behind.segment == following.segment
    )
    replay = Replay(journal.folder)
    assert len(replay.events) == 500
    assert not replay.open
    assert not replay.violations


def wait_for_room(journal, record):
    while True:
        try:
            return journal.hold(record)
        except JournalFull:
            journal._wake.set()
            os.sched_yield()


@given(text=st.text(max_size=9_000))
def test_no_event_outgrows_the_room_kept_for_it(tmp_path_factory, text):
    journal = journal_in(tmp_path_factory.mktemp("journal"))
    place = journal.hold(held())
    before = journal.end
    journal.event(event_of(place, extra=text, user_agent=text))
    assert journal.end.offset - before.offset <= EVENT_ROOM
    journal.close()


def test_a_hold_is_refused_before_the_room_for_open_events_runs_out(tmp_path, monkeypatch):
    journal = journal_in(tmp_path)
    monkeypatch.setattr(journal, "_make", _no_space)
    places = []
    while journal.has_room():
        places.append(journal.hold(held()))
    with pytest.raises(JournalFull):
        journal.hold(held())
    assert places
    for place in places:
        journal.event(event_of(place, extra="x" * 3_900))
    assert len(Replay(journal.folder).events) == len(places)


def test_a_disk_that_fails_is_tried_again(tmp_path, monkeypatch):
    journal = journal_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module.os, "fdatasync", _no_space)
        wait_for(lambda: not journal.has_room())
        assert "No space" in journal.failed
        with pytest.raises(JournalFull):
            journal.hold(held())
    wait_for(journal.has_room)
    journal.hold(held())
    wait_for(lambda: journal.synced == journal.end)
    journal.close()


def _no_space(index):
    raise OSError(28, "No space left on device")


def test_a_torn_record_is_no_record(tmp_path):
    journal = journal_in(tmp_path)
    journal.hold(held(1))
    end = journal.end
    journal.append(held(2))
    journal.sync()
    path = journal.folder / "00000000.seg"
    data = bytearray(path.read_bytes())
    data[end.offset + 12] ^= 1
    path.write_bytes(data)
    read = [record for _, _, record in Reader(journal.folder).records(START)]
    assert [record.nusd for record in read if isinstance(record, Held)] == [1]
    assert Reader(journal.folder).written() > end


def test_an_absurd_length_ends_the_reading(tmp_path):
    journal = journal_in(tmp_path)
    end = journal.end
    path = journal.folder / "00000000.seg"
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, end.offset, 1 << 30, 0)
    path.write_bytes(data)
    assert len(list(Reader(journal.folder).records(START))) == 1


def test_reading_goes_on_from_any_place(tmp_path):
    journal = journal_in(tmp_path)
    for number in range(20):
        journal.hold(held(number))
    everything = list(Reader(journal.folder).records(START))
    for number, (here, _, _) in enumerate(everything):
        assert list(Reader(journal.folder).records(here)) == everything[number:]
    assert not list(Reader(journal.folder).records(Position(7, 16)))


def test_a_living_journal_cannot_be_claimed(tmp_path):
    journal = journal_in(tmp_path)
    claimed = []
    assert not claim(journal.folder, lambda: claimed.append(1))
    fcntl.flock(journal._lock_fd, fcntl.LOCK_UN)
    assert claim(journal.folder, lambda: claimed.append(2))
    assert claimed == [2]
