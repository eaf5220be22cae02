"""A hunt's result for a person at a terminal: cases, what they mean and what to do, then coverage, then counts."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from jackstop.cases.finding import Finding
from jackstop.clock import US_PER_S, iso
from jackstop.hunt.coverage import Coverage, Gap
from jackstop.hunt.report.result import Case, Counts, Result, Sign, counted
from jackstop.money import format_usd

SET_ASIDE_SHOWN = 10
_NAMED = 3
_LEAST_TIME, _MOST_TIME = 946_684_800_000_000, 4_102_444_800_000_000
_LEAST_WIDTH, _MOST_WIDTH = 60, 120
_HANGING = 2


def lines(result: Result, width: int) -> Iterator[str]:
    """The whole of it, without control characters: names come from logs, and a terminal obeys what it is sent."""
    width = max(_LEAST_WIDTH, min(width, _MOST_WIDTH))
    for line in _all(result, width):
        yield "".join(char if char.isprintable() else "?" for char in line)


def _all(result: Result, width: int) -> Iterator[str]:
    cases = result.cases
    if cases:
        yield f"{_many(len(result.findings), 'finding')} in {_many(len(cases), 'case')}: {counted(result.findings)}"
    else:
        yield "No findings, as far as these logs reach: see what could not be seen below."
    known: set[str] = set()
    asked: dict[tuple[str, ...], str] = {}
    for case in cases:
        yield ""
        yield from _case(case, width, known)
        yield from _steps(case, width, asked)
    yield ""
    yield from _coverage(result.coverage, width)
    yield from _left_out(result, width)
    yield ""
    yield from _counts(result.counts)
    ran = f"{_many(result.coverage.ran, 'detection')} ran on {result.engine} in {result.took_us / 1_000_000:.1f} s"
    yield from _wrapped("", ran + _not_run(result), width, 0)


def told_lines(result: Result, fresh: Sequence[Finding]) -> Iterator[str]:
    """A line for each finding that is new, for whoever watches."""
    for each in fresh:
        what = result.abouts[each.detection]
        line = f"{minute(result.began_us)}  {each.severity.upper()}  {each.detection}: {what.title}; {each.entity}; "
        line += f"{span(each.first_seen, each.last_seen)}, {_many(each.count, 'time')}"
        yield "".join(char if char.isprintable() else "?" for char in line)


def missed_lines(result: Result, told: set[tuple[str, ...]]) -> Iterator[str]:
    """A line for each blind gap, file and record that could not be read and is not in `told`, which they enter."""
    counts = result.counts
    found: dict[tuple[str, ...], str] = {}
    for gap in result.coverage.blind:
        found[gap.name, gap.where] = f"not seen: {gap.name}: {gap.where}: {gap.missing}"
    for file, why in counts.unknown:
        found[file, why] = f"{file}: not read: {why}"
    for each in counts.set_aside:
        found[each.file, str(each.line), each.sha256] = f"{each.file}:{each.line}: set aside: {each.why}"
    for key, line in found.items():
        if key not in told:
            yield "".join(char if char.isprintable() else "?" for char in line)
    told |= found.keys()


# -- cases -----------------------------------------------------------------------------------------------------------


def _case(case: Case, width: int, known: set[str]) -> Iterator[str]:
    """A case; why a detection matters is told where it comes first, and grows `known`."""
    yield f"{case.severity.upper()}  {case.title}"
    others = f", and {_many(len(case.entities) - 1, 'other')}" if len(case.entities) > 1 else ""
    yield f"  {case.entity}{others}"
    accounts = f", account {', '.join(case.accounts[:_NAMED])}" if case.accounts else ""
    yield f"  {span(case.first_seen, case.last_seen)}{accounts}"
    for sign in case.signs:
        yield from _sign(sign, width, is_told=sign.detection in known)
        known.add(sign.detection)


def _steps(case: Case, width: int, asked: dict[tuple[str, ...], str]) -> Iterator[str]:
    """What to do; where an earlier case asks for just the same, that one is named."""
    steps = tuple(case.steps)
    if steps in asked:
        yield from _wrapped("What to do: ", f"as in the case of {asked[steps]}", width, 2)
        return
    asked[steps] = case.entity
    yield "  What to do"
    for number, step in enumerate(steps, 1):
        yield from _wrapped(f"{number}. ", step, width, 4)


def _sign(sign: Sign, width: int, *, is_told: bool) -> Iterator[str]:
    more = f" in {sign.findings} findings" if sign.findings > 1 else ""
    yield f"  - {sign.detection} ({sign.severity}): {sign.about.title}"
    yield f"    {span(sign.first_seen, sign.last_seen)}, {_many(sign.count, 'time')}{more}"
    if sign.evidence:
        yield from _wrapped("seen: ", evidence(sign), width, 4)
    if sign.about.meaning and not is_told:
        yield from _wrapped("why: ", " ".join(sign.about.meaning.split()), width, 4)
    if sign.history == "unproven":
        yield from _wrapped("", "unproven: there is too little history to say that this is new", width, 4)


def evidence(sign: Sign) -> str:
    """What was seen, in a line."""
    return "; ".join(f"{label(name)} {shown(name, value)}" for name, value in sign.evidence.items())


def label(name: str) -> str:
    return name.removesuffix("_nusd").removesuffix("_us").removesuffix("_ts").replace("_", " ")


def shown(name: str, value: str | int | None) -> str:
    """A piece of evidence as people read it."""
    if isinstance(value, int) and name.endswith("_nusd"):
        return f"{format_usd(value)} USD"
    if isinstance(value, int) and name.endswith("_us"):
        return lasting(value)
    if isinstance(value, int):
        # Evidence is named freely; no count of anything is as large as a time of this century.
        return minute(value) if _LEAST_TIME < value < _MOST_TIME else f"{value:,}"
    return str(value)


# -- coverage --------------------------------------------------------------------------------------------------------


def _coverage(coverage: Coverage, width: int) -> Iterator[str]:
    yield "Coverage"
    for span_ in coverage.spans:
        account = f" account {span_.account}" if span_.account else ""
        regions = f", {_many(len(span_.regions), 'region')}: {some(span_.regions)}" if span_.regions else ""
        when = span(span_.first_seen, span_.last_seen)
        yield from _wrapped("", f"{span_.source}{account}: {_many(span_.events, 'event')}, {when}{regions}", width, 2)
    for each in coverage.buckets:
        when = span(each.first_seen, each.last_seen)
        yield from _wrapped("", f"{each.provider}_usage: {_many(each.rows, 'bucket')}, {when}", width, 2)
    if coverage.unproven:
        yield from _wrapped("", f"without history to compare with: {', '.join(coverage.unproven)}", width, 2)
    yield ""
    yield "What could not be seen"
    gaps = gathered(coverage.gaps)
    for place, (gap, where) in enumerate(gaps):
        yield from _wrapped(f"{gap.level.upper()}  ", f"{gap.name}, {some(where)}: {gap.missing}", width, 2)
        following = gaps[place + 1][0] if place + 1 < len(gaps) else None
        if following is None or (gap.hides, gap.close) != (following.hides, following.close):
            yield from _wrapped("hides: ", gap.hides, width, 9)
            yield from _wrapped("close: ", gap.close, width, 9)
    if not coverage.gaps:
        yield "  nothing that is known of"


def gathered(gaps: Iterable[Gap]) -> list[tuple[Gap, list[str]]]:
    """Gaps that say the same of several accounts, once, with all of these."""
    found: dict[tuple[str, str, str], list[Gap]] = defaultdict(list)
    for gap in gaps:
        found[gap.level, gap.name, gap.missing].append(gap)
    return [(same[0], [gap.where for gap in same]) for same in found.values()]


def _left_out(result: Result, width: int) -> Iterator[str]:
    if result.left_out:
        yield ""
        yield f"Left out by the allow-list: {len(result.left_out)}"
        for each in result.left_out:
            told = f"{each.detection} ({each.severity}) of {each.entity}: {each.reason}, until {each.until}"
            yield from _wrapped("", told, width, 2)
    if result.expired:
        yield ""
        yield "Entries of the allow-list that have ended, and were not applied"
        for entry in result.expired:
            yield from _wrapped("", f"{entry.file}: {entry.detection}, {entry.entity}, until {entry.day}", width, 2)


# -- counts ----------------------------------------------------------------------------------------------------------


def _counts(counts: Counts) -> Iterator[str]:
    yield (
        f"{_many(counts.files, 'file')}, {_many(counts.records, 'record')}, {_many(counts.events, 'event')}, "
        f"{_many(counts.usage, 'usage bucket')}; {_many(counts.content_dropped, 'field')} of content dropped"
    )
    if counts.set_aside_records:
        yield f"{_many(counts.set_aside_records, 'record')} set aside"
        for each in counts.set_aside[:SET_ASIDE_SHOWN]:
            yield f"  {each.file}:{each.line}: {each.why} (sha256 {each.sha256[:16]})"
        if counts.set_aside_records > SET_ASIDE_SHOWN:
            yield f"  and {counts.set_aside_records - SET_ASIDE_SHOWN:,} more: --json has the first thousand"
    for file, why in counts.unknown[:SET_ASIDE_SHOWN]:
        yield f"  {file}: not read: {why}"
    if len(counts.unknown) > SET_ASIDE_SHOWN:
        yield f"  and {len(counts.unknown) - SET_ASIDE_SHOWN} files more that were not read"


def _not_run(result: Result) -> str:
    silent = sum(1 for _ in result.coverage.not_run)
    return f"; there was nothing for those of {', '.join(result.coverage.not_run)}" if silent else ""


# -- words -----------------------------------------------------------------------------------------------------------


def minute(us: int) -> str:
    """A time to the minute, in UTC."""
    return iso(us)[:16].replace("T", " ")


def lasting(us: int) -> str:
    """A span of time in its two largest units."""
    minutes, seconds = divmod(us // US_PER_S, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def span(first_us: int, last_us: int) -> str:
    """From when to when, in UTC."""
    first, last = minute(first_us), minute(last_us)
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def some(names: Iterable[str]) -> str:
    """The first few of them, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _wrapped(first: str, text: str, width: int, indent: int) -> list[str]:
    """Lines under one another; a text that nothing stands before goes on further in."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent + first,
        subsequent_indent=" " * (indent + (len(first) or _HANGING)),
        break_long_words=False,
        break_on_hyphens=False,
    )
