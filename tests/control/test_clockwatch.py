"""The wall clock against the boot clock: a jump freezes what opens windows, until it is undone or accepted."""

import pytest
from sqlalchemy import select

from jackstop.cases import intake
from jackstop.cases.turn import SYSTEM, enter
from jackstop.clock import ManualClock
from jackstop.control.clockwatch import MAX_JUMP_US, ClockWatch
from jackstop.settings import Settings
from jackstop.store.tables import findings

NOON = 1_790_000_000_000_000
JUMP_S = MAX_JUMP_US / 1e6 + 1


class Watched:
    """A clock, and controls that watch it one after the other."""

    def __init__(self, store):
        self.store, self.clock = store, ManualClock(NOON)
        self.start()

    def start(self):
        self.watch = ClockWatch(self.clock, self.report)
        with self.store.begin() as conn:
            self.watch.begin(conn)

    def report(self, conn, finding):
        intake.take(enter(conn, self.store, Settings(), self.clock.now_us(), SYSTEM), [finding])

    def look(self, after_s=1.0):
        self.clock.advance(after_s)
        with self.store.begin() as conn:
            self.watch.look(conn)
        return self.watch.frozen

    def accept(self):
        with self.store.begin() as conn:
            self.watch.accept(conn)

    def found(self):
        with self.store.begin() as conn:
            rows = conn.execute(select(findings.c.detection, findings.c.evidence).order_by(findings.c.id)).all()
        assert {row.detection for row in rows} <= {"clock_jump"}
        return [row.evidence["jump_s"] for row in rows]


@pytest.fixture
def watched(store):
    return Watched(store)


def test_time_that_passes_is_no_jump(watched):
    for seconds in (0.1, 1, 3_600, 86_400 * 40):
        assert not watched.look(seconds)
    assert watched.found() == []


def test_a_clock_that_is_slewed_is_followed(watched):
    for _ in range(100):
        watched.clock.jump(JUMP_S / 2)
        assert not watched.look()
        watched.clock.jump(-JUMP_S / 3)
        assert not watched.look()


@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S, 86_400, -86_400])
def test_a_jump_freezes_and_is_found_once(watched, jump_s):
    watched.clock.jump(jump_s)
    assert watched.look()
    assert watched.look()
    assert len(watched.found()) == 1
    assert abs(watched.found()[0] - jump_s) <= 1


def test_a_clock_that_is_set_right_again_thaws_by_itself(watched):
    watched.clock.jump(3_600)
    assert watched.look()
    watched.clock.jump(-3_600)
    assert not watched.look()
    watched.clock.jump(-3_600)
    assert watched.look()
    assert len(watched.found()) == 2


def test_a_jump_that_is_accepted_is_the_time_from_then_on(watched):
    watched.clock.jump(3_600)
    assert watched.look()
    watched.accept()
    assert not watched.watch.frozen
    assert not watched.look()
    watched.clock.jump(-3_600)
    assert watched.look()


@pytest.mark.parametrize("jump_s", [3_600, -3_600])
def test_a_jump_while_control_is_away_is_seen_when_it_starts(watched, jump_s):
    watched.look()
    watched.clock.advance(600)
    watched.clock.jump(jump_s)
    watched.start()
    assert watched.watch.frozen
    assert len(watched.found()) == 1


def test_a_freeze_outlives_control(watched):
    watched.clock.jump(3_600)
    assert watched.look()
    watched.start()
    assert watched.watch.frozen
    watched.accept()
    watched.start()
    assert not watched.watch.frozen


def test_what_was_seen_outlives_control(watched):
    watched.look(60)
    seen = watched.clock.now_us()
    watched.clock.advance(5)
    watched.start()
    assert watched.watch.seen_us == seen


class Rebooted(ManualClock):
    """A machine that has just started: its boot clock begins anew."""

    def __init__(self, now_us):
        super().__init__(now_us)
        self._boot_us = 1


def test_after_a_boot_later_is_believed_and_earlier_is_not(watched, monkeypatch):
    watched.look(3_600)
    monkeypatch.setattr("jackstop.control.clockwatch.boot_id", lambda: "another")
    watched.clock = Rebooted(watched.clock.now_us() + 86_400_000_000)
    watched.start()
    assert not watched.watch.frozen
    monkeypatch.setattr("jackstop.control.clockwatch.boot_id", lambda: "a third")
    watched.clock = Rebooted(watched.clock.now_us() - 3_600_000_000)
    watched.start()
    assert watched.watch.frozen
    watched.clock.jump(3_600)
    assert not watched.look()
