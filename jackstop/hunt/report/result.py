"""What came of a hunt, as all its outputs tell it: findings, the cases that they make, coverage and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from jackstop.cases.finding import SEVERITIES, Finding
from jackstop.cases.steps import About, in_one
from jackstop.hunt.activity import Activity
from jackstop.hunt.allow import Allowance, LeftOut
from jackstop.hunt.coverage import Coverage
from jackstop.hunt.intake.parts import SetAside

_LEVEL: dict[str, int] = {severity: level for level, severity in enumerate(SEVERITIES)}
BLIND = "blind"
_NOTHING = {None, ""}
_OURS = "gate"
_ELSEWHERE = (
    "This key is another gateway's: block it there, since `jackstop key` and `jackstop cases respond` act on the keys "
    "that Jackstop issued. What is said of them below is done there too."
)


class Counts(msgspec.Struct, frozen=True):
    """What was taken in. `set_aside` are the first of the `set_aside_records`; `unknown` files with the reason."""

    files: int
    records: int
    events: int
    usage: int
    content_dropped: int
    set_aside_records: int
    set_aside: tuple[SetAside, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    by_source: dict[str, int] = {}


class Sign(msgspec.Struct, frozen=True):
    """What one detection found in a case: its findings put together, with the evidence of the worst of them."""

    detection: str
    severity: str
    first_seen: int
    last_seen: int
    count: int
    findings: int
    evidence: dict[str, str | int | None]
    history: str
    about: About


class Case(msgspec.Struct, frozen=True):
    """Findings about one entity, or of one cause, oldest first. Its `severity` is the highest of theirs.

    `signs` are the same by detections, most severe first.
    """

    entity: str
    entities: tuple[str, ...]
    severity: str
    first_seen: int
    last_seen: int
    findings: tuple[Finding, ...]
    signs: tuple[Sign, ...]

    @property
    def title(self) -> str:
        """That of its worst sign."""
        return self.signs[0].about.title

    @property
    def accounts(self) -> list[str]:
        """The accounts that the evidence names."""
        named = (str(each.evidence.get("account") or "") for each in self.findings)
        own = (each.removeprefix("account:") for each in self.entities if each.startswith("account:"))
        return sorted({*named, *own} - {""})

    @property
    def steps(self) -> list[str]:
        """What to do, in the order that the most severe findings ask for; each step once."""
        first = [step for each in self.findings for step in _first_steps(each)]
        return in_one([first, *(sign.about.what_to_do for sign in self.signs)])


class Result(msgspec.Struct, frozen=True):
    """One hunt. Times are UTC microseconds.

    `failed` says of each detection that failed why, `abouts` of each that found something what it means.
    """

    engine: str
    began_us: int
    took_us: int
    findings: tuple[Finding, ...]
    abouts: dict[str, About]
    failed: dict[str, str]
    ran: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    expired: tuple[Allowance, ...]
    coverage: Coverage
    counts: Counts
    activity: Activity

    @property
    def cases(self) -> list[Case]:
        """The findings by what they are about, most severe first."""
        return cases_of(self.findings, self.abouts)

    def status(self, fail_on: str | None) -> int:
        """The exit status: 3 where a detection failed, 1 where `fail_on` (a severity or `blind`) matched."""
        if self.failed:
            return 3
        if fail_on == BLIND:
            return int(any(gap.level == BLIND for gap in self.coverage.gaps))
        return int(fail_on is not None and any(_LEVEL[each.severity] >= _LEVEL[fail_on] for each in self.findings))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The most severe first, each severity in the order of time."""
    order = sorted(findings, key=lambda each: (each.first_seen, each.detection, each.entity))
    return tuple(sorted(order, key=lambda each: -_LEVEL[each.severity]))


def cases_of(findings: Iterable[Finding], abouts: dict[str, About]) -> list[Case]:
    """Findings that share an entity or a cause are one case, and so on; most severe first, then the latest."""
    order = sorted(findings, key=lambda each: (each.first_seen, each.detection, each.entity))
    first_of: dict[str, int] = {}
    group = list(range(len(order)))

    def root(place: int) -> int:
        while group[place] != place:
            place = group[place]
        return place

    for place, finding in enumerate(order):
        for name in (f"entity {finding.entity}", f"cause {finding.cause}" if finding.cause else ""):
            if name:
                group[root(place)] = root(first_of.setdefault(name, place))
    gathered: dict[int, list[Finding]] = {}
    for place, finding in enumerate(order):
        gathered.setdefault(root(place), []).append(finding)
    made = [_case(found, abouts) for found in gathered.values()]
    return sorted(made, key=lambda case: (-_LEVEL[case.severity], -case.last_seen, case.entity))


def _case(found: Sequence[Finding], abouts: dict[str, About]) -> Case:
    worst = max(found, key=lambda each: _LEVEL[each.severity])
    return Case(
        entity=worst.entity,
        entities=tuple(dict.fromkeys([worst.entity, *(each.entity for each in found)])),
        severity=worst.severity,
        first_seen=found[0].first_seen,
        last_seen=max(each.last_seen for each in found),
        findings=tuple(found),
        signs=tuple(_signs(found, abouts)),
    )


def _signs(found: Sequence[Finding], abouts: dict[str, About]) -> list[Sign]:
    by_name: dict[str, list[Finding]] = {}
    for each in found:
        by_name.setdefault(each.detection, []).append(each)
    signs = [_sign(same, abouts[name]) for name, same in by_name.items()]
    # Of signs that are alike severe, one that is so of itself says more than one that became so.
    return sorted(signs, key=lambda sign: (-_LEVEL[sign.severity], -_LEVEL[sign.about.severity], sign.first_seen))


def _sign(found: Sequence[Finding], what: About) -> Sign:
    worst = max(found, key=lambda each: (_LEVEL[each.severity], each.count))
    return Sign(
        detection=worst.detection,
        severity=worst.severity,
        first_seen=min(each.first_seen for each in found),
        last_seen=max(each.last_seen for each in found),
        count=sum(each.count for each in found),
        findings=len(found),
        evidence={name: value for name, value in worst.evidence.items() if name != "history" and value not in _NOTHING},
        history=history_of(worst),
        about=what,
    )


def told(finding: Finding, what: About) -> dict[str, Any]:
    """A finding as JSON."""
    return {
        "uid": finding.uid,
        "detection": finding.detection,
        "id": what.id,
        "title": what.title,
        "severity": finding.severity,
        "entity": finding.entity,
        "first_seen": finding.first_seen,
        "last_seen": finding.last_seen,
        "count": finding.count,
        "cause": finding.cause,
        "history": history_of(finding),
        "evidence": finding.evidence,
        "sources": list(finding.sources),
        "meaning": what.meaning,
        "what_to_do": [*_first_steps(finding), *what.what_to_do],
    }


def _first_steps(finding: Finding) -> list[str]:
    """What goes before a detection's own steps: they are written for keys of this gate."""
    return [_ELSEWHERE] if finding.entity.startswith("key:") and _OURS not in finding.sources else []


def history_of(finding: Finding) -> str:
    """`known` where the account's earlier events say what is new, `unproven` where there are none, "" elsewhere."""
    return str(finding.evidence.get("history") or "")


def as_json(result: Result) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "findings": [told(each, result.abouts[each.detection]) for each in result.findings],
        "cases": [
            {
                "title": case.title,
                "severity": case.severity,
                "entity": case.entity,
                "entities": list(case.entities),
                "accounts": case.accounts,
                "first_seen": case.first_seen,
                "last_seen": case.last_seen,
                "findings": [each.uid for each in case.findings],
                "what_to_do": case.steps,
            }
            for case in result.cases
        ],
        "coverage": msgspec.to_builtins(result.coverage),
        "left_out": msgspec.to_builtins(result.left_out),
        "expired": msgspec.to_builtins(result.expired),
        "failed": result.failed,
        "ran": list(result.ran),
        "counts": msgspec.to_builtins(result.counts),
        "engine": result.engine,
        "began_us": result.began_us,
        "took_us": result.took_us,
    }


def counted(findings: Iterable[Finding]) -> str:
    """How many there are of each severity, the worst first: `1 critical, 3 high`."""
    tally = Counter(each.severity for each in findings)
    return ", ".join(f"{tally[severity]} {severity}" for severity in reversed(SEVERITIES) if tally[severity])
