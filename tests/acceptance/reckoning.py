"""Holds the books, the lake and the journals against the provider's bill and against what the clients saw."""

from collections import Counter, defaultdict

from tests.acceptance.traffic import whole

UNITS_PER_NUSD = 1_000_000


def ident(request_id):
    """What all names of one request have in common: `req_…` in a header, `chatcmpl-…` in a body."""
    return request_id.rpartition("_")[2].rpartition("-")[2]


class Reckoning:
    """What a run comes to; `check` raises AssertionError for whatever does not add up.

    `lost_tail`: journals lost their tails, so that whole leases are charged and events may be missing. `noisy`: there
    was reason for processes to log errors.
    """

    def __init__(self, system, mets, *, lost_tail=False, noisy=False):
        self.system = system
        self.lost_tail = lost_tail
        self.errors = [] if noisy else system.errors()
        self.unexplained = 0
        self.whole = [met for met in mets if whole(met)]
        self.rows = {ident(row["id"]): row for row in system.rows()}
        self.by_credential = defaultdict(list)
        for row in self.rows.values():
            self.by_credential[row["credential"]].append(row)
        self.events = system.lake()
        self.holds = system.open_holds()
        self.windows = system.windows()
        self.replays = system.replays()
        self.by_key = defaultdict(list)
        for event in self.events:
            self.by_key[event["key_id"]].append(event)
        self.by_request = defaultdict(list)
        for event in self.events:
            if event["request_id"]:
                self.by_request[ident(event["request_id"])].append(event)

    def check(self):
        assert not self.errors, self.errors[:3]
        self._check_limits()
        self._check_events()
        self._check_journals()
        for holder in self.system.holders:
            self._check_holder(holder)
        return self

    def _check_limits(self):
        """Every limit keeps what it promises, by the books and by the bill."""
        billed = self.system.billed()
        for holder in self.system.holders:
            book = self.windows.get(f"key:{holder.id}")
            on_bill = billed.get(holder.on_bill, 0)
            if book is None:
                assert not on_bill, holder.id
                continue
            assert on_bill <= book["amount"], ("the bill is beyond the budget", holder.id, on_bill, book)
            assert on_bill <= book["settled"] + 1, ("the bill is beyond the books", holder.id, on_bill, book)
        for scope, book in self.windows.items():
            assert book["over"] == 0, (scope, book)
            assert book["settled"] + book["leased"] <= book["amount"], (scope, book)
        if "org" in self.windows and not self.lost_tail:
            total = sum(self.windows[scope]["settled"] for scope in self.windows if scope.startswith("key:"))
            assert self.windows["org"]["settled"] == total, (self.windows["org"], total)

    def _check_events(self):
        """Each event once; each request that a client saw whole has exactly one."""
        ids = Counter(event["event_id"] for event in self.events)
        assert not [event_id for event_id, times in ids.items() if times > 1]
        twice = {request: len(events) for request, events in self.by_request.items() if len(events) > 1}
        assert not twice, twice
        if self.lost_tail:
            return
        missing = [met.request_id for met in self.whole if ident(met.request_id) not in self.by_request]
        assert not missing, (len(missing), missing[:5])

    def _check_journals(self):
        in_lake = {event["event_id"] for event in self.events}
        held_open = {hold["id"] for hold in self.holds}
        for replay in self.replays:
            assert not replay.violations, (replay.instance, replay.violations[:3])
            assert not replay.overruns, replay.instance
            for event_id, _ in replay.events:
                assert event_id in in_lake, event_id
            if not self.lost_tail:
                for segment, offset in replay.open:
                    assert f"{replay.instance}-{segment}-{offset}" in held_open, (replay.instance, segment, offset)

    def _check_holder(self, holder):
        """A key's books are its events at what they cost, and its holds that nobody settled, to the nano-dollar."""
        events = [event for event in self.by_key[holder.id] if event["hold_nusd"] is not None]
        holds = [hold for hold in self.holds if hold["key_id"] == holder.id]
        charged = sum(hold["nusd"] for hold in holds)
        settled = self.windows.get(f"key:{holder.id}", {"settled": 0})["settled"]
        exact = sum(event["cost_nusd"] or 0 for event in events if not event["estimated"])
        if self.lost_tail:
            assert settled >= charged, (holder.id, settled, charged)
        else:
            self.unexplained += abs(settled - exact - charged)
            assert settled == exact + charged, (holder.id, settled, exact, charged)
        unexplained = 0
        for row in self.by_credential[holder.on_bill]:
            if not row["units"]:
                continue
            event = next(iter(self.by_request.get(ident(row["id"]), [])), None)
            if event is None or event["estimated"]:
                unexplained += 1
            else:
                assert event["cost_nusd"] == -(-row["units"] // UNITS_PER_NUSD), (row, event)
        if not self.lost_tail:
            assert unexplained <= len(holds), (holder.id, unexplained, len(holds))

    def figures(self):
        """The totals, in nano-dollars and counts."""
        return {
            "requests": len(self.rows),
            "whole": len(self.whole),
            "events": len(self.events),
            "billed": sum(self.system.billed().values()),
            "settled": sum(book["settled"] for scope, book in self.windows.items() if scope.startswith("key:")),
            "held open": sum(hold["nusd"] for hold in self.holds),
            "open holds": len(self.holds),
            "unexplained": self.unexplained,
        }


def check_now(system):
    """While requests run: nobody's bill is beyond what the books have settled and hold for them, or beyond a limit."""
    billed = system.billed()
    books = system.books()
    for holder in system.holders:
        on_bill, book = billed.get(holder.on_bill, 0), books[f"key:{holder.id}"]
        assert on_bill <= book["limit"], ("the bill is beyond the budget", holder.id, on_bill, book)
        assert on_bill <= book["settled"] + book["held"] + 1, ("the bill is beyond the books", holder.id, on_bill, book)
    for scope, book in books.items():
        assert book["settled"] + book["leased"] <= book["limit"], (scope, book)
