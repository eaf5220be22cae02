"""What hunts have left in JACKSTOP_HOME and nobody has asked for in a long time goes, also where no hunt follows."""

from __future__ import annotations

from jackstop.events.analytics import DAY_US
from jackstop.settings import Home

FOLDER = "hunts"
ORGANISATIONS = "organisations"
"""The folder in it with what was read of organisations at providers: one file for each list, written anew each time."""


def tidy(home: Home, now_us: int, days: int) -> None:
    """Remove what was read of organisations, and parts that were asked for, so many days ago or earlier.

    Both hold addresses. While a hunt runs, parts are left alone.
    """
    from jackstop.hunt.intake.corpus import Corpus

    folder = home.root / FOLDER
    if not folder.is_dir():
        return
    for file in (folder / ORGANISATIONS).glob("*"):
        if now_us - file.stat().st_mtime_ns // 1_000 >= days * DAY_US:
            file.unlink(missing_ok=True)
    with Corpus(folder, now_us, unused_days=days) as corpus:
        corpus.sweep()
