"""What a hunt asks of an engine, whichever it is: tables over Parquet parts, detections, rows of a SELECT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from jackstop.cases.finding import Finding
from jackstop.detections.catalogue import Detection

Allowed = tuple[str, str, int]
"""A row of the table `allow`: detection, entity, until when (µs; 0 for good)."""


class DetectionFailed(Exception):
    """A detection's SQL could not be run, or gave what is no finding; the text says why, in one line."""


class Engine(Protocol):
    """One engine for one hunt. It is opened once, and closed whatever happens."""

    def open(self, parts: Sequence[Path], usage_parts: Sequence[Path], allow: Sequence[Allowed]) -> None:
        """Make the tables. Events that came twice are there once. Raises UserError."""
        ...

    def fill(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows to one of the tables beside `events`; a column that a row does not have is 0 or empty."""
        ...

    def findings(self, detection: Detection) -> list[Finding]:
        """What one detection finds on everything, one finding for each uid. Raises DetectionFailed."""
        ...

    def note(self, findings: Iterable[Finding]) -> None:
        """Put findings into the table `findings`, for the detections that read it."""
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a SELECT in the portable subset. Raises UserError where it cannot be run."""
        ...

    def close(self) -> None:
        """Let go of everything, and remove what was spilled."""
        ...
