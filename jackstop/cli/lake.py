"""Reading the lake from the command line: which files, which rows, one batch at a time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jackstop.cli.session import Session
from jackstop.clock import SystemClock, from_datetime
from jackstop.errors import UserError
from jackstop.events.lake import files, open_file
from jackstop.keys.amounts import parse_span_us

_SPAN = re.compile(r"\d+[smhdw]")
_BATCH_ROWS = 20_000


def parse_moment_us(text: str | None) -> int | None:
    """`7d` (ago), `2026-11-23` or `2026-11-23T09:30:00Z` in UTC; None for None. Raises UserError."""
    if text is None:
        return None
    if _SPAN.fullmatch(text.strip().lower()):
        return SystemClock().now_us() - parse_span_us(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"{text!r} is no time", "write it as 7d (ago), 2026-11-23 or 2026-11-23T09:30:00Z", 2) from None
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def catch_up(session: Session) -> None:
    """Have everything that happened until now in the lake; says so where that cannot be done."""
    done = session.call("events flush")
    if not done["written"]:
        print("the worker does not answer: the latest events may be missing", file=sys.stderr)


def batches(
    lake: Path, columns: list[str] | None, since_us: int | None = None, until_us: int | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of the lake with `since_us` <= ts < `until_us`, day after day."""
    wanted = None if columns is None else sorted({*columns, "ts"})
    for file in files(lake, since_us, until_us):
        try:
            parquet = open_file(file)
        except FileNotFoundError:
            continue  # the day was forgotten
        with parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=wanted):
                yield _within(batch, since_us, until_us)


def _within(batch: pa.RecordBatch, since_us: int | None, until_us: int | None) -> pa.RecordBatch:
    if since_us is not None:
        batch = batch.filter(pc.greater_equal(batch["ts"], since_us))
    if until_us is not None:
        batch = batch.filter(pc.less(batch["ts"], until_us))
    return batch


def rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """A batch as plain rows."""
    found: list[dict[str, Any]] = batch.to_pylist()
    return found
