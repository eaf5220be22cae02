"""A rate of money: a share of a token bucket from which each hold takes its dollars, and gets back what it left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackstop.clock import US_PER_S
from jackstop.keys.policy import LimitRow

if TYPE_CHECKING:
    from jackstop.ledger.waiting import Waiter


class Ramp:
    """A share of a bucket of `amount` nano-dollars, filled anew within `per_s` seconds.

    `level` counts in units of which a nano-dollar has `price`, so that a share of S nano-dollars refills S units per
    microsecond, exactly and in integers; between processes it moves in whole nano-dollars. It stands for what neither
    was spent nor is held. A hold that is dearer than that is let in where the whole bucket is here and not empty,
    which leaves a debt: so what is spent and held is never above the amount, what has refilled, and one hold.

    `held` is what running requests hold here, `elsewhere` what they hold in other processes as far as control said;
    `owed` is what they held here when the share that it came from moved away.
    """

    __slots__ = (
        "asking",
        "elsewhere",
        "exhausted_us",
        "held",
        "level",
        "owed",
        "price",
        "row",
        "seen_us",
        "share",
        "waiters",
    )

    def __init__(self, row: LimitRow) -> None:
        self.row = row
        self.share = 0
        self.level = 0
        self.price = row.per_s * US_PER_S
        self.seen_us = 0
        self.held = 0
        self.elsewhere = 0
        self.owed = 0
        self.asking = False
        self.exhausted_us = 0
        self.waiters: list[Waiter] = []

    @property
    def idle(self) -> bool:
        """Whether nothing is held, asked for or waited for."""
        return not self.held and not self.asking and not self.waiters

    @property
    def whole(self) -> bool:
        """Whether no other process has a share."""
        return self.share >= self.row.amount

    def refill(self, now_us: int) -> None:
        """Bring the bucket up to date; a clock that went back adds nothing."""
        if now_us > self.seen_us:
            share = self.share
            if share > 0:
                level = self.level + (now_us - self.seen_us) * share
                full = share * self.price
                self.level = min(full, level)
            self.seen_us = now_us

    def has(self, now_us: int, nusd: int) -> bool:
        """Whether a hold of so much is let in. What costs nothing always is."""
        self.refill(now_us)
        return self.level >= nusd * self.price or not nusd or (self.level > 0 and self.whole)

    def lacks(self, nusd: int) -> int:
        """Nano-dollars that such a hold lacks here."""
        return max(1, nusd - self.level // self.price)

    def take(self, nusd: int) -> None:
        self.level -= nusd * self.price
        self.held += nusd

    def give(self, held: int, spent: int) -> int:
        """A hold ends. Returns what it gives back to a share that meanwhile has moved to another process."""
        self.held -= held
        level = self.level + (held - spent) * self.price
        beyond = level - self.share * self.price
        if beyond <= 0:
            self.level = level
            return 0
        self.level = level - beyond
        if not self.owed:
            # The bucket was filled anew while the hold was open.
            return 0
        self.owed = max(0, self.owed - held)
        return beyond // self.price

    def grow(self, amount: int, level: int, now_us: int) -> None:
        """A share comes, with its filling in nano-dollars; or just what was given back elsewhere."""
        self.refill(now_us)
        self.share += amount
        self.level = min(max(0, self.share) * self.price, self.level + level * self.price)

    def part_with(self, now_us: int, nusd: int) -> tuple[int, int]:
        """The share and filling that a recall of so much gets: half, more where it takes more, or everything."""
        self.refill(now_us)
        free = self.level // self.price
        given = max(nusd, free // 2)
        if given >= free:
            return self.part_with_all(now_us)
        share = self.share * given // free
        self.share -= share
        self.level -= given * self.price
        self.owed = self.held
        self.exhausted_us = 0
        return share, given

    def part_with_all(self, now_us: int) -> tuple[int, int]:
        """The whole share and filling, or debt."""
        self.refill(now_us)
        share, free = self.share, self.level // self.price
        self.share = self.level = 0
        self.owed = self.held
        self.exhausted_us = 0
        return share, free

    @property
    def overspent(self) -> bool:
        """Whether it is money that was spent that lacks, and not just what running requests hold."""
        return self.level + (self.held + self.elsewhere) * self.price <= 0

    def wait_s(self, nusd: int) -> int:
        """Seconds until such a hold is let in if nothing else is, at most until the bucket is full."""
        missing = (1 if self.whole else nusd * self.price) - self.level
        filling = max(1, self.share or self.row.amount) * US_PER_S
        return max(1, min(self.row.per_s, -(-missing // filling)))
