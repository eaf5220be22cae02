"""A mail server for the demo: takes what it is sent on loopback, keeps it to be read, and passes nothing on."""

from __future__ import annotations

import socketserver
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from queue import Empty, Queue
from typing import NamedTuple

from jackstop.clock import SystemClock
from jackstop.errors import UserError


class Mail(NamedTuple):
    """A mail and when it came."""

    came_us: int
    content: EmailMessage


class Mailbox:
    """Serves SMTP (RFC 5321) on a free port until it is closed."""

    def __init__(self) -> None:
        mails: Queue[Mail] = Queue()

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _serve(self, mails)

        self._mails = mails
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, words: str, patience_s: float) -> Mail:
        """The next mail with these words in its subject. Raises UserError when none comes."""
        while True:
            try:
                mail = self._mails.get(timeout=patience_s)
            except Empty:
                raise UserError(f"no mail about {words!r} came", "see `jackstop notify outbox`") from None
            if words in mail.content["Subject"]:
                return mail

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()


def _serve(session: socketserver.StreamRequestHandler, mails: Queue[Mail]) -> None:
    def say(line: bytes) -> None:
        session.wfile.write(line + b"\r\n")

    say(b"220 practice")
    while line := session.rfile.readline():
        verb = line.strip().upper()
        if verb == b"QUIT":
            say(b"221 bye")
            return
        if verb == b"DATA":
            say(b"354 go on")
            mails.put(Mail(SystemClock().now_us(), _read(session)))
        say(b"250 done")


def _read(session: socketserver.StreamRequestHandler) -> EmailMessage:
    lines = []
    while (line := session.rfile.readline()) not in {b"", b".\r\n"}:
        # A line that begins with a dot has one more on the way (section 4.5.2).
        lines.append(line.removeprefix(b"."))
    return message_from_bytes(b"".join(lines), policy=default)
