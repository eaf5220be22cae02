"""Damaged logs read as a hunt reads them, and what must hold of it whatever they are.

Nothing escapes from reading; every record becomes an event, rows of usage, or one that is set aside with its place and
hash; and nothing that a log quotes of prompts, answers, forms and queries is in what reading leaves.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jackstop.events import sources
from jackstop.events.schema import Event
from jackstop.events.sources import Source
from jackstop.events.sources.entry import Origin, UnreadableEntry
from jackstop.events.usage import COLUMNS as USAGE_COLUMNS
from jackstop.events.usage import SCHEMA as USAGE_SCHEMA
from jackstop.hunt.intake import decode
from jackstop.hunt.intake.corpus import AUTO, Corpus
from jackstop.hunt.intake.inputs import inputs_of
from jackstop.hunt.intake.parts import Reading, SetAside, columns_of, readings_in
from jackstop.hunt.intake.records import Record
from tests.hunt import damage
from tests.hunt.logs import NOW_US, PACKED
from tests.hunt.marked import MARKER, Samples, samples

FORMS = ("document", "lines", "csv", "text", *(pack for pack in PACKED if pack in {"gz", "zst", "bz2", "zip"}))
"""The forms of files, each of which is damaged as bytes; the other kind of damage is to the records of one source."""
_JSON_SOURCES = ("cloudtrail", "openai_audit", "bedrock_invocations", "openai_usage")
_BARE = b"not-marked"
_FAILED = "its reader failed"
_HASH = re.compile(r"[0-9a-f]{64}")


class Tally(msgspec.Struct):
    """What was read and what it became; the last four are what must not be, each with the way to make it again."""

    files: int = 0
    records: int = 0
    events: int = 0
    buckets: int = 0
    set_aside: int = 0
    unknown: int = 0
    escaped: list[str] = []
    lost: list[str] = []
    unplaced: list[str] = []
    marked: list[str] = []

    def faults(self) -> Iterator[tuple[str, list[str]]]:
        yield "exceptions", self.escaped
        yield "records lost", self.lost
        yield "set aside without their place or hash", self.unplaced
        yield "markers found", self.marked


class File(NamedTuple):
    """A file: its bytes as they lie there and unpacked; how many records it has, and their hashes, where known."""

    name: str
    data: bytes
    plain: bytes
    records: int | None = None
    hashes: frozenset[str] = frozenset()

    @property
    def told(self) -> str:
        """Its name as people are told it."""
        return self.name.encode(errors="surrogateescape").decode(errors="backslashreplace")


class Fuzz:
    """Damages the logs of one source, or one form of files; `keep` is where files that are found wanting go."""

    def __init__(self, what: str, seed: int, folder: Path, keep: Path | None = None) -> None:
        self.tally = Tally()
        self._what, self._seed, self._folder, self._keep = what, seed, folder, keep

    def round(self, number: int, files: int = 60, direct: int = 600) -> None:
        """Read so many damaged files, and as many damaged records without files; the same for the same number."""
        chance = random.Random(f"{self._seed}:{self._what}:{number}")
        if self._what in FORMS:
            made = [_in_form(self._what, each, chance) for each in range(files)]
            forced = AUTO
        else:
            made = [_of_source(self._what, each, chance) for each in range(files)]
            forced = chance.choice((AUTO, self._what))
            _Direct(self, sources.source(self._what), chance).run(direct)
        self.read(made, forced, f"round {number}")

    def read(self, files: list[File], forced: str, label: str) -> None:
        """Read the files into a corpus and look at what is there afterwards."""
        logs = self._folder / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        for file in files:
            (logs / file.name).write_bytes(file.data)
        try:
            self._taken(logs, files, forced, label)
        except Exception as error:
            if len(files) == 1:
                self.fault(self.tally.escaped, f"{label}, {forced}: {_last(error)}", files[0])
                return
            for file in files:
                self.read([file], forced, f"{label}, {file.told}")

    def fault(self, kind: list[str], what: str, file: File | None = None) -> None:
        kind.append(f"{self._what}, seed {self._seed}, {what}"[:400])
        if self._keep is not None and file is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{len(list(self._keep.iterdir()))}-{file.told}").write_bytes(file.data)

    def _taken(self, logs: Path, files: list[File], forced: str, label: str) -> None:
        told: list[str] = []
        home = self._folder / "corpus"
        shutil.rmtree(home, ignore_errors=True)
        with Corpus(home, NOW_US) as corpus:
            intake = corpus.take_in(
                inputs_of([str(logs)]), forced, jobs=1, told=lambda progress: told.append(str(progress))
            )
            readings = [each for part in _parts(home) for each in readings_in(part)[0]]
            by_name = {Path(each.name).name: each for each in readings}
            for file in files:
                self._reading(file, by_name.get(file.told), label)
            self._add(readings)
            if sum(each.records for each in readings) != intake.records or len(by_name) != len(files):
                self.fault(self.tally.lost, f"{label}: the files' records and the intake's differ")
            if MARKER in repr(msgspec.structs.astuple(intake)) + "".join(told):
                self.fault(self.tally.marked, f"{label}: in the list of what was set aside, or in the progress")
            for place in _marked(home):
                self.fault(self.tally.marked, f"{label}: {place}")
            if _rows(home) != (intake.events, intake.usage_rows):
                self.fault(self.tally.lost, f"{label}: rows of the parts")

    def _add(self, readings: list[Reading]) -> None:
        for each in readings:
            events = _events_of(each)
            self.tally.files += 1
            self.tally.records += each.records
            self.tally.events += events
            self.tally.buckets += sum(each.by_source.values()) - events
            self.tally.set_aside += each.set_aside_count
            self.tally.unknown += bool(each.unknown)

    def _reading(self, file: File, reading: Reading | None, label: str) -> None:
        where = f"{label}, {file.told}"
        if reading is None:
            self.fault(self.tally.lost, f"{where}: no part holds it", file)
            return
        done = sum(reading.by_source.values())
        if reading.records != done + reading.set_aside_count or reading.rows[1] != _events_of(reading):
            self.fault(self.tally.lost, f"{where}: {reading.records} in, {done} out", file)
        if file.records is not None and not reading.unknown and reading.records != file.records:
            self.fault(self.tally.lost, f"{where}: {file.records} written, {reading.records} read", file)
        for each in reading.set_aside:
            if each.why.startswith(_FAILED):
                self.fault(self.tally.escaped, f"{where}, line {each.line}: {each.why}", file)
            if not _is_placed(each, file):
                self.fault(self.tally.unplaced, f"{where}: {each}", file)


class _Direct:
    """Records read one by one without a file, as a source's reader is given them."""

    def __init__(self, fuzz: Fuzz, source: Source, chance: random.Random) -> None:
        self._fuzz, self._tally, self._source, self._chance = fuzz, fuzz.tally, source, chance
        self._origin = Origin("", "log.json", 0, NOW_US)

    def run(self, count: int) -> None:
        held, done = samples()[self._source.name], []
        for _ in range(count):
            found = _record(held, self._chance)
            self._tally.records += 1
            try:
                source, made = decode.read(self._source, found, self._origin, sure=self._chance.random() < 0.5)
            except UnreadableEntry as error:
                self._tally.set_aside += 1
                if str(error).startswith(_FAILED) or MARKER in str(error):
                    self._fault(self._tally.escaped, f"{error}: {self._cause(found)}", found)
                continue
            except Exception as error:
                self._fault(self._tally.escaped, _last(error), found)
                continue
            done.append((source, made, found))
        self._kept(done)

    def _kept(self, done: list[tuple[Source, Any, Record]]) -> None:
        """Count what was made, and see that it can be written and has no marker."""
        for source in {source for source, _, _ in done}:
            made = [rows for other, rows, _ in done if other is source]
            if source.gives == "events":
                self._tally.events += len(made)
            else:
                self._tally.buckets += len(made)
            try:
                if MARKER not in _columns(source, made):
                    continue
            except Exception:
                pass  # of which record, is found out one by one
            for found, rows in ((found, rows) for other, rows, found in done if other is source):
                self._alone(source, rows, found)

    def _alone(self, source: Source, made: Any, found: Record) -> None:
        try:
            if MARKER in _columns(source, [made]):
                self._fault(self._tally.marked, f"in an event of {source.name}", found)
        except Exception as error:
            self._fault(self._tally.escaped, f"its event cannot be written: {_last(error)}", found)

    def _fault(self, kind: list[str], what: str, found: Record) -> None:
        self._fuzz.fault(kind, what, File("record.json", found.raw, found.raw))

    def _cause(self, found: Record) -> str:
        for source in sources.in_files():
            try:
                source.read(found.cells or decode.decoder(source).decode(found.raw), self._origin)
            except (UnreadableEntry, msgspec.DecodeError, UnicodeDecodeError):
                continue
            except Exception as error:
                return _last(error)
        return ""


def _columns(source: Source, made: list[Any]) -> str:
    """The columns that these become, as text."""
    if source.gives == "events":
        events: list[Event] = made
        return str(columns_of(events, source.name, source.provider).to_pydict())
    rows = [row for each in made for row in each]
    columns = {name: [getattr(row, name) for row in rows] for name in USAGE_COLUMNS}
    return str(pa.table(columns, USAGE_SCHEMA).to_pydict())


# -- files ------------------------------------------------------------------------------------------------------


def _record(held: Samples, chance: random.Random) -> Record:
    kind = chance.randrange(10)
    if held.rows and kind < 3:
        cells = damage.in_row(chance.choice(held.rows), chance)
        row = {name: text.encode(errors="replace").decode() for name, text in cells.items()}
        return Record(repr(row).encode(errors="replace"), 1, 0, row)
    if held.lines and kind < 8:
        return Record(damage.in_line(chance.choice(held.lines), chance).encode(errors="replace").strip(), 1, 0)
    return Record(damage.written(damage.in_record(chance.choice(_pool(held, chance)), chance), chance), 1, 0)


def _pool(held: Samples, chance: random.Random) -> list[dict[str, Any]]:
    return held.real if held.real and chance.random() < 0.4 else held.records


def _of_source(name: str, number: int, chance: random.Random) -> File:
    """A file with damaged records of a source, or a damaged file with whole ones."""
    held = samples()[name]
    form = chance.choice(("document", "lines", *(["csv"] * bool(held.rows)), *(["text"] * 3 * bool(held.lines))))
    if chance.random() < 0.3:
        return _bytes_damaged(held, form, chance.choice(("plain", "plain", "gz", "zst", "bz2", "zip")), number, chance)
    pack = chance.choice(("plain", "plain", *PACKED))
    held = held._replace(lines=_alike(held.lines, chance))
    made = [_record_of(held, form, chance) for _ in range(chance.randrange(1, 7))]
    plain = _joined(form, made, sources.source(name), chance)
    # Broken records of a document that follow one another are one, and one may hold another that is whole.
    known = form == "csv" or (form == "text" and held.lines[0][0] != "{") or all(map(_is_sound, made))
    hashes = frozenset(hashlib.sha256(each).hexdigest() for each in made if form != "csv")
    return File(_name(number, chance), PACKED[pack](plain), plain, len(made) if known else None,
                hashes if known else frozenset())  # fmt: skip


def _in_form(what: str, number: int, chance: random.Random) -> File:
    """A damaged file of a form, or of any that is packed so."""
    form = what if what in {"document", "lines", "csv", "text"} else chance.choice(("document", "lines", "csv", "text"))
    names = {"csv": ("cloudtrail", "litellm_spend", "openai_usage"), "text": ("access_log",)}.get(form, _JSON_SOURCES)
    return _bytes_damaged(samples()[chance.choice(names)], form, "plain" if form == what else what, number, chance)


def _bytes_damaged(held: Samples, form: str, pack: str, number: int, chance: random.Random) -> File:
    """Whole records in a file that is cut, or damaged anywhere, as it lies there or before it is packed."""
    whole = [_whole(held, form, chance) for _ in range(chance.randrange(1, 12))]
    source = next(source for source in sources.in_files() if samples()[source.name] is held)
    plain = _joined(form, whole, source, chance)
    if chance.random() < 0.25:
        plain = plain[: chance.randrange(len(plain) + 1)]
        return File(_name(number, chance), PACKED[pack](plain), plain)
    # Damage can move any text to any place, so that content cannot be told from the rest.
    plain = plain.replace(MARKER.encode(), _BARE)
    if pack == "plain" or chance.random() < 0.2:
        plain = damage.in_bytes(plain, chance)
        return File(_name(number, chance), PACKED[pack](plain), plain)
    return File(_name(number, chance), damage.in_bytes(PACKED[pack](plain), chance), b"")


def _alike(lines: list[str], chance: random.Random) -> list[str]:
    """The lines that are JSON, or those that are not: no server writes both into one file."""
    as_json = chance.random() < 0.3
    return [line for line in lines if line.startswith("{") is as_json]


def _record_of(held: Samples, form: str, chance: random.Random) -> bytes:
    if form == "csv":
        return _cells(damage.in_row(chance.choice(held.rows[:1]), chance).values())
    if form == "text":
        return damage.in_line(chance.choice(held.lines), chance).encode(errors="replace").strip() or b"-"
    made = damage.written(damage.in_record(chance.choice(_pool(held, chance)), chance), chance)
    return b" ".join(made.split(b"\n")) if form == "lines" else made


def _whole(held: Samples, form: str, chance: random.Random) -> bytes:
    if form == "csv":
        return _cells(held.rows[0].values())
    if form == "text":
        return chance.choice(held.lines).encode()
    return msgspec.json.encode(chance.choice(_pool(held, chance)))


def _joined(form: str, made: list[bytes], source: Source, chance: random.Random) -> bytes:
    if form == "csv":
        return _cells(samples()[source.name].rows[0]) + b"".join(made)
    if form != "document":
        return b"\n".join(made) + b"\n" * chance.randrange(2)
    if source.lists and chance.random() < 0.7:
        return b'{"%s": [%s]}' % (chance.choice(source.lists).encode(), b",\n".join(made))
    return b"[%s]" % b",".join(made)


def _cells(values: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue().encode(errors="surrogatepass")


def _is_sound(raw: bytes) -> bool:
    """Whether it is JSON, so that its end can be told."""
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _name(number: int, chance: random.Random) -> str:
    return f"{number}{chance.choice(_ENDS)}"


_ENDS = (".json", ".log", ".é", ".\udcff", " #?:")
"""Of names of files, one of which is no text."""


# -- what is there afterwards -----------------------------------------------------------------------------------


def _parts(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*.parquet") if ".usage." not in path.name)


def _rows(home: Path) -> tuple[int, int]:
    def rows(usage: bool) -> int:
        return sum(
            pq.read_metadata(path).num_rows for path in home.rglob("*.parquet") if (".usage." in path.name) is usage
        )

    return rows(usage=False), rows(usage=True)


def _events_of(reading: Reading) -> int:
    return sum(count for name, count in reading.by_source.items() if sources.source(name).gives == "events")


def _marked(home: Path) -> Iterator[str]:
    """Where the marker is in what lies there."""
    for path in home.rglob("*"):
        if path.is_file() and MARKER.encode() in path.read_bytes():
            yield f"in the bytes of {path.suffix}"
        if path.suffix != ".parquet":
            continue
        if MARKER in str(pq.read_metadata(path).metadata):
            yield "in a footer"
        table = pq.read_table(path)
        for name in table.column_names:
            if pa.types.is_string(table[name].type) and pc.any(pc.match_substring(table[name], MARKER)).as_py():
                yield f"in the column {name}"


def _is_placed(found: SetAside, file: File) -> bool:
    """Whether it names the file, a line and an offset that are in it, and a hash, a record's where those are known."""
    if file.told not in found.file or not _HASH.fullmatch(found.sha256) or found.line < 1 or found.offset < 0:
        return False
    if file.hashes and found.sha256 not in file.hashes:
        return False
    return not file.plain or (found.offset <= len(file.plain) and found.line <= file.plain.count(b"\n") + 1)


def _last(error: Exception) -> str:
    """An exception and where it came from."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    ours = [each for each in traceback.extract_tb(error.__traceback__) if "/jackstop/" in each.filename]
    at = ours[-1] if ours else frame
    return f"{type(error).__name__}: {str(error)[:150]!r} at {Path(at.filename).name}:{at.lineno}"


def run(what: str, seed: int, folder: Path, *, until: Callable[[Tally], bool], keep: Path | None = None) -> Tally:
    """Round after round until `until` says so of the tally."""
    fuzz = Fuzz(what, seed, folder, keep)
    number = 0
    while not until(fuzz.tally):
        fuzz.round(number)
        number += 1
    return fuzz.tally
