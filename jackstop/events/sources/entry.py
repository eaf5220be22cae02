"""What all formats do alike with an entry: its identity, where it came from, and what of it may be kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from jackstop.events.schema import Event
from jackstop.gate.source import of_peer

T = TypeVar("T")

Change = tuple[str, str, str]
"""Of a kind of entry: `action_class`, `target_kind` and `change`."""

_DAY_US = 86_400_000_000
_ID_CHARS = 200
_TEXT_CHARS = 120
_LOOKED_AT_CHARS = 4_096
_AGENT_CHARS = 512
_LISTED = 16
_EXTRA_CHARS = 1_000
_SECRET = re.compile(r"\b(?:sk|xai|gsk|jsk)[-_][A-Za-z0-9_-]{20,}")
"""No provider's log quotes secrets; if one ever does, it is not kept."""


class Origin(NamedTuple):
    """Where entries came from: the `account` that they are about, and the place of its log.

    `place` is where an entry lies, told by what its file holds and not by its name, so that a copy has the same.
    `from_us` is from when on the reading counts, the same however often it is done, and `now_us` when it is done.
    """

    account: str
    ref: str
    from_us: int
    now_us: int
    place: str = ""

    @property
    def own_place(self) -> str:
        """What tells an entry from one that is alike elsewhere."""
        return self.place or self.ref


class UnreadableEntry(Exception):
    """An entry that is not what its vendor documents. Its text names the field and never quotes it."""


def enclosed(entry: Any) -> dict[str, Any]:
    """The entry, if it is an object. Raises UnreadableEntry."""
    if not isinstance(entry, dict):
        raise UnreadableEntry("it is no object")
    return entry


def shaped(entry: Any, shape: type[T]) -> T:
    """The entry as a type. Raises UnreadableEntry, which says where it is not."""
    try:
        return msgspec.convert(entry, shape)
    except msgspec.ValidationError as error:
        raise UnreadableEntry(str(error)) from None
    except UnicodeEncodeError:
        raise UnreadableEntry("a text of it is no Unicode") from None


def event_id(provider: str, entry_id: str) -> str:
    """The identity of an entry: the same however often, and by whatever way, it is read."""
    return hashlib.blake2b(f"{provider}\n{entry_id}".encode(), digest_size=16).hexdigest()


def valid(entry_id: str, ts: int, origin: Origin) -> None:
    """Raises UnreadableEntry for an id or a time that is none."""
    if not entry_id or len(entry_id) > _ID_CHARS or not entry_id.isprintable():
        raise UnreadableEntry("its id is none")
    if not 0 < ts <= origin.now_us + _DAY_US:
        raise UnreadableEntry("its time is before 1970, or a day from now")


def made(provider: str, entry_id: str, ts: int, kind: str, origin: Origin) -> Event:
    """The event of an entry with what every entry has. Raises UnreadableEntry for an id or a time that is none."""
    valid(entry_id, ts, origin)
    return Event(
        event_id=event_id(provider, entry_id),
        ts=ts,
        seen_ts=origin.now_us,
        action=kept(kind),
        outcome="ok",
        raw_ref=f"{origin.ref}#{entry_id}",
    )


def set_aside(entry: Any, origin: Origin, number: int, error: UnreadableEntry) -> Event:
    """What stands for an entry that cannot be read: why, its place and the hash of what it was."""
    raw = json.dumps(entry, sort_keys=True, default=str)
    digest = hashlib.sha256(raw.encode()).hexdigest()
    return Event(
        event_id=event_id("unreadable", digest),
        ts=origin.from_us,
        seen_ts=origin.now_us,
        outcome="error",
        error_message=str(error)[:_TEXT_CHARS],
        raw_ref=f"{origin.ref}#{number}",
        extra=json.dumps({"sha256": digest}),
    )


def place(event: Event, address: str | None, agent: str | None) -> None:
    """Fill in where a call came from. What is no address is left out."""
    if address:
        source = of_peer(address)
        event.src_ip, event.src_net = source.ip, source.net
        event.network_kind = source.kind
    if agent is not None:
        # Halves of surrogates, which JSON can write and UTF-8 cannot.
        text = agent if agent.isascii() else agent.encode(errors="replace").decode()
        event.user_agent = text[:_AGENT_CHARS]
        event.ua_state = "present" if agent else "empty"


def kept(value: object) -> str:
    """A text that is short and printable; what looks like a secret is not kept."""
    if not isinstance(value, str):
        return ""
    # Masked before it is cut, so that no part of a secret is left at the end; more than this nobody reads.
    text = _SECRET.sub("(not kept)", value[:_LOOKED_AT_CHARS])[:_TEXT_CHARS]
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def extra(fields: Mapping[str, Any], allowed: Collection[str]) -> str:
    """The allowed fields as JSON, numbers, truths, short texts and lists of them; of the others how many there were."""
    found: dict[str, Any] = {}
    dropped = 0
    for name, value in fields.items():
        plain = _plain(value) if name in allowed else None
        if plain is None:
            dropped += value is not None
        else:
            found[name] = plain
    if dropped:
        found["content_dropped"] = dropped
    text = json.dumps(found, sort_keys=True) if found else ""
    return text if len(text) <= _EXTRA_CHARS else json.dumps({"content_dropped": len(fields)})


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return kept(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return [kept(each) for each in value[:_LISTED]]
    return None
