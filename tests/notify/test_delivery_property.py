"""Whatever fails and whenever: each channel gets every news, or it is dead after all attempts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from jackstop.notify import delivery
from jackstop.settings import Settings
from jackstop.store.tables import channels, outbox
from tests.control.command_bench import Bench
from tests.notify.pieces import news
from tests.notify.queueing import NOTIFY, failed, hook, sent, states, take, tell, uids


@pytest.fixture(autouse=True)
def _settings(bench: Bench) -> None:
    bench.settings = Settings(notify=NOTIFY)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(0, 3), st.sampled_from(["medium", "high", "critical"])),
        st.tuples(st.just("take"), st.sampled_from(["sent", "failed", "rejected", "lost before", "lost after"])),
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.just("late"), st.integers(0, 9)),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(steps=STEPS)
def test_whatever_fails_every_news_arrives_at_each_channel_or_is_dead_after_all_attempts(
    bench: Bench, steps: list[tuple[Any, ...]]
) -> None:
    """`lost before`: the sender dies before it sent; `lost after`: before it could say so."""
    _clear(bench)
    world = _World(bench)
    for step in steps:
        getattr(world, "do_" + step[0])(*step[1:])
    world.settle()
    world.judge()


def _clear(bench: Bench) -> None:
    with bench.store.begin() as conn:
        conn.execute(outbox.delete())
        conn.execute(channels.delete())
    hook(bench, "one", min_severity="medium")
    hook(bench, "two", min_severity="high")


class _World:
    """Receivers that remember what came under which uid, and senders that die."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.told: list[tuple[str, str, int]] = []
        self.arrived: dict[str, tuple[str, list[str]]] = {}
        self.order: dict[str, list[str]] = {"one": [], "two": []}
        self.over: list[dict[str, Any]] = []
        self.tries: dict[int, int] = {}

    def do_tell(self, case: int, severity: str) -> None:
        uid = f"n{len(self.told)}"
        self.told.append((uid, severity, case))
        told = news(uid=uid, group_key=f"case-{case}", severity=severity)
        assert tell(self.bench, told) == (1 if severity == "medium" else 2)
        assert tell(self.bench, told) == 0

    def do_wait(self, seconds: int) -> None:
        self.bench.clock.advance(seconds)

    def do_take(self, fate: str) -> None:
        for taken in take(self.bench):
            self.tries[taken["id"]] = self.tries.get(taken["id"], 0) + 1
            if fate in {"sent", "lost after"}:
                self._arrive(taken)
            if fate == "sent":
                sent(self.bench, taken)
            elif fate in {"failed", "rejected"}:
                state = failed(self.bench, taken, rejected=fate == "rejected")
                least = delivery.REJECTED_ATTEMPTS if fate == "rejected" else NOTIFY.attempts
                assert state == "queued" or self.tries[taken["id"]] >= least
            else:
                self.over.append(taken)

    def do_late(self, which: int) -> None:
        """A sender thought dead speaks after all: it had sent, or it had not."""
        if which < len(self.over):
            failed(self.bench, self.over[which])

    def _arrive(self, taken: dict[str, Any]) -> None:
        before = self.arrived.setdefault(taken["uid"], (taken["channel"]["name"], uids(taken)))
        assert before == (taken["channel"]["name"], uids(taken)), "one uid, two contents"
        for uid in uids(taken):
            if uid not in self.order[taken["channel"]["name"]]:
                self.order[taken["channel"]["name"]].append(uid)

    def settle(self) -> None:
        """From now on all is well: what is not dead arrives."""
        for _ in range(200):
            self.do_take("sent")
            self.do_wait(60)
            if not any(state == "queued" for _, state in states(self.bench)):
                return
        pytest.fail("something never leaves the outbox")

    def judge(self) -> None:
        with self.bench.store.begin() as conn:
            rows = conn.execute(select(outbox)).all()
        dead = {(row.channel, each["uid"]) for row in rows if row.state == "dead" for each in row.payload["news"]}
        for row in rows:
            if row.state == "dead":
                assert row.attempts >= delivery.REJECTED_ATTEMPTS
        for name, least in (("one", {"medium", "high", "critical"}), ("two", {"high", "critical"})):
            arrived = {uid for channel, told in self.arrived.values() if channel == name for uid in told}
            wanted = {uid for uid, severity, _case in self.told if severity in least}
            assert wanted <= arrived | {uid for channel, uid in dead if channel == name}
            assert arrived <= wanted
            for case in range(4):
                mine = [uid for uid, _severity, of in self.told if of == case and uid in arrived]
                assert [uid for uid in self.order[name] if uid in mine] == mine
