"""The command `jackstop hunt` on files, with a home that does not exist before."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jackstop.cli.main import main

if not hasattr(sys.modules["__main__"], "__file__"):
    # A worker of pytest-xdist has none, and the client of Spark takes a program without one for its own doctests.
    sys.modules["__main__"].__file__ = __file__


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def gaps(self) -> dict[str, str]:
        """The level of each gap by its name."""
        return {gap["name"]: gap["level"] for gap in self.json["coverage"]["gaps"]}


class Hunter:
    """Runs `jackstop hunt` in this process."""

    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capfd = capfd

    def __call__(self, *args: Path | str) -> Ran:
        self._capfd.readouterr()
        status = main(["hunt", *map(str, args)])
        captured = self._capfd.readouterr()
        return Ran(status, captured.out, captured.err)

    def json(self, *args: Path | str) -> Ran:
        """With JSON, and an end that is none of an error."""
        ran = self(*args, "--json")
        assert ran.status in {0, 1}, ran.err
        return ran

    def kept(self) -> Iterator[str]:
        """All that lies under the home: every file's bytes, and every text in a Parquet file."""
        for path in sorted(self.home.rglob("*")):
            yield str(path)
            if path.is_file():
                yield path.read_bytes().decode("latin-1")
                if path.suffix == ".parquet":
                    yield str(pq.read_metadata(path).metadata)
                    yield str(pq.read_table(path).to_pylist())


@pytest.fixture
def hunt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Hunter:
    home = tmp_path / "home"
    monkeypatch.setenv("JACKSTOP_HOME", str(home))
    return Hunter(home, capfd)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """An empty folder for logs."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder
