"""One HTTP request to an address that an administrator wrote: verified, never redirected, soon over."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from jackstop.errors import UserError
from jackstop.gate.listening import is_loopback
from jackstop.notify.channel import Undelivered
from jackstop.notify.deadline import CONNECT_S, DELIVER_S, cut_off

_ANSWER_BYTES = 2_048
_LONGEST_URL = 2_048
_LONGEST_WAIT_S = 3_600
_REJECTED = frozenset({400, 413, 415, 422})
_SHORT_WORD = re.compile(r"[a-z][a-z_]{1,40}")


def checked_url(text: str, what: str) -> str:
    """An https URL, or an http one to this machine. Raises UserError, which does not repeat it: it may be secret."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        _ = parts.port
    except ValueError:
        raise UserError(f"{what} is not a URL", "write it as https://host.example/path", 2) from None
    if parts.scheme not in ("https", "http") or not parts.hostname or len(url) > _LONGEST_URL:
        raise UserError(f"{what} is not an http(s) URL", "write it as https://host.example/path", 2)
    if not url.isascii() or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        raise UserError(f"{what} holds characters that no URL may hold", "percent-encode them", 2)
    if "@" in parts.netloc or parts.fragment:
        raise UserError(f"{what} has a user, a password or a fragment", "give what is secret on standard input", 2)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UserError(f"{what} is plain http", "use https; plain http is for this machine only", 2)
    return url


def open_url(text: str, what: str) -> str:
    """The same for a URL that is kept in the open, where no query may stand: that is where tokens hide."""
    url = checked_url(text, what)
    if urlsplit(url).query:
        raise UserError(f"{what} has a query, which would be kept in the open", "leave it out", 2)
    return url


def deliver(method: str, url: str, body: bytes, headers: dict[str, str], ca: str = "") -> None:
    """Send, and be content with any answer of 200 to 299. Raises Undelivered; no part of the URL is in its text."""
    parts = urlsplit(url)
    try:
        connection = _connection(parts, ca)
    except OSError as error:
        raise Undelivered(f"the certificates in `ca` cannot be read: {error.strerror}") from None
    try:
        connection.connect()
        if parts.scheme == "http":
            require_loopback(connection.sock, "plain http")
        connection.sock.settimeout(DELIVER_S)
        with cut_off(connection.sock, DELIVER_S):
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body or None, {"User-Agent": "jackstop", **headers})
            answer = connection.getresponse()
            said = answer.read(_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Undelivered(f"no answer: {_why(error)}") from None
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        wait_s = answer.headers.get("Retry-After", "")
        raise Undelivered(
            f"HTTP {answer.status}{_word(said)}",
            rejected=answer.status in _REJECTED,
            after_s=min(int(wait_s), _LONGEST_WAIT_S) if wait_s.isascii() and wait_s.isdigit() else 0,
        )


def _connection(parts: SplitResult, ca: str) -> http.client.HTTPConnection:
    assert parts.hostname
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_S)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=CONNECT_S, context=tls_context(ca))


def tls_context(ca: str = "") -> ssl.SSLContext:
    """Verifies against the system's authorities, or those in the file `ca`. Raises OSError when that is not there."""
    return ssl.create_default_context(cafile=ca or None)


def require_loopback(connection: socket.socket, what: str) -> None:
    """`localhost` is a name, and names can be made to lead elsewhere. Raises Undelivered."""
    if not is_loopback(connection.getpeername()[0]):
        raise Undelivered(f"the address is not on this machine, and {what} goes nowhere else")


def _why(error: Exception) -> str:
    """What went wrong, from the kind of the failure: its text may quote what was sent or answered."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it takes too long"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _word(said: bytes) -> str:
    """A bare error word such as Slack's `no_service`. Longer answers may repeat the address or what was sent."""
    text = said.decode("ascii", "replace").strip()
    return f" {text}" if _SHORT_WORD.fullmatch(text) else ""
