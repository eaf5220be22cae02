"""A folder that is watched: what is new is taken in, and what is not is left alone."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from jackstop.clock import ManualClock
from jackstop.errors import UserError
from jackstop.hunt.intake.corpus import Corpus
from jackstop.hunt.intake.progress import Progress, shown
from jackstop.hunt.intake.watch import watched
from tests.hunt.logs import NOW_US, document, events_in, ids, lines, trail


def intakes(folder: Path, *between: Callable[[], object]) -> list[tuple[int, list[str]]]:
    """What is given when the watch begins, and after each of the acts."""
    acts = iter(between)

    def pause() -> bool:
        act = next(acts, None)
        if act is not None:
            act()
        return act is not None

    with Corpus(folder.parent / "corpus", NOW_US) as corpus:
        return [
            (intake.fresh, sorted(ids(events_in(intake))))
            for intake in watched(corpus, ManualClock(NOW_US), [str(folder)], pause, jobs=1)
        ]


def test_what_is_new_or_changed_is_given_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a").write_bytes(lines([trail(1)]))
    found = intakes(
        folder,
        lambda: None,
        lambda: (folder / "b").write_bytes(document([trail(2)])),
        lambda: None,
        lambda: (folder / "a").write_bytes(lines([trail(1), trail(3)])),
        (folder / "b").unlink,
    )
    assert found == [
        (1, ["event-1"]),
        (1, ["event-1", "event-2"]),
        (1, ["event-1", "event-2", "event-3"]),
    ]


def test_a_folder_that_is_gone_for_a_while_is_looked_at_again(tmp_path: Path) -> None:
    folder, away = tmp_path / "logs", tmp_path / "away"
    folder.mkdir()
    (folder / "a").write_bytes(lines([trail(1)]))
    found = intakes(
        folder,
        lambda: folder.rename(away),
        lambda: (away / "b").write_bytes(lines([trail(2)])),
        lambda: away.rename(folder),
    )
    assert found == [(1, ["event-1"]), (1, ["event-1", "event-2"])]


@pytest.mark.parametrize(("path", "problem"), [("-", "standard input cannot be watched"), ("/no/such", "/no/such ")])
def test_what_cannot_be_watched_is_an_error(path: str, problem: str, tmp_path: Path) -> None:
    with Corpus(tmp_path, NOW_US) as corpus, pytest.raises(UserError) as caught:
        next(watched(corpus, ManualClock(NOW_US), [path], lambda: False))
    assert caught.value.problem.startswith(problem)


def test_progress_says_how_much_how_fast_and_how_long() -> None:
    assert str(Progress(3, 10, 25_000_000, 100_000_000, 50_000, 5.0)) == (
        "3 of 10 files, 25 MB, 50,000 records, 10,000/s, 15 s left"
    )
    assert str(Progress(0, 1, 1_000_000, 100_000_000, 0, 100.0)).endswith(" 0/s, 2 h 45 min left")
    assert str(Progress(0, 1, 1_000_000, 0, 5, 1.0)) == "0 of 1 files, 1 MB, 5 records, 5/s"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_progress_is_one_line_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackstop.hunt.intake.progress._EVERY_S", 0.0)
    out = Terminal()
    with shown(out) as told:
        told(Progress(1, 2, 10, 20, 5, 1.0))
        told(Progress(2, 2, 20, 20, 10, 2.0))
    *_, last, blank, end = out.getvalue().split("\r")
    assert last.strip() == "2 of 2 files, 0 MB, 10 records, 5/s, 0 s left"
    assert (blank.strip(), end) == ("", "")


def test_elsewhere_progress_is_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    with shown(out) as told:
        told(Progress(1, 2, 10, 20, 5, 1.0))
    assert not out.getvalue()
    monkeypatch.setattr("jackstop.hunt.intake.progress._EVERY_S_APART", 0.0)
    with shown(out) as told:
        told(Progress(1, 2, 10, 20, 5, 1.0))
    assert out.getvalue() == "1 of 2 files, 0 MB, 5 records, 5/s, 1 s left\n"
