"""The sender with real receivers, and with a control that it shares a process with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from jackstop.errors import UserError
from jackstop.notify import sender as sender_module
from jackstop.notify.outbox import queue
from jackstop.notify.sender import Sender
from jackstop.store.tables import outbox
from tests.control.command_bench import Bench
from tests.notify.pieces import WHSEC, news
from tests.notify.receivers import Answer, HttpReceiver, http_receiver
from tests.notify.test_commands import Gates
from tests.waiting import wait_for


@pytest.fixture
def store_url() -> str:
    """SQLite alone: what the databases do differently is in test_delivery.py."""
    return ""


class Line:
    """The way to control: one command at a time, as control does; can be cut."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.lock = threading.Lock()
        self.cut_before: set[str] = set()
        self.cut_after: set[str] = set()

    def __call__(self, name: str, args: dict[str, Any]) -> Any:
        if name in self.cut_before:
            raise UserError("control is away")
        with self.lock:
            result = self.bench.run(name, **args)
        if name in self.cut_after:
            raise UserError("control closed the connection before it answered")
        return result


@pytest.fixture
def line(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Line:
    for name in ("POLL_S", "BEAT_POLL_S", "_REPORT_WAIT_S"):
        monkeypatch.setattr(sender_module, name, 0.01)
    return Line(bench)


@pytest.fixture
def sender(line: Line) -> Iterator[Sender]:
    made = Sender(line.bench.home, line.bench.settings, line, line.bench.clock)
    made.start()
    yield made
    made.stop()


def hook(line: Line, name: str, url: str) -> None:
    line("notify add", {"name": name, "kind": "webhook", "options": {"url": url}, "secret": WHSEC})


def tell(line: Line, *numbers: int) -> None:
    with line.lock, line.bench.store.begin() as conn:
        for number in numbers:
            queue(conn, line.bench.clock.now_us(), news(number, group_key=f"case-{number}"))


def states(line: Line) -> list[str]:
    with line.lock, line.bench.store.begin() as conn:
        return list(conn.execute(select(outbox.c.state).order_by(outbox.c.id)).scalars())


def test_what_is_queued_is_delivered(line: Line, sender: Sender, receiver: HttpReceiver) -> None:
    hook(line, "one", receiver.url)
    tell(line, 1, 2, 3)
    wait_for(lambda: states(line) == ["sent"] * 3)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == len(receiver.got) == 3


def test_a_slow_channel_delays_no_other(line: Line, sender: Sender, receiver: HttpReceiver) -> None:
    gate = threading.Event()
    receiver.answer = lambda got: Answer() if got.path != "/slow" or gate.wait(30) else Answer(500)
    hook(line, "slow", f"{receiver.url}/slow")
    hook(line, "fast", f"{receiver.url}/fast")
    tell(line, 1, 2, 3)
    wait_for(lambda: sum(got.path == "/fast" for got in receiver.got) == 3)
    assert [got.path for got in receiver.got] == ["/fast"] * 3
    gate.set()
    wait_for(lambda: states(line) == ["sent"] * 6)


def test_a_channel_whose_thread_cannot_start_is_tried_again(
    line: Line, monkeypatch: pytest.MonkeyPatch, receiver: HttpReceiver
) -> None:
    sender = Sender(line.bench.home, line.bench.settings, line, line.bench.clock)
    hook(line, "one", receiver.url)
    tell(line, 1)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            sender.step()
    line.bench.clock.advance(61)
    assert sender.step() == 1
    wait_for(lambda: states(line) == ["sent"])


def test_a_failure_is_told_and_tried_again(line: Line, sender: Sender, receiver: HttpReceiver) -> None:
    answers = iter([Answer(503), Answer(200)])
    receiver.answer = lambda _got: next(answers)
    hook(line, "one", receiver.url)
    tell(line, 1)

    def error() -> str:
        found: str = line("notify outbox", {})["rows"][0]["error"]
        return found

    wait_for(lambda: error().startswith("HTTP 503"))
    line.bench.clock.advance(5)
    wait_for(lambda: states(line) == ["sent"])
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_what_control_did_not_hear_is_told_again(line: Line, sender: Sender, receiver: HttpReceiver) -> None:
    line.cut_before = {"outbox done"}
    hook(line, "one", receiver.url)
    tell(line, 1)
    wait_for(lambda: receiver.got)
    line.cut_before = set()
    wait_for(lambda: states(line) == ["sent"])
    assert len(receiver.got) == 1


def test_what_was_taken_and_lost_is_sent_after_its_lease(line: Line, sender: Sender, receiver: HttpReceiver) -> None:
    hook(line, "one", receiver.url)
    line.cut_after = {"outbox take"}
    tell(line, 1)
    wait_for(lambda: line("notify outbox", {})["rows"][0]["attempts"] == 1)
    assert not receiver.got
    line.cut_after = set()
    line.bench.clock.advance(60)
    wait_for(lambda: states(line) == ["sent"])
    assert len(receiver.got) == 1


def test_a_kind_that_fails_inside_says_so_without_what_it_was_sending(
    line: Line, sender: Sender, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*_args: Any) -> None:
        raise RuntimeError(WHSEC)

    monkeypatch.setattr("jackstop.notify.channels.webhook.deliver", fail)
    hook(line, "one", receiver.url)
    tell(line, 1)
    wait_for(lambda: "RuntimeError" in line("notify outbox", {})["rows"][0]["error"])
    assert WHSEC not in caplog.text + str(line("notify outbox", {}))


def test_heartbeats_go_out_while_the_worker_is_well(line: Line, receiver: HttpReceiver, monkeypatch: Any) -> None:
    line.bench.live = Gates()
    line("notify add", {"name": "dead-man", "kind": "heartbeat", "secret": f"{receiver.url}/ping"})
    made = Sender(line.bench.home, line.bench.settings, line, line.bench.clock)
    made.start()
    try:
        wait_for(lambda: receiver.got)
        wait_for(lambda: line("outbox beats", {})["due"] == [])
        monkeypatch.setattr(sender_module, "QUIET_WORKER_S", -1.0)
        line.bench.clock.advance(61)
        assert made.beat() == 0
        made.touch()
        monkeypatch.setattr(sender_module, "QUIET_WORKER_S", 60.0)
        wait_for(lambda: len(receiver.got) == 2)
    finally:
        made.stop()


def test_a_heartbeat_that_does_not_arrive_is_noted(line: Line) -> None:
    line.bench.live = Gates()
    with http_receiver() as receiver:
        receiver.answer = lambda _got: Answer(503)
        line("notify add", {"name": "dead-man", "kind": "heartbeat", "secret": f"{receiver.url}/ping"})
        made = Sender(line.bench.home, line.bench.settings, line, line.bench.clock)
        made.start()
        wait_for(lambda: receiver.got)
        made.stop()
    line.bench.clock.advance(1_000)
    lines = {each["check"]: each for each in line("doctor examine", {})["results"]}
    assert "HTTP 503" in lines["heartbeat dead-man"]["problem"]


def test_stopping_waits_for_nobody_for_long(line: Line, receiver: HttpReceiver, monkeypatch: Any) -> None:
    monkeypatch.setattr(sender_module, "_STOP_S", 0.1)
    gate = threading.Event()
    receiver.answer = lambda _got: Answer() if gate.wait(30) else Answer(500)
    hook(line, "slow", receiver.url)
    tell(line, 1)
    made = Sender(line.bench.home, line.bench.settings, line, line.bench.clock)
    made.start()
    wait_for(lambda: line("notify outbox", {})["rows"][0]["attempts"] == 1)
    made.stop()
    gate.set()
    wait_for(lambda: receiver.got)
