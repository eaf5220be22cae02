"""What a measurement leaves behind: the machine and the versions it ran with, and its figures in bench/results/."""

import json
import os
import platform
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("uvloop", "httptools", "msgspec", "sqlalchemy", "genai-prices", "pyarrow", "bpe-openai", "aiohttp")


@dataclass
class Table:
    """What was measured. `note` says how; `targets` are rows of (what, figure, target, whether it held)."""

    title: str
    columns: list[str]
    rows: list[list]
    note: str = ""
    targets: list[tuple] = field(default_factory=list)


def about(title):
    """The head of every result: what, when, where, with what."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {"title": title, "when": when, "machine": machine(), "versions": versions()}


def machine():
    """What the figures depend on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f} when it began",
    }


def versions():
    """Of Python, SQLite, the packages that matter, and the commit."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    command = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return found | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})


def save(name, found):
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False, default=plain) + "\n")


def plain(value):
    """What JSON does not know: a figure that took hours is not lost because of its type."""
    return value.item() if isinstance(value, np.generic) else str(value)


def load(name):
    """What was found the last time, None where nothing was."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


# -- as Markdown ------------------------------------------------------------------------------------------------


def where(found):
    """The machine, in a line."""
    on = found["machine"]
    return f"{on['cores']} cores of {on['processor']}, {on['memory']}, {on['system']}, load {on['load']}"


def with_what(found):
    """The versions, in a line."""
    return ", ".join(f"{name} {number}" for name, number in found["versions"].items())


def grid(columns, rows):
    """The lines of a table."""
    lines = [columns, *([_cell(cell) for cell in row] for row in rows)]
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return [head, f"|{'---|' * len(columns)}", *rest]


def _cell(value):
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
