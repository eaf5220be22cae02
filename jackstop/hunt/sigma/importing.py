"""Taking Sigma rules in: what can be said becomes a detection of the user's own, and the rest is told with its line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from jackstop.detections.catalogue import check_name, own_folder, shipped
from jackstop.errors import UserError
from jackstop.hunt.sigma.translate import Made, NotSaid, detections_of
from jackstop.settings import Home


class Kept(NamedTuple):
    """A rule that became a detection."""

    file: str
    title: str
    name: str
    sql: str


def import_files(files: Iterable[Path], home: Home | None) -> list[Kept | NotSaid]:
    """Make a detection of each rule in the folder `detections` of a home, or of no home to see what would come.

    A rule that was imported before takes its detection's place. Raises UserError where pySigma is not installed or the
    folder cannot be written.
    """
    done: list[Kept | NotSaid] = []
    taken: set[str] = set()
    for file in files:
        done.extend(
            made if isinstance(made, NotSaid) else _kept(file, made, home, taken) for made in detections_of(file)
        )
    return done


def _kept(file: Path, made: Made, home: Home | None, taken: set[str]) -> Kept | NotSaid:
    why = _objection(made, home, taken)
    if why:
        return NotSaid(str(file), 1, made.title, why)
    taken.add(made.name)
    if home is not None:
        folder = own_folder(home)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(folder / f"{made.name}.sql", made.sql)
            _write(folder / f"{made.name}.yaml", made.description)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written: {error.strerror}", "see who owns it, or use --print"
            ) from None
    return Kept(str(file), made.title, made.name, made.sql)


def _objection(made: Made, home: Home | None, taken: set[str]) -> str:
    """Why it cannot have its name; "" where it can."""
    if made.name in taken:
        return f"another of these files has the name {made.name} as well"
    if made.name in shipped():
        return f"a detection that comes along is named {made.name}: give the file another name"
    if home is None:
        return ""
    folder = own_folder(home)
    try:
        check_name(made.name, folder)
        there = yaml.safe_load((folder / f"{made.name}.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (UserError, OSError, yaml.YAMLError) as error:
        return f"{folder / made.name}.yaml cannot be read: {error}"
    is_same = isinstance(there, dict) and there.get("id") == yaml.safe_load(made.description)["id"]
    return "" if is_same else f"{folder / made.name}.yaml is another detection: give the file another name"


def _write(path: Path, text: str) -> None:
    """At once or not at all, so that no hunt reads half a detection."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
