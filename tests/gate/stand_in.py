"""A program with the command line of jackstop and nothing behind it, to be started by a Parent under test."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jackstop.errors import UserError
from jackstop.gate import parent
from jackstop.gate.listening import split_address
from jackstop.gate.parent import Parent
from jackstop.settings import Home, load

PROGRAM = [sys.executable, "-P", __file__]


def up(home: Home) -> int:
    if (home.root / "no-console").exists():
        parent.CONSOLE_PATIENCE_S = 0.0
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


class Console(BaseHTTPRequestHandler):
    """Says what the console says to whoever asks whether it is there."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *args: object) -> None:
        pass


def console(home: Home) -> None:
    """Answer as the console, unless another one does at this address, or a test wants none."""
    if (home.root / "no-console").exists():
        return
    with suppress(OSError):
        server = ThreadingHTTPServer(split_address(load(home).console), Console)
        threading.Thread(target=server.serve_forever, daemon=True).start()


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
        if args.kind == "control":
            console(home)
        if args.ready_fd is not None:
            os.write(args.ready_fd, b"ready")
        stop.wait()
    with Path(home.root / "ended").open("a") as file:
        file.write(f"{args.kind}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
