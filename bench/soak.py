"""The long sizes of the long tests, section by section: `python -m bench.soak [--seed N] [NAME…]`.

A section is a function `(folder, seed) -> rows` in the `SECTIONS` of a module bench/soak_*.py, which gives each a name
and a title. NAME is a section, or a module without its `soak_`; none means all. What a run finds is kept in
bench/results/NAME.json, and bench/soak.md is written anew from all of these. The status is 1 when a bound was passed.
"""

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from bench import record

HERE = Path(__file__).parent
PAGE = HERE / "soak.md"
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


def run(name, title, section, seed):
    """Run one section and keep what it found; whether every bound held."""
    about, rows = record.about(title) | {"seed": seed}, []
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="jackstop-soak-") as folder:
            for row in section(Path(folder), seed):
                rows.append(list(row))
                show(*row)
    except Exception as error:
        # What was found until then stays, and the other sections go on.
        traceback.print_exc()
        rows.append(["the section came to its end", f"{type(error).__name__}: {error}"[:300], "it does", False])
    about["seconds"] = round(time.monotonic() - start)
    about["rows"] = rows
    record.save(name, about)
    held = all(row[3] for row in rows)
    print(f"{name}: {'held' if held else 'NOT HELD'}, {about['seconds']} s", flush=True)
    return held


def show(what, figure, bound, good):
    print(f"  {'  ' if good else '! '}{what}: {figure}{f' (bound: {bound})' if bound else ''}", flush=True)


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
            found = record.load(name)
            if found:
                parts.append(_section(name, group, found))
    PAGE.write_text("\n\n".join(parts) + "\n")


def _section(name, group, about):
    run = f"bench/soak_{group}.py, seed {about['seed']}, {about['when']}, {about['seconds']} s"
    rows = [
        [str(what), str(figure), str(bound), ("yes" if held else "**no**") if bound or not held else ""]
        for what, figure, bound, held in about["rows"]
    ]
    lines = [
        f"## {name}: {about['title']}",
        "",
        f"{run}, on {record.where(about)};",
        f"{record.with_what(about)}.",
        "",
        *record.grid(["what", "figure", "bound", "held"], rows),
    ]
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
