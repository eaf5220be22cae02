"""What one gate process holds of each limit: slices of budgets, shares of rates, permits of concurrency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jackstop.clock import US_PER_S
from jackstop.keys.policy import LimitRow
from jackstop.ledger import windows
from jackstop.ledger.ramp import Ramp

if TYPE_CHECKING:
    from jackstop.ledger.waiting import Waiter

_CHARGE_INDEX = {"usd": 0, "tokens": 1, "requests": 2}


class Slice:
    """A lease of one budget in one window: `free` is neither held nor spent, `total` all that control gave.

    Below `low` it is time to ask for more, before a request has to wait for it. `left` is what control had left
    when it last answered, `scarce` says that this was less than `wanted`. `asked` are those for whom it was asked.
    `held` is what running requests hold. `index` is its budget's.
    """

    __slots__ = (
        "asked",
        "asking",
        "budget",
        "end_us",
        "free",
        "held",
        "index",
        "last_used_us",
        "lease_id",
        "left",
        "low",
        "over",
        "per_s",
        "scarce",
        "taken",
        "total",
        "waiters",
        "wanted",
        "window_us",
    )

    def __init__(self, budget: Budget, window_us: int, end_us: int) -> None:
        self.budget = budget
        self.index = budget.index
        self.window_us = window_us
        self.end_us = end_us
        self.lease_id = 0
        self.total = 0
        self.free = 0
        self.low = 0
        self.left = 0
        self.wanted = 0
        self.asked: tuple[Waiter, ...] = ()
        self.scarce = False
        self.over = False
        self.asking = False
        self.held = 0
        self.taken = 0
        self.per_s = 0
        self.last_used_us = 0
        self.waiters: list[Waiter] = []


class Budget:
    """A budget as one gate sees it. `index` is the place of its kind in a charge."""

    __slots__ = ("current", "index", "row", "slices")

    def __init__(self, row: LimitRow) -> None:
        self.row = row
        self.index = _CHARGE_INDEX[row.kind]
        self.slices: dict[int, Slice] = {}
        self.current: Slice | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing of it is leased, held, asked for or waited for."""
        return not self.slices

    def at(self, now_us: int) -> Slice:
        """The slice of the window that holds `now_us`; empty when nothing has been leased yet."""
        current = self.current
        if current is None or not current.window_us <= now_us < current.end_us:
            start, end = windows.bounds(self.row.window, now_us)
            current = self.current = self.opened(start, end)
        return current

    def opened(self, start_us: int, end_us: int) -> Slice:
        """The slice of the window that starts at `start_us`, made if it is not there."""
        found = self.slices.get(start_us)
        if found is None:
            found = self.slices[start_us] = Slice(self, start_us, end_us)
        return found


class Rate:
    """A share of a token bucket.

    `level` counts in units of which one request takes `per_s` × 1,000,000, so that a share of S requests
    per `per_s` seconds refills S units per microsecond, exactly and in integers.
    """

    __slots__ = ("asking", "exhausted_us", "level", "price", "row", "seen_us", "share", "waiters")

    def __init__(self, row: LimitRow) -> None:
        self.row = row
        self.share = 0
        self.level = 0
        self.price = row.per_s * US_PER_S
        self.seen_us = 0
        self.asking = False
        self.exhausted_us = 0
        self.waiters: list[Waiter] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for or waited for."""
        return not self.asking and not self.waiters

    def refill(self, now_us: int) -> None:
        """Bring the bucket up to date; a clock that went back adds nothing."""
        if now_us > self.seen_us:
            if self.share > 0:
                self.level = min(self.share * self.price, self.level + (now_us - self.seen_us) * self.share)
            self.seen_us = now_us

    def has(self, now_us: int, nusd: int) -> bool:  # noqa: ARG002 -- the same call as a Ramp's
        self.refill(now_us)
        return self.level >= self.price

    def lacks(self, nusd: int) -> int:  # noqa: ARG002 -- the same call as a Ramp's
        """One request lacks."""
        return 1

    def take(self, nusd: int) -> None:  # noqa: ARG002 -- the same call as a Ramp's
        self.level -= self.price

    def give(self, held: int, spent: int) -> int:  # noqa: ARG002 -- the same call as a Ramp's
        """A rate counts requests that were let in; ending one gives nothing back."""
        return 0

    def grow(self, amount: int, level: int, now_us: int) -> None:
        self.refill(now_us)
        self.share += amount
        self.level = min(max(0, self.share) * self.price, self.level + level)

    def part_with(self, now_us: int, nusd: int) -> tuple[int, int]:  # noqa: ARG002 -- the same call as a Ramp's
        """The share and filling that a recall gets: half of both, but a share of one and part of a token whole."""
        self.refill(now_us)
        share = (self.share + 1) // 2
        level = self.level if self.level < self.price else self.level * share // self.share
        self.share -= share
        self.level -= level
        self.exhausted_us = 0
        return share, level

    def part_with_all(self, now_us: int) -> tuple[int, int]:
        """The whole share and filling."""
        self.refill(now_us)
        share, level = self.share, self.level
        self.share = self.level = 0
        return share, level


class Concurrency:
    """Permits for requests that run at the same time."""

    __slots__ = ("asking", "exhausted_us", "row", "share", "used", "waiters")

    def __init__(self, row: LimitRow) -> None:
        self.row = row
        self.share = 0
        self.used = 0
        self.asking = False
        self.exhausted_us = 0
        self.waiters: list[Waiter] = []

    @property
    def idle(self) -> bool:
        """Whether no permit is in use, asked for or waited for."""
        return not self.used and not self.asking and not self.waiters

    def has(self, now_us: int, nusd: int) -> bool:  # noqa: ARG002 -- the same call as a Rate's
        return self.used < self.share

    def lacks(self, nusd: int) -> int:  # noqa: ARG002 -- the same call as a Rate's
        """One permit lacks."""
        return 1

    def take(self, nusd: int) -> None:  # noqa: ARG002 -- the same call as a Rate's
        self.used += 1

    def give(self, held: int, spent: int) -> int:  # noqa: ARG002 -- the same call as a Rate's
        self.used -= 1
        return 0

    def grow(self, amount: int, level: int, now_us: int) -> None:  # noqa: ARG002 -- the same call as a Rate's
        self.share += amount

    def part_with(self, now_us: int, nusd: int) -> tuple[int, int]:  # noqa: ARG002 -- the same call as a Rate's
        """Half of the free permits, at least one if any is free."""
        free = max(0, self.share - self.used)
        given = (free + 1) // 2
        self.share -= given
        return given, 0

    def part_with_all(self, now_us: int) -> tuple[int, int]:  # noqa: ARG002 -- the same call as a Rate's
        """Every permit; one in use is forgotten when its request ends."""
        share, self.share = self.share, 0
        return share, 0


Gauge = Rate | Ramp | Concurrency
Limit = Budget | Rate | Ramp | Concurrency


def limit_of(row: LimitRow) -> Limit:
    """The gate's state for a limit, empty."""
    if row.kind == "rate":
        return Ramp(row) if row.unit == "nusd" else Rate(row)
    if row.kind == "concurrency":
        return Concurrency(row)
    return Budget(row)


def queues(limits: Mapping[int, Limit]) -> Iterator[Slice | Gauge]:
    """Wherever requests may wait."""
    for limit in list(limits.values()):
        if isinstance(limit, Budget):
            yield from list(limit.slices.values())
        else:
            yield limit


def shares(limits: Mapping[int, Limit]) -> list[tuple[int, int]]:
    """Shares of rates and concurrency, by limit."""
    return [(number, limit.share) for number, limit in limits.items() if not isinstance(limit, Budget) and limit.share]


class Path:
    """All limits that one request passes: of the organisation, team, owner, key and credential."""

    __slots__ = ("budgets", "gauges")

    def __init__(self, limits: list[Limit]) -> None:
        self.budgets = tuple(limit for limit in limits if isinstance(limit, Budget))
        self.gauges = tuple(limit for limit in limits if not isinstance(limit, Budget))
