"""Control's chore: looks at the budgets whose books changed, and gives each alert once, with its news.

Alerts stop nothing; budgets do that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Select, and_, case, delete, insert, select
from sqlalchemy import Row as DbRow

from jackstop.clock import Clock, iso
from jackstop.cost.alerts import BURNS, HOUR_US, Alert, Standing, burning, exhausted, forecast, passed, rounded
from jackstop.cost.history import History
from jackstop.keys.issue import find_person
from jackstop.keys.policy import Window
from jackstop.ledger.windows import LIFE_START_US, bounds
from jackstop.notify.outbox import News, queue
from jackstop.settings import AlertSettings
from jackstop.store.engine import Store
from jackstop.store.tables import cost_alerts, leases, limits, windows

BATCH = 50
"""Windows of one transaction: should each of them give an alert, it is still a short one."""
_ALL_EVERY_US = HOUR_US
_KEPT_US = 180 * 24 * HOUR_US
_KINDS = ("usd", "tokens", "requests")
_WINDOWS: tuple[Window, ...] = ("hour", "day", "month", "life")
_LONGEST_US = {
    "day": max(burn.long_us for burn in BURNS if burn.tenths * burn.long_us <= 10 * 24 * HOUR_US),
    "month": max(burn.long_us for burn in BURNS),
}
_COLUMNS = (limits.c.id, limits.c.scope, limits.c.kind, limits.c.amount, limits.c.window, limits.c.is_default)

_ROW = ("limit_id", "window_us", "name", "ts_us")

Place = tuple[int, int]
"""A limit and the start of one of its windows."""


class CostWatch:
    """Which budgets are to be looked at, and what they had settled before. Used by one thread."""

    def __init__(self, store: Store, settings: AlertSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._since_us = clock.now_us()
        self._histories: dict[Place, History] = {}
        self._leases: set[int] = set()
        self._exhausted: set[Place] = set()
        self._after: int | None = 0
        """Up to which limit all were looked at; None when that is done."""
        self._all_us = self._since_us + _ALL_EVERY_US
        self._is_first_round = True

    def note(self, lease_ids: Iterable[int]) -> None:
        """Something was booked on these leases."""
        self._leases.update(lease_ids)

    def note_all(self) -> None:
        """Something was booked that nobody noted by lease."""
        self._all_us = self._clock.now_us()

    def note_exhausted(self, places: Iterable[Place]) -> None:
        """In these windows a request was refused for want of budget."""
        self._exhausted.update(places)

    def look(self) -> bool:
        """Look at one batch; whether there is more to look at. What fails is looked at again."""
        now_us = self._clock.now_us()
        if now_us >= self._all_us:
            self._after, self._all_us = self._after or 0, now_us + _ALL_EVERY_US
        lease_ids, refused = sorted(self._leases)[:BATCH], sorted(self._exhausted)[:BATCH]
        with self._store.begin() as conn:
            found = _changed(conn, lease_ids) | _books_of(conn, refused)
            after = self._after
            if after is not None:
                page, after = _page(conn, after, now_us)
                found |= page
                if self._after == 0:
                    _forget(conn, now_us)
            self._give(conn, list(found), set(refused), now_us)
        self._leases.difference_update(lease_ids)
        self._exhausted.difference_update(refused)
        if self._after is not None and after is None:
            self._is_first_round = False
            self._histories = {place: kept for place, kept in self._histories.items() if self._is_open(place, now_us)}
        self._after = after
        return bool(self._leases or self._exhausted or self._after is not None)

    def _is_open(self, place: Place, now_us: int) -> bool:
        """Whether the window may still be the present one of its limit."""
        return place[1] == bounds("day", now_us)[0] or place[1] == bounds("month", now_us)[0]

    def _give(self, conn: Connection, found: list[Standing], refused: set[Place], now_us: int) -> None:
        given = _given(conn, found)
        rows: list[dict[str, Any]] = []
        news: list[News] = []
        for standing in found:
            place = standing.limit_id, standing.window_us
            reached = passed(standing, self._settings.thresholds)
            end = exhausted(standing)
            if place in refused or (*place, end.name) in given:
                others = [end]  # and its pace has no more to say
            else:
                others = forecast(standing, now_us) if self._settings.forecast else []
                others += self._burning(standing, now_us) if self._settings.burn_rate else []
            new = [alert for alert in reached if (*place, alert.name) not in given]
            # Of several thresholds at once only the highest is worth a message.
            told = [*new[-1:], *(alert for alert in others if (*place, alert.name) not in given)]
            names = {alert.name for alert in (*new, *told)}
            rows += [dict(zip(_ROW, (*place, name, now_us), strict=True)) for name in sorted(names)]
            news += [_news(conn, standing, alert) for alert in told]
        if rows:
            conn.execute(insert(cost_alerts), rows)
        for each in news:
            queue(conn, now_us, each)

    def _burning(self, standing: Standing, now_us: int) -> list[Alert]:
        place, keep_us = (standing.limit_id, standing.window_us), _LONGEST_US.get(standing.window)
        if keep_us is None:
            return []
        history = self._histories.get(place)
        if history is None:
            # A window that the first look did not see had nothing settled in it then.
            is_known = self._is_first_round and standing.window_us < self._since_us
            since_us = max(standing.window_us, self._since_us)
            history = History(now_us, standing.settled) if is_known else History(since_us, 0)
            self._histories[place] = history
        history.add(now_us, standing.settled, keep_us)
        return burning(standing, history, now_us)


def _standing(row: DbRow[Any]) -> Standing:
    return Standing(
        row.id, row.scope, row.kind, row.amount, row.window, row.is_default, row.window_us or 0, row.settled or 0
    )


def _books() -> Select[Any]:
    budgets = and_(limits.c.kind.in_(_KINDS), ~limits.c.deleted)
    return select(*_COLUMNS, windows.c.window_us, windows.c.settled).where(budgets)


def _changed(conn: Connection, lease_ids: list[int]) -> set[Standing]:
    """The windows that these leases are of."""
    if not lease_ids:
        return set()
    statement = (
        _books()
        .select_from(leases)
        .join(limits, limits.c.id == leases.c.limit_id)
        .join(windows, and_(windows.c.limit_id == leases.c.limit_id, windows.c.window_us == leases.c.window_us))
        .where(leases.c.id.in_(lease_ids))
    )
    return {_standing(row) for row in conn.execute(statement)}


def _books_of(conn: Connection, places: list[Place]) -> set[Standing]:
    if not places:
        return set()
    statement = (
        _books()
        .join(windows, windows.c.limit_id == limits.c.id)
        .where(limits.c.id.in_([place[0] for place in places]), windows.c.window_us.in_([place[1] for place in places]))
    )
    found = {_standing(row) for row in conn.execute(statement)}
    return {standing for standing in found if (standing.limit_id, standing.window_us) in places}


def present(now_us: int) -> Any:
    """The start of a limit's window that holds `now_us`, as SQL."""
    return case({window: bounds(window, now_us)[0] for window in _WINDOWS}, value=limits.c.window)


def page_of_books(conn: Connection, after: int, now_us: int, rows: int) -> list[DbRow[Any]]:
    """The next `rows` budgets behind limit `after`, each with its books at `now_us`, empty where nothing was spent."""
    statement = (
        _books()
        .outerjoin(windows, and_(windows.c.limit_id == limits.c.id, windows.c.window_us == present(now_us)))
        .where(limits.c.id > after)
        .order_by(limits.c.id)
        .limit(rows)
    )
    return list(conn.execute(statement))


def _page(conn: Connection, after: int, now_us: int) -> tuple[set[Standing], int | None]:
    rows = page_of_books(conn, after, now_us, BATCH)
    return {_standing(row) for row in rows if row.settled}, rows[-1].id if len(rows) == BATCH else None


def _given(conn: Connection, found: list[Standing]) -> set[tuple[int, int, str]]:
    if not found:
        return set()
    table = cost_alerts
    statement = select(table.c.limit_id, table.c.window_us, table.c.name).where(
        table.c.limit_id.in_({standing.limit_id for standing in found}),
        table.c.window_us.in_({standing.window_us for standing in found}),
    )
    return {(row.limit_id, row.window_us, row.name) for row in conn.execute(statement)}


def _forget(conn: Connection, now_us: int) -> None:
    """Alerts of windows that are long over."""
    table = cost_alerts
    conn.execute(delete(table).where(table.c.window_us > LIFE_START_US, table.c.ts_us < now_us - _KEPT_US))


def subject(conn: Connection, scope: str) -> str:
    """A scope without anyone's address: an owner is shown by number, as in the audit log."""
    kind, _, name = scope.partition(":")
    return f"person:{find_person(conn, name)}" if kind == "owner" else scope


def _news(conn: Connection, standing: Standing, alert: Alert) -> News:
    about, shown = subject(conn, standing.scope), standing.scope
    kind, _, name = about.partition(":")
    settled = rounded(standing, standing.settled)
    facts: dict[str, str | int] = {"entity": about, "alert": alert.name, "budget": standing.budget, "settled": settled}
    if kind in {"key", "team", "credential"}:
        facts[kind] = name
    if standing.window != "life":
        facts["window"] = f"from {iso(standing.window_us)}"
    command = f"jackstop budget show {shown}" if about == shown else "jackstop budget show"
    return News(
        kind="cost.alert",
        # Who set a budget wants to hear of it; those that every key has only speak where someone listens for them.
        severity="low" if standing.is_default else "medium",
        title=f"{about}: {alert.said}",
        text=f"{about}: {alert.said}. {settled} are settled.",
        case_id=None,
        uid=f"cost-{standing.limit_id}-{standing.window_us}-{alert.name}",
        group_key=f"cost-{standing.limit_id}-{standing.window_us}",
        facts=facts,
        actions=(("see the budget", command),),
    )
