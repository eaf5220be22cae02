"""One child of the parent: how it is started, and what the parent remembers of it across its own replacement."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

Kind = Literal["control", "gate", "worker"]
Role = Literal["current", "successor", "leaving"]

LOG_BYTES = 10 * 1024 * 1024
LOGS_KEPT = 3
WORKER_NICENESS = 10
WORKER_MEMORY_BYTES = 4 * 1024**3
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def name_of(kind: Kind, slot: int) -> str:
    """As in the log's file name and in what the parent prints."""
    return f"{kind}-{slot}" if kind == "gate" else kind


@dataclass
class Child:
    """A running process. `started` and `deadline` are on the monotonic clock, which survives an exec.

    `role` is `current` for the one that serves, `successor` while it gets ready to, `leaving` once it was
    told to stop; `deadline` is when one that is leaving is killed. `stale` marks one that was started before
    the last reload. `ready_fd` is the pipe on which a gate or control says that it is ready, -1 once it has.
    """

    kind: Kind
    slot: int
    pid: int
    started: float
    role: Role = "current"
    stale: bool = False
    ready: bool = False
    ready_fd: int = -1
    deadline: float = 0.0

    @property
    def name(self) -> str:
        return name_of(self.kind, self.slot)


def rotate(log: Path) -> None:
    """Put a log that has grown beyond LOG_BYTES aside as `.1`, older ones as `.2` and `.3`."""
    if not log.exists() or log.stat().st_size < LOG_BYTES:
        return
    for number in range(LOGS_KEPT, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if newer.exists():
            newer.replace(older)


def last_line(log: Path) -> str:
    """What a process said last, to be shown beside the news of its end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def spawn(
    command: list[str], log: Path, fds: tuple[int, ...], *, worker: bool = False, without: tuple[str, ...] = ()
) -> int:
    """Start a process that inherits `fds` and nothing else, writes to `log`, and ends when the parent does.

    `without` are variables of the environment that it must not have.
    Plain fork and exec: the parent has one thread, follows pids that it has inherited from its predecessor,
    and needs what subprocess does not offer, a signal at the parent's death.
    """
    rotate(log)
    environment = {name: value for name, value in os.environ.items() if name not in without}
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, environment, out, fds, parent, worker=worker)
    os.close(out)
    return pid


def _become(
    command: list[str], environment: dict[str, str], out: int, fds: tuple[int, ...], parent: int, *, worker: bool
) -> NoReturn:
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        # A terminal's Ctrl-C and hang-up reach the whole group; only the parent acts on them, in order.
        for name in (signal.SIGINT, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if worker:
            os.nice(WORKER_NICENESS)
            resource.setrlimit(resource.RLIMIT_DATA, (WORKER_MEMORY_BYTES, WORKER_MEMORY_BYTES))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for fd in fds:
            os.set_inheritable(fd, True)
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except BaseException:
        # Nothing of the parent's may run in this process: neither its handlers nor its clean-up.
        os._exit(127)


def reap(pid: int) -> int | None:
    """The exit status of a child that has ended (minus the signal that ended it), None while it runs."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if done else None
