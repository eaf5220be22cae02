"""Damage to records and to bytes, the same for the same random numbers."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

from tests.hunt.marked import MARKER, NAMES

DEEP = 3_000
LONG = 70_000
_NUMBERS = (0, -1, 1 << 31, 1 << 53, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63), 10**30,
            0.5, -0.0, 1e308, float("nan"), float("inf"), True, False, None)  # fmt: skip
_TEXTS = (
    "", " ", "-", "null", "NaN", "Infinity", "1e999", "1e400000", "-1", "0x10", "9" * 15, "9" * 25, "9" * 5_000,
    "1.5", "\ud800", "a\udfffb", "\ud83d\ude00", "\x00", "\x7f\x1b[31m", "\u202eevil", "\ufeff", "é" * 3, "\r", "a\rb",
    '"', "'", "\\", "{", "[", "{}", "[]", '{"a":', "{a={b=c}, d=", "\u0660\u0661", "²", "arn:", "arn:aws:iam::1:user/",
    "arn:" * 40,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "2026-11-20T10:00:60Z", "2026-02-30",
    "1969-12-31T23:59:59Z", "2026-11-20T10:00:00.1234567891Z", "11/23/2026, 12:00:00.000 PM", "2026-W47-5",
    "999.999.999.999", "::ffff:1.2.3.4%eth0", "[::1]:443", "1.2.3.***", "fe80::1%" + "x" * 300, "AKIA",
    "sk-" + "a" * 60, "x" * 300, "x" * LONG,
)  # fmt: skip


_SIGNS = (b'"', b"\n", b"\0", b"{", b"[", b"]", b"}", b",", b"\xff", b"\xed\xa0\x80", b"\\u")


def any_value(chance: random.Random, depth: int = 2) -> Any:
    """A value that stands where another is expected."""
    kind = chance.randrange(10)
    if kind < 3:
        return chance.choice(_NUMBERS)
    if kind < 7 or not depth:
        return chance.choice(_TEXTS)
    if kind < 8:
        return [any_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind < 9:
        return {chance.choice(NAMES): any_value(chance, depth - 1) for _ in range(chance.randrange(4))}
    return deep(chance.choice((20, 400, DEEP)), listed=chance.random() < 0.5)


def deep(levels: int, *, listed: bool) -> str:
    """Something nested so deep, as a text that `written` puts it in for: Python's own writer of JSON could not."""
    return f"@{'list' if listed else 'object'}-{levels}@"


_DEEP = re.compile(r'"@(list|object)-(\d{1,5})@"')


def written(record: Any, chance: random.Random) -> bytes:
    """The record as JSON, sometimes in what is no UTF-8, sometimes with a field twice."""
    text = json.dumps(record, ensure_ascii=chance.random() < 0.7, indent=chance.choice((None, None, None, 1)))
    if text.startswith("{") and len(text) > 2 and chance.random() < 0.05:
        text = f"{{{json.dumps(chance.choice((*NAMES, *record)))}: {json.dumps(any_value(chance, 0))},{text[1:]}"
    return _DEEP.sub(_nested, text).encode(errors="surrogatepass")


def _nested(found: re.Match[str]) -> str:
    begins, ends = ("[", "]") if found[1] == "list" else ('{"a":', "}")
    return begins * int(found[2]) + "1" + ends * int(found[2])


def holders(value: Any) -> list[tuple[Any, Any]]:
    """Every object and list within, with each of its names or numbers."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        held = waiting.pop()
        names = list(held) if isinstance(held, dict) else range(len(held)) if isinstance(held, list) else ()
        for name in names:
            found.append((held, name))
            if isinstance(held[name], dict | list):
                waiting.append(held[name])
    return found


def in_record(record: Any, chance: random.Random) -> Any:
    """The record with some of its fields dropped, doubled, renamed, nested or replaced; content stays in its place."""
    record = copy.deepcopy(record)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        places = holders(record)
        if places:
            _change(*chance.choice(places), chance)
    return record


def _change(held: Any, name: Any, chance: random.Random) -> None:
    kind, value = chance.randrange(8), held[name]
    if kind == 0:
        del held[name]
    elif kind == 1 and isinstance(held, dict):
        held[f"{name}_"] = value
    elif kind == 2 and isinstance(held, dict):
        del held[name]
        held[f"zz{name}" if _is_marked(value) else chance.choice((*NAMES, str(name).upper(), ""))] = value
    elif kind == 3 and not _is_marked(value):
        held[name] = [value] if chance.random() < 0.5 else {chance.choice(("value", "a")): value}
    elif kind == 4 and isinstance(value, str) and not _is_marked(value):
        held[name] = _in_text(value, chance)
    elif kind == 5 and not _is_marked(value):
        held[name] = json.dumps(value)
    else:
        held[name] = any_value(chance)


def _is_marked(value: Any) -> bool:
    return MARKER in json.dumps(value)


def _in_text(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    kind = chance.randrange(4)
    if kind == 0:
        return text[:at]
    if kind == 1:
        return text[:at] + chance.choice(_TEXTS) + text[at:]
    if kind == 2:
        return text * chance.choice((2, 40))
    return text.upper() if chance.random() < 0.5 else text[at:]


def in_line(line: str, chance: random.Random) -> str:
    """A line of text with some of it changed; what stands at the marker stays in its place."""
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        parts = line.split(" ")
        at = chance.randrange(len(parts))
        if MARKER in parts[at]:
            continue
        quoted = parts[at].count('"') % 2
        parts[at] = chance.choice(("-", "", "9" * 25, "\x00", "²", "[x]", "é", "\ufffd" * 3, parts[at] * 3, "x" * 300))
        parts[at] += '"' * quoted
        line = " ".join(parts)
    return line.replace("\n", " ")


def in_row(row: dict[str, str], chance: random.Random) -> dict[str, str]:
    """A row of CSV, the same columns."""
    row = dict(row)
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        name = chance.choice(list(row))
        if MARKER in row[name] or chance.random() < 0.7:
            row[name] = str(chance.choice(_TEXTS))
        else:
            row[name] = _in_text(row[name], chance)
    # A line that begins with a bracket is taken for JSON, whatever stands before it.
    start = next(iter(row))
    row[start] = row[start].lstrip("{[ ")
    return row


def in_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes cut, flipped, inserted, taken out, doubled and put in another order."""
    held = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(held) + 1)
        size = chance.choice((1, 2, 16, 400))
        kind = chance.randrange(7)
        if kind == 0:
            del held[at : at + size]
        elif kind == 1 and at < len(held):
            held[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            held[at:at] = chance.randbytes(size)
        elif kind == 3:
            held[at:at] = chance.choice(_SIGNS)
        elif kind == 4:
            other = chance.randrange(len(held) + 1)
            held[at:at] = held[other : other + size]
        elif kind == 5 and chance.random() < 0.3:
            del held[at:]
        elif kind == 6 and chance.random() < 0.1:
            held[:] = _recoded(bytes(held), chance)
    return bytes(held)


def _recoded(data: bytes, chance: random.Random) -> bytes:
    """The same text in an encoding that is not expected."""
    text = data.decode(errors="replace")
    return text.encode(chance.choice(("utf-16", "utf-16-be", "latin-1", "utf-8-sig", "utf-7")), errors="replace")
