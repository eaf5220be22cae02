"""The long sizes of the long tests, section by section: `python -m bench.soak [--seed N] [NAME…]`.

A section is a function `(folder, seed) -> rows` in the `SECTIONS` of a module bench/soak_*.py, which gives each a name
and a title. NAME is a section, or a module without its `soak_`; none means all. What a run finds is kept in
bench/results/NAME.json, and bench/soak.md is written anew from all of these. The status is 1 when a bound was passed.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "soak.md"
PACKAGES = ("uvloop", "httptools", "msgspec", "sqlalchemy", "genai-prices", "pyarrow", "bpe-openai", "aiohttp")
DEFAULT_SEED = 1


def modules():
    """The modules with sections, in the order of their names."""
    names = sorted(each.name for each in pkgutil.iter_modules([str(HERE)]) if each.name.startswith("soak_"))
    return {name.removeprefix("soak_"): importlib.import_module(f"bench.{name}") for name in names}


def chosen(names):
    """The sections asked for: {name: (title, function)}."""
    found = {
        name: section
        for group, module in modules().items()
        for name, section in module.SECTIONS.items()
        if not names or name in names or group in names
    }
    known = {*found, *modules()}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such section: {', '.join(unknown)}; see --list")
    return found


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
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return found | ({"commit": commit.stdout.strip()} if commit.returncode == 0 else {})


def run(name, title, section, seed):
    """Run one section and keep what it found; whether every bound held."""
    about = {"title": title, "seed": seed, "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    about |= {"machine": machine(), "versions": versions()}
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="jackstop-soak-") as folder:
            rows = [list(row) for row in section(Path(folder), seed)]
    except Exception as error:
        # The other sections go on.
        traceback.print_exc()
        rows = [["the section came to its end", f"{type(error).__name__}: {error}"[:300], "it does", False]]
    about["seconds"] = round(time.monotonic() - start)
    about["rows"] = rows
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    held = all(row[3] for row in rows)
    print(f"{name}: {'held' if held else 'NOT HELD'}, {about['seconds']} s", flush=True)
    for what, figure, bound, good in rows:
        print(f"  {'  ' if good else '! '}{what}: {figure}{f' (bound: {bound})' if bound else ''}", flush=True)
    return held


def render():
    """Write the page from everything that was found so far."""
    parts = [
        "# Soak",
        """\
Written by `make soak`, which runs the long sizes of the long tests; what each section does stands in the code that it
names. One section alone: `make soak ARGS=NAME`.""",
    ]
    for group, module in modules().items():
        for name in module.SECTIONS:
            path = RESULTS / f"{name}.json"
            if path.exists():
                parts.append(_section(name, group, json.loads(path.read_text())))
    PAGE.write_text("\n\n".join(parts) + "\n")


def _section(name, group, about):
    on = about["machine"]
    run = f"bench/soak_{group}.py, seed {about['seed']}, {about['when']}, {about['seconds']} s"
    where = f"{on['cores']} cores of {on['processor']}, {on['memory']}, {on['system']}, load {on['load']}"
    lines = [
        f"## {name}: {about['title']}",
        "",
        f"{run}, on {where};",
        ", ".join(f"{package} {number}" for package, number in about["versions"].items()) + ".",
        "",
        "| what | figure | bound | held |",
        "|---|---|---|---|",
    ]
    for what, figure, bound, held in about["rows"]:
        cells = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in (what, figure, bound)]
        lines.append(f"| {' | '.join(cells)} | {('yes' if held else '**no**') if bound or not held else ''} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a section, or a group of them; default: all")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--list", action="store_true", help="list the sections")
    parser.add_argument("--render", action="store_true", help="only write the page anew")
    args = parser.parse_args()
    sections = chosen(args.names)
    if args.list:
        for group, module in modules().items():
            for name, (title, _) in module.SECTIONS.items():
                print(f"{group:10} {name:20} {title}")
        return 0
    held = True
    if not args.render:
        os.nice(5)
        for name, (title, section) in sections.items():
            held = run(name, title, section, args.seed) and held
    render()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
