"""Watches the wall clock against the boot clock: a jump freezes the opening of budget windows until it is accepted."""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jackstop.cases.finding import Finding, Report
from jackstop.clock import US_PER_S, Clock, boot_id
from jackstop.store.tables import meta

MAX_JUMP_US = 5 * US_PER_S
"""More than time daemons slew between two looks, less than what would open a window early in earnest."""
_KEY = "clock"

log = logging.getLogger(__name__)


class ClockWatch:
    """Remembers how far apart the two clocks were; a difference beyond MAX_JUMP_US is a jump."""

    def __init__(self, clock: Clock, report: Report) -> None:
        self._clock = clock
        self._report = report
        self._apart_us: int | None = None
        self.frozen = False
        self.seen_us = 0

    def begin(self, conn: Connection) -> None:
        """Take up where the last control left: after a reboot, the wall clock may at least not have gone back."""
        known = _read(conn)
        now = self._clock.now_us()
        self.seen_us = known.get("seen_us", 0)
        if known.get("boot") == boot_id():
            self._apart_us = known["apart_us"]
        elif now < self.seen_us - MAX_JUMP_US:
            self._apart_us = self.seen_us - self._clock.boot_us()
        self.look(conn)

    def look(self, conn: Connection) -> None:
        """Compare the clocks, and write down what was seen."""
        now = self._clock.now_us()
        apart = now - self._clock.boot_us()
        if self._apart_us is None:
            self._apart_us = apart
        jump = apart - self._apart_us
        if abs(jump) > MAX_JUMP_US:
            if not self.frozen:
                self._freeze(conn, jump)
            return
        self.frozen = False
        self._apart_us = apart
        _write(conn, {"boot": boot_id(), "apart_us": apart, "seen_us": now})

    def _freeze(self, conn: Connection, jump_us: int) -> None:
        self.frozen = True
        seconds = jump_us // US_PER_S
        log.error("the clock jumped by %d s: no budget window opens until it is set right or accepted", seconds)
        now_us = self._clock.now_us()
        self._report(
            conn,
            Finding(
                uid=f"clock_jump-{now_us}",
                detection="clock_jump",
                severity="medium",
                entity="org",
                first_seen=now_us,
                last_seen=now_us,
                count=1,
                evidence={"jump_s": seconds},
                sources=("control",),
            ),
        )

    def accept(self, conn: Connection) -> None:
        """A person says that the time is right as it is."""
        self._apart_us = self._clock.now_us() - self._clock.boot_us()
        self.frozen = False
        _write(conn, {"boot": boot_id(), "apart_us": self._apart_us, "seen_us": self._clock.now_us()})


def _read(conn: Connection) -> dict[str, Any]:
    text = conn.execute(select(meta.c.value).where(meta.c.key == _KEY)).scalar()
    return dict(json.loads(text)) if text else {}


def _write(conn: Connection, value: dict[str, Any]) -> None:
    text = json.dumps(value)
    if conn.execute(update(meta).where(meta.c.key == _KEY).values(value=text)).rowcount == 0:
        conn.execute(insert(meta).values(key=_KEY, value=text))
