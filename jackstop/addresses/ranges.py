"""Ranges of addresses with a value each, as sorted arrays: built once at an import, read whole, searched by halves."""

from __future__ import annotations

import heapq
import os
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from jackstop.errors import UserError

MAGIC = b"jackstop addresses 1\n"
_NUMBER_BYTES = 4
_LOW = (1 << 64) - 1


class About(msgspec.Struct, frozen=True):
    """What an imported file is. `as_of_us` is the day of the data, as far as the file told it.

    `rows4`, `rows6` and `values` are the sizes of what follows in the file, `order` is its order of bytes.
    """

    name: str
    kind: str
    source: str
    format: str
    imported_us: int
    as_of_us: int
    bad: int = 0
    rows4: int = 0
    rows6: int = 0
    values: int = 0
    order: str = sys.byteorder


class Interval(NamedTuple):
    """Addresses from `first` to `last`, both included, and the number of their value."""

    first: int
    last: int
    value: int


class Ranges:
    """Sorted ranges that do not overlap, of IPv4 and IPv6."""

    def __init__(self, values: list[str]) -> None:
        self.values = values
        self.first4, self.last4, self.value4 = array("I"), array("I"), array("I")
        self.first6_high, self.first6_low = array("Q"), array("Q")
        self.last6_high, self.last6_low, self.value6 = array("Q"), array("Q"), array("I")

    def size4(self) -> int:
        """How many addresses of IPv4 are in the ranges."""
        return sum(self.last4) - sum(self.first4) + len(self.first4)

    def find(self, version: int, number: int) -> str | None:
        """The value of the range that holds the address, None where none does."""
        if version == 4:
            place = bisect_right(self.first4, number) - 1
            return self.values[self.value4[place]] if place >= 0 and number <= self.last4[place] else None
        high, low = number >> 64, number & _LOW
        begin, end = bisect_left(self.first6_high, high), bisect_right(self.first6_high, high)
        place = bisect_right(self.first6_low, low, begin, end) - 1
        if place < 0 or (high, low) > (self.last6_high[place], self.last6_low[place]):
            return None
        return self.values[self.value6[place]]

    def append(self, version: int, interval: Interval) -> None:
        """Add a range behind all others of its version."""
        first, last, value = interval
        if version == 4:
            self.first4.append(first)
            self.last4.append(last)
            self.value4.append(value)
        else:
            self.first6_high.append(first >> 64)
            self.first6_low.append(first & _LOW)
            self.last6_high.append(last >> 64)
            self.last6_low.append(last & _LOW)
            self.value6.append(value)

    def widen(self, version: int, last: int) -> None:
        """Let the last range of this version end at `last`."""
        if version == 4:
            self.last4[-1] = last
        else:
            self.last6_high[-1] = last >> 64
            self.last6_low[-1] = last & _LOW

    def arrays(self) -> Iterator[tuple[array[int], bool]]:
        """All arrays in the order of the file, each with whether it is one of IPv4."""
        yield from ((each, True) for each in (self.first4, self.last4, self.value4))
        yield from ((each, False) for each in (self.first6_high, self.first6_low))
        yield from ((each, False) for each in (self.last6_high, self.last6_low, self.value6))

    def of_version(self, version: int) -> Iterator[Interval]:
        """The ranges of one version, in order."""
        if version == 4:
            yield from map(Interval, self.first4, self.last4, self.value4)
            return
        firsts = zip(self.first6_high, self.first6_low, strict=True)
        lasts = zip(self.last6_high, self.last6_low, strict=True)
        for first, last, value in zip(firsts, lasts, self.value6, strict=True):
            yield Interval(first[0] << 64 | first[1], last[0] << 64 | last[1], value)


class Builder:
    """Takes ranges in any order. Where they overlap, the narrowest has the word; of equal ones, the last."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ranges = Ranges([])
        self._ends = {4: -1, 6: -1}
        self._values = {4: -1, 6: -1}
        self._unsorted: dict[int, list[Interval]] = {}

    def add(self, version: int, first: int, last: int, value: str) -> None:
        """One more range."""
        number = self._numbers.setdefault(value, len(self._numbers))
        interval = Interval(first, last, number)
        if version in self._unsorted:
            self._unsorted[version].append(interval)
        elif first <= self._ends[version]:
            self._unsorted[version] = [*self._ranges.of_version(version), interval]
        else:
            self._append(self._ranges, version, interval)

    def _append(self, ranges: Ranges, version: int, interval: Interval) -> None:
        if interval.first == self._ends[version] + 1 and interval.value == self._values[version]:
            ranges.widen(version, interval.last)
        else:
            ranges.append(version, interval)
        self._ends[version], self._values[version] = interval.last, interval.value

    def finish(self) -> Ranges:
        """All that was added."""
        ranges = Ranges(list(self._numbers))
        for version in (4, 6):
            self._ends[version] = self._values[version] = -1
            there = self._unsorted.get(version)
            for interval in self._ranges.of_version(version) if there is None else _flat(there):
                self._append(ranges, version, interval)
        return ranges


def _flat(intervals: list[Interval]) -> Iterator[Interval]:
    """Intervals that overlap, as intervals that do not: everywhere the narrowest, of equal ones the last."""
    order = sorted(range(len(intervals)), key=lambda index: intervals[index].first)
    open_ones: list[tuple[int, int, int, int]] = []
    following, here = 0, 0
    while following < len(order) or open_ones:
        if not open_ones:
            here = max(here, intervals[order[following]].first)
        while following < len(order) and intervals[order[following]].first <= here:
            index = order[following]
            first, last, value = intervals[index]
            heapq.heappush(open_ones, (last - first, -index, last, value))
            following += 1
        while open_ones and open_ones[0][2] < here:
            heapq.heappop(open_ones)
        if open_ones:
            _, _, last, value = open_ones[0]
            if following < len(order):
                last = min(last, intervals[order[following]].first - 1)
            yield Interval(here, last, value)
            here = last + 1


def write(path: Path, about: About, ranges: Ranges) -> None:
    """Put the file into its place whole, or not at all: the magic, a checksum of the rest, and the rest."""
    texts = msgspec.json.encode(ranges.values)
    about = msgspec.structs.replace(
        about, rows4=len(ranges.first4), rows6=len(ranges.first6_high), values=len(texts), order=sys.byteorder
    )
    head = msgspec.json.encode(about)
    blobs = [len(head).to_bytes(_NUMBER_BYTES, "little"), head, texts]
    blobs += [each.tobytes() for each, _ in ranges.arrays()]
    crc = 0
    for blob in blobs:
        crc = zlib.crc32(blob, crc)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        for blob in (MAGIC, crc.to_bytes(_NUMBER_BYTES, "little"), *blobs):
            file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read(path: Path) -> tuple[About, Ranges]:
    """A file as it was written. Raises UserError for one that is damaged, or of another kind of machine."""
    blob = memoryview(path.read_bytes())
    at = len(MAGIC) + _NUMBER_BYTES
    # A file cut at `at` or before has nothing left to sum, and nothing sums to 0, as what is left of its checksum may.
    whole = len(blob) > at and zlib.crc32(blob[at:]) == int.from_bytes(blob[len(MAGIC) : at], "little")
    if bytes(blob[: len(MAGIC)]) != MAGIC or not whole:
        raise UserError(
            f"the address data in {path} is damaged",
            f"import it again with --name {path.stem}, or take it away: jackstop addresses remove {path.stem}",
        )
    begin = at + _NUMBER_BYTES
    at = begin + int.from_bytes(blob[at:begin], "little")
    about = msgspec.json.decode(blob[begin:at], type=About)
    if about.order != sys.byteorder:
        raise UserError(f"{path} was written by a machine of another kind", f"import {about.source} again here")
    ranges = Ranges(msgspec.json.decode(blob[at : at + about.values], type=list[str]))
    at += about.values
    for each, is_4 in ranges.arrays():
        size = each.itemsize * (about.rows4 if is_4 else about.rows6)
        each.frombytes(blob[at : at + size])
        at += size
    return about, ranges
