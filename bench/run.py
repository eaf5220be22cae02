"""Side-by-side measurements, section by section: `python -m bench.run [--quick] [NAME…]`.

A section is a function `(folder, quick) -> tables` in the `SECTIONS` of a module bench/bench_*.py, which gives each a
name and a title; `PEERS` there names the gateways whose versions count. NAME is a section, or a module without its
`bench_`; none means all. What a run finds is kept in bench/results/bench-NAME.json, and bench/results.md is written
anew from all of these, as is the table in the README. `--quick` takes seconds, to try a section: it prints what it
finds, and keeps nothing. The status is 1 when a section did not come to its end.
"""

import argparse
import importlib
import pkgutil
import re
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from bench import peers, record

HERE = Path(__file__).parent
PAGE = HERE / "results.md"
README = HERE.parent / "README.md"
MARKED = re.compile(r"(<!-- bench:(\S+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
"""Where the first table of a section stands in the README."""
CACHE = HERE.parent / ".cache/bench"
HEAD = """\
# Beside its peers

Written by `make bench`. Everything runs on one machine and on loopback; each section says what was measured and how,
and its code stands in the module that it names. One section alone: `make bench ARGS=NAME`."""


def modules():
    """The modules with sections, in the order of their names."""
    names = sorted(each.name for each in pkgutil.iter_modules([str(HERE)]) if each.name.startswith("bench_"))
    return {name.removeprefix("bench_"): importlib.import_module(f"bench.{name}") for name in names}


def sections():
    """Every section: (name, the module's name, title, function, the peers it uses)."""
    return [
        (name, group, title, function, getattr(module, "PEERS", ()))
        for group, module in modules().items()
        for name, (title, function) in module.SECTIONS.items()
    ]


def chosen(names):
    """The sections asked for; ends with a message when there is no such section."""
    known = {name for section in sections() for name in section[:2]}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such section: {', '.join(unknown)}; see --list")
    return [section for section in sections() if not names or {*section[:2]} & {*names}]


def run(name, title, function, used, quick):
    """Run one section and keep what it found; whether it came to its end."""
    found, tables, good = record.about(title), [], True
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="jackstop-bench-") as folder:
            for table in function(Path(folder), quick):
                tables.append(table)
                show(table)
    except Exception as error:
        # What was measured until then stays, and the other sections go on.
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"[:300]
        tables.append(record.Table("The section did not come to its end", ["why"], [[why]]))
        good = False
    found["seconds"] = round(time.monotonic() - start)
    found["versions"] |= peers.versions(CACHE, used)
    found["tables"] = [asdict(table) for table in tables]
    if not quick:
        record.save(f"bench-{name}", found)
    print(f"\n{name}: {found['seconds']} s, with {record.with_what(found)}", flush=True)
    return good


def show(table):
    print(f"\n{table.title}\n", *record.grid(table.columns, table.rows), table.note, sep="\n", flush=True)
    for what, figure, target, held in table.targets:
        print(f"{'held' if held else 'NOT HELD'}: {what}: {figure} (target: {target})", flush=True)


def render():
    """Write the page from everything that was found so far."""
    results = [(name, group, record.load(f"bench-{name}")) for name, group, *_ in sections()]
    results = [result for result in results if result[2]]
    targets = [
        [name, *target] for name, _, found in results for table in found["tables"] for target in table["targets"]
    ]
    parts = [
        HEAD,
        "\n".join(["## Targets", "", *record.grid(["section", "what", "figure", "target", "held"], targets)]),
    ]
    PAGE.write_text("\n\n".join([*parts, *(_section(*result) for result in results)]) + "\n")
    first = {name: found["tables"][0] for name, _, found in results}
    README.write_text(MARKED.sub(lambda mark: _marked(mark, first.get(mark[2])), README.read_text()))


def _marked(mark, table):
    if table is None:
        return mark[0]
    return "\n".join([mark[1].rstrip(), *record.grid(table["columns"], table["rows"]), mark[3]])


def _section(name, group, found):
    run = f"bench/bench_{group}.py, {found['when']}, {found['seconds']} s, on {record.where(found)};"
    parts = [f"## {name}: {found['title']}", f"{run}\n{record.with_what(found)}."]
    for table in found["tables"]:
        parts += [f"### {table['title']}", *([table["note"]] if table["note"] else [])]
        parts.append("\n".join(record.grid(table["columns"], table["rows"])))
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a section, or a group of them; default: all")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--list", action="store_true", help="list the sections")
    parser.add_argument("--render", action="store_true", help="only write the page anew")
    args = parser.parse_args()
    wanted = chosen(args.names)
    if args.list:
        for name, group, title, *_ in wanted:
            print(f"{group:10} {name:20} {title}")
        return 0
    good = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    if not args.render:
        for name, _, title, function, used in wanted:
            good = run(name, title, function, used, args.quick) and good
    if not args.quick:
        render()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
