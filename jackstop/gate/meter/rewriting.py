"""Sets top-level members of a request's body: the output cap, and the wish for usage in a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from jackstop.gate.meter.base import Ask

_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Rewriting:
    """The body of one request whose members are about to be set. `ask` is what the meter read from this very body."""

    __slots__ = ("_added", "_body", "_document", "_replaced")

    def __init__(self, body: bytes, ask: Ask) -> None:
        self._body = body
        self._document = ask.document
        self._added: dict[str, Any] = {}
        self._replaced: dict[str, Any] = {}

    def set(self, name: str, value: Any) -> None:
        """Put a member in the place of the one of this name, or at the front."""
        (self._replaced if name in self._document else self._added)[name] = value

    def cap(self, names: tuple[str, ...], cap: int) -> None:
        """Lower every cap among `names` that is above `cap`; without any, set the first.

        A cap of zero or less stays: the provider refuses it, or means by it what the client does.
        """
        given = [(name, value) for name in names if (value := self._document.get(name)) is not None]
        for name, value in given:
            if value > cap:
                self.set(name, cap)
        if not given:
            self.set(names[0], cap)

    def done(self) -> bytes:
        """The body: the same object where nothing was set, every other byte as it was where nothing was replaced."""
        body = self._body
        if self._replaced:
            body = msgspec.json.encode({**_RAW_MEMBERS.decode(body), **self._replaced})
        if not self._added:
            return body
        start = body.index(b"{") + 1
        # Without the outer braces: `{"a":1}` becomes `"a":1`.
        added = msgspec.json.encode(self._added)[1:-1]
        return b"%b%b%b%b" % (body[:start], added, b"," if self._document else b"", body[start:])


def with_cap(body: bytes, ask: Ask, names: tuple[str, ...], cap: int | None) -> bytes:
    """The body with an output cap under one of `names`; the same object where `cap` is None."""
    if cap is None:
        return body
    rewriting = Rewriting(body, ask)
    rewriting.cap(names, cap)
    return rewriting.done()
