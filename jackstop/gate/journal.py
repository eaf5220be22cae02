"""The gate's journal: append-only segments that survive a kill, written without a disk sync on the request path.

A journal is a folder named after its instance (one start of one gate process):

- `lock`      held with flock for as long as the process lives; whoever gets it knows that the process is dead.
- `position`  segment and offset of the end, updated after each record; an end short of it means a lost tail.
- `00000000.seg`, `00000001.seg` …  preallocated segments of records.

A segment starts with 16 bytes (`JSKJ`, version, reserved). A record is a little-endian u32 length, a u32 CRC-32
of the payload, and the payload: one JSON object, tagged by `type`. Length 0 is the end so far, 0xFFFFFFFF
says that the next segment goes on. The payload is copied before its header, so that a half-written record
is no record. Format and rules are in docs/journal.md.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from jackstop.clock import Clock, boot_id
from jackstop.errors import UserError
from jackstop.events.schema import Event

MAGIC = b"JSKJ\x01" + bytes(11)
EVENT_ROOM = 4096
"""Bytes kept free for the event of every open hold; no event record is larger."""
_HEADER = struct.Struct("<II")
_HEADER_BYTES = _HEADER.size
_MAX_PAYLOAD = EVENT_ROOM - 2 * _HEADER_BYTES
_POSITION = struct.Struct("<QQ")
_ROLLED = 0xFFFFFFFF
_SEGMENTS_AHEAD = 2


class Opened(msgspec.Struct, tag="open", tag_field="type"):
    """First record: who writes, on which run of the machine."""

    instance: str
    version: int
    boot: str
    slot: int
    pid: int
    ts: int


class Leased(msgspec.Struct, tag="lease", tag_field="type"):
    """A lease grew (`amount` > 0) or was partly given back (`amount` < 0)."""

    lease: int
    limit: int
    window: int
    amount: int


class Held(msgspec.Struct, tag="hold", tag_field="type", omit_defaults=True, gc=False):
    """Money was held: `on` lists the lease and amount on every budget of the path."""

    ts: int
    key: str
    nusd: int
    tokens: int
    on: list[tuple[int, int]]
    provider: str = ""
    model: str = ""
    credential: str = ""


class Recorded(msgspec.Struct, tag="event", tag_field="type", omit_defaults=True, gc=False):
    """A request ended: its event, the hold that it ends (`segment`, `offset`), and what it settled on each lease."""

    event: Event
    hold: tuple[int, int] | None = None
    on: list[tuple[int, int]] = []
    kept: bool = False


class Flooded(msgspec.Struct, tag="flood", tag_field="type"):
    """Requests with unknown keys from one network in one second."""

    ts: int
    net: str
    count: int


class Closed(msgspec.Struct, tag="close", tag_field="type"):
    """Last record of a process that ended in order."""

    ts: int


Record = Opened | Leased | Held | Recorded | Flooded | Closed

_encode = msgspec.json.Encoder().encode
_pack_header, _pack_position = _HEADER.pack_into, _POSITION.pack_into
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class Position(NamedTuple):
    """A place in a journal; ordered."""

    segment: int
    offset: int


START = Position(0, len(MAGIC))


class JournalFull(Exception):
    """No preallocated room is left: the request is refused, nothing is lost."""


class _Segment:
    """One preallocated, memory-mapped file."""

    def __init__(self, path: Path, size: int) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self.fd, 0, size)
        except OSError:
            os.close(self.fd)
            path.unlink()
            raise
        self.map = mmap.mmap(self.fd, size)
        self.map[: len(MAGIC)] = MAGIC

    def sync(self) -> None:
        os.fdatasync(self.fd)

    def close(self) -> None:
        self.map.close()
        os.close(self.fd)


class Journal:
    """Writes one instance's journal. `append` never waits for the disk; a thread syncs and preallocates."""

    def __init__(self, root: Path, instance: str, segment_bytes: int, sync_interval_ms: int, clock: Clock) -> None:
        self.instance = instance
        self.folder = root / instance
        self._segment_bytes = segment_bytes
        # Bytes that each segment ahead adds, and that this one has, if one more hold and its event are still to fit.
        self._usable = segment_bytes - len(MAGIC) - EVENT_ROOM
        self._most = segment_bytes - 3 * EVENT_ROOM
        # Where a payload and its header still leave room for the header that says that the next segment goes on.
        self._last = segment_bytes - 2 * _HEADER_BYTES
        self._interval_s = sync_interval_ms / 1000
        self._clock = clock
        self._offset = len(MAGIC)
        self._index = 0
        self._reserved = 0
        self._wake = threading.Event()
        self._closing = False
        self._filled: list[_Segment] = []
        self.synced = START
        self.failed = ""

    def open(self, slot: int) -> None:
        """Lock the folder, preallocate, write the first record. Raises UserError when the disk has no room."""
        self.folder.mkdir(mode=0o700, parents=True)
        self._lock_fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            position_fd = os.open(self.folder / "position", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(position_fd, 0, mmap.PAGESIZE)
            self._position = mmap.mmap(position_fd, _POSITION.size)
            os.close(position_fd)
            self._current = self._make(0)
            self._ahead = [self._make(1)]
        except OSError as error:
            raise UserError(
                f"the journal in {self.folder.parent} cannot be preallocated: {error.strerror}", "free disk space there"
            ) from None
        self._next_index = 2
        self._map = self._current.map
        self.append(
            Opened(self.instance, 1, boot_id(), slot, os.getpid(), self._clock.now_us()),
        )
        self._current.sync()
        self._thread = threading.Thread(target=self._keep, name="journal", daemon=True)
        self._thread.start()

    def _make(self, index: int) -> _Segment:
        return _Segment(self.folder / f"{index:08d}.seg", self._segment_bytes)

    @property
    def end(self) -> Position:
        return Position(self._index, self._offset)

    def has_room(self) -> bool:
        """Whether one more hold, and the events of all open ones, would fit."""
        return self._offset + self._reserved <= self._most + len(self._ahead) * self._usable and not self.failed

    def hold(self, record: Held) -> tuple[int, int]:
        """Write a hold and keep room for its event; its segment and offset. Raises JournalFull."""
        if not self.has_room():
            self._wake.set()
            raise JournalFull
        self._reserved += EVENT_ROOM
        return self.append(record)

    def event(self, record: Recorded) -> tuple[int, int]:
        """Write an event; the room kept for it, if it ends a hold, is free again. Raises JournalFull."""
        if record.hold is not None:
            self._reserved -= EVENT_ROOM
        elif not self.has_room():
            self._wake.set()
            raise JournalFull
        return self.append(record)

    def append(self, record: Record) -> tuple[int, int]:
        """Copy one record into the mapped segment. Returns the segment and offset where it begins."""
        payload = _encode(record)
        length = len(payload)
        if length > _MAX_PAYLOAD:
            payload = _encode(_shortened(record))
            length = len(payload)
        if self._offset + length > self._last:
            self._roll()
        offset = self._offset
        begin = offset + _HEADER_BYTES
        end = begin + length
        mapped, index = self._map, self._index
        mapped[begin:end] = payload
        _pack_header(mapped, offset, length, crc32(payload))
        self._offset = end
        _pack_position(self._position, 0, index, end)
        return index, offset

    def _roll(self) -> None:
        if not self._ahead:
            self._wake.set()
            raise JournalFull
        self._map[self._offset : self._offset + _HEADER.size] = _HEADER.pack(_ROLLED, 0)
        self._filled.append(self._current)
        self._current = self._ahead.pop(0)
        self._map = self._current.map
        self._index += 1
        self._offset = len(MAGIC)
        self._wake.set()

    def _keep(self) -> None:
        while not self._closing:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            failed = ""
            for work in (self._preallocate, self.sync):
                try:
                    work()
                except OSError as error:
                    failed = error.strerror or "it cannot be written"
            self.failed = failed

    def _preallocate(self) -> None:
        """Have segments ready. Raises OSError when there is none and none can be made."""
        wanted = max(_SEGMENTS_AHEAD, 1 + 2 * self._reserved // self._segment_bytes)
        while len(self._ahead) < wanted and not self._closing:
            try:
                self._ahead.append(self._make(self._next_index))
            except OSError:
                if not self._ahead:
                    raise
                return
            self._next_index += 1

    def sync(self) -> None:
        """Bring everything written so far to the disk. Raises OSError."""
        while self._filled:
            self._filled[0].sync()
            self._filled.pop(0).close()
        end, segment = self.end, self._current
        if not self._filled:
            segment.sync()
            self.synced = end

    def close(self) -> None:
        """Write the last record, sync, and let the lock go."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self.append(Closed(self._clock.now_us()))
        self.sync()
        for segment in (self._current, *self._ahead):
            segment.close()
        self._position.flush()
        self._position.close()
        os.close(self._lock_fd)


def _shortened(record: Record) -> Record:
    """The same record with the event's longest texts cut, so that it fits the room kept for it."""
    if isinstance(record, Recorded):
        event = record.event
        for name in event.__struct_fields__:
            value = getattr(event, name)
            if isinstance(value, str) and len(value) > 32:
                setattr(event, name, value[:32])
    return record


class Reader:
    """Reads a journal, also while its owner writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = folder.name
        self._open: tuple[int, bytes | mmap.mmap] | None = None

    def records(self, start: Position, limit: int = 1 << 62) -> Iterator[tuple[Position, Position, Record]]:
        """Each whole record from `start` on, with its own place and the place behind it, up to `limit` bytes."""
        for here, behind, payload in self.payloads(start, limit):
            yield here, behind, _decoder.decode(payload)

    def payloads(self, start: Position, limit: int = 1 << 62) -> Iterator[tuple[Position, Position, bytes]]:
        """As `records`, the payloads undecoded."""
        segment, offset = start
        taken = 0
        while taken < limit:
            data = self._segment(segment)
            if data is None:
                return
            size = len(data)
            while taken < limit:
                if offset + _HEADER.size > size:
                    segment, offset = segment + 1, len(MAGIC)
                    break
                length, crc = _HEADER.unpack_from(data, offset)
                if length == _ROLLED:
                    segment, offset = segment + 1, len(MAGIC)
                    break
                end = offset + _HEADER.size + length
                if length == 0 or end > size:
                    return
                payload = bytes(data[offset + _HEADER.size : end])
                if crc32(payload) != crc:
                    return
                yield Position(segment, offset), Position(segment, end), payload
                taken += end - offset
                offset = end

    def _segment(self, index: int) -> mmap.mmap | bytes | None:
        if self._open is not None and self._open[0] == index:
            return self._open[1]
        self.close()
        try:
            with (self.folder / f"{index:08d}.seg").open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError:
            return None
        self._open = (index, data)
        return data

    def close(self) -> None:
        if self._open is not None and isinstance(self._open[1], mmap.mmap):
            self._open[1].close()
        self._open = None

    def written(self) -> Position:
        """The end that the owner last noted, which what can be read must reach; START before any record."""
        try:
            raw = (self.folder / "position").read_bytes()[: _POSITION.size]
        except FileNotFoundError:
            return START
        if len(raw) < _POSITION.size:
            return START
        position = Position(*_POSITION.unpack(raw))
        return max(position, START)

    def segments(self) -> list[int]:
        """The numbers of the segments that exist."""
        return sorted(int(path.stem) for path in self.folder.glob("*.seg"))


def claim(folder: Path, act: Callable[[], None]) -> bool:
    """Run `act` under the journal's lock if its owner is dead. Returns whether it was."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        act()
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
