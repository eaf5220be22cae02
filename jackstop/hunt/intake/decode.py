"""From a raw record to what its source makes of it; one that its file's source cannot read is offered to the others."""

from __future__ import annotations

import re
from functools import lru_cache
from types import GenericAlias
from typing import Any

import msgspec

from jackstop.events.sources import Source
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.hunt.intake.recognise import claimed
from jackstop.hunt.intake.records import BOM, Record

_QUOTED = re.compile(r"'[^']*'")
_WHY_CHARS = 200
_WRONG = (UnreadableEntry, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@lru_cache
def decoder(source: Source) -> msgspec.json.Decoder[Any]:
    """What decodes one entry of a source."""
    return msgspec.json.Decoder(source.shape)


def all_at_once(source: Source, data: bytes) -> list[Any] | None:
    """The entries of a whole document, None if it is none of a single list.

    Raises DecodeError, UnicodeDecodeError or RecursionError, if only for one of them.
    """
    data = data.removeprefix(BOM)
    if source.shape is str:
        return None
    if data.lstrip()[:1] == b"[":
        entries: list[Any] = _array(source).decode(data)
        return entries
    if not source.lists:
        return None
    lists = [found for found in msgspec.structs.astuple(_document(source).decode(data)) if found is not None]
    return lists[0] if len(lists) == 1 else None


@lru_cache
def _array(source: Source) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(GenericAlias(list, (source.shape,)))


@lru_cache
def _document(source: Source) -> msgspec.json.Decoder[Any]:
    listed = GenericAlias(list, (source.shape,)) | None
    names = {f"list_{number}": name for number, name in enumerate(source.lists)}
    fields = [(field, listed, None) for field in names]
    return msgspec.json.Decoder(msgspec.defstruct("Document", fields, rename=names))


def read(hint: Source, found: Record, origin: Origin, *, sure: bool) -> tuple[Source, Any]:
    """The source of a record and what it makes of it; `sure` leaves it no other than `hint`.

    Raises UnreadableEntry, which quotes nothing.
    """
    try:
        return hint, hint.read(_direct(hint, found, check=not sure), origin)
    except _WRONG as error:
        why = _plain(error)
    except Exception as error:
        raise UnreadableEntry(f"its reader failed: {type(error).__name__}") from None
    record = found.cells if found.cells is not None else _decoded(found, why)
    source = hint if sure else claimed(record)
    if source is None:
        raise UnreadableEntry(why)
    try:
        return source, _by_claim(source, found, record, origin, why)
    except _WRONG as error:
        raise UnreadableEntry(_plain(error)) from None
    except Exception as error:
        raise UnreadableEntry(f"its reader failed: {type(error).__name__}") from None


def _direct(source: Source, found: Record, *, check: bool) -> Any:
    """The entry of a record that stands as the source's records do. Raises one of _WRONG."""
    if found.cells is not None:
        if "csv" not in source.forms:
            raise UnreadableEntry("it is a row, and not of this source")
        entry: Any = found.cells
    elif source.shape is not str:
        entry = decoder(source).decode(found.raw)
    elif "json" in source.forms and found.raw[:1] == b"{":
        entry = msgspec.json.decode(found.raw)
    else:
        entry = found.raw.decode(errors="replace")
    # Where a type says nothing of what must be there, the source has to.
    if check and isinstance(entry, dict) and not source.claims(entry):
        raise UnreadableEntry("no source knows it")
    return entry


def _decoded(found: Record, why: str) -> Any:
    if found.raw[:1] != b"{":
        raise UnreadableEntry(why)
    try:
        return msgspec.json.decode(found.raw)
    except _WRONG as error:
        raise UnreadableEntry(_plain(error)) from None


def _by_claim(source: Source, found: Record, record: Any, origin: Origin, why: str) -> Any:
    try:
        return source.read(_direct(source, found, check=False), origin)
    except _WRONG:
        if source.unwrapped is None or not isinstance(record, dict):
            raise UnreadableEntry(why) from None
    return source.read(source.unwrapped(record), origin)


def _plain(error: BaseException) -> str:
    """Why, without what an error quotes of the record."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return _QUOTED.sub("…", str(error))[:_WHY_CHARS]
