"""Books a gate's journal into the store: each record once, in the transaction that moves the position."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from jackstop.cases.finding import Finding, Report
from jackstop.clock import Clock, boot_id
from jackstop.errors import UserError
from jackstop.events.schema import Event
from jackstop.gate.journal import START, Closed, Held, Leased, Opened, Position, Reader, Record, Recorded
from jackstop.ledger import leases as ledger
from jackstop.store.engine import Store
from jackstop.store.tables import gaps, instances, leases, open_holds

BATCH_BYTES = 1 << 20


class Booked(NamedTuple):
    """What one batch did, and to which leases."""

    records: int
    gaps: int
    leases: tuple[int, ...] = ()


class Tail:
    """One instance's journal as control follows it: where it is, and which holds are open there."""

    def __init__(self, root: Path, instance: str, report: Report) -> None:
        self.instance = instance
        self._report = report
        self.reader = Reader(root / instance)
        self.position = START
        self.holds: dict[Position, Held] = {}
        self.closed = False
        self._boot = ""
        self._scan = START
        self._loaded = False

    def behind(self) -> bool:
        """Whether the journal holds more than has been booked."""
        return self.reader.written() > self.position

    def _load(self, conn: Connection) -> None:
        """Go on where an earlier control stopped: holds still open there are read again, not booked again."""
        row = conn.execute(select(instances).where(instances.c.id == self.instance)).one()
        booked = max(START, Position(row.segment, row.offset))
        self._scan = max(START, Position(row.scan_segment, row.scan_offset))
        self._boot = row.boot_id
        for here, _, record in self.reader.records(self._scan):
            if here >= booked:
                break
            self._follow(here, record)
        self.position = booked
        self._loaded = True

    def _follow(self, here: Position, record: Record) -> None:
        if isinstance(record, Held):
            self.holds[here] = record
        elif isinstance(record, Recorded) and record.hold is not None:
            self.holds.pop(Position(*record.hold), None)
        elif isinstance(record, Opened):
            self._boot = record.boot
        elif isinstance(record, Closed):
            self.closed = True

    def book(self, conn: Connection, store: Store) -> Booked:
        """Book at most one batch. The tail's own state is only right if the transaction commits."""
        if not self._loaded:
            self._load(conn)
        booked: Counter[int] = Counter()
        journaled: Counter[int] = Counter()
        kept: list[tuple[Position, Held, Recorded]] = []
        overruns: list[Recorded] = []
        records = 0
        for here, behind, record in self.reader.records(self.position, BATCH_BYTES):
            if isinstance(record, Leased):
                journaled[record.lease] += record.amount
            elif isinstance(record, Recorded):
                booked.update(dict(record.on))
                held = self.holds.get(Position(*record.hold)) if record.hold else None
                if record.kept and held is not None and record.hold is not None:
                    kept.append((Position(*record.hold), held, record))
                if "overrun" in record.event.markers:
                    overruns.append(record)
            self._follow(here, record)
            self.position = behind
            records += 1
        if not records:
            return Booked(0, 0)
        ledger.change_all(
            conn,
            {
                lease_id: ledger.Change(booked=booked[lease_id], journaled=journaled[lease_id])
                for lease_id in {*booked, *journaled}
            },
        )
        for where, held, recorded in kept:
            self._keep(conn, where, held, recorded.on, "estimated", recorded.event.cost_nusd or held.nusd)
        for recorded in overruns:
            self._find_overrun(conn, store, recorded)
        self._save(conn)
        return Booked(records, len(overruns), tuple(booked))

    def _save(self, conn: Connection) -> None:
        scan = min(self.holds, default=self.position)
        conn.execute(
            update(instances)
            .where(instances.c.id == self.instance)
            .values(
                segment=self.position.segment,
                offset=self.position.offset,
                scan_segment=scan.segment,
                scan_offset=scan.offset,
                boot_id=self._boot,
            )
        )

    def _keep(
        self, conn: Connection, where: Position, held: Held, on: list[tuple[int, int]], state: str, nusd: int
    ) -> None:
        conn.execute(
            insert(open_holds).values(
                id=f"{self.instance}-{where.segment}-{where.offset}",
                instance=self.instance,
                ts_us=held.ts,
                key_id=held.key,
                provider=held.provider,
                model=held.model,
                credential=held.credential,
                nusd=nusd,
                tokens=held.tokens,
                charges=charges(on, places(conn, dict(on))),
                state=state,
            )
        )

    def _find_overrun(self, conn: Connection, store: Store, recorded: Recorded) -> None:
        """A request cost more than was held: report it, and hold its like at the context window from now on."""
        event = recorded.event
        gap = _gap(event)
        self._report(
            conn,
            Finding(
                uid=f"overrun-{event.key_id}-{event.ts}-{'-'.join(gap.values())}",
                detection="overrun",
                severity="medium",
                entity=f"key:{event.key_id}",
                first_seen=event.ts,
                last_seen=event.ts,
                count=1,
                evidence={"hold_nusd": event.hold_nusd, "cost_nusd": event.cost_nusd, "key_id": event.key_id, **gap},
            ),
        )
        same = [gaps.c[name] == value for name, value in gap.items()]
        seq = store.next_seq(conn)
        if conn.execute(update(gaps).where(*same).values(mended=False, seq=seq)).rowcount == 0:
            conn.execute(insert(gaps).values(**gap, mended=False, seq=seq))

    def recover(self, conn: Connection, store: Store, clock: Clock) -> None:
        """The process is dead: book to the end, open holds at their maximum, and return the rest.

        Where the journal lost its tail, its last word on holds, grants and returns is not known: then all that
        was leased counts as spent.
        """
        while self.book(conn, store).records:
            pass
        readable = self._readable()
        if self._has_lost(readable):
            for lease in ledger.charge_rest(conn, self.instance):
                self._keep_tail(conn, lease, clock)
        else:
            ledger.reconcile(conn, self.instance)
            for where, held in self.holds.items():
                for lease_id, amount in held.on:
                    ledger.change(conn, lease_id, booked=amount)
                self._keep(conn, where, held, held.on, "open", held.nusd)
            ledger.close(conn, self.instance)
        self.holds.clear()
        self.position = min(self.position, readable)
        self._save(conn)
        conn.execute(update(instances).where(instances.c.id == self.instance).values(state="closed"))

    def _readable(self) -> Position:
        """The end of what can be read, and in `closed`, whether the process said its last word there."""
        last = end = Position(self._scan.segment, START.offset)
        for here, behind, _ in self.reader.payloads(end):
            last, end = here, behind
        for _, _, record in self.reader.records(last):
            self.closed = isinstance(record, Closed)
        return end

    def _has_lost(self, readable: Position) -> bool:
        """Whether the machine, and not just the process, ended under this journal, or something cut it short."""
        if self.closed:
            return False
        return readable < self.position or self._boot != boot_id() or self.reader.written() > readable

    def _keep_tail(self, conn: Connection, lease: Row[Any], clock: Clock) -> None:
        conn.execute(
            insert(open_holds).values(
                id=f"{self.instance}-tail-{lease.id}",
                instance=self.instance,
                ts_us=clock.now_us(),
                key_id="",
                nusd=lease.leased,
                charges=charges([(lease.id, lease.leased)], {lease.id: (lease.limit_id, lease.window_us)}),
                state="estimated",
                reason="the journal lost its tail; the lease is charged whole",
            )
        )


def places(conn: Connection, lease_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Limit and window of each of these leases."""
    asked = select(leases.c.id, leases.c.limit_id, leases.c.window_us).where(leases.c.id.in_(set(lease_ids)))
    return {row.id: (row.limit_id, row.window_us) for row in conn.execute(asked)}


def charges(on: list[tuple[int, int]], place_of: Mapping[int, tuple[int, int]]) -> list[dict[str, int]]:
    """Amounts on leases with the limits and windows behind them."""
    return [
        {"lease": lease_id, "limit": place_of[lease_id][0], "window": place_of[lease_id][1], "amount": amount}
        for lease_id, amount in on
    ]


def _gap(event: Event) -> dict[str, str]:
    """What had too low a bound: a provider's model and feature."""
    try:
        about = json.loads(event.extra)["overrun"]
    except (ValueError, KeyError, TypeError):
        about = {}
    return {
        "provider": str(about.get("provider", event.provider)),
        "model": str(about.get("model", event.model)),
        "feature": str(about.get("feature", "")),
    }


def require_instance(conn: Connection, instance: str) -> Row[Any]:
    """The row of an instance. Raises UserError for one that control does not know."""
    row = conn.execute(select(instances).where(instances.c.id == instance)).one_or_none()
    if row is None:
        raise UserError(f"there is no gate instance {instance}", "see `jackstop doctor`")
    return row
