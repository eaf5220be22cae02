"""Stream: the provider's answer as the client gets it, and what the meter reads from it; no sockets here.

What the client gets last is held back until the request is settled: the last piece of a body with a length, the
event that completes a stream, the last chunk of any other.
"""

from __future__ import annotations

from typing import Literal

from jackstop import providers
from jackstop.gate import messages
from jackstop.gate.context import note
from jackstop.gate.mask import Mask
from jackstop.gate.meter.base import Ask, Meter, Outcome, StreamMeter
from jackstop.gate.reply import BODYLESS, ReplyHead
from jackstop.gate.status import status_line

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""The longest response whose usage is read; a longer one leaves its hold charged."""
MAX_ERROR_BYTES = 64 * 1024
"""How much of an error is kept, to be read for its code."""
_LAST_CHUNK = b"0\r\n\r\n"


class Answer:
    """One answer. `content` takes the provider's bytes and gives the client's; `end` gives the last of them.

    `headers` are the provider's as the client sees them. `kept_bytes` is how much of the body stays in memory, to be
    read in the end.
    """

    __slots__ = (
        "_chunked",
        "_has_length",
        "_head",
        "_held_back",
        "_kept",
        "_mask",
        "_meter",
        "_stream",
        "error_code",
        "error_message",
        "headers",
        "keep",
        "kept_bytes",
        "sent",
        "status",
    )

    def __init__(
        self,
        head: ReplyHead,
        meter: Meter | None,
        ask: Ask,
        *,
        version: Literal["1.0", "1.1"],
        keep: bool,
        secret: bytes = b"",
    ) -> None:
        status = self.status = head.status
        self.sent = 0
        self.error_code = ""
        self.error_message = ""
        self._held_back = b""
        good = 200 <= status < 300
        self._meter = meter if good else None
        self._mask = Mask(secret) if secret and not good else None
        self.headers = headers = providers.response_headers(head.headers, head.hop, secret)
        self._stream: StreamMeter | None = None
        if good and meter is not None and _is_event_stream(headers):
            self._stream = meter.stream(ask)
        self._kept: list[bytes] | None = [] if self._stream is None and (meter is not None or not good) else None
        self.kept_bytes = 0
        bodyless = status in BODYLESS
        length = None if self._stream is not None or bodyless else head.length
        self._chunked = length is None and version == "1.1" and not bodyless
        self._has_length = length is not None
        self.keep = keep and (self._has_length or self._chunked or bodyless)
        self._head = self._write_head(status, length)

    def _write_head(self, status: int, length: int | None) -> bytes:
        lines = [status_line(status)]
        lines += [b"%s: %s" % field for field in self.headers]
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        elif length is not None:
            lines.append(b"content-length: %d" % length)
        if not self.keep:
            lines.append(b"connection: close")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    @property
    def streams(self) -> bool:
        """Whether it is a stream that a meter reads."""
        return self._stream is not None

    @property
    def said_all(self) -> bool:
        """Whether a stream has come to its own end, so that nothing that costs can follow."""
        return self._stream is not None and self._stream.outcome.complete

    @property
    def begun(self) -> bool:
        """Whether the client got any byte of it."""
        return not self._head

    @property
    def framed(self) -> bool:
        """Whether a client that gets only a part can tell so by the connection's end."""
        return self._chunked or self._has_length

    def begin(self) -> bytes:
        """What the client gets before any content: the head of a stream, so that it sees that this has begun."""
        return self._frame(b"")

    def content(self, data: bytes) -> bytes:
        """The provider's bytes; returns what the client gets now."""
        if self._stream is not None:
            return self._frame(self._shown(self._stream, data))
        if self._mask is not None:
            data = self._mask.feed(data)
            if not data:
                return b""
        self._keep(data)
        now, self._held_back = self._held_back, data
        return self._frame(now) if now else b""

    def end(self) -> bytes:
        """The provider's answer is complete; returns the last bytes for the client."""
        left = self._stream.end() if self._stream is not None else self._held_back
        self._held_back = b""
        if self._mask is not None:
            tail = self._mask.end()
            self._keep(tail)
            left += tail
        return self._frame(left) + (_LAST_CHUNK if self._chunked else b"")

    def at_once(self, data: bytes) -> bytes:
        """As `content` and `end`, for an answer that came in one piece."""
        if self._stream is not None or self._mask is not None:
            return self.content(data) + self.end()
        self._keep(data)
        return self._frame(data) + (_LAST_CHUNK if self._chunked else b"")

    def outcome(self) -> Outcome:
        """What the answer says of its use, as far as it has come."""
        if self._stream is not None:
            return self._stream.outcome
        body = b"".join(self._kept) if self._kept is not None else b""
        self._kept = None
        if not 200 <= self.status < 300:
            self.error_code, self.error_message = messages.read_error(body)
            return Outcome()
        try:
            return self._meter.whole(body) if self._meter is not None and body else Outcome()
        except Exception as error:
            note("a response could not be read", error)
            return Outcome()

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        if self.kept_bytes + len(data) <= (MAX_KEPT_BYTES if 200 <= self.status < 300 else MAX_ERROR_BYTES):
            self._kept.append(data)
            self.kept_bytes += len(data)
        else:
            self._kept = None

    def _shown(self, stream: StreamMeter, data: bytes) -> bytes:
        try:
            return stream.feed(data)
        except Exception as error:
            # The client gets its bytes; without a usage report the hold stays charged.
            note("a stream could not be read", error)
            self._stream = None
            return data

    def _frame(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        self.sent += len(data)
        if data and self._chunked:
            return b"%s%x\r\n%s\r\n" % (head, len(data), data)
        return head + data


def _is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a response is server-sent events."""
    for name, value in headers:
        if name == b"content-type":
            return value.lower().startswith(b"text/event-stream")
    return False
