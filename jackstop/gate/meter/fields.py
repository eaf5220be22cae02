"""Reads the known members of a request body, strictly by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jackstop.errors import Refused

_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
# Far above any provider's limits; keeps sums and journal columns within 64 bits.
_MAX_COUNT = 10**12
_MAX_MODEL_CHARS = 256


class Malformed(Exception):
    """A known member has a wrong type or value. Turned into `Refused` where the meter answers."""

    def refused(self) -> Refused:
        return Refused("malformed", str(self), status=400)


TOO_DEEP = Refused("malformed", "the body is nested too deep", status=400)


def text(body: Mapping[str, Any], name: str) -> str:
    """A string member, "" where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"`{name}` has to be a string")
    return value


def model(body: Mapping[str, Any]) -> str:
    """The model. Raises Malformed where there is none."""
    found = text(body, "model")
    if not found:
        raise Malformed("`model` is required and has to be a string")
    if len(found) > _MAX_MODEL_CHARS:
        raise Malformed("`model` is longer than any model's name")
    return found


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A boolean member, False where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise Malformed(f"`{name}` has to be true or false")
    return value


def whole_number(body: Mapping[str, Any], name: str) -> int | None:
    """An integer member of either sign, None where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not -_MAX_COUNT <= value <= _MAX_COUNT:
        raise Malformed(f"`{name}` has to be a whole number")
    return value


def count(body: Mapping[str, Any], name: str, most: int) -> int | None:
    """An integer member from 1 to `most`, None where it is absent or null. Raises Malformed otherwise."""
    value = whole_number(body, name)
    if value is not None and not 1 <= value <= most:
        raise Malformed(f"`{name}` has to be from 1 to {most}")
    return value


def items(body: Mapping[str, Any], name: str) -> list[Any]:
    """An array member, empty where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"`{name}` has to be an array")
    return value


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object member, None where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Malformed(f"`{name}` has to be an object")
    return value


def unknown(body: Mapping[str, Any], known: frozenset[str]) -> str:
    """What a request that sets members nobody here has read leaves without bound, "" where it sets none."""
    for name, value in body.items():
        if name not in known and value is not None:
            return f"the member `{name[:64]}`, which this version does not know"
    return ""


def as_text(value: Any) -> str:
    """A part of the body as compact JSON, for a fingerprint or a count; "" for None."""
    return "" if value is None else msgspec.json.encode(value).decode()


class Rewriting:
    """A body whose top-level members are about to be set. Raises msgspec.DecodeError for what is no JSON object."""

    __slots__ = ("_body", "_fresh", "_members", "_raw")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._raw = _RAW_MEMBERS.decode(body)
        self._fresh: dict[str, Any] = {}
        self._members: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """A member's value, None where it is absent or null."""
        raw = self._raw.get(name)
        return None if raw is None else msgspec.json.decode(raw)

    def set(self, name: str, value: Any) -> None:
        """Put a member in the place of the one of this name, or at the front."""
        (self._members if name in self._raw else self._fresh)[name] = value

    def cap(self, names: tuple[str, ...], cap: int) -> None:
        """Lower every cap among `names` that is above `cap`; without any, set the first.

        A cap of zero or less stays: the provider refuses it, or means by it what the client does.
        """
        used = [(name, value) for name in names if (value := self.get(name)) is not None]
        for name, value in used:
            if value > cap:
                self.set(name, cap)
        if not used:
            self.set(names[0], cap)

    def done(self) -> bytes:
        """The body: the same object where nothing was set, every other byte as it was where nothing was replaced."""
        body = self._body
        if self._members:
            body = msgspec.json.encode({**self._raw, **self._members})
        if not self._fresh:
            return body
        start = body.index(b"{") + 1
        inserted = b",".join(
            b"%b:%b" % (msgspec.json.encode(name), msgspec.json.encode(value)) for name, value in self._fresh.items()
        )
        return b"%b%b%b%b" % (body[:start], inserted, b"," if self._raw else b"", body[start:])
