"""Runs the detections that are due on the tables of a DuckDB connection, and says what is new in what they find.

A detection is monotone: more events never unmake a finding, and a finding is about the tumbling window in which it was
first seen. So it does not matter how often, and on how much at once, a detection runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
from msgspec.structs import replace

from jackstop.cases.finding import SEVERITIES, Finding, uid_of
from jackstop.detections.catalogue import Catalogue, Detection
from jackstop.events.analytics import DAY_US, HOUR_US, MINUTE_US

LIVE = frozenset({"gate", "openai_audit", "anthropic_activity"})
"""Sources whose events a running system sees as they come. Detections on other logs run in hunts."""
KEEP_US = 2 * DAY_US
"""How long a finding stays in the table `findings`, and is known again by its uid."""
_GROWN_US = MINUTE_US
_NEVER_US = 1 << 62
_LEVEL = {severity: place for place, severity in enumerate(SEVERITIES)}
_SCHEMA = pa.schema(
    [
        ("detection", pa.string()),
        ("severity", pa.string()),
        ("entity", pa.string()),
        ("first_seen", pa.int64()),
        ("last_seen", pa.int64()),
        ("count", pa.int64()),
    ]
)
_UNIQUE = ("detection", "entity", "first_seen")
# The column of each table that says when, and what it is rounded down to.
_TIMES = {"events": ("ts", 1), "minutes": ("minute", MINUTE_US), "sightings": ("hour", HOUR_US)}
_APART_US = 5_000_000
_REWRITE_ROWS = 20_000
"""After so many changes the table `findings` is written anew, since what was changed leaves a gap in it."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Spent:
    """How often one detection ran, how long that took, and how often it failed."""

    runs: int = 0
    us: int = 0
    longest_us: int = 0
    failures: int = 0


@dataclass(slots=True)
class _State:
    """Of one detection: when it is due, and the oldest event that it has not looked at (0: everything).

    `late_us` is how long after a multiple of its cadence: those of one cadence do not all come at once.
    """

    late_us: int
    due_us: int = 0
    oldest_us: int = 0
    failing: bool = False
    spent: Spent = field(default_factory=Spent)


class Engine:
    """The live run of a catalogue. `off` names detections that are not wanted, `sources` what there are events of."""

    def __init__(self, catalogue: Catalogue, off: Iterable[str] = (), *, sources: frozenset[str] | None = None) -> None:
        unwanted = set(off)
        for name in sorted(unwanted - set(catalogue)):
            _log.error("there is no detection %s to turn off: see `jackstop detections list`", name)
        here = [each for each in catalogue.values() if sources is None or not sources.isdisjoint(each.about.sources)]
        wanted = [each for each in here if each.name not in unwanted]
        # What puts findings together comes last.
        self._order = sorted(wanted, key=lambda each: each.reads_findings)
        self._by_name = {each.name: each for each in wanted}
        self._states = {each.name: _State(late_us) for each, late_us in _apart(wanted)}
        self._found: dict[str, Finding] = {}
        self._reported: dict[str, Finding] = {}
        # What the table `findings` has, the uids that it does not have as they are, and how often it was changed.
        self._mirrored: dict[str, Finding] = {}
        self._stale: set[str] = set()
        self._changes = 0
        # The uids that may be news.
        self._touched: dict[str, None] = {}

    @property
    def spent(self) -> dict[str, Spent]:
        """What each detection has cost so far."""
        return {name: state.spent for name, state in self._states.items()}

    @property
    def failing(self) -> list[str]:
        """The detections whose last run failed: as long as they do, they see nothing."""
        return sorted(name for name, state in self._states.items() if state.failing)

    @property
    def found(self) -> list[Finding]:
        """Every finding of the last two days, as far as it has grown."""
        return list(self._found.values())

    def restore(self, connection: duckdb.DuckDBPyConnection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in findings of the last two days that were reported before this process began."""
        for row in rows:
            detection = self._by_name.get(row["detection"])
            if detection is not None:
                finding = finding_of(detection, dict(row))
                self._found[finding.uid] = self._reported[finding.uid] = finding
                self._stale.add(finding.uid)
        connection.execute("TRUNCATE findings")
        self._mirrored = {}
        self._mirror(connection)

    def cycle(self, connection: duckdb.DuckDBPyConnection, now_us: int, oldest_us: int | None = 0) -> list[Finding]:
        """Run what is due; returns the findings that are new, or have grown worth telling.

        `oldest_us` is the time of the oldest event that came in since the cycle before, None where none did: windows
        that ended before it need no second look. Zero looks at everything that there is.
        """
        for state in self._states.values():
            state.oldest_us = min(state.oldest_us, now_us if oldest_us is None else oldest_us)
        due = [each for each in self._order if self._states[each.name].due_us <= now_us]
        for detection in due:
            state = self._states[detection.name]
            state.due_us = _next_us(now_us - state.late_us, detection.cadence_us) + state.late_us
        if not due:
            return []
        self._forget(now_us)
        self._run(connection, due)
        return self._news()

    def once(self, connection: duckdb.DuckDBPyConnection) -> list[Finding]:
        """Run everything on everything that there is; returns all findings."""
        for state in self._states.values():
            state.oldest_us = 0
        self._run(connection, self._order)
        return self.found

    def _run(self, connection: duckdb.DuckDBPyConnection, due: list[Detection]) -> None:
        allowed = connection.execute("SELECT detection, entity, until_ts FROM allow").fetchall()
        for detection in due:
            if detection.reads_findings:
                self._mirror(connection)
            for finding in self._look(connection, detection):
                if not _is_allowed(finding, allowed):
                    self._take(finding)
        self._mirror(connection)

    def _take(self, finding: Finding) -> None:
        before = self._found.get(finding.uid)
        after = finding if before is None else merged(before, finding)
        if after != before:
            self._found[finding.uid] = after
            self._stale.add(finding.uid)
            self._touched[finding.uid] = None

    def _look(self, connection: duckdb.DuckDBPyConnection, detection: Detection) -> list[Finding]:
        """What one detection finds. One that fails is logged once, and tried again at its next turn."""
        state = self._states[detection.name]
        began_ns = time.monotonic_ns()
        try:
            found = findings_of(connection, detection, state.oldest_us)
        except duckdb.InterruptException:
            raise
        except (duckdb.Error, KeyError, TypeError, ValueError) as error:
            state.spent.failures += 1
            if not state.failing:
                _log.error("the detection %s fails: %s", detection.name, str(error).partition("\n")[0])
            state.failing = True
            return []
        took_us = (time.monotonic_ns() - began_ns) // 1000
        state.failing, state.oldest_us = False, _NEVER_US
        state.spent.runs += 1
        state.spent.us += took_us
        state.spent.longest_us = max(state.spent.longest_us, took_us)
        return found

    def _mirror(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Bring the table `findings` to what was found so far."""
        if not self._stale:
            return
        self._changes += len(self._stale)
        if self._changes > _REWRITE_ROWS:
            connection.execute("TRUNCATE findings")
            self._changes, self._mirrored = 0, {}
            self._stale = set(self._found)
        gone = [self._mirrored.pop(uid) for uid in self._stale if uid in self._mirrored]
        here = {uid: self._found[uid] for uid in self._stale if uid in self._found}
        if gone:
            with _shown(connection, gone) as table:
                same = " AND ".join(f"findings.{name} = {table}.{name}" for name in _UNIQUE)
                connection.execute(f"DELETE FROM findings USING {table} WHERE {same}")  # noqa: S608 -- names of our own
        if here:
            with _shown(connection, here.values()) as table:
                connection.execute(f"INSERT INTO findings ({', '.join(_SCHEMA.names)}) SELECT * FROM {table}")  # noqa: S608 -- as above
        self._mirrored.update(here)
        self._stale = set()

    def _news(self) -> list[Finding]:
        touched = [self._found[uid] for uid in self._touched if uid in self._found]
        news = [each for each in touched if is_news(self._reported.get(each.uid), each)]
        self._reported.update((each.uid, each) for each in news)
        self._touched = {}
        return news

    def _forget(self, now_us: int) -> None:
        for uid in [uid for uid, each in self._found.items() if each.last_seen < now_us - KEEP_US]:
            del self._found[uid]
            self._reported.pop(uid, None)
            self._stale.add(uid)


def _apart(wanted: list[Detection]) -> Iterator[tuple[Detection, int]]:
    """How late each detection is, so that those of one cadence come one after the other."""
    for cadence_us in {each.cadence_us for each in wanted}:
        alike = [each for each in wanted if each.cadence_us == cadence_us]
        for place, each in enumerate(alike):
            late_us = place * cadence_us // len(alike)
            yield each, late_us - late_us % _APART_US


def _next_us(now_us: int, cadence_us: int) -> int:
    return now_us - now_us % cadence_us + cadence_us


@contextmanager
def _shown(connection: duckdb.DuckDBPyConnection, findings: Iterable[Finding]) -> Iterator[str]:
    """The name under which the connection sees some findings meanwhile."""
    rows = list(findings)
    columns = {name: [getattr(each, name) for each in rows] for name in _SCHEMA.names}
    connection.register("shown", pa.table(columns, schema=_SCHEMA))
    try:
        yield "shown"
    finally:
        connection.unregister("shown")


def findings_of(connection: duckdb.DuckDBPyConnection, detection: Detection, oldest_us: int = 0) -> list[Finding]:
    """Run one detection over the windows from that of `oldest_us` on; one finding for each uid.

    Raises duckdb.Error when the SQL fails, KeyError, TypeError or ValueError when its columns are not a finding's.
    """
    since_us = oldest_us - oldest_us % detection.step_us - detection.reach_us
    cursor = connection.execute(_since(detection, since_us))
    names = [column[0] for column in cursor.description or ()]
    return gathered(detection, names, cursor.fetchall())


def gathered(detection: Detection, names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> list[Finding]:
    """One finding for each uid, the same in whichever order an engine gives the rows.

    Raises KeyError, TypeError or ValueError when the columns are not a finding's.
    """
    found: dict[str, Finding] = {}
    for row in sorted(rows, key=repr):
        finding = finding_of(detection, dict(zip(names, row, strict=True)))
        before = found.get(finding.uid)
        found[finding.uid] = finding if before is None else merged(before, finding)
    return list(found.values())


def _since(detection: Detection, since_us: int) -> str:
    """The detection's SQL with the tables of events cut down to what can still change."""
    if since_us <= 0:
        return detection.sql
    cut = [
        f"{table} AS NOT MATERIALIZED (SELECT * FROM {table} WHERE {column} >= {since_us - since_us % unit})"  # noqa: S608 -- as above
        for table, (column, unit) in _TIMES.items()
        if table in detection.tables
    ]
    return f"WITH {', '.join(cut)} SELECT * FROM (\n{detection.sql}\n)" if cut else detection.sql  # noqa: S608 -- as above


def finding_of(detection: Detection, row: dict[str, Any]) -> Finding:
    """The finding of one row: four columns that each has, two that it may have, and the rest as evidence."""
    entity, first_seen = str(row.pop("entity")), int(row.pop("first_seen"))
    last_seen, count = int(row.pop("last_seen")), int(row.pop("count"))
    severity = row.pop("severity", None) or detection.about.severity
    if severity not in _LEVEL:
        raise ValueError(f"{severity!r} is no severity")
    row.pop("detection", None)
    return Finding(
        uid=uid_of(detection.name, entity, first_seen - first_seen % detection.window_us),
        detection=detection.name,
        severity=severity,
        entity=entity,
        first_seen=first_seen,
        last_seen=last_seen,
        count=count,
        cause=row.pop("cause", None) or "",
        evidence={name: value if isinstance(value, str | int | None) else str(value) for name, value in row.items()},
        sources=detection.about.sources,
        # What a description asks for is for its own severity: worse gets what is due to that.
        response=detection.about.response if _LEVEL[severity] <= _LEVEL[detection.about.severity] else "",
    )


def merged(one: Finding, other: Finding) -> Finding:
    """Two looks at the same thing: neither takes anything back."""
    larger = other if other.count >= one.count else one
    return replace(
        larger,
        severity=max(one.severity, other.severity, key=_LEVEL.__getitem__),
        first_seen=min(one.first_seen, other.first_seen),
        last_seen=max(one.last_seen, other.last_seen),
        evidence=larger.evidence or one.evidence,
        cause=larger.cause or one.cause,
    )


def is_news(reported: Finding | None, found: Finding) -> bool:
    return (
        reported is None
        or _LEVEL[found.severity] > _LEVEL[reported.severity]
        or found.count >= 2 * max(1, reported.count)
        or found.last_seen >= reported.last_seen + _GROWN_US
    )


def _is_allowed(finding: Finding, allowed: list[tuple[str, str, int | None]]) -> bool:
    return any(
        detection in {"*", finding.detection}
        and entity in {"*", finding.entity}
        and (not until_us or finding.first_seen < until_us)
        for detection, entity, until_us in allowed
    )
