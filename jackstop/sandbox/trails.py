"""An organisation's CloudTrail with thefts planted in it, as files in S3's layout: practice data, and what is in it.

The same seed gives the same bytes. A day of one account and region is one file, where CloudTrail itself writes many.
"""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from jackstop.clock import US_PER_S
from jackstop.sandbox.trail_campaigns import CAMPAIGNS, HOUR_US, Step, Theft
from jackstop.sandbox.trail_organisation import Worker, victims, workers
from jackstop.sandbox.trail_records import Form, filled, form, split

_DAY_US = 86_400 * US_PER_S
_THEFTS_US = 3 * _DAY_US
_LEVEL = 1
_NAME_CHARS = 16

Bucket = tuple[str, str, str]
"""Of a file: the day as `2026-11-23`, the account and the region."""


class Planted(NamedTuple):
    """One theft that is in the files. Times are UTC microseconds."""

    campaign: str
    account: str
    principal: str
    key_id: str
    first_us: int
    last_us: int
    records: int


class Written(NamedTuple):
    """What was written: files, records in all, bytes before compression, and the thefts in it."""

    files: int
    records: int
    raw_bytes: int
    planted: list[Planted]


def write(
    folder: Path,
    *,
    records: int,
    until_us: int,
    days: int = 35,
    thefts: int = len(CAMPAIGNS),
    seed: int = 1,
) -> Written:
    """Write the last `days` before `until_us`, about `records` in all, and say what is in them.

    The thefts begin in the last three days, each at another hour; the campaigns take turns. Without any, the one whose
    key `plant` steals is at work all the same.
    """
    chance = random.Random(seed)
    stolen = victims(max(thefts, 1), chance)
    staff = [*workers(), *(each.worker for each in stolen)]
    first_day_us = until_us - until_us % _DAY_US - days * _DAY_US
    planted: list[Planted] = []
    steps: dict[Bucket, list[Step]] = defaultdict(list)
    for number, victim in enumerate(stolen[:thefts]):
        begins_us = until_us - _THEFTS_US + (number * 7 % 24) * HOUR_US // 2 + number * HOUR_US // 4
        name = list(CAMPAIGNS)[number % len(CAMPAIGNS)]
        taken = sorted(CAMPAIGNS[name](Theft(victim, begins_us, chance)), key=attrgetter("at_us"))
        planted.append(_planted(name, taken))
        for step in taken:
            steps[split(step.at_us)[0], step.caller.account, step.region].append(step)
    everyday = max(records - sum(each.records for each in planted), 0)
    writer = _Writer(folder, staff, steps, chance)
    for day in range(days + 1):
        begins_us = first_day_us + day * _DAY_US
        ends_s = min((until_us - begins_us) // US_PER_S, 86_400)
        if ends_s > 0:
            writer.day(split(begins_us)[0], everyday // days, ends_s)
    return Written(writer.files, writer.records, writer.raw_bytes, planted)


def plant(folder: Path, campaign: str, begins_us: int, *, seed: int = 1) -> Planted:
    """Write one theft alone, as further files beside those that `write` wrote with this seed: its first victim's."""
    chance = random.Random(seed)
    victim = victims(1, chance)[0]
    taken = sorted(CAMPAIGNS[campaign](Theft(victim, begins_us, chance)), key=attrgetter("at_us"))
    steps: dict[Bucket, list[Step]] = defaultdict(list)
    for step in taken:
        steps[split(step.at_us)[0], step.caller.account, step.region].append(step)
    writer = _Writer(folder, [], steps, chance)
    for day in sorted({bucket[0] for bucket in steps}):
        writer.day(day, 0, 0)
    return _planted(campaign, taken)


def _planted(name: str, steps: list[Step]) -> Planted:
    caller = steps[0].caller
    key = str(caller.identity.get("accessKeyId", ""))
    return Planted(name, caller.account, caller.principal, key, steps[0].at_us, steps[-1].at_us, len(steps))


class _Writer:
    """The files of each day."""

    def __init__(
        self, folder: Path, staff: list[Worker], steps: dict[Bucket, list[Step]], chance: random.Random
    ) -> None:
        self.files = self.records = self.raw_bytes = 0
        self._folder, self._steps, self._chance = folder, steps, chance
        self._shares = sum(worker.share for worker in staff)
        self._staff: dict[tuple[str, str], list[tuple[Worker, list[Form]]]] = defaultdict(list)
        for worker in staff:
            forms = [form(worker.caller, call, worker.region) for call in worker.calls]
            self._staff[worker.caller.account, worker.region].append((worker, forms))

    def day(self, date: str, records: int, ends_s: int) -> None:
        """Write what happened on one day, up to one of its seconds."""
        places = set(self._staff) | {bucket[1:] for bucket in self._steps if bucket[0] == date}
        for account, region in sorted(places):
            lines = self._everyday(date, account, region, records, ends_s)
            for step in self._steps.get((date, account, region), ()):
                second = split(step.at_us)[1]
                lines.append((second, filled(form(step.caller, step.call, step.region), date, second, self._chance)))
            if lines:
                lines.sort()
                self._file(date, account, region, [text for _, text in lines])

    def _everyday(self, date: str, account: str, region: str, records: int, ends_s: int) -> list[tuple[int, str]]:
        chance, lines = self._chance, []
        for worker, forms in self._staff.get((account, region), ()):
            begins, ends = worker.hours
            for _ in range(round(records * worker.share / self._shares)):
                second = begins + int(chance.random() * (ends - begins))
                if second < ends_s:
                    chosen = forms[int(chance.random() * len(forms))]
                    lines.append((second, filled(chosen, date, second, chance)))
        return lines

    def _file(self, date: str, account: str, region: str, lines: list[str]) -> None:
        raw = f'{{"Records":[{",".join(lines)}]}}'.encode()
        year, month, day = date.split("-")
        folder = self._folder / "AWSLogs" / account / "CloudTrail" / region / year / month / day
        folder.mkdir(parents=True, exist_ok=True)
        unique = f"{self._chance.getrandbits(4 * _NAME_CHARS):0{_NAME_CHARS}x}"
        name = f"{account}_CloudTrail_{region}_{year}{month}{day}T2355Z_{unique}.json.gz"
        (folder / name).write_bytes(gzip.compress(raw, _LEVEL, mtime=0))
        self.files += 1
        self.records += len(lines)
        self.raw_bytes += len(raw)
