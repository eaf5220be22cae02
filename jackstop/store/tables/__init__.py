"""Every table of the store, as SQLAlchemy Core metadata for SQLite and PostgreSQL alike.

Money is nano-dollars and time is UTC microseconds, both BIGINT. `seq` is the number of a row's last change
(see `jackstop.store.feed`); rows of the fed tables are never deleted, only marked.
"""

from __future__ import annotations

from jackstop.store.tables.base import metadata
from jackstop.store.tables.cases import allowed, case_entries, cases, channels, findings, outbox, questions, responses
from jackstop.store.tables.keys import audit, keys, meta, people, teams
from jackstop.store.tables.ledger import cost_alerts, gaps, instances, leases, limits, open_holds, windows
from jackstop.store.tables.providers import (
    administrations,
    credentials,
    provider_limits,
    readings,
    reconciliations,
    rotations,
    standbys,
    usage,
)

__all__ = [
    "administrations",
    "allowed",
    "audit",
    "case_entries",
    "cases",
    "channels",
    "cost_alerts",
    "credentials",
    "findings",
    "gaps",
    "instances",
    "keys",
    "leases",
    "limits",
    "meta",
    "metadata",
    "open_holds",
    "outbox",
    "people",
    "provider_limits",
    "questions",
    "readings",
    "reconciliations",
    "responses",
    "rotations",
    "standbys",
    "teams",
    "usage",
    "windows",
]
