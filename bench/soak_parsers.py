"""Damaged logs of every source and in every form of file. Some alone: `python -m bench.soak_parsers [--help] NAME…`.

Four run at a time, each for ten minutes; tests/hunt/fuzzing.py says what is damaged and what must hold.
"""

import argparse
import faulthandler
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from jackstop.events import sources
from tests.hunt import fuzzing

SECONDS = 600
AT_A_TIME = 4
HANGS_S = 120
FAULTS_SHOWN = 10


def _fuzzed(folder, seed, seconds, keep, what):
    """Fuzz one source or form for so long; what was found, and the longest round in seconds."""
    os.nice(5)
    start = last = time.monotonic()
    longest = 0

    def until(_tally):
        nonlocal last, longest
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        return now - start >= seconds

    with tempfile.TemporaryDirectory(dir=folder) as own:
        tally = fuzzing.run(what, seed, Path(own), until=until, keep=keep)
    faulthandler.cancel_dump_traceback_later()
    return what, tally, longest, time.monotonic() - start


def _rows(folder, seed, names, seconds=SECONDS, keep=None):
    work = partial(_fuzzed, folder, seed, seconds, keep)
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(AT_A_TIME, mp_context=spawned, max_tasks_per_child=1) as pool:
        for what, tally, longest, took in pool.map(work, names):
            made = f"{tally.buckets:,} buckets" if tally.buckets and not tally.events else f"{tally.events:,} events"
            if tally.buckets and tally.events:
                made += f", {tally.buckets:,} buckets"
            counts = f"{tally.files:,} files ({tally.unknown:,} of no source), {tally.records:,} records: {made}"
            yield f"{what}: {took:.0f} s", f"{counts}, {tally.set_aside:,} set aside", "", True
            faults = dict(tally.faults())
            total = sum(map(len, faults.values()))
            yield f"{what}: {', '.join(faults)}", ", ".join(str(len(each)) for each in faults.values()), "0", not total
            yield f"{what}: longest round of 60 files", f"{longest:.1f} s", f"< {HANGS_S} s", longest < HANGS_S
            for kind, found in faults.items():
                for each in found[:FAULTS_SHOWN]:
                    yield kind, each, "", False


def _sources(folder, seed):
    return _rows(folder, seed, sources.names())


def _forms(folder, seed):
    return _rows(folder, seed, fuzzing.FORMS)


SECTIONS = {
    "parsers": ("damaged logs of every source", _sources),
    "forms": ("damaged files of every form", _forms),
}


def main():
    known = (*sources.names(), *fuzzing.FORMS)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(known)}; default: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each; default: {SECONDS}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files that are found wanting there")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in known]
    if unknown:
        sys.exit(f"no such source or form: {', '.join(unknown)}")
    held = True
    with tempfile.TemporaryDirectory(prefix="jackstop-soak-") as folder:
        for what, figure, _, good in _rows(folder, args.seed, args.names or known, args.seconds, args.keep):
            print(f"{'  ' if good else '! '}{what}: {figure}", flush=True)
            held = held and good
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
