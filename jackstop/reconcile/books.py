"""What the gate's books hold of each credential, by minute: sums over the lake's events, and the holds that are open.

A file of the lake is read once, and again if another took its place: a writer that could not note its position writes
the same file with more in it. When a request was counted at its provider is not known:
its clock may be off, and a request takes time; each sum stands with the first and the last minute it may belong to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from jackstop.clock import US_PER_S
from jackstop.events import lake
from jackstop.reconcile.material import DAY_US, MINUTE_US, Hold
from jackstop.reconcile.rates import Tokens

SKEW_US = 90 * US_PER_S
"""How far a provider's clock and ours may be apart."""
UNSEEN_US = 600 * US_PER_S
"""How long a provider may go on with a request whose end nobody saw."""
LONGEST_US = 3_600 * US_PER_S
"""Requests that began so long before a span are looked at for it."""
_BATCH_ROWS = 100_000
_TEXTS = ["credential_id", "provider_key_id", "model", "model_asked"]
_COUNTS = ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_nusd", "hold_nusd"]
_READ = ["ts", "decision", "estimated", "latency_us", *_TEXTS, *_COUNTS]
_GROUP = [*_TEXTS, "exact", "first", "last"]


_Version = tuple[int, int]


class Cell(NamedTuple):
    """Requests of a credential whose charge falls between the minutes `first` and `last`, both included.

    Of `exact` ones the tokens and `nusd` are what they cost; of others only the most is known, `nusd`. An empty
    `credential` may be any.
    """

    credential: str
    key: str
    model: str
    asked: str
    exact: bool
    first: int
    last: int
    requests: int
    tokens: Tokens
    nusd: int


class Books:
    """The events' part, which grows with the lake. Not for two threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cells: dict[Path, tuple[_Version, list[Cell]]] = {}

    def read(self, since_us: int, until_us: int) -> list[Cell]:
        """The cells of the events that may have been counted in the span, and of some beside it."""
        listed = lake.files(self._folder, since_us - LONGEST_US, until_us)
        known, self._cells = self._cells, {}
        for path in listed:
            try:
                version = _version(path)
                same = path in known and known[path][0] == version
                self._cells[path] = known[path] if same else (version, _read(path))
            except FileNotFoundError:
                continue  # the day was forgotten
        return [cell for path in listed if path in self._cells for cell in self._cells[path][1]]


def _version(path: Path) -> _Version:
    """What tells a file from another of its name. Raises FileNotFoundError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        found = lake.hidden_name(path).stat()
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> list[Cell]:
    with lake.open_file(path) as parquet:
        return [cell for batch in parquet.iter_batches(_BATCH_ROWS, columns=_READ) for cell in summed(batch)]


def summed(batch: pa.RecordBatch) -> Iterator[Cell]:
    """The cells of some events."""
    table = pa.Table.from_batches([batch])
    through = pc.is_in(table["decision"], value_set=pa.array(["admitted", "would_refuse"]))
    table = table.filter(pc.and_(through, pc.not_equal(table["credential_id"], "")))
    exact = pc.invert(pc.fill_null(table["estimated"], False))
    took = pc.add(pc.fill_null(table["latency_us"], 0), pc.if_else(exact, 0, UNSEEN_US))
    for name, moment in (
        ("first", pc.subtract(table["ts"], SKEW_US)),
        ("last", pc.add(pc.add(table["ts"], took), SKEW_US)),
    ):
        table = table.append_column(name, pc.divide(moment, MINUTE_US))
    table = table.append_column("exact", exact)
    for name in _COUNTS:
        table = table.set_column(table.schema.get_field_index(name), name, pc.fill_null(table[name], 0))
    most = pc.max_element_wise(table["hold_nusd"], table["cost_nusd"])
    table = table.append_column("most", pc.if_else(exact, table["cost_nusd"], most))
    sums = [([], "count_all"), ("most", "sum"), *((name, "sum") for name in _COUNTS[:4])]
    for row in table.group_by(_GROUP).aggregate(sums).to_pylist():
        credential, key, model, asked = (str(row[name] or "") for name in _TEXTS)
        yield Cell(
            credential,
            key,
            model,
            asked,
            row["exact"],
            row["first"],
            row["last"],
            row["count_all"],
            Tokens(*(row[f"{name}_sum"] for name in _COUNTS[:4])) if row["exact"] else Tokens(),
            row["most_sum"],
        )


def of_holds(holds: Iterable[Hold], now_us: int) -> list[Cell]:
    """The cells of open holds: a running request may be counted until now, one that a dead gate had for a while."""
    found = []
    for hold in holds:
        # Nobody knows when the requests of a journal's lost end were made, but that it was before it was found lost.
        first_us = hold.ts_us - (DAY_US if hold.state == "tail" else SKEW_US)
        ends = {"under way": now_us, "open": hold.ts_us + UNSEEN_US, "tail": hold.ts_us}
        last_us = ends[hold.state] + SKEW_US
        span = first_us // MINUTE_US, last_us // MINUTE_US
        found.append(Cell(hold.credential, "", "", hold.model, False, *span, 1, Tokens(), hold.nusd))
    return found


def of_credentials(
    cells: Iterable[Cell], names: Collection[str], since_us: int, keys: Collection[str] = ()
) -> list[Cell]:
    """Those of the credentials called so, or made with these keys, which may have been counted from `since_us` on."""
    first, own = since_us // MINUTE_US, {"", *names}
    return [cell for cell in cells if (cell.credential in own or cell.key in keys) and cell.last >= first]
