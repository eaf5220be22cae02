"""What is said over control's socket: length-framed MessagePack, one tagged value per message."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from jackstop.keys.policy import Row

VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024
_LENGTH = struct.Struct("!I")


class Hello(msgspec.Struct, tag=True):
    """A gate presents itself. `since` is the number of the last change that it has applied, 0 for none.

    `end` is the segment and offset that its journal has reached: what was granted but is not written there by
    then never arrived, and what is written there as returned is returned. `shares` are its shares of rates and
    concurrency, by limit.
    """

    version: int
    instance: str
    pid: int
    since: int = 0
    slot: int = 0
    end: tuple[int, int] = (0, 0)
    shares: list[tuple[int, int]] = []


class Welcome(msgspec.Struct, tag=True):
    """Control's answer: its own version, the key pepper, the fingerprint key, and how often to expect a heartbeat."""

    version: int
    pepper: bytes
    fingerprint_key: bytes
    heartbeat_ms: int
    processes: int

    def __repr__(self) -> str:
        return f"Welcome(version={self.version})"


class Changes(msgspec.Struct, tag=True):
    """Rows as they are now. `seq` numbers the last of them; `more` says that the snapshot goes on."""

    seq: int
    rows: list[Row]
    more: bool = False


class Heartbeat(msgspec.Struct, tag=True):
    """Control is alive, and all changes up to `seq` have been sent."""

    seq: int
    now_us: int


class Need(msgspec.Struct, tag=True):
    """A gate asks for more of one limit in one window.

    `amount` is what its waiting holds lack (0 when it asks ahead), `least` what the smallest of them lacks, `want`
    what it would like to have. `window_us` is the window's start, 0 for rates and concurrency.
    """

    limit_id: int
    window_us: int
    amount: int
    want: int
    least: int = 0


class Granted(msgspec.Struct, tag=True):
    """Control adds `amount`, which may be less than was asked for, to a lease.

    `exhausted` says that this and `left`, which is too little for the least that was asked for, is all there is;
    `unknown` that a holder did not answer a recall, or that openings are frozen, so that more may come. `over`
    marks an observed limit that is used up. `level` is the filling of a rate's bucket that comes with its share,
    in Rate's units, or in nano-dollars. `held` is what running requests hold in processes that were asked to give back.
    """

    limit_id: int
    window_us: int
    lease_id: int
    amount: int
    exhausted: bool = False
    unknown: bool = False
    over: bool = False
    level: int = 0
    left: int = 0
    held: int = 0


class Recall(msgspec.Struct, tag=True):
    """Control asks back what is free of a limit in one window: `amount` of it, or more."""

    limit_id: int
    window_us: int
    amount: int
    recall_id: int


class Returned(msgspec.Struct, tag=True):
    """A gate gives back `amount`, after writing so into its journal. `recall_id` 0: unasked.

    `level` is of a rate's bucket, as in Granted; `held` is what running requests hold here, of money alone.
    """

    limit_id: int
    window_us: int
    lease_id: int
    amount: int
    recall_id: int = 0
    level: int = 0
    held: int = 0


class Command(msgspec.Struct, tag=True):
    """A command of the command line, by name, with its arguments."""

    name: str
    args: dict[str, Any]


class Reply(msgspec.Struct, tag=True):
    """What a command returned, or the problem and remedy of its UserError."""

    result: Any = None
    problem: str = ""
    remedy: str = ""
    status: int = 0


Message = Hello | Welcome | Changes | Heartbeat | Need | Granted | Recall | Returned | Command | Reply

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Message) -> bytes:
    """One message ready to be written to the socket."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a byte stream into messages. Raises ValueError when the peer does not speak this protocol."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError("a frame beyond the size limit")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            try:
                messages.append(_decoder.decode(memoryview(self._buffer)[start + _LENGTH.size : end]))
            except msgspec.MsgspecError:
                raise ValueError("a frame that is no message of this protocol") from None
            start = end
        del self._buffer[:start]
        return messages
