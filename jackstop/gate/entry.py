"""Record: what one exchange leaves behind, its event and the end of its hold, written exactly once; no sockets here."""

from __future__ import annotations

from time import monotonic_ns

from jackstop.errors import Refused
from jackstop.events.schema import Event
from jackstop.gate import record, refusals
from jackstop.gate.admission import Admitted
from jackstop.gate.answer import Answer
from jackstop.gate.context import note
from jackstop.gate.meter.base import Outcome
from jackstop.gate.settle import Charge, Ending, charge
from jackstop.ledger.books import Books, Hold


class Entry:
    """The event of one exchange, filled while it goes on, and its hold. `written` once both are in the books."""

    __slots__ = ("_began_ns", "_books", "event", "hold", "written")

    def __init__(self, books: Books, event: Event) -> None:
        self._books = books
        self._began_ns = monotonic_ns()
        self.event = event
        self.hold: Hold | None = None
        self.written = False

    def held(self, hold: Hold, admitted: Admitted) -> None:
        """The money is held: the request is admitted."""
        self.hold = hold
        event = self.event
        event.hold_nusd = hold.nusd
        event.decision = "admitted"
        if would_refuse := admitted.would_refuse or hold.would_refuse:
            event.decision = "would_refuse"
            event.reason = would_refuse
            if hold.marker:
                record.mark(event, hold.marker)
        if admitted.ask.has_output:
            event.max_output_sent = admitted.cap

    def refused(self, refused: Refused, dialect: refusals.ErrorDialect) -> None:
        """The request is refused before anything was held."""
        record.add_refusal(self.event, refused, refusals.status_of(refused, dialect))
        self._record()

    def cancelled(self) -> None:
        """The client left before anything was held."""
        self.event.outcome = "cancelled"
        self._record()

    def failed(self, refused: Refused, dialect: refusals.ErrorDialect) -> None:
        """The provider gave no answer; to be settled next."""
        event = self.event
        event.status = refusals.status_of(refused, dialect)
        event.reason = event.reason or refused.reason
        event.outcome = "error"

    def replied(self, answer: Answer) -> None:
        """The provider's answer has begun."""
        self.event.ttft_us = self._elapsed_us()
        record.add_status(self.event, answer.status, answer.headers)

    def settle(self, ending: Ending, admitted: Admitted, answer: Answer | None, *, left: bool) -> None:
        """Book what the request costs, and write its event. `left`: the client is gone."""
        hold, event = self.hold, self.event
        assert hold is not None
        if answer is None:
            outcome = Outcome()
        else:
            outcome = answer.outcome()
            record.add_outcome(event, outcome)
            if answer.error_code or answer.error_message:
                event.error_code = event.error_code or answer.error_code
                event.error_message = answer.error_message
            event.response_bytes = answer.sent
        if ending == "broken" and event.outcome == "ok":
            event.outcome = "error"
        # Who leaves after the provider reported an error has left for that.
        if left and event.outcome in {"ok", "error", ""} and not event.error_code:
            event.outcome = "cancelled"
        route = admitted.opening.route
        metered = route.meter is not None
        try:
            due = charge(
                ending, event.status or 0, outcome, hold, route.provider, admitted.ask, event.ts, metered=metered
            )
        except Exception as error:
            # A hold must end, whatever a price list does: it stays charged.
            note("a charge could not be reckoned", error)
            due = Charge(hold.nusd, hold.tokens, estimated=True)
        event.cost_nusd = due.nusd
        event.estimated = due.estimated
        event.price_known = due.price_known
        event.latency_us = self._elapsed_us()
        if due.nusd > hold.nusd:
            record.overrun(event, admitted.ask.feature)
        self.written = True
        if due.released:
            self._books.release(hold, event)
        else:
            self._books.settle(hold, event, due.nusd, due.tokens)

    def _record(self) -> None:
        self.written = True
        self.event.latency_us = self._elapsed_us()
        self._books.record(self.event)

    def _elapsed_us(self) -> int:
        return (monotonic_ns() - self._began_ns) // 1000
