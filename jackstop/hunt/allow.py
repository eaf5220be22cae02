"""What a hunt leaves out because a person said so: scanners, pipelines, and gaps that are known, each with an end."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from jackstop.cases.finding import Finding
from jackstop.clock import from_datetime, iso
from jackstop.errors import UserError

_FORM = 'write it as [[allow]] with detection, entity, reason = "…" and until = 2027-01-31'


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    detection: str
    entity: str
    reason: str
    until: date


class Allowance(msgspec.Struct, frozen=True):
    """One entry. `detection` is a name, `*`, or `gap:` and the name of a gap; `*` in `entity` stands for anything.

    `until_us` is the end of its last day, in UTC.
    """

    detection: str
    entity: str
    reason: str
    until_us: int
    file: str

    def covers(self, detection: str, entity: str) -> bool:
        """Whether it is about this."""
        if self.detection not in {"*", detection}:
            return False
        pattern = ".*".join(map(re.escape, self.entity.split("*")))
        return re.fullmatch(pattern, entity, re.DOTALL) is not None

    @property
    def day(self) -> str:
        """Its last day."""
        return iso(self.until_us - 1)[:10]


class LeftOut(msgspec.Struct, frozen=True):
    """A finding or a gap that was left out, and the entry that says why."""

    detection: str
    entity: str
    severity: str
    count: int
    reason: str
    until: str


class Allowances(msgspec.Struct, frozen=True):
    """The entries that hold at the time of a hunt, and those that have ended."""

    current: tuple[Allowance, ...] = ()
    expired: tuple[Allowance, ...] = ()

    def of(self, detection: str, entity: str) -> Allowance | None:
        """The first entry that covers this; one for all detections covers no gap."""
        is_gap = detection.startswith("gap:")
        for each in self.current:
            if each.covers(detection, entity) and (not is_gap or each.detection != "*"):
                return each
        return None

    def split(self, found: Iterable[Finding]) -> tuple[list[Finding], list[LeftOut]]:
        """The findings that stay, and those that are left out."""
        stay, left = [], []
        for finding in found:
            allowance = self.of(finding.detection, finding.entity)
            if allowance is None:
                stay.append(finding)
            else:
                left.append(left_out(allowance, finding.detection, finding.entity, finding.severity, finding.count))
        return stay, left

    def rows(self) -> list[tuple[str, str, int]]:
        """The rows of the table `allow`."""
        return [(each.detection, each.entity, each.until_us) for each in self.current]


def left_out(allowance: Allowance, detection: str, entity: str, severity: str, count: int) -> LeftOut:
    """What is told of something that an entry covers."""
    return LeftOut(detection, entity, severity, count, allowance.reason, allowance.day)


def load(files: Sequence[Path], names: Iterable[str], now_us: int) -> Allowances:
    """Read allow-list files; `names` are what `detection` may be beside `*`.

    Raises UserError that names the file and the entry.
    """
    known = {"*", *names}
    entries = [entry for file in files for entry in _read(file, known)]
    return Allowances(
        tuple(each for each in entries if each.until_us > now_us),
        tuple(each for each in entries if each.until_us <= now_us),
    )


def _read(file: Path, known: set[str]) -> list[Allowance]:
    try:
        written = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", "name another file with --allow", 2) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}", "mend the line that it names", 2) from None
    entries = written.get("allow", [])
    if not isinstance(entries, list) or set(written) - {"allow"}:
        raise UserError(f"{file} holds something else than [[allow]] entries", _FORM, 2)
    return [_entry(file, number, each, known) for number, each in enumerate(entries, 1)]


def _entry(file: Path, number: int, written: Any, known: set[str]) -> Allowance:
    where = f"{file}: entry {number}"
    try:
        entry = msgspec.convert(_plain(written), _Entry)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}", _FORM, 2) from None
    if not entry.reason.strip():
        raise UserError(f"{where} has no reason", "say why this may be left out, for whoever reads it next", 2)
    if entry.detection not in known:
        raise UserError(f"{where}: there is no detection {entry.detection!r}", "see `jackstop detections list`", 2)
    if not entry.entity.strip("*") and entry.detection == "*":
        raise UserError(f"{where} leaves out everything", "name a detection or an entity", 2)
    end = datetime.combine(entry.until + timedelta(days=1), time(), UTC)
    return Allowance(entry.detection, entry.entity, entry.reason.strip(), from_datetime(end), file.name)


def _plain(written: Any) -> Any:
    """TOML knows moments beside days; the day of one is meant."""
    if isinstance(written, dict) and isinstance(written.get("until"), datetime):
        return {**written, "until": written["until"].date()}
    return written
