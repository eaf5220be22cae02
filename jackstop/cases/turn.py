"""One turn at the cases: the transaction in which something is taken in, decided, done and written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select

from jackstop.cases.finding import SEVERITIES
from jackstop.settings import Settings
from jackstop.store.engine import Store
from jackstop.store.tables import case_entries, cases, findings, meta

SYSTEM = "system"
"""The actor of what Jackstop does by itself."""


class Turn(NamedTuple):
    """Where and when something is done, and who does it: `os:UID`, `person:ID` or `system`."""

    conn: Connection
    store: Store
    settings: Settings
    now_us: int
    actor: str

    def by(self, actor: str) -> Turn:
        """The same turn in another's name."""
        return self._replace(actor=actor)


@contextmanager
def begin(store: Store, settings: Settings, now_us: int, actor: str) -> Iterator[Turn]:
    """A transaction of its own. Turns follow each other, also where the database would let them run at once."""
    with store.begin() as conn:
        yield enter(conn, store, settings, now_us, actor)


def enter(conn: Connection, store: Store, settings: Settings, now_us: int, actor: str) -> Turn:
    """A turn inside a transaction that is there already."""
    conn.execute(select(meta.c.value).where(meta.c.key == "seq").with_for_update())
    return Turn(conn, store, settings, now_us, actor)


def write(turn: Turn, case_id: int, kind: str, **detail: Any) -> int:
    """Add an entry to a case's timeline; returns its number."""
    statement = insert(case_entries).values(
        case_id=case_id, ts_us=turn.now_us, kind=kind, actor=turn.actor, detail=detail
    )
    return int(turn.conn.execute(statement.returning(case_entries.c.id)).scalar_one())


def rank(severity: str) -> int:
    """Where a severity stands, from 0 for `info`; -1 for none."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def read(conn: Connection, case_id: int) -> Row[Any]:
    """A case that is known to be there, as it is now."""
    return conn.execute(select(cases).where(cases.c.id == case_id)).one()


def entities(conn: Connection, case: Row[Any]) -> list[str]:
    """The entities of a case: of its first finding, then of the others."""
    found = conn.execute(select(findings.c.entity).where(findings.c.case_id == case.id).distinct()).scalars()
    return [case.entity, *sorted(set(found) - {case.entity})]


def named(entity: str) -> str:
    """An entity as news and titles name it: nobody's address leaves with them."""
    kind, _, name = entity.partition(":")
    if kind == "owner":
        return "one owner's keys"
    return f"{kind} {name}" if name else "the installation"
