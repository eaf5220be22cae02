"""The parent process: owns the listening sockets, starts control, gates and worker, restarts the dead.

On SIGHUP it puts its own new code in its place by exec, keeping pid, sockets and children, and then replaces the
children: control, the gates one after the other, each only when its successor serves, and the worker.
On SIGTERM or SIGINT it stops gates, worker and control in this order; a second signal kills them.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from jackstop.clock import SystemClock, iso
from jackstop.console.address import url_of
from jackstop.errors import UserError
from jackstop.gate.child import Child, Kind, last_line, name_of, reap, rotate, spawn
from jackstop.gate.listening import address_of, bind, check_listen, split_address
from jackstop.settings import KEK_VARIABLE, Home, Settings, load

STATE_VARIABLE = "JACKSTOP_PARENT_STATE"
STATE_VERSION = 1
PROGRAM = (sys.executable, "-P", "-m", "jackstop")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

FIRST_BACKOFF_S = 0.1
LAST_BACKOFF_S = 5.0
STEADY_S = 10.0
"""A child that ran this long starts again at once, and its earlier deaths are forgotten."""
READY_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0
MAX_SUCCESSOR_DEATHS = 3
REHEARSAL_TIMEOUT_S = 60.0
CONSOLE_LOOK_S = 0.25
"""Between two looks at whether the console answers, and how long each of them may take."""
CONSOLE_PATIENCE_S = 30.0


class Parent:
    """The loop over signals, ready pipes and deadlines. Everything it knows of its children is in `children`."""

    def __init__(self, home: Home, settings: Settings, program: Sequence[str] = PROGRAM) -> None:
        self.home = home
        self.settings = settings
        self.program = list(program)
        self.children: list[Child] = []
        self.listeners: list[socket.socket] = []
        self._listen = settings.gate.listen
        self._lock = -1
        self._deaths: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._successor_deaths = 0
        self._stopping = False
        self._reload = False
        self._news = "gate on {url}"
        self._console_until = 0.0
        self._selector = selectors.DefaultSelector()
        self._had_terminal = sys.stdin is not None and sys.stdin.isatty()

    # -- starting, and taking over from the code before ---------------------------------------------------------------

    def run(self) -> int:
        """Run until told to stop; the exit status. Raises UserError where it cannot start."""
        check_listen(self.settings.gate)
        inherited = os.environ.pop(STATE_VARIABLE, None)
        if inherited is None:
            self._start()
        else:
            self._take_over(json.loads(inherited))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._listen_to_signals()
        self._note("taken over" if inherited else "started")
        self._act()
        while self.children or not self._stopping:
            for number in self._wait():
                self._on_signal(number)
            self._reap()
            self._act()
        self._note("stopped")
        self.home.parent_pid.unlink(missing_ok=True)
        return 0

    def _start(self) -> None:
        if not self.home.root.is_dir():
            raise UserError(f"there is no {self.home.root}", "run `jackstop init` first, or set JACKSTOP_HOME", 2)
        self.home.create()
        self._lock = _lock(self.home.parent_pid)
        self._bind_listeners()

    def _bind_listeners(self) -> None:
        """One socket for each gate; those that are there already stay."""
        while len(self.listeners) < max(1, self.settings.workers):
            # With port 0 the first socket finds a port, and the others join it there.
            where = address_of(self.listeners[0]) if self.listeners else self.settings.gate.listen
            self.listeners.append(bind(where, shared=bool(self.listeners)))

    def _take_over(self, state: dict[str, Any]) -> None:
        self._lock = state["lock"]
        os.set_inheritable(self._lock, False)
        self.listeners = [socket.socket(fileno=fd) for fd in state["listeners"]]
        for listener in self.listeners:
            listener.set_inheritable(False)
        self.children = [Child(**child) for child in state["children"]]
        for child in self.children:
            child.stale = True
            if child.ready_fd >= 0:
                os.set_inheritable(child.ready_fd, False)
                self._selector.register(child.ready_fd, selectors.EVENT_READ)
        self._news = "reloaded"
        if len(self.listeners) > max(1, self.settings.workers):
            self._say(f"still {len(self.listeners)} gates: fewer take a stop and a start, which close their sockets")
        self._listen = state["listen"]
        if self.settings.gate.listen != self._listen:
            self._say(f"still listening at {address_of(self.listeners[0])}: another address takes a stop and a start")
        self._bind_listeners()

    def _listen_to_signals(self) -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        self._selector.register(reading, selectors.EVENT_READ)
        self._signals = reading
        # Blocked since before the exec, where one of them would have ended the process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        self._kill_the_late()
        if self._stopping:
            self._stop_in_order()
            return
        if self._reload and not self._replacing():
            self._replace_self()
        self._keep_all()
        self._announce()
        self._announce_console()

    def _wait(self) -> Iterable[int]:
        """The signals that came, after at most as long as nothing is due."""
        numbers = b""
        for key, _ in self._selector.select(self._until_due()):
            if key.fd == self._signals:
                numbers = os.read(self._signals, 4096)
            else:
                self._on_ready(key.fd)
        return numbers

    def _until_due(self) -> float | None:
        now = time.monotonic()
        due = [child.deadline for child in self.children if child.deadline]
        due += [child.started + READY_TIMEOUT_S for child in self.children if child.role == "successor"]
        due += [moment for moment in self._not_before.values() if moment > now]
        due += [now + CONSOLE_LOOK_S] if self._console_until else []
        return max(0.0, min(due) - now) if due else None

    def _on_signal(self, number: int) -> None:
        if number in {signal.SIGTERM, signal.SIGINT}:
            if self._stopping:
                self._say("killing what still runs")
                for child in self.children:
                    os.kill(child.pid, signal.SIGKILL)
            else:
                self._say("stopping")
                self._stopping = True
        elif number == signal.SIGHUP:
            if self._had_terminal and not _has_terminal():
                self._stopping = True  # the window was closed, nobody asked for a reload
            else:
                self._reload = True

    def _on_ready(self, fd: int) -> None:
        child = next(each for each in self.children if each.ready_fd == fd)
        said = os.read(fd, 64)
        self._selector.unregister(fd)
        os.close(fd)
        child.ready_fd = -1
        # An end of file without a word is a gate that dies; reaping it says the rest.
        child.ready = bool(said)

    def _reap(self) -> None:
        for child in list(self.children):
            status = reap(child.pid)
            if status is None:
                continue
            self.children.remove(child)
            if child.ready_fd >= 0:
                self._selector.unregister(child.ready_fd)
                os.close(child.ready_fd)
            if child.role == "leaving" or self._stopping:
                self._note(f"{child.name} (process {child.pid}) ended")
            else:
                self._on_death(child, status)

    def _on_death(self, child: Child, status: int) -> None:
        steady = time.monotonic() - child.started >= STEADY_S
        deaths = 1 if steady else self._deaths.get(child.name, 0) + 1
        self._deaths[child.name] = deaths
        backoff = 0.0 if deaths == 1 else min(FIRST_BACKOFF_S * 2 ** (deaths - 2), LAST_BACKOFF_S)
        self._not_before[child.name] = time.monotonic() + backoff
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        again = f"again in {backoff:.1f} s" if backoff else "starting it again"
        said = last_line(self._log(child.kind, child.slot))
        self._say(f"{child.name} ended {how} ({deaths}); {again}" + (f"; it said: {said}" if said else ""))
        if child.role == "successor":
            self._successor_deaths += 1
            if self._successor_deaths >= MAX_SUCCESSOR_DEATHS:
                self._abandon_reload(f"the new {child.name} does not start")

    def _kill_the_late(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.deadline and now >= child.deadline:
                self._say(f"{child.name} (process {child.pid}) did not stop in time, killing it")
                child.deadline = 0.0
                os.kill(child.pid, signal.SIGKILL)
            elif child.role == "successor" and not child.ready and now >= child.started + READY_TIMEOUT_S:
                self._abandon_reload(f"the new {child.name} was not ready in {READY_TIMEOUT_S:.0f} s")
                return

    # -- what should run, and is made to ------------------------------------------------------------------------------

    def _of(self, kind: Kind, slot: int = 0) -> list[Child]:
        return [child for child in self.children if child.kind == kind and child.slot == slot]

    def _replacing(self) -> bool:
        """Whether a reload is under way. Predecessors of gates may finish what is open for long after it."""
        return any(child.stale and (child.kind != "gate" or child.role != "leaving") for child in self.children)

    def _keep_all(self) -> None:
        """Control first, then the gates one after the other, then the worker; each waits for the one before it."""
        fresh = self._keep("control", 0, STOP_TIMEOUT_S, replace=True)
        for slot in range(len(self.listeners)):
            fresh = self._keep("gate", slot, self.settings.gate.shutdown_timeout_s, replace=fresh) and fresh
        worker = next(iter(self._of("worker")), None)
        if worker is None:
            self._spawn("worker")
        elif worker.stale and worker.role == "current" and fresh:
            self._tell_to_stop(worker, STOP_TIMEOUT_S)

    def _keep(self, kind: Kind, slot: int, stop_timeout_s: float, *, replace: bool) -> bool:
        """See that one runs, and if `replace` that it is a fresh one; whether it is.

        A predecessor is told to stop once its successor is ready: a gate when it serves, control when it has nothing
        left to do but to wait for the lock.
        """
        running = self._of(kind, slot)
        current = next((child for child in running if child.role == "current"), None)
        successor = next((child for child in running if child.role == "successor"), None)
        if successor is not None and (successor.ready or current is None):
            successor.role = "current"
            if current is not None:
                self._tell_to_stop(current, stop_timeout_s)
            return True
        if current is None:
            self._spawn(kind, slot)
        elif current.stale and successor is None and replace:
            self._spawn(kind, slot, successor=True)
        return current is not None and not current.stale

    def _gates(self) -> list[Child]:
        return [child for child in self.children if child.kind == "gate" and child.role != "leaving"]

    def _spawn(self, kind: Kind, slot: int = 0, *, successor: bool = False) -> None:
        name = name_of(kind, slot)
        now = time.monotonic()
        if now < self._not_before.get(name, 0.0):
            return
        command = [*self.program, kind]
        fds: tuple[int, ...] = ()
        reading = writing = -1
        if kind != "worker":
            reading, writing = os.pipe2(os.O_CLOEXEC)
            self._selector.register(reading, selectors.EVENT_READ)
            command += ["--ready-fd", str(writing)]
            fds = (writing,)
        if kind == "gate":
            listener = self.listeners[slot].fileno()
            command += ["--slot", str(slot), "--fd", str(listener)]
            fds = (writing, listener)
        # A process that listens to the network, or reads what came from it, has no use for the key of the vault.
        without = () if kind == "control" else (KEK_VARIABLE,)
        pid = spawn(command, self._log(kind, slot), fds, worker=kind == "worker", without=without)
        if writing >= 0:
            os.close(writing)
        child = Child(kind, slot, pid, now, "successor" if successor else "current", ready_fd=reading)
        self.children.append(child)
        self._note(f"{name} is process {pid}")

    def _tell_to_stop(self, child: Child, timeout_s: float) -> None:
        child.role = "leaving"
        child.deadline = time.monotonic() + timeout_s
        os.kill(child.pid, signal.SIGTERM)

    def _stop_in_order(self) -> None:
        """Gates first, which drain; then the worker; then control, which the gates need to the last."""
        order: tuple[tuple[Kind, float], ...] = (
            ("gate", self.settings.gate.shutdown_timeout_s),
            ("worker", STOP_TIMEOUT_S),
            ("control", STOP_TIMEOUT_S),
        )
        for kind, timeout_s in order:
            running = [child for child in self.children if child.kind == kind]
            for child in running:
                if child.role != "leaving":
                    self._tell_to_stop(child, timeout_s)
            if running:
                return

    # -- reload -------------------------------------------------------------------------------------------------------

    def _replace_self(self) -> None:
        """Exec the new code into this process. Returns only where the new code or the new settings would not run."""
        self._reload = False
        problem = self._rehearse()
        if problem:
            self._say(f"not reloaded, everything goes on as it was: {problem}")
            return
        self._say("reloading")
        pipes = [child.ready_fd for child in self.children if child.ready_fd >= 0]
        listeners = [listener.fileno() for listener in self.listeners]
        for fd in (self._lock, *listeners, *pipes):
            os.set_inheritable(fd, True)
        state = {
            "version": STATE_VERSION,
            "lock": self._lock,
            "listen": self._listen,
            "listeners": listeners,
            "children": [asdict(child) for child in self.children],
        }
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        sys.stdout.flush()
        os.environ[STATE_VARIABLE] = json.dumps(state)
        os.execv(self.program[0], [*self.program, "up"])  # noqa: S606 - no shell is wanted

    def _rehearse(self) -> str:
        """What keeps the new code from running, found out in a process of its own; empty if nothing does."""
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", f"from jackstop.gate import parent; parent.rehearse({STATE_VERSION})"],
                capture_output=True,
                text=True,
                timeout=REHEARSAL_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""

    def _abandon_reload(self, why: str) -> None:
        self._say(f"reload abandoned, what ran before goes on: {why}")
        self._successor_deaths = 0
        self._news = ""
        for child in self.children:
            child.stale = False
            if child.role == "successor":
                self._tell_to_stop(child, STOP_TIMEOUT_S)

    # -- telling ------------------------------------------------------------------------------------------------------

    def _announce(self) -> None:
        """Say once, when every gate has its snapshot and accepts, what the person has been waiting for."""
        gates = self._gates()
        serving = len(gates) == len(self.listeners) and all(gate.ready for gate in gates)
        if not self._news or not serving or self._replacing():
            return
        scheme = "https" if self.settings.gate.tls_cert else "http"
        self._say(self._news.format(url=f"{scheme}://{address_of(self.listeners[0])}"))
        self._news = ""
        self._console_until = time.monotonic() + CONSOLE_PATIENCE_S

    def _announce_console(self) -> None:
        """Say where the console is once it answers, or after a while that it does not."""
        if not self._console_until:
            return
        if _console_answers(self.settings.console):
            self._say(f"console on {url_of(self.settings)}")
        elif time.monotonic() < self._console_until:
            return
        else:
            self._say(f"no console on {self.settings.console} yet; {self._log('control', 0)} says why")
        self._console_until = 0.0

    def _log(self, kind: Kind, slot: int) -> Path:
        return self.home.logs / f"{name_of(kind, slot)}.log"

    def _say(self, text: str) -> None:
        """For the person at the terminal, and for the log."""
        self._note(text)
        try:
            print(text, flush=True)
        except OSError:
            pass  # the terminal is gone; the log has it

    def _note(self, text: str) -> None:
        log = self.home.logs / "parent.log"
        try:
            rotate(log)
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(f"{iso(SystemClock().now_us())} {text}\n")
        except OSError:
            pass  # a full disk must not stop the gates


def _lock(path: Path) -> int:
    """Take the home for this process and write its pid there. Raises UserError when another one has it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise UserError(
                f"Jackstop already runs from {path.parent.parent} (process {pid})",
                "use `jackstop reload` to renew it, or another JACKSTOP_HOME for a second one",
                3,
            ) from None
        # The one before may have taken its file away between our open and our lock.
        try:
            same = path.stat().st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            same = False
        if same:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
            return fd
        os.close(fd)


def _console_answers(address: str) -> bool:
    host, port = split_address(address)
    connection = http.client.HTTPConnection(host, port, timeout=CONSOLE_LOOK_S)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().read(16) == b"ok\n"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def rehearse(state_version: int) -> NoReturn:
    """Import what the processes run and read the settings: exit status 0 where the new code would take over."""
    import jackstop.cli.main
    import jackstop.control.process
    import jackstop.gate.process  # noqa: F401

    try:
        if state_version != STATE_VERSION:
            raise UserError("this version cannot take over from the one that runs", "stop it, then `jackstop up`")
        check_listen(load(Home.from_environment()).gate)
    except UserError as error:
        print(f"{error.problem}; {error.remedy}", file=sys.stderr)
        raise SystemExit(error.status) from None
    raise SystemExit(0)


def main(
    gate: str | None = None, console: str | None = None, workers: int | None = None, *, behind_tls: bool = False
) -> int:
    """`jackstop up`. What is given here goes over the settings, for the children and after every reload too."""
    over = {
        "JACKSTOP_GATE_LISTEN": gate,
        "JACKSTOP_CONSOLE": console,
        "JACKSTOP_WORKERS": None if workers is None else str(workers),
        "JACKSTOP_GATE_BEHIND_TLS": "true" if behind_tls else None,
    }
    os.environ.update({name: value for name, value in over.items() if value is not None})
    home = Home.from_environment()
    os.environ["JACKSTOP_HOME"] = str(home.root)
    return Parent(home, load(home)).run()
