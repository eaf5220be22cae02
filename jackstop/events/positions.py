"""How far each journal, and each provider's log, was written to the lake, as commands that the worker gives control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select, update

from jackstop.store.tables import administrations, instances, readings

AUDIT = "audit"
"""The kind of a reading of a provider's audit log, and what the names of its files in the lake begin with."""


def reading_of(administration: str) -> str:
    """What stands for an administration's audit log where a gate's journal has its instance."""
    return f"{AUDIT}.{administration}"


def positions(conn: Connection, _args: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the lake stands in every journal that is still there, and in every audit log that is read.

    Of a log it is the moment after which its last reading ended: a file that begins there may be written again.
    """
    rows = conn.execute(select(instances).where(instances.c.state != "gone").order_by(instances.c.started_us))
    found = [{"instance": row.id, "segment": row.lake_segment, "offset": row.lake_offset} for row in rows]
    logs = (
        select(administrations.c.name, administrations.c.created_us, readings.c.read_us)
        .join(readings, readings.c.administration == administrations.c.name)
        .where(readings.c.kind == AUDIT)
        .order_by(administrations.c.name)
    )
    found += [
        {"instance": reading_of(row.name), "segment": 0, "offset": row.read_us or row.created_us}
        for row in conn.execute(logs)
    ]
    return found


def advance(conn: Connection, args: dict[str, Any]) -> bool:
    """The lake now holds `instance` up to `segment` and `offset`."""
    done = conn.execute(
        update(instances)
        .where(instances.c.id == args["instance"])
        .values(lake_segment=args["segment"], lake_offset=args["offset"])
    )
    return bool(done.rowcount)


LAKE_COMMANDS: dict[str, Callable[[Connection, dict[str, Any]], Any]] = {
    "lake positions": positions,
    "lake advance": advance,
}
