"""Receivers that stand where channels lead: an HTTP server that remembers, an SMTP server."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session


@dataclass
class Got:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)


class HttpReceiver:
    """Keeps every request. `answer` decides what is said to each."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], Answer] = lambda _got: Answer()
        self.url = ""

    def handle(self, got: Got) -> Answer:
        answer = self.answer(got)
        self.got.append(got)
        return answer


@contextmanager
def http_receiver(certificate: tuple[Path, Path] | None = None) -> Iterator[HttpReceiver]:
    receiver = HttpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = receiver.handle(Got(self.command, self.path, dict(self.headers), body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _do  # noqa: N815 -- the names that the server looks for

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver.url = f"{scheme}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class MailReceiver:
    """Keeps every mail; `refuse` is what it answers to the data instead, `goodbye` what to QUIT."""

    def __init__(self) -> None:
        self.got: list[Envelope] = []
        self.refuse = ""
        self.goodbye = "221 bye"
        self.secure: list[bool] = []

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 -- aiosmtpd's
        if self.refuse:
            return self.refuse
        self.secure.append(session.ssl is not None)
        self.got.append(envelope)
        return "250 OK"

    async def handle_QUIT(self, _server: Any, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return self.goodbye


@contextmanager
def mail_receiver(
    certificate: tuple[Path, Path] | None = None, *, implicit: bool = False, login: tuple[str, str] | None = None
) -> Iterator[tuple[MailReceiver, int]]:
    receiver = MailReceiver()
    options: dict[str, Any] = {}
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if not implicit:
            options |= {"tls_context": context, "require_starttls": True}
    if login is not None:

        def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
            given = (data.login.decode(), data.password.decode())
            return AuthResult(success=given == login, handled=False)

        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": True}
    controller = Controller(
        receiver, hostname="127.0.0.1", port=0, ssl_context=context if implicit else None, **options
    )
    # A free port; aiosmtpd knocks at the one it was given to see that it serves.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        controller.port = probe.getsockname()[1]
    controller.start()
    try:
        yield receiver, controller.port
    finally:
        controller.stop()
