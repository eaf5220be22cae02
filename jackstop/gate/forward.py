"""Forward: the request as the provider gets it, with the credential, to the credential's own host; no sockets here."""

from __future__ import annotations

from functools import lru_cache

from jackstop import providers
from jackstop.gate.admission import Admitted, Opening
from jackstop.gate.upstream import Origin, origin_of
from jackstop.gate.wire import Head
from jackstop.keys.policy import CredentialRow


def origin(credential: CredentialRow) -> Origin:
    """Where this credential may go, and nowhere else. Raises ValueError when its base URL is none."""
    if b"\r" in credential.secret or b"\n" in credential.secret:
        raise ValueError("the secret has line ends")
    return _origin(credential.name, credential.base_url)


_origin = lru_cache(maxsize=1024)(origin_of)


def request(
    opening: Opening, admitted: Admitted, head: Head, query: bytes, body: bytes, to: Origin
) -> tuple[bytes, bytes]:
    """Head and body to send. Only allow-listed headers of the client's go along."""
    route, credential = opening.route, opening.credential
    if route.meter is not None and route.has_body:
        body = route.meter.rewrite(body, admitted.ask, admitted.cap if admitted.write_cap else None)
    lines = _lines(route, credential, head, query, to)
    if route.has_body:
        lines += b"content-length: %d\r\n" % len(body)
    return lines + b"\r\n", body


def _lines(route: providers.Route, credential: CredentialRow, head: Head, query: bytes, to: Origin) -> bytes:
    """Everything of the head but the length; the same for requests with the same head to the same credential."""
    made: tuple[providers.Route, CredentialRow, bytes] | None = head.memo.get("forward")
    if made is not None and made[0] is route and made[1] is credential:
        return made[2]
    target = (to.prefix + route.upstream_path).encode("ascii")
    lines = [
        b"%s %s%s HTTP/1.1" % (head.method.encode("ascii"), target, b"?" + query if query else b""),
        b"host: " + to.host_header,
        *(name + b": " + value for name, value in providers.request_headers(route, head.headers, credential.secret)),
    ]
    raw = b"\r\n".join(lines) + b"\r\n"
    head.memo["forward"] = (route, credential, raw)
    return raw
