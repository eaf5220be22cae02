"""What was read before and what is new: inputs in batches to parts, each input once as long as it does not change."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import pyarrow as pa

import jackstop
from jackstop.errors import UserError
from jackstop.events import sources
from jackstop.events.analytics import DAY_US
from jackstop.hunt.intake import pool
from jackstop.hunt.intake.inputs import Input, is_gone
from jackstop.hunt.intake.normalise import AUTO, MAX_LISTED, Task
from jackstop.hunt.intake.parts import SUFFIX, USAGE_SUFFIX, Reading, SetAside, cut, readings_in, usage_beside
from jackstop.hunt.intake.progress import Progress

__all__ = ["AUTO", "Corpus", "Intake", "Progress", "SetAside"]

_BATCH_BYTES = (8 << 20, 64 << 20)
_BATCHES = 8
_BATCH_INPUTS = 2_000
_PACKED = {".gz": 12, ".zst": 12, ".bz2": 15, ".zip": 10}
"""How many times larger logs are when unpacked, so that batches are of a size."""
_ALONE_BYTES = 4 << 20
"""Less than this is read sooner than other processes start."""

UNUSED_DAYS = 90
"""For which parts are kept that no hunt asks for: they hold addresses, and the lake keeps those as long."""
_PASSING = "passing-"
_MADE_BY = ("clock.py", "events/**/*.py", "gate/*.py", "hunt/intake/*.py", "ledger/prices*", "providers/drivers/*.py")
"""What decides what becomes of a record."""

Identity = tuple[str, str, str]
Told = Callable[[Progress], None]


class Intake(msgspec.Struct):
    """What a hunt has to look at, and what of its inputs is not in there.

    `parts` and `usage_parts` are Parquet files that hold the inputs' rows and no others'. `records` are those that
    became events or rows of usage, and those that were set aside, of which `set_aside` lists the first. `unknown` are
    files that no source knows or that could not be read, and why. `fresh` counts the files that were read just now.
    """

    parts: list[Path] = []
    usage_parts: list[Path] = []
    files: int = 0
    fresh: int = 0
    records: int = 0
    events: int = 0
    usage_rows: int = 0
    raw_bytes: int = 0
    content_dropped: int = 0
    set_aside_count: int = 0
    set_aside: list[SetAside] = []
    by_source: dict[str, int] = {}
    unknown: list[tuple[str, str]] = []


class _Held(NamedTuple):
    """A part, and what was read into it."""

    path: Path
    readings: list[Reading]


class Corpus:
    """Parts in a folder, and the inputs that they hold; with `keep=False`, in a folder for the while.

    Parts stay where they are as long as the corpus is open. `now_us` is when it is read: nothing happened a day later.
    A part goes once all its inputs are gone, or nobody asked for it for `unused_days`.
    """

    def __init__(self, folder: Path, now_us: int, *, keep: bool = True, unused_days: int = UNUSED_DAYS) -> None:
        self.now_us = now_us
        self._unused_us = unused_days * DAY_US
        self._root = folder if keep else Path(tempfile.mkdtemp(prefix="jackstop-hunt-"))
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._in_use = _lock_file(self._root / "in-use")
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        # Not before: whoever sweeps removes folders that are not its own.
        self._folder = self._root / f"parts-{_readers_version()}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._passing = Path(tempfile.mkdtemp(prefix=_PASSING, dir=self._root))
        self._for_now = self._passing if keep else self._root
        self._footers: dict[Path, tuple[list[Reading], list[str]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the parts."""
        os.close(self._in_use)
        shutil.rmtree(self._for_now, ignore_errors=True)

    def take_in(
        self, inputs: Sequence[Input], source: str = AUTO, *, jobs: int = 2, told: Told | None = None
    ) -> Intake:
        """Read what is new or changed of the inputs; what there is of all of them. Raises UserError."""
        if source != AUTO and source not in sources.names():
            raise UserError(f"there is no source {source!r}", f"name one of: {', '.join(sources.names())}", 2)
        with self._alone():
            self.sweep()
            held = self._only({_identity(each, source) for each in inputs if not each.passes}, source)
            known = {reading.identity for each in held for reading in each.readings}
            tasks = [
                Task(fresh, source, self._folder / _name(fresh, source), self.now_us)
                for batch in _batches([each for each in inputs if not each.passes])
                if (fresh := tuple(each for each in batch if _identity(each, source) not in known))
            ]
            tasks_here = [
                Task((each,), source, self._passing / f"{number}{SUFFIX}", self.now_us)
                for number, each in enumerate(inputs)
                if each.passes
            ]
            for part in held:
                self._used(part.path)
            held += self._read(tasks, tasks_here, jobs, told)
        order = {each.held_as: number for number, each in enumerate(inputs)}
        held.sort(key=lambda part: min(order[each.place] for each in part.readings))
        return _intake(held, fresh=sum(len(task.inputs) for task in (*tasks, *tasks_here)))

    def _read(self, tasks: list[Task], here: list[Task], jobs: int, told: Told | None) -> list[_Held]:
        watch = _Watch([*tasks, *here], told)
        if sum(_raw_bytes(each) for task in tasks for each in task.inputs) < _ALONE_BYTES:
            jobs = 1
        # What passes can be read by this process only.
        done = [(number, readings, here) for number, readings in pool.run(here, 1, watch.heard)]
        for number, readings in pool.run(tasks, jobs, watch.heard):
            part = tasks[number].part
            self._used(part)
            self._footers.pop(part, None)
            done.append((number, readings, tasks))
            watch.finished(len(readings))
        return [_Held(of[number].part, readings) for number, readings, of in sorted(done, key=lambda each: each[0])]

    # -- what is there ------------------------------------------------------------------------------------------

    def _parts(self) -> list[_Held]:
        """The parts that hold, and each input once."""
        found = sorted(each for each in self._folder.glob(f"*{SUFFIX}") if not _is_usage(each))
        footers = {path: self._footers.get(path) or _footer(path) for path in found}
        self._footers = {path: footer for path, footer in footers.items() if footer is not None}
        replaced = {name for _, replaces in self._footers.values() for name in replaces}
        return [_Held(path, self._footers[path][0]) for path in self._footers if path.name not in replaced]

    def _only(self, wanted: set[Identity], source: str) -> list[_Held]:
        """The parts with wanted inputs, each cut where it holds others too."""
        places = {place for place, _, _ in wanted}
        found = []
        for part in self._parts():
            ours = [each for each in part.readings if each.identity in wanted]
            if len(ours) == len(part.readings):
                found.append(part)
            elif ours:
                others = [
                    each
                    for each in part.readings
                    if _may_be_asked(each)
                    and each.identity not in wanted
                    and (each.forced != source or each.place not in places)
                ]
                found.append(self._cut(part, ours, self._footers[part.path][1] + [part.path.name]))
                if others:
                    self._cut(part, others, [])
        return found

    def _cut(self, part: _Held, readings: list[Reading], replaces: list[str]) -> _Held:
        into = self._folder / _name_of(each.identity for each in readings)
        return _Held(into, cut(part.path, into, readings, replaces))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time takes in."""
        lock = _lock_file(self._root / "taking-in")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def sweep(self) -> None:
        """Remove what nobody reads again: parts replaced, unused or damaged, what a kill left, what other code made.

        Nothing while another corpus of this folder is open.
        """
        try:
            fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            return
        holding = {each.path for each in self._parts() if self._is_of_use(each)}
        holding |= {usage_beside(path) for path in holding}
        for path in self._folder.iterdir():
            if path not in holding:
                path.unlink()
        for other in (*self._root.glob("parts-*"), *self._root.glob(f"{_PASSING}*")):
            if other not in {self._folder, self._passing}:
                shutil.rmtree(other, ignore_errors=True)
        fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def _is_of_use(self, part: _Held) -> bool:
        idle_us = self.now_us - part.path.stat().st_mtime_ns // 1_000
        return idle_us < self._unused_us and any(map(_may_be_asked, part.readings))

    def _used(self, part: Path) -> None:
        """Note that a part is asked for now, or new: its time of change says when that was."""
        os.utime(part, ns=(self.now_us * 1_000, self.now_us * 1_000))


class _Watch:
    """Adds up what is heard of reading."""

    def __init__(self, tasks: Sequence[Task], told: Told | None) -> None:
        inputs = [each for task in tasks for each in task.inputs]
        self._told = told
        self._total = sum(each.size for each in inputs)
        self._files_total = len(inputs)
        self._files = self._bytes = self._records = 0
        self._start = time.monotonic()

    def heard(self, size: int, records: int) -> None:
        self._bytes += size
        self._records += records
        self._tell()

    def finished(self, files: int) -> None:
        self._files += files
        self._tell()

    def _tell(self) -> None:
        if self._told is not None:
            seconds = time.monotonic() - self._start
            self._told(Progress(self._files, self._files_total, self._bytes, self._total, self._records, seconds))


def _intake(held: Sequence[_Held], *, fresh: int) -> Intake:
    found = Intake(fresh=fresh)
    by_source: Counter[str] = Counter()
    for part in held:
        if any(reading.rows[1] for reading in part.readings):
            found.parts.append(part.path)
        if any(reading.usage_rows[1] for reading in part.readings):
            found.usage_parts.append(usage_beside(part.path))
        for reading in part.readings:
            _add(found, reading)
            by_source.update(reading.by_source)
    found.by_source = dict(by_source.most_common())
    return found


def _add(found: Intake, reading: Reading) -> None:
    found.files += 1
    found.records += reading.records
    found.events += reading.rows[1]
    found.usage_rows += reading.usage_rows[1]
    found.raw_bytes += reading.raw_bytes
    found.content_dropped += reading.content_dropped
    found.set_aside_count += reading.set_aside_count
    found.set_aside += reading.set_aside[: MAX_LISTED - len(found.set_aside)]
    found.unknown += reading.unknown
    if reading.lake:
        found.events += reading.records
        found.parts.append(Path(reading.place))


def _footer(path: Path) -> tuple[list[Reading], list[str]] | None:
    """What a part says of itself; None where it is damaged, so that its inputs are read anew."""
    try:
        return readings_in(path)
    except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError):
        return None


def _may_be_asked(reading: Reading) -> bool:
    """Whether a hunt can ask for it again: it was read to its end, and its input is still there."""
    return bool(reading.version) and not is_gone(reading.place)


# -- batches ----------------------------------------------------------------------------------------------------


def _batches(inputs: Sequence[Input]) -> Iterator[tuple[Input, ...]]:
    """Inputs that become one part each: the same for the same inputs, whatever was read of them before."""
    low, high = _BATCH_BYTES
    enough = min(high, max(low, sum(map(_raw_bytes, inputs)) // _BATCHES))
    batch: list[Input] = []
    size = 0
    for each in inputs:
        expected = _raw_bytes(each)
        if batch and (size + expected > enough or len(batch) == _BATCH_INPUTS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(each)
        size += expected
    if batch:
        yield tuple(batch)


def _raw_bytes(given: Input) -> int:
    return given.size * _PACKED.get(Path(given.name).suffix.lower(), 1)


def _identity(given: Input, source: str) -> Identity:
    return given.held_as, given.version, source


def _name(batch: Iterable[Input], source: str) -> str:
    return _name_of(_identity(each, source) for each in batch)


def _name_of(identities: Iterable[Identity]) -> str:
    text = "\n".join("\t".join(identity) for identity in identities)
    return f"{hashlib.blake2b(text.encode(errors='surrogateescape'), digest_size=16).hexdigest()}{SUFFIX}"


def _is_usage(path: Path) -> bool:
    return path.name.endswith(f"{USAGE_SUFFIX}{SUFFIX}")


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@lru_cache
def _readers_version() -> str:
    """Changes with the code that reads, the columns and the prices: what other code made is made anew."""
    digest = hashlib.blake2b(digest_size=8)
    package = Path(jackstop.__path__[0])
    for path in sorted(each for pattern in _MADE_BY for each in package.glob(pattern) if each.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()
