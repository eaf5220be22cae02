"""Anthropic's usage and cost reports as rows of `usage`: pages of `usage_report/messages` and `cost_report`.

Facts: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and …/cost_report/retrieve, read on
2026-11-23. The usage report counts tokens and no requests; the cost report knows no keys.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from jackstop.events.sources.entry import Origin, UnreadableEntry, shaped
from jackstop.events.sources.usage_rows import Told, checked, rows_of, word
from jackstop.events.usage import Usage
from jackstop.providers.drivers.answers import micros
from jackstop.providers.drivers.anthropic_reports import of_costs, of_usage
from jackstop.providers.drivers.driver import Bucket, CallFailed

PROVIDER = "anthropic"
SHAPE = dict[str, Any]
LISTS = ("data",)
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "usage"
CONTENT: tuple[str, ...] = ()
"""Usage reports have no content."""


class _Span(msgspec.Struct):
    starting_at: datetime
    ending_at: datetime
    results: list[dict[str, Any]]


def claims(record: Any) -> bool:
    """Whether it is a bucket of a report."""
    return isinstance(record, dict) and "starting_at" in record and "ending_at" in record and "results" in record


def read(entry: dict[str, Any], origin: Origin) -> list[Usage]:
    """The rows of one bucket. Raises UnreadableEntry."""
    span = shaped(entry, _Span)
    start_us, end_us = _moment(span.starting_at), _moment(span.ending_at)
    width_us = checked(start_us, end_us, origin.now_us)
    told = []
    for result in span.results:
        bucket = _bucket(result, start_us, width_us)
        if bucket is not None:
            told.append(Told(bucket, word(result, "workspace_id"), word(result, "context_window")))
    return rows_of(PROVIDER, told, origin.account)


def _moment(at: datetime) -> int:
    try:
        return micros(at) or 0
    except (OverflowError, ValueError):
        raise UnreadableEntry("its time is none") from None


def _bucket(result: dict[str, Any], start_us: int, width_us: int) -> Bucket | None:
    try:
        if "amount" in result:
            return of_costs(result, start_us, width_us)
        return of_usage(result, start_us, width_us)
    except CallFailed as error:
        raise UnreadableEntry(error.problem) from None
