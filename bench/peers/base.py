"""What a peer is once it runs, and the few acts that all of them need: install, start on given cores, wait, stop."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

START_S = 120
"""How long a peer may take until it listens."""


class Unavailable(Exception):
    """A peer that cannot be had on this machine; its text says why."""


@dataclass
class Running:
    """A peer that listens. `serving` says which processes answer requests; without it, all that it started do."""

    host: str
    port: int
    path: str
    headers: list[str]
    model: str
    started: list[subprocess.Popen] = field(default_factory=list)
    serving: Callable[[], list[int]] | None = None
    closing: Callable[[], None] | None = None

    def processes(self):
        """The processes that serve: the ones that are pinned, weighed and timed."""
        return self.serving() if self.serving else self.everything()

    def everything(self):
        """Every process that it started and that is alive."""
        return [pid for process in self.started for pid in family(process.pid)]

    def memory_mib(self, pids=None):
        """Resident memory, in MiB, of the processes that serve, or of `pids`."""
        return sum(_rss_kib(pid) for pid in (self.processes() if pids is None else pids)) / 1024

    def cpu_s(self, pids=None):
        """Processor time used so far, in seconds, user and system, by the processes that serve, or by `pids`."""
        return sum(_cpu_s(pid) for pid in (self.processes() if pids is None else pids))

    def stop(self):
        for process in self.started:
            _stop(process)
        if self.closing:
            self.closing()


def _stop(process):
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# -- processes --------------------------------------------------------------------------------------------------


def spawn(arguments, log, cores, environment=None, cwd=None):
    """Start a process on these cores, which its threads and children inherit; what it prints goes to `log`."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with Path(log).open("ab") as output:
            return subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, own)


def pin(pid, cores):
    """Move a process, with the threads that it has, to these cores."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def family(pid):
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = children.read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in below for each in family(int(child)))]


def _rss_kib(pid):
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _cpu_s(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_listening(port, process, log, seconds=START_S):
    """Wait until the port accepts. Raises Unavailable, with the end of the log, when the process ends before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    _stop(process)
    raise Unavailable(f"did not start: {Path(log).read_text(errors='replace')[-500:].strip()}")


def bare_proxy(port, process, keys, serving=None):
    """A proxy that passes everything on as it is, whatever the key."""
    return Running(
        host="127.0.0.1",
        port=port,
        path="/v1/chat/completions",
        headers=bearer_keys(keys),
        model="gpt-4o-mini",
        started=[process],
        serving=serving,
    )


def bearer_keys(count):
    """Header lines for peers that do not look at keys: as many, and as long, as Jackstop's."""
    return [f"authorization: Bearer jsk_1{number:012d}_{'0' * 33}" for number in range(count)]


# -- installing -------------------------------------------------------------------------------------------------


def python_environment(folder, *requirements):
    """A virtual environment with these packages, made once; its folder of programs."""
    once(folder, requirements, lambda: _make_environment(folder, requirements))
    return folder / "bin"


def _make_environment(folder, requirements):
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "-q", "--disable-pip-version-check", *requirements)


def debian_packages(folder, *packages):
    """These packages of Debian, unpacked without being installed; the root of what was in them."""
    once(folder, packages, lambda: _unpack(folder, packages))
    return folder


def _unpack(folder, packages):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if shutil.which("apt-get") is None:
        raise Unavailable("this machine has no apt-get")
    run("apt-get", "download", "-q", *packages, cwd=folder)
    for archive in folder.glob("*.deb"):
        run("dpkg", "-x", archive, folder)


def once(folder, what, make):
    """Make a folder unless its stamp says that it was made of just this."""
    stamp, wanted = folder / ".made", "\n".join(what)
    if not stamp.exists() or stamp.read_text() != wanted:
        folder.parent.mkdir(parents=True, exist_ok=True)
        make()
        stamp.write_text(wanted)


def run(*arguments, cwd=None, environment=None, seconds=None):
    """Run a command of an installation. Raises Unavailable, with the end of what it said, when it fails."""
    done = subprocess.run(
        [str(each) for each in arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{Path(arguments[0]).name} failed: {done.stderr.strip()[-300:]}")
