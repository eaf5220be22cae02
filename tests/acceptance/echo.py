"""A provider of the worst kind: it repeats what it was sent, credentials included, and breaks in every way."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        secret = (self.headers.get("authorization") or self.headers.get("x-api-key") or "").removeprefix("Bearer ")
        self.server.secrets.add(secret)
        getattr(self, "_" + json.loads(body)["model"].rpartition("-")[2])(secret, body.decode())

    def _send(self, status, body, kind="application/json", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def _denied(self, secret, body):
        message = f"Incorrect API key provided: {secret}. You asked {body}"
        error = {"message": message, "type": "invalid_request_error", "code": "invalid_api_key", "param": secret}
        self._send(401, {"error": error}, x_request_id=f"req-{secret}", www_authenticate=f'Bearer realm="{secret}"')

    def _pieces(self, secret, body):
        """The same, in slivers that cut the credential in two."""
        raw = json.dumps({"error": {"message": f"No: {secret}", "code": secret, "type": body[:40]}}).encode()
        self.send_response(403)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at in range(0, len(raw), 7):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(raw[at : at + 7]), raw[at : at + 7]))
            self.wfile.flush()
            self.server.step.wait(0.005)
        self.wfile.write(b"0\r\n\r\n")

    def _page(self, secret, body):
        self._send(500, f"<html><pre>Traceback: {secret} {body}</pre></html>".encode(), "text/html")

    def _says(self, secret, body):
        said = {"role": "assistant", "content": self.server.completion}
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        self._send(
            200, {"id": "x", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}
        )

    def _garbage(self, secret, body):
        self._send(200, f"{self.server.completion} \x00\xff {body}".encode("latin-1", "replace"))

    def _cut(self, secret, body):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        delta = {"choices": [{"index": 0, "delta": {"content": self.server.completion}}]}
        self.wfile.write(b"data: " + json.dumps(delta).encode() + b'\n\ndata: {"choi')
        self.wfile.flush()
        self.close_connection = True

    def _half(self, secret, body):
        self.wfile.write(f"HTTP/1.1 200 OK\r\nx-echo: {secret}\r\nx-body: {body[:50]}".encode())
        self.close_connection = True

    def _nonsense(self, secret, body):
        self.wfile.write(f"{secret} {body}\r\n\r\n".encode())
        self.close_connection = True

    def _silent(self, secret, body):
        self.server.step.wait(20)
        self.close_connection = True


class Echo:
    """One of them on loopback; the last word of a request's model says what it does."""

    WAYS = ("denied", "pieces", "page", "says", "garbage", "cut", "half", "nonsense", "silent")

    def __init__(self, completion):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.completion = completion
        self._server.secrets = set()
        self._server.step = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def secrets(self):
        """The credentials that it was shown."""
        return self._server.secrets

    def stop(self):
        self._server.step.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
