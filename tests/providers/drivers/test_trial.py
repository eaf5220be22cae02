"""What each provider's answers say about a secret, from a server that answers as it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from jackstop.providers.drivers import driver
from jackstop.secret import Secret

# The bodies are those that the reports named in `trial` quote.
XAI = (
    b'{"code":"Client specified an invalid argument",'
    b'"error":"Incorrect API key provided: na***ys. You can obtain an API key from https://console.x.ai."}'
)
XAI_ESCAPED = b'{"code":"Client specified an invalid argument","error":"Incorrect%20API%20key%20provided:%20ba***na."}'
XAI_OTHER = b'{"code":"Client specified an invalid argument","error":"Model not found"}'
AWS_UNKNOWN = (
    b'{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid"}'
)
AWS_KEY = b'{"Message":"Authentication failed: Please make sure your API Key is valid."}'
AWS_DENIED = b'{"Message":"User: arn:aws:iam::1:user/x is not authorized to perform: bedrock-mantle:ListModels"}'
GOOGLE = b'[{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}]'
GOOGLE_OTHER = b'[{"error":{"code":400,"status":"INVALID_ARGUMENT"}}]'


class Answer:
    """What the server says next."""

    status = 200
    body = b"{}"
    url = ""


@pytest.fixture
def answer() -> Iterator[Any]:
    said = Answer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(said.status)
            self.send_header("content-length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_port}"
    yield said
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "status", "body", "verdict"),
    [
        ("openai", 401, b"", "refused"),
        ("openai", 403, b"", "unsure"),
        ("openai", 400, XAI, "unsure"),
        ("openai", 500, b"", "unsure"),
        ("openai", 200, b"{}", "works"),
        ("xai", 400, XAI, "refused"),
        ("xai", 400, XAI_ESCAPED, "refused"),
        ("xai", 400, XAI_OTHER, "unsure"),
        ("xai", 401, b"", "refused"),
        ("xai", 403, b"", "unsure"),
        ("bedrock", 403, AWS_UNKNOWN, "refused"),
        ("bedrock", 403, AWS_KEY, "refused"),
        ("bedrock", 403, AWS_DENIED, "unsure"),
        ("bedrock", 401, b"", "refused"),
        ("google", 400, GOOGLE, "refused"),
        ("google", 400, GOOGLE_OTHER, "unsure"),
        ("google", 403, b"", "refused"),
    ],
)
def test_a_dead_key_is_told_from_a_restricted_one(answer, name, status, body, verdict):
    answer.status, answer.body = status, body
    assert driver(name).verify("openai", answer.url, {}, Secret("sk-dead")) == verdict
