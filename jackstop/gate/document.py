"""Admit: a request's JSON body, refused wherever two parsers may read it differently; no sockets here.

Refused are duplicate names at any depth (also when one is written with escapes), NaN and Infinity, numbers beyond a
double, invalid UTF-8, lone surrogates, more than MAX_DEPTH levels, more than MAX_VALUES values, and anything but an
object (RFC 8259 sections 4, 6, 8; RFC 7493).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from jackstop.errors import Refused
from jackstop.gate.refusals import malformed

MAX_DEPTH = 100
"""Levels of arrays and objects; providers' own requests stay below twenty, JSON schemas of tools included."""
MAX_VALUES = 500_000
"""Values and names; reading more would keep other requests waiting. One of embeddings has at most 300,000 tokens."""
_LEAST_BYTES = 2
"""A value has at least one character, and a comma before the next."""
# A text that never ends matches to the body's end and without backtracking, so that the time of a search grows with
# the body and no faster.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE_BYTES = 4
_STEP_BYTES = 256 * 1024
"""How much of a body one call looks through: the loop of the same process waits for as long as that takes."""


class _Unclear(ValueError):
    """A body that is JSON to some parsers only; says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unclear("a name is there twice in one object")
    return found


def _constant(name: str) -> Any:
    raise _Unclear(f"{name} is not a JSON number")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Unclear("a number is too large")
    return number


# Reads the value at a place in a text, and says where it ends.
_scan = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).raw_decode
_SPACE = " \t\n\r"


def read_document(raw: bytes) -> dict[str, Any] | Refused:
    """The object that the body holds, or Refused with `malformed`, which never quotes the body."""
    if _too_many(raw):
        return _malformed(f"it has more than {MAX_VALUES} values")
    try:
        text = raw.decode("utf-8").strip(_SPACE)
        found, end = _scan(text)
    except _Unclear as error:
        return _malformed(str(error))
    except UnicodeDecodeError:
        return _malformed("it is not valid UTF-8")
    except RecursionError:
        return _malformed(f"it is nested deeper than {MAX_DEPTH} levels")
    except ValueError:
        return _malformed("it is not valid JSON" if raw else "it is empty")
    if end != len(text):
        return _malformed("it is not valid JSON")
    if not isinstance(found, dict):
        return _malformed("it is not an object")
    if (_more_than(MAX_DEPTH // 2, b"{", raw) or _more_than(MAX_DEPTH // 2, b"[", raw)) and _too_deep(found):
        return _malformed(f"it is nested deeper than {MAX_DEPTH} levels")
    if b"\\" in raw and _has_surrogate(raw) and not _encodes(found):
        return _malformed("a text has half a surrogate pair")
    return found


def _malformed(why: str) -> Refused:
    return malformed(f"the request's body cannot be accepted: {why}")


def _too_many(raw: bytes) -> bool:
    """Whether it has more than MAX_VALUES values. Looks for texts only where enough commas and brackets are there."""
    if len(raw) <= _LEAST_BYTES * MAX_VALUES or _separators(raw) <= MAX_VALUES:
        return False
    bare, texts = _TEXT.subn(b"", raw, MAX_VALUES)
    return texts == MAX_VALUES or _separators(bare) > MAX_VALUES


def _separators(raw: bytes) -> int:
    parts = (raw[at : at + _STEP_BYTES] for at in range(0, len(raw), _STEP_BYTES))
    return sum(len(part) - len(part.translate(None, b",[{")) for part in parts)


def _has_surrogate(raw: bytes) -> bool:
    # Pieces overlap by what is missing of a surrogate that begins at the end of one.
    return any(
        _SURROGATE.search(raw, at, at + _STEP_BYTES + _SURROGATE_BYTES - 1) for at in range(0, len(raw), _STEP_BYTES)
    )


def _more_than(most: int, byte: bytes, raw: bytes) -> bool:
    """Whether a byte is there more than so many times: `count` takes a hundred times as long where it is rare."""
    at = -1
    for _ in range(most + 1):
        at = raw.find(byte, at + 1)
        if at < 0:
            return False
    return True


def _too_deep(found: dict[str, Any]) -> bool:
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _encodes(found: dict[str, Any]) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
