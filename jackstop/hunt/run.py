"""One hunt from end to end: files are taken in, an engine opened on them, detections run, and gaps looked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jackstop.cases.finding import Finding
from jackstop.cases.steps import About
from jackstop.clock import Clock
from jackstop.detections.catalogue import Detection, available
from jackstop.detections.engine import is_news, merged
from jackstop.errors import UserError
from jackstop.hunt import activity, allow, coverage, gaps
from jackstop.hunt.allow import Allowances, LeftOut
from jackstop.hunt.coverage import Coverage, Seen
from jackstop.hunt.engines import DetectionFailed, Engine
from jackstop.hunt.keeping import FOLDER
from jackstop.hunt.replay import LIVE, of_traffic, replayed
from jackstop.hunt.report.result import Counts, Result, in_order
from jackstop.hunt.tables import HAS_KEYS
from jackstop.settings import Home, load

if TYPE_CHECKING:
    from jackstop.hunt.intake.corpus import Corpus, Intake
    from jackstop.hunt.intake.inputs import Input
    from jackstop.hunt.intake.progress import Progress

ALLOW_FILE = "hunt-allow.toml"
AUTO = "auto"


class Asked(NamedTuple):
    """What a person asked for. `detections` are names, none for all; findings that ended before `since_us` are left."""

    source: str = AUTO
    engine: str = "duckdb"
    spark_url: str = ""
    allow: Path | None = None
    detections: tuple[str, ...] = ()
    since_us: int | None = None
    keep: bool = True


class _Looked(NamedTuple):
    """What the detections found; `unasked` would have fitted the logs, and was not asked for."""

    findings: list[Finding]
    left_out: list[LeftOut]
    failed: dict[str, str]
    ran: list[Detection]
    unasked: list[str]


class Hunt:
    """A hunt that can be made again as files are added: what is read once stays read."""

    def __init__(self, asked: Asked, home: Home, clock: Clock) -> None:
        """Raises UserError for a detection that there is not, and an allow-list that makes no sense."""
        self._asked, self._home, self._clock = asked, home, clock
        self._catalogue = available(home)
        for name in asked.detections:
            if name not in self._catalogue:
                raise UserError(f"there is no detection {name!r}", "see `jackstop detections list`", 2)
        self._allow()

    def run(self, inputs: Sequence[Input], told: Callable[[Progress], None] | None = None) -> Result:
        """Take in what is new, and run the detections on everything. Raises UserError."""
        began_us = self._clock.now_us()
        with self._folder() as folder, self._corpus(folder, began_us) as corpus:
            intake = corpus.take_in(inputs, self._asked.source, told=told)
            _check(intake, self._asked.source)
            return self._look(folder, intake, began_us)

    def watch(
        self, paths: Sequence[str], pause: Callable[[], bool], told: Callable[[Progress], None] | None = None
    ) -> Iterator[Result]:
        """The same at once, and each time that files were added, until `pause` says False. Raises UserError."""
        from jackstop.hunt.intake.watch import watched

        began_us = self._clock.now_us()
        with self._folder() as folder, self._corpus(folder, began_us) as corpus:
            for intake in watched(corpus, self._clock, paths, pause, self._asked.source, told=told):
                yield self._look(folder, intake, self._clock.now_us())

    def _look(self, folder: Path, intake: Intake, began_us: int) -> Result:
        with closing(self._engine(folder)) as engine:
            return self._look_with(engine, intake, began_us)

    def _look_with(self, engine: Engine, intake: Intake, began_us: int) -> Result:
        allowances = self._allow()
        engine.open(intake.parts, intake.usage_parts, allowances.rows())
        seen = coverage.look(engine.rows)
        looked = self._detect(engine, seen, intake.parts, allowances)
        covered, gaps_left = self._cover(seen, looked, intake, allowances)
        return Result(
            engine=self._asked.engine,
            began_us=began_us,
            findings=in_order(looked.findings),
            abouts={each.name: _about(each) for each in looked.ran},
            failed=looked.failed,
            ran=tuple(each.name for each in looked.ran),
            left_out=(*looked.left_out, *gaps_left),
            expired=allowances.expired,
            coverage=covered,
            counts=counts_of(intake),
            activity=activity.look(engine.rows, seen, looked.findings),
            took_us=self._clock.now_us() - began_us,
        )

    def _detect(self, engine: Engine, seen: Seen, parts: Sequence[Path], allowances: Allowances) -> _Looked:
        """Run what the logs are for; what puts findings together comes last, and sees those of the others."""
        traffic = of_traffic(self._catalogue.values()) if engine.rows(HAS_KEYS)[0][0] else []
        others = [each for each in self._catalogue.values() if seen.sources & (set(each.about.sources) - {LIVE})]
        fitting = {each.name: each for each in (*traffic, *others)}
        wanted = set(self._asked.detections or fitting)
        ran = [each for name, each in fitting.items() if name in wanted]
        looked = _Looked([], [], {}, ran, sorted(fitting.keys() - wanted))

        def take(found: Sequence[Finding]) -> None:
            stay, left = allowances.split(_once(found, seen.sources))
            engine.note(stay)
            looked.findings.extend(each for each in stay if self._is_late(each))
            looked.left_out.extend(left)

        try:
            take(replayed(parts, [each for each in traffic if each.name in wanted]) if traffic else [])
        except UserError as error:
            looked.failed.update((each.name, error.problem) for each in traffic if each.name in wanted)
        for detection in sorted(others, key=lambda each: each.reads_findings):
            if detection.name in wanted:
                try:
                    take(engine.findings(detection))
                except DetectionFailed as error:
                    looked.failed[detection.name] = str(error)
        return looked

    def _is_late(self, finding: Finding) -> bool:
        return self._asked.since_us is None or finding.last_seen >= self._asked.since_us

    def _cover(
        self, seen: Seen, looked: _Looked, intake: Intake, allowances: Allowances
    ) -> tuple[Coverage, list[LeftOut]]:
        taken = gaps.Taken(
            records=intake.records,
            set_aside=intake.set_aside_count,
            first_set_aside=intake.set_aside,
            unknown=intake.unknown,
            failed=looked.failed,
            unasked=looked.unasked,
            ran=looked.ran,
            findings=looked.findings,
        )
        fitting = {*looked.unasked, *(each.name for each in looked.ran)}
        stay, left = [], []
        for gap in gaps.gaps_of(seen, taken):
            allowance = allowances.of(f"gap:{gap.name}", gap.where)
            if allowance is None:
                stay.append(gap)
            else:
                left.append(allow.left_out(allowance, f"gap:{gap.name}", gap.where, gap.level, 1))
        found = Coverage(
            spans=seen.spans,
            buckets=seen.buckets,
            gaps=tuple(stay),
            ran=len(looked.ran) - len(looked.failed),
            not_run=gaps.not_run(each for each in self._catalogue.values() if each.name not in fitting),
            unproven=gaps.unproven(looked.findings),
        )
        return found, left

    def _allow(self) -> Allowances:
        files = [path for path in (self._home.root / ALLOW_FILE,) if path.exists()]
        if self._asked.allow is not None:
            files.append(self._asked.allow)
        names = [*self._catalogue, *(f"gap:{name}" for name in gaps.NAMES)]
        return allow.load(files, names, self._clock.now_us())

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """Where what was read is kept; with `keep` off a folder that is gone afterwards."""
        if not self._asked.keep:
            folder = Path(tempfile.mkdtemp(prefix="jackstop-hunt-"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return
        folder = self._home.root / FOLDER
        try:
            for each in (self._home.root, folder):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be made: {error.strerror}", "set JACKSTOP_HOME to a folder of yours, or use --no-keep"
            ) from None
        yield folder

    def _corpus(self, folder: Path, now_us: int) -> Corpus:
        from jackstop.hunt.intake.corpus import Corpus

        return Corpus(folder, now_us, unused_days=load(self._home).lake.address_retention_days)

    def _engine(self, folder: Path) -> Engine:
        if self._asked.engine == "spark":
            from jackstop.hunt.engines.spark import SparkEngine

            return SparkEngine(self._asked.spark_url)
        from jackstop.hunt.engines.duckdb import DuckEngine

        return DuckEngine(folder)


def news(result: Result, told: dict[str, Finding]) -> list[Finding]:
    """The findings that are new, or have become worth telling again, beside those that were `told`, which grows."""
    fresh = [each for each in result.findings if is_news(told.get(each.uid), each)]
    told.update((each.uid, each) for each in fresh)
    return fresh


def _about(detection: Detection) -> About:
    told = detection.about
    return About(told.title, told.meaning, told.what_to_do, told.attack, told.atlas, told.id, told.severity)


def _check(intake: Intake, source: str) -> None:
    """Raises UserError where there is nothing to look at."""
    if not intake.files and not intake.unknown:
        raise UserError("there is no file in what was named", "name the folder that the logs are in", 2)
    if intake.events or intake.usage_rows:
        return
    if intake.set_aside_count and source != AUTO:
        first = intake.set_aside[0]
        raise UserError(
            f"no record of {intake.set_aside_count:,} is one of {source}: {first.file}:{first.line}: {first.why}",
            "leave --source out, and the format is found by content",
            2,
        )
    if intake.unknown and not intake.set_aside_count:
        file, why = intake.unknown[0]
        more = f", and of {len(intake.unknown) - 1} others none is either" if len(intake.unknown) > 1 else ""
        raise UserError(
            f"{file} is no log that a hunt reads: {why}{more}",
            "see docs/hunt.md for the formats, and name one with --source if you know which it is",
            2,
        )


def _once(found: Sequence[Finding], sources: frozenset[str]) -> list[Finding]:
    """One finding for each uid, which names the sources that there were."""
    from msgspec.structs import replace

    by_uid: dict[str, Finding] = {}
    for each in found:
        before = by_uid.get(each.uid)
        by_uid[each.uid] = each if before is None else merged(before, each)
    return [replace(each, sources=tuple(name for name in each.sources if name in sources)) for each in by_uid.values()]


def counts_of(intake: Intake) -> Counts:
    """What was taken in, as it is told."""
    return Counts(
        files=intake.files,
        records=intake.records,
        events=intake.events,
        usage=intake.usage_rows,
        content_dropped=intake.content_dropped,
        set_aside_records=intake.set_aside_count,
        set_aside=tuple(intake.set_aside),
        unknown=tuple(intake.unknown),
        by_source=dict(intake.by_source),
    )
