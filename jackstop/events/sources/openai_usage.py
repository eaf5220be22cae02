"""OpenAI's usage and cost reports as rows of `usage`: pages of the API, or the CSV export of the usage page.

Facts: the OpenAPI document of August 2026 (`/organization/usage/…`, `/organization/costs`), read on 2026-11-23. The
CSV export is documented nowhere: its rows are those of a report with each field in a column, as people have published
them (`start_time,end_time,start_time_iso,end_time_iso,…`); a bucket without use has no further columns.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import msgspec

from jackstop.clock import US_PER_S
from jackstop.events.sources.entry import Origin, UnreadableEntry, shaped
from jackstop.events.sources.usage_rows import Told, checked, rows_of, word
from jackstop.events.usage import Usage
from jackstop.providers.drivers.driver import Bucket, CallFailed
from jackstop.providers.drivers.openai_reports import of_costs, of_requests, of_usage

PROVIDER = "openai"
SHAPE = dict[str, Any]
LISTS = ("data",)
FORM: Literal["json", "text", "csv"] = "json"
GIVES: Literal["events", "usage"] = "usage"
CONTENT: tuple[str, ...] = ()
"""Usage reports have no content."""

_TOKENS = ("completions", "embeddings", "moderations")
_REQUESTS = ("images", "audio_speeches", "audio_transcriptions", "file_searches", "web_searches")
_WITHOUT = ("vector_stores", "code_interpreter_sessions")
"""What is stored or kept open, of which no key is named."""
_COSTS = "organization.costs.result"
_NUMBERS = frozenset({
    "num_model_requests", "num_requests", "input_tokens", "output_tokens", "input_cached_tokens",
    "input_cache_write_tokens",
})  # fmt: skip

_MOST_DIGITS = 27
"""Of a count: `1e999999` is a number too, which a processor writes out for minutes."""

_Maker = Callable[[dict[str, Any], int, int], Bucket | None]


class _Span(msgspec.Struct):
    start_time: int
    end_time: int
    results: list[dict[str, Any]]


def claims(record: Any) -> bool:
    """Whether it is a bucket of a report, or a row of the CSV export."""
    if not isinstance(record, dict):
        return False
    return (record.get("object") == "bucket" and "results" in record) or _is_row(record)


def read(entry: dict[str, Any], origin: Origin) -> list[Usage]:
    """The rows of one bucket. Raises UnreadableEntry."""
    span = shaped(entry, _Span)
    start_us = span.start_time * US_PER_S
    width_us = checked(start_us, span.end_time * US_PER_S, origin.now_us)
    told = []
    for result in span.results:
        bucket = _bucket(result, start_us, width_us)
        if bucket is not None:
            told.append(Told(bucket, word(result, "project_id")))
    return rows_of(PROVIDER, told, origin.account)


def unwrapped(row: Any) -> dict[str, Any]:
    """A row of the CSV export as the bucket that the API would have given. Raises UnreadableEntry."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("start_time", "end_time")):
        raise UnreadableEntry("its times are none")
    span = {"start_time": _number(row["start_time"]), "end_time": _number(row["end_time"])}
    told = {name: value for name, value in row.items() if isinstance(value, str) and value}
    if told.get("amount_value"):
        amount = {"value": told["amount_value"], "currency": told.get("amount_currency", "usd")}
        return {**span, "results": [{**told, "object": _COSTS, "amount": amount}]}
    counts = {name: _number(told[name]) for name in _NUMBERS & told.keys()}
    if not counts:
        return {**span, "results": []}
    kind = "completions" if "input_tokens" in counts else "images"
    batch = str(told.get("batch", "")).lower() == "true"
    return {**span, "results": [{**told, **counts, "batch": batch, "object": f"organization.usage.{kind}.result"}]}


def _bucket(result: dict[str, Any], start_us: int, width_us: int) -> Bucket | None:
    maker = _MAKERS.get(str(result.get("object")))
    if maker is None:
        raise UnreadableEntry("a result of it is of a kind that is not documented")
    try:
        return maker(result, start_us, width_us)
    except CallFailed as error:
        raise UnreadableEntry(error.problem) from None


def _nothing(_result: dict[str, Any], _start_us: int, _width_us: int) -> None:
    return None


def _tokens(result: dict[str, Any], start_us: int, width_us: int) -> Bucket:
    return of_usage(result, "a usage report", start_us, width_us)


def _requests(result: dict[str, Any], start_us: int, width_us: int) -> Bucket:
    return of_requests(result, "a usage report", start_us, width_us)


_MAKERS: dict[str, _Maker] = {
    **{f"organization.usage.{kind}.result": _tokens for kind in _TOKENS},
    **{f"organization.usage.{kind}.result": _requests for kind in _REQUESTS},
    **{f"organization.usage.{kind}.result": _nothing for kind in _WITHOUT},
    _COSTS: of_costs,
}


def _is_row(record: dict[str, Any]) -> bool:
    return "start_time_iso" in record and "end_time_iso" in record and "start_time" in record


def _number(text: str) -> int:
    """A count, which the export writes as `3.0` too. Raises UnreadableEntry."""
    try:
        count = Decimal(text)
        if count.adjusted() <= _MOST_DIGITS:
            return int(count)
    except (ArithmeticError, ValueError):
        pass  # it is no number
    raise UnreadableEntry("a count of it is no number")
