"""What a gate knows of keys and limits: who is let in, which limits a request passes, what is kept of idle keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstop.clock import US_PER_S, ManualClock
from jackstop.control.protocol import Granted, Need, Returned
from jackstop.events.schema import Event
from jackstop.gate.journal import Journal
from jackstop.gate.registry import Registry
from jackstop.gate.roster import Known, Roster
from jackstop.keys import format as key_format
from jackstop.keys.policy import CredentialRow, KeyRow, LimitRow, Policy
from jackstop.ledger.books import Books, Hold, HoldContext
from jackstop.settings import Settings

NOON = 1_790_000_000_000_000
PEPPER = b"p" * 32
MAIN = CredentialRow("main", "openai", "https://api.openai.com", b"sk-secret")
CONTEXT = HoldContext("key", "openai", "gpt-4o-mini", "main", NOON)
IDLE_S = Settings().ledger.outage_window_s + 1


def secret(number, form="s"):
    """A key as a client presents it."""
    body = f"jsk_1{number:012d}_{form * 27}".encode()
    return body + key_format.checksum(body)


def key(number, form="s", **row):
    digest = key_format.digest(PEPPER, secret(number, form))
    return KeyRow(f"{number:012d}", digest, "app@example.com", "web", "app", **row)


def limit(limit_id, scope, kind="usd", amount=1_000, **row):
    return LimitRow(limit_id, scope, kind, amount, "day" if kind == "usd" else "life", **row)


def own(limit_id, number, kind="usd", amount=1_000, **row):
    return limit(limit_id, f"key:{number:012d}", kind, amount, **row)


class Gate:
    """A gate's registry and books, and what control hears of them."""

    def __init__(self, home):
        self.clock = ManualClock(NOON)
        self.journal = Journal(home.journal, "g0", 1 << 16, 10_000, self.clock)
        self.journal.open(0)
        self.books = Books(self.journal, Settings(), self.clock)
        self.registry = Registry(self.books, Settings(), self.clock)
        self.registry.welcome(PEPPER, b"f" * 32, 1)
        self.heard = []
        self.books.connected(lambda message: self.heard.append(message) or True)
        self.tell(MAIN)

    def tell(self, *rows):
        self.registry.apply(list(rows), self.registry.seq + 1, more=False)
        self.registry.heard(self.clock.now_us())

    def identify(self, presented):
        return self.registry.identify(presented, self.clock.now_us())

    def limits(self, presented):
        """The numbers of the limits that a request with this key passes, budgets first."""
        path = self.registry.path(self.identify(presented), MAIN)
        return [each.row.id for each in (*path.budgets, *path.gauges)]

    def hold(self, presented, nusd):
        path = self.registry.path(self.identify(presented), MAIN)
        return self.books.reserve(path, nusd, 1, CONTEXT)

    def end(self, hold, nusd):
        self.books.settle(hold, Event(ts=NOON, key_id="key", cost_nusd=nusd), nusd, 1)

    def let_pass(self, seconds):
        """Time passes, with the upkeep done, and control there: it has no more of any limit."""
        for _ in range(0, seconds, 10):
            self.clock.advance(10)
            self.registry.heard(self.clock.now_us())
            self.registry.tend(self.clock.now_us())
            list(self.books.tend())
            for need in [message for message in self.heard if isinstance(message, Need)]:
                self.heard.remove(need)
                self.books.granted(Granted(need.limit_id, need.window_us, 11, 0, exhausted=True))


@pytest.fixture
def gate(home):
    made = Gate(home)
    yield made
    made.journal.close()


# -- who is let in --------------------------------------------------------------------------------------------------


def test_a_key_is_known_by_all_of_it(gate):
    gate.tell(key(1), key(2))
    assert gate.identify(secret(1)).row == key(1)
    assert gate.identify(b"sk-" + secret(2)).row == key(2)
    for wrong in (secret(1, "t"), secret(3), secret(1)[:-1], secret(1) + b"x", b"", b"sk-" * 2 + secret(1)):
        assert gate.identify(wrong) is None


def test_who_presents_the_id_of_a_key_in_use_is_not_let_in(gate):
    gate.tell(key(1))
    assert gate.identify(secret(1)) is not None
    assert gate.identify(secret(1, "t")) is None


def test_a_rotated_key_is_let_in_until_its_time_is_over(gate):
    gate.tell(key(1))
    assert gate.identify(secret(1)) is not None
    gate.tell(key(1, "t", retiring=((key(1).digest, NOON + 10 * US_PER_S),)))
    assert gate.identify(secret(1)).row == gate.identify(secret(1, "t")).row
    gate.clock.advance(10)
    assert gate.identify(secret(1)) is None
    assert gate.identify(secret(1, "t")) is not None


def test_a_key_rotated_without_grace_ends_at_once(gate):
    gate.tell(key(1))
    assert gate.identify(secret(1)) is not None
    gate.tell(key(1, "t"))
    assert gate.identify(secret(1)) is None
    assert gate.identify(secret(1, "t")) is not None


def test_a_change_reaches_a_key_in_use(gate):
    stopped = []
    gate.registry.on_stop(lambda *which: stopped.append(which))
    gate.tell(key(1))
    assert gate.identify(secret(1)).row.state == "live"
    gate.tell(key(1, state="quarantined", policy=Policy(models=("gpt-4o*",))))
    assert gate.identify(secret(1)).row.state == "quarantined"
    assert stopped == [(key(1).id, None)]


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_request_passes_every_limit_of_its_scopes(gate):
    gate.tell(
        limit(1, "org"),
        limit(2, "team:web"),
        limit(3, "owner:app@example.com"),
        own(4, 1),
        limit(5, "credential:main"),
        own(6, 1, "rate"),
        key(1),
    )
    gate.tell(limit(7, "team:other"), own(8, 2), limit(9, "credential:other"), key(2))
    assert gate.limits(secret(1)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("in_use", [True, False])
def test_limits_that_come_change_and_go_reach_every_key(gate, in_use):
    gate.tell(key(1), limit(1, "org"), own(2, 1))
    if in_use:
        assert gate.limits(secret(1)) == [1, 2]
    gate.tell(limit(3, "team:web"), own(4, 1, "concurrency"), own(2, 1, amount=7), limit(1, "org", deleted=True))
    assert gate.limits(secret(1)) == [3, 2, 4]
    assert gate.books.limit(2).row.amount == 7
    gate.tell(own(2, 1, deleted=True), own(4, 1, deleted=True), limit(3, "team:web", deleted=True))
    assert gate.limits(secret(1)) == []


def test_what_is_leased_of_a_limit_outlives_a_change_of_the_key(gate):
    gate.tell(own(1, 1), key(1))
    assert gate.limits(secret(1)) == [1]
    gate.books.granted(Granted(1, gate.books.limit(1).at(NOON).window_us, 11, 500))
    gate.tell(key(1, policy=Policy(max_output=5)), own(1, 1, amount=2_000))
    assert isinstance(gate.hold(secret(1), 500), Hold)


# -- keys that are not in use ---------------------------------------------------------------------------------------


def test_a_budget_is_kept_while_its_key_is_in_use_and_given_back_when_it_is_not(gate):
    gate.tell(own(1, 1), key(1))
    assert gate.limits(secret(1)) == [1]
    gate.books.granted(Granted(1, gate.books.limit(1).at(NOON).window_us, 11, 500))
    hold = gate.hold(secret(1), 10)
    gate.let_pass(2 * IDLE_S)
    assert gate.books.limit(1) is not None
    gate.end(hold, 4)
    gate.let_pass(2 * IDLE_S)
    assert gate.books.limit(1) is None
    assert sum(message.amount for message in gate.heard if isinstance(message, Returned)) == 496
    assert gate.limits(secret(1)) == [1]


def test_a_share_goes_back_with_its_filling(gate):
    gate.tell(own(1, 1, "rate", 60), key(1))
    assert gate.limits(secret(1)) == [1]
    rate = gate.books.limit(1)
    gate.books.granted(Granted(1, 0, 0, 60, level=2 * rate.price))
    gate.let_pass(2 * IDLE_S)
    assert gate.books.limit(1) is None
    assert gate.heard == [Returned(1, 0, 0, 60, level=60 * rate.price)]
    assert gate.books.shares() == []


def test_permits_in_use_keep_their_key(gate):
    gate.tell(own(1, 1, "concurrency", 2), key(1))
    assert gate.limits(secret(1)) == [1]
    gate.books.granted(Granted(1, 0, 0, 2))
    hold = gate.hold(secret(1), 0)
    gate.let_pass(2 * IDLE_S)
    assert gate.books.shares() == [(1, 2)]
    gate.end(hold, 0)
    gate.let_pass(2 * IDLE_S)
    assert gate.books.limit(1) is None


def test_what_a_key_holds_stays_while_control_is_away(gate):
    gate.tell(own(1, 1, "concurrency", 2), key(1))
    assert gate.limits(secret(1)) == [1]
    gate.books.granted(Granted(1, 0, 0, 2))
    for _ in range(2 * IDLE_S):
        gate.clock.advance(1)
        gate.registry.tend(gate.clock.now_us())
    assert gate.books.shares() == [(1, 2)]


def test_a_key_that_is_asked_for_stays(gate):
    gate.tell(own(1, 1), key(1))
    assert gate.limits(secret(1)) == [1]
    for _ in range(4):
        gate.let_pass(IDLE_S // 2)
        assert gate.identify(secret(1)) is not None
    assert gate.books.limit(1) is not None


# -- the roster -----------------------------------------------------------------------------------------------------

_ids = st.integers(1, 3)
_tellings = st.lists(
    st.one_of(
        st.builds(key, _ids, st.sampled_from("stu")),
        st.builds(
            lambda number, which, amount, gone: own(which * 10 + number, number, amount=amount, deleted=gone),
            _ids,
            st.integers(0, 2),
            st.integers(0, 5),
            st.booleans(),
        ),
    ),
    max_size=20,
)


@given(_tellings)
def test_the_roster_knows_what_it_was_told_last(told):
    roster, rows, limits = Roster(), {}, {}
    for row in told:
        if isinstance(row, KeyRow):
            assert roster.tell_key(row) == rows.get(row.id)
            rows[row.id] = row
            continue
        key_id = row.scope.removeprefix("key:")
        assert roster.tell_limit(key_id, row) == rows.get(key_id)
        known = limits.setdefault(key_id, {})
        known.pop(row.id, None)
        if not row.deleted:
            known[row.id] = row
    for key_id in {f"{number:012d}" for number in range(1, 4)}:
        assert roster.find(key_id) == Known(rows.get(key_id), tuple(limits.get(key_id, {}).values()))
