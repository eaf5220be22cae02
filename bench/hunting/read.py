"""Take a folder of logs into a corpus: `python -m bench.hunting.read LOGS CORPUS`; prints what came of it."""

import json
import sys
import time
from pathlib import Path

from jackstop.hunt.intake.corpus import Corpus
from jackstop.hunt.intake.inputs import inputs_of


def main():
    logs, folder = sys.argv[1:]
    start = time.monotonic()
    with Corpus(Path(folder), time.time_ns() // 1_000) as corpus:
        intake = corpus.take_in(inputs_of([logs]), jobs=2)
    found = {"records": intake.records, "events": intake.events, "set_aside": intake.set_aside_count}
    print(json.dumps(found | {"raw_bytes": intake.raw_bytes, "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
