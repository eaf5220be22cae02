"""The compiled load generator and practice upstream (load.c) as functions: built when its source changed, then run.

`rate`, `streams` and `idle` take anything that has `host`, `port`, `path` and `headers` (one for each key: a header
line, or several joined by CRLF): a peer that runs, or `direct(port)` for the upstream itself. The headers go through a
file that only this user can read, since they are credentials of a sort.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.base import python_environment

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "bench"
SOURCES = sorted(HERE.glob("load*.[ch]"))
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra"]
COMPILERS = ("cc", "gcc", "clang")
ZIG = "ziglang==0.15.1"
CHAT = "/v1/chat/completions"


@dataclass
class Target:
    """Where requests go."""

    port: int
    host: str = "127.0.0.1"
    path: str = CHAT
    headers: list[str] = field(default_factory=lambda: ["authorization: Bearer sk-practice"])


@dataclass
class Upstream(Target):
    """A running `load serve`."""

    pid: int = 0

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    def count(self):
        """What it has served: {"requests", "streams", "streams_done", "open_streams", "chunks", …}."""
        with urllib.request.urlopen(f"{self.url}/count", timeout=30) as answer:
            return json.load(answer)


def compiler():
    """The command of a C compiler: the machine's own, else one out of a wheel, which is fetched once."""
    for name in COMPILERS:
        if path := shutil.which(name):
            return [path]
    return [str(python_environment(CACHE / "zig", ZIG) / "python"), "-m", "ziglang", "cc"]


def binary():
    """The program, built anew if its source is not what it was built from."""
    mark = hashlib.sha256(b"".join(each.read_bytes() for each in SOURCES)).hexdigest()[:16]
    program = CACHE / f"load-{mark}"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fresh = Path(folder) / "load"
            units = [str(each) for each in SOURCES if each.suffix == ".c"]
            subprocess.run([*compiler(), *FLAGS, "-o", str(fresh), *units], check=True)
            fresh.replace(program)
    return program


def words(options):
    """Options as the program takes them; None leaves one out."""
    return [
        word
        for name, value in options.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


@contextmanager
def serve(port=0, core=1, **options):
    """The practice upstream, until the block ends: an Upstream. Port 0 is one that is free.

    Options: chunks (200), chunk_rate (20 a second), delay_ms (0), prompt_tokens and completion_tokens (20).
    """
    command = [str(binary()), "serve", *words({"port": port, "core": core, **options})]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the practice upstream did not start on port {port}")
            yield Upstream(json.loads(line)["port"], pid=process.pid)
        finally:
            process.kill()


def direct(port, **changes):
    """The upstream without anything in front of it."""
    return Target(port, **changes)


def ask(command, target, body, options):
    """One run of a client against `target`; what it found."""
    with tempfile.TemporaryDirectory() as folder:  # mode 0700
        headers, payload = Path(folder) / "headers", Path(folder) / "body"
        headers.write_text("".join(each.replace("\r\n", "\t") + "\n" for each in target.headers))
        payload.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        given = {"to": f"{target.host}:{target.port}", "path": target.path, "headers": headers, "body": payload}
        done = subprocess.run(
            [str(binary()), command, *words({**given, **options})], stdout=subprocess.PIPE, check=True, text=True
        )
    return json.loads(done.stdout)


def rate(target, body, *, rps, connections, seconds, warmup=0, timeout=30, core=1):
    """Requests with `body` (bytes, or an object for JSON): `rps` in an open loop, or with 0 in a closed one.

    {"sent", "ok", "statuses", "errors", "why", "connects", "rps", "latency_us": {"p50", "p90", "p99", "p999", "max"}}
    """
    options = {"rps": rps, "connections": connections, "seconds": seconds, "warmup": warmup, "timeout": timeout}
    return ask("rate", target, body, {**options, "core": core})


def streams(target, body, *, connections, seconds, ramp=0, warmup=0, timeout=30, core=1):
    """Streams held open, each begun anew when it ends; chunks count from the end of ramp and warm-up.

    {"streams" (open at the end), "opened", "finished", "usages" (with a usage chunk), "broken", "gaps", "statuses",
    "chunks", "merged", "late", "late_or_merged", "lag_us": {"p50", "p90", "p99", "p999", "max"}, …}
    """
    options = {"connections": connections, "seconds": seconds, "ramp": ramp, "warmup": warmup, "timeout": timeout}
    return ask("streams", target, body, {**options, "core": core})


def idle(target, body, *, connections, seconds, ramp=0, core=1):
    """Connections that asked once and stay open: {"connections" (open at the end), "statuses", …}."""
    options = {"connections": connections, "seconds": seconds, "ramp": ramp}
    return ask("idle", target, body, {**options, "core": core})
