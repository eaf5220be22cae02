"""A message: one or several news of the same thing, as one channel sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from jackstop.clock import iso
from jackstop.notify.outbox import News, NewsKind, rank

_APART = frozenset({"acknowledged", "remediation"})
"""Facts that are not shown among the others."""
_EARLIER_CHARS = 600


@dataclass(frozen=True, slots=True)
class Message:
    """News that go out together, oldest first, each with the time at which it was queued.

    `uid` is the same at every attempt, and what it holds never changes once it was tried. `installation` keeps apart
    what two installations tell the same receiver.
    """

    uid: str
    installation: str
    news: tuple[News, ...]
    at_us: tuple[int, ...]

    @classmethod
    def read(cls, uid: str, installation: str, payload: dict[str, Any]) -> Message:
        """From the payload of an outbox row."""
        news = tuple(msgspec.convert(each, News) for each in payload["news"])
        return cls(uid, installation, news, tuple(payload["at_us"]))

    @property
    def newest(self) -> News:
        """The last of the news, which says how things stand."""
        return self.news[-1]

    @property
    def kind(self) -> NewsKind:
        """That of the newest; news that only go on with a case that these news open are part of its opening."""
        kind = self.newest.kind
        is_opening = kind == "case.updated" and any(each.kind == "case.opened" for each in self.news)
        return "case.opened" if is_opening else kind

    @property
    def severity(self) -> str:
        """The highest of them."""
        return max((each.severity for each in self.news), key=rank)

    @property
    def title(self) -> str:
        """The newest title, on one line."""
        return one_line(self.newest.title)

    @property
    def facts(self) -> dict[str, str | int]:
        """All facts; a newer one replaces an older one of its name."""
        merged: dict[str, str | int] = {}
        for each in self.news:
            merged |= each.facts
        return merged

    @property
    def remediation(self) -> str:
        """What to do, in words; empty where nobody said."""
        return str(self.facts.get("remediation", ""))

    @property
    def actions(self) -> tuple[tuple[str, str], ...]:
        """What can be done; a newer action replaces an older one of its label."""
        merged: dict[str, str] = {}
        for each in self.news:
            merged |= dict(each.actions)
        return tuple(merged.items())

    @property
    def earlier(self) -> tuple[str, ...]:
        """A line for each of the news before the newest, with what they said: a case's titles are all the same."""
        told = zip(self.at_us[:-1], self.news[:-1], strict=True)
        return tuple(f"{iso(at)[:19]}Z {each.kind}: {_short(each.text or each.title)}" for at, each in told)

    @property
    def subject_id(self) -> str:
        """What these news are about, the same from the first to the last of them."""
        return f"jackstop-{self.installation}-{self.newest.group_key or self.newest.uid}"


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _EARLIER_CHARS else f"{line[: _EARLIER_CHARS - 1]}…"


def one_line(text: str) -> str:
    """Without line breaks and control characters, which a header or a title must not hold."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def is_link(target: str) -> bool:
    """Whether an action is a page to open; else it is a command to run."""
    return target.startswith(("https://", "http://"))


def shown_facts(facts: dict[str, str | int]) -> list[tuple[str, str]]:
    """Facts as people read them: money in dollars, times as times."""
    return [(_label(name), _shown(name, value)) for name, value in facts.items() if value != "" and name not in _APART]


def _label(name: str) -> str:
    return one_line(name).removesuffix("_nusd").removesuffix("_us").replace("_", " ")


def _shown(name: str, value: str | int) -> str:
    from jackstop.money import format_usd

    if isinstance(value, int) and name.endswith("_nusd"):
        return f"{format_usd(value)} USD"
    if isinstance(value, int) and name.endswith("_us"):
        return iso(value)[:19] + "Z"
    return one_line(str(value))
