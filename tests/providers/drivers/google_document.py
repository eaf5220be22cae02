"""Google's own discovery document as a judge: a proxy that passes on what it allows, in both directions."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_TYPES = {"string": str, "boolean": bool, "object": dict, "array": list, "number": (int, float), "integer": int}


class Document:
    """What a discovery document says of calls and shapes."""

    def __init__(self, file: Path) -> None:
        self._said = json.loads(file.read_text())
        self._methods = list(self._below(self._said))

    def method(self, verb: str, path: str) -> dict[str, Any] | None:
        for method in self._methods:
            pattern = re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(method.get("flatPath", method["path"])))
            if method["httpMethod"] == verb and re.fullmatch(pattern, path.removeprefix("/")):
                return method
        return None

    def violations(self, method: dict[str, Any], query: dict[str, list[str]], body: Any) -> list[str]:
        """What is wrong with a request."""
        known = {**self._said["parameters"], **method.get("parameters", {})}
        found = [f"query: no {name}" for name in query if known.get(name, {}).get("location") != "query"]
        for name, values in query.items():
            choice = known.get(name, {}).get("enum")
            found += [f"query: {name} is no {value}" for value in values if choice and value not in choice]
        if "request" in method:
            return found + self.wrong(method["request"], {} if body is None else body, "request")
        return found + (["request: no body"] if body is not None else [])

    def wrong(self, shape: dict[str, Any], value: Any, where: str) -> list[str]:
        """What about a value is not as the shape says."""
        if "$ref" in shape:
            shape = self._said["schemas"][shape["$ref"]]
        kind = shape.get("type")
        if kind in _TYPES and not isinstance(value, _TYPES[kind]):
            return [f"{where}: no {kind}"]
        if "enum" in shape and value not in shape["enum"]:
            return [f"{where}: none of its values"]
        if kind == "array":
            return [each for item in value for each in self.wrong(shape["items"], item, f"{where}[]")]
        if kind != "object":
            return []
        named, others = shape.get("properties", {}), shape.get("additionalProperties")
        found = []
        for name, part in value.items():
            inner = named.get(name, others)
            found += [f"{where}: no {name}"] if inner is None else self.wrong(inner, part, f"{where}.{name}")
        return found

    def _below(self, resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from resource.get("methods", {}).values()
        for inner in resource.get("resources", {}).values():
            yield from self._below(inner)


@contextmanager
def judge(file: Path, upstream: str) -> Iterator[tuple[str, list[str]]]:
    """The address of the proxy, and the list that violations are added to. A wrong request is answered with 422."""
    document, found, behind = Document(file), [], urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            parts, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length", 0)))
            method = document.method(self.command, parts.path)
            asked = json.loads(body) if body else None
            wrong = ["no such method"] if method is None else document.violations(method, parse_qs(parts.query), asked)
            if wrong:
                found.extend(wrong)
                self.answer(422, b"{}")
                return
            connection = HTTPConnection(behind.hostname or "", behind.port, timeout=30)
            connection.request(self.command, behind.path + self.path, body or None, dict(self.headers))
            answered = connection.getresponse()
            said = answered.read()
            connection.close()
            if answered.status < 300 and method is not None and "response" in method:
                found.extend(document.wrong(method["response"], json.loads(said), "response"))
            self.answer(answered.status, said)

        def do_GET(self) -> None:
            self.pass_on()

        def do_POST(self) -> None:
            self.pass_on()

        def do_DELETE(self) -> None:
            self.pass_on()

        def answer(self, status: int, said: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", found
        finally:
            server.shutdown()
            thread.join()
