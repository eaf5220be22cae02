"""The parent with real processes, whose program is a stand-in for jackstop."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jackstop.gate.child import LOG_BYTES, last_line, rotate
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.slow
STAND_IN = Path(__file__).with_name("stand_in.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A parent in a process of its own, with the lines that it has said."""

    def __init__(self, home: Path, workers: int = 2, **environment: str) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.environment = os.environ | {
            "JACKSTOP_HOME": str(home),
            "JACKSTOP_GATE_LISTEN": "127.0.0.1:0",
            "JACKSTOP_CONSOLE": f"127.0.0.1:{free_port()}",
            "JACKSTOP_WORKERS": str(workers),
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", STAND_IN, "up"], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def said(self, pattern: str) -> re.Match[str]:
        return wait_for(lambda: next((m for line in list(self.lines) if (m := re.search(pattern, line))), None))

    def connect(self) -> socket.socket:
        port = int(self.said(r"gate on http://127\.0\.0\.1:(\d+)")[1])
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def ask(self) -> int:
        """The pid of the gate that answers."""
        with self.connect() as client:
            client.sendall(b"who\n")
            return int(client.recv(100))

    def pids(self, kind: str) -> list[int]:
        """Every process of that kind that was ever started, in order."""
        log = (self.home / "logs" / "parent.log").read_text()
        return [int(pid) for pid in re.findall(rf" {kind} is process (\d+)", log)]

    def settled(self) -> list[int]:
        """The pids of all children, once each of them listens to signals."""
        self.said("gate on")
        pids = [pid for kind in ("control", "gate-0", "gate-1", "worker") for pid in self.pids(kind)]
        wait_for(lambda: all(f"{pid} runs" in self.log() for pid in pids))
        return pids

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.home / "logs").iterdir())

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(**options: object) -> Running:
        started.append(Running(tmp_path / "home", **options))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for running in started:
        running.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_says_where_the_gate_is_and_stops_in_order(start: Callable[..., Running]) -> None:
    running = start()
    assert running.ask() in running.pids("gate-0") + running.pids("gate-1")
    pids = running.settled()
    assert len(pids) == 4
    port = running.environment["JACKSTOP_CONSOLE"].rpartition(":")[2]
    running.said(f"^console on http://localhost:{port}$")
    assert running.stop() == 0
    assert not any(alive(pid) for pid in pids)
    assert (running.home / "ended").read_text().split() == ["gate", "gate", "worker", "control"]
    assert not (running.home / "run" / "parent.pid").exists()


def test_says_where_to_look_when_there_is_no_console(tmp_path: Path, start: Callable[..., Running]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "no-console").touch()
    running = start(workers=1)
    address = running.environment["JACKSTOP_CONSOLE"]
    running.said(rf"^no console on {address} yet; {running.home}/logs/control\.log says why$")
    assert running.ask()


def test_children_have_no_core_dumps_and_the_worker_is_nice(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    running.said("gate on")
    limits = Path(f"/proc/{running.pids('gate-0')[0]}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert os.getpriority(os.PRIO_PROCESS, running.pids("worker")[0]) == min(os.nice(0) + 10, 19)


def test_a_second_one_on_the_same_home_says_who_has_it(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    running.said("gate on")
    second = subprocess.run(
        [sys.executable, "-P", STAND_IN, "up"], env=running.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 3
    assert f"already runs from {running.home} (process {running.process.pid})" in second.stderr
    assert running.ask()


def test_a_killed_gate_is_started_again_on_the_same_socket(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    first = running.ask()
    os.kill(first, signal.SIGKILL)
    assert running.ask() != first
    running.said("gate-0 ended by signal SIGKILL")


def test_one_that_dies_again_and_again_is_told_with_its_last_words(start: Callable[..., Running]) -> None:
    home_broken = start(workers=1)
    home_broken.said("gate on")
    (home_broken.home / "break-control").touch()
    os.kill(home_broken.pids("control")[0], signal.SIGKILL)
    home_broken.said(r"control ended with status 3 \(4\); again in 0\.4 s; it said: control is broken")
    (home_broken.home / "break-control").unlink()
    count = len(home_broken.pids("control"))
    wait_for(lambda: len(home_broken.pids("control")) > count)


def test_children_end_in_good_order_when_the_parent_is_killed(start: Callable[..., Running]) -> None:
    running = start()
    pids = running.settled()
    running.process.kill()
    wait_for(lambda: not any(alive(pid) for pid in pids))
    assert sorted((running.home / "ended").read_text().split()) == ["control", "gate", "gate", "worker"]


def test_a_second_signal_kills(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    with running.connect() as client:
        client.sendall(b"who\n")
        assert client.recv(100)
        running.process.send_signal(signal.SIGTERM)
        running.said("stopping")
        running.process.send_signal(signal.SIGTERM)
        running.said("killing what still runs")
        assert running.process.wait(PATIENCE_S) == 0


def test_a_reload_replaces_everything_and_every_connection_is_answered(start: Callable[..., Running]) -> None:
    running = start()
    parent = running.process.pid
    before = {kind: running.pids(kind) for kind in ("control", "gate-0", "gate-1", "worker") if running.ask()}
    open_before = running.connect()
    open_before.sendall(b"who\n")
    predecessor = int(open_before.recv(100))
    answers: list[int] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            answers.append(running.ask())

    client = threading.Thread(target=keep_asking)
    client.start()
    try:
        os.kill(parent, signal.SIGHUP)
        running.said("^reloaded$")
    finally:
        done.set()
        # The one gate that still holds a connection serves it to the end before it goes.
        open_before.sendall(b"who\n")
        assert int(open_before.recv(100)) == predecessor
        open_before.close()
        client.join(PATIENCE_S)
    assert running.process.pid == parent
    for kind, pids in before.items():
        assert len(running.pids(kind)) == 2, kind
        wait_for(lambda pids=pids: not any(alive(pid) for pid in pids))
    assert all(answers)
    assert running.ask() not in before["gate-0"] + before["gate-1"]
    assert running.stop() == 0


def test_a_reload_that_cannot_work_changes_nothing(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    first = running.ask()
    (running.home / "jackstop.toml").write_text("mode = 7\n")
    os.kill(running.process.pid, signal.SIGHUP)
    running.said("not reloaded, everything goes on as it was: a setting is wrong")
    assert running.ask() == first


def test_a_reload_whose_new_gate_dies_keeps_the_old_one(start: Callable[..., Running]) -> None:
    running = start(workers=1)
    first = running.ask()
    (running.home / "break-gate").touch()
    os.kill(running.process.pid, signal.SIGHUP)
    running.said("reload abandoned, what ran before goes on: the new gate-0 does not start")
    assert running.ask() == first


def test_a_log_is_put_aside_when_it_has_grown(tmp_path: Path) -> None:
    log = tmp_path / "gate-0.log"
    for number in range(5):
        log.write_bytes(b"x" * LOG_BYTES + b"%d" % number)
        rotate(log)
        assert not log.exists()
    kept = [path.read_bytes()[-1:] for path in sorted(tmp_path.iterdir())]
    assert kept == [b"4", b"3", b"2"]
    log.write_text("small\n\n")
    rotate(log)
    assert last_line(log) == "small"
    assert last_line(tmp_path / "none.log") == ""
