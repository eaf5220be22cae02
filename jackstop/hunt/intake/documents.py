"""JSON as a stream: the records of documents, arrays, concatenated values and lines, whole ones also behind damage.

Between records a state says where the place is: at the top, within a list (of a document or by itself), or behind the
list of a document. Behind damage, the next record is where an object begins that some source claims as its own.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Literal

import msgspec

from jackstop.hunt.intake.records import MAX_RECORD, TOO_LONG, Broken, Found, Known, Readable, Record, broken

_CHUNK = 4 << 20
_BLANK = b" \t\r\n"
_RAW = msgspec.json.Decoder(msgspec.Raw)
_KEY = re.compile(rb'[\s,]*"((?:[^"\\]|\\.)*)"\s*:\s*')
_BETWEEN = re.compile(rb"[\s,]*")
_BETWEEN_BEHIND_DAMAGE = re.compile(rb"[\s,\]}]*")
_OBJECT = re.compile(rb'\{\s*(?:"|\Z)')

_TRIED_BYTES = 64 << 20
_TRIED_TIMES = 8
_TRIAL_BYTES = 256
"""What may be read to find the next record behind damage: so much, and so many times what was passed by."""

_DEEP_BYTES = 8_192
"""What is taken to have been read of a value that is nested too deep: msgspec does not say."""
_SMALL_BYTES = 64 << 10
"""A larger object that lists records is a document, whatever else it may be."""

_CUT = "it ends in the middle"
_UNENDED = "the document ends before its records do"
_HOPELESS = "too much of it is damaged"


class _Cut(Exception):
    """The bytes end within a value."""


class _Malformed(Exception):
    """The bytes are no JSON; `read` of them were looked at."""

    def __init__(self, why: str, read: int) -> None:
        super().__init__(why)
        self.read = read


def end_of_value(held: bytes, start: int, *, ended: bool) -> int:
    """Where the JSON value ends that begins at `start`; `ended` says that nothing comes behind these bytes.

    msgspec reads a value in C and then says at which byte, counted from 1, something follows. Raises _Cut, _Malformed.
    """
    try:
        _RAW.decode(memoryview(held)[start:])
    except msgspec.DecodeError as error:
        text, _, byte = str(error).partition(" (byte ")
        if text.endswith("trailing characters"):
            end = start + int(byte.rstrip(")")) - 1
            while held[end - 1] in _BLANK:
                end -= 1
            return end
        if "truncated" in text:
            raise _Cut from None
        read = int(byte.rstrip(")") or 0)
        if not ended and read >= len(held) - start:
            raise _Cut from None  # a number may go on
        raise _Malformed(text.removeprefix("JSON is malformed: "), read) from None
    except RecursionError:
        raise _Malformed("nested too deep", _DEEP_BYTES) from None
    if not ended and held[start : start + 1] not in {b"{", b"[", b'"'}:
        raise _Cut  # more digits may follow
    return len(held.rstrip(_BLANK))


def of_line(record: Record, lists: frozenset[str], known: Known) -> Found:
    """The records of one line of JSON lines: as a rule itself; those that it lists; what is whole of a broken one."""
    try:
        _RAW.decode(record.raw)
    except (msgspec.DecodeError, RecursionError):
        whole = False
    else:
        whole = record.raw[:1] != b"[" and not _opening(lists).search(record.raw)
    if whole:
        yield record
        return
    for found in Document(io.BytesIO(record.raw), lists, known):
        yield found._replace(line=record.line, offset=record.offset + found.offset)


def end_kind(raw: bytes, lists: frozenset[str], known: Known) -> Literal["record", "more", "malformed"]:
    """Whether a line that begins as JSON is one record, more or less than one (a document or a part), or no JSON."""
    try:
        end = end_of_value(raw, 0, ended=True)
    except _Cut:
        return "more"
    except _Malformed:
        return "malformed"
    if end < len(raw) or raw[:1] == b"[":
        return "more"
    listing = _opening(lists).search(raw) is not None
    return "more" if listing and not (end <= _SMALL_BYTES and _is_claimed(raw, known)) else "record"


def _is_claimed(raw: bytes, known: Known) -> bool:
    try:
        return known(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _opening(lists: frozenset[str]) -> re.Pattern[bytes]:
    names = b"|".join(re.escape(name.encode()) for name in sorted(lists))
    return re.compile(rb'"(?:' + names + rb')"\s*:\s*\[')  # re keeps what it compiled


class Document:
    """The records of a stream of JSON. `lists` are the names under which documents list records."""

    def __init__(self, stream: Readable, lists: frozenset[str], known: Known) -> None:
        self._stream = stream
        self._lists = lists
        self._known = known
        self._opening = _opening(lists)
        self._held = b""
        self._at = 0
        self._base = 0
        self._line = 1
        self._counted = 0
        self._ended = False
        self._between = _BETWEEN

    def __iter__(self) -> Found:
        state = outside = "top"
        while here := self._peek():
            if state == "top" and here == b"[":
                state, outside = "list", "top"
                self._at += 1
            elif state == "list" and here == b"]":
                state = outside
                self._at += 1
            elif state == "behind" and here == b"}":
                state = "top"
                self._at += 1
            elif (here == b"{" and self._may_open(state) and self._opens_list()) or (
                state == "behind" and here == b'"' and self._lists_again()
            ):
                state, outside = "list", "behind"
            elif state != "behind" or here != b'"' or not self._passes_member():
                yield self._value()
        if state != "top" and self._between is _BETWEEN:
            yield broken(b"", *self._place(), _UNENDED)

    def _may_open(self, state: str) -> bool:
        """Whether a document can begin here: behind damage, which may have taken a list's end, everywhere."""
        return state == "top" or self._between is not _BETWEEN

    def _value(self) -> Record | Broken:
        try:
            size = self._size()
        except _Cut:
            return self._damaged(_CUT if self._ended else TOO_LONG)
        except _Malformed as error:
            return self._damaged(str(error))
        if size > MAX_RECORD:
            return self._damaged(TOO_LONG)
        found = Record(self._held[self._at : self._at + size], *self._place())
        self._at += size
        return found

    # -- the bytes ----------------------------------------------------------------------------------------------

    def _peek(self) -> bytes:
        """The next byte that is neither blank nor a comma, without passing by it; none at the end."""
        while True:
            self._at = self._behind(self._between, self._at)
            if self._at < len(self._held) or not self._fill():
                return self._held[self._at : self._at + 1]

    def _behind(self, pattern: re.Pattern[bytes], start: int) -> int:
        found = pattern.match(self._held, start)
        return start if found is None else found.end()

    def _fill(self) -> bool:
        """Read on, and let go of what lies behind; whether there was more."""
        if self._ended:
            return False
        self._place()
        rest = self._held[self._at :]
        more = self._stream.read(max(_CHUNK, min(len(rest), MAX_RECORD)))
        self._base += self._at
        self._held, self._at, self._counted = rest + more, 0, 0
        self._ended = not more
        return bool(more)

    def _place(self) -> tuple[int, int]:
        """The line and the offset of the place."""
        self._line += self._held.count(b"\n", self._counted, self._at)
        self._counted = self._at
        return self._line, self._base + self._at

    def _size(self, ahead: int = 0) -> int:
        """From the place to the end of the value that begins so far ahead; as much is read as a record may be long.

        Raises _Cut, _Malformed.
        """
        while True:
            try:
                return end_of_value(self._held, self._at + ahead, ended=self._ended) - self._at
            except _Cut:
                if not self._grows():
                    raise

    def _grows(self) -> bool:
        return len(self._held) - self._at <= MAX_RECORD and self._fill()

    # -- documents ----------------------------------------------------------------------------------------------

    def _opens_list(self) -> bool:
        """Go behind the `[` of the records, if here is a document that lists some; stay otherwise."""
        while True:
            try:
                end = end_of_value(self._held, self._at, ended=self._ended)
            except _Cut:
                if self._opening.search(self._held, self._at) is None:
                    if self._grows():
                        continue
                    return False
            except _Malformed:
                pass  # perhaps not before, but in the list
            else:
                small = end - self._at <= _SMALL_BYTES
                if self._opening.search(self._held, self._at, end) is None or (small and self._claimed(end)):
                    return False
            try:
                place = self._list_in(self._at + 1)
            except _Cut:
                if self._grows():
                    continue
                return False
            except _Malformed:
                return False
            self._at = place or self._at
            return place is not None

    def _list_in(self, start: int) -> int | None:
        """The place behind the `[` of the first member from `start` on that lists records. Raises _Cut, _Malformed."""
        while member := _KEY.match(self._held, start):
            place = self._listed(member)
            if place is not None:
                return place
            start = end_of_value(self._held, member.end(), ended=self._ended)
        start = self._behind(_BETWEEN, start)
        if self._held[start : start + 1] != b"}" and not self._ended:
            raise _Cut
        return None

    def _listed(self, member: re.Match[bytes]) -> int | None:
        start = member.end()
        if self._held[start : start + 1] != b"[" or member[1].decode(errors="replace") not in self._lists:
            return None
        first = self._behind(_BETWEEN, start + 1)
        if first == len(self._held) and not self._ended:
            raise _Cut
        return start + 1 if self._held[first : first + 1] in {b"{", b"]"} else None

    def _lists_again(self) -> bool:
        """Go behind the `[`, if the next member of a document lists records too."""
        while True:
            member = _KEY.match(self._held, self._at)
            try:
                place = None if member is None else self._listed(member)
            except _Cut:
                if self._grows():
                    continue
                return False
            self._at = place or self._at
            return place is not None

    def _passes_member(self) -> bool:
        """Go behind a member of a document that lists no records."""
        while True:
            member = _KEY.match(self._held, self._at)
            if member is not None:
                break
            if not self._grows():
                return False
        try:
            self._at += self._size(member.end() - self._at)
        except (_Cut, _Malformed):
            return False
        return True

    # -- damage -------------------------------------------------------------------------------------------------

    def _damaged(self, why: str) -> Broken:
        """Go to the next record that some source claims, or to the end; what stands for the bytes between."""
        line, offset = self._place()
        digest = hashlib.sha256()
        self._between = _BETWEEN_BEHIND_DAMAGE
        tried, ahead = 0, 1
        while True:
            found = _OBJECT.search(self._held, self._at + ahead)
            place = len(self._held) if found is None else found.start()
            digest.update(memoryview(self._held)[self._at : place])
            self._at, ahead = place, 0
            if found is not None:
                claimed, size = self._tries()
                if claimed:
                    break
                tried, ahead = tried + size + _TRIAL_BYTES, 1
            elif not self._fill():
                break
            if tried > _TRIED_BYTES + _TRIED_TIMES * (self._base + self._at - offset):
                self._give_up(digest)
                return Broken(line, offset, digest.hexdigest(), _HOPELESS)
        return Broken(line, offset, digest.hexdigest(), why)

    def _tries(self) -> tuple[bool, int]:
        """Whether a record begins here, and how many bytes were looked at to say so."""
        try:
            size = self._size()
        except _Cut:
            return False, len(self._held) - self._at
        except _Malformed as error:
            return False, error.read
        return size <= MAX_RECORD and self._claimed(self._at + size), size

    def _claimed(self, end: int) -> bool:
        return _is_claimed(self._held[self._at : end], self._known)

    def _give_up(self, digest: hashlib._Hash) -> None:
        while True:
            digest.update(memoryview(self._held)[self._at :])
            self._at = len(self._held)
            if not self._fill():
                return
