"""How far each journal has been written to the lake, as commands that the worker gives control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select, update

from jackstop.store.tables import instances


def positions(conn: Connection, _args: dict[str, Any]) -> list[dict[str, Any]]:
    """Every instance whose journal is still there, and where the lake stands in it."""
    rows = conn.execute(select(instances).where(instances.c.state != "gone").order_by(instances.c.started_us))
    return [{"instance": row.id, "segment": row.lake_segment, "offset": row.lake_offset} for row in rows]


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
