"""Bytes on sockets, as no honest client sends them; a neighbour whose requests must go on; memory of processes."""

import http.client
import json
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TIMEOUT_S = 30


class Answer(NamedTuple):
    """One response of the gate's."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self):
        return self.headers.get("x-jackstop-reason")


def connect(port, source=None, timeout=TIMEOUT_S):
    return socket.create_connection(
        ("127.0.0.1", port), timeout=timeout, source_address=(source, 0) if source else None
    )


def to_the_end(sock):
    """All that comes until the other side closes or resets."""
    parts = []
    with suppress(ConnectionResetError, BrokenPipeError):
        while part := sock.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def talk(port, *pieces, source=None, wrap=None):
    """Send pieces and read to the connection's end; what came."""
    with connect(port, source) as plain, wrap(plain) if wrap else plain as sock:
        with suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                sock.sendall(piece)
        return to_the_end(sock)


def answers(data):
    """The responses that these bytes are, each with a Content-Length."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        size = 0 if status == 100 else int(headers["content-length"])
        found.append(Answer(status, headers, data[:size]))
        data = data[size:]
    return found


def one(data):
    """The only response in these bytes."""
    (found,) = answers(data)
    return found


def post(key, body=b"", *lines, path="/openai/v1/chat/completions", method="POST", length=True, host="gate"):
    """A request as bytes, its key in the usual place."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", *([f"Authorization: Bearer {key}"] if key else [])]
    head += ["Content-Type: application/json", *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


class Neighbour(threading.Thread):
    """Another client with another credential, asking one request after the other on connections that it keeps."""

    def __init__(self, port, key):
        super().__init__(daemon=True)
        self._port = port
        self._key = key
        self._ended = threading.Event()
        self.requests = 0
        self.failures = []
        self.slowest_s = 0.0

    def run(self):
        body = json.dumps(
            {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Good morning"}]}
        )
        headers = {"x-api-key": self._key, "content-type": "application/json", "anthropic-version": "2023-06-01"}
        link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        while not self._ended.wait(0.02):
            try:
                link.request("POST", "/anthropic/v1/messages", body, headers)
                answer = link.getresponse()
                said = answer.read()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {said[:200]}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                link.close()
            self.requests += 1
        link.close()

    def stop(self):
        self._ended.set()
        self.join(TIMEOUT_S)


def rss_mb(pid):
    """A process's memory in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))) / 1024
