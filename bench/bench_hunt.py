"""A million CloudTrail records with thefts in them: read, hunted, and read by others, on two cores."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.record import Table
from jackstop.sandbox import trails

RECORDS = 1_000_000
QUICK = 50_000
THEFTS = 20
DAYS = 35
TIMES = 10
"""How many times as much is read to see whether memory grows."""
MOST_MEMORY = 2 << 30
SLOWER_THAN_DUCKDB = 2
GROWTH = 1.5
ROOT = Path(__file__).parents[1]
SAMPLED_S = 0.1
HOUR_US = 3_600_000_000


def measured(*command, home=None):
    """Run a program on two cores: what it prints, its seconds, and the most memory of it and its children."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JACKSTOP_HOME": str(home or "")}
    start, most = time.monotonic(), 0
    with tempfile.TemporaryFile() as out:
        with subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=environment, stdout=out) as process:
            os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:2])
            while process.poll() is None:
                most = max(most, memory(process.pid))
                time.sleep(SAMPLED_S)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}")
        out.seek(0)
        return out.read().decode(), time.monotonic() - start, most


def memory(pid):
    """Bytes of a process and its children; what they share counts once."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (OSError, ProcessLookupError):
        return 0  # it has just ended
    own = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return own * 1024 + sum(memory(child) for child in children)


def many_times(logs, folder, times):
    """The same files under so many names: links, which take no room."""
    for number in range(times):
        for path in logs.rglob("*.gz"):
            link = folder / str(number) / path.relative_to(logs)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, link)
    return folder


def mb(size):
    return round(size / 2**20)


def row(what, records, seconds, most):
    return [what, round(seconds, 1), round(records / seconds), mb(most)]


def seen(findings, planted):
    """How many of the thefts lie within what some finding is about."""
    texts = [(json.dumps(each), each["first_seen"], each["last_seen"]) for each in findings]

    def found(theft):
        names = [name for name in (theft.principal, theft.key_id) if name] or [theft.account]
        return any(
            any(name in text for name in (*names, theft.account))
            and first <= theft.last_us + HOUR_US
            and last >= theft.first_us - HOUR_US
            for text, first, last in texts
        )

    return sum(map(found, planted))


def measure(folder, quick):
    logs = folder / "logs"
    made = trails.write(
        logs, records=QUICK if quick else RECORDS, until_us=time.time_ns() // 1_000, days=DAYS, thefts=THEFTS
    )
    size = sum(path.stat().st_size for path in logs.rglob("*.gz"))
    rows, count = [], made.records

    text, _, read_most = measured("-m", "bench.hunting.read", logs, folder / "corpus")
    read = json.loads(text)
    assert read["records"] == count
    rows.append(row("raw to Parquet: jackstop", count, read["seconds"], read_most))
    text, _, duck_most = measured("-m", "bench.hunting.with_duckdb", logs, folder / "duckdb.parquet")
    duck = json.loads(text)
    assert duck["records"] == count
    rows.append(row("raw to Parquet, the same columns: DuckDB alone", count, duck["seconds"], duck_most))
    text, _, sigma_most = measured("-m", "bench.hunting.with_sigma", logs)
    sigma = json.loads(text)
    rows.append(
        row("raw, ten single-event rules, nothing kept: pySigma in Python", count, sigma["seconds"], sigma_most)
    )

    text, first_s, first_most = measured("-m", "jackstop", "hunt", logs, "--json", home=folder / "home")
    found = json.loads(text)["findings"]
    rows.append(row("raw to findings: `jackstop hunt`", count, first_s, first_most))
    text, again_s, again_most = measured("-m", "jackstop", "hunt", logs, "--json", home=folder / "home")
    rows.append(row("Parquet to findings: `jackstop hunt` once more", count, again_s, again_most))
    shutil.rmtree(folder / "home")
    shutil.rmtree(folder / "corpus")

    more = many_times(logs, folder / "more", TIMES)
    text, _, more_most = measured("-m", "bench.hunting.read", more, folder / "corpus")
    more_read = json.loads(text)
    assert more_read["records"] == count * TIMES
    rows.append(row(f"raw to Parquet, {TIMES} times as much", count * TIMES, more_read["seconds"], more_most))
    ratio, caught = read["seconds"] / duck["seconds"], seen(found, made.planted)
    most = max(read_most, first_most, again_most, more_most)
    yield Table(
        "A million records",
        ["what", "seconds", "records/s", "most memory, MiB"],
        rows,
        f"{count:,} CloudTrail records, {made.raw_bytes / 1e6:,.0f} MB of JSON in {made.files:,} gz files of "
        f"{size / 1e6:,.0f} MB, {DAYS} days, {THEFTS} thefts planted by jackstop/sandbox/trails.py. Two cores; "
        "memory is that of all processes, shared pages once. Jackstop's and DuckDB's rows have the same columns.",
        [
            (
                "reading, beside DuckDB alone",
                f"{ratio:.2f} times",
                f"<= {SLOWER_THAN_DUCKDB}",
                ratio <= SLOWER_THAN_DUCKDB,
            ),
            ("most memory", f"{mb(most):,} MiB", f"< {mb(MOST_MEMORY):,}", most < MOST_MEMORY),
            (
                f"most memory of reading, {TIMES} times as much",
                f"{mb(more_most):,} MiB",
                f"<= {GROWTH} times {mb(read_most):,}",
                more_most <= GROWTH * read_most,
            ),
            ("thefts found", caught, len(made.planted), caught == len(made.planted)),
        ],
    )


SECTIONS = {"hunt": ("hunts: CloudTrail files read and looked through", measure)}
