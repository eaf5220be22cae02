"""Forward: the request as the provider gets it, with the credential, to the credential's own host; no sockets here."""

from __future__ import annotations

from functools import lru_cache

from jackstop import providers
from jackstop.gate.admission import Admitted, Opening
from jackstop.gate.upstream import Origin, origin_of
from jackstop.gate.wire import Head

# One object for each credential: connections are looked up by it.
_origin = lru_cache(maxsize=1024)(origin_of)


def head(opening: Opening, asked: Head, query: bytes) -> tuple[Origin, bytes]:
    """Where the request goes, and its head but for the length, made once for the same head and credential.

    Only allow-listed headers of the client's go along. Raises ValueError when the credential's base URL is none.
    """
    made: tuple[Opening, Origin, bytes] | None = asked.memo.get("forward")
    if made is not None and made[0].route is opening.route and made[0].credential is opening.credential:
        return made[1], made[2]
    route, credential = opening.route, opening.credential
    if b"\r" in credential.secret or b"\n" in credential.secret:
        raise ValueError("the secret has line ends")
    to = _origin(credential.name, credential.base_url)
    target = (to.prefix + route.upstream_path).encode("ascii")
    lines = [
        b"%s %s%s HTTP/1.1" % (asked.method.encode("ascii"), target, b"?" + query if query else b""),
        b"host: " + to.host_header,
        *(name + b": " + value for name, value in providers.request_headers(route, asked.headers, credential.secret)),
    ]
    raw = b"\r\n".join(lines) + b"\r\n"
    asked.memo["forward"] = (opening, to, raw)
    return to, raw


def request(lines: bytes, route: providers.Route, admitted: Admitted, body: bytes) -> tuple[bytes, bytes]:
    """Head and body as they are sent; `lines` is what `head` made. The meter writes into the body what it needs."""
    if not route.has_body:
        return lines + b"\r\n", body
    if route.meter is not None:
        body = route.meter.rewrite(body, admitted.ask, admitted.cap if admitted.write_cap else None)
    return b"%scontent-length: %d\r\n\r\n" % (lines, len(body)), body
