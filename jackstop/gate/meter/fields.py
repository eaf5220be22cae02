"""Reads the members of a request body, strictly by type, each as its dialect's table of members says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

import msgspec

from jackstop.errors import Refused
from jackstop.gate.meter.base import Ask
from jackstop.gate.refusals import malformed

MOST_USES = 10_000
"""Uses of one tool beyond any request's; their product with a context window stays within 64 bits."""
# Far above any provider's limits; keeps sums and journal columns within 64 bits.
_MAX_COUNT = 10**12
_MAX_MODEL_CHARS = 256
_TOO_DEEP = malformed("the body is nested too deep")
_OBJECTS = frozenset({dict})
_encode = msgspec.json.Encoder().encode

Body = Mapping[str, Any]
_Meter = TypeVar("_Meter")


class Members(dict[str, Callable[[Ask, Body], None] | None]):
    """Every member of a dialect's requests that has been read up on, and what reads it into an Ask.

    None stands for a member that costs nothing beyond the tokens it carries, or that the meter's `ask` itself reads.
    """

    def __init__(self, readers: Mapping[str, Callable[[Ask, Body], None] | None]) -> None:
        super().__init__(readers)
        self._unread = frozenset(name for name, reader in readers.items() if reader is None)

    def read(self, ask: Ask, body: Body) -> None:
        """Read every member of a body. One that nobody has read up on leaves the request unbounded."""
        if body.keys() <= self._unread:
            return
        for name, value in body.items():
            if value is None:
                continue
            try:
                reader = self[name]
            except KeyError:
                ask.unbounded = ask.unbounded or f"the member `{name[:64]}`, which this version does not know"
                continue
            if reader is not None:
                reader(ask, body)


class Malformed(Exception):
    """A known member has a wrong type or value. `answers_refused` makes it what the meter answers."""


def answers_refused(ask: Callable[[_Meter, Body, int], Ask]) -> Callable[[_Meter, Body, int], Ask | Refused]:
    """Wrap a meter's `ask`: what cannot be read is Refused with `malformed`."""

    @wraps(ask)
    def answer(meter: _Meter, body: Body, size: int) -> Ask | Refused:
        try:
            return ask(meter, body, size)
        except Malformed as error:
            return malformed(str(error))
        except RecursionError:
            return _TOO_DEEP

    return answer


def text(body: Body, name: str) -> str:
    """A string member, "" where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"`{name}` has to be a string")
    return value


def model(body: Body) -> str:
    """The model. Raises Malformed where there is none."""
    found = body.get("model")
    if not isinstance(found, str) or not found:
        raise Malformed("`model` is required and has to be a string")
    if len(found) > _MAX_MODEL_CHARS:
        raise Malformed("`model` is longer than any model's name")
    return found


def flag(body: Body, name: str) -> bool:
    """A boolean member, False where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise Malformed(f"`{name}` has to be true or false")
    return value


def whole_number(body: Body, name: str) -> int | None:
    """An integer member of either sign, None where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or abs(value) > _MAX_COUNT:
        raise Malformed(f"`{name}` has to be a whole number")
    return value


def count(body: Body, name: str, most: int) -> int | None:
    """An integer member from 1 to `most`, None where it is absent or null. Raises Malformed otherwise."""
    value = whole_number(body, name)
    if value is not None and not 1 <= value <= most:
        raise Malformed(f"`{name}` has to be from 1 to {most}")
    return value


def items(body: Body, name: str) -> list[Any]:
    """An array member, empty where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"`{name}` has to be an array")
    return value


def objects(body: Body, name: str) -> list[dict[str, Any]]:
    """An array of objects, empty where it is absent or null. Raises Malformed for another type."""
    found = items(body, name)
    if not _OBJECTS.issuperset(map(type, found)):
        raise Malformed(f"every entry of `{name}` has to be an object")
    return found


def messages(body: Body) -> list[dict[str, Any]]:
    """The messages of a chat. Raises Malformed where there is no such member, or another type."""
    found = body.get("messages")
    if isinstance(found, list) and _OBJECTS.issuperset(map(type, found)):
        return found
    if "messages" not in body:
        raise Malformed("`messages` is required")
    return objects(body, "messages")


def mapping(body: Body, name: str) -> dict[str, Any] | None:
    """An object member, None where it is absent or null. Raises Malformed for another type."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Malformed(f"`{name}` has to be an object")
    return value


def stream(ask: Ask, body: Body) -> None:
    """Whether the answer is to come as a stream."""
    ask.stream = flag(body, "stream")


def as_text(value: Any) -> str:
    """A part of the body as compact JSON, for a fingerprint or a count; "" for None."""
    return "" if value is None else _encode(value).decode()
