"""docs/rotation.md says what each driver does. `python -m tests.providers.drivers.test_page` writes that part anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jackstop.providers import drivers
from jackstop.providers.drivers.driver import Driver, Option

PAGE = Path(__file__).parents[3] / "docs" / "rotation.md"
BEGIN, END = "<!-- made from the drivers: `python -m tests.providers.drivers.test_page` -->\n", "<!-- end -->"


def table() -> str:
    found = [drivers.driver(name) for name in drivers.names()]
    lines = ["| driver | keys | by API | a place needs | limits, usage, audit |", "|---|---|---|---|---|"]
    lines += [
        f"| `{each.name}` | {each.kind.replace('_', ' ')} | {_verbs(each)} | {_options(each.places)} | {_reads(each)} |"
        for each in found
    ]
    return "\n".join(lines) + "\n" + "".join(_section(each) for each in found)


def _verbs(driver: Driver) -> str:
    return ", ".join(sorted(driver.verbs)) or "nothing: a person makes and ends keys"


def _options(options: Iterable[Option]) -> str:
    return ", ".join(f"`{each.name}`" if each.required else f"[`{each.name}`]" for each in options)


def _reads(driver: Driver) -> str:
    kinds = {
        "limits": "limits",
        "usage": "usage",
        "costs": "costs",
        "requests": "single requests",
        "audit": "audit log",
        "balance": "balance",
    }
    return ", ".join(word for name, word in kinds.items() if name in driver.sources)


def _section(driver: Driver) -> str:
    lines = [f"\n### {driver.name}\n\n"]
    words, _, policy = driver.permission.partition("\n{")
    lines.append(f"{words.strip()}\n")
    if policy:
        lines.append(f"\n```json\n{{{policy.rstrip()}\n```\n")
    told: list[Option] = [*driver.options, *driver.places]
    lines += ["\n"] if told else []
    lines += [f"- `{each.name}`: {each.meaning}\n" for each in told]
    lines.append("\nCalls and where they are documented:\n\n")
    lines += [f"- {verb}: {source}\n" for verb, source in driver.sources.items()]
    return "".join(lines)


def test_the_page_is_that_of_the_drivers() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] == table()


def test_every_verb_has_its_source() -> None:
    for name in drivers.names():
        driver = drivers.driver(name)
        assert driver.verbs <= set(driver.sources), name
        assert all(driver.sources.values())


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
