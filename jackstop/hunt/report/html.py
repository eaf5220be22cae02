"""A hunt as one HTML file to read and forward: no script, no content of any call, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from jackstop import __version__
from jackstop.cases.finding import SEVERITIES
from jackstop.hunt.report import drawing, text
from jackstop.hunt.report.result import Case, Result, counted

if TYPE_CHECKING:
    from jackstop.hunt.assess import JudgedKey
    from jackstop.providers.organisations import Gap as Unread

MOST_CASES = 40
"""Cases that are told in full; of what is beyond, a line each."""
MOST_STEPS = 12
MOST_LANES = 20
_MANIFOLD = 3
_IS = ("are", "is")
_GRAVE = ("critical", "high")
_TEMPLATES = Path(__file__).parent / "templates"


def page(result: Result, keys: Sequence[JudgedKey] = (), unread: Sequence[Unread] = ()) -> str:
    """The report. `keys` are those of a provider's organisation, `unread` what could not be read of it."""
    cases = result.cases
    charts = [drawing.chart(each) for each in result.activity.series]
    made: str = _template().render(
        result=result,
        version=__version__,
        paragraph=paragraph(result),
        severities=[(name, sum(each.severity == name for each in result.findings)) for name in reversed(SEVERITIES)],
        cases=_shown(cases[:MOST_CASES]),
        overview=drawing.overview(cases[:MOST_LANES]) if len(cases) > 1 else None,
        more_cases=cases[MOST_CASES:],
        steps=_steps(cases),
        charts=[each for each in charts if each is not None],
        reach=drawing.reach(result.coverage.spans),
        gaps=text.gathered(result.coverage.gaps),
        blind=len({gap.name for gap in result.coverage.blind}),
        keys=sorted(keys, key=lambda each: (not each.notes, each.key.provider, each.key.place, each.key.name)),
        unread=unread,
        drawing=drawing,
    )
    return made


def _shown(cases: list[Case]) -> list[dict[str, Any]]:
    """The cases with their pictures; what a detection means is told where it comes first."""
    known: set[str] = set()
    shown = []
    for case in cases:
        fresh = {sign.detection for sign in case.signs} - known
        known |= fresh
        shown.append({"case": case, "timeline": drawing.timeline(case), "fresh": fresh})
    return shown


def paragraph(result: Result) -> str:
    """What happened, in a few sentences."""
    cases = result.cases
    blind = sorted({gap.name for gap in result.coverage.blind})
    unseen = (
        f"The logs have {_many(len(blind), 'blind spot')}, each listed below with the attacks that it would hide. "
        if blind
        else ""
    )
    if not cases:
        return f"{_extent(result)} {result.coverage.ran} detections found nothing in them. {unseen}".strip()
    worst = cases[0]
    grave = sum(case.severity in _GRAVE for case in cases)
    found = _many(len(result.findings), "finding")
    told = f"{_extent(result)} They hold {_many(len(cases), 'case')} with {found} "
    told += f"({counted(result.findings)})"
    told += f"; {grave or 'none'} of the cases {_IS[grave == 1]} high or critical. " if len(cases) > 1 else ". "
    return f"{told}{_worst(worst)} {_use(result)}{unseen}".strip()


def _extent(result: Result) -> str:
    spans, buckets = result.coverage.spans, result.coverage.buckets
    times = [(each.first_seen, each.last_seen) for each in spans]
    times += [(each.first_seen, each.last_seen) for each in buckets]
    if not times:
        return "No record could be read."
    accounts = {each.account for each in spans} | {each.account for each in buckets}
    when = text.span(min(first for first, _ in times), max(last for _, last in times))
    named = len(accounts - {""})
    return f"The logs reach from {when}" + (f" and are of {_many(named, 'account')}." if named else ".")


def _worst(case: Case) -> str:
    signs = case.signs
    first = f"The gravest: {_lower(case.title)}, about {case.entity}"
    where = (
        f" in account {', '.join(case.accounts)}" if case.accounts and not case.entity.startswith("account:") else ""
    )
    others = [_lower(sign.about.title) for sign in signs[1:4]]
    also = f" It comes with: {'; '.join(others)}." if others else ""
    return f"{first}{where}, {text.span(case.first_seen, case.last_seen)}.{also}"


def _use(result: Result) -> str:
    """How the peak compares with what was usual, where both are known."""
    for series in result.activity.series:
        chart = drawing.chart(series)
        if chart is not None and series.usual is not None and chart.most >= _MANIFOLD * max(1, series.usual):
            was = f"from {chart.usual} as a rule" if series.usual else "where there was none before"
            return f"Use of models in account {series.account} rose to {chart.peak} per {chart.step}, {was}. "
    return ""


def _steps(cases: list[Case]) -> list[tuple[str, str]]:
    """What to do, in order: the steps of the gravest case first, each once, with whom it is about."""
    about: dict[str, list[str]] = {}
    for case in cases:
        for step in case.steps:
            about.setdefault(step, []).append(case.entity)
    return [(step, _whom(names, len(cases))) for step, names in about.items()][:MOST_STEPS]


def _whom(names: list[str], cases: int) -> str:
    if cases == 1:
        return ""
    if len(names) == cases:
        return "in every case"
    more = len(names) - 1
    return f"for {names[0]}" + (f" and {_many(more, 'other')}" if more else "")


def _lower(title: str) -> str:
    """A title within a sentence; names in capitals stay as they are."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _prose(sentence: str) -> Markup:
    """A sentence of ours with what stands between backticks as code, all of it escaped."""
    parts = [escape(part) for part in sentence.split("`")]
    if len(parts) % 2 == 0:
        return escape(sentence)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


@lru_cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(minute=text.minute, prose=_prose)
    environment.globals.update(span=text.span, evidence=text.shown, label=text.label)
    return environment.get_template("report.html")
