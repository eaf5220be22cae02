"""What a day's requests cost, by team, key and model, out of the lake; and what changed since the day before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from jackstop.control.client import Ask
from jackstop.cost.digest import DAY_US, TOP, Line, Spend
from jackstop.events import lake

NO_TEAM = "(no team)"
_READ = ["decision", "team", "key_id", "model", "model_asked", "cost_nusd"]
_BATCH_ROWS = 100_000


class _Day:
    def __init__(self) -> None:
        self.requests = self.refused = 0
        self.teams, self.keys, self.models = Counter[str](), Counter[str](), Counter[str]()


def send_if_due(ask: Ask, folder: Path) -> bool:
    """The worker's part: when control says that a digest is due, read the day's spending for it. Whether it was."""
    day_us = ask("cost digest due", {})["day_us"]
    if day_us is None:
        return False
    ask("cost digest queue", {"spend": msgspec.to_builtins(spend_of(folder, day_us))})
    return True


def spend_of(folder: Path, day_us: int) -> Spend:
    """The spending of the UTC day that begins at `day_us`."""
    day, before = _read(folder, day_us), _read(folder, day_us - DAY_US)
    grown = (day.keys - before.keys).most_common(TOP)
    return Spend(
        day_us=day_us,
        nusd=day.keys.total(),
        before_nusd=before.keys.total(),
        requests=day.requests,
        before_requests=before.requests,
        refused=day.refused,
        before_refused=before.refused,
        teams=_top(day.teams, before.teams),
        keys=_top(day.keys, before.keys),
        models=_top(day.models, before.models),
        grown=tuple(Line(name, day.keys[name], before.keys[name]) for name, _ in grown),
        new_models=tuple(sorted(set(day.models) - set(before.models))[:TOP]),
    )


def _top(day: Counter[str], before: Counter[str]) -> tuple[Line, ...]:
    dearest = sorted(day.items(), key=lambda item: (-item[1], item[0]))[:TOP]
    return tuple(Line(name, nusd, before[name]) for name, nusd in dearest if nusd)


def _read(folder: Path, day_us: int) -> _Day:
    day = _Day()
    for path in lake.files(folder, day_us, day_us + DAY_US - 1):
        with lake.open_file(path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=_READ):
                _count(day, batch)
    return day


def _count(day: _Day, batch: pa.RecordBatch) -> None:
    table = pa.Table.from_batches([batch])
    asked = pc.or_kleene(pc.is_null(table["model"]), pc.equal(table["model"], ""))
    table = table.set_column(
        table.schema.get_field_index("model"), "model", pc.if_else(asked, table["model_asked"], table["model"])
    )
    groups = table.group_by(["decision", "team", "key_id", "model"]).aggregate(
        [([], "count_all"), ("cost_nusd", "sum")]
    )
    for row in groups.to_pylist():
        if row["decision"] == "refused":
            day.refused += row["count_all"]
        if not row["key_id"] or row["decision"] == "refused":
            continue
        nusd = row["cost_nusd_sum"] or 0
        day.requests += row["count_all"]
        day.teams[row["team"] or NO_TEAM] += nusd
        day.keys[row["key_id"]] += nusd
        if nusd:
            day.models[row["model"] or ""] += nusd
