"""Two hours of mixed load while things go wrong: nothing grows, nothing is lost, the books and the bill agree.

JACKSTOP_SOAK_SECONDS makes it shorter. The figures so far are in .cache/soak/endurance.json every twelfth of the time.
SIGTERM ends it early, with everything that it has by then. What it starts inherits its cores: `taskset -c 1 …`.
"""

import os
import signal
import threading
from pathlib import Path

from tests.acceptance.endurance import Run
from tests.acceptance.endurance_rows import rows

SECONDS = 7_200
CHECKPOINT = Path(__file__).parents[1] / ".cache" / "soak" / "endurance.json"


def through_everything(folder, seed):
    """The load, the faults, and the reckoning."""
    stop = threading.Event()
    seconds = float(os.environ.get("JACKSTOP_SOAK_SECONDS", SECONDS))
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        run = Run(folder, seed, seconds, CHECKPOINT, stop).go()
    finally:
        signal.signal(signal.SIGTERM, before)
    yield "cores that everything ran on", len(os.sched_getaffinity(0)), "", True
    yield from rows(run)


SECTIONS = {"endurance": ("two hours of load and faults", through_everything)}
