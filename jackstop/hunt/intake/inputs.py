"""What a hunt is given: files, folders, buckets and standard input, opened as plain bytes whatever packs them."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from jackstop.errors import UserError
from jackstop.hunt.intake import bucket
from jackstop.hunt.intake.records import Readable
from jackstop.hunt.intake.unpack import Unpacking, is_bomb, packed_as

STDIN = "-"
_ZIP_DAMAGED = "its zip archive is damaged"
_LINK = "link"
_LAYERS = 4
"""How deep gz in zip in… is looked into: a file can be made that unpacks to itself for ever."""


class Input(msgspec.Struct, frozen=True):
    """One file, object or stream. `name` is what people call it, `place` its absolute path or URL.

    `version` changes when the content does; it is empty where nothing can tell (a pipe), so that nothing of it may be
    kept. `size` is in bytes, 0 where it is not known.
    """

    name: str
    place: str
    size: int = 0
    version: str = ""

    @property
    def held_as(self) -> str:
        """The place as text that can be written down: the bytes of a path need not be UTF-8."""
        return _told(self.place)

    @property
    def passes(self) -> bool:
        """Whether it can be read only once, and only by this process."""
        return not self.version


class Unreadable(Exception):
    """An input that could not be read to its end for now: another attempt may give more."""


class Stream:
    """Bytes read forwards. `fault` says why they ended before their end, once they have."""

    def __init__(self, below: Readable) -> None:
        self._below = below
        self._head = b""

    @property
    def fault(self) -> str:
        found: str = getattr(self._below, "fault", "")
        return found

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer only at the end; they are read again."""
        while len(self._head) < size:
            more = self._below.read(size - len(self._head))
            if not more:
                break
            self._head += more
        return self._head[:size]

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end. Raises Unreadable."""
        if not self._head:
            return self._below.read(size)
        found, self._head = self._head[:size], self._head[size:]
        return found


class Member(NamedTuple):
    """One file within an input, `why` it cannot be read if it cannot."""

    name: str
    stream: Stream
    why: str = ""


class _Source:
    """The bytes as they lie there; `told` hears how many were read."""

    def __init__(self, file: Readable, told: Callable[[int], None]) -> None:
        self._file = file
        self._told = told

    def read(self, size: int) -> bytes:
        try:
            found = self._file.read(size)
        except _errors() as error:
            raise Unreadable(f"it could not be read: {_reason(error)}") from None
        self._told(len(found))
        return found


_BODIES = re.compile(r"/BedrockModelInvocationLogs/(?:.*/)?data/")
"""Where Bedrock's invocation logging puts prompts that are too large for the log beside it: content, and no records.

docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html, read on 2026-11-23.
"""


def _errors() -> tuple[type[Exception], ...]:
    return (OSError, *bucket.errors())


def inputs_of(paths: Sequence[str]) -> list[Input]:
    """Everything under the paths, each once, folders in the order of names; hidden files and bodies are left out.

    A link to a folder is not followed; where that leaves something out, the link is there as what cannot be read.
    Raises UserError for a path that is not there.
    """
    found: dict[str, Input] = {}
    for path in paths:
        if path == STDIN:
            each: Iterator[Input] = iter((Input("standard input", STDIN),))
        elif path.startswith(bucket.SCHEME):
            each = (Input(*object_) for object_ in bucket.objects(path))
        else:
            each = _under(Path(path))
        for one in each:
            if _BODIES.search(one.place) and one.name not in paths:
                continue
            found.setdefault(one.place, one)
    return list(found.values())


def _under(path: Path) -> Iterator[Input]:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {_reason(error)}", "name a file or folder that is there", 2) from None
    if not is_folder:
        yield _file(path)
        return
    for folder, folders, files in os.walk(path, onerror=_refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for link in (Path(folder, name) for name in folders):
            if link.is_symlink() and not link.resolve().is_relative_to(path.resolve()):
                yield Input(_told(str(link)), str(link.absolute()), 0, _LINK)
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and (file.is_file() or file.is_symlink()):
                yield _file(file)


def _refused(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {_reason(error)}", "run as somebody who may read it", 3)


def _file(path: Path) -> Input:
    try:
        about = path.stat()
    except OSError:
        return Input(_told(str(path)), str(path.absolute()), 0, "gone")
    if not stat.S_ISREG(about.st_mode):
        return Input(_told(str(path)), str(path.absolute()))
    return Input(_told(str(path)), os.path.realpath(path), about.st_size, f"{about.st_size}-{about.st_mtime_ns}")


def is_gone(held_as: str) -> bool:
    """Whether the file of an input is known to be gone; of buckets, and of names that are not UTF-8, nobody knows."""
    if held_as.startswith(bucket.SCHEME) or "\\x" in held_as:
        return False
    try:
        Path(held_as).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _told(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


@contextmanager
def _opened(given: Input) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            file: Any
            if given.version == _LINK:
                raise Unreadable("it is a link to a folder, which is not followed: name that folder beside this one")
            if given.place == STDIN:
                file = sys.stdin.buffer
            elif given.place.startswith(bucket.SCHEME):
                file = stack.enter_context(bucket.opened(given.place, given.version))
            else:
                file = stack.enter_context(Path(given.place).open("rb"))
        except _errors() as error:
            raise Unreadable(f"it could not be read: {_reason(error)}") from None
        yield file


def members(given: Input, told: Callable[[int], None]) -> Iterator[Member]:
    """The files within an input, each to be read before the next; `told` hears of the bytes read of the input itself.

    Raises Unreadable.
    """
    with _opened(given) as file:
        plain = Stream(_Source(file, told))
        if packed_as(plain.peek(8)) != "zip":
            yield _unpacked(given.name, plain)
        elif given.place.startswith(bucket.SCHEME):
            with bucket.seekable(given.place, given.version, given.size) as parts:
                yield from _zipped(given, parts, told)
        else:
            yield from _zipped(given, file, told)


def _zipped(given: Input, file: IO[bytes], told: Callable[[int], None]) -> Iterator[Member]:
    if not file.seekable():
        yield Member(given.name, Stream(_Nothing()), "a zip archive can be read only from a file")
        return
    unpacked = 0
    try:
        size = file.seek(0, os.SEEK_END)
        archive = zipfile.ZipFile(file)
    except Exception as error:
        _pass_on(error)
        yield Member(given.name, Stream(_Nothing()), "its zip archive is damaged, or was not written to its end")
        return
    with archive:
        for about in archive.infolist():
            if about.filename.endswith("/"):  # `is_dir` fails on a name that is empty
                continue
            name = f"{given.name}:{about.filename}"
            # Files of an archive may lie over one another, so that each by itself is no bomb.
            if is_bomb(about.compress_size, about.file_size) or is_bomb(size, unpacked + about.file_size):
                yield Member(name, Stream(_Nothing()), "it unpacks to more than any log does")
                continue
            unpacked += about.file_size
            try:
                opened = archive.open(about)
            except (RuntimeError, NotImplementedError):
                yield Member(name, Stream(_Nothing()), "it is encrypted, or packed in a way that is not known")
                continue
            except Exception as error:
                _pass_on(error)
                yield Member(name, Stream(_Nothing()), _ZIP_DAMAGED)
                continue
            with opened:
                yield _unpacked(name, Stream(_ZipMember(opened)))
            told(about.compress_size)


class _ZipMember:
    """A file within a zip archive; `fault` says why it ended early."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.fault = ""

    def read(self, size: int) -> bytes:
        if self.fault:
            return b""
        try:
            return self._opened.read(size)
        except Exception as error:
            _pass_on(error)
            self.fault = _ZIP_DAMAGED
            return b""


def _pass_on(error: Exception) -> None:
    """Damage to an archive shows itself in any error; this leaves those of reading it. Raises Unreadable."""
    # A damaged place in the archive may be one that no file has.
    if isinstance(error, _errors()) and getattr(error, "errno", None) != errno.EINVAL:
        raise Unreadable(f"it could not be read: {_reason(error)}") from None


class _Nothing:
    def read(self, _size: int) -> bytes:
        return b""


def _unpacked(name: str, stream: Stream) -> Member:
    for _ in range(_LAYERS):
        kind = packed_as(stream.peek(8))
        if kind is None:
            return Member(name, stream)
        if kind == "zip":
            return Member(name, stream, "it is a zip archive within another file: unpack that first")
        stream = Stream(Unpacking(stream, kind))
    return Member(name, stream, f"it is packed more than {_LAYERS} times over")


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else bucket.reason(error)
