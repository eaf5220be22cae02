"""The tables of a hunt beside `events`, and how those that follow from others are made, in portable SQL."""

from __future__ import annotations

from jackstop.events.analytics import TABLES, minutes_of, sightings_of
from jackstop.events.usage import IDENTITY

FOLLOWING: dict[str, str] = {"minutes": minutes_of("events"), "sightings": sightings_of("events")}
"""The tables that follow from events which name a key of Jackstop's, and the SELECT of each."""

HAS_KEYS = "SELECT COUNT(*) FROM (SELECT ts FROM events WHERE key_id <> '' LIMIT 1) AS one"
"""Says 1 if any event names such a key: else the tables above are empty, and need not be made."""

FILLED = ("findings", "allow", "inventory", "baselines", "known")
"""The tables that are empty until rows are put into them."""


def usage_of(buckets: str) -> str:
    """The SELECT that gives the rows of `usage` for a table of exported buckets: one that was exported twice is one."""
    columns = [name if name in IDENTITY else f"MAX({name}) AS {name}" for name in TABLES["usage"]]
    return f"SELECT {', '.join(columns)} FROM {buckets} GROUP BY {', '.join(IDENTITY)}"  # noqa: S608 -- names of our own
