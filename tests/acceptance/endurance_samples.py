"""What the processes of a system take while it runs, and how that grows over one process's life."""

import os
import statistics
from contextlib import suppress
from pathlib import Path

from tests.acceptance.sockets import rss_mb

_TICKS = os.sysconf("SC_CLK_TCK")
MEASURES = ("rss_mb", "descriptors", "threads")


def look(at, role, pid):
    """One sample of a process; nothing when it is gone."""
    with suppress(OSError, StopIteration):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] != "Z":
            cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
            return [(at, role, pid, rss_mb(pid), len(list(Path(f"/proc/{pid}/fd").iterdir())), int(fields[17]), cpu_s)]
    return []


def look_at_all(at, system):
    """A sample of each process of the system, of its practice providers, and of this one, which checks."""
    found = [(role, pid) for role, pids in system.children().items() for pid in pids]
    found += [("parent", system.process.pid), ("provider", system.sandbox.process.pid), ("checker", os.getpid())]
    return [sample for role, pid in found for sample in look(at, role, pid)]


def disk(at, home):
    """What folders of an installation take on disk."""
    rows = []
    for what in ("journal", "lake", "logs", ""):
        sizes = []
        for folder, _, names in os.walk(home / what):
            for name in names:
                with suppress(OSError):
                    sizes.append(Path(folder, name).stat().st_blocks * 512)
        rows.append((at, what or "home", sum(sizes), len(sizes)))
    return rows


class Growth:
    """A measure over one process's life: the medians of its second and of its last quarter."""

    def __init__(self, samples, measure):
        values = [sample[MEASURES.index(measure) + 1] for sample in samples]
        quarter = max(1, len(values) // 4)
        self.measure = measure
        self.life_s = samples[-1][0] - samples[0][0]
        self.before = statistics.median(values[quarter : 2 * quarter] or values)
        self.after = statistics.median(values[-quarter:])
        self.most = max(values)

    @property
    def grown(self):
        return self.after - self.before

    @property
    def allowed(self):
        """Noise of a heap, of connections that come and go; half a life lies between the two medians."""
        return {"rss_mb": 6 + 0.05 * self.before, "descriptors": 16, "threads": 1}[self.measure]

    def __str__(self):
        unit = " MB" if self.measure == "rss_mb" else ""
        return (
            f"{self.before:.4g}{unit}, then {self.after:.4g}{unit}, at most {self.most:.4g}{unit},"
            f" in {self.life_s / 60:.0f} min"
        )


def growths(records, role):
    """The growth of every measure over the longest life of a process of this role."""
    lives = records.ask("SELECT pid, max(at) - min(at) FROM sample WHERE role = ? GROUP BY pid ORDER BY 2 DESC", role)
    if not lives:
        return []
    samples = records.ask(
        "SELECT at, rss_mb, descriptors, threads FROM sample WHERE role = ? AND pid = ? ORDER BY at", role, lives[0][0]
    )
    return [Growth(samples, measure) for measure in MEASURES]


def cpu_share(records, roles, seconds):
    """The share of one core that processes of these roles took."""
    marks = ", ".join("?" * len(roles))
    used = records.one(
        f"SELECT sum(used) FROM (SELECT max(cpu_s) AS used FROM sample WHERE role IN ({marks}) GROUP BY role, pid)",
        *roles,
    )
    return used / seconds


def disk_growth(records, what):
    """(bytes in the second quarter, in the last, the most, files in the last): medians."""
    rows = records.ask("SELECT bytes, files FROM disk WHERE what = ? ORDER BY at", what)
    quarter = max(1, len(rows) // 4)
    sizes = [row[0] for row in rows]
    return (
        statistics.median(sizes[quarter : 2 * quarter] or sizes),
        statistics.median(sizes[-quarter:]),
        max(sizes),
        statistics.median(row[1] for row in rows[-quarter:]),
    )
