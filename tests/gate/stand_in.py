"""A program with the command line of jackstop and nothing behind it, to be started by a Parent under test."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from jackstop.errors import UserError
from jackstop.gate.parent import Parent
from jackstop.settings import Home, load

PROGRAM = [sys.executable, "-P", __file__]


def up(home: Home) -> int:
    try:
        return Parent(home, load(home), PROGRAM).run()
    except UserError as error:
        print(f"{error.problem}; {error.remedy}", file=sys.stderr)
        return error.status


def gate(fd: int, ready_fd: int, stop: threading.Event) -> None:
    """Answer each line with the pid; on SIGTERM accept nothing more and finish what is open."""
    listener = socket.socket(fileno=fd)
    listener.settimeout(0.05)
    os.write(ready_fd, b"ready")
    os.close(ready_fd)
    while not stop.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        with client:
            client.settimeout(None)
            while client.recv(100):
                client.sendall(b"%d\n" % os.getpid())
    listener.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--slot")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--ready-fd", type=int)
    args = parser.parse_args()
    home = Home.from_environment()
    if args.kind == "up":
        return up(home)
    if (home.root / f"break-{args.kind}").exists():
        print(f"{args.kind} is broken", file=sys.stderr)
        return 3
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print(f"{os.getpid()} runs", flush=True)
    if args.kind == "gate":
        gate(args.fd, args.ready_fd, stop)
    else:
        if args.ready_fd is not None:
            os.write(args.ready_fd, b"ready")
        stop.wait()
    with Path(home.root / "ended").open("a") as file:
        file.write(f"{args.kind}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
