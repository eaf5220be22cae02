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
from jackstop.cases.steps import in_one
from jackstop.hunt.report import drawing, text
from jackstop.hunt.report.result import Case, Result, counted

if TYPE_CHECKING:
    from jackstop.hunt.assess import JudgedKey
    from jackstop.providers.organisations import Gap as Unread

MOST_CASES = 40
"""Cases that are told in full; of what is beyond, a line each."""
MOST_LANES = 20
_MANIFOLD = 3
_IS, _THEY = ("are", "is"), ("they", "it")
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
        f"The logs have {_many(len(blind), 'blind spot')}, listed below with the attacks that {_THEY[len(blind) == 1]} "
        "would hide. "
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
    """Where use rose the most above the usual while something was found, in a sentence."""
    risen = []
    for series in result.activity.series:
        peak = drawing.peak_in_findings(series)
        if series.usual is not None and peak >= _MANIFOLD * max(1, series.usual):
            risen.append((peak / max(1, series.usual), peak, series))
    if not risen:
        return ""
    _, peak, series = max(risen, key=lambda rise: rise[0])
    usual = series.usual or 0
    was = f"from {drawing.amount_of(series, usual)} as a rule" if usual else "where there was none before"
    rose = f"rose to {drawing.amount_of(series, peak)} per {drawing.step_of(series)}"
    return f"Use of models in account {series.account} {rose}, {was}. "


def _steps(cases: list[Case]) -> list[tuple[str, int, list[str]]]:
    """What to do, in the order of the gravest case, each step once.

    Steps in a row that are about the same stand together: about whom, the number of the first, and the steps.
    """
    about: dict[str, list[str]] = {}
    for case in cases:
        for step in case.steps:
            about.setdefault(step, []).append(case.entity)
    groups: list[tuple[str, int, list[str]]] = []
    for number, step in enumerate(in_one(case.steps for case in cases), 1):
        whom = _whom(about[step], len(cases))
        if not groups or groups[-1][0] != whom:
            groups.append((whom, number, []))
        groups[-1][2].append(step)
    return groups


def _whom(names: list[str], cases: int) -> str:
    if cases == 1:
        return ""
    if len(names) == cases:
        return "In every case"
    more = len(names) - 1
    return f"For {names[0]}" + (f" and {_many(more, 'other')}" if more else "")


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
