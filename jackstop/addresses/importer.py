"""Imports a file of ranges that the user fetched, whatever its format, under a name in the home folder."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path
from typing import Literal, NamedTuple

from jackstop.addresses import mmdb
from jackstop.addresses.lookup import NETWORK_KINDS, SUFFIX, Kind
from jackstop.addresses.ranges import About, Builder, Ranges, write
from jackstop.addresses.texts import Bad, Found, published, read_list, read_published, read_table
from jackstop.errors import UserError
from jackstop.settings import Home

Format = Literal["auto", "mmdb", "csv", "txt", "json"]
SHOWN_BAD = 10
OLD_US = 30 * 86_400_000_000
"""Data older than this is still used, and warned of: addresses move."""

_MOST_BYTES = 1 << 30
"""Of a file, unpacked: all of it is in memory while it is read."""
_CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_GZIP = b"\x1f\x8b"
_MOST_OF_IPV4 = 1 << 31
_TAKEN = frozenset({"private", "loopback"})


class Prepared(NamedTuple):
    """A file that was read and can be kept: what it is, its ranges, how many, and the first of what was set aside."""

    about: About
    ranges: Ranges
    total: int
    bad: list[Bad]


class _Opened(NamedTuple):
    """A file whose format is known: what its ranges are called, of when they are, and the ranges."""

    format: str
    name: str
    as_of_us: int | None
    found: Iterator[Found | Bad]


def prepare(path: Path, kind: Kind, name: str, form: Format, now_us: int) -> Prepared:
    """Read a file of ranges; `name` is empty for the kind, or the cloud that the file names. Raises UserError."""
    if name and (not _NAME.fullmatch(name) or name in _TAKEN):
        raise UserError(f"{name!r} is no name for address data", "use small letters, digits, - and _", 2)
    content, modified_us = _content(path)
    opened = _open(content, path.name, kind, name, form)
    ranges, good, bad, first_bad = _gather(opened.found)
    if good <= bad:
        raise _nothing(path, kind, good, bad, first_bad)
    if kind in NETWORK_KINDS and ranges.size4() > _MOST_OF_IPV4:
        problem = f"{path} covers more than half of all IPv4 addresses: they cannot all be of kind {kind}"
        raise UserError(problem, "check --kind; nothing was imported", 2)
    about = About(
        name=opened.name,
        kind=kind,
        source=path.name,
        format=opened.format,
        imported_us=now_us,
        as_of_us=min(now_us, opened.as_of_us or modified_us),
        bad=bad,
    )
    return Prepared(about, ranges, len(ranges.value4) + len(ranges.value6), first_bad)


def keep(home: Home, prepared: Prepared) -> None:
    """Put what was read in place of what had its name."""
    write(home.addresses / f"{prepared.about.name}{SUFFIX}", prepared.about, prepared.ranges)


def _content(path: Path) -> tuple[bytes, int]:
    """A file's bytes, unpacked if they are gzip's, and when it was last written."""
    try:
        with path.open("rb") as file:
            modified_us = os.fstat(file.fileno()).st_mtime_ns // 1_000
            is_packed = file.peek(len(_GZIP)).startswith(_GZIP)
            content = _whole(gzip.GzipFile(fileobj=file) if is_packed else file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{path} is packed with gzip and damaged", "fetch it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "name a file that you fetched", 2) from None
    if content.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is a zip archive", "unpack it and import the file in it", 2)
    return content, modified_us


def _whole(file: gzip.GzipFile | BufferedReader, path: Path) -> bytes:
    """All of a file. Raises UserError for too much: a few bytes of gzip can become any number."""
    chunks, size = [], 0
    while chunk := file.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > _MOST_BYTES:
            raise UserError(
                f"{path} holds more than {_MOST_BYTES >> 20} MiB",
                "fetch a smaller edition, or unpack it and import it in parts, each with a --name of its own",
                2,
            )
    return b"".join(chunks)


def _format_of(content: bytes) -> str:
    if mmdb.MARKER in content[-(128 << 10) :]:
        return "mmdb"
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        return "json"
    lines = (line.partition(b"#")[0] for line in content[: 64 << 10].splitlines())
    return "csv" if any(mark in line for line in lines for mark in (b",", b"\t")) else "txt"


def _open(content: bytes, source: str, kind: Kind, name: str, form: Format) -> _Opened:
    found_format = _format_of(content) if form == "auto" else form
    if found_format == "mmdb":
        database = mmdb.Database(content, source)
        return _Opened("mmdb", name or kind, database.as_of_us, database.read(kind, _value(kind, name)))
    if found_format == "json":
        return _open_json(content.decode("utf-8-sig", errors="replace"), source, kind, name)
    lines = TextIOWrapper(BytesIO(content), encoding="utf-8-sig", errors="replace")
    if found_format == "csv":
        value = name if kind == "cloud" else ""
        return _Opened("csv", name or kind, None, read_table(lines, kind, value))
    if kind not in NETWORK_KINDS:
        raise UserError(f"{source} is a list, and says nothing of any {kind}", "fetch one as CSV or MMDB", 2)
    return _Opened("txt", name or kind, None, read_list(lines, _value(kind, name)))


def _open_json(text: str, source: str, kind: Kind, name: str) -> _Opened:
    try:
        found = published(json.loads(text))
    except (ValueError, RecursionError):
        raise UserError(f"{source} is no whole JSON file", "fetch it again") from None
    if found is None:
        raise UserError(
            f"{source} is JSON of a shape that is not known here",
            "known are the files of AWS, Google Cloud, Azure, Oracle and Cloudflare, and a plain list of networks",
            2,
        )
    if kind not in NETWORK_KINDS:
        raise UserError(f"{source} says nothing of any {kind}", "import it with --kind cloud", 2)
    value = found.cloud or _value(kind, name) if kind == "cloud" else kind
    return _Opened("json", name or found.cloud or kind, found.as_of_us, read_published(found.networks, value))


def _value(kind: Kind, name: str) -> str:
    if kind == "cloud" and not name:
        raise UserError("the file does not say whose cloud it is", "give the cloud's name with --name", 2)
    return name if kind == "cloud" else kind


def _gather(found: Iterator[Found | Bad]) -> tuple[Ranges, int, int, list[Bad]]:
    """The ranges, how many lines were good and how many bad, and the first of the bad ones."""
    builder, good, bad, first_bad = Builder(), 0, 0, list[Bad]()
    for each in found:
        if isinstance(each, Found):
            builder.add(*each)
            good += 1
            continue
        bad += 1
        if bad <= SHOWN_BAD:
            first_bad.append(each)
    return builder.finish(), good, bad, first_bad


def _nothing(path: Path, kind: Kind, good: int, bad: int, first_bad: list[Bad]) -> UserError:
    where = f"; the first: {first_bad[0].place}, {first_bad[0].problem}" if first_bad else ""
    return UserError(
        f"{path} has {good} ranges of kind {kind} and {bad} lines that are none{where}",
        "check --kind and --format, or fetch the file again; nothing was imported",
    )
