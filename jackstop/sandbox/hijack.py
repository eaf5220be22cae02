"""T3 in the demo: a cloud account is hijacked, with no gate in between; the evidence lies in CloudTrail files.

Five weeks of an organisation's log are there, and a first hunt says what they hold and what they cannot show. Then the
files that hold a theft arrive, as CloudTrail delivers them, and the next hunt reads only these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from jackstop.clock import US_PER_S, SystemClock
from jackstop.sandbox.stage import Stage
from jackstop.sandbox.telling import Teller, span
from jackstop.sandbox.trails import Planted, plant, write

CAMPAIGN = "console_calls"
RECORDS = 20_000
_AGO_US = 40 * 60 * US_PER_S
"""The theft is over when its files arrive: it takes half an hour, and CloudTrail some minutes more."""
_GRAVE = {"high", "critical"}
_STEPS_TOLD = 3


class Hijacked(NamedTuple):
    """What was planted, when its files arrived, and the case about it. Times are UTC microseconds."""

    planted: Planted
    arrived_us: int
    case: dict[str, Any] | None


class Hijack:
    """The account and its log."""

    def __init__(self, stage: Stage, tell: Teller, folder: Path) -> None:
        self._stage, self._tell, self._folder = stage, tell, folder

    def replay(self) -> Hijacked:
        """Hunt over the log as it was, let the theft's files arrive, and hunt again."""
        now_us = SystemClock().now_us()
        before = write(self._folder, records=RECORDS, until_us=now_us - _AGO_US, thefts=0)
        self._tell.line("logs", f"five weeks of CloudTrail: {before.records:,} records in {before.files:,} files")
        first = self._hunt()
        grave = sum(each["severity"] in _GRAVE for each in first["findings"])
        self._tell.line("hunt", f"{span(first['took_us'])}: {grave} findings that would wake somebody")
        blind = {gap["name"] for gap in first["coverage"]["gaps"] if gap["level"] == "blind"}
        self._tell.line("", f"blind to: {', '.join(sorted(blind)) or 'nothing that it knows of'}")
        planted = plant(self._folder, CAMPAIGN, now_us - _AGO_US)
        arrived_us = SystemClock().now_us()
        self._tell.line("thief", "took a mailer's access key, opened access to a model, and called it 240 times")
        self._tell.line("logs", f"{planted.records} records arrive", arrived_us)
        second = self._hunt("--cases")
        case = next((each for each in second["cases"] if each["severity"] in _GRAVE), None)
        self._tell.line("hunt", f"{span(second['took_us'])}, reading what is new")
        if case is not None:
            self._tell_case(case, second)
        return Hijacked(planted, arrived_us, self._opened(case))

    def _hunt(self, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = self._stage.jackstop("hunt", str(self._folder), "--json", *options)
        return found

    def _tell_case(self, case: dict[str, Any], hunted: dict[str, Any]) -> None:
        self._tell.line("case", f"{case['severity']}: {case['entity']}")
        titles = {each["title"] for each in hunted["findings"] if each["uid"] in case["findings"]}
        for title in sorted(titles):
            self._tell.line("", title)
        for number, step in enumerate(case["what_to_do"][:_STEPS_TOLD], 1):
            self._tell.line("to do" if number == 1 else "", f"{number}. {step}")

    def _opened(self, case: dict[str, Any] | None) -> dict[str, Any] | None:
        """The case as control keeps it."""
        if case is None:
            return None
        kept: list[dict[str, Any]] = self._stage.jackstop("cases", "list", "--state", "all", "--json")
        return next((each for each in kept if each["entity"] in case["entities"]), None)
