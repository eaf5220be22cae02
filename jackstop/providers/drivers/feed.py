"""A provider's audit log, which lists the newest first, made into pages that go forward in time and repeat nothing.

Entries show a little later than their own time, and in any order. So each page begins before the last one's end, and
the cursor says what of that span has been given already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from jackstop.clock import US_PER_S, SystemClock
from jackstop.providers.drivers.driver import AuditPage, CallFailed

_LATE_US = 600 * US_PER_S
"""An allowance: OpenAI does not say how late an entry shows, Anthropic says a minute."""
_REMEMBERED = 5_000

Entry = dict[str, Any]


class _Cursor(msgspec.Struct):
    from_us: int
    newest_us: int
    given: list[str]


def forward(
    cursor: str,
    since_us: int,
    read: Callable[[int], Iterable[Entry]],
    moment: Callable[[Entry], int],
    now_us: int | None = None,
) -> AuditPage:
    """The entries since `cursor`, oldest first. `read` gives all from a moment on, in any order, and `moment` its time.

    An entry without an id or a time is handed on like the others, so that whoever reads entries sets it aside. One
    that is dated later than `now_us`, by default this moment, moves the cursor no further than that: what comes after
    it is read as well. Raises CallFailed for a cursor that was not made here.
    """
    now_us = SystemClock().now_us() if now_us is None else now_us
    try:
        last = msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor(since_us, since_us, [])
    except msgspec.DecodeError:
        raise CallFailed("invalid", "the place in the audit log cannot be read: begin it anew") from None
    given = set(last.given)
    last.newest_us = min(last.newest_us, now_us)
    found: dict[str, tuple[int, Entry]] = {}
    for entry in read(max(last.from_us, last.newest_us - _LATE_US)):
        found.setdefault(_name(entry), (_moment(entry, moment, last.newest_us), entry))
    entries = [(at, name, entry) for name, (at, entry) in found.items()]
    # The list is newest first: turned round, it keeps the order within one second too.
    entries.reverse()
    entries.sort(key=lambda each: each[0])
    newest_us = max([last.newest_us, *(min(at, now_us) for at, _, _ in entries)])
    # Providers take the moment from which they read by whole seconds.
    again_us = (newest_us - _LATE_US) // US_PER_S * US_PER_S
    recent = [name for name, (at, _) in found.items() if at >= again_us]
    following = _Cursor(last.from_us, newest_us, recent[:_REMEMBERED])
    new = [entry for _, name, entry in entries if name not in given]
    return AuditPage(new, msgspec.json.encode(following).decode())


def _name(entry: Entry) -> str:
    name = entry.get("id")
    if isinstance(name, str):
        return name
    return hashlib.sha256(msgspec.json.encode(entry, order="sorted")).hexdigest()


def _moment(entry: Entry, moment: Callable[[Entry], int], otherwise_us: int) -> int:
    try:
        return moment(entry)
    except CallFailed:
        return otherwise_us
