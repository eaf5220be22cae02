"""Which source a file is of, and in which form: told from its first bytes and records, never from its name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from jackstop.events import sources
from jackstop.events.sources import Source
from jackstop.hunt.intake.documents import Document, end_kind, of_line
from jackstop.hunt.intake.records import BOM, Broken, Lines, Record, each_line
from jackstop.hunt.intake.rows import Rows

HEAD = 1 << 20
"""Bytes of a file that are looked at."""
_GLANCE = 1 << 16
_RECORDS = 64
_LINES = 32
_DELIMITERS = (",", "\t", ";")

_DIGEST = frozenset({"digestStartTime", "digestEndTime", "logFiles"})
"""CloudTrail's digests stand beside its logs, and hold their hashes only (docs.aws.amazon.com/awscloudtrail/latest/
userguide/cloudtrail-log-file-validation-digest-file-structure.html, read on 2026-11-23)."""

_KINDS = (
    (b"SQLite format 3\0", 0, "it is an SQLite database"),
    (b"\xfd7zXZ", 0, "it is packed with xz: unpack it first"),
    (b"7z\xbc\xaf", 0, "it is a 7z archive: unpack it first"),
    (b"Rar!", 0, "it is a RAR archive: unpack it first"),
    (b"\x04\x22\x4d\x18", 0, "it is packed with lz4: unpack it first"),
    (b"\xff\x06\0\0sNaPpY", 0, "it is packed with snappy: unpack it first"),
    (b"PAR1", 0, "it is a Parquet file, and not one of Jackstop's lake"),
    (b"ORC", 0, "it is an ORC file: export it as JSON lines"),
    (b"Obj\x01", 0, "it is an Avro file: export it as JSON lines"),
    (b"ustar", 257, "it is a tar archive: unpack it first"),
    (b"\xff\xfe", 0, "it is UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", 0, "it is UTF-16 text: save it as UTF-8"),
)

Form = Literal["document", "lines", "csv", "text", "parquet", ""]


class Kind(NamedTuple):
    """The form of a file and its source. Without a source, `why` says why it has none; empty, it holds no records."""

    form: Form
    source: Source | None = None
    why: str = ""
    delimiter: str = ","


def all_lists() -> frozenset[str]:
    """Every name under which the document of some source lists records."""
    return frozenset(name for each in sources.in_files() for name in each.lists)


def claimed(record: Any) -> Source | None:
    """The source that claims a decoded record."""
    return next((each for each in sources.in_files() if each.claims(record)), None)


def is_claimed(record: Any) -> bool:
    """Whether some source claims a decoded record."""
    return claimed(record) is not None


def recognise(head: bytes, whole: bool, forced: Source | None = None) -> Kind:
    """The form and the source of a file that begins so; `whole` says that there is no more of it."""
    # As a rule a glance is enough; it is not where the source is given, and nothing says whether the form is right.
    kind = _recognised(head[:_GLANCE], whole and len(head) <= _GLANCE, forced)
    if len(head) <= _GLANCE or (kind.source is not None and forced is None):
        return kind
    return _recognised(head, whole, forced)


def _recognised(head: bytes, whole: bool, forced: Source | None) -> Kind:
    bare = head.removeprefix(BOM)
    text = bare.lstrip()
    if not text:
        return Kind("", None, "it is empty" if not head else "it is blank" if whole else "its first megabyte is blank")
    for magic, place, why in _KINDS:
        if head.startswith(magic, place):
            return Kind("parquet" if magic == b"PAR1" else "", None, why)
    if text[:1] not in {b"{", b"["} and b"\0" in head[:8_192]:
        return Kind("", None, "it is binary, and no log")
    form, sure = _json_form(bare, whole=whole)
    of_json = None
    if form and (forced is None or sure or "text" not in forced.forms):
        of_json = _of_json(form, bare, forced)
        if not of_json.why:
            return of_json
    other = _of_rows(head, whole, forced) or _of_text(bare, forced)
    return of_json if of_json is not None and sure and other.source is None else other


def _json_form(head: bytes, *, whole: bool) -> tuple[Literal["document", "lines", ""], bool]:
    """JSON lines if the first line that is JSON is one object, and no document; else a document, or no JSON.

    And whether it is sure: a bracket begins lines of other logs too, and rows.
    """
    for number, record in enumerate(_first_lines(head)):
        if record.raw[:1] not in {b"{", b"["}:
            continue
        ended = whole or record.offset + len(record.raw) < len(head)
        kind = end_kind(record.raw, all_lists(), is_claimed)
        if kind != "malformed":
            return "lines" if kind == "record" and ended else "document", number == 0
    return "document" if head.lstrip()[:1] in {b"{", b"["} else "", False


def _first_lines(head: bytes) -> Iterator[Record]:
    found = (each for each in each_line(Lines(head, 1, 0)) if isinstance(each, Record))
    for _, record in zip(range(_LINES), found, strict=False):
        yield record


def _of_json(form: Literal["document", "lines"], head: bytes, forced: Source | None) -> Kind:
    if forced is not None:
        return Kind(form, forced)
    seen = broken = 0
    for found in _samples(form, head):
        if isinstance(found, Broken):
            broken += 1
            continue
        seen += 1
        try:
            record = msgspec.json.decode(found.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(record, dict) and record.keys() >= _DIGEST:
            return Kind(form)
        source = claimed(record)
        if source is not None:
            return Kind(form, source)
        if seen == _RECORDS:
            break
    if seen:
        return Kind("", None, "it is JSON, but no source knows its records: name one with --source")
    if broken:
        return Kind("", None, "nothing at its beginning is a whole record of a source that is known")
    return Kind(form)


def _samples(form: Literal["document", "lines"], head: bytes) -> Iterator[Record | Broken]:
    if form == "document":
        yield from Document(io.BytesIO(head), all_lists(), is_claimed)
        return
    for record in _first_lines(head):
        yield from of_line(record, all_lists(), is_claimed)


def _of_rows(head: bytes, whole: bool, forced: Source | None) -> Kind | None:
    if not whole:
        head = head[: head.rfind(b"\n") + 1]
    for delimiter in _DELIMITERS:
        for _, row in zip(range(_LINES), Rows(io.BytesIO(head), delimiter), strict=False):
            if not isinstance(row, Record) or row.cells is None or len(row.cells) < 2:
                continue
            if forced is not None and "text" not in forced.forms:
                return Kind("csv", forced, "", delimiter)
            source = claimed(row.cells) if forced is None else None
            if source is not None:
                return Kind("csv", source, "", delimiter)
    return None


def _of_text(head: bytes, forced: Source | None) -> Kind:
    if forced is not None:
        return Kind("text" if "text" in forced.forms else "document", forced)
    for record in _first_lines(head):
        source = claimed(record.raw.decode(errors="replace"))
        if source is not None:
            return Kind("text", source)
    return Kind("", None, "it is text or CSV that no source knows: name one with --source")
