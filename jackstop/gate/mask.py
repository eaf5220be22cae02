"""Stream: takes the credential out of an answer in which the provider repeats it; no sockets here.

Clients never see a credential, and neither do events: header fields with it are dropped, and in the body of an error
it is overwritten, so that lengths stay what they are.
"""

from __future__ import annotations


class Mask:
    """Overwrites one secret in bytes that come in pieces; what may be the beginning of it is kept back."""

    __slots__ = ("_blank", "_secret", "_tail")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._blank = b"*" * len(secret)
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes that can be passed on by now."""
        data = (self._tail + data).replace(self._secret, self._blank)
        kept = min(len(data), len(self._secret) - 1)
        self._tail = data[len(data) - kept :]
        return data[: len(data) - kept]

    def end(self) -> bytes:
        """What was kept back."""
        tail, self._tail = self._tail, b""
        return tail
