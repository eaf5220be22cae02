"""What the gate would do with each request of one key: the real buckets, with real holds, on the virtual clock."""

import heapq

from bench.containment.world import DAY, US
from jackstop.control.commands.worker import RAMP_PER_S
from jackstop.keys.amounts import parse_rate, parse_span_us
from jackstop.keys.policy import LimitRow
from jackstop.ledger.slices import limit_of
from jackstop.settings import ResponseSettings

_RESPONSES = ResponseSettings()


class Gatekeeper:
    """Asks of one key are answered with "" or the reason of a refusal. Nothing is forwarded after a quarantine.

    `allowance_nusd` is the ramp allowance, None for a key that has none.
    """

    def __init__(self, budget_nusd, allowance_nusd):
        self.state = "live"
        self._budget = budget_nusd
        self._day = None
        self._spent = self._held = 0
        self._open = []  # (when it ends, hold, cost)
        self._ramp = _bucket(allowance_nusd, RAMP_PER_S, 0, allowance_nusd, "nusd") if allowance_nusd else None
        self._throttle = None
        self._throttled_until = 0

    def throttle(self, now_us):
        """As the case's response does: so many a minute, for so long; it begins with one."""
        if self._throttle is None or now_us >= self._throttled_until:
            rate = parse_rate(_RESPONSES.throttle_rate)
            self._throttle = _bucket(rate.amount, rate.per_s, now_us, rate.per_s * US)
        self._throttled_until = now_us + parse_span_us(_RESPONSES.throttle_for)

    def quarantine(self):
        self.state = "quarantined"

    def ask(self, now_us, hold, cost, takes_us):
        """Whether a request goes on; if so its money is held until it ends."""
        self.settle(now_us)
        if self.state != "live":
            return "quarantined"
        if self._day != now_us - now_us % DAY:
            self._day, self._spent = now_us - now_us % DAY, 0
        throttled = self._throttle is not None and now_us < self._throttled_until
        if throttled and not self._throttle.has(now_us, hold):
            return "rate"
        if self._ramp is not None and not self._ramp.has(now_us, hold):
            return "ramp" if self._ramp.overspent else "ramp, held"
        if self._spent + self._held + hold > self._budget:
            return "budget"
        if throttled:
            self._throttle.take(hold)
        if self._ramp is not None:
            self._ramp.take(hold)
        self._held += hold
        heapq.heappush(self._open, (now_us + takes_us, hold, cost))
        return ""

    def settle(self, now_us):
        """Take what ended by now from the holds, and give back what a hold was too large."""
        while self._open and self._open[0][0] <= now_us:
            _, hold, cost = heapq.heappop(self._open)
            self._held -= hold
            self._spent += cost
            if self._ramp is not None:
                self._ramp.refill(now_us)
                self._ramp.give(hold, cost)


def _bucket(amount, per_s, now_us, filled, unit="requests"):
    """A rate of which this gate has the whole share."""
    rate = limit_of(LimitRow(0, "key:bench", "rate", amount, per_s=per_s, unit=unit))
    rate.grow(amount, filled, now_us)
    return rate
