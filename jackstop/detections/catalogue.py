"""The detections that come along: each NAME.yaml with the NAME.sql beside it, read once and strictly."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from jackstop.cases.finding import Severity
from jackstop.errors import UserError
from jackstop.keys.amounts import parse_span_us
from jackstop.settings import Home

HERE = Path(__file__).parent
Response = Literal["", "note", "alert", "throttle", "quarantine"]
_READ = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_]+)", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COMMENT = re.compile(r"--[^\n]*")


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Events and other rows, and the findings that they must give. See `jackstop.detections.testing`."""

    name: str
    events: list[dict[str, Any]] = []
    minutes: list[dict[str, Any]] = []
    sightings: list[dict[str, Any]] = []
    baselines: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []
    inventory: list[dict[str, Any]] = []
    usage: list[dict[str, Any]] = []
    earlier: list[dict[str, Any]] = []
    findings: list[dict[str, Any]] = []


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in NAME.yaml. `window`, `cadence` and `reach` are spans of time such as `5m`.

    A finding is about the window in which it was first seen. `step` is what the SQL counts by where that is less, and
    `reach` how much further back it looks.
    `response` stands in for what the severity asks for. `needs` are columns that only address data fill.
    """

    id: str
    title: str
    meaning: str
    severity: Severity
    attack: tuple[str, ...]
    atlas: tuple[str, ...]
    sources: tuple[str, ...]
    window: str
    cadence: str
    false_positives: tuple[str, ...]
    what_to_do: tuple[str, ...]
    references: tuple[str, ...]
    tests: tuple[Example, ...]
    step: str = ""
    reach: str = "0s"
    response: Response = ""
    needs: tuple[str, ...] = ()


class Detection(msgspec.Struct, frozen=True):
    """One detection: what its two files say, with the tables that its SQL reads."""

    name: str
    about: Description
    sql: str
    window_us: int
    cadence_us: int
    step_us: int
    reach_us: int
    tables: frozenset[str]

    @property
    def reads_findings(self) -> bool:
        """Whether it puts findings of others together, and thus comes after them."""
        return "findings" in self.tables


Catalogue = dict[str, Detection]


def load(folder: Path = HERE) -> Catalogue:
    """All detections of a folder by name. Raises UserError that names the file and what is wrong in it."""
    return {path.stem: _read(path) for path in sorted(folder.glob("*.yaml"))}


@lru_cache(maxsize=1)
def shipped() -> Catalogue:
    """Those of this package."""
    return load()


def available(home: Home) -> Catalogue:
    """Those of this package, and the user's own in the folder `detections` of JACKSTOP_HOME. Raises UserError."""
    folder = own_folder(home)
    own = load(folder)
    for name in own:
        check_name(name, folder)
    return {**shipped(), **own}


def own_folder(home: Home) -> Path:
    """Where the user's own detections lie; it need not be there."""
    return home.root / "detections"


def check_name(name: str, folder: Path) -> None:
    """Raises UserError for a name that one of this package's has, or that would be awkward to type."""
    if name in shipped():
        raise UserError(
            f"{folder / name}.yaml has the name of a detection that comes along",
            "give both of its files another name",
        )
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a detection in {folder}",
            "use lower-case letters, digits and underscores, with a letter first",
        )


def _read(path: Path) -> Detection:
    about = _description(path)
    try:
        sql = path.with_suffix(".sql").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} has no SQL", f"put it into {path.with_suffix('.sql').name} beside it") from None
    spans = {name: _span(path, name, getattr(about, name)) for name in ("window", "cadence", "reach")}
    if not spans["window"] or not spans["cadence"]:
        raise UserError(f"{path}: window and cadence must not be zero", "write them as 5m or 5s")
    return Detection(
        name=path.stem,
        about=about,
        sql=sql,
        window_us=spans["window"],
        cadence_us=spans["cadence"],
        step_us=_span(path, "step", about.step) if about.step else spans["window"],
        reach_us=spans["reach"],
        tables=frozenset(_READ.findall(_COMMENT.sub("", sql).lower())),
    )


def _description(path: Path) -> Description:
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Description)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not YAML{where}", "mend that line") from None
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}", "see docs/detections.md for the fields of a detection") from None


def _span(path: Path, field: str, text: str) -> int:
    try:
        return parse_span_us(text)
    except UserError as error:
        raise UserError(f"{path}: {field}: {error.problem}", error.remedy) from None
